"""The map from the columns of CSV files to events, as a TOML file: what MAP.toml may say."""

from typing import Annotated, Literal

from pydantic import Field

from models.policy.documents import Document, Listed, Name

Days = Annotated[int, Field(ge=0, le=3_650)]
Word = Annotated[str, Field(min_length=1)]


class Join(Document):
    """A further file whose columns join each row: the first row of a key counts."""

    file: Word
    on: Word
    """Column of the same name on both sides."""


class Attribute(Document):
    """A column that becomes an attribute; `map` spells values anew, `missing` names those that are
    none. Without a name the column's is taken, spelled as a catalog does.
    """

    column: Word
    name: Name | None = None
    type: Literal["number", "category"] = "number"
    scale: float = 1.0
    map: dict[str, str] = Field(default_factory=dict)
    missing: Listed[str] = ()
    unit: str = "as in the file"
    monotone: Literal[-1, 0, 1] = 0


class Request(Document):
    """How a row is an application. Undated rows get times from `start`, `every_minutes` apart, in
    the order of the file.
    """

    applicant: Word | None = None
    id: Word | None = None
    at: Word | None = None
    at_format: Word | None = None
    start: Word | None = None
    every_minutes: Annotated[int, Field(ge=1, le=1_440)] = 10
    product: Name = "loan"
    channel: Name = "file"
    side: Literal["consumer", "business"] = "consumer"
    amount: Word | None = None
    amount_unit_cents: Annotated[float, Field(gt=0)] = 100.0
    amount_cents: Annotated[int, Field(ge=1)] | None = None
    tenor: Word | None = None
    tenor_unit_days: Annotated[float, Field(gt=0)] = 1.0
    tenor_days: Annotated[int, Field(ge=1)] | None = None
    attributes: Listed[Attribute] = ()


class Outcome(Document):
    """Which values of a column are bad, which good, which say nothing; others are refused.

    Known at `known_at`, or so many days after the term.
    """

    column: Word
    bad: Listed[str]
    good: Listed[str]
    indeterminate: Listed[str] = ()
    known_at: Word | None = None
    known_after_days: Days = 30


class Activity(Document):
    """A file of dated facts; each becomes an activity of `kind`, known `lag_days` later."""

    file: Word
    applicant: Word
    at: Word
    at_format: Word | None = None
    kind: Name
    amount: Word | None = None
    amount_unit_cents: Annotated[float, Field(gt=0)] = 100.0
    counterparty: Word | None = None
    lag_days: Days = 0


class Loan(Document):
    """A file of earlier loans of one instalment each, of this or another lender."""

    file: Word
    applicant: Word
    loan: Word
    disbursed_at: Word
    due_at: Word
    closed_at: Word | None = None
    at_format: Word | None = None
    principal: Word
    total: Word | None = None
    amount_unit_cents: Annotated[float, Field(gt=0)] = 100.0
    issuer: Name = "earlier"
    lag_days: Days = 0


class Map(Document):
    """`MAP.toml`. `zone` holds for times that bear none."""

    zone: Word = "UTC"
    join: Listed[Join] = ()
    request: Request
    outcome: Outcome | None = None
    activity: Listed[Activity] = ()
    loan: Listed[Loan] = ()
