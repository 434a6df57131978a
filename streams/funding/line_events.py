"""What the institution that funds a line does with it: freezes, unfreezes or closes it, or gives it
another limit.

A frozen line gives no draw and keeps its commitment, since it may be unfrozen any time. A closed
one gives its commitment back and never draws again. What was approved before stands in both cases:
its money may still leave, and its loan goes on. A line that takes commitment takes what a higher
limit adds from the lease, and from the caps by day and segment that it counted on when it was
approved, or is refused; a lower one gives the rest back, but not to a day. First a ladder of checks
in the order of `schema.Refusal`, then the writes, which cannot fail.
"""

from streams.buffers import Array, Out
from streams.codec.encode import Names
from streams.compile import i64, kernel
from streams.funding.leases import can_reserve, draw, repay, reserve
from streams.funding.life import LINE_NEXT
from streams.funding.moves import NO_SEGMENT, emit_move
from streams.funding.segments import day_of, segments_can_hold, use_segments
from streams.limits import LATE_MS_MAX
from streams.schema import CAPS, Cap, FundingMove, LineAction, LineState, Refusal
from streams.state.ids import ids_have_room, remember_id
from streams.state.loans import find_line
from streams.state.tables import State

_NONE = int(Refusal.NONE)
_UNKNOWN_LINE = int(Refusal.UNKNOWN_LINE)
_NOT_YOURS = int(Refusal.NOT_YOURS)
_WRONG_STATE = int(Refusal.WRONG_STATE)
_PAUSED = int(Refusal.PAUSED)
_NO_CAPACITY = int(Refusal.NO_CAPACITY)
_NO_ROOM = int(Refusal.NO_ROOM)
_LIMIT = int(LineAction.LIMIT)
_CLOSED = int(LineState.CLOSED)
_COMMITMENT = int(Cap.COMMITMENT)
_MOVE_RESERVE = int(FundingMove.RESERVE)
_MOVE_DRAW = int(FundingMove.DRAW)
_MOVE_REPAY = int(FundingMove.REPAY)


@kernel
def _check(state: State, events: Array, i: int, applicant: int) -> tuple[int, int]:
    """Return (Refusal, row of the line that event `i` names)."""
    if applicant < 0:
        return _UNKNOWN_LINE, -1
    lines = state.lines
    first = state.applicants[applicant]["first_line"]
    line = find_line(lines, first, events[i]["reference_lo"], events[i]["reference_hi"])
    if line < 0:
        return _UNKNOWN_LINE, -1
    institution = i64(lines[line]["institution"])
    if institution != events[i]["issuer"]:
        return _NOT_YOURS, -1
    action = events[i]["step"]
    if LINE_NEXT[lines[line]["state"], action] < 0:
        return _WRONG_STATE, -1
    more = events[i]["amount_cents"] - lines[line]["limit_cents"]
    if action == _LIMIT and more > 0:
        if state.institutions[institution]["paused"] == 1:
            return _PAUSED, -1
        if lines[line]["committed_cents"] > 0:
            day = day_of(state.institutions, institution, events[i]["at"])
            if not (
                can_reserve(state.leases, institution * CAPS + _COMMITMENT, more)
                and segments_can_hold(state, institution, lines[line]["segments"], day, more)
            ):
                return _NO_CAPACITY, -1
    if not ids_have_room(state.partition, state.ids, 1):
        return _NO_ROOM, -1
    return _NONE, line


@kernel
def _commit(
    state: State, names: Names, out: Out, events: Array, i: int, line: int, more_cents: int
) -> None:
    """Take more from the commitment lease for the line, or (negative) give some back."""
    lines = state.lines
    if lines[line]["committed_cents"] == 0 or more_cents == 0:
        return
    institution = i64(lines[line]["institution"])
    lease = institution * CAPS + _COMMITMENT
    at = events[i]["at"]
    lo, hi = lines[line]["lo"], lines[line]["hi"]
    segments = lines[line]["segments"]
    lines[line]["committed_cents"] += more_cents
    if more_cents < 0:
        repay(state.leases, lease, -more_cents)
        use_segments(state, institution, segments, -1, more_cents)
        emit_move(
            state, names, out, _MOVE_REPAY, institution, _COMMITMENT, lo, hi, -more_cents, at, i,
            segments, -1,
        )  # fmt: skip
        return
    reserve(state.leases, lease, more_cents)
    day = day_of(state.institutions, institution, at)
    use_segments(state, institution, segments, day, more_cents)
    emit_move(
        state, names, out, _MOVE_RESERVE, institution, _COMMITMENT, lo, hi, more_cents, at, i,
        segments, day,
    )  # fmt: skip
    draw(state.leases, lease, more_cents)
    emit_move(
        state, names, out, _MOVE_DRAW, institution, _COMMITMENT, lo, hi, more_cents, at, i,
        NO_SEGMENT, -1,
    )  # fmt: skip


@kernel
def apply_line(state: State, names: Names, out: Out, events: Array, i: int, applicant: int) -> int:
    """Apply the line event `i`. Return a Refusal, with nothing changed where it is one.

    What is available may fall below 0 by a lower limit: nothing can be drawn then, and what is
    repaid comes back to it first.
    """
    refusal, line = _check(state, events, i, applicant)
    if refusal != _NONE:
        return refusal
    # From here on nothing can fail.
    lines = state.lines
    action = events[i]["step"]
    if action == _LIMIT:
        more = i64(events[i]["amount_cents"] - lines[line]["limit_cents"])
        _commit(state, names, out, events, i, line, more)
        lines[line]["limit_cents"] += more
        lines[line]["available_cents"] += more
    state_after = LINE_NEXT[lines[line]["state"], action]
    if state_after == _CLOSED and lines[line]["state"] != _CLOSED:
        _commit(state, names, out, events, i, line, -i64(lines[line]["committed_cents"]))
        lines[line]["closed_at"] = state.partition[0]["time"]
    lines[line]["state"] = state_after
    remember_id(
        state.partition, state.ids, events[i]["key_lo"], events[i]["key_hi"],
        max(events[i]["at"], state.partition[0]["time"]) + LATE_MS_MAX, -1, 0,
    )  # fmt: skip
    return _NONE
