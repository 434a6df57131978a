"""A Prometheus of our own for a while: the Debian package's, scraping what it is told.

Tests and `dipper demo --dashboards` use it; a deployment runs its own (docker-compose.yml).
"""

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

from streams.errors import DipperError

RULES = Path(__file__).parent / "prometheus" / "alerts.yml"
_READY_S_MAX = 30.0
_STOP_S_MAX = 10.0


class Series(NamedTuple):
    """One series of an answer: its labels, its points as (epoch seconds, value)."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


class PrometheusServer:
    """`with PrometheusServer({"worker": ["127.0.0.1:9100"]}) as server:`; data goes with the end.

    `targets` gives host:port by job; `scrape` is how often, in Prometheus' words.
    """

    def __init__(self, targets: Mapping[str, Sequence[str]], scrape: str = "1s") -> None:
        self._targets = targets
        self._scrape = scrape
        self._folder = Path()
        self._process: subprocess.Popen[bytes]
        self.url = ""

    def __enter__(self) -> Self:
        program = shutil.which("prometheus")
        if program is None:
            raise DipperError("prometheus is not on the path; run `make tools` to install it")
        self._folder = Path(tempfile.mkdtemp(prefix="dipper-prometheus-"))
        config = {
            "global": {"scrape_interval": self._scrape, "evaluation_interval": self._scrape},
            "rule_files": [str(RULES)],
            "scrape_configs": [
                {"job_name": job, "static_configs": [{"targets": list(targets)}]}
                for job, targets in self._targets.items()
            ],
        }
        file = self._folder / "prometheus.yml"
        file.write_text(json.dumps(config))  # JSON is YAML
        address = f"127.0.0.1:{_free_port()}"
        self.url = f"http://{address}"
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 the program found, our arguments
                [program, f"--config.file={file}", f"--storage.tsdb.path={self._folder / 'data'}",
                 f"--web.listen-address={address}", "--query.lookback-delta=10s"],
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder)

    def query(self, expr: str) -> list[Series]:
        """Return what the expression comes to now; `DipperError` where it is none."""
        found = self._ask("query", {"query": expr})["result"]
        return [Series(one["metric"], [_point(one["value"])]) for one in found]

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
        """Return what the expression came to from `start` to `end`, epoch seconds."""
        asked = {"query": expr, "start": start, "end": end, "step": step}
        found = self._ask("query_range", asked)["result"]
        return [Series(one["metric"], [_point(p) for p in one["values"]]) for one in found]

    def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health and last error."""
        return [rule for group in self._ask("rules", {})["groups"] for rule in group["rules"]]

    def targets_up(self) -> int:
        """Return how many targets answered their last scrape."""
        return sum(t["health"] == "up" for t in self._ask("targets", {})["activeTargets"])

    def _ask(self, what: str, asked: Mapping[str, Any]) -> Any:
        address = f"{self.url}/api/v1/{what}?{urlencode(asked)}"
        try:
            with urlopen(address, timeout=10) as answer:  # noqa: S310 our own server
                return json.load(answer)["data"]
        except HTTPError as error:
            said = json.loads(error.read()).get("error", error.reason)
            raise DipperError(f"Prometheus refuses {asked}: {said}") from error

    def _wait(self) -> None:
        end = time.monotonic() + _READY_S_MAX
        while time.monotonic() < end:
            if self._process.poll() is not None:
                break
            try:
                with urlopen(f"{self.url}/-/ready", timeout=2):  # noqa: S310 our own server
                    return
            except (URLError, OSError):
                time.sleep(0.1)
        last = (self._folder / "log").read_text(errors="replace").strip().splitlines()[-1:]
        raise DipperError(f"Prometheus is not ready at {self.url}: {' '.join(last)}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _point(value: Sequence[Any]) -> tuple[float, float]:
    return float(value[0]), float(value[1])
