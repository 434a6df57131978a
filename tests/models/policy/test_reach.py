"""Rules that never hold, always hold, or say nothing new: what is seen of them, and what is not."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given

from models.policy.errors import PolicyError
from models.policy.expression import FEATURE, PD, Column, Node, parse
from models.policy.notes import notes
from models.policy.reach import cases_of, constant_fault, is_covered
from models.policy.tokens import TOKENS
from tests.models.policy import naive
from tests.models.policy.deployments import load, write
from tests.models.policy.test_judge import rule_nodes

LOAN, BANDS = "institutions/acme/loan.toml", "institutions/acme/bands.csv"
NAMES: Mapping[str, Column] = {
    "a": Column(FEATURE, 0),
    "b": Column(FEATURE, 1),
    "c": Column(FEATURE, 2, {"n": 0, "s": 1}),
    "pd": Column(PD, 0),
}

# rule, whether it can never hold, always holds, or neither is seen
CONSTANT = """
a > 5 and a < 3                              | never
a > 5 and a <= 5                             | never
a >= 5 and a <= 5                            | -
a == 1 and a == 2                            | never
a in [1, 2] and a not in [1, 2, 3]           | never
a between 1 and 5 and a not between 0 and 5  | never
a is missing and a > 0                       | never
a is missing and not (a > 0)                 | -
pd > 1_000_000                               | never
pd < 0 or pd > 2_000_000                     | never
c == "n" and c == "s"                        | never
c != "n" and c != "s"                        | never
not (c in ["n", "s"]) and c is not missing   | never
(a > 5 or b > 5) and a <= 5 and b <= 5       | never
a > b and a is missing                       | never
a > b and not (a > b)                        | never
device on l and not (device on l)            | never
request on l and request not on l            | never
applicant on l and applicant not on l        | never
a > 5 or a <= 5                              | -
a > 5 or a <= 5 or a is missing              | always
a is missing or a is not missing             | always
not (a > 5 and a < 3)                        | always
not (a > 5) or not (a < 3)                   | always
device on l or not (device on l)             | always
a < b and b < a                              | -
a > 17 and a < 18                            | -
"""


@pytest.mark.parametrize("row", CONSTANT.strip().splitlines())
def test_a_rule_that_never_or_always_holds_is_seen(row: str) -> None:
    """Contradictions and tautologies of one column, or of one question, are seen; others not."""
    text, wanted = (part.strip() for part in row.rsplit("|", 1))
    said = constant_fault(parse(text, NAMES, {"l": 0}))
    assert ("-" if not said else "never" if "never" in said else "always") == wanted


# rule, other rule: whether the first holds only where the second does, as far as it is seen
COVERED = """
a > 90              | a > 30                     | yes
a > 30              | a > 90                     | no
a >= 5              | a > 5                      | no
a == 7              | a in [5, 7]                | yes
a > 5 and b > 5     | a > 5                      | yes
a > 5 or b > 5      | a > 5                      | no
a > 5 or a > 9      | a > 5                      | yes
a is missing        | not (a > 5)                | yes
a < 3               | not (a > 5)                | yes
a is missing        | a < 5                      | no
a > b and a > 5     | a > b                      | yes
device on l         | request on l               | no
a in [1, 2]         | a == 1 or a == 2           | no
"""


@pytest.mark.parametrize("row", COVERED.strip().splitlines())
def test_a_rule_within_another_is_seen(row: str) -> None:
    """A rule is covered where each of its alternatives lies within one of the other."""
    first, second, wanted = (part.strip() for part in row.split("|"))
    cases = [cases_of(parse(text, NAMES, {"l": 0})) for text in (first, second)]
    assert cases[0] is not None
    assert cases[1] is not None
    assert is_covered(cases[0], cases[1]) == (wanted == "yes")


def _requests() -> list[naive.Request]:
    """Return requests with every mix of some values of two columns."""
    values = [math.nan, -3.0, -0.5, 0.5, 1.0, 250_000.0]
    found = []
    for a, b in itertools.product(values, values):
        request = naive.Request(1, 1, 1, preset=set(), available=-1)
        request.features = {0: a, 1: b, 2: a, 3: b}
        request.raw, request.pd = {0: a, 1: b}, {0: -1, 1: 250_000}
        request.tokens, request.lists = dict.fromkeys(range(len(TOKENS)), b"t"), [[], []]
        found.append(request)
    return found


REQUESTS = _requests()


@given(rule_nodes, rule_nodes)
def test_what_is_said_of_rules_is_true(one: Node, other: Node) -> None:
    """No request meets a rule that is said never to hold, or one alone that is said to be covered;
    every request meets one that is said always to hold.
    """
    held = [[naive.holds(node, request) for request in REQUESTS] for node in (one, other)]
    said = constant_fault(one)
    assert not ("never" in said and any(held[0]))
    assert not ("always" in said and not all(held[0]))
    mine, theirs = cases_of(one), cases_of(other)
    if mine is not None and theirs is not None and is_covered(mine, theirs):
        assert not any(a and not b for a, b in zip(*held, strict=True))


def test_a_contradiction_is_refused_with_its_line(tmp_path: Path) -> None:
    """A rule that can never hold refuses the load; so does one that always holds."""
    for wrong, said in (("age_years < 18 and age_years > 20", "can never hold"),
                        ("age_years < 18 or not (age_years < 18)", "always holds")):  # fmt: skip
        folder = write(tmp_path / said, {LOAN: ("age_years < 18", wrong)})
        with pytest.raises(PolicyError) as caught:
            load(folder)
        assert f"{LOAN}:16: application.rules[1].when: {said}" in str(caught.value)


def test_what_changes_nothing_is_noted(tmp_path: Path) -> None:
    """Rules that another covers and bands above the cut-off are told with file and line."""
    more = """
[[application.rules]]
name = "children"
when = "age_years < 14"
reason = "A1"

[[application.rules]]
when = "age_years < 16 and income_cents > 5"
reason = "customers_only"
"""
    folder = write(tmp_path, {LOAN: ("cut_off_pd_ppm = 100_000", "cut_off_pd_ppm = 40_000")})
    policy, cases, rest = (folder / LOAN).read_text().partition("[[cases]]")
    (folder / LOAN).write_text(policy + more + cases + rest)
    told = list(notes(load(folder), 0))
    alone = "is never alone in refusing: wherever it holds, A1 does"
    assert [note.removeprefix(f"{folder}/") for note in told] == [
        f"{LOAN}:27: children {alone}, and gives its reason: remove one",
        f"{LOAN}:32: customers_only {alone}",
        f"{BANDS}:3: begins above the cut-off 40000 of loan.toml: nobody gets these terms",
    ]
