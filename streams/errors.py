"""What goes wrong outside of us, said in one sentence."""


class DipperError(Exception):
    """A fault of input, configuration or surroundings; never one of our own code.

    Its text is one sentence that names the file and line where there is one, and the remedy. The
    command prints it and exits with code 2; a notebook sees it as it is.
    """


class BrokerError(DipperError):
    """A broker cannot be started or reached, or is not set up as dipper needs it."""


class OutrunError(BrokerError):
    """A log begins behind where a state stands, so what comes between is to be had no more."""


class CorruptBatchError(DipperError):
    """A record batch that cannot be what a producer wrote; nothing of it is used."""

    def __init__(self, topic: str, partition: int, offset: int, why: str) -> None:
        super().__init__(
            f"{topic} partition {partition} holds a corrupt batch at offset {offset}: {why}; "
            "compare the copies of this log on its brokers"
        )
        self.offset = offset


class VersionError(DipperError):
    """A version of policies and models cannot be had, or is not what its name says."""


class HandoverError(DipperError):
    """Others decide the partition, or nobody while it is handed over: to be waited for."""


class UnplacedMoneyError(DipperError):
    """An audit cannot tell when exactly applicants whose keys are destroyed moved money."""


class SnapshotError(DipperError):
    """A snapshot cannot be used by this worker, or what it needs is not in the store."""
