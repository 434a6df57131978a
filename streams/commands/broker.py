"""`dipper broker`: a broker to try things on."""

import enum
from typing import Annotated

import typer


class BrokerKind(enum.StrEnum):
    """What can be started."""

    embedded = "embedded"
    kafka = "kafka"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog="Example: dipper broker --kind kafka --partitions 4 --port 9092")(broker)


def broker(
    kind: Annotated[
        BrokerKind,
        typer.Option(help="embedded: in memory, at once; kafka: Apache Kafka from Maven jars."),
    ] = BrokerKind.embedded,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 0,
    partitions: Annotated[
        int,
        typer.Option(min=0, help="Make dipper's topics with so many input partitions; 0: later."),
    ] = 0,
) -> None:
    """Run a broker until Ctrl-C; the first line printed is its HOST:PORT. It forgets at its end."""
    import asyncio
    import signal
    import threading

    from streams.broker.embedded import EmbeddedBroker
    from streams.broker.kafka import KafkaBroker
    from streams.broker.topics import ensure_topics

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    server = (KafkaBroker if kind is BrokerKind.kafka else EmbeddedBroker)(port)
    with server:
        if partitions:
            asyncio.run(ensure_topics(server.bootstrap, partitions))
        typer.echo(server.bootstrap)
        server.wait(stop)
