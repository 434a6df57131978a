"""Stage 3: may this event count? A ladder of checks in the order of `schema.Refusal`, the first
that fails wins.

Reads partition, applicants, ids, and whether a decision of that id stands; writes nothing. What
depends on offers and loans is refused later, by `streams/funding/`, since that looks at money and
must run in log order.
"""

from streams.buffers import Array, Batch
from streams.codec.hashing import partition_of
from streams.compile import kernel
from streams.limits import AHEAD_MS_MAX, LATE_MS_MAX
from streams.schema import EventType, Refusal
from streams.state.applicants import has_recent
from streams.state.ids import has_id
from streams.state.index import find_pair
from streams.state.loans import find_line
from streams.state.tables import State

_NONE = int(Refusal.NONE)
_NO_KEY = int(Refusal.NO_KEY)
_KEY_MISMATCH = int(Refusal.KEY_MISMATCH)
_WRONG_PARTITION = int(Refusal.WRONG_PARTITION)
_BAD_SIGNATURE = int(Refusal.BAD_SIGNATURE)
_BAD_SEQUENCE = int(Refusal.BAD_SEQUENCE)
_NOT_STARTED = int(Refusal.NOT_STARTED)
_TOO_FAR_AHEAD = int(Refusal.TOO_FAR_AHEAD)
_TOO_OLD = int(Refusal.TOO_OLD)
_DUPLICATE = int(Refusal.DUPLICATE)
_DRAWDOWN = int(EventType.DRAWDOWN)
_CANCEL = int(EventType.CANCEL)
_ACTIVITY = int(EventType.ACTIVITY)
_SIGNAL = int(EventType.SIGNAL)
_LOAN = int(EventType.LOAN)
_LINE = int(EventType.LINE)
_TICK = int(EventType.TICK)


@kernel
def _admit_control(partition: Array, batch: Batch, i: int) -> int:
    """Control events: without a key, of this partition, signed, and next in sequence; a tick never
    goes back.
    """
    event = batch.events
    if batch.key_len[i] >= 0:
        return _KEY_MISMATCH
    if event[i]["partition"] != partition[0]["number"]:
        return _WRONG_PARTITION
    if event[i]["signature_ok"] != 1:
        return _BAD_SIGNATURE
    if event[i]["seq"] != partition[0]["seq"] + 1:
        return _BAD_SEQUENCE
    if event[i]["type"] == _TICK and event[i]["at"] < partition[0]["time"]:
        return _BAD_SEQUENCE
    return _NONE


@kernel
def _key_is_applicant(batch: Batch, i: int) -> bool:
    """Say whether the record's key is, byte for byte, the applicant that the event names."""
    event = batch.events
    if batch.key_len[i] != event[i]["applicant_len"]:
        return False
    key = batch.key_start[i]
    start = event[i]["applicant_start"]
    same = True
    for k in range(batch.key_len[i]):
        same &= batch.data[key + k] == batch.data[start + k]
    return same


@kernel
def _is_duplicate(state: State, event: Array, i: int, applicant: int) -> bool:
    """Say whether event `i` repeats one that counted.

    Activity and signals: among the applicant's last ids. All others: among the ids remembered; and
    a request also as long as its decision stands as an offer or a line, whose id it would take.
    """
    lo = event[i]["key_lo"]
    hi = event[i]["key_hi"]
    kind = event[i]["type"]
    if kind in (_ACTIVITY, _SIGNAL):
        return bool(applicant >= 0 and has_recent(state.applicants, applicant, lo))
    if has_id(state.partition, state.loans, state.ids, lo, hi):
        return True
    if kind > _DRAWDOWN:
        return False
    return bool(
        find_pair(state.offer_slots, state.offers, lo, hi) >= 0
        or (
            applicant >= 0
            and find_line(state.lines, state.applicants[applicant]["first_line"], lo, hi) >= 0
        )
    )


@kernel
def admit(state: State, batch: Batch, i: int, applicant: int) -> int:
    """Return the Refusal of event `i`, 0 where it is admitted. `applicant`: its row, -1 not known
    yet.

    Before the first tick only requests are refused for their time; then whatever lies too far
    ahead, and requests, answers and line events that are too old. Activity, signals and loan events
    never are.
    """
    event = batch.events
    partition = state.partition
    if event[i]["refusal"] != _NONE:
        return int(event[i]["refusal"])
    kind = event[i]["type"]
    if kind >= _TICK:
        return int(_admit_control(partition, batch, i))
    if batch.key_len[i] < 0:
        return _NO_KEY
    if not _key_is_applicant(batch, i):
        return _KEY_MISMATCH
    here = partition_of(batch.data, batch.key_start[i], batch.key_len[i], partition[0]["count"])
    if here != partition[0]["number"]:
        return _WRONG_PARTITION
    if kind == _LOAN and event[i]["issuer"] >= 0 and event[i]["signature_ok"] != 1:
        return _BAD_SIGNATURE  # it would move our money; another lender's loan is mere history
    if kind == _LINE and event[i]["signature_ok"] != 1:
        return _BAD_SIGNATURE
    if partition[0]["started"] == 1:
        if event[i]["at"] > partition[0]["time"] + AHEAD_MS_MAX:
            return _TOO_FAR_AHEAD
        dated = kind <= _CANCEL or kind == _LINE
        if dated and event[i]["at"] < partition[0]["time"] - LATE_MS_MAX:
            return _TOO_OLD
    elif kind <= _DRAWDOWN:
        return _NOT_STARTED
    if _is_duplicate(state, event, i, applicant):
        return _DUPLICATE
    return _NONE
