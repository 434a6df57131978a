"""Rule expressions: text to a typed tree, with line and column in every error.

    expression := expression "or" expression | expression "and" expression | "not" expression
                | "(" expression ")" | comparison
    comparison := operand ("<" | "<=" | ">" | ">=" | "==" | "!=") operand
                | column ["not"] "in" "[" literal, ... "]"          braces may stand for brackets
                | column ["not"] "between" number "and" number      both ends included
                | column "is" ["not"] "missing"
                | token ["not"] "on" list                           a list of the policy's [lists]
    operand    := column | number | "text" | number "*" column

`or` binds loosest, then `and`, then `not`. At least one operand is a column; two columns may be
compared, the right one times a number: `request_amount_cents > 0.5 * income_cents`.

Missing values. A comparison, `in`, `not in`, `between` or `not between` with a missing value is
false, also `!=`: a rule fires on what is known. `not` before a bracket is plain negation, so `not
(income_cents > 5)` is true where the income is missing and `income_cents <= 5` is false there. `is
missing` asks for it by name.

Tokens. `device on blocked` is true where the request names a device that stands on the list and
whose entry has not expired at the request's time; `device not on blocked` where it names one that
does not. Where it names none both are false. `request on blocked` asks all five tokens at once, and
`request not on blocked` is its plain negation, since the applicant is always known.
"""

import difflib
import math
import re
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple, NoReturn

from models.policy.tokens import TOKENS

DEPTH_MAX = 50  # nested brackets and negations: more is a mistake, and recursion has an end

FEATURE = 0  # a column of the feature vector
PD = 1  # probability of default of a model, parts per million
RAW = 2  # raw score of a model
TOKEN = 3  # a token of the request

REQUEST = "request"  # any of its tokens
ANY_TOKEN = len(TOKENS)
_TOKENS = {**{name: place for place, name in enumerate(TOKENS)}, REQUEST: ANY_TOKEN}


class Column(NamedTuple):
    """What a name stands for: where its value lies, and the codes of its categories (None: a
    number).
    """

    space: int  # FEATURE, PD or RAW
    row: int
    categories: Mapping[str, int] | None = None


class Op(IntEnum):
    """Comparison of two numbers; MISSING looks at the left one only, LISTED and UNLISTED at a token
    and a list.
    """

    LT = 0
    LE = 1
    GT = 2
    GE = 3
    EQ = 4
    NE = 5
    MISSING = 6
    LISTED = 7
    UNLISTED = 8


class Compare(NamedTuple):
    """`column op constant`, or `column op constant * other`."""

    column: Column
    op: Op
    constant: float
    other: Column | None = None


class In(NamedTuple):
    """`column in [values]`, or `not in`."""

    column: Column
    values: tuple[float, ...]
    negated: bool


class Between(NamedTuple):
    """`low <= column <= high`, or its opposite where the value is known."""

    column: Column
    low: float
    high: float
    negated: bool


class Missing(NamedTuple):
    """`column is missing`, or `is not missing`."""

    column: Column
    negated: bool


class Listed(NamedTuple):
    """`token on list`, or `not on`; `token` is a place in `TOKENS` or ANY_TOKEN, `list` a row."""

    token: int
    list: int
    negated: bool


class Not(NamedTuple):
    """Plain negation."""

    operand: "Node"


class And(NamedTuple):
    """Both."""

    left: "Node"
    right: "Node"


class Or(NamedTuple):
    """Either."""

    left: "Node"
    right: "Node"


Node = Compare | In | Between | Missing | Listed | Not | And | Or


class ExpressionError(ValueError):
    """An expression that cannot be read: what is wrong, and line and column (from 1) within its
    text.
    """

    def __init__(self, what: str, line: int, column: int) -> None:
        super().__init__(f"line {line}, column {column}: {what}")
        self.what = what
        self.line = line
        self.column = column


class _Token(NamedTuple):
    kind: str  # number, text, name, word, symbol, end
    text: str
    at: int


class _Operand(NamedTuple):
    column: Column | None
    value: float | str  # the literal, or the factor of the column
    at: int


_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<number>-?(?:\d[\d_]*)(?:\.\d+)?(?![\w.]))
      | (?P<text>"[^"\n]*"|'[^'\n]*')
      | (?P<name>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
      | (?P<symbol><=|>=|==|!=|<|>|\(|\)|\[|\]|\{|\}|,|\*)""",
    re.VERBOSE | re.ASCII,
)
_WORDS = frozenset({"and", "or", "not", "in", "between", "is", "missing", "on"})
_COMPARISONS = {"<": Op.LT, "<=": Op.LE, ">": Op.GT, ">=": Op.GE, "==": Op.EQ, "!=": Op.NE}
_FLIPPED = {Op.LT: Op.GT, Op.LE: Op.GE, Op.GT: Op.LT, Op.GE: Op.LE, Op.EQ: Op.EQ, Op.NE: Op.NE}
_CLOSING = {"[": "]", "{": "}"}
_OR_POWER, _AND_POWER, _NOT_POWER = 10, 20, 30
_INT_MAX = 2**53  # every integer up to here is a float64


def parse(text: str, columns: Mapping[str, Column], lists: Mapping[str, int] | None = None) -> Node:
    """Read a rule expression over `columns` and `lists` (name to row); ExpressionError where it is
    not one.
    """
    parser = _Parser(text, columns, lists or {})
    node = parser.expression(0, 0)
    parser.finish()
    return node


class _Parser:
    """A Pratt parser over the tokens of one expression."""

    def __init__(self, text: str, columns: Mapping[str, Column], lists: Mapping[str, int]) -> None:
        self.text = text
        self.columns = columns
        self.lists = lists
        self.tokens = self._tokens()
        self.next = 0

    def _fail(self, at: int, what: str) -> NoReturn:
        before = self.text[:at]
        raise ExpressionError(what, before.count("\n") + 1, at - (before.rfind("\n") + 1) + 1)

    def _tokens(self) -> list[_Token]:
        tokens = []
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                self._fail(at, self._unreadable(at))
            kind = str(match.lastgroup)
            found = match.group()
            if kind == "name" and found in _WORDS:
                kind = "word"
            if kind != "space":
                tokens.append(_Token(kind, found, at))
            at = match.end()
        tokens.append(_Token("end", "the end", len(self.text)))
        return tokens

    def _unreadable(self, at: int) -> str:
        found = self.text[at]
        if found == "=":
            return "a single = compares nothing; write =="
        if found in "\"'":
            return "the text has no closing quote; add it"
        if found.isdigit() or found == "-":
            return "this is not a number; write digits, as in 1_000 or 0.5"
        return f"{found!r} means nothing here; remove it"

    def _peek(self) -> _Token:
        return self.tokens[self.next]

    def _take(self) -> _Token:
        token = self.tokens[self.next]
        self.next += 1
        return token

    def _taken(self, text: str) -> bool:
        token = self._peek()
        if token.kind in ("word", "symbol") and token.text == text:
            self.next += 1
            return True
        return False

    def _expect(self, text: str) -> None:
        token = self._peek()
        if not self._taken(text):
            self._fail(token.at, f"expected {text}, found {token.text}")

    def finish(self) -> None:
        """Fail where something stands behind the expression."""
        token = self._peek()
        if token.kind != "end":
            self._fail(token.at, f"expected and, or or the end, found {token.text}")

    def expression(self, power: int, depth: int) -> Node:
        """Read an expression whose connectives bind tighter than `power`."""
        token = self._peek()
        if depth > DEPTH_MAX:
            self._fail(token.at, f"more than {DEPTH_MAX} nested levels; split the rule")
        left: Node
        if self._taken("not"):
            left = Not(self.expression(_NOT_POWER, depth + 1))
        elif self._taken("("):
            left = self.expression(0, depth + 1)
            self._expect(")")
        else:
            left = self._comparison()
        while True:
            if power < _OR_POWER and self._taken("or"):
                left = Or(left, self.expression(_OR_POWER, depth + 1))
            elif power < _AND_POWER and self._taken("and"):
                left = And(left, self.expression(_AND_POWER, depth + 1))
            else:
                return left

    def _comparison(self) -> Node:
        token = self._peek()
        if token.text in _TOKENS and token.text not in self.columns:
            return self._listed()
        left = self._operand()
        token = self._take()
        if token.text in _COMPARISONS:
            return self._compare(left, _COMPARISONS[token.text], self._operand(), token.at)
        if token.kind != "word" or token.text in ("and", "or", "missing"):
            self._fail(token.at, f"expected a comparison, found {token.text}")
        if left.column is None or left.value != 1.0:
            self._fail(left.at, f"only a plain column can stand before {token.text}")
        if token.text == "is":
            negated = self._taken("not")
            self._expect("missing")
            return Missing(left.column, negated)
        negated = token.text == "not"
        if negated:
            token = self._take()
        if token.text == "in":
            return In(left.column, self._values(left.column), negated)
        if token.text != "between":
            self._fail(token.at, f"expected in or between, found {token.text}")
        return self._between(left.column, negated, token.at)

    def _listed(self) -> Node:
        token = self._take()
        negated = self._taken("not")
        if not self._taken("on"):
            what = f"{token.text} is a token; ask a list for it, as in {token.text} on LIST"
            self._fail(token.at, what)
        name = self._take()
        if name.text not in self.lists:
            self._unknown("list", name, self.lists, "name one of [lists]")
        return Listed(_TOKENS[token.text], self.lists[name.text], negated)

    def _operand(self) -> _Operand:
        token = self._take()
        if token.kind == "text":
            return _Operand(None, token.text[1:-1], token.at)
        if token.kind == "number":
            number = self._number(token)
            if self._taken("*"):
                name = self._take()
                return _Operand(self._column(name), number, token.at)
            return _Operand(None, number, token.at)
        column = self._column(token)
        factor = self._number(self._take()) if self._taken("*") else 1.0
        return _Operand(column, factor, token.at)

    def _column(self, token: _Token) -> Column:
        if token.kind != "name":
            self._fail(token.at, f"expected a column, found {token.text}")
        column = self.columns.get(token.text)
        if column is None:
            self._unknown("column", token, self.columns, "name a column of the catalog")
        return column

    def _unknown(
        self, kind: str, token: _Token, known: Mapping[str, object], else_: str
    ) -> NoReturn:
        near = difflib.get_close_matches(token.text, known, 1)
        hint = f"did you mean {near[0]}?" if near else else_
        self._fail(token.at, f"unknown {kind} {token.text}; {hint}")

    def _number(self, token: _Token) -> float:
        if token.kind != "number":
            self._fail(token.at, f"expected a number, found {token.text}")
        number = float(token.text.replace("_", ""))
        if not math.isfinite(number) or abs(number) > _INT_MAX:
            self._fail(token.at, "the number is too large; at most 2^53")
        return number

    def _literal(self, column: Column, value: float | str, at: int) -> float:
        """Turn a literal into the number that `column` holds for it."""
        if column.categories is None:
            if isinstance(value, str):
                self._fail(at, "this column is a number; compare it with a number")
            return value
        if not isinstance(value, str):
            self._fail(at, 'this column is a category; compare it with "text"')
        if value not in column.categories:
            known = ", ".join(column.categories)
            self._fail(at, f'the category has no value "{value}"; it has {known}')
        return float(column.categories[value])

    def _compare(self, left: _Operand, op: Op, right: _Operand, at: int) -> Node:
        if left.column is None and right.column is None:
            self._fail(left.at, "a comparison needs a column on one side")
        if left.column is None or (left.value != 1.0 and right.column is not None):
            left, op, right = right, _FLIPPED[op], left
        assert left.column is not None
        if left.value != 1.0:
            self._fail(left.at, "a factor may stand on one side only; divide both sides by it")
        is_category = left.column.categories is not None
        if is_category and op not in (Op.EQ, Op.NE):
            self._fail(at, "a category has no order; use ==, != or in")
        if right.column is None:
            return Compare(left.column, op, self._literal(left.column, right.value, right.at))
        if is_category or right.column.categories is not None:
            self._fail(right.at, "two columns can be compared where both are numbers")
        assert isinstance(right.value, float)
        return Compare(left.column, op, right.value, right.column)

    def _values(self, column: Column) -> tuple[float, ...]:
        token = self._take()
        if token.text not in _CLOSING or token.kind != "symbol":
            self._fail(token.at, f"expected a list in [ ], found {token.text}")
        values = []
        while True:
            item = self._operand()
            if item.column is not None:
                self._fail(item.at, "a list holds numbers or texts, no columns")
            values.append(self._literal(column, item.value, item.at))
            if not self._taken(","):
                break
        self._expect(_CLOSING[token.text])
        return tuple(dict.fromkeys(values))

    def _between(self, column: Column, negated: bool, at: int) -> Node:
        if column.categories is not None:
            self._fail(at, "a category has no order; use ==, != or in")
        low = self._number(self._take())
        self._expect("and")
        token = self._peek()
        high = self._number(self._take())
        if high < low:
            self._fail(token.at, "the upper end is below the lower one; swap them")
        return Between(column, low, high, negated)
