"""Let another deployment, or another version of the code, go on from an exact offset.

A snapshot at the committed offset is the whole past of a partition. Written again under the name of
the new manifest it says: all before was decided by the old one, all behind by the new one. The
workers of both kinds may run: who decides stands beside the committed offset
(`streams/handover.py`), and whoever may not decide stands by.

1. Look, in every partition: there is a snapshot, and its rows mean the same here.
2. Stop the old ones, in every partition: fence whoever writes, and note beside what is committed
   that it is being handed over. From here on nobody decides; the old ones stand by.
3. Wait until the follower of the old one has written a snapshot at just that offset.
4. Write each of them again as ours, in place.
5. Note that they are ours. The new ones go on.

Where 3 or 4 fails, the old ones' note is put back and they go on. If it dies within 2 to 5, some
partitions wait: run it again, or run it with the old deployment and code to give them back.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from streams.broker.client import broker_kind
from streams.broker.fetch import KafkaLog, all_committed
from streams.broker.health import Health
from streams.broker.topics import count_partitions
from streams.broker.writer import KafkaTransactions
from streams.commit import Transactions, transactional_id
from streams.config import load_deployment
from streams.errors import BrokerError, SnapshotError
from streams.handover import Charge, name_rules, read_note, rules_of
from streams.partition import Partition
from streams.ports import Committed, FencedError, Place, UnansweredError
from streams.recover import MakePartition, state_of
from streams.snapshot.image import Facts
from streams.snapshot.shelf import Shelf, maker_of, refuse_others
from streams.snapshot.store import Store
from streams.step import Step
from streams.topology import EVENTS

WAIT_S = 120.0
_LOOK_S = 0.2
_TRIES = 20  # others who open the partition at the same time do so once, and then stand by


class Adopted(NamedTuple):
    """A partition that goes on under a manifest from an offset."""

    partition: int
    offset: int
    manifest: str


async def adopt(
    bootstrap: str, config: Path, store: Store | None, group: str, wait_s: float = WAIT_S
) -> list[Adopted]:
    """Hand every partition of the group over to this deployment and this code.

    The follower of the old one must run, or have written its last snapshot: it is waited for so
    many seconds. `store` None hands over without any state: the new workers fold the whole log by
    their own rules. On the embedded broker, which keeps no notes, and where workers commit without
    transactions, they must have stopped. Raises `DipperError` where one partition cannot be handed
    over; then none was.
    """
    deployment = load_deployment(config)
    count = await count_partitions(bootstrap)
    manifest, ours = deployment.manifest_hash(count), rules_of(deployment, count)
    found = dict(enumerate(await all_committed(bootstrap, group, EVENTS.name, count)))
    others = {n: at for n, at in found.items() if read_note(at.note) != Charge(ours)}

    def make(number: int) -> Partition:
        return Partition(Step(deployment, number, count, lambda *_: False))  # nothing is decided

    makes: dict[int, MakePartition] = {number: partial(make, number) for number in others}
    notes = _Notes(bootstrap, group) if await broker_kind(bootstrap) == "kafka" else None
    if store is None:
        if notes is None:
            raise BrokerError(f"{bootstrap} keeps no notes: start the new workers, they fold anew")
        stood = await notes.write(dict.fromkeys(others, Charge(ours)))
    else:
        before = {n: _charge_of(Shelf(store, n), makes[n](), others[n]) for n in others}
        if notes is None:
            stood = others
            list(adopt_all(store, {n: (makes[n], at.offset) for n, at in others.items()}))
        else:
            stood = await _hand_over(notes, store, makes, before, ours, wait_s)
    return [Adopted(number, stood.get(number, at).offset, manifest) for number, at in found.items()]


async def _hand_over(
    notes: "_Notes",
    store: Store,
    makes: Mapping[int, MakePartition],
    before: Mapping[int, Charge],
    ours: str,
    wait_s: float,
) -> dict[int, Committed]:
    """Steps 2 to 5; return where each partition was handed over."""
    try:
        stood = await notes.write({n: Charge(each.by, ours) for n, each in before.items()})
        places = {number: (makes[number], at.offset) for number, at in stood.items()}
        await _until_kept(store, places, wait_s)
        list(adopt_all(store, places))
        await notes.write(dict.fromkeys(before, Charge(ours)), stood)
    except BaseException:
        with suppress(BrokerError):
            await notes.write(before)
        raise
    # Another follower of the old one may have written the same state under its name meanwhile.
    list(adopt_all(store, places))
    return stood


class _Notes:
    """Writes notes beside what a group has committed, under the ids of its workers."""

    def __init__(self, bootstrap: str, group: str) -> None:
        self._bootstrap = bootstrap
        self._group = group

    async def write(
        self, charges: Mapping[int, Charge], at: Mapping[int, Committed] | None = None
    ) -> dict[int, Committed]:
        """Fence who writes in these partitions, and write their notes; return what is committed.

        `BrokerError` where the broker does not answer, or, with `at`, where more has been committed
        than that: then nothing is written there.
        """
        done = {}
        for number, charge in charges.items():
            only = None if at is None else at[number].offset
            done[number] = await self._patiently(number, charge, only)
        return done

    async def _patiently(self, number: int, charge: Charge, only: int | None) -> Committed:
        for _ in range(_TRIES):
            with suppress(FencedError, UnansweredError):
                return await self._write(number, charge, only)
            await asyncio.sleep(_LOOK_S)
        raise BrokerError(f"{self._bootstrap} does not take a note for partition {number}")

    async def _write(self, number: int, charge: Charge, only: int | None) -> Committed:
        place = Place(EVENTS.name, number)
        log = KafkaLog(self._bootstrap, place, Health(self._bootstrap))
        writer = KafkaTransactions(self._bootstrap, transactional_id(self._group, number))
        committer = Transactions(writer, log, self._group, charge.note)
        try:
            offset = (await committer.open()).offset
            if only is not None and offset != only:
                raise BrokerError(
                    f"partition {number} was committed up to {offset} while it was handed over at "
                    f"{only}; stop the workers that commit without transactions"
                )
            await committer.note(offset)
        finally:
            await committer.close()
            await log.close()
        return Committed(offset, charge.note)


async def _until_kept(
    store: Store, places: Mapping[int, tuple[MakePartition, int]], wait_s: float
) -> None:
    """Step 3; returns also when the time is over: what is missing then is told by who looks."""
    with suppress(TimeoutError):
        async with asyncio.timeout(wait_s):
            for number, (_, offset) in places.items():
                while offset not in Shelf(store, number).offsets():
                    await asyncio.sleep(_LOOK_S)


def _charge_of(shelf: Shelf, empty: Partition, committed: Committed) -> Charge:
    """Step 1: say who decides a partition, by its note, else by its newest snapshot."""
    maker = maker_of(empty.step, state_of(empty))
    if committed.offset == 0:
        raise SnapshotError(f"partition {maker.partition} has no past to be adopted")
    for image in shelf.images(committed.offset):
        refuse_others(image.facts, maker, meaning_only=True)
        made = name_rules(image.facts.engine, image.facts.manifest)
        return Charge(read_note(committed.note).by or made)
    raise SnapshotError(
        f"partition {maker.partition} has no snapshot; let dipper state keep of the old "
        "deployment write one"
    )


def adopt_all(store: Store, partitions: dict[int, tuple[MakePartition, int]]) -> Iterator[Adopted]:
    """Hand over each partition: how to make an empty one, and the committed offset."""
    for number, (make, offset) in partitions.items():
        _look(Shelf(store, number), make(), offset)
    for number, (make, offset) in partitions.items():
        yield _write(Shelf(store, number), make(), offset)


def _look(shelf: Shelf, empty: Partition, offset: int) -> Facts:
    state = state_of(empty)
    maker = maker_of(empty.step, state)
    newest = max(shelf.offsets(), default=0)
    if newest != offset:
        raise SnapshotError(
            f"partition {maker.partition}: the newest snapshot stands at offset {newest}, the "
            f"workers have committed {offset}; let dipper state keep of the old deployment reach it"
        )
    if offset == 0:
        raise SnapshotError(f"partition {maker.partition} has no past to be adopted")
    facts = shelf.open(offset).facts
    refuse_others(facts, maker, meaning_only=True)
    return facts


def _write(shelf: Shelf, empty: Partition, offset: int) -> Adopted:
    facts = _look(shelf, empty, offset)
    state = state_of(empty)
    maker = maker_of(empty.step, state)
    if (facts.engine, facts.manifest) != (maker.engine, maker.manifest):
        own = state.versions.copy()
        shelf.open(offset).load(state)
        # Its own version is the live one from here on; older ones must be prepared anew.
        state.versions[:] = own
        state.partition["version"], state.partition["next_version"] = 0, 1
        if not shelf.publish(state, maker, offset):
            raise SnapshotError(f"partition {maker.partition} could not be written; run it again")
    return Adopted(maker.partition, offset, maker.manifest)
