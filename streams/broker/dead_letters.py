"""Refused records: read them, and send repaired or timely ones again.

A dead letter holds the original bytes; its headers say why and where from. Sending one again is
sending its bytes: it is judged anew, and where it counted meanwhile it is a duplicate by its id.
"""

from collections.abc import Iterable
from typing import NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from streams.broker.client import broker_kind, make_consumer, make_producer, read_whole, stop_client
from streams.broker.publish import partition_of
from streams.broker.topics import count_partitions
from streams.codec.fault import Fault, find_fault
from streams.errors import BrokerError, DipperError
from streams.schema import Refusal
from streams.topology import DEAD_LETTERS, EVENTS, INGRESS_PREFIX


class Letter(NamedTuple):
    """One dead letter, and where in `dipper.dead-letters` it stands; headers by name."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: dict[str, str]

    @property
    def reason(self) -> str:
        """Why it was refused: a name of `schema.Refusal` in lower case."""
        return self.headers.get("reason", "")

    @property
    def fault(self) -> Fault:
        """Which field is at fault, and the byte that is; as far as that is known."""
        told = int(self.headers.get("position", "-1"))
        known = Refusal.__members__.get(self.reason.upper(), Refusal.NONE)
        found = find_fault(self.value, known)
        return found._replace(position=told) if told >= 0 else found

    @property
    def place(self) -> str:
        """Where the record came from."""
        told = self.headers
        return f"{told.get('topic', '?')}/{told.get('partition', '?')}@{told.get('offset', '?')}"


async def read_letters(bootstrap: str, reason: str = "", most: int = 0) -> list[Letter]:
    """Return dead letters that stand now, those of one reason where given, the last `most` of each
    partition (0: all).
    """
    partitions = await count_partitions(bootstrap, DEAD_LETTERS.name)
    consumer = make_consumer(bootstrap)
    letters: list[Letter] = []
    try:
        await consumer.start()
        for number in range(partitions):
            partition = TopicPartition(DEAD_LETTERS.name, number)
            found: list[Letter] = []
            async for record in read_whole(consumer, partition):
                told = {name: value.decode(errors="replace") for name, value in record.headers}
                letter = Letter(number, record.offset, record.key, record.value, told)
                if not reason or letter.reason == reason:
                    found.append(letter)
            letters += found[-most:] if most else found
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{DEAD_LETTERS.name} at {bootstrap} cannot be read: {error}") from error
    finally:
        await stop_client(consumer)
    return letters


def one_letter(letters: Iterable[Letter], partition: int, offset: int) -> Letter:
    """Return the letter at that place of `dipper.dead-letters`; `DipperError` if none stands."""
    for letter in letters:
        if (letter.partition, letter.offset) == (partition, offset):
            return letter
    raise DipperError(f"{DEAD_LETTERS.name} has no record at partition {partition} offset {offset}")


def why_not_again(letter: Letter) -> str:
    """Return why a letter cannot be sent again, "" where it can."""
    if letter.value is None:
        return "its bytes are not kept: it was null, or larger than a dead letter may be"
    if letter.headers.get("topic", "").startswith(INGRESS_PREFIX):
        return ""
    if letter.key is None:
        return "it has no key, so it has no partition; only control writes such records"
    return ""


async def requeue(bootstrap: str, letters: Iterable[Letter]) -> int:
    """Send letters again, in order, to where they came from; return how many stand. The partition
    is that of the key, whatever it was. `DipperError` where one cannot be sent.
    """
    chosen = list(letters)
    for letter in chosen:
        if why := why_not_again(letter):
            raise DipperError(f"{letter.place} cannot be sent again: {why}")
    partitions = await count_partitions(bootstrap)
    producer = make_producer(bootstrap, await broker_kind(bootstrap))
    try:
        await producer.start()
        for letter in chosen:
            topic = letter.headers.get("topic", "")
            if topic.startswith(INGRESS_PREFIX):
                await producer.send_and_wait(topic, letter.value, key=letter.key, partition=0)
                continue
            assert letter.key is not None
            here = partition_of(letter.key, partitions)
            await producer.send_and_wait(EVENTS.name, letter.value, key=letter.key, partition=here)
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{bootstrap} did not take a record: {error}") from error
    finally:
        await stop_client(producer)
    return len(chosen)
