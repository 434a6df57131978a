"""Faulty inputs from good ones, many at once: a kernel that fills a batch from a corpus.

Each input is a good sample with some edits: bytes changed, cut out, doubled, a fragment that breaks
parsers put in, or the tail of another sample spliced on. The generator is SplitMix64 (Steele, Lea,
Flood, "Fast splittable pseudorandom number generators", 2014), so a seed gives the same inputs on
every machine.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from streams.buffers import Array, Batch
from streams.codec.words import signed
from streams.compile import kernel

_EDITS_MAX = 5
_CUT_MAX = 24
_ROOM = 512  # more than edits can add to a sample


class Corpus(NamedTuple):
    """Good samples and fragments, one after another in `text`."""

    text: Array  # uint8[]
    start: Array  # int64[samples]
    length: Array  # int64[samples]
    put_start: Array  # int64[fragments]
    put_length: Array  # int64[fragments]
    scratch: Array  # uint8[2, longest input]


def make_corpus(samples: Sequence[bytes], fragments: Sequence[bytes]) -> Corpus:
    """Lay out samples and fragments."""
    parts = [*samples, *fragments]
    lengths = np.array([len(part) for part in parts], np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    n = len(samples)
    return Corpus(
        np.frombuffer(b"".join(parts) + b" ", np.uint8).copy(),
        starts[:n].copy(),
        lengths[:n].copy(),
        starts[n:].copy(),
        lengths[n:].copy(),
        np.zeros((2, 2 * int(lengths.max()) + _ROOM), np.uint8),
    )


@kernel
def _draw(state: Array, below: int) -> int:
    """Return a number of 0 .. below - 1 and move the generator on. `state`: uint64[1]."""
    state[0] += np.uint64(0x9E3779B97F4A7C15)
    z = state[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return signed(z % np.uint64(below))


@kernel
def _edit(corpus: Corpus, state: Array, source: Array, size: int, target: Array) -> int:
    """Copy source[:size] to `target` with one edit; return the new size."""
    at = _draw(state, size + 1)
    cut = 0
    kind = _draw(state, 8)
    if kind >= 3:
        cut = min(_draw(state, 2 if kind < 6 else _CUT_MAX), size - at)
    for k in range(at):
        target[k] = source[k]
    end = at
    if kind in (0, 3, 6):  # a fragment
        part = _draw(state, corpus.put_start.shape[0])
        for k in range(corpus.put_length[part]):
            target[end + k] = corpus.text[corpus.put_start[part] + k]
        end += corpus.put_length[part]
    elif kind in (1, 4):  # a byte of any value
        target[end] = _draw(state, 256)
        end += 1
    elif kind == 2:  # the tail of another sample in the place of ours
        other = _draw(state, corpus.start.shape[0])
        begin = _draw(state, corpus.length[other] + 1)
        for k in range(begin, corpus.length[other]):
            target[end + k - begin] = corpus.text[corpus.start[other] + k]
        return end + corpus.length[other] - begin
    elif kind == 7:  # what stands before, once more
        again = min(_draw(state, _CUT_MAX), at)
        for k in range(again):
            target[end + k] = source[at - again + k]
        end += again
        cut = 0
    for k in range(at + cut, size):
        target[end + k - at - cut] = source[k]
    return end + size - at - cut


@kernel
def fill_mutants(corpus: Corpus, state: Array, batch: Batch, rows: int) -> int:
    """Put up to `rows` inputs into an empty batch; return how many it took. One in eight is a good
    sample as it stands. Inputs grown beyond the scratch's half are cut there.
    """
    room = batch.data.shape[0] // 2
    longest = (corpus.scratch.shape[1] - _ROOM) // 2 + _ROOM // 2
    end = 0
    for row in range(rows):
        sample = _draw(state, corpus.start.shape[0])
        size = signed(corpus.length[sample])
        for k in range(size):
            corpus.scratch[0, k] = corpus.text[corpus.start[sample] + k]
        here = 0
        edits = 0 if _draw(state, 8) == 0 else 1 + _draw(state, _EDITS_MAX)
        for _ in range(edits):
            size = _edit(corpus, state, corpus.scratch[here], size, corpus.scratch[1 - here])
            size = min(size, longest)
            here = 1 - here
        if end + size > room:
            return row
        for k in range(size):
            batch.data[end + k] = corpus.scratch[here, k]
        batch.offset[row] = row
        batch.key_start[row] = end
        batch.key_len[row] = 0
        batch.value_start[row] = end
        batch.value_len[row] = size
        end += size
        batch.used[0] = row + 1
        batch.used[1] = end
    return rows
