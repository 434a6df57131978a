"""Time handed over: what `dipper publish` asks of `dipper control --clock file`, and the answers.

On `dipper.clock`, one JSON object a record: `{"request":"<token>","at":[<ms>, ...]}`, answered by
`{"answer":"<token>"}` when a tick of each of these times stands in every partition.
"""

from typing import NamedTuple

import orjson

AT_MAX = 2**52  # as the schema's range of `at`


class Request(NamedTuple):
    """Write a tick of each of these times (epoch milliseconds, in this order) into every
    partition.
    """

    token: str
    at: tuple[int, ...]


class Answer(NamedTuple):
    """All ticks of the request with this token stand in every partition."""

    token: str


def write_request(request: Request) -> bytes:
    """Return the request as a record's value."""
    return orjson.dumps({"request": request.token, "at": request.at})


def write_answer(answer: Answer) -> bytes:
    """Return the answer as a record's value."""
    return orjson.dumps({"answer": answer.token})


def read_message(value: bytes | None) -> Request | Answer | None:
    """Return what a record of `dipper.clock` says, or None where it is neither form."""
    try:
        record = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    match record:
        case {"request": str(token), "at": [*times]} if all(_is_time(at) for at in times):
            return Request(token, tuple(times))
        case {"answer": str(token)}:
            return Answer(token)
    return None


def read_tick(record: object) -> int | None:
    """Return the time of a tick line `{"type":"tick","at":<ms>}` of a file; None for any other
    record.

    Only this exact form is handed to control; a record with more fields or without a time is an
    event like any other, and refused like one.
    """
    match record:
        case {"type": "tick", "at": at, **rest} if not rest and _is_time(at):
            return int(at)
    return None


def _is_time(at: object) -> bool:
    return isinstance(at, int) and not isinstance(at, bool) and 1 <= at <= AT_MAX
