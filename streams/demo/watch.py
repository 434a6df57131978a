"""Watch a demo as a deployment is watched: a Prometheus that scrapes it, and the dashboards drawn
from what it answers.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from monitoring.draw import draw
from monitoring.panels import BOARDS
from monitoring.prometheus_server import PrometheusServer
from streams.demo.processes import Processes

# Called when the traffic has ended and all still runs: the server, since when it has scraped.
Watcher = Callable[[PrometheusServer, float], None]
_POINTS = 120


@contextmanager
def watched(processes: Processes, watcher: Watcher | None) -> Iterator[None]:
    """Scrape the processes while inside; in the end call `watcher`, if there is one."""
    if watcher is None:
        yield
        return
    targets = {
        job: [urlsplit(url).netloc for url in processes.metrics_urls(job)]
        for job in ("worker", "control", "agents")
    }
    began = time.time()
    with PrometheusServer(targets) as server:
        yield
        watcher(server, began)


def draw_boards(folder: Path, institution: str) -> Watcher:
    """Return a watcher that draws every dashboard into `folder` as `<uid>.svg`."""

    def draw_all(server: PrometheusServer, began: float) -> None:
        end = time.time()
        step = max((end - began) / _POINTS, 1.0)
        folder.mkdir(parents=True, exist_ok=True)
        for board in BOARDS:
            picture = draw(
                board, lambda expr: server.query_range(expr, began + 5, end, step), institution
            )
            (folder / f"{board.uid}.svg").write_text(picture)

    return draw_all
