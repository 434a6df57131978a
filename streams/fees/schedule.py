"""An institution's fee schedule: `institutions/<id>/fees.toml`, terms by month, tiers by amount.

No decision reads it, so it stands in no policy's hash and in no manifest.
"""

import hashlib
import zoneinfo
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from models.policy.documents import Document, Listed, Name, Place, Text, read_document, suggestion
from models.policy.platform import FEES_FILE
from streams.errors import DipperError
from streams.limits import AMOUNT_CENTS_MAX

BPS = 10_000
SHARE_BPS_MIN = 3_000  # of a partner, where no floor is declared
INSTITUTIONS = "institutions"

Cents = Annotated[int, Field(ge=0, le=AMOUNT_CENTS_MAX)]
Bps = Annotated[int, Field(ge=0, le=BPS)]
Month = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]


class Tier(Document):
    """A rate on the part of a month's amount above one sum and up to another (absent: no end)."""

    above_cents: Cents
    up_to_cents: Cents | None = None
    bps: Bps


class Terms(Document):
    """What is paid from a month to another, both counted (no `until`: from then on).

    `judged_cents`: for each decision in which its policy gave a verdict. `funded_cents`: for each
    that it funds. `drawn`: tiers on the principal paid out in a month. `interest_bps`: share of the
    interest received. `clawback_days`: principal refunded within so many days of its draw takes its
    share of that fee back. `minimum_cents`: the least that a month comes to.
    """

    from_: Annotated[Month, Field(alias="from")]
    until: Month | None = None
    judged_cents: Cents = 0
    funded_cents: Cents = 0
    drawn: Listed[Tier] = ()
    interest_bps: Bps = 0
    clawback_days: Annotated[int, Field(ge=0, le=3_660)] = 0
    minimum_cents: Cents = 0


class Partner(Document):
    """Who bears a share of each loan that is drawn from a month to another, both counted."""

    id: Name
    share_bps: Bps
    from_: Annotated[Month, Field(alias="from")]
    until: Month | None = None


class ShareFloor(Document):
    """The least share that a partner of loans drawn from a month on must bear."""

    from_: Annotated[Month, Field(alias="from")]
    bps: Bps


class Guarantee(Document):
    """A guarantor bears the first losses of loans drawn from a month to another, until its pool is
    used up.
    """

    guarantor: Name
    pool_cap_cents: Cents
    from_: Annotated[Month, Field(alias="from")]
    until: Month | None = None


class _ScheduleDocument(Document):
    time_zone: str
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    terms: Annotated[Listed[Terms], Field(min_length=1)]
    partners: Listed[Partner] = ()
    share_floors: Listed[ShareFloor] = ()
    guarantee: Guarantee | None = None


@dataclass(frozen=True)
class Schedule:
    """A schedule that was checked: terms in order of months, without a gap or an overlap."""

    path: Path
    sha256: str
    time_zone: str
    currency: str
    terms: tuple[Terms, ...]
    partners: tuple[Partner, ...] = ()
    guarantee: Guarantee | None = None

    def shares_of(self, month: str) -> dict[str, int]:
        """Return the share of each partner in loans drawn in a month, basis points."""
        return {each.id: each.share_bps for each in self.partners if _holds(each, month)}

    def guarantor_of(self, month: str) -> str | None:
        """Return who bears the first losses of loans drawn in a month, None: nobody does."""
        each = self.guarantee
        return each.guarantor if each is not None and _holds(each, month) else None

    def terms_of(self, month: str) -> Terms | None:
        """Return the terms of a month, None before the first and after the last."""
        for terms in self.terms:
            if _holds(terms, month):
                return terms
        return None


def _holds(each: Terms | Partner | Guarantee, month: str) -> bool:
    return each.from_ <= month and (each.until is None or month <= each.until)


def fees_file(config: Path, institution: str) -> Path:
    """Return where an institution's schedule stands."""
    return config / INSTITUTIONS / institution / FEES_FILE


def load_schedule(config: Path, institution: str) -> Schedule:
    """Read the schedule of an institution of the deployment `config`; PolicyError where it is wrong
    or there is none.
    """
    root = config / INSTITUTIONS
    known = sorted(each.name for each in root.iterdir() if each.is_dir()) if root.is_dir() else []
    if institution not in known:
        raise DipperError(
            f"{config}: no institution {institution}; {suggestion(institution, known)}"
        )
    return read_schedule(fees_file(config, institution))


def read_schedule(path: Path) -> Schedule:
    """Read and check one schedule; PolicyError with the first thing that is wrong."""
    document, text = read_document(path, _ScheduleDocument)
    zones = zoneinfo.available_timezones()
    if document.time_zone not in zones:
        what = f"unknown time zone; {suggestion(document.time_zone, sorted(zones))}"
        raise text.fault(("time_zone",), what)
    for place, terms in enumerate(document.terms):
        _check_months(text, place, document.terms)
        _check_tiers(text, ("terms", place, "drawn"), terms.drawn)
    _check_partners(text, path.parent.name, document)
    held = document.guarantee
    if held is not None and held.until is not None and held.until < held.from_:
        raise text.fault(("guarantee", "until"), f"is before {held.from_}; correct it")
    return Schedule(
        path,
        hashlib.sha256(text.data).hexdigest(),
        document.time_zone,
        document.currency,
        document.terms,
        document.partners,
        document.guarantee,
    )


def next_month(month: str) -> str:
    """Return the month after `2026-12`: `2027-01`."""
    year, number = divmod(12 * int(month[:4]) + int(month[5:]), 12)
    return f"{year:04d}-{number + 1:02d}"


def _check_months(text: Text, place: int, terms: tuple[Terms, ...]) -> None:
    each = terms[place]
    if each.until is not None and each.until < each.from_:
        raise text.fault(("terms", place, "until"), f"is before {each.from_}; correct it")
    if place == 0:
        return
    before = terms[place - 1].until
    if before is None:
        what = "comes after terms without an end; give those before an `until`"
        raise text.fault(("terms", place, "from"), what)
    wanted = next_month(before)
    if each.from_ != wanted:
        kind = "leaves a gap after" if each.from_ > wanted else "overlaps"
        what = f"{each.from_} {kind} the terms before; write {wanted}"
        raise text.fault(("terms", place, "from"), what)


def _check_partners(text: Text, institution: str, document: _ScheduleDocument) -> None:
    for place, partner in enumerate(document.partners):
        here: Place = ("partners", place)
        if partner.id == institution:
            raise text.fault((*here, "id"), "is the institution itself, which has what is left")
        if partner.until is not None and partner.until < partner.from_:
            raise text.fault((*here, "until"), f"is before {partner.from_}; correct it")
        floor = _floor(document.share_floors, partner)
        if partner.share_bps < floor:
            what = f"{partner.share_bps} is below {floor}, the least that a partner must bear"
            raise text.fault((*here, "share_bps"), what)
        others = [each for each in document.partners if _holds(each, partner.from_)]
        if sum(each.id == partner.id for each in others) > 1:
            raise text.fault((*here, "from"), f"{partner.id} has two shares in {partner.from_}")
        if sum(each.share_bps for each in others) > BPS:
            what = f"partners bear more than all of loans drawn in {partner.from_}; lower a share"
            raise text.fault((*here, "share_bps"), what)


def _floor(floors: tuple[ShareFloor, ...], partner: Partner) -> int:
    """Return the highest floor of any month in which loans are shared with a partner."""
    dated = sorted([(each.from_, each.bps) for each in floors])
    known = [("0000-00", SHARE_BPS_MIN), *dated]
    ends = [start for start, _ in known[1:]] + ["9999-99"]
    until = partner.until or "9999-98"
    return max(
        bps
        for (start, bps), end in zip(known, ends, strict=True)
        if start <= until and partner.from_ < end
    )


def _check_tiers(text: Text, place: Place, tiers: tuple[Tier, ...]) -> None:
    reached: int | None = 0
    for number, tier in enumerate(tiers):
        here = (*place, number)
        if reached is None:
            what = "comes after a tier without an end; give that one an `up_to_cents`"
            raise text.fault(here, what)
        if tier.above_cents != reached:
            kind = "leaves a gap after" if tier.above_cents > reached else "overlaps"
            before = "the tier before" if number else "nothing at all"
            what = f"{tier.above_cents} {kind} {before}; write {reached}"
            raise text.fault((*here, "above_cents"), what)
        if tier.up_to_cents is not None and tier.up_to_cents <= tier.above_cents:
            what = f"is not above {tier.above_cents}; correct it"
            raise text.fault((*here, "up_to_cents"), what)
        reached = tier.up_to_cents
    if tiers and reached is not None:
        what = f"ends at {reached}: more would cost nothing; leave its `up_to_cents` out"
        raise text.fault((*place, len(tiers) - 1, "up_to_cents"), what)
