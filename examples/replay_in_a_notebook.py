"""A replay from Python, with Polars frames: paste the cells into a notebook, or run the file.

    python examples/replay_in_a_notebook.py [EVENTS] [CONFIG]

Without EVENTS a small population is simulated first.
"""

# %% What is decided, and by which deployment
import sys
import tempfile
from pathlib import Path

import polars as pl

from streams.replay import ReplayResult, replay
from streams.simulate.log import write_log
from streams.simulate.world import WorldConfig

_START_MS = 1_767_225_600_000  # 2026-01-01


def simulated(folder: Path) -> Path:
    """Write two days of 500 people and firms; return the file."""
    events = folder / "events.jsonl"
    config = WorldConfig(applicants=500, rate_per_second=0.03, closed_loop=False, for_file=True)
    write_log(config, _START_MS, 2.0, events)
    return events


# %% How each product fared
def outcomes(result: ReplayResult) -> pl.DataFrame:
    """Return how often each outcome came, by product."""
    counts = result.decisions.group_by("product", "outcome").len("requests")
    return counts.sort("product", "outcome")


# %% Why requests were declined: each reason with the requests that it stands on
def reasons(result: ReplayResult) -> pl.DataFrame:
    """Return the reasons of declined requests, the most frequent first."""
    declined = result.decisions.filter(pl.col("outcome") != "approved").explode("reasons")
    return declined.group_by("reasons").len("requests").sort("requests", descending=True)


# %% What the approved looked like: features and PD stand in the evidence, by decision
def profile(result: ReplayResult) -> pl.DataFrame:
    """Return income and probability of default of the approved and of the rest."""
    joined = result.decisions.join(
        result.evidence, left_on="id", right_on="decision", suffix="_evidence"
    )
    return joined.group_by(pl.col("outcome") == "approved").agg(
        pl.len().alias("requests"),
        pl.col("income_cents").fill_nan(None).median().alias("median_income_cents"),
        pl.col("pd_ppm.consumer").mean().alias("mean_pd_ppm_consumer"),
    )


# %% All of it
def main(events: Path, config: Path) -> ReplayResult:
    """Replay, print three tables, return the result."""
    result = replay(events, config)
    print(outcomes(result), reasons(result), profile(result), sep="\n")
    return result


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as name:
        given = [Path(argument) for argument in sys.argv[1:]]
        main(
            given[0] if given else simulated(Path(name)),
            given[1] if len(given) > 1 else Path(__file__).parent / "policies",
        )
