"""State after a crash is the state without it, in every array and bit."""

import random
from pathlib import Path

import pytest

from streams.deployment import Deployment
from streams.snapshot.image import same_state
from streams.snapshot.shelf import Shelf, maker_of
from streams.snapshot.store import Folder
from streams.step import Step
from tests.naive.logs import LogMaker
from tests.naive.run import make_step, run_log
from tests.sizes import sized

SEEDS = range(sized(10))
ROWS = max(60, sized(400))
SIZES = (1, 7, 64, 4_096)


def folded(step: Step, maker: LogMaker, first: int, stop: int, rows: int) -> Step:
    """Fold rows `first` to `stop` - 1 of the log with the output off, in batches of `rows`."""
    step.mute(on=True)
    assert run_log(step, maker.log[:stop], rows, first=first) == []
    step.mute(on=False)
    return step


def remembered(step: Step) -> list[tuple[int, ...]]:
    """Return the ids that are remembered, with all that is known of each, in order."""
    table = step.core.state.ids
    return sorted(tuple(map(int, row)) for row in table[table["used"] == 1].tolist())


@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
def test_recovery_is_as_if_nothing_had_happened(
    step_deployment: Deployment, tmp_path: Path, seed: int
) -> None:
    """From a snapshot at any offset, folded to any crash point in batches of any size, state is
    that of a worker that never stopped, bit for bit but for where ids of one home stand; and what
    it writes then is the same bytes.
    """
    maker = LogMaker(step_deployment, 7_000 + seed).make(ROWS)
    chance = random.Random(seed)
    shelf = Shelf(Folder(tmp_path), maker.partition)
    keeper = make_step(step_deployment)
    who = maker_of(keeper, keeper.core.state)
    done = 0
    for offset in sorted(chance.sample(range(1, ROWS), 3)):
        folded(keeper, maker, done, offset, chance.choice(SIZES))
        assert shelf.publish(keeper.core.state, who, offset)
        done = offset
    for _ in range(3):
        crash = chance.randrange(ROWS)
        alive = make_step(step_deployment)
        run_log(alive, maker.log[:crash], chance.choice(SIZES))
        steps: list[Step] = []

        def make(steps: list[Step] = steps) -> Step:
            steps.append(make_step(step_deployment))
            return steps[-1]

        _, begin = shelf.load(lambda: make().core.state, who, crash)
        assert begin == max((o for o in shelf.offsets() if o <= crash), default=0)
        recovered = folded(steps[-1], maker, begin, crash, chance.choice(SIZES))
        # Two passes enter ids, so which of two with one home stands first is a matter of batch
        # edges.
        assert set(same_state(alive.core.state, recovered.core.state)) <= {"ids"}
        assert remembered(alive) == remembered(recovered)
        written = run_log(recovered, maker.log, chance.choice(SIZES), first=crash)
        assert written == [record for rows in maker.expected[crash:] for record in rows]
