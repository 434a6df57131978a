"""Rules of a block of requests at once: one bit a request, so that a rule is a few word operations.

1. Each predicate that policies of a product use is compared for all requests of the block, and kept
   as BLOCK bits. It is computed once, however many rules and institutions ask it.
2. Each rule's program runs on such words instead of single truths.
3. Rules fire seldom: only the bits that are set are carried into each request's mask.

The first request of a product and section in a block has all of this done for the block.
"""

import math

import numpy as np
from numpy.typing import NDArray

from models.policy.expression import ANY_TOKEN, FEATURE, PD, TOKEN, Op
from models.policy.lists import is_listed
from models.policy.tables import (
    BLOCK_WORDS,
    PROGRAM_AND,
    PROGRAM_NOT,
    PROGRAM_OR,
    PolicyScratch,
    PolicyTables,
)
from models.policy.tokens import TOKENS, hash_tokens
from streams.buffers import Array
from streams.compile import kernel
from streams.intrinsics import trailing_zeros
from streams.limits import BLOCK

_LT, _LE, _GT, _GE = int(Op.LT), int(Op.LE), int(Op.GT), int(Op.GE)
_EQ, _NE = int(Op.EQ), int(Op.NE)
_LISTED = int(Op.LISTED)
_ANY_TOKEN, _TOKENS = ANY_TOKEN, len(TOKENS)
_ZERO, _ONE, _SIX = np.uint64(0), np.uint64(1), np.uint64(6)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_BIT_MASK = np.uint64(63)
# Eight bytes of 0 or 1 times this have byte k as bit k of the highest byte; no two terms meet.
_GATHER = np.uint64(0x0102040810204080)
_HIGH_BYTE = np.uint64(56)


@kernel
def begin_block(scratch: PolicyScratch, rows: int) -> None:
    """Say that a new block of `rows` requests (1 to BLOCK) is to be judged."""
    assert 0 < rows <= BLOCK
    scratch.block[0] += 1
    scratch.block[1] = rows


@kernel
def note_tokens(
    policies: PolicyTables, scratch: PolicyScratch, column: int, data: Array, raw: Array, at: int
) -> None:
    """Keep the tokens of request `column` of the next block, where a list may be asked for them.

    `raw` is its raw row (`wire.RAW`), whose texts stand in `data`; `at` its time in epoch ms.
    """
    if policies.listed.shape[0] > 0:
        hash_tokens(policies.token_key, data, raw, scratch.tokens[column])
        scratch.at[column] = at


@kernel
def _ask_list(
    policies: PolicyTables, scratch: PolicyScratch, op: int, token: int, list_row: int
) -> None:
    """Write 1 or 0 to `scratch.holds`: whether a token is given and stands, or does not, on a list.

    Of ANY_TOKEN one that stands there is enough, and none need be given.
    """
    first, stop = token, token + 1
    if token == _ANY_TOKEN:
        first, stop = 0, _TOKENS
    for row in range(scratch.block[1]):
        given = token == _ANY_TOKEN
        on = False
        for kind in range(first, stop):
            lo, hi = scratch.tokens[row, kind]["lo"], scratch.tokens[row, kind]["hi"]
            if lo | hi != _ZERO:
                given = True
                on |= is_listed(policies.listed, list_row, kind, lo, hi, scratch.at[row])
        scratch.holds[row] = given and on == (op == _LISTED)


@kernel
def _fill(
    values: NDArray[np.float64],
    space: int,
    index: int,
    factor: float,
    rows: int,
    vectors: NDArray[np.float64],
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
) -> None:
    """Write what a name stands for, times `factor`, to `values[:rows]`, NaN where it is missing."""
    if space == FEATURE:
        for row in range(rows):
            values[row] = factor * vectors[index, row]
    elif space == PD:
        for row in range(rows):
            pd = pd_ppm[index, row]
            values[row] = factor * float(pd) if pd >= 0 else math.nan
    else:
        for row in range(rows):
            values[row] = factor * raw[index, row]


@kernel
def _compare(
    op: int,
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    rows: int,
    holds: NDArray[np.uint8],
) -> None:
    """Write 1 or 0 to `holds[:rows]`; a comparison with a missing value is false."""
    if op == _LT:
        for row in range(rows):
            holds[row] = left[row] < right[row]
    elif op == _LE:
        for row in range(rows):
            holds[row] = left[row] <= right[row]
    elif op == _GT:
        for row in range(rows):
            holds[row] = left[row] > right[row]
    elif op == _GE:
        for row in range(rows):
            holds[row] = left[row] >= right[row]
    elif op == _EQ:
        for row in range(rows):
            holds[row] = left[row] == right[row]
    elif op == _NE:
        # The others are false with a NaN by themselves; `!=` is written so that it is too.
        for row in range(rows):
            holds[row] = (left[row] < right[row]) | (left[row] > right[row])
    else:
        for row in range(rows):
            holds[row] = left[row] != left[row]


@kernel
def _compare_columns(
    policies: PolicyTables,
    scratch: PolicyScratch,
    index: int,
    vectors: NDArray[np.float64],
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
) -> None:
    """Write 1 or 0 to `scratch.holds`: whether a column compares so with a constant or another."""
    rows = scratch.block[1]
    predicate = policies.predicates[index]
    constant = predicate["constant"]
    right = scratch.right
    if predicate["other_space"] >= 0:
        _fill(
            right, predicate["other_space"], predicate["other"], constant, rows, vectors, raw,
            pd_ppm,
        )  # fmt: skip
    else:
        for row in range(rows):
            right[row] = constant
    if predicate["space"] == FEATURE:
        _compare(predicate["op"], vectors[predicate["index"]], right, rows, scratch.holds)
    else:
        _fill(scratch.left, predicate["space"], predicate["index"], 1.0, rows, vectors, raw, pd_ppm)
        _compare(predicate["op"], scratch.left, right, rows, scratch.holds)


@kernel
def _compute_predicate(
    policies: PolicyTables,
    scratch: PolicyScratch,
    index: int,
    vectors: NDArray[np.float64],
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
) -> None:
    """Write the bits of one predicate to `scratch.truth`, 0 beyond the block's rows."""
    rows = scratch.block[1]
    predicate = policies.predicates[index]
    if predicate["space"] == TOKEN:
        _ask_list(policies, scratch, predicate["op"], predicate["index"], predicate["other"])
    else:
        _compare_columns(policies, scratch, index, vectors, raw, pd_ppm)
    for word in range(BLOCK_WORDS):
        bits = _ZERO
        for part in range(min(8, max(0, (rows - 64 * word + 7) >> 3))):
            byte = (scratch.holds_by_eight[8 * word + part] * _GATHER) >> _HIGH_BYTE
            bits |= byte << np.uint64(8 * part)
        scratch.truth[index, word] = bits & scratch.rows_mask[rows, word]


@kernel
def _run_program(
    policies: PolicyTables, scratch: PolicyScratch, start: int, stop: int, word: int
) -> np.uint64:
    """Return the bits of the requests for which a rule holds; its program runs on a stack."""
    stack = scratch.stack
    depth = 0
    for position in range(start, stop):
        code = policies.programs[position]
        if code >= 0:
            stack[depth] = scratch.truth[code, word]
            depth += 1
        elif code == PROGRAM_AND:
            depth -= 1
            stack[depth - 1] &= stack[depth]
        elif code == PROGRAM_OR:
            depth -= 1
            stack[depth - 1] |= stack[depth]
        else:
            assert code == PROGRAM_NOT
            stack[depth - 1] ^= _ALL
    return stack[0] & scratch.rows_mask[scratch.block[1], word]


@kernel
def _fire_section(policies: PolicyTables, scratch: PolicyScratch, section_row: int) -> None:
    """Write masks and reasons of one section for every request of the block."""
    section = policies.sections[section_row]
    first_word, stop_word = section["word_start"], section["word_stop"]
    masks, reasons = scratch.masks, scratch.reasons
    for row in range(scratch.block[1]):
        reasons[row, section_row] = _ZERO
        for word in range(first_word, stop_word):
            masks[row, word] = _ZERO
    for k in range(section["rule_start"], section["rule_stop"]):
        rule = policies.rules[k]
        into = first_word + (rule["place"] >> 6)
        bit = _ONE << (np.uint64(rule["place"]) & _BIT_MASK)
        for word in range(BLOCK_WORDS):
            fired = _run_program(policies, scratch, rule["start"], rule["stop"], word)
            while fired != _ZERO:
                row = trailing_zeros(fired) + (np.uint64(word) << _SIX)
                fired &= fired - _ONE
                masks[row, into] |= bit
                reasons[row, section_row] |= rule["reason"]


@kernel
def fire_rules(
    policies: PolicyTables,
    scratch: PolicyScratch,
    product: int,
    section: int,
    vectors: NDArray[np.float64],
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
) -> None:
    """Run, once a block, every rule that policies of this product have in this section.

    Writes `scratch.masks` and `scratch.reasons` of those sections for each request of the block,
    whatever product it asks for; `begin_block` has been called.
    """
    block = scratch.block[0]
    if scratch.fired[product, section] == block:
        return
    scratch.fired[product, section] = block
    start = policies.products[product]["need_start"][section]
    stop = policies.products[product]["need_stop"][section]
    for need in range(start, stop):
        index = policies.needs[need]
        if scratch.computed[index] != block:
            scratch.computed[index] = block
            _compute_predicate(policies, scratch, index, vectors, raw, pd_ppm)
    for row in range(
        policies.products[product]["policy_start"], policies.products[product]["policy_stop"]
    ):
        section_row = policies.policies[row]["section"][section]
        if section_row >= 0:
            _fire_section(policies, scratch, section_row)
