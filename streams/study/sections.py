"""The figures of a report: every section as plain values, which the page draws."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from features.catalog import Catalog
from models.train import book as books
from models.train.quality import ks_curve, lift, psi, reliability, roc, summary
from streams.deployment import Deployment
from streams.replay import ReplayResult
from streams.study.compare import TOLD, Comparison
from streams.study.fairness import fairness, groups_of
from streams.study.grid import Cell
from streams.study.money import Economics, line_products, profit, rough_profit
from streams.study.rules import features_of, rule_hits, rule_overlap, trace
from streams.study.told import summarise

CASES = 10
CUT_OFF_STEP_PPM = 5_000
CUT_OFF_BINS = 120
PD_BINS = 40
CUTS = ("month", "institution", "channel", "product", "type")


def report_figures(
    comparison: Comparison,
    *,
    names: tuple[str, str],
    economics: Economics,
    groups: Sequence[str] = (),
    events: str = "",
    cells: Sequence[Cell] = (),
) -> dict[str, Any]:
    """Return everything that the page shows of a comparison; JSON holds it."""
    own, other = comparison.panel.deployment, comparison.deployment_b
    rows = with_money(comparison.rows, economics, line_products(own, other))
    kinds = comparison.panel.asked["section"]
    return {
        "names": list(names),
        "versions": [f"policies and models {short_hash(each)}" for each in (own, other)],
        "mode": TOLD[comparison.mode],
        "lacking": {},
        "economics": economics.told(),
        "summary": summarise(comparison, cells, economics),
        **sections_of_rows(rows),
        "rules": {
            "a": rule_hits(comparison.judged_a, own, kinds),
            "b": rule_hits(comparison.judged_b, other, kinds),
            "overlap": rule_overlap(comparison.judged_b, other, kinds),
        },
        "budgets": budget_use(comparison.result),
        "fairness": fairness_by(
            rows, groups, own.catalog, lambda: comparison.panel.rows["features"]
        ),
        "book": book_figures(events),
        "cases": _cases(comparison, rows),
    }


def with_money(rows: pl.DataFrame, economics: Economics, lines: list[str]) -> pl.DataFrame:
    """Add month, and what is lent, lost and earned on both sides, as `streams.study.money` says."""
    return rows.with_columns(
        *profit("a_", economics, lines, rows), *profit("b_", economics, lines, rows)
    ).with_columns(
        month=pl.from_epoch("at", "ms").dt.strftime("%Y-%m"),
        need_profit=rough_profit(economics).fill_null(0),
    )


def sections_of_rows(rows: pl.DataFrame) -> dict[str, Any]:
    """Return the sections that both sides' answers tell by themselves; `rows` of `with_money`."""
    return {
        "window": [_day(rows["at"].min()), _day(rows["at"].max())],
        "totals": _totals(rows),
        "cuts": {name: _cut(rows, name) for name in CUTS},
        "slider": _slider(rows),
        "quality": {side: _quality(rows, side) for side in ("a", "b")},
        "scores": _scores(rows),
        "bands": {side: _bands(rows, side) for side in ("a", "b")},
        "reasons": {side: _counts(rows, f"{side}_reason") for side in ("a", "b")},
        "outcomes": {side: _counts(rows, f"{side}_outcome") for side in ("a", "b")},
    }


def short_hash(deployment: Deployment) -> str:
    """Return a short hash of all policies and models of a side."""
    parts = [info.sha256 for info in deployment.policies.infos]
    parts += [info.sha256 for info in deployment.model_infos]
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def _totals(rows: pl.DataFrame) -> dict[str, Any]:
    told: dict[str, Any] = {"known": int(rows["bad"].count())}
    for side in ("a", "b"):
        known = rows.filter(pl.col(f"{side}_approved") & pl.col("bad").is_not_null())
        told[side] = {
            "approved": int(rows[f"{side}_approved"].sum()),
            "bad_rate": _mean(known["bad"]),
            "known": known.height,
            **{name: float(rows[f"{side}_{name}"].sum()) for name in ("profit", "loss", "lent")},
        }
    return told


def _cut(rows: pl.DataFrame, name: str) -> list[dict[str, Any]]:
    """Return, by value of a column: requests, and for each side approved, known and bad."""
    told: dict[str, dict[str, Any]] = {}
    for side in ("a", "b"):
        column = f"{side}_institution" if name == "institution" else name
        approved = pl.col(f"{side}_approved")
        known = approved & pl.col("bad").is_not_null()
        frame = rows.group_by(pl.col(column).fill_null("–").alias("value")).agg(
            requests=pl.len(),
            approved=approved.sum(),
            known=known.sum(),
            bads=pl.col("bad").filter(known).sum(),
            profit=pl.col(f"{side}_profit").sum(),
        )
        for row in frame.to_dicts():
            value = row.pop("value")
            told.setdefault(value, {"value": value, "a": None, "b": None})[side] = row
    return [told[value] for value in sorted(told)]


def _slider(rows: pl.DataFrame) -> dict[str, Any]:
    """Return, for each cut-off step, what becomes approved at it: the page adds them up."""
    need = (
        rows.filter(pl.col("b_need_ppm").is_not_null())
        .with_columns(
            step=((pl.col("b_need_ppm") + CUT_OFF_STEP_PPM - 1) // CUT_OFF_STEP_PPM).clip(
                1, CUT_OFF_BINS
            ),
            loss=pl.col("b_need_ppm") / 1e6,
        )
        .group_by("step")
        .agg(
            n=pl.len(),
            old=pl.col("a_approved").sum(),
            known=pl.col("bad").count(),
            bads=pl.col("bad").sum(),
            pd=pl.col("loss").sum(),
            profit=pl.col("need_profit").sum(),
        )
    )
    steps = {row["step"]: row for row in need.to_dicts()}
    names = ("n", "old", "known", "bads", "pd", "profit")
    return {
        "step_ppm": CUT_OFF_STEP_PPM,
        "bins": [
            [float(steps[k][name] or 0) if k in steps else 0 for name in names]
            for k in range(1, CUT_OFF_BINS + 1)
        ],
        "requests": rows.height,
        "old": int(rows["a_approved"].sum()),
    }


def _quality(rows: pl.DataFrame, side: str) -> dict[str, Any] | None:
    """Return ranking and calibration of a side's PD on requests with a known outcome."""
    known = rows.filter(pl.col("bad").is_not_null() & pl.col(f"{side}_pd_ppm").is_not_null())
    bad = known["bad"].to_numpy() == 1
    if not bad.any() or bad.all():
        return None
    pd = known[f"{side}_pd_ppm"].to_numpy() / 1e6
    return {
        **summary(bad, pd, pd),
        "roc": roc(bad, pd),
        "ks_curve": ks_curve(bad, pd),
        "lift": lift(bad, pd),
        "reliability": reliability(bad, pd),
    }


def _scores(rows: pl.DataFrame) -> dict[str, Any]:
    """Return distributions of PD on both sides, and their stability by month."""
    pds = {
        side: rows[f"{side}_pd_ppm"].drop_nulls().to_numpy().astype(np.float64)
        for side in ("a", "b")
    }
    every = np.concatenate(list(pds.values()))
    top = float(np.quantile(every, 0.995)) if len(every) else 1.0
    edges = np.linspace(0, max(top, 1.0), PD_BINS + 1)
    first = rows["month"].min()
    by_month = []
    for (month,), group in rows.sort("month").group_by(["month"], maintain_order=True):
        entry: dict[str, Any] = {"month": month, "requests": group.height}
        for side in ("a", "b"):
            column = pl.col(f"{side}_pd_ppm")
            base = rows.filter(pl.col("month") == first).select(column.drop_nulls()).to_series()
            now = group.select(column.drop_nulls()).to_series()
            entry[side] = psi(base.to_numpy().astype(np.float64), now.to_numpy().astype(np.float64))
            entry[f"{side}_mean"] = _mean(now)
        by_month.append(entry)
    return {
        "edges": [float(edge) / 1e6 for edge in edges],
        **{
            side: (np.histogram(np.minimum(pd, top), edges)[0] / max(len(pd), 1)).tolist()
            for side, pd in pds.items()
        },
        "psi_between": psi(pds["a"], pds["b"]),
        "by_month": by_month,
    }


def _bands(rows: pl.DataFrame, side: str) -> list[dict[str, Any]]:
    """Return profit and loss of a side's approvals by institution and band."""
    known = pl.col("bad").is_not_null()
    return (
        rows.filter(pl.col(f"{side}_approved"))
        .group_by(
            institution=pl.col(f"{side}_institution"),
            product=pl.col("product"),
            band=pl.col(f"{side}_band"),
        )
        .agg(
            approved=pl.len(),
            lent=pl.col(f"{side}_lent").sum(),
            loss=pl.col(f"{side}_loss").sum(),
            profit=pl.col(f"{side}_profit").sum(),
            pd=pl.col(f"{side}_pd_ppm").mean() / 1e6,
            apr=pl.col(f"{side}_apr_bps").mean() / 1e4,
            known=known.sum(),
            bads=pl.col("bad").filter(known).sum(),
        )
        .sort("institution", "product", "band")
        .to_dicts()
    )


def _counts(rows: pl.DataFrame, column: str) -> dict[str, int]:
    counted = rows[column].drop_nulls().value_counts(sort=True)
    return dict(zip(counted.to_series(0).to_list(), counted["count"].to_list(), strict=True))


def budget_use(result: ReplayResult) -> list[dict[str, Any]]:
    """Return how much of its leases each institution used, by day, as a replay left them."""
    funding = result.funding
    if funding.is_empty():
        return []
    used = pl.col("reserved_cents") + pl.col("drawn_cents")
    key = ["institution", "cap"]
    daily = (
        funding.with_columns(
            day=pl.from_epoch("at", "ms").dt.date(),
            used=used,
            whole=used + pl.col("free_cents"),
        )
        .group_by(*key, "partition", "day", maintain_order=True)
        .agg(pl.col("used").max(), pl.col("whole").last())
    )
    days = daily.select("day").unique().filter(pl.col("day") > pl.date(1971, 1, 1)).sort("day")
    filled = (
        daily.select(*key, "partition")
        .unique()
        .join(days, how="cross")
        .sort("day")
        .join_asof(daily.sort("day"), on="day", by=[*key, "partition"], check_sortedness=False)
        .group_by(*key, "day")
        .agg(pl.col("used").sum(), pl.col("whole").sum())
        .sort(*key, "day")
    )
    return [
        {
            "institution": institution,
            "cap": cap,
            "granted": float(group["whole"].max() or 0),  # type: ignore[arg-type]
            "peak": float(group["used"].max() or 0),  # type: ignore[arg-type]
            "days": [str(day) for day in group["day"]],
            "used": [float(value) for value in group["used"]],
        }
        for (institution, cap), group in filled.group_by(key, maintain_order=True)
        if group["whole"].max()
    ]


def fairness_by(
    rows: pl.DataFrame,
    groups: Sequence[str],
    catalog: Catalog,
    features: Callable[[], NDArray[np.float64]],
) -> list[dict[str, Any]]:
    """Return both sides' fairness by each declared group; `features` gives [rows, columns], and is
    asked only where a group is declared.
    """
    told = []
    for spec in groups:
        name, values = groups_of(spec, catalog, features())
        told.append(
            {"group": name, "a": fairness(rows, values, "a_"), "b": fairness(rows, values, "b_")}
        )
    return told


def book_figures(events: str) -> dict[str, Any] | None:
    """Return vintages, first-payment default and roll rates, or None where there is no book."""
    found = books.read_book(events)
    if found is None:
        return None
    return {
        "loans": found.loans.height,
        "seen": _day(found.seen_ms),
        "vintages_30": books.vintages(found, 30),
        "vintages_90": books.vintages(found, 90),
        "first_payment": books.first_payment_default(found),
        "buckets": list(books.BUCKETS),
        "rolls": books.roll_rates(found),
    }


def _cases(comparison: Comparison, rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return ten requests that flipped, with the traces of both sides."""
    told = []
    for case in picked_flips(rows.with_row_index("row")):
        row = case["row"]
        kind = int(comparison.panel.asked["section"][row])
        told.append(
            {
                **case_head(case),
                "a": trace(comparison.judged_a, comparison.panel.deployment, row, kind),
                "b": trace(comparison.judged_b, comparison.deployment_b, row, kind),
                "features": features_of(comparison.panel, row),
            }
        )
    return told


def picked_flips(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Return ten requests approved on one side only: half each way, the largest amounts first."""
    flipped = rows.filter(pl.col("a_approved") != pl.col("b_approved"))
    order = flipped.sort("amount_cents", "id", descending=[True, False], nulls_last=True)
    ways = [order.filter(pl.col("b_approved") == way) for way in (True, False)]
    half = CASES // 2
    counts = [max(half, CASES - other.height) for other in reversed(ways)]
    picked = pl.concat([way.head(count) for way, count in zip(ways, counts, strict=True)])
    return picked.head(CASES).to_dicts()


def case_head(case: dict[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a case besides its traces."""
    return {
        name: case[name]
        for name in (
            "id", "applicant", "request", "at", "type", "product", "channel", "amount_cents",
            "tenor_days", "a_outcome", "b_outcome", "a_reason", "b_reason", "a_institution",
            "b_institution", "cause", "bad",
        )
    }  # fmt: skip


def _mean(values: pl.Series) -> float | None:
    mean = values.mean()
    return None if mean is None else float(mean)  # type: ignore[arg-type]


def _day(at_ms: Any) -> str:
    return str(np.datetime64(int(at_ms), "ms").astype("datetime64[D]"))


def event_file(source: str) -> str:
    """Return the source where it is a file that the book can be read from, else nothing."""
    return source if Path(source).is_file() else ""
