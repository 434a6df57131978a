"""The decide kernels against plain Python, on random policies and requests."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.policy.bands import Band
from models.policy.build import (
    CeilingPlan,
    PolicyPlan,
    ProductPlan,
    RulePlan,
    SectionPlan,
    ServicePlan,
    build_tables,
)
from models.policy.expression import (
    ANY_TOKEN,
    FEATURE,
    PD,
    RAW,
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
from models.policy.judge import judge, rank, share_of
from models.policy.lists import NEVER, Entry
from models.policy.matrix import REFUSED, Matrix, Side, refusals, without_band
from models.policy.reasons import REASONS, mask_of
from models.policy.rules import begin_block
from models.policy.tables import (
    PolicyScratch,
    PolicyTables,
    candidates_max,
    empty_tables,
    make_scratch,
    rule_words,
)
from models.policy.tokens import TOKEN, TOKENS, hash_texts
from streams.limits import AMOUNT_CENTS_MAX, BLOCK
from streams.schema import VERDICT
from tests.models.policy import naive

COLUMNS, MODELS, CHANNELS = 4, 2, 3
pytestmark = pytest.mark.kernel

_values = st.sampled_from([-3.0, -1.0, 0.0, 0.5, 1.0, 2.0, 250_000.0])
_texts = st.sampled_from([b"a", b"b", b"c" * 64, "北".encode()])
_lists = st.lists(
    st.builds(Entry, st.integers(0, len(TOKENS) - 1), _texts, st.sampled_from([1_500, NEVER])),
    unique_by=lambda entry: (entry.kind, entry.token),
)
_columns = st.one_of(
    st.builds(Column, st.just(FEATURE), st.integers(0, COLUMNS - 1), st.none()),
    st.builds(Column, st.sampled_from([PD, RAW]), st.integers(0, MODELS - 1), st.none()),
)
_ops = st.sampled_from([op for op in Op if op < Op.MISSING])
_atoms: st.SearchStrategy[Node] = st.one_of(
    st.builds(Compare, _columns, _ops, _values, st.one_of(st.none(), _columns)),
    st.builds(In, _columns, st.lists(_values, min_size=1, max_size=3).map(tuple), st.booleans()),
    st.builds(
        lambda column, ends, negated: Between(column, min(ends), max(ends), negated),
        _columns,
        st.tuples(_values, _values),
        st.booleans(),
    ),
    st.builds(Missing, _columns, st.booleans()),
    st.builds(Listed, st.integers(0, ANY_TOKEN), st.integers(0, 1), st.booleans()),
)
rule_nodes: st.SearchStrategy[Node] = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.builds(Not, inner), st.builds(And, inner, inner), st.builds(Or, inner, inner)
    ),
    max_leaves=6,
)


_services = st.builds(
    ServicePlan,
    st.integers(0, COLUMNS - 1),
    st.integers(-1, COLUMNS - 1),
    st.sampled_from([1, 4_000, 10_000]),
    st.booleans(),
)
_sides = st.builds(
    Side,
    _columns,
    st.sets(_values, min_size=1, max_size=3).map(lambda edges: tuple(sorted(edges))),
    st.booleans(),
)


@st.composite
def _matrices(draw: st.DrawFn, classes: int) -> Matrix:
    """Draw a matrix whose missing bands refuse where they are none."""
    rows, columns = draw(_sides), draw(_sides)
    cells = [
        [draw(st.integers(REFUSED, classes - 1)) for _ in range(len(columns.edges) + 2)]
        for _ in range(len(rows.edges) + 2)
    ]
    for row in cells:
        row[-1] = row[-1] if columns.has_missing else REFUSED
    if not rows.has_missing:
        cells[-1] = [REFUSED] * len(cells[-1])
    return Matrix(rows, columns, tuple(tuple(row) for row in cells))


def _refusing(matrix: Matrix) -> list[RulePlan]:
    """Return the rules that a matrix comes to."""
    conditions = [refusals(matrix), without_band(matrix)]
    return [RulePlan("m", "", node, 40, "") for node in conditions if node is not None]


@st.composite
def _sections(draw: st.DrawFn) -> SectionPlan:
    tops = sorted(draw(st.sets(st.integers(0, 1_000_000), min_size=1, max_size=3)))
    has_model = draw(st.booleans())
    basis = draw(st.integers(-1, COLUMNS - 1))
    least = draw(st.sampled_from([1, 10_000]))
    bands = tuple(
        Band(
            top,
            draw(st.integers(0, 4_000)),
            draw(st.integers(0, 500)),
            draw(st.sampled_from([10_000, 300_000, AMOUNT_CENTS_MAX])),
            draw(st.sampled_from([30, 90, 400])),
            draw(st.sampled_from([-1, 5_000, 20_000])) if basis >= 0 else -1,
        )
        for top in (tops if has_model else [1_000_000])
    )
    some = [
        RulePlan(f"r{number}", "", draw(rule_nodes), draw(st.integers(0, len(REASONS) - 1)), "")
        for number in range(draw(st.integers(0, 3)))
    ]
    rules = tuple(some) * draw(st.sampled_from([1, 1, 30]))  # 90 rules need two words of a mask
    matrix = draw(st.one_of(st.none(), _matrices(len(bands)))) if has_model else None
    return SectionPlan(
        rules=rules if matrix is None else (*rules, *_refusing(matrix)),
        matrix=matrix,
        bands=bands,
        tenors_days=tuple(sorted(draw(st.sets(st.sampled_from([30, 60, 90, 360]), min_size=1)))),
        model=draw(st.integers(0, MODELS - 1)) if has_model else -1,
        cut_off_pd_ppm=draw(st.integers(0, 1_000_000)) if has_model else 1_000_000,
        amount_cents_min=least,
        amount_cents_max=draw(st.sampled_from([least, 500_000, AMOUNT_CENTS_MAX])),
        method=draw(st.integers(0, 1)),
        offer_ms=draw(st.integers(1, 10**9)),
        partial=draw(st.booleans()),
        cap=draw(st.integers(-1, 1)),
        basis=basis,
        random_ppm=draw(st.sampled_from([0, 1_000_000])),
        service=draw(st.one_of(st.none(), _services)),
    )


@st.composite
def _deployments(
    draw: st.DrawFn,
) -> tuple[list[ProductPlan], list[CeilingPlan], list[PolicyPlan]]:
    products = [
        ProductPlan(draw(st.integers(0, 1)), draw(st.booleans()), draw(st.integers(0, 1)))
        for _ in range(draw(st.integers(1, 2)))
    ]
    ceilings = [
        CeilingPlan(at, side, draw(st.integers(0, 6_000)))
        for at in (1_000, 2_000)
        for side in (0, 1)
        if draw(st.booleans())
    ]
    plans = [
        PolicyPlan(
            institution,
            product,
            draw(st.integers(0, 2**CHANNELS - 1)),
            (draw(_sections()), draw(st.one_of(st.none(), _sections()))),
        )
        for product in range(len(products))
        for institution in range(draw(st.integers(0, 3)))
    ]
    return products, ceilings, plans


@st.composite
def _requests(draw: st.DrawFn) -> naive.Request:
    request = naive.Request(
        draw(st.sampled_from([1, 9_999, 10_000, 10_001, 299_999, 750_000, AMOUNT_CENTS_MAX])),
        draw(st.sampled_from([30, 60, 90, 91, 360])),
        draw(st.sampled_from([999, 1_000, 1_500, 2_000, 9_000])),
        preset=draw(st.sampled_from([set(), set(), set(), {"line_not_active"}])),
        available=draw(st.sampled_from([-1, -1, 0, 9_999, 50_000, AMOUNT_CENTS_MAX])),
    )
    missing = st.just(math.nan)
    for column in range(COLUMNS):
        request.features[column] = draw(
            st.one_of(missing, _values, st.floats(-1e20, 1e20, allow_nan=False))
        )
    for model in range(MODELS):
        request.raw[model] = draw(st.one_of(missing, _values))
        request.pd[model] = draw(st.one_of(st.just(-1), st.integers(0, 1_000_000)))
    request.tokens = draw(st.dictionaries(st.integers(0, len(TOKENS) - 1), _texts))
    return request


def _scores(request: naive.Request, column: int) -> tuple[Any, Any, Any]:
    """Return the blocks with the request in one column and other values in all others."""
    vectors = np.full((COLUMNS, BLOCK), 7.0)
    raw = np.full((MODELS, BLOCK), 7.0)
    pd_ppm = np.full((MODELS, BLOCK), 7, np.int64)
    for row in range(COLUMNS):
        vectors[row, column] = request.features[row]
    for row in range(MODELS):
        raw[row, column] = request.raw[row]
        pd_ppm[row, column] = request.pd[row]
    return vectors, raw, pd_ppm


def _note_tokens(
    tables: PolicyTables, scratch: PolicyScratch, request: naive.Request, column: int
) -> None:
    """Let the block know the request's tokens; those of others stay what they were."""
    scratch.at[column] = request.at
    scratch.tokens[column] = np.zeros(1, TOKEN)
    kinds = list(request.tokens)
    scratch.tokens[column, kinds] = hash_texts(tables.token_key, list(request.tokens.values()))


@settings(suppress_health_check=list(HealthCheck))
@given(
    _deployments(),
    st.lists(_requests(), min_size=1, max_size=3),
    st.tuples(_lists, _lists),
    st.data(),
)
def test_judge_and_rank_are_as_plain_python(
    deployment: tuple[list[ProductPlan], list[CeilingPlan], list[PolicyPlan]],
    requests: list[naive.Request],
    lists: tuple[list[Entry], list[Entry]],
    data: st.DataObject,
) -> None:
    """The kernels give the verdicts, masks and order of plain Python that walks trees and plans."""
    products, ceilings, plans = deployment
    tables = build_tables(products, ceilings, plans, lists, bytes(range(16)))
    scratch = make_scratch(tables)
    size = candidates_max(tables)
    verdicts = np.zeros(size, VERDICT)
    masks = np.full((size, rule_words(tables)), 2**64 - 1, np.uint64)
    order = np.zeros(size, np.int32)
    for request in requests:
        where = (
            data.draw(st.integers(0, 1)),
            data.draw(st.integers(0, len(products) - 1)),
            data.draw(st.integers(-1, CHANNELS - 1)),
            data.draw(st.sampled_from([-1, -1, 0, 1])),
        )
        column = data.draw(st.sampled_from([0, 5, BLOCK - 1]))
        _note_tokens(tables, scratch, request, column)
        request.lists = lists
        begin_block(scratch, data.draw(st.integers(column + 1, BLOCK)))
        count = judge(
            tables, scratch, *where, request.amount_cents, request.tenor_days, request.at,
            np.uint64(mask_of(tuple(request.preset))), request.available,
            *_scores(request, column), column, verdicts, masks,
        )  # fmt: skip
        expected = naive.judge(products, ceilings, plans, where, request)
        assert count == len(expected)
        for row, wanted in enumerate(expected):
            bits = "".join(f"{int(word):064b}"[::-1] for word in masks[row])
            found = {name: int(verdicts[row][name]) for name in VERDICT.names or ()}
            assert {**found, "fired": [n for n, bit in enumerate(bits) if bit == "1"]} == wanted
        offers = rank(tables, where[1], verdicts, count, order)
        assert list(order[:offers]) == naive.rank(products[where[1]].ranking, expected)
        for place in range(offers):
            assert verdicts[order[place]]["rank"] == place


def test_no_policy_no_verdict() -> None:
    """A deployment without products or policies judges nothing and offers nothing."""
    tables = empty_tables()
    verdicts = np.zeros(1, VERDICT)
    count = judge(
        tables, make_scratch(tables), 0, 0, 0, -1, 1, 1, 1, np.uint64(0), -1,
        np.zeros((1, BLOCK)), np.zeros((1, BLOCK)), np.zeros((1, BLOCK), np.int64), 0,
        verdicts, np.zeros((1, 1), np.uint64),
    )  # fmt: skip
    assert count == 0
    assert rank(tables, 0, verdicts, 0, np.zeros(1, np.int32)) == 0


@given(
    st.integers(0, AMOUNT_CENTS_MAX),
    st.integers(0, 1_000_000),
    st.sampled_from([10_000, 1_000_000_000]),
)
def test_shares_are_exact(amount: int, share: int, whole: int) -> None:
    """A share of the largest amount is rounded down exactly, without leaving 64 bits."""
    assert share_of(amount, share, whole) == amount * share // whole


@given(
    st.integers(0, 1),
    st.lists(
        st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 2), st.integers(0, 9)),
        max_size=8,
        unique_by=lambda row: row[3],
    ),
)
def test_ties_go_to_the_lower_institution(
    ranking: int, rows: list[tuple[int, int, int, int]]
) -> None:
    """Equal offers stand in order of institution, in whatever order their verdicts came."""
    tables = build_tables([ProductPlan(0, False, ranking)], [], [])
    names = ("outcome", "apr_bps", "amount_cents", "institution")
    verdicts = np.zeros(len(rows), VERDICT)
    for place, row in enumerate(rows):
        for name, value in zip(names, row, strict=True):
            verdicts[place][name] = value
    order = np.zeros(len(rows), np.int32)
    offers = rank(tables, 0, verdicts, len(rows), order)
    expected = naive.rank(ranking, [dict(zip(names, row, strict=True)) for row in rows])
    assert list(order[:offers]) == expected
