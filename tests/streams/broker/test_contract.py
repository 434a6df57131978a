"""What is used of aiokafka beyond its public names: another version must fail here, and loudly."""

import inspect
from importlib.metadata import version

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.consumer import fetcher
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.producer import message_accumulator, sender
from aiokafka.protocol.commit import OffsetFetchRequest, OffsetFetchResponse_v3
from aiokafka.protocol.fetch import FetchRequest, FetchResponse_v4, FetchResponse_v11
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.types import Bytes

from streams.broker.client import make_consumer
from streams.broker.pack import RecordBatch


def test_the_version_is_the_one_that_was_read() -> None:
    """Intake and commit lean on internals of exactly this version; read them again for another."""
    assert version("aiokafka") == "0.14.0"


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (FetchRequest, "max_wait_time min_bytes max_bytes isolation_level topics rack_id"),
        (OffsetRequest, "replica_id isolation_level topics"),
        (OffsetFetchRequest, "consumer_group partitions"),
        (AIOKafkaClient.send, "self node_id request group"),
        (AIOKafkaClient.coordinator_lookup, "self coordinator_type coordinator_key"),
        (AIOKafkaProducer.send_batch, "self batch topic partition"),
        (AIOKafkaProducer.send_offsets_to_transaction, "self offsets group_id"),
        (sender.Sender.close, "self"),
    ],
)
def test_calls_take_what_we_give(function: object, names: str) -> None:
    """Each function of aiokafka that we call has the parameters that we give it."""
    assert callable(function)
    assert list(inspect.signature(function).parameters) == names.split()


def test_answers_stand_where_we_read_them() -> None:
    """A partition's part of a fetch answer, of the versions that brokers are asked with."""
    old = FetchResponse_v4.SCHEMA.fields[1].array_of.fields[1].array_of.names
    new = FetchResponse_v11.SCHEMA.fields[3].array_of.fields[1].array_of.names
    assert [*old[:4], *old[-2:]] == [
        *("partition", "error_code", "highwater_offset", "last_stable_offset"),
        *("aborted_transactions", "message_set"),
    ]
    assert new[-3:] == ("aborted_transactions", "preferred_read_replica", "message_set")
    offsets = OffsetFetchResponse_v3.SCHEMA.names
    assert "topics" in offsets
    assert CoordinationType.GROUP == 0


def test_the_sender_asks_a_builder_for_what_ours_has() -> None:
    """Each method of a builder that aiokafka's accumulator calls stands in our batch too."""
    text = inspect.getsource(message_accumulator.MessageBatch)
    text += inspect.getsource(message_accumulator.MessageAccumulator)
    asked = {name for name in dir(message_accumulator.BatchBuilder) if f"builder.{name}(" in text}
    assert {"_set_producer_state", "_build", "record_count"} <= asked
    # Single records are appended by `send`, which nobody calls on our producers.
    assert asked - {"append"} <= set(dir(RecordBatch))


def test_bytes_of_ours_are_sent_as_they_are() -> None:
    """The protocol takes a view of our memory where it expects bytes."""
    data = bytearray(b"abc")
    assert Bytes.encode(memoryview(data)) == b"\0\0\0\3abc"


def test_waits_between_transactions_are_read_when_they_are_needed() -> None:
    """The module's constant is looked up at each call, so that setting it cuts the wait."""
    code = sender.AddPartitionsToTxnHandler.handle_response.__code__
    assert "BACKOFF_OVERRIDE" in code.co_names


def test_other_consumers_keep_their_ways() -> None:
    """Nothing of aiokafka's fetcher is replaced: other users in the process read as ever."""
    import streams.live  # noqa: F401

    assert fetcher.PartitionRecords.__module__ == fetcher.__name__
    assert fetcher.MemoryRecords.__module__.startswith("aiokafka.record")


async def test_two_members_in_one_process_remember_apart() -> None:
    """What the group gave one member is not what another member of the same process claims."""
    made = [make_consumer("127.0.0.1:1") for _ in range(2)]
    one, two = (each._partition_assignment_strategy[0] for each in made)
    had = ConsumerProtocolMemberAssignment(0, [("events", [0, 1])], b"")
    one.on_assignment(had)
    assert one.member_assignment == had.partitions()
    assert two.member_assignment is None
    for each in made:
        await each.stop()
