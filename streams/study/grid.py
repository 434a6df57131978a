"""What if: one side's policies under other cut-offs, prices and caps, on one replay of the past.

Each cell of the grid is judged by the decide stage itself, on the features as they were recorded.
Take-up is held constant: nobody takes or leaves an offer for its price.

- A cut-off stands in the place of every cut-off; whom it lets in above the last band gets what the
  last band gets.
- A price is a number of basis points on the yearly rate of every band, never below 0.
- Caps are a share of every institution's budgets; the cell lives with its own use of them, in log
  order (`streams.study.pots`). Caps by day and segment are left out there. Without them money is as
  it was seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.policy.bands import RATE_BPS_MAX, Band
from models.policy.build import PolicyPlan, SectionPlan, build_tables
from models.policy.loader import ceiling_plans, product_plan
from models.policy.policies import Policies
from streams.buffers import Array
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.limits import BPS, PPM
from streams.replay import ReplayResult
from streams.schema import VERDICT, Outcome
from streams.study.money import Economics, line_products, profit
from streams.study.panel import METHOD_NAMES, Panel, named
from streams.study.pots import Pots, make_pots
from streams.study.rejudge import Trial, rejudge

CELLS_MAX = 100
CAP_BPS_MAX = 100 * BPS
_CHUNK_ROWS = 65_536
_CAPACITY = int(Outcome.CAPACITY)
_RANGES = {
    "cut_off_ppm": (0, PPM),
    "rate_bps": (-RATE_BPS_MAX, RATE_BPS_MAX),
    "cap_bps": (0, CAP_BPS_MAX),
}


class Cell(NamedTuple):
    """One policy to try; a field that is None stays as it is."""

    cut_off_ppm: int | None = None
    rate_bps: int | None = None
    """Added to the yearly rate of every band."""
    cap_bps: int | None = None
    """Share of every budget, 10,000: as it is."""


@dataclass(frozen=True)
class Ground:
    """What cells are tried on: a replay, and what the policies of `deployment` are asked of it."""

    panel: Panel
    result: ReplayResult
    deployment: Deployment
    trial: Trial


def parse_cells(texts: Sequence[str]) -> tuple[Cell, ...]:
    """Return the cells of `cut_off_ppm=100000,150000`, `rate_bps=-100,0`, `cap_bps=5000,10000`:
    each with each, rising. A list without a name is one of cut-offs.

    Raises DipperError on an unknown name, a number that is none or out of range, too many cells.
    """
    values: dict[str, set[int]] = {}
    for text in filter(None, texts):
        name, sign, numbers = text.rpartition("=")
        name = name.strip() if sign else "cut_off_ppm"
        if name not in _RANGES:
            raise DipperError(f"--what-if {text}: names are {', '.join(_RANGES)}")
        low, high = _RANGES[name]
        try:
            found = {int(part.replace("_", "")) for part in numbers.split(",") if part.strip()}
        except ValueError as error:
            raise DipperError(f"--what-if {text}: not whole numbers ({error})") from error
        if not found or min(found) < low or max(found) > high:
            raise DipperError(f"--what-if {text}: each {name} is from {low:,} to {high:,}")
        values.setdefault(name, set()).update(found)
    if not values:
        return ()
    axes = (sorted(values[name]) if name in values else [None] for name in Cell._fields)
    cells = tuple(Cell(*each) for each in product(*axes))
    if len(cells) > CELLS_MAX:
        raise DipperError(f"--what-if: {len(cells)} cells; try at most {CELLS_MAX} at once")
    return cells


def altered(deployment: Deployment, cell: Cell) -> Policies:
    """Return the policies of a deployment under the cut-off and price of a cell."""
    policies, platform = deployment.policies, deployment.platform
    plans = tuple(_altered_policy(plan, cell) for plan in policies.plans)
    tables = build_tables(
        [product_plan(each) for each in platform.products],
        ceiling_plans(platform),
        plans,
        policies.lists,
        platform.decision_key,
    )
    return Policies(
        tables, policies.infos, plans, policies.lists, policies.rule_words, policies.candidates_max
    )


def _altered_policy(plan: PolicyPlan, cell: Cell) -> PolicyPlan:
    first, second = (
        None if section is None else _altered_section(section, cell) for section in plan.sections
    )
    return plan._replace(sections=(first, second))


def _altered_section(section: SectionPlan, cell: Cell) -> SectionPlan:
    bands = section.bands
    if cell.rate_bps is not None:
        bands = tuple(_priced(band, cell.rate_bps) for band in bands)
    cut_off = section.cut_off_pd_ppm
    if cell.cut_off_ppm is not None and section.model >= 0:
        cut_off = cell.cut_off_ppm
        if section.matrix is None:
            last = bands[-1]
            bands = (*bands[:-1], last._replace(pd_ppm_max=max(last.pd_ppm_max, cut_off)))
    return section._replace(bands=bands, cut_off_pd_ppm=cut_off)


def _priced(band: Band, rate_bps: int) -> Band:
    return band._replace(rate_bps=min(max(band.rate_bps + rate_bps, 0), RATE_BPS_MAX))


class Tried(NamedTuple):
    """What a cell says to the n requests of a panel, in their order."""

    verdicts: Array
    """VERDICT[n] of the offer that is funded; all 0 where nothing is."""
    approved: NDArray[np.bool_]
    no_money: NDArray[np.bool_]
    """There was an offer, and no money for it."""


def try_cell(ground: Ground, cell: Cell) -> Tried:
    """Judge all requests of the panel under one cell."""
    policies = altered(ground.deployment, cell)
    head = ground.panel.rows["head"]
    rows = len(head)
    order = np.arange(rows)
    if rows and head["partition"].min() != head["partition"].max():
        # Of several partitions one order: that of the requests' own times.
        order = np.argsort(head["at"], kind="stable")
    pots = None if cell.cap_bps is None else _pots(ground, cell.cap_bps, order)
    tried = Tried(np.zeros(rows, VERDICT), np.zeros(rows, bool), np.zeros(rows, bool))
    for first in range(0, rows, _CHUNK_ROWS):
        part = order[first : first + _CHUNK_ROWS]
        if pots is not None:
            pots.base[0] = first
        judged = rejudge(policies, ground.trial.only(part), pots)
        approved = judged.chosen >= 0
        chosen = judged.verdicts[np.arange(len(part)), np.maximum(judged.chosen, 0)]
        tried.verdicts[part[approved]] = chosen[approved]
        tried.approved[part] = approved
        valid = np.arange(judged.verdicts.shape[1])[None, :] < judged.count[:, None]
        short = (valid & (judged.verdicts["outcome"] == _CAPACITY)).any(axis=1)
        tried.no_money[part] = ~approved & short
    return tried


def _pots(ground: Ground, cap_bps: int, order: NDArray[np.int64]) -> Pots:
    panel, judged = ground.panel, ground.panel.judged
    funded = judged.chosen >= 0
    spoken = judged.verdicts[np.arange(len(order)), np.maximum(judged.chosen, 0)]
    codes = np.where(funded, spoken["institution"], -1)
    frame = pl.DataFrame(
        {
            "id": panel.ids["id"],
            "institution": named(panel.deployment.institution_ids, codes),
            "amount_cents": np.where(funded, spoken["amount_cents"], 0),
        }
    )
    clock = np.maximum.accumulate(panel.rows["head"]["at"][order])
    return make_pots(
        ground.deployment.caps, cap_bps, clock, frame[order.tolist()], ground.result.funding
    )


def what_if(
    ground: Ground, rows: pl.DataFrame, cells: Sequence[Cell], economics: Economics
) -> list[dict[str, Any]]:
    """Return what each cell would approve of `rows`, in the order of `cells`.

    `rows` has place (of the panel; null: not in it), a_approved, bad, type, product, tenor_days,
    and may be a part of the panel: money is that of all. Counts are requests, swap_in and swap_out
    are against side A; sums are cents, profit as `streams.study.money` has it.
    """
    lines = line_products(ground.panel.deployment, ground.deployment)
    asked = rows.select("place", "a_approved", "bad", "type", "product", "tenor_days")
    return [_told(try_cell(ground, cell), asked, cell, economics, lines) for cell in cells]


def _told(
    tried: Tried, asked: pl.DataFrame, cell: Cell, economics: Economics, lines: list[str]
) -> dict[str, Any]:
    verdicts = tried.verdicts
    names = ("amount_cents", "fee_cents", "instalment_cents", "apr_bps", "pd_ppm")
    offers = pl.DataFrame(
        {
            "c_approved": tried.approved,
            "no_money": tried.no_money,
            "c_method": named(METHOD_NAMES, verdicts["method"]),
            **{f"c_{name}": np.ascontiguousarray(verdicts[name]) for name in names},
        }
    )
    rows = pl.concat([asked, offers[asked["place"]]], how="horizontal").with_columns(
        pl.col("c_approved", "no_money").fill_null(value=False)
    )
    approved, old = pl.col("c_approved"), pl.col("a_approved")
    told = (
        rows.with_columns(*profit("c_", economics, lines, rows))
        .select(
            approved=approved.sum(),
            known=pl.col("bad").filter(approved).count(),
            bads=pl.col("bad").filter(approved).sum(),
            swap_in=(approved & ~old).sum(),
            swap_out=(~approved & old).sum(),
            no_money=pl.col("no_money").sum(),
            lent_cents=pl.col("c_lent").sum().round().cast(pl.Int64),
            loss_cents=pl.col("c_loss").sum().round().cast(pl.Int64),
            profit_cents=pl.col("c_profit").sum().round().cast(pl.Int64),
            apr_bps=pl.col("c_apr_bps").filter(approved).mean(),
        )
        .to_dicts()[0]
    )
    return {
        **cell._asdict(),
        **told,
        "approval_rate": told["approved"] / max(rows.height, 1),
        "bad_rate": told["bads"] / told["known"] if told["known"] else None,
    }
