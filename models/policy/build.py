"""Turn checked policies into tables: predicates shared by all, rules as postfix programs, prices
computed.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.policy import tables as t
from models.policy.bands import Band
from models.policy.expression import (
    TOKEN,
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
from models.policy.lists import Entry, build_listed
from models.policy.matrix import Matrix
from models.policy.price import PART_MAX, apr_bps, instalment_parts
from models.policy.reasons import outcome_by_bit
from streams.buffers import Array
from streams.codec.hashing import key_words


class RulePlan(NamedTuple):
    """One rule: what it is called, its text and tree, the bit of its reason, the institution's own
    word.
    """

    label: str
    when: str
    node: Node
    reason: int
    own_reason: str


class ServicePlan(NamedTuple):
    """The limit by what an applicant can pay: columns (burden -1: none), bps."""

    income: int
    burden: int
    share_bps: int
    optional: bool


_NO_SERVICE = ServicePlan(-1, -1, 0, optional=False)


class SectionPlan(NamedTuple):
    """One section with every name resolved; fields as in `tables.SECTION`."""

    rules: tuple[RulePlan, ...]
    bands: tuple[Band, ...]
    tenors_days: tuple[int, ...]
    model: int
    cut_off_pd_ppm: int
    amount_cents_min: int
    amount_cents_max: int
    method: int
    offer_ms: int
    partial: bool
    cap: int
    basis: int
    matrix: Matrix | None = None
    random_ppm: int = 0
    random_salt: int = 0
    service: ServicePlan | None = None


class PolicyPlan(NamedTuple):
    """One policy: codes of institution and product, mask of channels, its sections."""

    institution: int
    product: int
    channels: int
    sections: tuple[SectionPlan | None, SectionPlan | None]
    salt: int = 0
    arm: int = 0
    share_ppm: int = 0


class ProductPlan(NamedTuple):
    """One product: code of its side, whether it is a line, its ranking."""

    side: int
    is_line: bool
    ranking: int


class CeilingPlan(NamedTuple):
    """A legal ceiling in force from a time on."""

    from_at: int
    side: int
    apr_bps: int


class Predicates:
    """Distinct predicates in order of first use; keys are fields as in `tables.PREDICATE`."""

    def __init__(self) -> None:
        self.index: dict[tuple[Any, ...], int] = {}

    def add(self, column: Column, op: Op, constant: float, other: Column | None) -> int:
        """Return the index of a predicate, new or known."""
        key = (
            float(constant) + 0.0,  # -0.0 and 0.0 compare alike
            int(op),
            column.space,
            column.row,
            -1 if other is None else other.space,
            -1 if other is None else other.row,
        )
        return self.index.setdefault(key, len(self.index))

    def add_listed(self, node: Listed) -> int:
        """Return the index of the question whether a token stands on a list, new or known."""
        op = Op.UNLISTED if node.negated else Op.LISTED
        key = (0.0, int(op), TOKEN, node.token, -1, node.list)
        return self.index.setdefault(key, len(self.index))


def compile_node(node: Node, predicates: Predicates) -> list[int]:
    """Return a tree as a postfix program; missing values follow from predicates that are false
    then.
    """
    match node:
        case Compare(column, op, constant, other):
            return [predicates.add(column, op, constant, other)]
        case Missing(column, negated):
            program = [predicates.add(column, Op.MISSING, 0.0, None)]
            return [*program, t.PROGRAM_NOT] if negated else program
        case Listed():
            return [predicates.add_listed(node)]
        case In(column, values, negated):
            op, join = (Op.NE, t.PROGRAM_AND) if negated else (Op.EQ, t.PROGRAM_OR)
            program = [predicates.add(column, op, values[0], None)]
            for value in values[1:]:
                program += [predicates.add(column, op, value, None), join]
            return program
        case Between(column, low, high, negated):
            below, above = (Op.LT, Op.GT) if negated else (Op.GE, Op.LE)
            join = t.PROGRAM_OR if negated else t.PROGRAM_AND
            return [
                predicates.add(column, below, low, None),
                predicates.add(column, above, high, None),
                join,
            ]
        case Not(operand):
            return [*compile_node(operand, predicates), t.PROGRAM_NOT]
        case And(left, right):
            join = t.PROGRAM_AND
        case Or(left, right):
            join = t.PROGRAM_OR
    return [*compile_node(left, predicates), *compile_node(right, predicates), join]


def stack_depth(program: Sequence[int]) -> int:
    """Return how many bits a program's stack needs."""
    depth = deepest = 0
    for code in program:
        depth += 1 if code >= 0 else 0 if code == t.PROGRAM_NOT else -1
        deepest = max(deepest, depth)
    assert depth == 1
    return deepest


class _Rows:
    """The tables under construction, as lists of tuples in the order of their layouts."""

    def __init__(self) -> None:
        self.predicates = Predicates()
        self.policies: list[tuple[Any, ...]] = []
        self.sections: list[tuple[Any, ...]] = []
        self.bands: list[tuple[Any, ...]] = []
        self.tenors: list[int] = []
        self.prices: list[tuple[Any, ...]] = []
        self.rules: list[tuple[Any, ...]] = []
        self.programs: list[int] = []
        self.matrices: list[tuple[Any, ...]] = []
        self.edges: list[float] = []
        self.cells: list[int] = []
        self.words = 0

    def add_section(self, plan: SectionPlan, used: set[int]) -> int:
        """Append one section with all that hangs on it; add its predicates to `used`; return its
        row.
        """
        starts = (len(self.rules), len(self.bands), len(self.tenors), len(self.prices))
        self._add_rules(plan.rules, used)
        for band in plan.bands:
            self.bands.append(
                (
                    band.pd_ppm_max,
                    band.limit_cents,
                    band.limit_income_bps,
                    band.rate_bps,
                    band.fee_bps,
                    band.tenor_days_max,
                )
            )
            for tenor in plan.tenors_days:
                parts = instalment_parts(plan.method, tenor, band.rate_bps)
                assert parts < PART_MAX
                cost = apr_bps(plan.method, tenor, band.rate_bps, band.fee_bps)
                self.prices.append((parts, cost))
        self.tenors += plan.tenors_days
        first_word, self.words = self.words, self.words + (len(plan.rules) + 63) // 64
        self.sections.append(
            (
                plan.model,
                plan.cap,
                plan.method,
                int(plan.partial),
                plan.basis,
                *(plan.service or _NO_SERVICE),
                -1 if plan.matrix is None else self._add_matrix(plan.matrix),
                starts[0],
                len(self.rules),
                first_word,
                self.words,
                starts[1],
                len(self.bands),
                starts[2],
                len(self.tenors),
                starts[3],
                plan.cut_off_pd_ppm,
                plan.amount_cents_min,
                plan.amount_cents_max,
                plan.offer_ms,
                plan.random_ppm,
                plan.random_salt,
            )
        )
        return len(self.sections) - 1

    def _add_matrix(self, matrix: Matrix) -> int:
        """Append a matrix; return its row."""
        row: list[int] = []
        for side in (matrix.rows, matrix.columns):
            row += [side.column.space, side.column.row, len(self.edges)]
            self.edges += side.edges
            row.append(len(self.edges))
        self.matrices.append((*row, len(self.cells)))
        self.cells += [place for cells in matrix.cells for place in cells]
        return len(self.matrices) - 1

    def _add_rules(self, rules: Sequence[RulePlan], used: set[int]) -> None:
        """Append rules, those of the same shape of program together."""
        programs = [compile_node(rule.node, self.predicates) for rule in rules]
        shapes = [[min(code, 0) for code in program] for program in programs]
        for place in sorted(range(len(rules)), key=shapes.__getitem__):
            program = programs[place]
            assert stack_depth(program) <= t.STACK_MAX
            used.update(code for code in program if code >= 0)
            start = len(self.programs)
            self.programs += program
            self.rules.append((1 << rules[place].reason, start, len(self.programs), place))

    def sort_predicates(self) -> list[int]:
        """Put predicates of a kind together; use the new index of each in programs, return it."""
        keys = list(self.predicates.index)
        # Kind: what it compares (other_space, space), how (op); then column and constant.
        order = sorted(
            range(len(keys)), key=lambda n: (keys[n][4], keys[n][2], keys[n][1], keys[n][3:])
        )
        new = [0] * len(keys)
        for place, old in enumerate(order):
            new[old] = place
        self.predicates.index = {keys[old]: place for place, old in enumerate(order)}
        self.programs = [new[code] if code >= 0 else code for code in self.programs]
        return new


def build_tables(
    products: Sequence[ProductPlan],
    ceilings: Sequence[CeilingPlan],
    plans: Sequence[PolicyPlan],
    lists: Sequence[Sequence[Entry]] = (),
    key: bytes = bytes(16),
) -> t.PolicyTables:
    """Build the tables of `plans`, which stand by product, then by institution, each pair once or,
    in an experiment, champion and challenger.

    `lists` are those that rules name by their row; `key` hashes tokens, 16 bytes.
    """
    words = key_words(key)
    pairs = [(plan.product, plan.institution, plan.arm) for plan in plans]
    assert pairs == sorted(set(pairs))
    rows = _Rows()
    needs: list[int] = []
    product_rows: list[tuple[Any, ...]] = []
    for code, product in enumerate(products):
        start = len(rows.policies)
        used: tuple[set[int], set[int]] = (set(), set())
        for plan in plans:
            if plan.product != code:
                continue
            section_rows = tuple(
                -1 if section is None else rows.add_section(section, used[which])
                for which, section in enumerate(plan.sections)
            )
            arm = (plan.salt, plan.arm, plan.share_ppm)
            rows.policies.append((plan.institution, code, section_rows, plan.channels, *arm))
        spans = []
        for which in used:
            spans.append((len(needs), len(needs) + len(which)))
            needs += sorted(which)
        product_rows.append(
            (
                product.side,
                int(product.is_line),
                product.ranking,
                start,
                len(rows.policies),
                tuple(span[0] for span in spans),
                tuple(span[1] for span in spans),
            )
        )
    new = rows.sort_predicates()
    for product_row in product_rows:
        for start, stop in zip(product_row[5], product_row[6], strict=True):
            needs[start:stop] = sorted(new[need] for need in needs[start:stop])
    return t.PolicyTables(
        products=_array(product_rows, t.PRODUCT),
        policies=_array(rows.policies, t.POLICY),
        sections=_array(rows.sections, t.SECTION),
        bands=_array(rows.bands, t.BAND),
        tenors=_int32(rows.tenors),
        prices=_array(rows.prices, t.PRICE),
        rules=_array(rows.rules, t.RULE),
        programs=_int32(rows.programs),
        predicates=_array(list(rows.predicates.index), t.PREDICATE),
        needs=_int32(needs),
        ceilings=_array([tuple(c) for c in sorted(ceilings)], t.CEILING),
        outcome=outcome_by_bit(),
        matrices=_array(rows.matrices, t.MATRIX),
        edges=np.array(rows.edges, np.float64),
        cells=_int32(rows.cells),
        listed=build_listed(lists, words),
        token_key=words,
    )


def _array(rows: list[tuple[Any, ...]], layout: np.dtype[np.void]) -> Array:
    return np.array(rows, layout) if rows else np.zeros(0, layout)


def _int32(values: list[int]) -> NDArray[np.int32]:
    return np.array(values, np.int32) if values else np.zeros(0, np.int32)
