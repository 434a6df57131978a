"""Small states and their images, in memory."""

import numpy as np

from streams.limits import Limits
from streams.snapshot.image import Facts, Image, layout_hash, open_image, write_image
from streams.snapshot.shelf import Maker
from streams.state.tables import State, make_state

SIZE = Limits(
    applicants=64, pages=96, ids=64, lines=64, loans=64, dues=96, offers=64, timers=256
)  # fmt: skip


def empty() -> State:
    """Return an empty state of partition 1 of 2."""
    return make_state(SIZE, 3, 1, 2, 60)


def filled(seed: int, share: float = 1.0) -> State:
    """Return a state of random bytes in that share of each array's rows, from the first on."""
    state = empty()
    rng = np.random.default_rng(seed)
    for name, table in state._asdict().items():
        if name != "partition":
            rows = table[: max(1, int(share * table.shape[0]))]
            rows.view(np.uint8)[:] = rng.integers(0, 256, rows.view(np.uint8).shape)
    return state


MAKER = Maker(layout_hash(empty()), "engine", "manifest", "names", 1, 2)


def image_of(data: bytes) -> Image:
    """Open an image that stands in memory."""

    def read(at: int, into: memoryview) -> None:
        into[:] = data[at : at + into.nbytes]

    return open_image(len(data), read)


def bytes_of(state: State) -> bytes:
    """Return the image of a state at offset 7."""
    return b"".join(write_image(state, Facts(1, 2, 7, *MAKER[:4])))
