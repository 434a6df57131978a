"""What became of a request, by a definition that is data: a TOML file says what bad means.

1. Gather the loans that count for a request: its own, or all that came of its line. 2. Look at each
loan's dues inside the window, as the log tells them. 3. Give one of LABELS to every request: what
is not yet known, and what never will be, are values too, and are never dropped in silence.
"""

from pathlib import Path
from typing import Annotated, Literal

import polars as pl
from pydantic import Field, model_validator

from models.policy.documents import Document, Listed, Name, read_document
from models.train.book import MONTH_MS, Book
from streams.limits import DAY_MS

GOOD, BAD = "good", "bad"
# What a request may come to; only the first two train a model.
LABELS = {
    GOOD: "all of its window was seen, and nothing in it was late enough to matter",
    BAD: "late by late_days or more inside the window, or written off in it",
    "indeterminate": "late by indeterminate_days or more, but less than late_days",
    "immature": "not bad so far, and its window has not ended",
    "not_taken": "approved, and no loan came of it",
    "declined": "no lender approved it: what it would have come to is not known",
    "excluded": "its product or channel is named in the definition's exclusions",
}
Days = Annotated[int, Field(ge=1, le=3_650)]
_LOAN = ["applicant", "loan"]


class Definition(Document):
    """What a label file says. `unit`: a row for each application (all loans that came of it, from
    its own time), each line that was drawn on (from its first loan), or each loan.
    """

    name: Name
    unit: Literal["application", "line", "loan"] = "loan"
    late_days: Days = 30
    indeterminate_days: Days | None = None
    months: Annotated[int, Field(ge=1, le=120)] = 12
    due_floor_cents: Annotated[int, Field(ge=0)] = 0
    """Dues of less do not count: a forgotten cent is not a default."""
    cured: Literal["bad", "good"] = "bad"
    """`good`: what was late and is paid by the end of the window is good again."""
    exclude_products: Listed[str] = ()
    exclude_channels: Listed[str] = ()

    @model_validator(mode="after")
    def _between(self) -> "Definition":
        if self.indeterminate_days is not None and self.indeterminate_days >= self.late_days:
            raise ValueError("indeterminate_days must be less than late_days")
        return self


def read_definition(path: Path) -> Definition:
    """Read a definition; `PolicyError` with file, line and field where it is wrong."""
    return read_document(path, Definition)[0]


def labels_of(decisions: pl.DataFrame, book: Book | None, definition: Definition) -> pl.DataFrame:
    """Return a row a request of the unit: applicant, id (the request's), label, bad, known_at.

    `decisions` is what a replay gives; `book` the loan events of the same log, None where it has
    none. `bad` is Int8, 1 or 0 or null, `known_at` the time in ms since when the log told so, null
    where it has not.
    """
    requests = decisions.with_columns(root=pl.coalesce("line", "id"))
    own = "id" if definition.unit == "loan" else "root"
    asked = requests if definition.unit == "loan" else requests.filter(pl.col("line").is_null())
    loans = _loans(requests, book, own, definition)
    judged = asked.join(loans, left_on="id", right_on=own, how="left")
    if definition.unit == "line":
        drawn = requests.filter(pl.col("line").is_not_null())["line"].unique()
        judged = judged.filter(pl.col("id").is_in(drawn.implode()))
    excluded = pl.col("product").is_in(list(definition.exclude_products)) | pl.col("channel").is_in(
        list(definition.exclude_channels)
    )
    label = (
        pl.when(excluded.fill_null(value=False))
        .then(pl.lit("excluded"))
        .when(pl.col("came_to").is_not_null())
        .then(pl.col("came_to"))
        .when(pl.col("outcome") == "approved")
        .then(pl.lit("not_taken"))
        .otherwise(pl.lit("declined"))
    )
    told = label.is_in([GOOD, BAD])
    return judged.select(
        "applicant",
        id="request",
        label=label,
        bad=pl.when(told).then(label == BAD).cast(pl.Int8),
        known_at=pl.when(told).then("known_at"),
    )


def _loans(
    requests: pl.DataFrame, book: Book | None, own: str, definition: Definition
) -> pl.DataFrame:
    """Return what the loans of each request came to: `own`, came_to, known_at."""
    if book is None:
        return pl.DataFrame(schema={own: str, "came_to": str, "known_at": int})
    asked = requests.select("applicant", decision="id", asked_at="at", root="root", id="id")
    loans = book.loans.join(asked, on=["applicant", "decision"])
    first = (
        requests.select(root="id", begin="at")
        if definition.unit == "application"
        else loans.group_by(own).agg(begin=pl.col("disbursed_at").min()).rename({own: "root"})
    )
    loans = loans.join(first, left_on=own, right_on="root").with_columns(
        end=pl.col("begin") + definition.months * MONTH_MS
    )
    seen, late_ms = book.seen_ms, definition.late_days * DAY_MS
    never = pl.lit(seen + 1)
    until = pl.min_horizontal("end", pl.lit(seen))
    covered = pl.col("covered_at").fill_null(never)
    dues = book.dues.filter(pl.col("amount_cents") >= definition.due_floor_cents).join(
        loans.select(*_LOAN, "end"), on=_LOAN
    )
    late = pl.min_horizontal(covered, until) - pl.col("due_at")
    counts = late >= late_ms
    if definition.cured == GOOD:
        counts &= covered > pl.col("end")
    lateness = dues.group_by(_LOAN).agg(
        late_ms=late.max(),
        late_at=(pl.col("due_at") + late_ms).filter(counts).min(),
    )
    lost = pl.col("written_off_at") <= until
    held = loans.join(lateness, on=_LOAN, how="left").with_columns(
        bad_at=pl.min_horizontal("late_at", pl.when(lost).then("written_off_at"))
    )
    units = held.group_by(own).agg(
        pl.col("late_ms").max().fill_null(0), pl.col("bad_at").min(), pl.col("end").first()
    )
    mature = pl.col("end") <= seen
    is_bad = pl.col("bad_at").is_not_null() & (mature | pl.lit(definition.cured == BAD))
    doubtful = pl.lit(value=False)
    if definition.indeterminate_days is not None:
        doubtful = pl.col("late_ms") >= definition.indeterminate_days * DAY_MS
    return units.select(
        own,
        came_to=pl.when(is_bad)
        .then(pl.lit(BAD))
        .when(~mature)
        .then(pl.lit("immature"))
        .when(doubtful)
        .then(pl.lit("indeterminate"))
        .otherwise(pl.lit(GOOD)),
        known_at=pl.when(is_bad & pl.lit(definition.cured == BAD)).then("bad_at").otherwise("end"),
    )
