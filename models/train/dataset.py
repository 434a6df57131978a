"""The training set: features as they were at each request, with what became of it.

1. Replay the log through the step that decides live, so that a feature in training is the feature
that the worker will see. 2. Take each request's feature vector from its evidence. 3. Join what
was known by `as_of_ms` to have become of it, by applicant and request id: from a file of labels, or
from the log's own loan events by a definition.
"""

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from features.catalog import Catalog, load_catalog
from models.errors import ModelError
from models.policy.platform import load_platform
from models.train.book import read_book
from models.train.label import BAD, GOOD, labels_of, read_definition
from models.train.split import PROPENSITY
from streams.config import PUBLIC_KEY_FILE, load_deployment
from streams.replay import replay
from streams.topology import OUT_DECISION

# `propensity` may stand beside them: the chance, 0 to 1, that the request had of being approved.
LABELS = {"applicant": pl.String, "id": pl.String, "bad": pl.Int8, "known_at": pl.Int64}
_improbable = (pl.col(PROPENSITY) <= 0) | (pl.col(PROPENSITY) > 1) | pl.col(PROPENSITY).is_nan()
REQUEST = ("applicant", "request", "at", "type", "product", "channel")
CATALOG = "catalog.toml"


def read_labels(path: Path) -> pl.DataFrame:
    """Return the labels of a CSV file: applicant, id (of the request), bad (0 or 1), known_at (ms),
    and propensity where the file has it (above 0, to 1; empty where chance had no part).

    Raises `ModelError` where a column is missing, a value is none, or a request stands twice.
    """
    remedy = "write a CSV with the columns applicant,id,bad,known_at"
    try:
        labels = pl.read_csv(path, schema_overrides={**LABELS, PROPENSITY: pl.Float64})
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); {remedy}.") from error
    except pl.exceptions.PolarsError as error:
        raise ModelError(f"{path}: {str(error).splitlines()[0]}; {remedy}.") from error
    if missing := [name for name in LABELS if name not in labels.columns]:
        raise ModelError(f"{path}: no column '{missing[0]}'; {remedy}.")
    chance = [PROPENSITY] if PROPENSITY in labels.columns else []
    labels = labels.select(*LABELS, *chance).with_row_index("line", offset=2)
    empty = pl.any_horizontal(pl.col(*LABELS).is_null()) | ~pl.col("bad").is_in([0, 1])
    twice = pl.struct("applicant", "id").is_duplicated()
    for wrong, what in (
        (empty, "bad is 0 or 1 and nothing is empty"),
        (twice, "one label a request, here are more"),
        *((_improbable, "propensity is above 0, to 1, or empty") for _ in chance),
    ):
        if (lines := labels.filter(wrong)["line"]).len():
            raise ModelError(f"{path}, line {lines[0]}: {what}; correct it.")
    return labels.drop("line")


def dataset(
    events: str | Path,
    labels: Path | pl.DataFrame,
    config: Path,
    *,
    side: str | None = None,
    as_of_ms: int | None = None,
    policies: bool = True,
    partitions: int = 1,
    every: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> pl.DataFrame:
    """Return one row a labelled request, oldest first: REQUEST, label, bad, known_at, and every
    feature; also `propensity` where the labels have it.

    `labels`: a CSV or a frame of labels, or a TOML definition of what bad means, which is then read
    off the log's loan events (`models/train/label.py`). `every`: also requests that are neither
    good nor bad, `bad` null and `label` saying why ("unlabelled" where a labels file is silent).
    Features are float64 by their catalog names; missing is NaN. `side` (consumer, business) keeps
    the requests for products of that side; `as_of_ms` drops labels that were not known by then.
    `events` is what `streams.replay` reads: a file of events, a kept log, a topic.
    Without `policies` the log is replayed with no lender, for a first model, which its policies
    cannot name yet: every request is declined, so offers, lines and loans of ours leave no trace.
    `tell` gets a sentence, with a count, for whatever of the log or the labels is not in it.
    Raises `ModelError` where nothing is left, and what `replay` raises.
    """
    definition = known = None
    if isinstance(labels, Path) and labels.suffix == ".toml":
        definition = read_definition(labels)
    else:
        known = labels if isinstance(labels, pl.DataFrame) else read_labels(labels)
    with _folder(config, policies=policies) as folder:
        result = replay(events, load_deployment(folder, features="all"), partitions=partitions)
    if not result.written[OUT_DECISION]:
        raise ModelError(
            f"{events}: it holds no request that could be decided"
            f" ({'; '.join(result.remarks()) or 'no application or drawdown'})."
        )
    for remark in result.remarks():
        tell(remark)
    if definition is not None:
        book = read_book(events, until_ms=as_of_ms)
        known = labels_of(result.decisions, book, definition)
    assert known is not None
    if as_of_ms is not None:
        before = known.height
        known = known.filter(pl.col("known_at").is_null() | (pl.col("known_at") <= as_of_ms))
        if known.height < before:
            tell(f"{before - known.height:,} of {before:,} labels were not known by then: left out")
    strangers = known.join(
        result.decisions, left_on=("applicant", "id"), right_on=("applicant", "request"), how="anti"
    ).height
    if strangers:
        tell(
            f"{strangers:,} of {known.height:,} labels are of requests that the log did not decide"
        )
    products = None
    if side is not None:
        products = [p.id for p in load_platform(config).products if p.side == side]
    names = list(catalog_of(config).columns)
    return label_requests(result.decisions, result.evidence, known, names, products, every=every)


def label_requests(
    decisions: pl.DataFrame,
    evidence: pl.DataFrame,
    labels: pl.DataFrame,
    features: Sequence[str],
    products: Sequence[str] | None = None,
    *,
    every: bool = False,
) -> pl.DataFrame:
    """Return `dataset`'s frame from what a replay wrote: the requests that have a label, or all.

    The two share the decision's id. A drawdown names no product: it has that of its line, whose id
    is the id of the decision that opened it. `products`: only requests for those. Raises
    `ModelError` where no request has a label.
    """
    opened = decisions.select(line="id", line_product="product")
    requests = (
        decisions.join(opened, on="line", how="left")
        .with_columns(pl.coalesce("product", "line_product").alias("product"))
        .select("id", *REQUEST)
    )
    if products is not None:
        requests = requests.filter(pl.col("product").is_in(list(products)))
    behind = evidence.select("decision", *features)
    chance = [PROPENSITY] if PROPENSITY in labels.columns else []
    if "label" not in labels.columns:
        word = pl.when(pl.col("bad") == 1).then(pl.lit(BAD)).otherwise(pl.lit(GOOD))
        labels = labels.with_columns(label=word)
    frame = (
        requests.join(behind, left_on="id", right_on="decision", validate="1:1")
        .join(labels, left_on=("applicant", "request"), right_on=("applicant", "id"), how="left")
        .with_columns(pl.col("label").fill_null("unlabelled"))
        .sort("at", "applicant", "request")
        .select(*REQUEST, "label", "bad", "known_at", *chance, *features)
    )
    return frame if every else labelled(frame)


def labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of `dataset`'s frame that are good or bad; `ModelError` where none is."""
    known = frame.filter(pl.col("bad").is_not_null())
    if not known.height:
        raise ModelError(
            f"labels: none of the log's {frame.height} requests has one ({counted(frame)});"
            " give the labels of this log, known by the day asked for."
        )
    return known


def counted(frame: pl.DataFrame) -> str:
    """Say how many rows have each label."""
    counts = frame.group_by("label").len().sort("len", "label", descending=True).rows()
    return ", ".join(f"{count:,} {word}" for word, count in counts)


def catalog_of(config: Path) -> Catalog:
    """Return the catalog of a config folder."""
    path = config / CATALOG
    return load_catalog(path if path.is_file() else None)


def trainable(frame: pl.DataFrame, catalog: Catalog, reader: str = "all") -> list[str]:
    """Return the features that `reader` may read and that say something here, in catalog order.

    A column with a single value, or none, cannot help and would bind the model to its row.
    """
    return [
        feature.name
        for feature in catalog.features
        if reader in feature.readers and frame[feature.name].drop_nans().n_unique() > 1
    ]


def monotone(catalog: Catalog, features: Sequence[str]) -> list[int]:
    """Return how risk must move with each of `features` by its catalog row: 1 up, -1 down, 0 free.

    A model held to it never gives a worse price for a better fact, which no applicant would accept.
    """
    hints = {feature.name: feature.monotone for feature in catalog.features}
    return [hints[name] for name in features]


def categorical(catalog: Catalog, features: Sequence[str]) -> list[str]:
    """Return those of `features` whose numbers are codes of categories."""
    codes = {attribute.name for attribute in catalog.attributes if attribute.type == "category"}
    return [
        feature.name
        for feature in catalog.features
        if feature.of in codes and feature.source == "attribute" and feature.name in set(features)
    ]


@contextmanager
def _folder(config: Path, *, policies: bool) -> Iterator[Path]:
    """Give the config folder, or a copy of it without models and policies."""
    if policies:
        yield config
        return
    with tempfile.TemporaryDirectory(prefix="dipper-dataset-") as name:
        folder = Path(name)
        kept = (config / "platform.toml", config / CATALOG, config / PUBLIC_KEY_FILE)
        for path in (*kept, *config.glob("institutions/*/institution.toml")):
            if path.is_file():
                target = folder / path.relative_to(config)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        yield folder
