"""Commands to a running `dipper control`: asked on `dipper.clock`, signed with control's own key.

Whoever holds that key may pause an institution or put a version of policies into force; whoever may
merely write to the topic may not. A command is `{"command":"pause","what":"dawn","asked_at":<ms>,
"token":"...","signature":"..."}`, and its answer `{"answer":"<token>"}`, with `"refused":"why"`
where it was not done. Each token counts once, for five minutes.
"""

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.broker.client import broker_kind, make_consumer, make_producer, stop_client
from streams.control.records import CAP_COMMAND, VERBS, Command, signed, split_signature
from streams.errors import BrokerError, DipperError
from streams.topology import CLOCK

FRESH_MS = 5 * 60_000
_POLL_MS = 200
_PLACE = TopicPartition(CLOCK.name, 0)

Tell = Callable[[Command], Awaitable[None]]


def write_command(told: Command, token: str, asked_at: int, key: Ed25519PrivateKey) -> bytes:
    """Return a command as a record's value."""
    body = {"command": told.verb, "what": told.what, "asked_at": asked_at, "token": token}
    return signed(orjson.dumps(body), key.sign)


def read_signed(value: bytes | None, key: Ed25519PrivateKey) -> Mapping[str, Any] | None:
    """Return the fields of a command that this very key has signed; None for any other record."""
    parts = split_signature(value or b"")
    if parts is None or key.sign(parts[0]) != parts[1]:
        return None
    record = orjson.loads(parts[0] + b"}")
    known = isinstance(record, dict) and record.get("command") in {*VERBS, CAP_COMMAND}
    return record if known else None


class CommandDesk:
    """Takes commands from the topic, lets control write them, answers."""

    def __init__(
        self, bootstrap: str, key: Ed25519PrivateKey, tell: Tell, now_ms: Callable[[], int]
    ) -> None:
        self._bootstrap = bootstrap
        self._key = key
        self._tell = tell
        self._now_ms = now_ms
        self._done: dict[str, int] = {}  # token: when it was asked

    async def run(self, stop: asyncio.Event) -> None:
        """Take what is asked from now on, until `stop` is set."""
        consumer = make_consumer(self._bootstrap)
        producer = make_producer(self._bootstrap, await broker_kind(self._bootstrap))
        await consumer.start()
        await producer.start()
        try:
            consumer.assign([_PLACE])
            await consumer.seek_to_end(_PLACE)
            while not stop.is_set():
                found = await consumer.getmany(_PLACE, timeout_ms=_POLL_MS)
                for record in found.get(_PLACE, ()):
                    answer = await self.take(record.value)
                    if answer is not None:
                        await producer.send_and_wait(CLOCK.name, answer, partition=0)
        finally:
            await stop_client(consumer)
            await stop_client(producer)

    async def take(self, value: bytes | None) -> bytes | None:
        """Do what a record asks for; return the answer, None where it is no command of ours."""
        record = read_signed(value, self._key)
        if record is None:
            return None
        now, token = self._now_ms(), str(record["token"])
        self._done = {t: at for t, at in self._done.items() if at > now - 2 * FRESH_MS}
        if token in self._done:
            return None
        if abs(now - record["asked_at"]) > FRESH_MS:
            return orjson.dumps({"answer": token, "refused": "the command is old; give it anew"})
        self._done[token] = record["asked_at"]
        try:
            await self._tell(Command(record["command"], record["what"]))
        except DipperError as error:
            return orjson.dumps({"answer": token, "refused": str(error)})
        return orjson.dumps({"answer": token})


async def ask(bootstrap: str, key: Ed25519PrivateKey, told: Command, wait_s: float) -> None:
    """Ask a running control to write a command; return when it stands in every partition.

    `DipperError` where control refuses, `BrokerError` where none answers.
    """
    consumer = make_consumer(bootstrap)
    producer = make_producer(bootstrap, await broker_kind(bootstrap))
    try:
        await consumer.start()
        await producer.start()
        consumer.assign([_PLACE])
        await consumer.seek_to_end(_PLACE)
        await consumer.position(_PLACE)
        token = secrets.token_hex(16)
        value = write_command(told, token, time.time_ns() // 1_000_000, key)
        await producer.send_and_wait(CLOCK.name, value, partition=0)
        await asyncio.wait_for(_answered(consumer, token), wait_s)
    except TimeoutError:
        raise BrokerError(f"no dipper control answers at {bootstrap}; is it running?") from None
    except (KafkaError, OSError) as error:
        raise BrokerError(f"{bootstrap} cannot be asked: {error}; is a broker running?") from error
    finally:
        await stop_client(consumer)
        await stop_client(producer)


async def _answered(consumer: AIOKafkaConsumer, token: str) -> None:
    while True:
        found = await consumer.getmany(_PLACE, timeout_ms=_POLL_MS)
        for record in found.get(_PLACE, ()):
            answer = _answer(record.value)
            if answer.get("answer") == token:
                if "refused" in answer:
                    raise DipperError(str(answer["refused"]))
                return


def _answer(value: bytes | None) -> Mapping[str, Any]:
    try:
        record = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return {}
    return record if isinstance(record, dict) else {}
