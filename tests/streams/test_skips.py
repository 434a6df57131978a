"""The signed skip list."""

from dataclasses import replace as changed
from pathlib import Path

import polars as pl
import pytest

from streams.config import load_deployment
from streams.control.keys import init_keys, load_private_key, rotate_keys
from streams.errors import DipperError
from streams.replay import replay
from streams.skips import SKIPS_FILE, add_skip, load_skips
from tests.deployment import make_deployment
from tests.streams.lives import LIMITS, write_lives


def test_only_control_s_key_adds_to_the_list(tmp_path: Path) -> None:
    """A line counts with its signature alone, stands once, and outlives a rotation of keys."""
    init_keys(tmp_path)
    assert load_skips(tmp_path) == {}
    key = load_private_key(tmp_path)
    assert add_skip(tmp_path, key, 3, 7, 'issue "77"')
    assert not add_skip(tmp_path, key, 3, 7, "again")
    assert add_skip(tmp_path, key, 3, 5, "")
    assert add_skip(tmp_path, key, 0, 9, "")
    assert load_skips(tmp_path) == {0: (9,), 3: (5, 7)}
    rotate_keys(tmp_path, [100, 100, 100, 100])
    assert load_skips(tmp_path) == {0: (9,), 3: (5, 7)}
    file = tmp_path / SKIPS_FILE
    lines = file.read_bytes()
    for forged in (lines.replace(b":7,", b":8,"), b"junk\n", b'{"type":"skip"}\n', b"[]\n"):
        file.write_bytes(forged)
        with pytest.raises(DipperError, match=r"skips\.jsonl:1 bears no good signature"):
            load_skips(tmp_path)


def test_a_skipped_record_is_as_if_never_sent(tmp_path: Path) -> None:
    """It is a dead letter with its own bytes, and all else is decided as in a log without it."""
    folder = make_deployment(tmp_path / "config", LIMITS)
    deployment = load_deployment(folder)
    path = tmp_path / "events.jsonl"
    write_lives(path, deployment, 40)
    whole = replay(path, deployment)
    victim = whole.decisions.row(len(whole.decisions) // 3, named=True)
    assert add_skip(folder, load_private_key(folder), 0, victim["offset"], "a test")
    skipping = load_deployment(folder)
    assert skipping.skips == {0: (victim["offset"],)}
    found = replay(path, skipping)
    (letter,) = found.dead_letters.filter(pl.col("reason") == "skipped").to_dicts()
    assert letter["offset"] == victim["offset"]
    lines = path.read_bytes().splitlines(keepends=True)
    name = b'"id":"%s"' % victim["request"].encode()
    who = b'"applicant":"%s"' % victim["applicant"].encode()
    # The request itself, and repeats of it: without it the first repeat would count.
    mine = [line for line in lines if name in line and who in line and b'"product"' in line]
    assert mine
    path.write_bytes(b"".join(line for line in lines if line != mine[0] or len(mine) > 1))
    if len(mine) == 1:
        without = replay(path, changed(deployment, skips={}))
        columns = [column for column in whole.decisions.columns if column != "offset"]
        assert found.decisions.select(columns).equals(without.decisions.select(columns))
    assert victim["id"] not in found.decisions["id"] or len(mine) > 1
