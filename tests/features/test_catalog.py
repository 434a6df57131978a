"""Loading a catalog: what it holds, what it refuses, what its hashes cover."""

from pathlib import Path

import polars as pl
import pytest

from features.catalog import (
    ATTRIBUTES,
    KINDS,
    SIGNALS,
    Catalog,
    load_catalog,
    make_catalog,
)
from features.definitions import Feature
from features.describe import describe
from features.errors import CatalogError
from features.tables import AGGREGATES, FACTS
from streams.limits import DAY_MS, SIGNALS_MAX

DEFAULT = load_catalog(None)
WINDOW = Feature(
    name="extra",
    unit="cents",
    source="window",
    aggregate="sum",
    kinds=("order", "refund"),
    window_ms=DAY_MS,
)


def _with(*rows: Feature) -> Catalog:
    return make_catalog(KINDS, ATTRIBUTES, SIGNALS, rows, "test")


def _refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "catalog.toml"
    path.write_text(text)
    with pytest.raises(CatalogError) as caught:
        load_catalog(path)
    return str(caught.value).replace(str(path), "FILE")


def test_default_catalog_covers_both_sides() -> None:
    """At least 48 columns; every aggregate and every fact is used; both sides' events are."""
    assert len(DEFAULT.columns) >= 48
    windows = [feature for feature in DEFAULT.features if feature.source == "window"]
    assert {feature.aggregate for feature in windows} == set(AGGREGATES)
    kinds = {kind for feature in windows for kind in feature.kinds}
    assert {"order", "refund", "login", "invoice_in", "invoice_out", "invoice_out_credit"} <= kinds
    for source, facts in FACTS.items():
        used = {f.aggregate for f in DEFAULT.features if f.source == source}
        assert used == set(facts), source
    days = {feature.window_ms / DAY_MS for feature in windows}
    assert {1 / 24, 1, 7, 30, 90, 365} <= days
    assert DEFAULT.window_ms_max == 365 * DAY_MS


def test_columns_are_rows_in_order() -> None:
    """A column's number is its row's place, in the map, the hashes and the description alike."""
    names = [feature.name for feature in DEFAULT.features]
    assert list(DEFAULT.columns) == names
    assert list(DEFAULT.columns.values()) == list(range(len(names)))
    assert list(DEFAULT.definition_hashes) == names
    frame = describe(DEFAULT)
    assert frame["name"].to_list() == names
    assert frame["definition_hash"].to_list() == list(DEFAULT.definition_hashes.values())
    assert frame.schema["window_days"] == pl.Float64


def test_every_attribute_and_signal_is_a_column() -> None:
    """Declaring an attribute makes one column, declaring a signal two."""
    for attribute in DEFAULT.attributes:
        assert attribute.name in DEFAULT.columns
    for signal in DEFAULT.signals:
        assert {signal.column, f"{signal.column}_age_days"} <= set(DEFAULT.columns)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("unit", "events"),
        ("aggregate", "mean"),
        ("kinds", ("order",)),
        ("window_ms", 2 * DAY_MS),
        ("missing", 0.0),
    ],
)
def test_a_changed_definition_changes_the_hash(field: str, value: object) -> None:
    """What can change a value, or what it means, changes the row's hash and no other row's."""
    before, after = _with(WINDOW), _with(WINDOW.model_copy(update={field: value}))
    changed = {
        name
        for name in before.definition_hashes
        if before.definition_hashes[name] != after.definition_hashes[name]
    }
    assert changed == {"extra"}
    assert before.sha256 != after.sha256


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("owner", "risk"),
        ("readers", ("dawn",)),
        ("monotone", 1),
        ("kinds", ("refund", "order")),
    ],
)
def test_an_unchanged_definition_keeps_the_hash(field: str, value: object) -> None:
    """A new owner, reader or hint, or another order of kinds, leaves every hash as it is."""
    before, after = _with(WINDOW), _with(WINDOW.model_copy(update={field: value}))
    assert before.definition_hashes == after.definition_hashes


def test_a_ratio_means_what_its_columns_mean() -> None:
    """A ratio's hash changes with either column's, an attribute's with its values."""
    ratio = Feature(
        name="share", unit="ratio", source="ratio", numerator="extra", denominator="order_count_7d"
    )
    before = _with(WINDOW, ratio)
    after = _with(WINDOW.model_copy(update={"window_ms": 2 * DAY_MS}), ratio)
    assert before.definition_hashes["share"] != after.definition_hashes["share"]
    region = next(attribute for attribute in ATTRIBUTES if attribute.name == "region")
    fewer = tuple(
        attribute.model_copy(update={"values": attribute.values[1:]})
        if attribute is region
        else attribute
        for attribute in ATTRIBUTES
    )
    after = make_catalog(KINDS, fewer, SIGNALS, (WINDOW, ratio), "test")
    assert before.definition_hashes["region"] != after.definition_hashes["region"]
    assert before.definition_hashes["income_cents"] == after.definition_hashes["income_cents"]


def test_added_rows_leave_the_default_ones(tmp_path: Path) -> None:
    """A deployment's kinds, attributes, signals and rows come last; no default hash changes."""
    path = tmp_path / "catalog.toml"
    path.write_text(
        """
        kinds = ["subscription"]

        [[attributes]]
        name = "phone_system"
        unit = "code"
        type = "category"
        values = ["android", "ios"]

        [[signals]]
        source = "bureau"
        name = "inquiries"
        ttl_days = 30

        [[features]]
        name = "subscription_count_36h"
        unit = "events"
        source = "window"
        aggregate = "count"
        kinds = ["subscription"]
        window_hours = 36
        owner = "risk"
        """
    )
    catalog = load_catalog(path)
    assert catalog.kinds == (*KINDS, "subscription")
    assert list(catalog.columns)[len(DEFAULT.columns) :] == [
        "phone_system",
        "bureau_inquiries",
        "bureau_inquiries_age_days",
        "subscription_count_36h",
    ]
    assert catalog.features[-1].window_ms == 36 * DAY_MS // 24
    assert catalog.signals[-1].ttl_ms == 30 * DAY_MS
    assert DEFAULT.definition_hashes.items() <= catalog.definition_hashes.items()
    assert catalog.sha256 != DEFAULT.sha256


_ROW = '[[features]]\nname = "x"\nunit = "u"\n'


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kinds = [", "FILE: "),
        ('colour = "red"', "FILE, line 1: unknown key 'colour'"),
        ('kinds = ["A b"]', "FILE, line 1: kinds: String should match pattern"),
        ('kinds = ["order"]', "FILE: kinds name order twice"),
        ('kinds = ["ok"]\nfeatures = 3', "FILE, line 2: features is no list of tables"),
        (
            _ROW + 'source = "window"\nmising = 0.0\n',
            "FILE, line 5: features row 1 (x), mising: Extra inputs are not permitted",
        ),
        (
            _ROW + 'source = "window"\nwindow_days = -3\n',
            "FILE, line 5: features row 1 (x), window_ms: Input should be greater than or equal",
        ),
        (
            _ROW + 'source = "ratio"\nwindow_days = true\n',
            "FILE, line 5: features row 1 (x), window_ms: Input should be a valid integer",
        ),
        (_ROW, "FILE, line 1: features row 1 (x), source: Field required"),
        (
            _ROW + 'source = "window"\nmissing = inf\n',
            "FILE, line 5: features row 1 (x), missing: Value error, infinity is no value",
        ),
        (
            _ROW + 'source = "window"\naggregate = "median"\nkinds = ["order"]\nwindow_days = 1',
            "FILE: feature x: aggregate 'median' is none of count, sum",
        ),
        (
            _ROW + 'source = "window"\naggregate = "sum"\nkinds = ["gift"]\nwindow_days = 1',
            "FILE: feature x: kind 'gift' is not declared",
        ),
        (
            _ROW + 'source = "window"\naggregate = "sum"\nkinds = ["order"]',
            "FILE: feature x: a window needs a positive length",
        ),
        (
            _ROW + 'source = "ratio"\nnumerator = "age_years"\ndenominator = "nothing"',
            "FILE: feature x: no column 'nothing' before it",
        ),
        (
            _ROW + 'source = "loans"\naggregate = "loans_open"\nwindow_days = 30',
            "FILE: feature x: window_ms means nothing with source loans",
        ),
        (
            _ROW + 'source = "lines"\naggregate = "loans_open"',
            "FILE: feature x: aggregate 'loans_open' is none of lines_active",
        ),
        (
            _ROW + 'source = "attribute"\nof = "shoe_size"',
            "FILE: feature x: attribute 'shoe_size' is not declared",
        ),
        (
            _ROW + 'source = "signal"\naggregate = "value"\nof = "moon_phase"',
            "FILE: feature x: signal 'moon_phase' with aggregate 'value' is not declared",
        ),
        (
            '[[features]]\nname = "age_years"\nunit = "u"\nsource = "attribute"\nof = "age_years"',
            "FILE: columns name age_years twice",
        ),
        (
            '[[attributes]]\nname = "a"\nunit = "u"\ntype = "category"\n',
            "FILE, line 1: attributes row 1 (a), row: Value error, a category needs values",
        ),
        (
            '[[attributes]]\nname = "a"\nunit = "u"\nvalues = ["b"]\n',
            "FILE, line 1: attributes row 1 (a), row: Value error, a number has no values",
        ),
        (
            '[[attributes]]\nname = "bank_account"\nunit = "u"\n',
            "FILE: attribute bank_account bears the name of a field of events",
        ),
        (
            "".join(
                f'[[signals]]\nsource = "s"\nname = "n{k}"\nttl_days = 1\n'
                for k in range(SIGNALS_MAX)
            ),
            f"FILE: {len(SIGNALS) + SIGNALS_MAX} signals with the default ones, at most",
        ),
    ],
)
def test_a_wrong_catalog_is_refused_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """The error names the file, the line or row, what is wrong, and what to do."""
    message = _refused(tmp_path, text)
    assert message.startswith(sentence)
    assert "; " in message
    assert "\n" not in message


def test_a_catalog_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A missing file and one that is no UTF-8 give a sentence, not a traceback."""
    with pytest.raises(CatalogError, match="No such file"):
        load_catalog(tmp_path / "none.toml")
    path = tmp_path / "latin.toml"
    path.write_bytes(b"kinds = ['\xe9']")
    with pytest.raises(CatalogError, match="byte 10 is not UTF-8"):
        load_catalog(path)
