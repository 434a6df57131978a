"""Is every decision in the archive what its log leads to? Decide it again and compare the bytes.

1. Take the newest snapshot before the first offset asked for, or begin empty.
2. Decide the archived events from there to the last offset asked for.
3. Compare decisions and evidence from the first offset on, byte by byte.

An erased applicant's events cannot be read, so they are not decided again: its decisions count as
erased, not as different. What they did to the money that all share is in the funding records, which
belong to institutions and are not erased: after each erased event, and after each tick, the leases
are set to what was recorded.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from streams.archive.segments import Archived, Shelf
from streams.archive.vault import Vault
from streams.blocks import make_block
from streams.config import load_deployment
from streams.control.keys import load_trusted, verifier
from streams.deployment import Deployment
from streams.errors import UnplacedMoneyError
from streams.partition import Input, Output, Partition
from streams.recover import load, state_of
from streams.schema import CAPS, EVIDENCE_HEAD, Cap, OfferState
from streams.snapshot.store import Store
from streams.state.tables import State
from streams.step import Step, Verify
from streams.topology import (
    DECISIONS,
    EVENTS,
    EVIDENCE,
    FUNDING,
    OUT_DECISION,
    OUT_EVIDENCE,
    OUT_FUNDING,
)
from streams.versions import with_versions

_POTS = ("free_cents", "reserved_cents", "drawn_cents", "overdrawn_cents")
_MOVED = ("type", "institution", "cap", "decision", "amount_cents")
_EVENTS_AT_ONCE = 4_096
_WAITING = (OfferState.OFFERED, OfferState.ACCEPTED)
# Not a decision of an applicant: a grant, a lease that is given back.
_OF_NOBODY = (None, "", "0" * 32)


@dataclass
class Report:
    """What an audit found in one partition. Lists name decisions: input offset, decision id."""

    partition: int
    first: int
    stop: int
    began: int  # offset of the snapshot that it began with
    identical: int = 0
    erased: int = 0  # decisions of this partition that cannot be read any more, whenever made
    erased_events: int = 0  # of those asked for
    differs: list[tuple[int, str]] = field(default_factory=list)
    missing: list[tuple[int, str]] = field(default_factory=list)  # recorded, and not led to
    extra: list[tuple[int, str]] = field(default_factory=list)  # led to, and not recorded

    @property
    def good(self) -> bool:
        """Say whether all that can still be read is as it was."""
        return not (self.differs or self.missing or self.extra)


def verify(
    partition: Partition, store: Store, vault: Vault, institutions: Sequence[str],
    first: int, stop: int,
) -> Report:  # fmt: skip
    """Decide again what the archive holds from offset `first` to before `stop` of a partition.

    `partition` has the state of a snapshot at or before `first`, or none. Raises `DipperError`
    where the archive does not hold what is needed, or what is erased leaves the rest unknown.
    """
    number = partition.step.partition
    report = Report(number, first, stop, partition.position)
    _let_go(state_of(partition), vault)
    recorded = _Recorded(store, number, vault, first, stop, report)
    ledger = _Ledger(partition, store, number, vault, institutions, recorded.known)
    events = Shelf(store, EVENTS, number).read(partition.position, stop, vault)
    found: dict[tuple[int, int], bytes] = {}
    partition.mute(on=False)
    for output in _decide(partition, events, ledger, report, first):
        if output.topic in (OUT_DECISION, OUT_EVIDENCE) and output.value is not None:
            offset = _offset_of(output.topic, output.value)
            if offset >= first:
                found[offset, output.topic] = output.value
    _compare(found, recorded.values, report)
    return report


def _let_go(state: State, vault: Vault) -> None:
    """Take offers of erased applicants off the clock: what became of them cannot be read, and what
    it did to leases is recorded.
    """
    for offer in np.flatnonzero(np.isin(state.offers["state"], _WAITING)):
        applicant = state.applicants[state.offers["applicant"][offer]]
        token = applicant["id"][: applicant["id_len"]].tobytes()
        if vault.is_erased(vault.owner(token)):
            state.offers["state"][offer] = OfferState.DRAWN


def _decide(
    partition: Partition, events: Iterator[Archived], ledger: "_Ledger", report: Report, first: int
) -> Iterator[Output]:
    waiting: list[Archived] = []
    for event in events:
        if event.erased:
            report.erased_events += event.offset >= first
        else:
            waiting.append(event)
        more = event.erased or (event.key is None and ledger.anything_erased)
        if more or len(waiting) == _EVENTS_AT_ONCE:
            yield from ledger.settle(_decide_events(partition, waiting), more=more)
            waiting.clear()
    yield from ledger.settle(_decide_events(partition, waiting), more=False)


def _decide_events(partition: Partition, events: Sequence[Archived]) -> Iterator[Output]:
    offsets, keys, values = ([getattr(each, name) for each in events] for name in Input._fields)
    yield from partition.decide_block(make_block(partition.step.partition, offsets, keys, values))


class _Recorded:
    """Decisions and evidence as they were written; `known`: ids of all that can be read."""

    def __init__(
        self, store: Store, number: int, vault: Vault, first: int, stop: int, report: Report
    ) -> None:
        self.values: dict[tuple[int, int], set[bytes]] = {}
        self.known: set[str] = set()
        for topic, output in ((DECISIONS, OUT_DECISION), (EVIDENCE, OUT_EVIDENCE)):
            shelf = Shelf(store, topic, number)
            segments = shelf.segments()
            begin, end = (segments[0].first, segments[-1].next) if segments else (0, 0)
            for record in shelf.read(begin, end, vault):
                if record.erased or record.value is None:
                    report.erased += output == OUT_DECISION
                    continue
                offset = _offset_of(output, record.value)
                if first <= offset < stop:
                    self.values.setdefault((offset, output), set()).add(record.value)
                if output == OUT_DECISION:
                    self.known.add(orjson.loads(record.value)["id"])


class _Ledger:
    """Sets leases to what was recorded wherever an erased applicant moved them."""

    def __init__(
        self, partition: Partition, store: Store, number: int, vault: Vault,
        institutions: Sequence[str], known: set[str],
    ) -> None:  # fmt: skip
        shelf = Shelf(store, FUNDING, number)
        segments = shelf.segments()
        records = shelf.read(segments[0].first, segments[-1].next, vault) if segments else ()
        moves = {}
        for record in records:
            if record.value is not None:
                move = orjson.loads(record.value)
                moves[move["seq"]] = move
        self._state = state_of(partition)
        begun = int(self._state.partition["funding_seq"][0])
        self._moves = [moves[seq] for seq in sorted(moves) if seq > begun]
        self._place = 0
        self._rows = {name: place for place, name in enumerate(institutions)}
        self._known = known
        self.anything_erased = any(map(self._is_erased, moves.values()))

    def settle(self, outputs: Iterator[Output], *, more: bool) -> Iterator[Output]:
        """Pass on what was decided; then take in what was recorded of those erased.

        `more`: what is erased may have moved money here without anybody else's.
        """
        ours = []
        for output in outputs:
            if output.topic == OUT_FUNDING and self.anything_erased:
                move = orjson.loads(output.value or b"{}")
                # A snapshot may know offers of whom was erased since, and let them expire.
                if not self._is_erased(move):
                    ours.append(move)
            yield output
        done = 0
        while self.anything_erased and self._place < len(self._moves):
            move = self._moves[self._place]
            erased = self._is_erased(move)
            if done == len(ours) and not (erased and more):
                break
            if not erased:
                _agree(ours[done], move)
                done += 1
            self._set(move)
            self._place += 1

    def _is_erased(self, move: dict[str, Any]) -> bool:
        decision = move.get("decision")
        return decision not in _OF_NOBODY and decision not in self._known

    def _set(self, move: dict[str, Any]) -> None:
        cap = Cap[move["cap"].upper()]
        lease = self._state.leases[self._rows[move["institution"]] * CAPS + cap]
        for pot in _POTS:
            lease[pot] = move[pot]
        self._state.partition["funding_seq"] = move["seq"]


def _agree(ours: dict[str, Any], recorded: dict[str, Any]) -> None:
    """Raise `UnplacedMoneyError` where another move was led to than the recorded one."""
    if any(ours.get(name) != recorded.get(name) for name in _MOVED):
        raise UnplacedMoneyError(
            f"from move {recorded['seq']} of dipper.funding on decisions cannot be told: they lead "
            "to another move than was recorded, since a record does not say behind which of their "
            "erased events applicants moved money; verify from a later snapshot"
        )


def _compare(
    found: dict[tuple[int, int], bytes],
    recorded: dict[tuple[int, int], set[bytes]],
    report: Report,
) -> None:
    for offset, output in sorted(found.keys() | recorded.keys()):
        ours, theirs = found.get((offset, output)), recorded.get((offset, output))
        if ours is None:
            assert theirs is not None
            report.missing.append((offset, _id_of(output, min(theirs))))
        elif theirs is None:
            report.extra.append((offset, _id_of(output, ours)))
        elif theirs != {ours}:
            report.differs.append((offset, _id_of(output, ours)))
        else:
            report.identical += output == OUT_DECISION


def _offset_of(output: int, value: bytes) -> int:
    if output == OUT_DECISION:
        return int(orjson.loads(value)["offset"])
    return int(np.frombuffer(value, EVIDENCE_HEAD, 1)["offset"][0])


def _id_of(output: int, value: bytes) -> str:
    if output == OUT_DECISION:
        return str(orjson.loads(value)["id"])
    head = np.frombuffer(value, EVIDENCE_HEAD, 1)[0]
    return f"{int(head['hi']):016x}{int(head['lo']):016x}"


def audit(
    config: Path, store: Store, vault: Vault, snapshots: Store | None, partitions: int,
    numbers: Sequence[int] | None, first: int, stop: int,
) -> Iterator[Report]:  # fmt: skip
    """Verify these partitions (None: all) of `partitions` (0: as the deployment says), one by one.

    `stop` 0 is the end of each archive. Raises `DipperError` where archive, snapshot or deployment
    are not those that decided.
    """
    deployment = with_versions(load_deployment(config))
    check = verifier(load_trusted(config))
    count = partitions or deployment.platform.partitions
    for number in range(count) if numbers is None else numbers:
        segments = Shelf(store, EVENTS, number).segments()
        end = stop or (segments[-1].next if segments else 0)
        partition = load(
            partial(_fresh, deployment, number, count, check), snapshots, min(first, end)
        )
        yield verify(partition, store, vault, deployment.institution_ids, first, end)


def _fresh(deployment: Deployment, number: int, count: int, check: Verify) -> Partition:
    return Partition(Step(deployment, number, count, check))
