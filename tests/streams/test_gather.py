"""Outputs of a step as the bytes of files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.buffers import Out, make_batch, make_out
from streams.dump import pack_output
from streams.gather import LINES, PACKED, PACKED_BYTES, VALUES, gather
from streams.limits import Limits
from streams.partition import read_outputs
from streams.topology import OUT_DECISION, OUT_EVIDENCE, OUT_FUNDING

_SIZE = Limits(batch_rows=1, batch_bytes=5_000_000, out_rows=64, out_bytes=8_192)
_RECORDS = st.lists(
    st.tuples(
        st.sampled_from([OUT_DECISION, OUT_EVIDENCE, OUT_FUNDING]),
        st.none() | st.binary(max_size=9),
        st.binary(max_size=90),
    ),
    max_size=50,
)


def _written(records: list[tuple[int, bytes | None, bytes]]) -> Out:
    out = make_out(_SIZE._replace(expiries_per_tick=1))
    at = 0
    for row, (topic, key, value) in enumerate(records):
        text = (key or b"") + value
        out.data[at : at + len(text)] = np.frombuffer(text, np.uint8)
        key_len = -1 if key is None else len(key)
        out.rows[row] = (topic, 0, at, key_len, at + len(key or b""), len(value), 0, -1)
        at += len(text)
    out.used[:] = len(records), at
    return out


@pytest.mark.kernel
@given(_RECORDS)
def test_gathered_is_written_one_by_one(records: list[tuple[int, bytes | None, bytes]]) -> None:
    """Each form of each topic is, byte for byte, that of its records taken one by one."""
    out = _written(records)
    batch = make_batch(_SIZE)
    outputs = list(read_outputs(out, batch, 0))
    assert [(each.topic, each.key, each.value) for each in outputs] == records
    target = np.zeros(int(out.used[1]) + PACKED_BYTES * len(records), np.uint8)
    for topic in (OUT_DECISION, OUT_EVIDENCE, OUT_FUNDING):
        mine = [each for each in outputs if each.topic == topic]
        values = [each.value or b"" for each in mine]
        for form, expected in (
            (VALUES, b"".join(values)),
            (LINES, b"".join(value + b"\n" for value in values)),
            (PACKED, b"".join(map(pack_output, mine))),
        ):
            size, count = gather(out, topic, form, target)
            assert (target[:size].tobytes(), count) == (expected, len(mine))
