"""The report of a replay beside decisions that were written before, by a worker or another replay.

A decision tells its answer and what each institution said: outcome, reasons, PD, yearly cost. The
rest of the old side (bands, rules, features) stands in its evidence; the page says where it lacks.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from streams.errors import DipperError
from streams.replay import ReplayResult
from streams.study.compare import Mode, label_remarks, own_ground, with_labels
from streams.study.grid import Cell, what_if
from streams.study.money import Economics, line_products
from streams.study.panel import OUTCOMES, Panel, answers, make_panel
from streams.study.recorded import (
    compare_recorded,
    summarise_recorded,
)
from streams.study.rules import features_of, rule_hits, rule_overlap, trace
from streams.study.scope import SCOPES, feature_column, feature_value, holds, split_scope
from streams.study.sections import (
    book_figures,
    budget_use,
    case_head,
    fairness_by,
    picked_flips,
    sections_of_rows,
    short_hash,
    with_money,
)
from streams.study.swaps import swap_in_rate

MODE = (
    "beside written decisions: the old side is what was decided then, the new one a replay of the"
    " log with its own offers, lines and leases; what applicants did stands in the log, so take-up"
    " is held constant"
)
LACKING = {
    "profit": "A written decision names no band: the old side has one row an institution and"
    " product.",
    "rules": "Which rules fired on the old side is not known: decisions hold reasons, and rules"
    " stand in the evidence beside them. Name the old policy with --against to see both.",
    "budgets": "As the new side's replay left them: what the old side's leases held is not in its"
    " decisions.",
    "cases": "Of the old side, what its decision says: no rules, bands or features, and a price"
    " only of the offer that was made. Features are those of the replay.",
    "past": "The new side's features and scores are those of the step that decides live, replayed."
    " The old side's PDs are those of its decisions; its features are not known.",
}
_KEYS = ("applicant", "request")
_OFFER = ("amount_cents", "rate_bps", "fee_cents", "instalment_cents", "method")


@dataclass(frozen=True)
class Beside:
    """A replay beside written decisions, one row a request of either side."""

    rows: pl.DataFrame
    """As `streams.study.recorded.compare_recorded`, and both sides as a_… and b_… by the names of
    `streams.study.panel.answers` (of the old side: what a decision tells); id, amount_cents,
    tenor_days, cause (the verdict), bad (null: not known), candidates (the old side's), and place:
    the row in the panel, null where only the old side decided."""
    panel: Panel
    result: ReplayResult
    before: pl.DataFrame
    """What was decided then (`streams.frames.DECISIONS`)."""
    source: str
    """What was replayed."""
    remarks: list[str]
    """What of the log and the labels is worth saying."""


def set_beside(
    before: pl.DataFrame, result: ReplayResult, source: str, labels: pl.DataFrame | None = None
) -> Beside:
    """Set decisions (`streams.frames.DECISIONS`) beside the replay of a source."""
    panel = make_panel(result)
    new = pl.concat(
        [
            panel.ids.select(*_KEYS, b_id="id"),
            answers(panel.judged, panel.deployment, "b_"),
            pl.DataFrame(
                {
                    f"asked_{name}": np.ascontiguousarray(panel.rows["head"][name])
                    for name in ("amount_cents", "tenor_days")
                }
            ),
        ],
        how="horizontal",
    ).with_row_index("place")
    old = answers_written(before)
    rows = (
        compare_recorded(before, result.decisions)
        .join(old, on=_KEYS, how="left", maintain_order="left")
        .join(new.unique(_KEYS, keep="first"), on=_KEYS, how="left", maintain_order="left")
        .with_columns(
            pl.col("a_approved", "b_approved").fill_null(value=False),
            id=pl.coalesce("b_id", "a_id"),
            amount_cents=pl.coalesce("asked_amount_cents", "a_amount_cents"),
            tenor_days=pl.coalesce("asked_tenor_days", "a_tenor_days"),
            cause="verdict",
        )
    )
    remarks = result.remarks() + label_remarks(rows, labels)
    return Beside(with_labels(rows, labels), panel, result, before, source, remarks)


def answers_written(decisions: pl.DataFrame) -> pl.DataFrame:
    """Return what decisions tell of `streams.study.panel.answers`, as a_…, by applicant and
    request, with id, tenor_days and candidates; the band is null.

    The candidate that speaks is the one that funds, else the first of those that came furthest.
    """
    funds = (pl.col("c_institution") == pl.col("institution")) & (pl.col("c_outcome") == "approved")
    came_to = pl.col("c_outcome").replace_strict(
        OUTCOMES, range(len(OUTCOMES)), default=-1, return_dtype=pl.Int64
    )
    speakers = (
        decisions.select("id", "institution", "candidates")
        .explode("candidates")
        .filter(pl.col("candidates").is_not_null())
        .with_columns(pl.col("candidates").name.prefix_fields("c_"))
        .unnest("candidates")
        .with_columns(order=came_to + len(OUTCOMES) * funds.fill_null(value=False))
        .sort("order", descending=True, maintain_order=True)
        .group_by("id", maintain_order=True)
        .first()
        .select("id", a_institution="c_institution", a_pd_ppm="c_pd_ppm", a_apr_bps="c_apr_bps")
    )
    approved = pl.col("outcome") == "approved"
    return decisions.join(speakers, on="id", how="left", maintain_order="left").select(
        *_KEYS,
        "candidates",
        pl.coalesce("institution", "a_institution").alias("a_institution"),
        a_id="id",
        a_approved=approved,
        a_outcome="outcome",
        a_reason=pl.col("reasons").list.first(),
        a_pd_ppm=pl.when(pl.col("a_pd_ppm") >= 0).then("a_pd_ppm"),
        a_apr_bps=pl.when(approved).then("a_apr_bps"),
        a_band=pl.lit(None, pl.Int64),
        a_tenor_days="tenor_days",
        **{f"a_{name}": pl.col(name) for name in _OFFER},
    )


def report_beside(
    beside: Beside,
    *,
    names: tuple[str, str],
    economics: Economics,
    groups: Sequence[str] = (),
    events: str = "",
    cells: Sequence[Cell] = (),
) -> dict[str, Any]:
    """Return everything that the page shows, as `streams.study.sections.report_figures`."""
    panel, own = beside.panel, beside.panel.deployment
    rows = with_money(beside.rows, economics, line_products(own))
    mask = np.zeros(len(panel.rows), bool)
    mask[rows["place"].drop_nulls().to_numpy()] = True
    judged, kinds = panel.judged.only(mask), panel.asked["section"][mask]
    return {
        "names": list(names),
        # A replay that reads all features has a manifest of its own: it would only look different.
        "versions": [_manifests(beside.before), f"policies and models {short_hash(own)}"],
        "mode": MODE,
        "lacking": LACKING,
        "economics": economics.told(),
        "summary": summarise_beside(beside, cells, economics),
        **sections_of_rows(rows),
        "rules": {
            "a": None,
            "b": rule_hits(judged, own, kinds),
            "overlap": rule_overlap(judged, own, kinds),
        },
        "budgets": budget_use(beside.result),
        "fairness": fairness_by(rows, groups, own.catalog, lambda: _features(panel, rows["place"])),
        "book": book_figures(events),
        "cases": [_case(beside, case) for case in picked_flips(rows)],
    }


def summarise_beside(
    beside: Beside, cells: Sequence[Cell] = (), economics: Economics | None = None
) -> dict[str, Any]:
    """Return `streams.study.recorded.summarise_recorded`, and what a report's head shows."""
    rows = beside.rows
    told = summarise_recorded(rows)
    figures = {
        **told,
        # A decision does not hold the state that it was made in: the new side lives with its own.
        "mode": Mode.CLOSED.value,
        "events": beside.result.records,
        "causes": told["verdicts"],
        "approval_rate_before": float(rows["a_approved"].mean() or 0.0),  # type: ignore[arg-type]
        "approval_rate_after": float(rows["b_approved"].mean() or 0.0),  # type: ignore[arg-type]
        "swap_in_bad_rate": swap_in_rate(rows) or "unknown",
    }
    if cells:
        ground = own_ground(beside.panel, beside.result, beside.source)
        figures["what_if"] = what_if(ground, rows, cells, economics or Economics())
    return figures


def scoped_beside(beside: Beside, scope: Sequence[str]) -> Beside:
    """Keep the requests that every `NAME=VALUE` of a scope holds for, one of SCOPES or a feature;
    features are those of the replay, and one that only the old side decided has none.
    """
    own, rows = beside.panel.deployment, beside.rows
    keep = pl.Series([True] * rows.height, dtype=pl.Boolean)
    for name, value in split_scope(scope):
        if name in SCOPES:
            keep &= holds(rows, name, value, ("before_institution", "after_institution"))
        else:
            column = feature_column(own, name)
            known = _features(beside.panel, rows["place"])[:, column]
            keep &= pl.Series(known == feature_value(own, name, value))
    if scope and not keep.any():
        raise DipperError(f"--scope {' '.join(scope)}: no request is in it; widen it")
    return replace(beside, rows=rows.filter(keep))


def _features(panel: Panel, place: pl.Series) -> NDArray[np.float64]:
    """Return [n, columns]: the features of the replay, NaN where only the old side decided."""
    known = place.is_not_null().to_numpy()
    features = np.full((len(place), len(panel.deployment.catalog.columns)), np.nan)
    features[known] = panel.rows["features"][place.drop_nulls().to_numpy()]
    return features


def _case(beside: Beside, case: dict[str, Any]) -> dict[str, Any]:
    panel, row = beside.panel, case["place"]
    new: dict[str, Any] = {"b": [], "features": {}}
    if row is not None:
        kind = int(panel.asked["section"][row])
        new["b"] = trace(panel.judged, panel.deployment, row, kind)
        new["features"] = features_of(panel, row)
    return {**case_head(case), "a": _trace_written(case), **new}


def _trace_written(case: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a decision tells of each institution, as `streams.study.rules.trace`."""
    told = []
    for each in case["candidates"] or []:
        chosen = case["a_approved"] and each["institution"] == case["a_institution"]
        told.append(
            {
                "policy": f"{each['institution']} {each['policy']}",
                "outcome": each["outcome"],
                "chosen": chosen,
                "pd_ppm": each["pd_ppm"],
                "band": -1,
                "amount_cents": case["a_amount_cents"] if chosen else None,
                "rate_bps": case["a_rate_bps"] if chosen else None,
                "apr_bps": each["apr_bps"],
                "reasons": each["reasons"] or [],
                "rules": [],
            }
        )
    return told


def _manifests(decisions: pl.DataFrame) -> str:
    """Return under which versions all was decided, in order."""
    found = decisions["manifest"].drop_nulls().unique(maintain_order=True).to_list()
    first = f"manifest {found[0][:16]}" if found else "manifest not told"
    return f"{first} and {len(found) - 1} more" if len(found) > 1 else first
