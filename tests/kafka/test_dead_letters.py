"""Dead letters listed, shown and sent again, on both kinds of broker."""

import pytest
from typer.testing import CliRunner

from streams import cli
from streams.broker.client import make_producer
from streams.broker.dead_letters import one_letter, read_letters, requeue, why_not_again
from streams.broker.publish import partition_of
from streams.broker.topics import ensure_topics
from streams.errors import DipperError
from streams.topology import DEAD_LETTERS, EVENTS, INGRESS_PREFIX
from tests.conftest import Broker
from tests.kafka.logs import read_partition

_PARTITIONS = 2


async def _letters_stand(broker: Broker) -> None:
    await ensure_topics(broker.bootstrap, _PARTITIONS, institutions=("dawn",))
    producer = make_producer(broker.bootstrap, broker.kind)
    await producer.start()
    rows = [
        (0, b"a1", b"late", "too_far_ahead", EVENTS.name),
        (1, b"a2", b"late too", "too_far_ahead", EVENTS.name),
        (0, None, b"forged", "bad_signature", EVENTS.name),
        (0, b"a3", None, "empty", EVENTS.name),
        (1, b"a5", b'{"type":"tick","at":-1}', "out_of_range", EVENTS.name),
        (0, b"a4", b"loan", "not_yours", f"{INGRESS_PREFIX}dawn"),
    ]
    for partition, key, value, reason, topic in rows:
        headers = [("reason", reason.encode()), ("topic", topic.encode())]
        headers += [("partition", b"1"), ("offset", b"77"), ("position", b"-1")]
        await producer.send_and_wait(
            DEAD_LETTERS.name, value, key=key, partition=partition, headers=headers
        )
    await producer.stop()


async def test_letters_are_sent_again_with_their_own_bytes(fresh_broker: Broker) -> None:
    """Each goes to its key's partition, whatever it was, or to the ingress topic it came from; what
    has no bytes or no key is said not to go.
    """
    await _letters_stand(fresh_broker)
    bootstrap = fresh_broker.bootstrap
    letters = await read_letters(bootstrap, "too_far_ahead")
    assert [letter.value for letter in letters] == [b"late", b"late too"]
    assert await requeue(bootstrap, letters) == 2
    for key, value in ((b"a1", b"late"), (b"a2", b"late too")):
        number = partition_of(key, _PARTITIONS)
        records = await read_partition(bootstrap, EVENTS.name, number)
        assert (key, value) in [(record.key, record.value) for record in records]
    everything = await read_letters(bootstrap)
    stuck = [letter.reason for letter in everything if why_not_again(letter)]
    assert sorted(stuck) == ["bad_signature", "empty"]
    with pytest.raises(DipperError, match="only control writes"):
        await requeue(bootstrap, [each for each in everything if each.reason == "bad_signature"])
    await requeue(bootstrap, [each for each in everything if each.reason == "not_yours"])
    (record,) = await read_partition(bootstrap, f"{INGRESS_PREFIX}dawn", 0)
    assert (record.key, record.value) == (b"a4", b"loan")
    assert one_letter(everything, 0, 0).value == b"late"
    with pytest.raises(DipperError, match="no record at partition 9"):
        one_letter(everything, 9, 0)


@pytest.fixture
def letters(fresh_embedded_broker: Broker) -> Broker:
    """A broker with dead letters on it."""
    import asyncio

    asyncio.run(_letters_stand(fresh_embedded_broker))
    return fresh_embedded_broker


def test_the_commands_show_what_stands(letters: Broker) -> None:
    """A list counts reasons and names each letter, show gives headers and bytes, and requeue sends
    nothing without --yes.
    """
    named = ["--broker", letters.bootstrap]
    run = CliRunner().invoke
    listed = run(cli.app, ["dead-letters", "list", *named]).output
    assert "2 too_far_ahead" in listed
    assert f"0 0  too_far_ahead  {EVENTS.name}/1@77  late" in listed
    assert "out_of_range at at byte 20" in listed
    shown = run(cli.app, ["dead-letters", "show", "0", "1", *named]).output
    assert "reason: bad_signature" in shown
    assert "not to be sent again: it has no key" in shown
    assert "forged" in shown
    asked = ["dead-letters", "requeue", *named, "--reason", "too_far_ahead"]
    assert "2 records would be sent again" in run(cli.app, asked).output
    assert "sent 2 records again, 0 cannot be" in run(cli.app, [*asked, "--yes"]).output
    assert run(cli.app, ["dead-letters", "requeue", *named]).exit_code == 2
