"""Stages 3 to 10 for a run of rows, in two passes, with the results of row by row.

The first pass admits, updates what belongs to one applicant alone and derives feature vectors; the
scores of all its requests are computed together; the second pass decides, reserves and records in
log order, and there also everything that moves a lease or a line. A wave ends before a row whose
applicant waits for the second pass, and before every control event; so no row ever sees a state
that row-by-row work would not have shown it.
"""

import numpy as np

from features.vector import derive
from models.policy.judge import judge, rank
from models.policy.reasons import LINE_NOT_ACTIVE
from models.policy.rules import begin_block, note_tokens
from models.score import score_block
from streams.admit import admit
from streams.ahead import look_ahead
from streams.buffers import Array, Batch, Out
from streams.codec.encode import Names, put_dead_letter, put_decision, put_evidence
from streams.compile import i64, kernel
from streams.core import (
    SIZE_EXPIRIES,
    SIZE_SWEEP,
    SIZE_WAVE_BYTES,
    SIZE_WAVE_ROWS,
    SIZE_WINDOW_MS,
    WAVE_ROWS,
    Core,
    Work,
)
from streams.count import count_decision
from streams.counters import EVENTS, REFUSED, WAVES
from streams.funding.answers import apply_answer, expire_offers
from streams.funding.leases import give_back, grant
from streams.funding.line_events import apply_line
from streams.funding.loan_events import apply_loan
from streams.funding.moves import NO_SEGMENT, emit_move, emit_part
from streams.funding.reserve import choose_funded
from streams.funding.segments import day_of, move_part
from streams.limits import BLOCK, LATE_MS_MAX
from streams.record import record
from streams.schema import CAPS, EventType, FundingMove, LineState, LoanStep, Refusal
from streams.state.applicants import (
    find_applicant,
    remember_recent,
    take_applicant,
    write_attributes,
    write_signal,
)
from streams.state.ids import ids_have_room, remember_id
from streams.state.loans import find_line
from streams.state.pool import append_event, event_has_room
from streams.state.sweep import sweep
from streams.state.tables import State
from streams.state.versions import activate_version, prepare_version

_NONE = int(Refusal.NONE)
_DUPLICATE = int(Refusal.DUPLICATE)
_NO_ROOM = int(Refusal.NO_ROOM)
_NOT_PREPARED = int(Refusal.NOT_PREPARED)
_DISBURSED = int(LoanStep.DISBURSED)
_APPLICATION = int(EventType.APPLICATION)
_DRAWDOWN = int(EventType.DRAWDOWN)
_ACCEPT = int(EventType.ACCEPT)
_CANCEL = int(EventType.CANCEL)
_ACTIVITY = int(EventType.ACTIVITY)
_SIGNAL = int(EventType.SIGNAL)
_LOAN = int(EventType.LOAN)
_LINE = int(EventType.LINE)
_TICK = int(EventType.TICK)
_GRANT = int(EventType.GRANT)
_RECALL = int(EventType.RECALL)
_PREPARE = int(EventType.PREPARE)
_ACTIVATE = int(EventType.ACTIVATE)
_PAUSE = int(EventType.PAUSE)
_LINE_ACTIVE = int(LineState.ACTIVE)
_MOVE_RESERVE = int(FundingMove.RESERVE)
_MOVE_GRANT = int(FundingMove.GRANT)
_MOVE_RETURN = int(FundingMove.LEASE_RETURN)
_LINE_NOT_ACTIVE_BIT = LINE_NOT_ACTIVE


@kernel
def _find_line(state: State, events: Array, i: int, applicant: int) -> int:
    """Return the row of the line that drawdown `i` names, -1 where it is unknown or another's."""
    first = state.applicants[applicant]["first_line"]
    return find_line(state.lines, first, events[i]["reference_lo"], events[i]["reference_hi"])


@kernel
def _enter(state: State, batch: Batch, i: int, applicant: int) -> tuple[int, int]:
    """Stage 4: take in what event `i` says of its applicant. Return (Refusal, applicant row).

    A row is taken for an applicant on the first event that counts; -1 where none has yet.
    """
    events = batch.events
    applicants = state.applicants
    partition = state.partition
    kind = events[i]["type"]
    begins = kind == _LOAN and events[i]["step"] == _DISBURSED and events[i]["issuer"] < 0
    if applicant < 0 and (kind in (_ACCEPT, _CANCEL, _LOAN, _LINE) and not begins):
        return _NONE, -1  # has no offer, loan or line: the second pass says why it does not count
    if not _has_room(state, events, i, applicant):
        return _NO_ROOM, -1
    if applicant < 0:
        applicant = take_applicant(
            partition, state.applicant_slots, applicants, batch.data, events, i
        )
    if kind == _ACTIVITY:
        append_event(
            partition, applicants, state.pages, state.entries, applicant, events[i]["at"],
            events[i]["amount_cents"], events[i]["counterparty"], events[i]["kind"],
        )  # fmt: skip
        remember_recent(applicants, applicant, events[i]["key_lo"])
    elif kind == _SIGNAL:
        write_signal(applicants, applicant, events, i)
        remember_recent(applicants, applicant, events[i]["key_lo"])
    elif kind <= _DRAWDOWN:
        remember_id(
            partition, state.ids, events[i]["key_lo"], events[i]["key_hi"],
            events[i]["at"] + LATE_MS_MAX, -1, 0,
        )  # fmt: skip
        if kind == _APPLICATION:
            write_attributes(applicants, applicant, events, i)
    if kind in (_ACTIVITY, _SIGNAL) or kind <= _DRAWDOWN:
        _be_seen(applicants, applicant, events, i)
    if kind not in (_ACTIVITY, _SIGNAL):
        applicants[applicant]["wave"] = partition[0]["wave"]
    return _NONE, applicant


@kernel
def _be_seen(applicants: Array, applicant: int, events: Array, i: int) -> None:
    """Note that event `i` counted: an applicant without one for long retires."""
    applicants[applicant]["last_at"] = max(applicants[applicant]["last_at"], events[i]["at"])


@kernel
def _has_room(state: State, events: Array, i: int, applicant: int) -> bool:
    """Say whether the first pass finds room for event `i`: a row where its applicant has none, a
    page for an activity, an id for a request.
    """
    partition = state.partition
    if applicant < 0 and partition[0]["free_applicant"] < 0:
        return False
    if events[i]["type"] == _ACTIVITY:
        return event_has_room(partition, state.applicants, state.pages, applicant)
    return bool(events[i]["type"] > _DRAWDOWN or ids_have_room(partition, state.ids, 1))


@kernel
def _wave_rows_max(state: State) -> int:
    """Return how long a wave may be: one row while a table that both passes fill could run out in
    it.
    """
    if ids_have_room(state.partition, state.ids, WAVE_ROWS):
        return WAVE_ROWS
    return 1


@kernel
def _open_wave(core: Core, batch: Batch, first: int, last: int) -> tuple[int, int]:
    """First pass: stages 3 to 5 from row `first`. Return (row after the wave, requests in it)."""
    state = core.state
    work = core.work
    events = batch.events
    state.partition[0]["wave"] += 1
    stop = min(last, first + _wave_rows_max(state))
    requests = 0
    row = first
    while row < stop and requests < BLOCK:
        look_ahead(state, work.guesses, batch, row, last)
        applicant = -1
        if events[row]["refusal"] == _NONE:
            if events[row]["type"] >= _TICK:
                if row > first:
                    break
                stop = row + 1
            else:
                applicant = find_applicant(
                    state.applicant_slots, state.applicants, batch.data, events, row
                )
                if (
                    applicant >= 0
                    and state.applicants[applicant]["wave"] == state.partition[0]["wave"]
                ):
                    break
        refusal = admit(state, batch, row, applicant)
        if refusal == _NONE and events[row]["type"] < _TICK:
            refusal, applicant = _enter(state, batch, row, applicant)
        events[row]["refusal"] = refusal
        work.applicants[row - first] = applicant
        if refusal == _NONE and events[row]["type"] <= _DRAWDOWN:
            line = -1
            if events[row]["type"] == _DRAWDOWN:
                line = _find_line(state, events, row, applicant)
            work.lines[requests] = line
            derive(
                state, core.catalog, core.feature_scratch, events, row, applicant, line,
                work.vectors, requests,
            )  # fmt: skip
            note_tokens(
                core.policies, core.policy_scratch, requests, batch.data, batch.raw[row],
                events[row]["at"],
            )  # fmt: skip
            requests += 1
        row += 1
    return row, requests


@kernel
def _decide(core: Core, batch: Batch, out: Out, i: int, applicant: int, column: int) -> None:
    """Stages 7 to 10 for request `i`, whose scores stand in `column`."""
    state = core.state
    work = core.work
    events = batch.events
    verdicts = core.stage.verdicts
    line = i64(work.lines[column])
    candidates = 0
    core.policy_scratch.who[0] = events[i]["applicant_hash"]
    if events[i]["type"] == _APPLICATION:
        is_line = i64(work.product_is_line[events[i]["product"]])
        candidates = judge(
            core.policies, core.policy_scratch, 0, events[i]["product"], events[i]["channel"], -1,
            events[i]["amount_cents"], events[i]["tenor_days"], events[i]["at"], np.uint64(0), -1,
            work.vectors, work.raw, work.pd_ppm, column, verdicts, work.rule_masks,
        )  # fmt: skip
    else:
        is_line = i64(0)
        if line >= 0:
            events[i]["product"] = state.lines[line]["product"]
            events[i]["channel"] = state.lines[line]["channel"]
            preset = np.uint64(0)
            if state.lines[line]["state"] != _LINE_ACTIVE:
                preset = np.uint64(1) << np.uint64(_LINE_NOT_ACTIVE_BIT)
            candidates = judge(
                core.policies, core.policy_scratch, 1, events[i]["product"], -1,
                state.lines[line]["institution"], events[i]["amount_cents"],
                events[i]["tenor_days"], events[i]["at"], preset,
                max(state.lines[line]["available_cents"], 0), work.vectors, work.raw, work.pd_ppm,
                column, verdicts, work.rule_masks,
            )  # fmt: skip
    offers = rank(core.policies, events[i]["product"], verdicts, candidates, work.order)
    chosen = choose_funded(
        state, work.decision, verdicts, work.order, offers, events[i]["product"], events[i]["at"],
        applicant,
    )  # fmt: skip
    record(state, work.decision, verdicts, candidates, chosen, events, i, applicant, line, is_line)
    count_decision(state.counters, work.count_at, work.decision, verdicts, events, i)
    if state.partition[0]["mute"] == 0:
        _encode(core, batch, out, i, column)
    if work.decision[0]["chosen"] >= 0:
        v = work.decision[0]["chosen"]
        if verdicts[v]["cap"] >= 0:
            emit_move(
                state, core.names, out, _MOVE_RESERVE, verdicts[v]["institution"],
                verdicts[v]["cap"], events[i]["key_lo"], events[i]["key_hi"],
                verdicts[v]["amount_cents"], events[i]["at"], i, work.decision[0]["segments"],
                day_of(state.institutions, verdicts[v]["institution"], events[i]["at"]),
            )  # fmt: skip


@kernel
def _encode(core: Core, batch: Batch, out: Out, i: int, column: int) -> None:
    """Stage 10: the decision and what stands behind it."""
    work = core.work
    verdicts = core.stage.verdicts
    number = core.state.partition[0]["number"]
    candidates = work.decision[0]["candidates"]
    put_decision(
        out, core.names, work.decision, verdicts, batch.data, batch.events, i, number,
        batch.offset[i],
    )  # fmt: skip
    clear_verdicts(verdicts, candidates)
    put_evidence(
        out, core.stage, work.decision, work.rule_masks, work.vectors, work.raw, work.pd_ppm,
        column, batch.data, batch.events, i, number, batch.offset[i],
    )  # fmt: skip


@kernel
def clear_verdicts(verdicts: Array, first: int) -> None:
    """Blank the verdicts from `first` on: an evidence row holds no trace of an earlier request."""
    for k in range(first, verdicts.shape[0]):
        verdicts[k]["policy"] = -1
        verdicts[k]["institution"] = -1
        verdicts[k]["outcome"] = 0
        verdicts[k]["band"] = -1
        verdicts[k]["rate_bps"] = 0
        verdicts[k]["apr_bps"] = 0
        verdicts[k]["tenor_days"] = 0
        verdicts[k]["method"] = 0
        verdicts[k]["cap"] = -1
        verdicts[k]["rank"] = -1
        verdicts[k]["reasons"] = np.uint64(0)
        verdicts[k]["pd_ppm"] = -1
        verdicts[k]["amount_cents"] = 0
        verdicts[k]["fee_cents"] = 0
        verdicts[k]["instalment_cents"] = 0
        verdicts[k]["offer_ms"] = 0


@kernel
def _control(state: State, names: Names, work: Work, out: Out, events: Array, i: int) -> int:
    """Apply control event `i`, which was admitted. Return a Refusal: its number is used up even
    where it is one, so that what control writes next still follows.
    """
    partition = state.partition
    partition[0]["seq"] = events[i]["seq"]
    if events[i]["type"] == _TICK:
        partition[0]["time"] = events[i]["at"]
        partition[0]["started"] = 1
        expire_offers(state, names, out, work.sizes[SIZE_EXPIRIES], i)
        sweep(state, work.sizes[SIZE_SWEEP], work.sizes[SIZE_WINDOW_MS])
    elif events[i]["type"] <= _RECALL:
        _move_lease(state, names, out, events, i)
    elif events[i]["type"] == _PREPARE:
        prepare_version(state, events[i]["reference_lo"], events[i]["reference_hi"])
    elif events[i]["type"] == _ACTIVATE:
        # From the next row on; the step changes its tables between this wave and the next.
        if not activate_version(state, events[i]["reference_lo"], events[i]["reference_hi"]):
            return _NOT_PREPARED
    else:
        paused = 1 if events[i]["type"] == _PAUSE else 0
        state.institutions[events[i]["institution"]]["paused"] = paused
    return _NONE


@kernel
def _move_lease(state: State, names: Names, out: Out, events: Array, i: int) -> None:
    """Grant what the treasury has cut from a cap, or give back as much as is free of a recall."""
    if events[i]["part_ppm"] > 0:
        _move_part(state, names, out, events, i)
        return
    lease = events[i]["institution"] * CAPS + events[i]["cap"]
    amount = i64(events[i]["amount_cents"])
    move = _MOVE_GRANT
    if events[i]["type"] == _GRANT:
        grant(state.leases, lease, amount)
    else:
        move = _MOVE_RETURN
        amount = give_back(state.leases, lease, amount)
    emit_move(
        state, names, out, move, events[i]["institution"], events[i]["cap"], np.uint64(0),
        np.uint64(0), amount, state.partition[0]["time"], i, NO_SEGMENT, -1,
    )  # fmt: skip


@kernel
def _move_part(state: State, names: Names, out: Out, events: Array, i: int) -> None:
    """Grant or give back a part of a cap by day or segment, as a lease of money."""
    institution = i64(events[i]["institution"])
    grants = events[i]["type"] == _GRANT
    wanted = i64(events[i]["part_ppm"])
    if not grants:
        wanted = -wanted
    moved = move_part(
        state.institutions, state.segments, institution, events[i]["segment"], events[i]["day"],
        wanted, state.partition[0]["time"],
    )  # fmt: skip
    emit_part(
        state, names, out, _MOVE_GRANT if grants else _MOVE_RETURN, institution, events[i]["cap"],
        events[i]["segment"], events[i]["day"], abs(moved), i,
    )  # fmt: skip


@kernel
def _close_wave(core: Core, batch: Batch, out: Out, first: int, stop: int) -> None:
    """Second pass: stages 7 to 10, answers, loans and control, in log order."""
    state = core.state
    events = batch.events
    column = 0
    for row in range(first, stop):
        kind = events[row]["type"]
        state.counters[EVENTS + kind] += 1
        refusal = i64(events[row]["refusal"])
        applicant = i64(core.work.applicants[row - first])
        if refusal == _NONE:
            if kind <= _DRAWDOWN:
                _decide(core, batch, out, row, applicant, column)
                column += 1
            elif kind in (_ACCEPT, _CANCEL):
                refusal = apply_answer(state, core.names, out, events, row, applicant)
            elif kind >= _TICK:
                refusal = _control(state, core.names, core.work, out, events, row)
            elif kind == _LOAN:
                refusal = apply_loan(state, core.names, out, events, row, applicant)
            elif kind == _LINE:
                refusal = apply_line(state, core.names, out, events, row, applicant)
            if refusal == _NONE and (kind in (_ACCEPT, _CANCEL, _LOAN, _LINE)):
                _be_seen(state.applicants, applicant, events, row)
        if refusal != _NONE:
            events[row]["refusal"] = refusal
            state.counters[REFUSED + refusal] += 1
            if refusal != _DUPLICATE and state.partition[0]["mute"] == 0:
                put_dead_letter(out, row, refusal, events[row]["position"])


@kernel
def run_waves(core: Core, batch: Batch, out: Out, first: int, last: int) -> int:
    """Run rows `first` to `last` - 1; return the row to go on from, less than `last` where `out` is
    full.

    Reads the batch and its decoded events; writes the state, `out` and, into each event, its
    refusal.
    """
    row = first
    while row < last:
        bytes_free = out.data.shape[0] - out.used[1]
        rows_free = out.rows.shape[0] - out.used[0]
        if (
            bytes_free < core.work.sizes[SIZE_WAVE_BYTES]
            or rows_free < core.work.sizes[SIZE_WAVE_ROWS]
        ):
            return row
        stop, requests = _open_wave(core, batch, row, last)
        if requests > 0:
            score_block(
                core.models, core.work.vectors, requests, core.work.raw, core.work.pd_ppm,
                core.score_scratch,
            )  # fmt: skip
            begin_block(core.policy_scratch, requests)
        _close_wave(core, batch, out, row, stop)
        core.state.counters[WAVES] += 1
        row = stop
    return row
