"""Another number of partitions: the same requests, decided the same, each once."""

from collections.abc import Sequence
from pathlib import Path

import orjson
import polars as pl
import pytest

from streams.blocks import make_block
from streams.broker.lines import read_line
from streams.broker.publish import partition_of
from streams.config import load_deployment
from streams.control.keys import load_private_key, load_trusted, verifier
from streams.control.loans import sign_loans
from streams.control.records import ControlLog, Position, signed, split_signature, tick
from streams.deployment import Deployment
from streams.errors import BrokerError, DipperError
from streams.frames import DECISIONS
from streams.replay import replay
from streams.resize import compare, publish_generation, regenerate, resize
from streams.sources import Source, open_source
from streams.topology import OUT_DECISION
from tests.conftest import Broker
from tests.deployment import make_deployment
from tests.streams.lives import LIMITS, write_lives


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """The example policies with small scorecards and small tables."""
    return load_deployment(make_deployment(tmp_path_factory.mktemp("config") / "d", LIMITS))


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory, deployment: Deployment) -> Path:
    """A history of requests, lines, loans, hostile input, and two commands of control."""
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    write_lives(path, deployment, 60)
    lines = path.read_bytes().splitlines()
    # For a part of it nobody gets an offer of the first institution.
    name = orjson.dumps(deployment.institution_ids[0])
    lines.insert(len(lines) // 3, b'{"type":"pause","institution":' + name + b"}")
    lines.insert(len(lines) // 2, b'{"type":"resume","institution":' + name + b"}")
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def log_frame(rows: Sequence[tuple[int, int, bytes | None, bytes]]) -> pl.DataFrame:
    """Return a log as a replay takes it."""
    schema = {"partition": pl.Int64, "offset": pl.Int64, "key": pl.Binary, "value": pl.Binary}
    return pl.DataFrame(rows, schema, orient="row")


def write_old_log(events: Path, deployment: Deployment, partitions: int, path: Path) -> Path:
    """Write the log that publishing these lines makes, signed as control signs it."""
    sign = load_private_key(deployment.folder).sign
    rows = []
    for number, record in open_source(events, partitions, deployment.caps, bytes(16)).records():
        value = record.value or b""
        if record.key is None and (parts := split_signature(value)):
            value = signed(parts[0] + b"}", sign)
        elif read_line(1, value).issuer in deployment.institution_ids:
            (value,) = sign_loans([value], sign)
        rows.append((number, record.offset, record.key, value))
    log_frame(rows).write_parquet(path)
    return path


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("before", "after"), [(3, 2), (1, 4)])
def test_every_request_is_decided_as_if_the_log_had_been_so_from_the_start(
    deployment: Deployment, events: Path, tmp_path: Path, before: int, after: int
) -> None:
    """The new generation takes each decision that the same events give when they are published to
    so many partitions at once, in the same bytes but for where it stands; and with leases that
    suffice they are the old ones.
    """
    source = write_old_log(events, deployment, before, tmp_path / "old.parquet")
    generation, compared = resize(source, deployment, after)
    assert generation.partitions == after
    assert compared.decisions > 50
    assert compared.differing == []
    at_once = replay(events, deployment, partitions=after).decisions
    again = replay(generation.log, deployment, partitions=after)
    assert compare(at_once, again.decisions) == (compared.decisions, [])
    assert set(at_once["manifest"]) == set(again.decisions["manifest"])


def test_what_counted_for_nothing_is_left_behind(deployment: Deployment) -> None:
    """A record in the wrong partition, without a key, or of a forged or repeated tick was refused
    by the old generation; in the new one it would count. An applicant's own order stays, and no
    record comes before the tick that it stood behind.
    """
    keys = [b"a%d" % n for n in range(40)]
    old, new = 2, 3
    here = [[key for key in keys if partition_of(key, old) == n] for n in range(old)]
    sign = load_private_key(deployment.folder).sign

    def ours(partition: int, seq: int, at: int) -> bytes:
        return signed(tick(partition, seq, at), sign)

    lanes = [
        [(None, ours(0, 1, 100)), (here[0][0], b"0"), (here[1][0], b"astray"), (None, b"junk"),
         (None, ours(0, 2, 200)), (here[0][1], b"1"), (here[0][0], b"2")],
        [(here[1][0], b"3"), (None, ours(1, 1, 100)), (None, signed(tick(1, 2, 999), bytes)),
         (None, ours(1, 1, 150)), (here[1][1], b"4"), (None, ours(1, 2, 300)), (here[1][0], b"5")],
    ]  # fmt: skip
    blocks = [
        make_block(number, range(len(lane)), [key for key, _ in lane], [v for _, v in lane])
        for number, lane in enumerate(lanes)
    ]
    verify = verifier(load_trusted(deployment.folder))
    control = ControlLog(sign, {}, [Position()] * new)
    found = regenerate(Source(old, blocks), verify, control)
    assert (found.kept, found.left) == (6, 8)
    rows = found.log.rows()
    for number in range(new):
        lane = [row for row in rows if row[0] == number]
        assert [row[1] for row in lane] == list(range(len(lane)))
        assert all(partition_of(key, new) == number for _, _, key, _ in lane if key)
        ticks = [orjson.loads(value) for _, _, key, value in lane if key is None]
        assert [(each["seq"], each["at"]) for each in ticks] == [(1, 100), (2, 200), (3, 300)]
    times = {value: _time_before(rows, at) for at, (_, _, key, value) in enumerate(rows) if key}
    assert times == {b"3": 0, b"0": 100, b"4": 100, b"1": 200, b"2": 200, b"5": 300}
    values = [value for _, _, key, value in rows if key == here[0][0]]
    assert values == [b"0", b"2"]


def _time_before(rows: list[tuple[int, int, bytes | None, bytes]], at: int) -> int:
    """Return the time of the last tick before a row in its own partition."""
    before = [row for row in rows[:at] if row[0] == rows[at][0] and row[2] is None]
    return int(orjson.loads(before[-1][3])["at"]) if before else 0


def test_a_decision_that_would_turn_is_told() -> None:
    """Whatever differs but place and manifest is told, and so is a decision of one side alone."""
    row = dict.fromkeys(DECISIONS) | {"id": "x", "outcome": "approved", "partition": 1}
    moved = row | {"partition": 2, "offset": 9, "manifest": "other"}
    turned = row | {"outcome": "capacity"}

    def frame(*rows: dict[str, object]) -> pl.DataFrame:
        return pl.DataFrame(rows, DECISIONS)

    assert compare(frame(row), frame(moved)) == (1, [])
    assert compare(frame(row), frame(turned)) == (1, ["x"])
    assert compare(frame(row), frame()) == (1, ["x"])


def test_the_same_number_is_no_resize(deployment: Deployment, events: Path, tmp_path: Path) -> None:
    """A log is not written again for nothing."""
    source = write_old_log(events, deployment, 2, tmp_path / "old.parquet")
    with pytest.raises(DipperError, match="has 2 partitions already"):
        resize(source, deployment, 2)


async def test_a_new_generation_stands_on_new_topics(
    fresh_broker: Broker, deployment: Deployment, events: Path, tmp_path: Path
) -> None:
    """On either broker the new log stands record for record, and a second one is refused."""
    source = write_old_log(events, deployment, 1, tmp_path / "old.parquet")
    generation, _ = resize(source, deployment, 3)
    await publish_generation(fresh_broker.bootstrap, generation, deployment)
    found = replay(f"kafka://{fresh_broker.bootstrap}", deployment)
    again = replay(generation.log, deployment, partitions=3)
    assert found.written == again.written
    assert found.read(OUT_DECISION) == again.read(OUT_DECISION)
    with pytest.raises(BrokerError, match="is not empty; a new generation needs new topics"):
        await publish_generation(fresh_broker.bootstrap, generation, deployment)
