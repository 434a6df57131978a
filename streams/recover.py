"""State is a fold over the log: read it again with the output off, up to what is committed.

1. Load the newest good snapshot at or before the committed offset; without one, begin empty.
2. Look whether the log still holds what comes behind it and reaches the committed offset. Where it
   begins later, go to 1 once more: another process may have written a newer snapshot (`Look`).
3. Read it from where the state stands until that offset, output off: the same step gives the same
   state.
4. Switch the output on. The next record is decided as if nothing had happened.

If the worker dies in any of them, nothing was written, and the next one starts at 1.
"""

from collections.abc import Callable
from functools import partial

from streams.broker.intake import Intake
from streams.broker.reader import Reader
from streams.errors import BrokerError, OutrunError
from streams.partition import Partition
from streams.ports import Aside, UnansweredError
from streams.snapshot.shelf import Shelf, maker_of
from streams.snapshot.store import Store
from streams.state.tables import State

_WAIT_S = 0.5

MakePartition = Callable[[], Partition]


class Look:
    """Tells a log that others let go while this process loaded, or stood still, from one that is
    lost: only in the first case does a second look at the snapshots find another.
    """

    def __init__(self) -> None:
        self._last = ""

    def again(self, error: OutrunError) -> None:
        """Return where loading anew may help; raise `error` where it has changed nothing."""
        if str(error) == self._last:
            raise error
        self._last = str(error)


def load(
    make: MakePartition, store: Store | None, committed: int, shelf: Shelf | None = None
) -> Partition:
    """Step 1: return a partition whose state stands at or before the committed offset.

    `make` gives one without state; `shelf` counts what is skipped. Raises `SnapshotError` where the
    newest snapshot was made by another engine, deployment or layout, `UnansweredError` where the
    store cannot be read now.
    """
    if store is None:
        return make()
    made = [make()]
    maker = maker_of(made[0].step, state_of(made[0]))
    spoilt = False

    def empty() -> State:
        nonlocal spoilt
        if spoilt:
            made[:] = [make()]
        spoilt = True
        return state_of(made[0])

    try:
        _, offset = (shelf or Shelf(store, maker.partition)).load(empty, maker, committed)
    except OSError as error:
        raise UnansweredError(f"the store of snapshots cannot be read: {error}") from error
    (partition,) = made
    partition.mute(on=False)
    partition.move(offset)
    return partition


def state_of(partition: Partition) -> State:
    """Return the tables of a partition that has some."""
    state = partition.step.state
    assert state is not None
    return state


async def fold(
    partition: Partition,
    intake: Intake,
    reader: Reader,
    committed: int,
    aside: Aside,
    going: Callable[[], bool],
) -> bool:
    """Bring a partition's state to the committed offset; False where `going` said no before.

    `BrokerError` where the log cannot give that state: state guessed is money guessed. Of these,
    `OutrunError` is for `Look.again`.
    """
    where = f"partition {intake.log.place.partition} of {intake.log.place.topic}"
    begin, end = await intake.log.bounds()
    if begin > partition.position:
        raise OutrunError(
            f"{where} begins at offset {begin}, and the newest snapshot of it stands at "
            f"{partition.position}; keep snapshots (dipper state keep), or the log whole "
            "(retention.ms=-1)"
        )
    if committed > end:
        raise BrokerError(
            f"{where} ends at offset {end}, before the committed {committed}; "
            "the topic has been made anew: delete the group's offsets too"
        )
    partition.mute(on=True)
    reader.seek(partition.position)
    if partition.position < committed:
        await intake.start(partition.position)
    while reader.position < committed:
        if not going():
            return False
        await intake.wait(_WAIT_S)
        for fetched in intake.take():
            reader.feed(fetched)
        await aside(partial(_take, partition, reader, committed))
    partition.mute(on=False)
    partition.move(committed)
    return True


def _take(partition: Partition, reader: Reader, committed: int) -> None:
    while reader.fill(partition.step.batch, committed):
        if reader.refused is None:
            for out in partition.decide(reader.position):
                assert out.used[0] == 0, "muted, and yet it writes"
        else:
            partition.move(reader.position)
