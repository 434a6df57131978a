"""The goals of the design as a table: a row each, with how its figure is taken from a run."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from streams.bench.results import Benchmark

Runs = Mapping[str, Benchmark]


class Goal(NamedTuple):
    """One row: what, the bound, whether figures must be at least or at most that, and the figure.

    `figure` returns None where the run did not measure it.
    """

    what: str
    bound: float
    unit: str
    at_least: bool
    figure: Callable[[Runs], float | None]

    def verdict(self, runs: Runs) -> tuple[str, str]:
        """Return the figure as text and whether the goal is reached."""
        found = self.figure(runs)
        if found is None:
            return "–", "not measured in this run"
        reached = found >= self.bound if self.at_least else found <= self.bound
        return f"{amount(found)}{self.unit}", "reached" if reached else "**missed**"

    @property
    def text(self) -> str:
        """The bound as text."""
        return f"{'≥' if self.at_least else '≤'} {amount(self.bound)}{self.unit}"


def amount(value: float) -> str:
    """Return a figure with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:,.2f}"


def pick(runs: Runs, name: str, figure: str, **where: Any) -> float | None:
    """Return `figure` of the first row of a benchmark whose other fields are `where`."""
    rows = runs[name].figures if name in runs else ()
    for row in rows:
        if all(row.get(key) == value for key, value in where.items()) and figure in row:
            found = float(row[figure])
            return found or None
    return None


def to_peer(job: str, system: str, own: str, guarantee: str) -> Callable[[Runs], float | None]:
    """Return dipper's rate (with guarantee `own`) over a peer's (with `guarantee`)."""

    def ratio(runs: Runs) -> float | None:
        name = "events_per_second"
        ours = pick(runs, "peers", name, job=job, system="dipper", guarantee=own)
        theirs = pick(runs, "peers", name, job=job, system=system, guarantee=guarantee)
        return ours / theirs if ours and theirs else None

    return ratio


def of(name: str, figure: str, **where: Any) -> Callable[[Runs], float | None]:
    """Return `pick` with its arguments but the runs."""
    return lambda runs: pick(runs, name, figure, **where)


def _zero(runs: Runs) -> float | None:
    rows = runs["step"].figures if "step" in runs else ()
    return next((row["allocations_per_event"] for row in rows), None)


_ALO, _EOS = "at least once", "exactly once"
_AT_20K: dict[str, Any] = {"events_per_second": 20_000}

GOALS = (
    Goal(
        "step, bytes to bytes, 48 features, 200 × 31 trees, one institution", 400_000,
        " requests/s", True, of("step", "requests_per_second", traffic="requests"),
    ),
    Goal("allocations per event of the step", 0, "", False, _zero),
    Goal(
        "30 institutions, 1,000 rules, 3 models", 100_000, " requests/s", True,
        of("step", "requests_per_second", traffic="platform, 3 models"),
    ),
    Goal(
        "30 institutions, 1,000 rules, 10 models", 50_000, " requests/s", True,
        of("step", "requests_per_second", traffic="platform, 10 models"),
    ),
    Goal(
        "through Kafka, exactly once, mixed", 250_000, " events/s", True,
        of("peers", "events_per_second", job="full", system="dipper", guarantee=_EOS),
    ),
    Goal(
        "through Kafka, exactly once, all requests", 100_000, " events/s", True,
        of("scale", "events_per_second", traffic="requests"),
    ),
    Goal(
        "event to visible decision at 20,000/s, p50", 6, " ms", False,
        of("latency", "p50_ms", **_AT_20K),
    ),
    Goal(
        "event to visible decision at 20,000/s, p99", 15, " ms", False,
        of("latency", "p99_ms", **_AT_20K),
    ),
    Goal("same decisions, to Faust", 50, " ×", True, to_peer("full", "Faust", _ALO, _ALO)),
    Goal(
        "same decisions, to Quix Streams", 10, " ×", True,
        to_peer("full", "Quix Streams", _ALO, _ALO),
    ),
    Goal(
        "same decisions, to plain aiokafka + LightGBM", 10, " ×", True,
        to_peer("full", "aiokafka", _ALO, _ALO),
    ),
    Goal(
        "thin job, to Apache Flink tuned, both exactly once", 1, " ×", True,
        to_peer("thin", "Flink tuned", _EOS, _EOS),
    ),
    Goal("replay, mixed", 500_000, " events/s", True, of("replay", "events_per_second")),
    Goal(
        "memory of an applicant with 20 recent events", 1_536, " bytes", False,
        of("step", "state_bytes_per_applicant"),
    ),
    Goal("process start to ready, warm", 3, " s", False, of("start", "warm_seconds")),
    Goal("process start to ready, cold", 60, " s", False, of("start", "cold_seconds")),
)  # fmt: skip
