"""A policy file as a record: what an institution offers of one product, to whom, and cases."""

import datetime as dt
from typing import Annotated, Any, Literal

from pydantic import Field

from models.policy.documents import Document, Listed, Name
from streams.limits import AMOUNT_CENTS_MAX, PPM

Cents = Annotated[int, Field(ge=1, le=AMOUNT_CENTS_MAX)]
PdPpm = Annotated[int, Field(ge=0, le=PPM)]
Days = Annotated[int, Field(ge=1, le=36_500)]
Method = Literal["bullet", "equal_instalment"]
SectionName = Literal["application", "drawdown"]


class Rule(Document):
    """A request for which `when` holds is declined for `reason` (a platform code or the
    institution's own).

    `name` is how cases and reports call it; without one it is called by its reason.
    """

    when: str
    reason: str
    name: Name | None = None

    @property
    def label(self) -> str:
        """Return what the rule is called."""
        return self.name or self.reason


class Experiment(Document):
    """Who is decided by a challenger, `institutions/<id>/challengers/<product>.toml`, in the place
    of the policy of that product: always the same applicants, and more of them as the share grows.
    """

    name: Name
    share_ppm: Annotated[int, Field(ge=0, le=PPM)]


class DebtService(Document):
    """What an applicant can pay: the largest payment, with `burden` (what is paid a month already),
    stays within `share_bps_max` of `income` (a month's). Both name columns in cents. `missing`: a
    request without one of them is refused, or has no such limit.
    """

    income: str
    burden: str | None = None
    share_bps_max: Annotated[int, Field(ge=1, le=10_000)]
    missing: Literal["refuse", "ignore"]


class Section(Document):
    """How one kind of request is decided: an application, or a drawdown on a line.

    `model` gives the main score; without one `bands` has a single row. `income` names the column
    that `limit_income_bps` takes its share of. `commitment`: a new line takes its limit from the
    commitment cap. `matrix` names a table of two values whose cells are classes of `bands`, or
    refuse for `matrix_reason`. `random_share_ppm`: of those whom the score alone would refuse so
    many are approved all the same, to learn how they pay; a segment of the caps with `at_random`
    bounds it.
    """

    model: Name | None = None
    cut_off_pd_ppm: PdPpm | None = None
    bands: str
    tenors_days: Annotated[Listed[Days], Field(min_length=1)]
    amount_cents_min: Cents
    amount_cents_max: Cents
    method: Method
    offer_hours: Annotated[int, Field(ge=1, le=24 * 365)]
    partial: bool = False
    commitment: bool | None = None
    income: str | None = None
    debt_service: DebtService | None = None
    matrix: str | None = None
    matrix_reason: str = "score_above_cut_off"
    random_share_ppm: Annotated[int, Field(ge=0, le=PPM)] = 0
    rules: Listed[Rule] = ()


class Expected(Document):
    """What a case must come to; a field that is left out is not compared. `rules`: labels of all
    that fired.
    """

    outcome: Literal[
        "approved", "eligibility", "fraud", "credit", "data", "price_cap", "capacity", "expired"
    ]
    reasons: Listed[str] | None = None
    rules: Listed[str] | None = None
    band: Annotated[int, Field(ge=-1)] | None = None
    rate_bps: int | None = None
    apr_bps: int | None = None
    amount_cents: int | None = None
    fee_cents: int | None = None
    instalment_cents: int | None = None


class Case(Document):
    """One request that the policy's author has thought through; run each time the policy is loaded.

    `scores` are probabilities of default by model, `raw` raw scores by model, `pd_ppm` that of the
    section's own model. Features and tokens (device, phone ...) that are not named are missing.
    Without `at` the newest legal ceilings hold, and entries of lists that expire have expired.
    """

    name: Annotated[str, Field(min_length=1)]
    section: SectionName = "application"
    channel: Name | None = None
    amount_cents: Cents
    tenor_days: Days
    pd_ppm: PdPpm | None = None
    scores: dict[str, PdPpm] = Field(default_factory=dict)
    raw: dict[str, float] = Field(default_factory=dict)
    available_cents: Annotated[int, Field(ge=0, le=AMOUNT_CENTS_MAX)] | None = None
    at: dt.date | None = None
    features: dict[str, Any] = Field(default_factory=dict)
    tokens: dict[str, str] = Field(default_factory=dict)
    expect: Expected


class Policy(Document):
    """`institutions/<id>/<product>.toml`; `lists`: what its rules call a list, and its file."""

    product: Name
    channels: Listed[Name] | None = None
    lists: dict[Name, str] = Field(default_factory=dict)
    application: Section
    drawdown: Section | None = None
    experiment: Experiment | None = None
    cases: Listed[Case] = ()
