"""Serve metrics and health over HTTP, in a thread that never touches the path."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.registry import Collector

from monitoring.text import CONTENT_TYPE, render
from streams.errors import DipperError

_TEXT = "text/plain; charset=utf-8"


class Health(NamedTuple):
    """Two questions of an orchestrator, each answered by None (yes) or why not, in one sentence.

    `alive`: is the process worth keeping? A no gets it started anew. `ready`: does it do its work?
    A no says that it is recovering, or that somebody must look.
    """

    alive: Callable[[], str | None]
    ready: Callable[[], str | None]


ALWAYS = Health(lambda: None, lambda: None)


@contextmanager
def serve_metrics(
    collector: Collector | None, port: int, host: str = "127.0.0.1", health: Health = ALWAYS
) -> Iterator[int]:
    """Answer GET /metrics, /healthz and /readyz on `host`:`port` (0: any free one); give the port;
    stop at the end. Without a `collector` the metrics are those of the process alone.

    `DipperError` where the port cannot be had.
    """
    registry = CollectorRegistry()
    if collector is not None:
        registry.register(collector)
    ProcessCollector(registry=registry)
    try:
        server = ThreadingHTTPServer((host, port), _handler(registry, health))
    except OSError as error:
        raise DipperError(
            f"metrics cannot be served on {host}:{port}: {error.strerror}; "
            "choose another port with --metrics-port"
        ) from error
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(registry: CollectorRegistry, health: Health) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(HTTPStatus.OK, render(registry.collect()), CONTENT_TYPE)
            elif path == "/healthz":
                self._judge(health.alive())
            elif path == "/readyz":
                self._judge(health.ready())
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"/metrics /healthz /readyz\n", _TEXT)

        def _judge(self, fault: str | None) -> None:
            status = HTTPStatus.OK if fault is None else HTTPStatus.SERVICE_UNAVAILABLE
            self._answer(status, f"{fault or 'ok'}\n".encode(), _TEXT)

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a scrape a few seconds apart is no news."""

    return Handler
