"""Logs: one line for each thing done, pretty on a terminal, JSON elsewhere, on standard error.

A line says what was done and how long it took; it holds no applicant, no id of a request and no
field of an event, only numbers of partitions, offsets and counts. What was decided on whom stands
on the topics, and `dipper explain` shows it.
"""

import logging
import sys
from functools import cache
from typing import Any, TextIO

import numpy as np
import orjson
import structlog
from numpy.typing import NDArray

from streams.counters import DECIDED, EVENTS, EXPIRED, REFUSED, SLOW
from streams.schema import EventType, Outcome, Refusal

BATCH, ACTION = "batch", "control"


def start_logs(stream: TextIO | None = None, *, pretty: bool | None = None) -> None:
    """Send structlog's and the standard library's lines to `stream` (standard error).

    `pretty`: for people; None: where the stream is a terminal.
    """
    out = sys.stderr if stream is None else stream
    on_terminal = out.isatty() if pretty is None else pretty
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: Any = (
        structlog.dev.ConsoleRenderer(colors=out.isatty())
        if on_terminal
        else structlog.processors.JSONRenderer(serializer=_json)
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *([] if on_terminal else [structlog.processors.format_exc_info]),
                render,
            ],
        )
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # What a client retries it says by itself, again and again; what it gives up comes as an error.
    # Our own lines go straight to the stream: by way of the standard library's records, which look
    # for the calling line and are put together twice, a line took three times as long.
    structlog.configure(
        processors=[*shared, render],
        logger_factory=structlog.WriteLoggerFactory(file=out),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        cache_logger_on_first_use=True,
    )
    _log_of.cache_clear()


def _json(line: dict[str, object], **_: object) -> str:
    """Return a line as JSON, what JSON does not know as its words."""
    return orjson.dumps(line, default=repr, option=orjson.OPT_SERIALIZE_NUMPY).decode()


def log_batch(
    partition: int, done: NDArray[np.int64], records: int, step_s: float, commit_s: float
) -> None:
    """Write the line of a committed batch; `done` int64[counters.size]: what it added to each.

    Ticks that end no offer are no line: one a second and partition would hide what happened.
    """
    happened = done[EVENTS:SLOW].sum() - done[EVENTS + EventType.TICK]
    refusals = done[REFUSED + 1 : REFUSED + len(Refusal)].sum()
    if not (happened or refusals or done[EXPIRED]):
        return
    decided = done[DECIDED : DECIDED + len(Outcome)]
    _log_of("dipper.live").info(
        BATCH,
        partition=partition,
        records=records,
        requests=int(done[EVENTS + EventType.APPLICATION] + done[EVENTS + EventType.DRAWDOWN]),
        decided=int(decided.sum()),
        approved=int(decided[Outcome.APPROVED]),
        repeated=int(done[REFUSED + Refusal.DUPLICATE]),
        refused=int(refusals - done[REFUSED + Refusal.DUPLICATE]),
        step_ms=round(1_000 * step_s, 3),
        commit_ms=round(1_000 * commit_s, 3),
    )


def log_action(action: str, **told: object) -> None:
    """Write the line of something that control has done."""
    _log_of("dipper.control").info(ACTION, action=action, **told)


@cache
def _log_of(name: str) -> Any:
    """Return the one logger of a name: a new one would be put together anew for each line."""
    return structlog.get_logger().bind(logger=name)
