"""State is a fold over the log: read it again with the output off, up to what is committed.

1. Look whether the log still begins at its first record and reaches the committed offset.
2. Read it from there until that offset, output off: the same step gives the same state.
3. Switch the output on. The next record is decided as if nothing had happened.

If the worker dies in any of them, nothing was written, and the next one starts at 1.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial

from streams.broker.intake import Intake
from streams.errors import BrokerError
from streams.partition import Input, Partition

# Runs a function beside the event loop, so that the group's heartbeats go on.
Aside = Callable[[Callable[[], None]], Awaitable[None]]

_ROWS = 4_096


async def fold(partition: Partition, intake: Intake, committed: int, aside: Aside) -> None:
    """Bring a new partition's state to the committed offset; leave the intake at it.

    `BrokerError` where the log cannot give that state: state guessed is money guessed.
    """
    where = f"partition {intake.partition.partition} of {intake.partition.topic}"
    begin, end = await intake.bounds()
    if begin > 0:
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
    intake.seek(begin)
    while await intake.position() < committed:
        records = await intake.read(_ROWS)
        waiting = deque(record for record in records if record.offset < committed)
        await aside(partial(_take, partition, waiting))
    partition.mute(on=False)
    partition.move(committed)
    intake.seek(committed)


def _take(partition: Partition, waiting: deque[Input]) -> None:
    while waiting:
        while waiting and partition.add(waiting[0]):
            waiting.popleft()
        for output in partition.run():
            raise AssertionError(f"muted, and yet it writes to output {output.topic}")
