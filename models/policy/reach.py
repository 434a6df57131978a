"""Which rules can never hold, hold always, or say nothing that another rule does not say.

A rule is taken apart into alternatives, each of them a set of values for every column that it
compares with constants: intervals, and whether missing is in it. What is compared with another
column, and whether a token stands on a list, is a question of its own that is true or false.

What this does not see: relations between columns (`a < b and b < a`; that a window of 7 days counts
no more than one of 30), which numbers are whole, what models can score, and a rule that several
others cover only together. A rule of over ALTERNATIVES_MAX alternatives is not looked at.
"""

import math
from collections.abc import Mapping
from typing import NamedTuple

from models.policy.expression import (
    ANY_TOKEN,
    PD,
    And,
    Between,
    Column,
    Compare,
    In,
    Listed,
    Missing,
    Node,
    Not,
    Op,
    Or,
)
from models.policy.tokens import TOKENS
from streams.limits import PPM

ALTERNATIVES_MAX = 256
_APPLICANT = TOKENS.index("applicant")

Cut = tuple[float, int]
"""A place between numbers: just before the number (0) or just behind it (1)."""

_LOW: Cut = (-math.inf, 0)
_HIGH: Cut = (math.inf, 1)


class Values(NamedTuple):
    """A set of values of one column: spans from cut to cut, rising, apart, and missing or not."""

    spans: tuple[tuple[Cut, Cut], ...]
    missing: bool

    def meet(self, other: "Values") -> "Values":
        """Return what is in both."""
        spans = [
            (max(a[0], b[0]), min(a[1], b[1]))
            for a in self.spans
            for b in other.spans
            if max(a[0], b[0]) < min(a[1], b[1])
        ]
        return Values(tuple(sorted(spans)), self.missing and other.missing)

    def opposite(self) -> "Values":
        """Return all that is not in it."""
        cuts = [_LOW, *(cut for span in self.spans for cut in span), _HIGH]
        pairs = zip(cuts[::2], cuts[1::2], strict=True)
        return Values(tuple(pair for pair in pairs if pair[0] < pair[1]), not self.missing)

    def within(self, other: "Values") -> bool:
        """Return whether all of it is in `other`."""
        return not any(self.meet(other.opposite()))


KNOWN = Values(((_LOW, _HIGH),), missing=False)

_Key = tuple[int, int]
_Question = tuple[float, ...]
"""What asks, as numbers: two columns and how they are compared, or a token and a list."""


class Case(NamedTuple):
    """One alternative: allowed values by column, and questions with the answer they must have."""

    values: Mapping[_Key, Values]
    answers: Mapping[_Question, bool]

    def within(self, other: "Case") -> bool:
        """Return whether `other` holds wherever this one does."""
        return all(
            key in self.values and self.values[key].within(allowed)
            for key, allowed in other.values.items()
        ) and all(self.answers.get(asked) == answer for asked, answer in other.answers.items())


class _TooManyError(Exception):
    """A rule with more alternatives than are looked at."""


def cases_of(node: Node) -> tuple[Case, ...] | None:
    """Return the alternatives in which a rule holds, none where it never does; None: too many."""
    try:
        return tuple(_cases(node, wanted=True))
    except _TooManyError:
        return None


def is_covered(cases: tuple[Case, ...], others: tuple[Case, ...]) -> bool:
    """Return whether each alternative of one rule lies within one of another."""
    return all(any(case.within(other) for other in others) for case in cases)


def constant_fault(node: Node) -> str:
    """Say what is wrong with a rule that never or always holds, "" where neither is seen."""
    if cases_of(node) == ():
        return "can never hold: no value satisfies it; correct or remove the rule"
    if cases_of(Not(node)) == ():
        return "always holds and refuses everybody; correct it, or pause the institution"
    return ""


def _cases(node: Node, *, wanted: bool) -> list[Case]:
    match node:
        case Not(operand):
            return _cases(operand, wanted=not wanted)
        case And(left, right) | Or(left, right):
            first, second = _cases(left, wanted=wanted), _cases(right, wanted=wanted)
            if isinstance(node, And) == wanted:
                found = [both for a in first for b in second if (both := _both(a, b)) is not None]
            else:
                found = first + second
            if len(found) > ALTERNATIVES_MAX:
                raise _TooManyError
            return found
        case Listed(token, row, negated) if negated and not _may_lack(token):
            return [Case({}, {(token, row, 0): not wanted})]
        case Listed(token, row, negated):
            return [Case({}, {(token, row, int(negated)): wanted})]
        case Compare(column, op, factor, other) if other is not None:
            known = {_key(column): KNOWN, _key(other): KNOWN} if wanted else {}
            asked = (*_key(column), op, factor, *_key(other))
            return [Case(known, {asked: wanted})]
    assert isinstance(node, Compare | In | Between | Missing)
    values = _values(node)
    values = (values if wanted else values.opposite()).meet(_all_of(node.column))
    return [Case({_key(node.column): values}, {})] if any(values) else []


def _both(a: Case, b: Case) -> Case | None:
    """Return what holds where both do, None where they contradict one another."""
    values = dict(a.values)
    for key, allowed in b.values.items():
        values[key] = allowed.meet(values[key]) if key in values else allowed
        if not any(values[key]):
            return None
    answers = {**a.answers, **b.answers}
    if any(answers[asked] != answer for asked, answer in a.answers.items()):
        return None
    return Case(values, answers)


def _may_lack(token: int) -> bool:
    """Return whether a request may lack a token: all but the applicant's, and all five at once."""
    return token not in (_APPLICANT, ANY_TOKEN)


def _key(column: Column) -> _Key:
    return column.space, column.row


def _all_of(column: Column) -> Values:
    """Return every value that a column can have."""
    if column.categories is not None:
        codes = sorted(float(code) for code in column.categories.values())
        return Values(tuple(((code, 0), (code, 1)) for code in codes), missing=True)
    if column.space == PD:
        return Values((((0.0, 0), (float(PPM), 1)),), missing=True)
    return KNOWN._replace(missing=True)


def _values(node: Compare | In | Between | Missing) -> Values:
    """Return the values for which a comparison with constants is true."""
    match node:
        case Missing(_, negated):
            return KNOWN if negated else KNOWN.opposite()
        case In(_, numbers, negated):
            spans = tuple(((number, 0), (number, 1)) for number in sorted(numbers))
            return _known_side(Values(spans, missing=False), negated=negated)
        case Between(_, low, high, negated):
            inside = Values((((low, 0), (high, 1)),), missing=False)
            return _known_side(inside, negated=negated)
        case Compare(_, op, number, _):
            spans = {
                Op.LT: ((_LOW, (number, 0)),),
                Op.LE: ((_LOW, (number, 1)),),
                Op.GT: (((number, 1), _HIGH),),
                Op.GE: (((number, 0), _HIGH),),
            }.get(op, (((number, 0), (number, 1)),))
            return _known_side(Values(spans, missing=False), negated=op is Op.NE)


def _known_side(values: Values, *, negated: bool) -> Values:
    return values.opposite()._replace(missing=False) if negated else values
