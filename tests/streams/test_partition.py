"""One partition between source and sink."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.blocks import (
    TAKE_DONE,
    TAKE_FULL,
    TAKE_OVERSIZE,
    Block,
    make_block,
    take_rows,
)
from streams.buffers import Batch, append_record, clear_batch, make_batch
from streams.limits import RECORD_BYTES_MAX
from streams.partition import Input, Output, Partition, input_of
from streams.topology import OUT_DEAD_LETTER, OUT_DECISION
from tests.streams.running_step import SIZE, RunningStep


def _block(number: int, records: Sequence[Input]) -> Block:
    return make_block(
        number,
        [record.offset for record in records],
        [record.key for record in records],
        [record.value for record in records],
    )


def _drive(partition: Partition, records: Sequence[Input]) -> list[Output]:
    return list(partition.decide_block(_block(partition.step.partition, records)))


def _log(values: Sequence[bytes | None], first: int = 0) -> list[Input]:
    return [Input(first + n, b"k%d" % (n % 3), value) for n, value in enumerate(values)]


def test_every_record_passes_in_order_whatever_the_batch() -> None:
    """More records than a batch holds all come through once, in order; the position is behind."""
    partition = Partition(RunningStep(2, 4))
    outputs = _drive(partition, _log([b"v%d" % n for n in range(3 * SIZE.batch_rows + 5)], 100))
    assert [output.topic for output in outputs] == [OUT_DECISION] * len(outputs)
    assert [output.value for output in outputs] == [
        b"2 k%d %d v%d" % (n % 3, n // 3 + 1, n) for n in range(3 * SIZE.batch_rows + 5)
    ]
    assert partition.position == 100 + 3 * SIZE.batch_rows + 5


def test_a_dead_letter_is_the_original_with_reason_and_place() -> None:
    """Key and value are untouched; headers say why, where in it, and where it came from."""
    partition = Partition(RunningStep(3, 4))
    outputs = _drive(partition, _log([b"a", b"bad", b"b"], 50))
    assert [output.topic for output in outputs] == [OUT_DECISION, OUT_DEAD_LETTER, OUT_DECISION]
    assert outputs[1].key == b"k1"
    assert outputs[1].value == b"bad"
    headers = dict(outputs[1].headers)
    assert b"murmur2_random" in headers.pop("remedy")
    assert headers == {
        "reason": b"wrong_partition",
        "position": b"-1",
        "topic": b"dipper.events",
        "partition": b"3",
        "offset": b"51",
    }


@pytest.mark.parametrize("carried", [True, False])
def test_a_record_beyond_a_whole_batch_is_still_refused(carried: bool) -> None:
    """What no batch can hold is a dead letter at its place in the order; its neighbours are
    decided.

    Beyond what the topic takes, its length stands in a header in place of its bytes.
    """
    step = RunningStep(0, 1)
    if carried:
        step.batch = step.batch._replace(data=step.batch.data[:3_000])
    huge = bytes(2_001 if carried else SIZE.batch_bytes)
    assert (len(huge) <= RECORD_BYTES_MAX) == carried
    partition = Partition(step)
    outputs = _drive(partition, _log([b"a", huge, b"b", huge]))
    assert [output.topic for output in outputs] == [0, OUT_DEAD_LETTER, 0, OUT_DEAD_LETTER]
    headers = dict(outputs[1].headers)
    assert (headers["reason"], headers["offset"]) == (b"too_long", b"1")
    if carried:
        assert (outputs[1].key, outputs[1].value) == (b"k1", huge)
    else:
        assert (outputs[1].key, outputs[1].value) == (None, None)
        assert headers["value_bytes"] == b"%d" % len(huge)
    assert partition.position == 4


def test_a_muted_partition_keeps_state_and_says_nothing() -> None:
    """Folding writes nothing, not even for what is too large; afterwards state is as if it had."""
    huge = bytes(SIZE.batch_bytes)
    log = _log([b"a", b"bad", huge, b"b", None, b""])
    folded, plain = Partition(RunningStep(0, 1)), Partition(RunningStep(0, 1))
    folded.mute(on=True)
    assert _drive(folded, log) == []
    folded.mute(on=False)
    _drive(plain, log)
    rest = _log([b"c", b"d", b"e"], len(log))
    assert _drive(folded, rest) == _drive(plain, rest)
    assert folded.position == plain.position == len(log) + 3


_RECORDS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.builds(
            Input,
            st.integers(0, 2**52),
            st.none() | st.binary(max_size=20),
            st.none() | st.binary(max_size=60),
        ),
    ),
    max_size=40,
)


def _copy(batch: Batch) -> list[Input]:
    return [input_of(batch, row) for row in range(int(batch.used[0]))]


@pytest.mark.kernel
@given(_RECORDS, st.integers(1, 9), st.integers(40, 200))
def test_batches_are_filled_as_if_record_by_record(
    records: list[tuple[int, Input]], rows_max: int, room: int
) -> None:
    """Each partition gets its own records of a block, in order, each batch as full as it can be;
    a record that fits no batch comes alone.
    """
    block = _block(0, [record for _, record in records])
    block = block._replace(partition=np.array([number for number, _ in records], np.int32))
    for number in range(3):
        left = [record for at, record in records if at == number]
        batch = make_batch(SIZE._replace(batch_rows=16))._replace(data=np.zeros(2 * room, np.uint8))
        row = 0
        while row < len(records):
            row, code = take_rows(block, number, row, rows_max, batch)
            plain = make_batch(SIZE._replace(batch_rows=rows_max))._replace(data=batch.data.copy())
            taken = 0
            while taken < len(left) and append_record(plain, *left[taken]):
                taken += 1
            assert _copy(batch) == left[:taken] == _copy(plain)
            left = left[taken:]
            assert code == (
                TAKE_DONE if not left else TAKE_FULL if batch.used[0] else TAKE_OVERSIZE
            )
            if code == TAKE_OVERSIZE:
                assert input_of(block, row) == left.pop(0)
                row += 1
            clear_batch(batch)
        assert not left
