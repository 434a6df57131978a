"""Real data, real figures: `make results` writes docs/RESULTS.md; with the argument `simulated`
only its part on the simulator, which needs no data.

Every figure is of five seeds: mean, least to most, and a 95 % interval. Nothing is tuned on what is
measured.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from string import Template
from typing import TypeVar

import numpy as np

from examples.results import flat, history, simulated
from examples.results.told import Figure, Runs, verdict

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "docs" / "RESULTS.md"
PAGE = Path(__file__).with_name("page.txt")


def _row(name: str, runs: Runs, mark: float, source: str) -> str:
    return (
        f"| {name} | {runs.rows_test:,} | {runs.auc.told()} | {runs.ks.told()} |"
        f" {runs.bad_rate:.1%} | {runs.mean_pd:.1%} | {mark:.3f} {source} |"
        f" {verdict(runs.auc, mark)} |\n"
    )


def _timed(name: str, make: Callable[[], T]) -> T:
    started = time.monotonic()
    made = make()
    print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    return made


def _firms(data: Path, folder: Path) -> dict[str, str]:
    firms = history.sme_invoices(data, folder)
    estimates = [metrics.auc for metrics in firms.metrics]
    values = [estimate.value for estimate in estimates]
    low, high = (float(np.mean([getattr(e, side) for e in estimates])) for side in ("low", "high"))
    auc = Figure(float(np.mean(values)), min(values), max(values), low, high)
    ks = [metrics.ks.value for metrics in firms.metrics]
    return {
        "events": f"{firms.events:,}",
        "firms": str(firms.firms),
        "bads": str(firms.bads),
        "auc": auc.told(),
        "ks": f"{np.mean(ks):.3f} ({min(ks):.3f} to {max(ks):.3f})",
    }


def _rolls(data: Path) -> str:
    return "".join(
        f"| {name} | {rate:.1%} | {accounts:,} |\n"
        for name, rate, accounts in flat.roll_rates(data)
    )


def main() -> int:
    """Write the page; return 2 where the data are not there."""
    if sys.argv[1:] == ["simulated"]:
        text = TARGET.read_text(encoding="utf-8")
        before, _, rest = text.partition(simulated.HEADING)
        _, _, after = rest.partition("\n## ")
        section = _timed("simulated", simulated.told)
        TARGET.write_text(f"{before}{section}\n## {after}", encoding="utf-8")
        return 0
    data = Path(os.environ.get("DIPPER_DATA", ROOT.parent / "shared" / "data"))
    if not (data / "superlender").is_dir():
        print(f"results: no data in {data}; name its folder in DIPPER_DATA", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables: tuple[tuple[str, Callable[[], Runs], float, str], ...] = (
            (
                "superlender, July 70/30",
                lambda: history.superlender_july(data, folder),
                0.699,
                "(published, and plain)",
            ),
            (
                "superlender, before July",
                lambda: history.superlender_before_july(data, folder),
                0.687,
                "(plain)",
            ),
            ("heloc", lambda: flat.heloc(data), 0.794, "(published)"),
            ("sba, case", lambda: flat.sba_case(data), 0.854, "(plain)"),
            ("sba, national", lambda: flat.sba_national(data), 0.788, "(plain)"),
        )
        rows = [
            _row(label, _timed(label, make), mark, source) for label, make, mark, source in tables
        ]
        firms = _timed("sme_invoices", lambda: _firms(data, folder))
        rolls = _timed("monthly_dpd", lambda: _rolls(data))
        firms["simulated"] = _timed("simulated", simulated.told)
    page = Template(PAGE.read_text(encoding="utf-8"))
    TARGET.write_text(page.substitute(rows="".join(rows), rolls=rolls, **firms), encoding="utf-8")
    print(TARGET.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
