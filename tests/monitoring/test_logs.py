"""Logs: one line a batch and a control action, readable by people or machines."""

import io
import json
import logging
from collections.abc import Iterator

import numpy as np
import pytest
import structlog

from monitoring.logs import log_action, log_batch, start_logs
from monitoring.meter import WorkerMeter
from streams import counters
from streams.counters import DECIDED, EVENTS, EXPIRED, REFUSED, Dimensions
from streams.schema import EventType, Outcome, Refusal

_SIZE = counters.size(Dimensions(("dawn",), ("cash",), ("app",), ("age",)))


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def _lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_batch_is_one_line_of_numbers() -> None:
    """A committed batch writes one JSON line that tells its size, what came of it and how long it
    took; apart from fixed words it holds numbers only, so nothing of an applicant.
    """
    stream = io.StringIO()
    start_logs(stream)
    meter = WorkerMeter()
    meter.on_batch = log_batch
    array = np.full(_SIZE, 7, np.int64)
    meter.begin(2, array, 0.1, kept=False)
    array[EVENTS + EventType.APPLICATION] += 3
    array[DECIDED + Outcome.APPROVED] += 1
    array[DECIDED + Outcome.CREDIT] += 2
    array[REFUSED + Refusal.DUPLICATE] += 4
    array[REFUSED + Refusal.MALFORMED] += 5
    meter.commit(2, array, 12, 0.0015, 0.0025)
    (line,) = _lines(stream)
    words = {key: line.pop(key) for key in ("event", "level", "logger", "timestamp")}
    assert (words["event"], words["level"], words["logger"]) == ("batch", "info", "dipper.live")
    assert line == {
        "partition": 2, "records": 12, "requests": 3, "decided": 3, "approved": 1, "repeated": 4,
        "refused": 5, "step_ms": 1.5, "commit_ms": 2.5,
    }  # fmt: skip


def test_a_batch_of_ticks_alone_is_no_line() -> None:
    """An idle worker writes nothing; a tick that ends an offer, and a refused record, are told."""
    stream = io.StringIO()
    start_logs(stream)
    meter = WorkerMeter()
    meter.on_batch = log_batch
    array = np.zeros(_SIZE, np.int64)
    meter.begin(2, array, 0.1, kept=False)
    array[EVENTS + EventType.TICK] += 1
    meter.commit(2, array, 1, 0.0015, 0.0025)
    assert not stream.getvalue()
    array[EVENTS + EventType.TICK] += 1
    array[EXPIRED] += 1
    meter.commit(2, array, 1, 0.0015, 0.0025)
    array[REFUSED + Refusal.MALFORMED] += 1
    meter.commit(2, array, 1, 0.0015, 0.0025)
    assert [line["refused"] for line in _lines(stream)] == [0, 1]


def test_a_control_action_is_one_line() -> None:
    """What control does is one line that names the action."""
    stream = io.StringIO()
    start_logs(stream)
    log_action("pause", what="dawn", records=4)
    (line,) = _lines(stream)
    assert (line["event"], line["action"], line["records"]) == ("control", "pause", 4)


def test_other_modules_write_the_same_form() -> None:
    """A line by the standard library, with its exception, is one JSON line too."""
    stream = io.StringIO()
    start_logs(stream)
    try:
        raise ValueError("no such page")
    except ValueError:
        logging.getLogger("dipper.live").exception("partition %d is halted", 3)
    (line,) = _lines(stream)
    assert (line["event"], line["level"]) == ("partition 3 is halted", "error")
    assert "no such page" in str(line["exception"])


def test_people_read_words() -> None:
    """On a terminal a line is for people: no JSON, the same facts."""
    stream = io.StringIO()
    start_logs(stream, pretty=True)
    log_action("grant", records=4)
    assert "action=grant" in stream.getvalue()
    assert "{" not in stream.getvalue()
