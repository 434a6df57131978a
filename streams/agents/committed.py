"""Let a Faust application read what is committed, and nothing that a transaction gave up.

Faust does so only where it writes transactions itself, which its agents need not: they are
idempotent. Its consumer is made in a thread class that its transport names, so the setting goes
there, on the instance.
"""

import faust
from aiokafka import AIOKafkaConsumer
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport


class _CommittedThread(AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Transport) -> AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 taken at its start
        return consumer


class _CommittedConsumer(Consumer):
    def _new_consumer_thread(self) -> AIOKafkaConsumerThread:
        return _CommittedThread(self, loop=self.loop, beacon=self.beacon)


def read_committed(app: faust.App) -> faust.App:
    """Return the application; its agents see each record of a transaction once it has ended."""
    app.transport.Consumer = _CommittedConsumer  # type: ignore[misc]  # on this one alone
    return app
