"""Commands to control: who may give them, how often they count, and what is answered."""

import asyncio
import time

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from streams.broker.embedded import EmbeddedBroker
from streams.broker.topics import ensure_topics
from streams.control.commands import FRESH_MS, CommandDesk, ask, write_command
from streams.control.records import Command, read_command
from streams.errors import DipperError

NOW = 1_700_000_000_000
PAUSE = Command("pause", "dawn")


class Control:
    """What is told to control, in order; it knows one institution."""

    def __init__(self) -> None:
        self.told: list[Command] = []

    async def tell(self, told: Command) -> None:
        """Note a command."""
        if told.what == "nobody":
            raise DipperError("there is no institution nobody")
        self.told.append(told)


def test_a_command_counts_once_and_only_with_the_key_of_control() -> None:
    """Another key's signature, a changed byte and a token that was used are passed over; a command
    that is five minutes old is refused; what control refuses is answered with its sentence.
    """
    key, other, control = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate(), Control()
    desk = CommandDesk("", key, control.tell, lambda: NOW)

    def take(value: bytes | None) -> object:
        answer = asyncio.run(desk.take(value))
        return None if answer is None else orjson.loads(answer)

    good = write_command(PAUSE, "t1", NOW, key)
    assert take(write_command(PAUSE, "t1", NOW, other)) is None
    assert take(good.replace(b"dawn", b"down")) is None
    assert take(None) is None
    assert take(b'{"request":"t","at":[1]}') is None
    assert control.told == []
    assert take(good) == {"answer": "t1"}
    assert take(good) is None
    assert control.told == [PAUSE]
    old = take(write_command(PAUSE, "t2", NOW - FRESH_MS - 1, key))
    assert isinstance(old, dict)
    assert "give it anew" in old["refused"]
    nobody = Command("resume", "nobody")
    assert take(write_command(nobody, "t3", NOW, key)) == {
        "answer": "t3",
        "refused": "there is no institution nobody",
    }


def test_what_is_asked_through_a_broker_is_done_or_refused() -> None:
    """`ask` returns when control has done it, and raises its own sentence where it has not."""
    key, control = Ed25519PrivateKey.generate(), Control()

    async def run(bootstrap: str) -> None:
        await ensure_topics(bootstrap, 1)
        stop = asyncio.Event()

        desk = CommandDesk(bootstrap, key, control.tell, lambda: time.time_ns() // 1_000_000)
        running = asyncio.create_task(desk.run(stop))
        await asyncio.sleep(1.0)
        await ask(bootstrap, key, PAUSE, 60)
        with pytest.raises(DipperError, match="no institution nobody"):
            await ask(bootstrap, key, Command("pause", "nobody"), 60)
        stop.set()
        await running

    with EmbeddedBroker() as broker:
        asyncio.run(run(broker.bootstrap))
    assert control.told == [PAUSE]


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ({"type": "pause", "institution": "dawn"}, PAUSE),
        ({"type": "activate", "version": "0a" * 16}, Command("activate", "0a" * 16)),
        ({"type": "activate", "version": "0A" * 16}, None),
        ({"type": "activate", "institution": "dawn"}, None),
        ({"type": "pause", "institution": "dawn", "seq": 1}, None),
        ({"type": "pause", "institution": 5}, None),
        ({"type": "grant", "institution": "dawn"}, None),
        ([], None),
    ],
)
def test_only_the_exact_form_is_a_command(record: object, wanted: Command | None) -> None:
    """A line of a file is for control only where it has just the fields of a command."""
    assert read_command(record) == wanted
