"""What a replay reads."""

from pathlib import Path

import orjson
import polars as pl
import pytest

from streams.broker.publish import partition_of
from streams.errors import DipperError
from streams.schema import Cap
from streams.sources import Placed, Source, open_source

_CAPS = {"dawn": {Cap.OUTSTANDING: 7}}
_SECRET = bytes(16)
_LINES = [
    b'{"type":"tick","at":100}',
    b'{"applicant":"a","n":1}',
    b'{"applicant":"b","n":2}',
    b"junk",
    b'{"type":"tick","at":50}',
    b'{"type":"tick","at":200}',
    b'{"applicant":"a","n":3}',
    b'{"type":"tick","at":300}',
]


def _open(path: Path, partitions: int | None = None) -> Source:
    return open_source(path, partitions, _CAPS, _SECRET)


def _brief(placed: Placed) -> tuple[int, int, str]:
    value = placed.record.value or b""
    if value == b"junk":
        return placed.partition, placed.record.offset, "junk"
    record = orjson.loads(value)
    kind = record.get("type", record.get("n"))
    return placed.partition, placed.record.offset, f"{kind}{record.get('at', '')}"


@pytest.fixture
def events(tmp_path: Path) -> Path:
    """A file of events with ticks, one of which goes back, and a line that is no event."""
    path = tmp_path / "events.jsonl"
    path.write_bytes(b"\n".join(_LINES) + b"\n")
    return path


def test_a_file_becomes_the_log_that_live_would_have(events: Path) -> None:
    """Grants first, then events and ticks in file order, offsets from 0, in one partition."""
    source = _open(events)
    assert source.partitions == 1
    assert [_brief(each) for each in source.records()] == [
        (0, 0, "grant"), (0, 1, "tick100"), (0, 2, "1"), (0, 3, "2"), (0, 4, "junk"),
        (0, 5, "tick200"), (0, 6, "3"), (0, 7, "tick300"),
    ]  # fmt: skip


def test_partitions_get_their_own_events_and_every_tick(events: Path) -> None:
    """Each key goes to its partition, ticks and grants to all; what has no key to partition 0."""
    found = [_brief(each) for each in _open(events, 3).records()]
    for partition in range(3):
        own = [what for number, _, what in found if number == partition]
        mine = [
            text
            for key, text in ((b"a", "1"), (b"b", "2"), (None, "junk"))
            if (partition_of(key, 3) if key else 0) == partition
        ]
        later = ["3"] if partition_of(b"a", 3) == partition else []
        assert own == ["grant", "tick100", *mine, "tick200", *later, "tick300"]
        offsets = [offset for number, offset, _ in found if number == partition]
        assert offsets == list(range(len(own)))


def test_only_events_made_here_pass_as_control(events: Path) -> None:
    """A control event in a file is no control event, however it is signed; our own are, and a loan
    event counts as signed by them.
    """
    source = _open(events)
    assert source.verify is not None
    own = [p.record.value for p in source.records() if p.record.key is None]
    signed = [value for value in own if value and value != b"junk"]
    assert len(signed) == 4
    assert all(source.verify(0, value, 9) for value in signed)
    other = open_source(events, 1, _CAPS, b"another secret")
    assert other.verify is not None
    assert not any(other.verify(0, value, 9) for value in signed)
    assert not source.verify(0, b'{"type":"grant"}', 9)
    assert source.verify(0, b'{"type":"loan"}', 9)


@pytest.mark.parametrize("kind", [pl.String, pl.Binary])
def test_parquet_and_frames_of_events_are_as_their_file(
    events: Path, tmp_path: Path, kind: type[pl.DataType]
) -> None:
    """A column `value`, text or bytes, holds the lines of a file."""
    frame = pl.DataFrame({"value": [v.decode() for v in _LINES]}).with_columns(
        pl.col("value").cast(kind)
    )
    frame.write_parquet(tmp_path / "events.parquet")
    expected = list(_open(events, 2).records())
    assert list(_open(tmp_path / "events.parquet", 2).records()) == expected
    assert list(open_source(frame, 2, _CAPS, _SECRET).records()) == expected


def test_parquet_of_a_log_is_taken_as_it_stands(tmp_path: Path) -> None:
    """With partition, key and offset nothing is added or moved, and signatures count as live."""
    log = pl.DataFrame(
        {
            "partition": [1, 0, 1],
            "offset": [8, 3, 5],
            "key": [b"a", None, b"b"],
            "value": [b"x", b"y", None],
            "other": [1, 2, 3],
        }
    )
    log.write_parquet(tmp_path / "log.parquet")
    source = _open(tmp_path / "log.parquet")
    assert (source.partitions, source.verify) == (2, None)
    assert [(p.partition, *p.record) for p in source.records()] == [
        (0, 3, None, b"y"),
        (1, 5, b"b", None),
        (1, 8, b"a", b"x"),
    ]


def test_what_cannot_be_read_is_one_sentence(tmp_path: Path) -> None:
    """A missing file, a damaged one and wrong columns are named."""
    with pytest.raises(DipperError, match=r"none\.parquet: no such file"):
        _open(tmp_path / "none.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    with pytest.raises(DipperError, match=r"bad\.parquet cannot be read"):
        _open(tmp_path / "bad.parquet")
    with pytest.raises(DipperError, match="no column value; it has v"):
        open_source(pl.DataFrame({"v": [1]}), None, _CAPS, _SECRET)
    with pytest.raises(DipperError, match="partition but no key and no offset"):
        open_source(pl.DataFrame({"value": [b""], "partition": [0]}), None, _CAPS, _SECRET)
