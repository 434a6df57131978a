"""State is a fold over the log: read it again with the output off, up to what is committed.

1. Look whether the log still begins at its first record and reaches the committed offset.
2. Read it from where the state stands until that offset, output off: the same step gives the same
   state.
3. Switch the output on. The next record is decided as if nothing had happened.

If the worker dies in any of them, nothing was written, and the next one starts at 1.
"""

from collections.abc import Callable
from functools import partial

from streams.broker.intake import Intake
from streams.broker.reader import Reader
from streams.errors import BrokerError
from streams.partition import Partition
from streams.ports import Aside

_WAIT_S = 0.5


async def fold(
    partition: Partition,
    intake: Intake,
    reader: Reader,
    committed: int,
    aside: Aside,
    going: Callable[[], bool],
) -> bool:
    """Bring a partition's state to the committed offset; False where `going` said no before.

    `BrokerError` where the log cannot give that state: state guessed is money guessed.
    """
    where = f"partition {intake.log.place.partition} of {intake.log.place.topic}"
    begin, end = await intake.log.bounds()
    if begin > partition.position:
        raise BrokerError(
            f"{where} begins at offset {begin}, so its state is lost; "
            "keep the log whole (retention.ms=-1)"
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
