"""Serve metrics over HTTP, in a thread that never touches the path."""

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.registry import Collector

from streams.errors import DipperError


@contextmanager
def serve_metrics(collector: Collector, port: int, host: str = "127.0.0.1") -> Iterator[int]:
    """Answer GET /metrics on `host`:`port` (0: any free one); give the port; stop at the end.

    `DipperError` where the port cannot be had.
    """
    registry = CollectorRegistry()
    registry.register(collector)
    try:
        server, thread = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        raise DipperError(
            f"metrics cannot be served on {host}:{port}: {error.strerror}; "
            "choose another port with --metrics-port"
        ) from error
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
