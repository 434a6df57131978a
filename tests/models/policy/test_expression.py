"""Rule expressions: what is true of which request, and what is refused where."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.policy.build import Predicates, compile_node, stack_depth
from models.policy.expression import (
    FEATURE,
    PD,
    RAW,
    And,
    Between,
    Column,
    Compare,
    ExpressionError,
    In,
    Missing,
    Node,
    Not,
    Op,
    Or,
    parse,
)
from tests.models.policy.naive import Request, holds

REGION = {"north": 0, "east": 1, "south": 2}
COLUMNS = {
    "age": Column(FEATURE, 0),
    "income": Column(FEATURE, 1),
    "debt": Column(FEATURE, 2),
    "region": Column(FEATURE, 3, REGION),
    "pd_ppm": Column(PD, 0),
    "raw.consumer": Column(RAW, 0),
}

# expression | age income debt region pd raw (- is missing) | true or false
TRUTHS = """
age > 30                                    | 31 - - - - -      | true
age > 30                                    | 30 - - - - -      | false
age >= 30                                   | 30 - - - - -      | true
age < 30                                    | 30 - - - - -      | false
age <= 30                                   | 30 - - - - -      | true
age == 30                                   | 30 - - - - -      | true
age != 30                                   | 30 - - - - -      | false
30 < age                                    | 31 - - - - -      | true
30 >= age                                   | 31 - - - - -      | false
age > 1_000                                 | 1001 - - - - -    | true
age > -1                                    | 0 - - - - -       | true
age > 0.5                                   | 0.5 - - - - -     | false
age > 30                                    | - - - - - -       | false
age != 30                                   | - - - - - -       | false
not age > 30                                | - - - - - -       | true
not (age > 30)                              | - - - - - -       | true
age is missing                              | - - - - - -       | true
age is missing                              | 0 - - - - -       | false
age is not missing                          | 0 - - - - -       | true
age is not missing                          | - - - - - -       | false
age between 18 and 70                       | 18 - - - - -      | true
age between 18 and 70                       | 70 - - - - -      | true
age between 18 and 70                       | 71 - - - - -      | false
age between 18 and 70                       | - - - - - -       | false
age not between 18 and 70                   | 17 - - - - -      | true
age not between 18 and 70                   | 18 - - - - -      | false
age not between 18 and 70                   | - - - - - -       | false
age in [1, 2, 3]                            | 2 - - - - -       | true
age in {1, 2, 3}                            | 4 - - - - -       | false
age not in [1, 2]                           | 3 - - - - -       | true
age not in [1, 2]                           | - - - - - -       | false
region == "east"                            | - - - 1 - -       | true
region == 'east'                            | - - - 0 - -       | false
region != "east"                            | - - - 0 - -       | true
region in ["north", "east"]                 | - - - 1 - -       | true
region in ["north", "east"]                 | - - - 2 - -       | false
region not in ["north", "east"]             | - - - 2 - -       | true
region not in ["north", "east"]             | - - - - - -       | false
debt > income                               | - 10 11 - - -     | true
debt > 2 * income                           | - 10 20 - - -     | false
debt > income * 2                           | - 10 21 - - -     | true
2 * income < debt                           | - 10 21 - - -     | true
debt > 2 * income                           | - - 21 - - -      | false
debt > 2 * income                           | - 10 - - - -      | false
pd_ppm > 100_000                            | - - - - 100001 -  | true
pd_ppm > 100_000                            | - - - - - -       | false
raw.consumer <= 0.25                        | - - - - - 0.25    | true
age > 1 or age > 2 and age > 3              | 2 - - - - -       | true
(age > 1 or age > 2) and age > 3            | 2 - - - - -       | false
not age > 1 and age > 2                     | 0 - - - - -       | false
not (age > 1 and age > 2)                   | 0 - - - - -       | true
not not age > 1                             | 2 - - - - -       | true
age > 1 and income > 1 or debt > 1          | 0 0 2 - - -       | true
age between 1 and 5 and income > 1          | 3 2 - - - -       | true
"""


def _request(values: list[str]) -> Request:
    numbers = [math.nan if value == "-" else float(value) for value in values]
    request = Request(1, 1, 1, preset=set(), available=-1)
    request.features = dict(enumerate(numbers[:4]))
    request.pd = {0: -1 if math.isnan(numbers[4]) else int(numbers[4])}
    request.raw = {0: numbers[5]}
    return request


@pytest.mark.parametrize("row", TRUTHS.strip().splitlines())
def test_what_is_true(row: str) -> None:
    """An expression holds exactly where its row of the table says so."""
    text, values, truth = (part.strip() for part in row.split("|"))
    assert holds(parse(text, COLUMNS), _request(values.split())) == (truth == "true")


# expression | column of the error | part of the sentence
ERRORS = """
age > 30 and              | 13 | expected a column, found the end
agee > 30                 | 1  | unknown column agee; did you mean age?
zzz > 30                  | 1  | unknown column zzz; name a column of the catalog
age = 30                  | 5  | write ==
age > "old"               | 7  | this column is a number
region > 3                | 8  | a category has no order
region == 3               | 11 | this column is a category
region == "west"          | 11 | no value "west"; it has north, east, south
region in ["north", 3]    | 21 | this column is a category
region between 1 and 2    | 8  | a category has no order
region == age             | 11 | two columns can be compared where both are numbers
age between 5 and 4       | 19 | swap them
age in []                 | 9  | expected a column, found ]
age in [income]           | 9  | a list holds numbers or texts
age in 5                  | 8  | expected a list
age in [1                 | 10 | expected ], found the end
age in [1}                | 10 | expected ], found }
age is 5                  | 8  | expected missing, found 5
age                       | 4  | expected a comparison, found the end
age and income            | 5  | expected a comparison, found and
age > 3 income            | 9  | expected and, or or the end, found income
(age > 3                  | 9  | expected ), found the end
age > 3)                  | 8  | expected and, or or the end, found )
1 > 2                     | 1  | a comparison needs a column on one side
2 * age > 10              | 1  | a factor may stand on one side only
2 * age > 3 * income      | 11 | a factor may stand on one side only
3 is missing              | 1  | only a plain column
age not like 3            | 9  | expected in or between, found like
age > 1e5                 | 7  | this is not a number
age > 3 % 2               | 9  | '%' means nothing here
age > 12345678901234567890 | 7  | the number is too large
region == "north          | 11 | no closing quote
age * 2 * 3 > 1           | 9  | expected a comparison, found *
"""


@pytest.mark.parametrize("row", ERRORS.strip().splitlines())
def test_what_is_refused(row: str) -> None:
    """A wrong expression is refused at the column, and for the reason, that its row says."""
    text, column, sentence = (part.strip() for part in row.split("|"))
    with pytest.raises(ExpressionError) as caught:
        parse(text, COLUMNS)
    assert sentence in caught.value.what
    assert caught.value.column == int(column)


def test_errors_count_lines() -> None:
    """An error in an expression of several lines names its line."""
    with pytest.raises(ExpressionError) as caught:
        parse("age > 3\n  and incom > 4", COLUMNS)
    assert (caught.value.line, caught.value.column) == (2, 7)


def test_nesting_ends() -> None:
    """Brackets without end are refused, not a crash of the stack."""
    with pytest.raises(ExpressionError, match="nested levels"):
        parse("(" * 5_000 + "age > 3" + ")" * 5_000, COLUMNS)


def test_equal_predicates_are_computed_once() -> None:
    """Rules that ask the same of the same column share one predicate."""
    predicates = Predicates()
    for text in ("age > 30", "30 < age and income > 1", "not (age > 30.0)"):
        compile_node(parse(text, COLUMNS), predicates)
    assert len(predicates.index) == 2


NAMES = {(column.space, column.row): name for name, column in COLUMNS.items()}
OPS = {Op.LT: "<", Op.LE: "<=", Op.GT: ">", Op.GE: ">=", Op.EQ: "==", Op.NE: "!="}


def _write(node: Node) -> str:
    """Write a tree as text, every connective in brackets."""

    def name(column: Column) -> str:
        return NAMES[column.space, column.row]

    match node:
        case And(left, right):
            return f"({_write(left)} and {_write(right)})"
        case Or(left, right):
            return f"({_write(left)} or {_write(right)})"
        case Not(operand):
            return f"not ({_write(operand)})"
        case Missing(column, negated):
            return f"{name(column)} is {'not ' if negated else ''}missing"
        case In(column, values, negated):
            listed = ", ".join(f"{value:f}" for value in values)
            return f"{name(column)} {'not ' if negated else ''}in [{listed}]"
        case Between(column, low, high, negated):
            return f"{name(column)} {'not ' if negated else ''}between {low:f} and {high:f}"
        case Compare(column, op, constant, other):
            against = f"{constant:f}" if other is None else f"{constant:f} * {name(other)}"
            return f"{name(column)} {OPS[op]} {against}"
    raise AssertionError(node)


_numbers = st.integers(-1_000_000, 1_000_000).map(lambda n: n / 64)
_columns = st.sampled_from([column for column in COLUMNS.values() if column.categories is None])
_atoms: st.SearchStrategy[Node] = st.one_of(
    st.builds(Compare, _columns, st.sampled_from(list(OPS)), _numbers, _columns | st.none()),
    st.builds(
        In,
        _columns,
        st.lists(_numbers, min_size=1, max_size=4, unique=True).map(tuple),
        st.booleans(),
    ),
    st.builds(Missing, _columns, st.booleans()),
    st.builds(
        lambda column, ends, negated: Between(column, min(ends), max(ends), negated),
        _columns,
        st.tuples(_numbers, _numbers),
        st.booleans(),
    ),
)
_trees: st.SearchStrategy[Node] = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.builds(Not, inner), st.builds(And, inner, inner), st.builds(Or, inner, inner)
    ),
    max_leaves=8,
)


@given(_trees)
def test_text_is_read_back(tree: Node) -> None:
    """A tree written as text is read back as the same tree, and needs a small stack."""
    assert parse(_write(tree), COLUMNS) == tree
    assert 1 <= stack_depth(compile_node(tree, Predicates())) <= 9


@given(st.text(alphabet=st.sampled_from("age income(){}[]<>=!*,.\"'0123456789-\nnotandorinis")))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Whatever stands in a rule, the parser returns a tree or refuses it in one sentence."""
    try:
        node = parse(text, COLUMNS)
    except ExpressionError as error:
        refused = error
    else:
        assert holds(node, _request(["-"] * 6)) in (True, False)
        return
    assert 1 <= refused.line <= text.count("\n") + 1
    assert 1 <= refused.column <= len(text) + 1


def test_codes_are_exact() -> None:
    """Every whole number that an expression takes is a float64 without loss."""
    node = parse(f"age == {2**53}", COLUMNS)
    assert isinstance(node, Compare)
    assert np.int64(node.constant) == 2**53
