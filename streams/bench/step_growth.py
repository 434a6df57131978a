"""How the cost of a request grows: the benchmark of `streams/bench/step.py`, one size at a time.

Each row changes one thing of the base size; models are trained once for all rows. Every row has its
own hash and its answers checked as there.
"""

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from streams.bench.step import Lab, Result, Size, measure, state_bytes

AXES: Mapping[str, Sequence[float]] = {
    "applicants": (1_000, 10_000, 100_000, 1_000_000, 5_000_000),
    "history": (0, 20, 200, 2_000, 20_000, 65_536),
    "institutions": (1, 3, 10, 30),
    "rules": (10, 100, 1_000),
    "models": (1, 3, 10),
    "hot_share": (0.0, 0.5),
    # Institutions, rules and models at once: a platform as it is meant to be.
    "platform": (1, 3, 10),
}
_HISTORY_EVENTS = 2_000_000  # of all applicants together: with more each, there are fewer of them
_BYTES_AN_APPLICANT = 4_096  # taken for one: more than its state, since tables are powers of two
_PLATFORM_LENDERS, _PLATFORM_RULES = 30, 1_000


def sizes(axis: str, base: Size, values: Sequence[float] | None = None) -> dict[float, Size]:
    """Return the sizes of one of AXES, by value: `base` with one thing changed.

    Rows for which this machine has too little memory are left out. Long histories have fewer
    applicants and requests, many applicants shorter ones.
    """
    found = {}
    for value in AXES[axis] if values is None else values:
        size = base
        if axis == "platform":
            size = base._replace(
                institutions=_PLATFORM_LENDERS, rules=_PLATFORM_RULES, models=int(value)
            )
        elif axis == "hot_share":
            size = base._replace(hot_share=value)
        else:
            size = base._replace(**{axis: int(value)})
        if axis == "history":
            people = max(8, min(base.applicants, _HISTORY_EVENTS // max(size.history, 1)))
            size = size._replace(applicants=people, events=min(base.events, 200 * people))
        if axis == "applicants":
            events = max(1, min(base.history, 10 * _HISTORY_EVENTS // size.applicants))
            size = size._replace(history=events)
        if size.applicants * _BYTES_AN_APPLICANT < _memory_bytes():
            found[value] = size
    return found


def grow(
    axis: str,
    base: Size,
    on_stage: Callable[[str], None] = lambda _: None,
    values: Sequence[float] | None = None,
) -> list[tuple[float, Size, Result, float]]:
    """Measure requests alone at each of `sizes`; return value, size, result, state bytes a head.

    Raises `DipperError` where an answer is not the expected one.
    """
    rows = sizes(axis, base, values)
    most = max(size.models for size in rows.values())
    with tempfile.TemporaryDirectory(prefix="dipper-bench-") as name:
        lab = Lab(Path(name), base._replace(models=most), on_stage)
        found = []
        for value, size in rows.items():

            def stage(what: str, value: float = value) -> None:
                on_stage(f"{axis} {value:,}: {what}")

            deployment = lab.deployment(size)
            result = measure(deployment, "requests", size, stage)
            found.append((value, size, result, state_bytes(deployment, size)))
    return found


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
