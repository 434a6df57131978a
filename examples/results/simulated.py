"""The simulator, where the truth is known: is a PD near the true one, and does the interval of
swap-ins cover what became of them?

1. A world of its own seed writes a log with labels and the true PD of each request. 2. A strict
deployment decides it; only whom it approved has an outcome. 3. A looser one is compared: the
interval that the report would show for those whom only it approves is set beside the outcome that
the simulator kept.
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.train.dataset import read_labels
from streams.simulate.log import truth_path, write_log
from streams.simulate.world import WorldConfig
from streams.study.compare import compare
from streams.study.swaps import swap_in_rate

POLICIES = Path(__file__).resolve().parents[1] / "policies"
START_MS = 1_767_225_600_000  # 2026-01-01
SEEDS = range(101, 151)  # the example models have learnt from the world of seed 1
STRICT_PPM = 70_000
HEADING = "## On the simulator"
CUT_OFF = re.compile(r"^(cut_off_pd_ppm *= *)([0-9_]+)", re.MULTILINE)


class Seen(NamedTuple):
    """What one world came to."""

    requests: int
    mean_pd: float
    mean_true_pd: float
    calibration_error: float
    """Mean gap between PD and true PD over tenths of PD."""
    swap_ins: int
    bad_rate: float
    """Of the swap-ins, as the simulator kept it."""
    true_rate: float
    """Mean true PD of the swap-ins."""
    low: float
    high: float

    @property
    def covered(self) -> bool:
        """Whether the interval holds the bad rate of the swap-ins."""
        return self.low <= self.bad_rate <= self.high


def strict_deployment(folder: Path) -> Path:
    """Copy the example to `folder`, with no cut-off above STRICT_PPM."""
    shutil.copytree(POLICIES, folder)
    for path in folder.glob("institutions/*/*.toml"):
        text = path.read_text(encoding="utf-8")
        # Its own cases are of the policy as it was.
        text = text.partition("[[cases]]")[0]
        path.write_text(CUT_OFF.sub(_stricter, text), encoding="utf-8")
    return folder


def _stricter(found: re.Match[str]) -> str:
    return f"{found[1]}{min(int(found[2].replace('_', '')), STRICT_PPM)}"


def see(seed: int, strict: Path, folder: Path, applicants: int = 1_500, days: int = 8) -> Seen:
    """Return what the world of `seed` came to under `strict`, against the example."""
    events, labels = folder / "events.jsonl", folder / "labels.csv"
    world = WorldConfig(
        applicants=applicants, firm_share=0.0, rate_per_second=applicants * 2 / 86_400,
        request_share=0.25, closed_loop=False, for_file=True, seed=seed,
    )  # fmt: skip
    write_log(world, START_MS, days, events, labels)
    known = read_labels(labels)
    rows = compare(events, strict, POLICIES, labels=known).rows
    truth = pl.read_csv(truth_path(labels)).select("applicant", "true_pd", request="id")
    rows = rows.join(truth, on=("applicant", "request"), how="left", maintain_order="left")
    hidden = rows.with_columns(bad=pl.when(pl.col("a_approved")).then("bad"))
    told = swap_in_rate(hidden)
    assert told is not None, "worlds are large enough for an estimate"
    swapped = rows.filter(~pl.col("a_approved") & pl.col("b_approved"))
    scored = rows.filter(pl.col("b_pd_ppm").is_not_null())
    pd, true = scored["b_pd_ppm"].to_numpy() / 1e6, scored["true_pd"].to_numpy()
    return Seen(
        rows.height, float(pd.mean()), float(true.mean()), _gap(pd, true), swapped.height,
        float(swapped["bad"].cast(pl.Float64).mean()),  # type: ignore[arg-type]
        float(swapped["true_pd"].mean()),  # type: ignore[arg-type]
        told["low"], told["high"],
    )  # fmt: skip


def told() -> str:
    """Return the section of the page, of all SEEDS."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        strict = strict_deployment(folder / "strict")
        return section([see(seed, strict, folder) for seed in SEEDS])


def section(seen: Sequence[Seen]) -> str:
    """Return the lines that tell of `seen`."""
    page = Template(Path(__file__).with_name("simulated.txt").read_text(encoding="utf-8"))
    return page.substitute(
        heading=HEADING,
        worlds=len(seen),
        covered=sum(each.covered for each in seen),
        requests=f"{sum(each.requests for each in seen):,}",
        mean_pd=f"{np.mean([each.mean_pd for each in seen]):.1%}",
        mean_true_pd=f"{np.mean([each.mean_true_pd for each in seen]):.1%}",
        gap=f"{np.mean([each.calibration_error for each in seen]):.1%}",
        gap_most=f"{max(each.calibration_error for each in seen):.1%}",
        swap_ins=f"{sum(each.swap_ins for each in seen):,}",
        bad_rate=f"{np.mean([each.bad_rate for each in seen]):.1%}",
        width=f"{np.mean([each.high - each.low for each in seen]):.1%}",
        strict=f"{STRICT_PPM / 10_000:g} %",
    )


def _gap(pd: NDArray[np.float64], true: NDArray[np.float64]) -> float:
    order = np.argsort(pd, kind="stable")
    tenths = np.array_split(order, 10)
    return float(np.mean([abs((pd[rows] - true[rows]).mean()) for rows in tenths]))
