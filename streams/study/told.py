"""A comparison in figures: what `--summary json` prints and the head of a report shows."""

from typing import Any

import polars as pl

from streams.study.compare import Comparison, impact
from streams.study.swaps import swap_figures, swap_in_rate

CUT_OFFS_MAX = 50


def summarise(comparison: Comparison, cut_offs_ppm: list[int] | None = None) -> dict[str, Any]:
    """Return counts, swap sets, causes and speed; `what_if` has a row a cut-off."""
    rows = comparison.rows
    figures: dict[str, Any] = {
        "mode": comparison.mode.value,
        "events": comparison.result.records,
        "remarks": comparison.result.remarks(),
        "seconds": round(comparison.seconds, 3),
        "events_per_second": round(comparison.result.records / max(comparison.seconds, 1e-9)),
        **impact(comparison),
        **swap_figures(rows),
        "swap_in_bad_rate": swap_in_rate(rows) or "unknown",
        "same": int(rows["same"].sum()),
        "different": rows.height - int(rows["same"].sum()),
    }
    if cut_offs_ppm:
        figures["what_if"] = what_if(rows, cut_offs_ppm)
    return figures


def what_if(rows: pl.DataFrame, cut_offs_ppm: list[int]) -> list[dict[str, Any]]:
    """Return what each cut-off, in place of every cut-off of B, would approve; all in one pass.

    A request passes at a cut-off from its `b_need_ppm` on: the least PD among B's candidates that
    nothing but the cut-off speaks against. Money is as B saw it.
    """
    need = pl.col("b_need_ppm")
    grid = rows.select(
        *[
            expression.alias(f"{cut} {name}")
            for cut in cut_offs_ppm
            for name, expression in (
                ("approved", (need <= cut).sum()),
                ("bads", pl.col("bad").filter(need <= cut).sum()),
                ("known", pl.col("bad").filter(need <= cut).count()),
                ("swap_in", ((need <= cut) & ~pl.col("a_approved")).sum()),
                ("swap_out", (~(need <= cut).fill_null(value=False) & pl.col("a_approved")).sum()),
            )
        ]
    ).to_dicts()[0]
    told = []
    for cut in cut_offs_ppm:
        row = {name: int(grid[f"{cut} {name}"] or 0)
               for name in ("approved", "bads", "known", "swap_in", "swap_out")}  # fmt: skip
        told.append(
            {
                "cut_off_ppm": cut,
                **row,
                "approval_rate": row["approved"] / max(rows.height, 1),
                "bad_rate": row["bads"] / row["known"] if row["known"] else None,
            }
        )
    return told
