"""The platform's and the institutions' own files: products, channels, ceilings, caps, words for
reasons.
"""

import datetime as dt
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from models.policy.documents import (
    Document,
    Listed,
    Name,
    Text,
    content_address,
    read_document,
    suggestion,
)
from models.policy.errors import fault
from models.policy.price import APR_BPS_MAX
from models.policy.reasons import BIT, BY_RULE, REASONS
from streams.limits import AMOUNT_CENTS_MAX, Limits

SIDES = ("consumer", "business")
CHANNELS_MAX = 64  # one bit each in a policy's mask
PARTITIONS_MAX = 4_096
LISTS_FOLDER = "lists"  # the platform's own; an institution's stand beside its policies
FEES_FILE = "fees.toml"  # stands beside an institution's policies; nothing that decides reads it

Side = Literal["consumer", "business"]
RULE_REASONS = tuple(reason.code for reason in REASONS if reason.set_by == BY_RULE)


class Product(Document):
    """What applicants may ask for. `ranking` orders offers: lowest yearly cost first, or largest
    amount.
    """

    id: Name
    side: Side
    kind: Literal["line", "loan"]
    ranking: Literal["cost", "amount"] = "cost"


class Channel(Document):
    """Where requests come from; one that names an institution is that institution's alone."""

    id: Name
    institution: Name | None = None


class AprCeiling(Document):
    """The highest all-in yearly cost that the law allows a side from the start of a day (UTC)."""

    from_: Annotated[dt.date, Field(alias="from")]
    side: Side
    apr_bps: Annotated[int, Field(ge=0, le=APR_BPS_MAX)]

    @property
    def from_at(self) -> int:
        """Return the first millisecond of the day, epoch ms."""
        return (self.from_ - dt.date(1970, 1, 1)).days * 86_400_000


class PlatformRule(Document):
    """A rule that holds for every institution of a side, on columns that only the platform may
    read.
    """

    name: Name
    side: Side
    sections: Listed[Literal["application", "drawdown"]] = ("application", "drawdown")
    when: str
    reason: str

    @field_validator("reason")
    @classmethod
    def _known(cls, reason: str) -> str:
        if reason not in RULE_REASONS:
            raise ValueError(
                f"no rule may give the reason {reason}; {suggestion(reason, RULE_REASONS)}"
            )
        return reason


class _PlatformDocument(Document):
    partitions: Annotated[int, Field(ge=1, le=PARTITIONS_MAX)] = 1
    decision_key: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    features: Literal["used", "all"] | Listed[Name] = "used"
    limits: dict[str, int] = Field(default_factory=dict)
    products: Listed[Product]
    channels: Annotated[Listed[Channel], Field(max_length=CHANNELS_MAX)]
    apr_ceilings: Listed[AprCeiling] = ()
    rules: Listed[PlatformRule] = ()
    lists: dict[Name, str] = Field(default_factory=dict)


Cents = Annotated[int, Field(ge=0, le=AMOUNT_CENTS_MAX)]


class Segment(Document):
    """A part of an institution's lending with caps of its own, cents; no amount, no bound.

    It holds what is of one of `products`, in one of `bands` (rows of the section's table, from 0),
    and of an applicant whose category `attribute` is one of `values`; empty: any. `at_random`: only
    what was approved at random, below the cut-off.
    """

    id: Name
    products: Listed[Name] = ()
    bands: Listed[Annotated[int, Field(ge=0, lt=64)]] = ()
    attribute: Name | None = None
    values: Listed[str] = ()
    at_random: bool = False
    outstanding_cents: Cents | None = None
    commitment_cents: Cents | None = None
    outstanding_day_cents: Cents | None = None
    commitment_day_cents: Cents | None = None


class Caps(Document):
    """An institution's budgets, cents: principal lent and not repaid, and limits of open lines.

    `..._day_cents`: what may be promised for requests of one day, which begins
    `day_utc_offset_minutes` before the day of UTC does.
    """

    outstanding_cents: Cents
    commitment_cents: Cents
    outstanding_day_cents: Cents | None = None
    commitment_day_cents: Cents | None = None
    day_utc_offset_minutes: Annotated[int, Field(ge=-840, le=840)] = 0
    segments: Listed[Segment] = ()


class _InstitutionDocument(Document):
    id: Name
    name: Annotated[str, Field(min_length=1)]
    caps: Caps
    reasons: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class Platform:
    """`platform.toml`, checked. Codes of products and channels are their places here.

    `features`: which columns are computed and stand in evidence. "used": those that models and
    policies read; names: these besides; "all": the whole catalog. `lists`: files of the lists that
    the platform's rules ask, by name; their contents are in `sha256`.
    """

    path: Path
    sha256: str
    partitions: int
    decision_key: bytes
    features: Literal["used", "all"] | tuple[str, ...]
    limits: Limits
    products: tuple[Product, ...]
    channels: tuple[Channel, ...]
    apr_ceilings: tuple[AprCeiling, ...]
    rules: tuple[PlatformRule, ...]
    lists: Mapping[str, Path]
    text: Text

    def product_code(self, id: str) -> int:
        """Return a product's code, -1 where there is none."""
        return next((code for code, product in enumerate(self.products) if product.id == id), -1)

    def channel_code(self, id: str) -> int:
        """Return a channel's code, -1 where there is none."""
        return next((code for code, channel in enumerate(self.channels) if channel.id == id), -1)


@dataclass(frozen=True)
class Institution:
    """`institutions/<id>/institution.toml`, checked. Its code is its place among all ids in order.

    `reasons` maps the institution's own words to platform codes.
    """

    path: Path
    code: int
    id: str
    name: str
    caps: Caps
    reasons: Mapping[str, str]
    text: Text

    @property
    def own_reasons(self) -> dict[str, str]:
        """Return the institution's word for each platform code that it maps; the first counts."""
        words: dict[str, str] = {}
        for own, code in self.reasons.items():
            words.setdefault(code, own)
        return words


def load_platform(config_dir: Path | str) -> Platform:
    """Read `platform.toml`; PolicyError where it is wrong."""
    document, text = read_document(Path(config_dir) / "platform.toml", _PlatformDocument)
    for field in ("products", "channels", "rules"):
        rows: tuple[Any, ...] = getattr(document, field)
        _refuse_repeats(text, field, [row.name if field == "rules" else row.id for row in rows])
    starts = [(ceiling.side, ceiling.from_) for ceiling in document.apr_ceilings]
    for place, start in enumerate(starts):
        if start in starts[:place]:
            raise text.fault(
                ("apr_ceilings", place, "from"), "a second ceiling from this day; remove one"
            )
    lists, contents = list_files(text, document.lists, Path(config_dir) / LISTS_FOLDER)
    sha256 = hashlib.sha256(text.data).hexdigest()
    if contents:
        sha256 = content_address([(text.path.name, text.data), *sorted(contents.items())])
    return Platform(
        path=text.path,
        sha256=sha256,
        partitions=document.partitions,
        decision_key=bytes.fromhex(document.decision_key),
        features=document.features,
        limits=_limits(document.limits, text),
        products=document.products,
        channels=document.channels,
        apr_ceilings=tuple(sorted(document.apr_ceilings, key=lambda ceiling: ceiling.from_)),
        rules=document.rules,
        lists=lists,
        text=text,
    )


def list_files(
    text: Text, named: Mapping[str, str], folder: Path
) -> tuple[dict[str, Path], dict[str, bytes]]:
    """Return the files of `[lists]` in `folder` by the list's name, and their contents by file."""
    paths: dict[str, Path] = {}
    contents: dict[str, bytes] = {}
    for name, file in named.items():
        if Path(file).name != file or not file.endswith(".csv"):
            raise text.fault(("lists", name), f"must name a .csv file in {folder}; correct it")
        paths[name] = folder / file
        try:
            contents[file] = paths[name].read_bytes()
        except OSError as error:
            what = f"{paths[name]} cannot be read ({error.strerror}); add the file"
            raise text.fault(("lists", name), what) from None
    return paths, contents


def _refuse_repeats(text: Text, field: str, ids: list[str]) -> None:
    for place, id in enumerate(ids):
        if id in ids[:place]:
            raise text.fault((field, place), f"{id} stands twice; rename or remove one")


def _limits(overrides: dict[str, int], text: Text) -> Limits:
    for name in overrides:
        if name not in Limits._fields:
            raise text.fault(("limits", name), f"unknown limit; {suggestion(name, Limits._fields)}")
    try:
        return Limits(**overrides).check()
    except AssertionError as error:
        raise text.fault(("limits",), f"{error}; change it") from None


def load_institutions(config_dir: Path | str, platform: Platform) -> list[Institution]:
    """Read every `institutions/<id>/institution.toml` in order of id; PolicyError where one is
    wrong.
    """
    root = Path(config_dir) / "institutions"
    folders = sorted(p for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    institutions = [_load_institution(folder, code) for code, folder in enumerate(folders)]
    ids = [institution.id for institution in institutions]
    for place, channel in enumerate(platform.channels):
        if channel.institution is not None and channel.institution not in ids:
            raise platform.text.fault(
                ("channels", place, "institution"),
                f"no institution {channel.institution}; {suggestion(channel.institution, ids)}",
            )
    return institutions


def _load_institution(folder: Path, code: int) -> Institution:
    path = folder / "institution.toml"
    if not path.is_file():
        raise fault(folder, 0, "", "has no institution.toml; add it or remove the folder")
    document, text = read_document(path, _InstitutionDocument)
    if document.id != folder.name:
        raise text.fault(("id",), f"is {document.id} in the folder {folder.name}; make them equal")
    for own, reason in document.reasons.items():
        if reason not in BIT:
            raise text.fault(
                ("reasons", own), f"unknown reason {reason}; {suggestion(reason, tuple(BIT))}"
            )
    return Institution(
        path, code, document.id, document.name, document.caps, document.reasons, text
    )
