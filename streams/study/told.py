"""A comparison in figures: what `--summary json` prints and the head of a report shows."""

from collections.abc import Sequence
from typing import Any

from streams.study.compare import Comparison, impact
from streams.study.grid import Cell, what_if
from streams.study.money import Economics
from streams.study.rules import rule_hits
from streams.study.swaps import swap_figures, swap_in_rate


def summarise(
    comparison: Comparison, cells: Sequence[Cell] = (), economics: Economics | None = None
) -> dict[str, Any]:
    """Return counts, swap sets, causes, how often each rule hit before and after (at all, first,
    alone), and speed; `what_if` has a row a cell.
    """
    rows = comparison.rows
    kinds = comparison.panel.asked["section"]
    figures: dict[str, Any] = {
        "mode": comparison.mode.value,
        "events": comparison.result.records,
        "remarks": comparison.remarks,
        "seconds": round(comparison.seconds, 3),
        "events_per_second": round(comparison.result.records / max(comparison.seconds, 1e-9)),
        **impact(comparison),
        **swap_figures(rows),
        "swap_in_bad_rate": swap_in_rate(rows) or "unknown",
        "rules_before": rule_hits(comparison.judged_a, comparison.panel.deployment, kinds),
        "rules_after": rule_hits(comparison.judged_b, comparison.deployment_b, kinds),
        "same": int(rows["same"].sum()),
        "different": rows.height - int(rows["same"].sum()),
    }
    if cells:
        figures["what_if"] = what_if(comparison.ground(), rows, cells, economics or Economics())
    return figures
