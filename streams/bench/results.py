"""What every benchmark leaves behind: one JSON file with figures, machine, versions and commit."""

import datetime as dt
import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from streams.broker.kafka import VERSION as KAFKA_VERSION

ROOT = Path(__file__).resolve().parents[2]
FOLDER_VARIABLE = "DIPPER_BENCH_FOLDER"  # where results go; .cache/bench where it is not set
_FAILED = "failed"
_PACKAGES = (
    "dipper", "numba", "numpy", "lightgbm", "aiokafka", "orjson", "faust-streaming", "quixstreams",
)  # fmt: skip
_GIB = 1 << 30

Figures = Mapping[str, Any]


class Benchmark(NamedTuple):
    """One benchmark that ran.

    `figures` are its rows, each a mapping of names to numbers (units last in the names) or text;
    `sha256` is the hash of what was computed, "" where nothing has one; `command` repeats it.
    """

    name: str
    command: str
    figures: Sequence[Figures]
    sha256: str
    seconds: float
    date: str
    commit: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]


def benchmark(
    name: str, command: str, figures: Sequence[Figures], sha256: str, seconds: float
) -> Benchmark:
    """Return a benchmark's result with where and on what it ran."""
    today = dt.datetime.now(dt.UTC).date().isoformat()
    return Benchmark(
        name, command, figures, sha256, round(seconds, 1), today, commit(), machine(), versions()
    )


def folder(*, small: bool = False) -> Path:
    """Return where results stand. Small runs have a place of their own: they are no figures."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else ROOT / ".cache" / ("bench-small" if small else "bench")


def save(result: Benchmark, where: Path | None = None) -> Path:
    """Write it where `dipper bench page` looks; return the file."""
    where = folder() if where is None else where
    where.mkdir(parents=True, exist_ok=True)
    path = where / f"{result.name}.json"
    path.write_bytes(orjson.dumps(result._asdict(), option=orjson.OPT_INDENT_2))
    return path


def save_step(report: Any, platform: Sequence[Mapping[str, Any]], seconds: float) -> Path:
    """Save a `streams.bench.step.Report` and its growth by the axis "platform"."""
    rows: list[dict[str, Any]] = []
    for each in report.results:
        rows.append(
            each._asdict()
            | {
                "lightgbm_batch_microseconds_per_row": report.lightgbm_batch_microseconds_per_row,
                "state_bytes_per_applicant": report.state_bytes_per_applicant,
                "allocations_per_event": report.allocations_per_event,
            }
        )
    for grown in platform:
        row = {name: value for name, value in grown.items() if name not in {"size", "platform"}}
        rows.append(row | {"traffic": f"platform, {int(grown['platform'])} models"})
    hashes = " ".join(str(row["sha256"]) for row in rows)
    return save(benchmark("step", "dipper bench step --grow platform", rows, hashes, seconds))


def forget(name: str, where: Path) -> None:
    """Remove a benchmark's result, and what is said of it having failed."""
    (where / f"{name}.json").unlink(missing_ok=True)
    left = {other: why for other, why in load_failures(where).items() if other != name}
    save_failures(left, where)


def save_failures(failed: Mapping[str, str], where: Path) -> None:
    """Write down which benchmarks failed: why, in a sentence, by name."""
    where.mkdir(parents=True, exist_ok=True)
    (where / _FAILED).write_bytes(orjson.dumps(dict(failed)))


def load_failures(where: Path | None = None) -> dict[str, str]:
    """Return the benchmarks that failed when all ran, with why."""
    path = (folder() if where is None else where) / _FAILED
    return dict(orjson.loads(path.read_bytes())) if path.exists() else {}


def load(where: Path | None = None) -> dict[str, Benchmark]:
    """Return the benchmarks that were saved, by name."""
    paths = sorted((folder() if where is None else where).glob("*.json"))
    found = (Benchmark(**orjson.loads(path.read_bytes())) for path in paths)
    return {each.name: each for each in found}


def machine() -> dict[str, str]:
    """Return what the machine is, without its name."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory / _GIB:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def versions() -> dict[str, str]:
    """Return the versions of what takes part; what is not installed is left out."""
    found = {"Python": platform.python_version(), "Apache Kafka": KAFKA_VERSION}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if java := shutil.which("java"):
        said = subprocess.run(  # noqa: S603
            [java, "-version"], check=False, capture_output=True, text=True
        )
        found["Java"] = said.stderr.split('"')[1] if '"' in said.stderr else "?"
    return found


def commit() -> str:
    """Return the commit of this checkout, with "+" where files differ from it; "" without git."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        return ""

    def said(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603
            [git, *arguments], check=False, capture_output=True, text=True, cwd=ROOT
        )
        return done.stdout.strip()

    # The page itself is what a run writes.
    changed = said(
        "status", "--porcelain", "--", ".", ":!docs/PERFORMANCE.md", ":!docs/performance"
    )
    return said("rev-parse", "--short=12", "HEAD") + ("+" if changed else "")
