"""A real mobile lender's history as events: `python examples/superlender/convert.py DATA_DIR
OUT_DIR`.

Superlender (Zindi, Data Science Nigeria 2018): 18,183 earlier loans and 4,368 current ones,
labelled Good or Bad. Writes `events.jsonl.gz`, in the order in which each fact became known, and
`labels.csv`.

1. The application is dated `creationdate`; `approveddate` is the same instant in another zone.
2. Earlier loans are another lender's to us. At creation: `disbursed`, and a `due` per instalment
   (the schedule and `totaldue` are agreed then). At `firstrepaiddate`: a payment. At
   `closeddate`: a payment of the rest, then `closed`.
3. The data say when the first repayment came, not how much it was, and reading it off the closing
   date would look ahead. It counts as one instalment where there are several, else as half of the
   only one. So a due of a single instalment is covered when the loan closes, the first of several
   when first paid.
4. Nothing is said of a current loan but its application; its outcome stands in the labels alone,
   known 30 days after its term. Earlier loans go on after it where they did (4 % close later).
5. The 1,099 applicants without demographics leave those fields out. Twelve customers stand in the
   demographics twice, word for word: once is enough.
6. Five earlier loans (`totaldue` 62,700 or 68,100) lack their amount; all others with that total
   and term were loans of 60,000.
7. A tick stands before each day that holds events, and bears its end: every event is at most a
   day behind its partition's time and never ahead of it.

All times are read as UTC. What cannot be dated (position, bank branch) is left out.
"""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl

from streams.limits import DAY_MS, LATE_MS_MAX
from streams.simulate.log import open_lines

ISSUER = "superlender"
PRODUCT, CHANNEL = "instalment_loan", "app"
TICK_MS = DAY_MS
INSTALMENT_DAYS = 30
LABEL_GRACE_DAYS = 30  # the data do not say when a loan turned Bad: 30 days past due, as is usual
EARLIER, CURRENT = 18_183, 4_368
TOTALS_OF_60_000 = ("62700.0", "68100.0")

EDUCATION = {
    "Primary": "primary",
    "Secondary": "secondary",
    "Graduate": "bachelor",
    "Post-Graduate": "master",
}

assert TICK_MS <= LATE_MS_MAX


class Converted(NamedTuple):
    """What was written; ticks are not counted as events."""

    events: int
    applications: int
    ticks: int
    labels: int
    bad: int


class DataError(Exception):
    """The data are not those that this converter was written for; the text says how they differ."""


def _ms(name: str) -> pl.Expr:
    return pl.col(name).str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="ms").dt.epoch("ms")


def _cents(name: str) -> pl.Expr:
    return (pl.col(name).cast(pl.Float64) * 100).round().cast(pl.Int64)


def _read(data: Path, name: str) -> pl.DataFrame:
    path = data / f"{name}.csv.gz"
    if not path.is_file():
        raise DataError(f"{path}: not there; name the folder that holds the superlender files")
    return pl.read_csv(path, infer_schema=False)


def earlier_loans(data: Path) -> pl.DataFrame:
    """Return the earlier loans, one row each: times in epoch ms, money in cents."""
    loans = _read(data, "trainprevloans").with_columns(
        pl.when(pl.col("totaldue").is_in(TOTALS_OF_60_000))
        .then(pl.col("loanamount").fill_null("60000.0"))
        .otherwise("loanamount")
        .alias("loanamount")
    )
    return loans.select(
        applicant="customerid",
        loan="systemloanid",
        created_at=_ms("creationdate"),
        due_at=_ms("firstduedate"),
        first_paid_at=_ms("firstrepaiddate"),
        closed_at=_ms("closeddate"),
        principal_cents=_cents("loanamount"),
        total_cents=_cents("totaldue"),
        term_days=pl.col("termdays").cast(pl.Int64),
    )


def applications(data: Path) -> pl.DataFrame:
    """Return the current loans' applications with what was known then, and their outcome."""
    people = _read(data, "traindemographics").unique(maintain_order=True)
    if people["customerid"].is_duplicated().any():
        raise DataError("traindemographics: a customer stands there twice with different facts")
    return (
        _read(data, "trainperf")
        .join(people, on="customerid", how="left")
        .select(
            applicant="customerid",
            loan="systemloanid",
            at=_ms("creationdate"),
            amount_cents=_cents("loanamount"),
            tenor_days=pl.col("termdays").cast(pl.Int64),
            loan_number=pl.col("loannumber").cast(pl.Int64),
            referred=pl.col("referredby").is_not_null().cast(pl.Int64),
            age_years=((_ms("creationdate") - _ms("birthdate")) / (365.2425 * DAY_MS))
            .floor()
            .cast(pl.Int64),
            bank=_name("bank_name_clients"),
            account_type=_name("bank_account_type"),
            employment=_name("employment_status_clients"),
            education=pl.col("level_of_education_clients").replace_strict(EDUCATION, default=None),
            bad=pl.col("good_bad_flag") == "Bad",
        )
    )


def _name(column: str) -> pl.Expr:
    """Spell a value as a catalog does: lower case, words joined by an underscore."""
    return pl.col(column).str.strip_chars().str.to_lowercase().str.replace_all(r"[^a-z0-9]+", "_")


class _Log:
    """Events with their times; `number` keeps what happened at the same instant in the order
    told.
    """

    def __init__(self) -> None:
        self.events: list[tuple[int, int, dict[str, Any]]] = []

    def add(self, at: int, event: dict[str, Any]) -> None:
        self.events.append((at, len(self.events), {"at": at, **event}))


def _tell_loan(log: _Log, row: dict[str, Any]) -> None:
    """Tell one earlier loan; see the module for what each step says and when."""
    count = max(1, row["term_days"] // INSTALMENT_DAYS)
    principals = _parts(row["principal_cents"], count)
    totals = _parts(row["total_cents"], count)
    common = {"type": "loan", "applicant": row["applicant"], "loan": row["loan"], "issuer": ISSUER}

    def tell(at: int, name: str, step: str, **fields: int) -> None:
        log.add(at, {**common, "id": f"{row['loan']}-{name}", "step": step, **fields})

    created_at = row["created_at"]
    tell(created_at, "disbursed", "disbursed", principal_cents=row["principal_cents"])
    for k, (principal, total) in enumerate(zip(principals, totals, strict=True)):
        due_at = row["due_at"] + k * INSTALMENT_DAYS * DAY_MS
        money = {"principal_cents": principal, "interest_cents": total - principal}
        tell(created_at, f"due-{k}", "due", due_at=due_at, **money)
    share = 1 if count > 1 else 2
    first = (principals[0] // share, (totals[0] - principals[0]) // share)
    tell(
        row["first_paid_at"], "first", "payment", principal_cents=first[0], interest_cents=first[1]
    )
    log.add(
        row["first_paid_at"],
        {
            "type": "signal",
            "applicant": row["applicant"],
            "id": f"{row['loan']}-delay",
            "source": ISSUER,
            "name": "first_payment_days_late",
            "value": round((row["first_paid_at"] - row["due_at"]) / DAY_MS, 3),
        },
    )
    tell(
        row["closed_at"],
        "rest",
        "payment",
        principal_cents=row["principal_cents"] - first[0],
        interest_cents=row["total_cents"] - row["principal_cents"] - first[1],
    )
    tell(row["closed_at"], "closed", "closed")


def _parts(total: int, count: int) -> list[int]:
    part = total // count
    return [part] * (count - 1) + [total - part * (count - 1)]


def _tell_application(log: _Log, row: dict[str, Any]) -> None:
    event = {
        "type": "application",
        "id": row["loan"],
        "product": PRODUCT,
        "channel": CHANNEL,
        **{name: value for name, value in row.items() if name not in {"loan", "bad", "at"}},
    }
    event = {name: value for name, value in event.items() if value is not None}
    log.add(row["at"], event)


def with_ticks(events: list[tuple[int, int, dict[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield events in order of time, a tick before each stretch of `TICK_MS` that holds any."""
    tick = 0
    for at, _, event in sorted(events, key=lambda each: each[:2]):
        if at > tick:
            tick = -(-at // TICK_MS) * TICK_MS
            yield {"type": "tick", "at": tick}
        yield event


def convert(data: Path, out: Path) -> Converted:
    """Write events and labels of the files in `data` to the folder `out`; raises `DataError`."""
    loans, current = earlier_loans(data), applications(data)
    for what, count, wanted in (
        ("earlier loans", loans.height, EARLIER),
        ("current loans", current.height, CURRENT),
    ):
        if count != wanted:
            raise DataError(f"{data}: {count} {what}, {wanted} expected; bring the original files")
    log = _Log()
    for row in current.iter_rows(named=True):  # first: at the same instant the application leads
        _tell_application(log, row)
    for row in loans.iter_rows(named=True):
        _tell_loan(log, row)
    out.mkdir(parents=True, exist_ok=True)
    ticks = 0
    with open_lines(out / "events.jsonl.gz") as file:
        for event in with_ticks(log.events):
            file.write(orjson.dumps(event) + b"\n")
            ticks += event["type"] == "tick"
    with (out / "labels.csv").open("w", newline="", encoding="utf-8") as file_:
        writer = csv.writer(file_, lineterminator="\n")
        writer.writerow(("applicant", "id", "bad", "known_at"))
        known_at = pl.col("at") + (pl.col("tenor_days") + LABEL_GRACE_DAYS) * DAY_MS
        labels = current.sort("at", "loan").select(
            "applicant", "loan", pl.col("bad").cast(pl.Int64), known_at=known_at
        )
        writer.writerows(labels.iter_rows())
    return Converted(
        len(log.events), current.height, ticks, labels.height, int(current["bad"].sum())
    )


def main(arguments: list[str]) -> int:
    """Convert and print the counts."""
    if len(arguments) != 2:
        print("usage: python examples/superlender/convert.py DATA_DIR OUT_DIR", file=sys.stderr)
        return 2
    try:
        done = convert(Path(arguments[0]), Path(arguments[1]))
    except DataError as error:
        print(f"convert: {error}", file=sys.stderr)
        return 2
    print(
        f"{done.events:,} events ({done.applications:,} applications), {done.ticks:,} ticks, "
        f"{done.labels:,} labels ({done.bad:,} bad)"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
