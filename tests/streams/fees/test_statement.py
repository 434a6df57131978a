"""Fee statements: the oracle, the rules of rounding and of claw-back, the command."""

import csv
import io
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streams.cli import app
from streams.errors import DipperError
from streams.fees.book import Book, make_book
from streams.fees.meter import Refund, Usage, meter
from streams.fees.run import state_month, statement_of
from streams.fees.schedule import Schedule, read_schedule
from streams.fees.show import as_html
from streams.fees.statement import make_statement
from streams.topology import OUT_DEAD_LETTER, OUT_DECISION, OUT_FUNDING
from tests.streams.fees.conftest import Month
from tests.streams.fees.naive import naive_total

INSTITUTIONS = ("dawn", "forge", "harbor", "meadow", "north")


@pytest.mark.parametrize("institution", INSTITUTIONS)
def test_a_statement_is_what_plain_python_makes_of_the_log(month: Month, institution: str) -> None:
    """Recomputed from the lines of the log by other code, each month agrees to the cent."""
    lines = {
        "events": month.events.read_bytes().splitlines(),
        "decisions": month.result.read(OUT_DECISION).splitlines(),
        "funding": month.result.read(OUT_FUNDING).splitlines(),
        "dead-letters": month.result.read(OUT_DEAD_LETTER).splitlines(),
    }
    fees = month.config / "institutions" / institution / "fees.toml"
    for name in ("2026-01", "2026-02", "2026-03"):
        made = statement_of(month.book, institution, name, month.config)
        total, parts = naive_total(institution, name, fees, lines)
        assert made.total_cents == total, (name, parts, made.lines)
        assert made.agrees


def test_the_log_tries_every_kind_of_line(month: Month) -> None:
    """What the oracle is compared on holds draws, interest, claw-backs and minimums."""
    items = [
        (line.item.split(" ")[0], line.fee_cents)
        for institution in INSTITUTIONS
        for name in ("2026-01", "2026-02")
        for line in statement_of(month.book, institution, name, month.config).lines
    ]
    for kind in ("decisions", "drawn", "interest", "to"):
        assert any(item == kind and cents > 0 for item, cents in items), kind
    assert any(item == "refunds" and cents < 0 for item, cents in items)


def test_repeats_change_nothing(month: Month) -> None:
    """On a broker that gives records twice the statement is the same."""
    book = month.book
    twice = [frame.vstack(frame) for frame in (book.decisions, book.funding, book.loans)]
    again = make_book(*twice)
    for institution in INSTITUTIONS:
        first, second = (
            statement_of(each, institution, "2026-01", month.config) for each in (book, again)
        )
        assert first == second


def test_a_log_with_a_hole_is_refused(month: Month) -> None:
    """Moves of money that are gone make no smaller statement: it is refused."""
    book = month.book
    with pytest.raises(DipperError, match=r"1 of .* are gone"):
        make_book(book.decisions, book.funding[1:], book.loans)


def test_others_change_nothing(month: Month) -> None:
    """An institution's usage is the same whatever its rivals did."""
    book = month.book
    alone = Book(
        book.decisions,
        book.funding.filter(book.funding["institution"] == "dawn"),
        book.loans.filter(book.loans["issuer"] == "dawn"),
        book.known,
    )
    assert meter(alone, "dawn", "Asia/Shanghai") == meter(book, "dawn", "Asia/Shanghai")


_SCHEDULE = """\
time_zone = "Asia/Shanghai"
currency = "CNY"

[[terms]]
from = "2026-01"
until = "2026-06"
clawback_days = 10
minimum_cents = 0

[[terms.drawn]]
above_cents = 0
up_to_cents = 1_000
bps = 333

[[terms.drawn]]
above_cents = 1_000
bps = 77

[[terms]]
from = "2026-07"
funded_cents = 5
interest_bps = 10_000
minimum_cents = 1_000
"""


@pytest.fixture(scope="module")
def schedule(tmp_path_factory: pytest.TempPathFactory) -> Schedule:
    """Give a schedule of two terms."""
    path = tmp_path_factory.mktemp("schedule") / "fees.toml"
    path.write_text(_SCHEDULE)
    return read_schedule(path)


@given(
    drawn=st.integers(1, 10**9),
    refunds=st.lists(st.tuples(st.integers(1, 12), st.integers(0, 10**8)), max_size=8),
)
def test_a_claw_back_never_gives_back_more_than_was_charged(
    schedule: Schedule, drawn: int, refunds: list[tuple[int, int]]
) -> None:
    """Over all months the claw-backs of a month's draws lie within its fee, and are all of it where
    all was refunded.
    """
    left = drawn
    rows = []
    for month, cents in sorted(refunds):
        part = min(cents, left)
        left -= part
        rows.append(Refund(f"2026-{month:02d}", "2026-01", 3, part))
    usage = Usage(drawn_cents={"2026-01": drawn}, refunds=rows)
    back = charged = 0
    for month in range(1, 13):
        made = make_statement("a", "A", usage, schedule, f"2026-{month:02d}", {})
        for line in made.lines:
            back -= line.fee_cents if line.item.startswith("refunds") else 0
            charged += line.fee_cents if line.item.startswith("drawn") else 0
    assert 0 <= back <= charged
    if left == 0:
        assert back == charged


def test_the_rules_by_hand(schedule: Schedule) -> None:
    """Tiers hold for their part, halves go up, late refunds give nothing, the minimum is a line."""
    usage = Usage(
        funded={"2026-07": 7},
        drawn_cents={"2026-02": 1_500},
        interest_cents={"2026-07": -30},
        refunds=[Refund("2026-03", "2026-02", 10, 750), Refund("2026-03", "2026-02", 11, 750)],
    )

    def told(month: str) -> list[tuple[str, int]]:
        made = make_statement("a", "A", usage, schedule, month, {})
        return [(line.item, line.fee_cents) for line in made.lines]

    # 1,000 × 3.33 % = 33.3; 500 × 0.77 % = 3.85; half of the month's 37 comes back: 18.5, up.
    assert told("2026-02") == [("drawn", 33), ("drawn above 10.00", 4)]
    assert told("2026-03") == [("drawn", 0), ("refunds of draws of 2026-02", -19)]
    assert told("2026-07") == [
        ("decisions funded", 35), ("interest received", -30), ("to the minimum", 995),
    ]  # fmt: skip
    with pytest.raises(DipperError, match="no terms hold in 2025-12"):
        told("2025-12")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('from = "2026-07"', 'from = "2026-08"', r"fees.toml:20: .*leaves a gap.*write 2026-07"),
        ('from = "2026-07"', 'from = "2026-06"', r"overlaps the terms before; write 2026-07"),
        ('until = "2026-06"\n', "", "comes after terms without an end"),
        ('until = "2026-06"', 'until = "2025-06"', "is before 2026-01"),
        ("above_cents = 1_000", "above_cents = 1_001", "1001 leaves a gap .*write 1000"),
        ("above_cents = 1_000", "above_cents = 999", "999 overlaps the tier before"),
        ("above_cents = 0", "above_cents = 5", "5 leaves a gap after nothing at all; write 0"),
        ("bps = 77", "up_to_cents = 2_000\nbps = 77", "more would cost nothing"),
        ("up_to_cents = 1_000\n", "", "comes after a tier without an end"),
        ("up_to_cents = 1_000", "up_to_cents = 0", "is not above 0"),
        ("Asia/Shanghai", "Asia/Shangai", "did you mean Asia/Shanghai"),
        ("clawback_days", "claw_back_days", "did you mean clawback_days"),
        ("bps = 77", "bps = 10_001", "less than or equal to 10000"),
    ],
)
def test_a_schedule_with_a_gap_is_refused(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    """A gap or overlap of months or tiers, and whatever else is wrong, is one sentence."""
    path = tmp_path / "fees.toml"
    assert old in _SCHEDULE
    path.write_text(_SCHEDULE.replace(old, new, 1))
    with pytest.raises(DipperError, match=sentence):
        read_schedule(path)


def test_the_command_writes_every_format(month: Month) -> None:
    """Table, CSV, HTML and JSON tell one total, decided from the log by the command itself."""
    made = state_month("north", "2026-01", month.config, month.events, partitions=2)
    said = {}
    for kind in ("table", "csv", "html", "json"):
        done = CliRunner().invoke(
            app,
            ["fees", "statement", "north", "--month", "2026-01", "--config", str(month.config),
             "--events", str(month.events), "--partitions", "2", "--format", kind],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        said[kind] = done.stdout
    total = f"{made.total_cents // 100:,}.{made.total_cents % 100:02d}"
    assert total in said["table"]
    assert orjson.loads(said["json"])["total_cents"] == made.total_cents
    rows = list(csv.DictReader(io.StringIO(said["csv"])))
    assert sum(int(row["fee_cents"]) for row in rows[:-1]) == made.total_cents
    assert (rows[-1]["item"], int(rows[-1]["fee_cents"])) == ("total", made.total_cents)
    assert said["html"] == as_html(made)
    assert total in said["html"]
    for outside in ("http:", "https:", "src=", "<script"):
        assert outside not in said["html"]


@pytest.mark.parametrize(
    ("institution", "name", "sentence"),
    [
        ("dwan", "2026-01", "no institution dwan; did you mean dawn"),
        ("dawn", "2026-13", "2026-13: no month; write it as 2026-01"),
        ("dawn", "2024-12", "no terms hold in 2024-12"),
    ],
)
def test_a_wrong_question_is_one_sentence(
    month: Month, institution: str, name: str, sentence: str
) -> None:
    """An institution that is none, and a month that is none or has no terms, are refused."""
    with pytest.raises(DipperError, match=sentence):
        state_month(institution, name, month.config, month.events)
