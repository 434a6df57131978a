"""Judge requests again under other policies and models, on the features as they were recorded.

It runs the decide stage itself (`models.policy.judge`) on the vectors that evidence holds. Money is
as it was seen: an institution whose lease could not hold an offer then cannot hold one now. Or it
is that of other caps (`streams.study.pots`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.policy.judge import judge, rank
from models.policy.policies import Policies
from models.policy.reasons import CAPACITY
from models.policy.rules import begin_block
from models.policy.tables import PolicyScratch, PolicyTables, make_scratch
from streams.buffers import Array
from streams.compile import kernel
from streams.limits import BLOCK
from streams.schema import VERDICT, Outcome
from streams.study.pots import Pots, come_back, no_pots, take

ASKED = np.dtype(
    [
        ("at", "i8"),
        ("amount_cents", "i8"),
        ("available_cents", "i8"),  # of the line drawn on, -1: no bound
        ("applicant_hash", "u8"),  # keyed, as an experiment's arms follow from it
        ("preset", "u8"),  # reasons that hold before any policy speaks
        ("section", "i4"),
        ("product", "i4"),  # -1: none fits, nothing is judged
        ("channel", "i4"),  # -1: any
        ("institution", "i4"),  # -1: any
        ("tenor_days", "i4"),
    ],
    align=True,
)

_CAPACITY = int(Outcome.CAPACITY)
_CAPACITY_BIT = CAPACITY


@dataclass(frozen=True)
class Judged:
    """What policies say to n requests: C candidates at most, W words of rules."""

    verdicts: Array
    """VERDICT[n, C], the first `count` of a row count."""
    masks: NDArray[np.uint64]
    """[n, C, W], bit i: the i-th rule of the section fired."""
    count: NDArray[np.int32]
    """[n], candidates."""
    chosen: NDArray[np.int32]
    """[n], the candidate that funds the request, -1 none."""

    def only(self, keep: NDArray[np.bool_]) -> "Judged":
        """Return those requests for which `keep` [n] is true."""
        return Judged(self.verdicts[keep], self.masks[keep], self.count[keep], self.chosen[keep])


class Trial(NamedTuple):
    """What n requests are judged on."""

    asked: Array
    """ASKED[n]"""
    features: NDArray[np.float64]
    """[n, columns of the catalog the policies were compiled for], NaN missing"""
    raw: NDArray[np.float64]
    """[n, models], in the order the policies were compiled for"""
    pd_ppm: NDArray[np.int64]
    blocked: NDArray[np.uint8]
    """[n, institutions of the policies]: 1 where that one had no money"""
    tokens: Array
    """TOKEN[n, TOKENS], or no row: then no list is asked"""

    def only(self, rows: slice | NDArray[np.int64]) -> "Trial":
        """Return those requests, in that order."""
        return Trial(
            self.asked[rows],
            self.features[rows],
            self.raw[rows],
            self.pd_ppm[rows],
            self.blocked[rows],
            self.tokens[rows] if len(self.tokens) else self.tokens,
        )


@kernel
def _judge_block(
    policies: PolicyTables,
    scratch: PolicyScratch,
    asked: Array,
    first: int,
    rows: int,
    vectors: NDArray[np.float64],
    raw: NDArray[np.float64],
    pd_ppm: NDArray[np.int64],
    blocked: NDArray[np.uint8],
    tokens: Array,
    pots: Pots,
    order: NDArray[np.int32],
    verdicts: Array,
    masks: NDArray[np.uint64],
    count: NDArray[np.int32],
    chosen: NDArray[np.int32],
) -> None:
    """Judge and rank requests `first` to `first + rows` - 1, whose vectors stand in columns 0 on.

    Reads ASKED[n], `blocked` [n, institutions]: 1 where an institution had no money, `tokens`
    TOKEN[n, TOKENS] (no row where no list is asked). Writes the rows of VERDICT[n, C], masks, count
    and chosen, and `pots` where there are any: then they say who has money. `order` is scratch.
    """
    caps = pots.free_cents.shape[0] > 0
    begin_block(scratch, rows)
    for column in range(rows):
        i = first + column
        if tokens.shape[0] > 0:
            scratch.at[column] = asked[i]["at"]
            for kind in range(tokens.shape[1]):
                scratch.tokens[column, kind]["lo"] = tokens[i, kind]["lo"]
                scratch.tokens[column, kind]["hi"] = tokens[i, kind]["hi"]
    for column in range(rows):
        i = first + column
        scratch.who[0] = asked[i]["applicant_hash"]
        found = judge(
            policies, scratch, asked[i]["section"], asked[i]["product"], asked[i]["channel"],
            asked[i]["institution"], asked[i]["amount_cents"], asked[i]["tenor_days"],
            asked[i]["at"], asked[i]["preset"], asked[i]["available_cents"], vectors, raw, pd_ppm,
            column, verdicts[i], masks[i],
        )  # fmt: skip
        offers = 0
        if found > 0:
            offers = rank(policies, asked[i]["product"], verdicts[i], found, order)
        count[i] = found
        chosen[i] = -1
        if caps:
            come_back(pots, pots.base[0] + i)
        for k in range(offers):
            v = order[k]
            if caps:
                funded = take(pots, pots.base[0] + i, asked[i]["at"], verdicts[i, v : v + 1])
            else:
                funded = blocked[i, verdicts[i, v]["institution"]] == 0
            if funded:
                chosen[i] = v
                break
            verdicts[i, v]["outcome"] = _CAPACITY
            verdicts[i, v]["reasons"] |= np.uint64(1) << np.uint64(_CAPACITY_BIT)


def rejudge(policies: Policies, trial: Trial, pots: Pots | None = None) -> Judged:
    """Return what `policies` say to each request; without `pots` money is as it was seen."""
    asked, features, raw, pd_ppm, blocked, tokens = trial
    rows = len(asked)
    assert len(tokens) == rows or not len(policies.tables.listed)
    verdicts = np.zeros((rows, policies.candidates_max), VERDICT)
    masks = np.zeros((rows, policies.candidates_max, policies.rule_words), np.uint64)
    count, chosen = np.zeros(rows, np.int32), np.full(rows, -1, np.int32)
    scratch = make_scratch(policies.tables)
    order = np.zeros(policies.candidates_max, np.int32)
    vectors = np.zeros((features.shape[1], BLOCK + 8))
    block_raw = np.zeros((raw.shape[1], BLOCK))
    block_pd = np.zeros((raw.shape[1], BLOCK), np.int64)
    pots = no_pots() if pots is None else pots
    for first in range(0, rows, BLOCK):
        part = slice(first, min(first + BLOCK, rows))
        size = part.stop - first
        vectors[:, :size] = features[part].T
        block_raw[:, :size] = raw[part].T
        block_pd[:, :size] = pd_ppm[part].T
        _judge_block(
            policies.tables, scratch, asked, first, size, vectors, block_raw, block_pd, blocked,
            tokens, pots, order, verdicts, masks, count, chosen,
        )  # fmt: skip
    return Judged(verdicts, masks, count, chosen)
