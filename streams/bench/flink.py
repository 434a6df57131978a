"""Apache Flink for the thin job: jars by Maven once, the program compiled by javac when asked."""

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

from streams.broker.kafka import cache_folder
from streams.errors import DipperError

VERSION = "2.1.0"
_FETCH_S_MAX = 600
_TOOLS = ("java", "javac", "mvn")


def missing_tools() -> list[str]:
    """Return which of the programs that the Flink job needs are not on the path."""
    return [program for program in _TOOLS if shutil.which(program) is None]


def class_path(source: Path) -> str:
    """Return Flink's jars and the compiled `ThinJob.java` of the folder `source`.

    Both are kept between runs: the first caller fetches and compiles, others wait. Raises
    `DipperError` where Maven or javac fails.
    """
    pom, program = source / "pom.xml", source / "ThinJob.java"
    digest = hashlib.sha256(pom.read_bytes() + program.read_bytes()).hexdigest()[:16]
    folder = cache_folder().parent / f"flink-{VERSION}"
    libs, classes = folder / "libs", folder / f"classes-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder / "pom.xml"
        if not (done.exists() and done.read_bytes() == pom.read_bytes()):
            shutil.rmtree(libs, ignore_errors=True)
            arguments = ["-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
            _run("mvn", *arguments, "-DincludeScope=runtime", f"-DoutputDirectory={libs}")
            shutil.copyfile(pom, done)
        if not (classes / "ThinJob.class").exists():
            _run("javac", "-nowarn", "-cp", f"{libs}/*", "-d", str(classes), str(program))
    return f"{classes}:{libs}/*"


def command(source: Path, *arguments: str) -> list[str]:
    """Return the command line of the job, in one JVM without a cluster."""
    java = shutil.which("java")
    if java is None:
        raise DipperError("Apache Flink needs Java 17: java is not on the path")
    return [java, "-cp", class_path(source), "ThinJob", *arguments]


def _run(program: str, *arguments: str) -> None:
    found = shutil.which(program)
    if found is None:
        raise DipperError(f"Apache Flink needs {program}, which is not on the path")
    try:
        done = subprocess.run(  # noqa: S603 our own arguments
            [found, *arguments], check=False, capture_output=True, text=True, timeout=_FETCH_S_MAX
        )
    except subprocess.TimeoutExpired as error:
        raise DipperError(f"{program} did not end in {_FETCH_S_MAX} s; try again") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip().splitlines()
        raise DipperError(f"{program} could not prepare Apache Flink: {said[0] if said else '?'}")
