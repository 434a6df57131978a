"""Files of JSON Lines."""

import gzip
from pathlib import Path

import pytest

from streams.broker.lines import LineFile, read_line
from streams.errors import DipperError


@pytest.mark.parametrize(
    ("value", "key", "tick_at", "fault"),
    [
        (b'{"applicant":"a1","type":"tick","at":5}', b"a1", None, ""),
        ('{"applicant":"ä"}'.encode(), "ä".encode(), None, ""),
        (b'{"type":"tick","at":5}', None, 5, ""),
        (b'{"at":5,"type":"tick"}', None, 5, ""),
        (b'{"type":"tick","at":0}', None, None, "no applicant"),
        (b'{"type":"tick","at":true}', None, None, "no applicant"),
        (b'{"type":"tick","at":5,"partition":0}', None, None, "no applicant"),
        (b'{"applicant":7}', None, None, "no applicant"),
        (b'{"applicant":"a1","type":[]}', b"a1", None, ""),
        (b"[]", None, None, "no JSON object"),
        (b'{"applicant":"a1"', None, None, "no JSON"),
        (b"\xff", None, None, "no JSON"),
        (b'{"applicant":NaN}', None, None, "no JSON"),
    ],
)
def test_a_line_is_an_event_a_tick_or_a_fault(
    value: bytes, key: bytes | None, tick_at: int | None, fault: str
) -> None:
    """An applicant makes the key; exactly type and at make a tick; the rest says what is wrong."""
    line = read_line(3, value)
    assert (line.number, line.key, line.value, line.tick_at) == (3, key, value, tick_at)
    assert fault in line.fault
    assert bool(line.fault) == bool(fault)


def test_plain_and_gzip_files_give_the_same_lines(tmp_path: Path) -> None:
    """Compression changes nothing; blank lines are no lines; numbers are those of the file."""
    text = b'{"applicant":"a"}\n\n{"applicant":"b"}\r\n   \n{"type":"tick","at":1}'
    (tmp_path / "events.jsonl").write_bytes(text)
    (tmp_path / "events.jsonl.gz").write_bytes(gzip.compress(text))
    plain = list(LineFile(tmp_path / "events.jsonl"))
    assert plain == list(LineFile(tmp_path / "events.jsonl.gz"))
    assert [line.number for line in plain] == [1, 3, 5]
    assert [line.value for line in plain][1] == b'{"applicant":"b"}'


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    """A file that is not there, or whose compression is broken, is one sentence with its path."""
    with pytest.raises(DipperError, match=r"none\.jsonl.*No such file"):
        LineFile(tmp_path / "none.jsonl")
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(gzip.compress(b'{"applicant":"a"}\n' * 9)[:-12])
    with pytest.raises(DipperError, match=r"broken\.jsonl\.gz:\d+: damaged gzip"):
        list(LineFile(broken))
