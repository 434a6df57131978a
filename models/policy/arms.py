"""Which applicants a policy decides: champion, challenger, and those let in at random.

A bucket from 0 to 999,999 follows from the applicant's keyed hash and the experiment's name: always
the same for an applicant, another one in the next experiment. The challenger decides the buckets
below its share, so whoever it decides stays with it while the share grows. The random arm has a
bucket of its own: below its share, a request that its score alone would refuse is approved.
"""

import hashlib

import numpy as np

from models.policy.reasons import SCORE_ABOVE_CUT_OFF
from models.policy.tables import PolicyScratch, PolicyTables
from streams.compile import i64, kernel
from streams.limits import PPM

CHAMPION, CHALLENGER = 1, 2
ARMS = ("champion", "challenger")  # their names, in this order
CHALLENGER_MARK = "@challenger"  # at the end of a challenger's name
NO_CHANCE = 3  # asked for where no experiment is: nobody is let in at random
_MIX_FIRST, _MIX_SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ABOVE_CUT_OFF = np.uint64(1 << SCORE_ABOVE_CUT_OFF)
_NOTHING = np.uint64(0)


def salt_of(name: str) -> int:
    """Return what tells the buckets of one experiment from those of another, never 0."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") | 1


@kernel
def bucket_of(applicant: np.uint64, salt: np.uint64) -> int:
    """Return the bucket, 0 to 999,999, of an applicant's hash: the finaliser of splitmix64."""
    bits = applicant ^ salt
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX_FIRST
    bits = (bits ^ (bits >> np.uint64(27))) * _MIX_SECOND
    bits = bits ^ (bits >> np.uint64(31))
    return i64((bits >> np.uint64(40)) * np.uint64(PPM) >> np.uint64(24))


@kernel
def takes_part(policies: PolicyTables, scratch: PolicyScratch, row: int) -> bool:
    """Say whether the policy in `row`, which is of an experiment, decides the applicant at hand."""
    arm = policies.policies[row]["arm"]
    if scratch.who[1] != _NOTHING:
        return bool(scratch.who[1] == np.uint64(arm))
    inside = (
        bucket_of(scratch.who[0], policies.policies[row]["salt"])
        < (policies.policies[row]["share_ppm"])
    )
    return bool(inside == (arm == CHALLENGER))


@kernel
def let_in(
    policies: PolicyTables, scratch: PolicyScratch, section_row: int, reasons: np.uint64
) -> bool:
    """Say whether a request that would be refused for `reasons` is approved at random: its score
    must be the only one.
    """
    share = policies.sections[section_row]["random_ppm"]
    if share == 0 or reasons != _ABOVE_CUT_OFF or scratch.who[1] != _NOTHING:
        return False
    salt = policies.sections[section_row]["random_salt"]
    return bool(bucket_of(scratch.who[0], salt) < share)
