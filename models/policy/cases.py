"""A policy's own cases: its author's requests, run through the decide kernels each time it is
loaded.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.policy.arms import NO_CHANCE
from models.policy.documents import Place, suggestion
from models.policy.judge import judge
from models.policy.platform import Platform
from models.policy.policies import CatalogColumn, Policies, PolicyInfo
from models.policy.policy import Case, Expected
from models.policy.reasons import BIT, codes_of
from models.policy.rules import begin_block
from models.policy.tables import SECTIONS, PolicyScratch, make_scratch
from models.policy.tokens import TOKEN, TOKENS, hash_texts
from streams.buffers import Array
from streams.limits import BLOCK
from streams.schema import VERDICT, Outcome

FAR_FUTURE = 2**52  # the newest ceilings hold


class CaseResult(NamedTuple):
    """What a case came to: empty `differences` mean as expected. `fired`: labels of all rules that
    fired.
    """

    policy: str
    case: str
    differences: tuple[str, ...]
    outcome: str
    reasons: tuple[str, ...]
    fired: tuple[str, ...]


class _Inputs(NamedTuple):
    vectors: NDArray[np.float64]
    raw: NDArray[np.float64]
    pd_ppm: NDArray[np.int64]


def check_cases(
    policies: Policies,
    platform: Platform,
    columns: Mapping[str, CatalogColumn],
    models: Mapping[str, int],
) -> None:
    """Run all cases of all policies; PolicyError at the first that does not come to what it
    expects.
    """
    for row, info in enumerate(policies.infos):
        results = run_cases(policies, row, platform, columns, models)
        for number, result in enumerate(results):
            if result.differences:
                what = f'the case "{result.case}" fails: {"; ".join(result.differences)}'
                raise info.text.fault(("cases", number), f"{what}; mend the policy or the case")


def run_cases(
    policies: Policies,
    row: int,
    platform: Platform,
    columns: Mapping[str, CatalogColumn],
    models: Mapping[str, int],
) -> list[CaseResult]:
    """Run the cases of one policy, in order; PolicyError where a case names what does not exist."""
    info = policies.infos[row]
    scratch = make_scratch(policies.tables)
    verdicts = np.zeros(policies.candidates_max, VERDICT)
    masks = np.zeros((policies.candidates_max, policies.rule_words), np.uint64)
    results = []
    for number, case in enumerate(info.document.cases):
        place: Place = ("cases", number)
        inputs = _inputs(info, place, case, columns, models)
        if case.section == "drawdown" and info.document.drawdown is None:
            raise info.text.fault((*place, "section"), "the policy has no drawdown; correct it")
        _note_tokens(policies, scratch, info, place, case)
        begin_block(scratch, 1)
        scratch.who[1] = info.arm or NO_CHANCE
        count = judge(
            policies.tables,
            scratch,
            SECTIONS.index(case.section),
            info.product,
            _channel(info, place, case, platform),
            info.institution,
            case.amount_cents,
            case.tenor_days,
            _at(case.at),
            np.uint64(0),
            -1 if case.available_cents is None else case.available_cents,
            inputs.vectors,
            inputs.raw,
            inputs.pd_ppm,
            0,
            verdicts,
            masks,
        )
        if count == 0:
            what = f"the policy does not serve the channel {case.channel}; correct it"
            raise info.text.fault((*place, "channel"), what)
        _check_reasons(info, (*place, "expect"), case.expect.reasons or ())
        results.append(_result(info, case, verdicts[0], masks[0]))
    return results


def _note_tokens(
    policies: Policies, scratch: PolicyScratch, info: PolicyInfo, place: Place, case: Case
) -> None:
    """Write the tokens of a case; one that it does not name is not given."""
    for name in case.tokens:
        if name not in TOKENS:
            what = f"unknown token {name}; {suggestion(name, TOKENS)}"
            raise info.text.fault((*place, "tokens", name), what)
    scratch.at[0] = _at(case.at)
    scratch.tokens[0] = np.zeros(1, TOKEN)
    given = [TOKENS.index(name) for name in case.tokens]
    texts = [token.encode() for token in case.tokens.values()]
    scratch.tokens[0, given] = hash_texts(policies.tables.token_key, texts)


def _at(day: dt.date | None) -> int:
    if day is None:
        return FAR_FUTURE
    return (day - dt.date(1970, 1, 1)).days * 86_400_000


def _channel(info: PolicyInfo, place: Place, case: Case, platform: Platform) -> int:
    if case.channel is None:
        return -1
    code = platform.channel_code(case.channel)
    if code < 0:
        known = [channel.id for channel in platform.channels]
        what = f"unknown channel {case.channel}; {suggestion(case.channel, known)}"
        raise info.text.fault((*place, "channel"), what)
    return code


def _inputs(
    info: PolicyInfo,
    place: Place,
    case: Case,
    columns: Mapping[str, CatalogColumn],
    models: Mapping[str, int],
) -> _Inputs:
    """Return the vector and scores of a case; the request's own columns follow from its fields."""
    width = 1 + max((column.row for column in columns.values()), default=0)
    vectors = np.full((width, BLOCK), np.nan)
    raw = np.full((max(1, len(models)), BLOCK), np.nan)
    pd_ppm = np.full((max(1, len(models)), BLOCK), -1, np.int64)
    request = {
        "request_amount_cents": case.amount_cents,
        "request_tenor_days": case.tenor_days,
        "request_is_drawdown": int(case.section == "drawdown"),
    }
    known = {name: value for name, value in request.items() if name in columns}
    for name, value in {**known, **case.features}.items():
        field = (*place, "features", name)
        if name not in columns:
            what = f"unknown column {name}; {suggestion(name, tuple(columns))}"
            raise info.text.fault(field, what)
        vectors[columns[name].row, 0] = _number(info, field, columns[name], value)
    section = getattr(info.document, case.section)
    scores = dict(case.scores)
    if case.pd_ppm is not None:
        if section is None or section.model is None:
            raise info.text.fault((*place, "pd_ppm"), "the section has no model; remove it")
        scores[section.model] = case.pd_ppm
    for field_name, given, target in (("scores", scores, pd_ppm), ("raw", case.raw, raw)):
        for model, value in given.items():
            if model not in models:
                what = f"unknown model {model}; {suggestion(model, tuple(models))}"
                raise info.text.fault((*place, field_name, model), what)
            target[models[model], 0] = value
    return _Inputs(vectors, raw, pd_ppm)


def _number(info: PolicyInfo, field: Place, column: CatalogColumn, value: Any) -> float:
    if column.categories is None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise info.text.fault(field, f"{value!r} is not a number; write one")
        return float(value)
    if not isinstance(value, str) or value not in column.categories:
        hint = suggestion(str(value), tuple(column.categories))
        what = f"{value!r} is no value of the category; {hint}"
        raise info.text.fault(field, what)
    return float(column.categories[value])


def _result(info: PolicyInfo, case: Case, verdict: Any, mask: Array) -> CaseResult:
    rules = info.rules[SECTIONS.index(case.section)]
    fired = tuple(
        rule.label for place, rule in enumerate(rules) if int(mask[place >> 6]) >> (place & 63) & 1
    )
    outcome = Outcome(int(verdict["outcome"])).name.lower()
    reasons = codes_of(int(verdict["reasons"]))
    expected = case.expect
    differences = []
    found: dict[str, object] = {"outcome": outcome}
    if expected.reasons is not None:
        found["reasons"] = reasons
    if expected.rules is not None:
        found["rules"] = fired
    for name in Expected.model_fields:
        if name not in ("outcome", "reasons", "rules") and getattr(expected, name) is not None:
            found[name] = int(verdict[name])
    for name, value in found.items():
        wanted = getattr(expected, name)
        same = set(wanted) == set(value) if isinstance(value, tuple) else wanted == value
        if not same:
            differences.append(f"{name} is {_shown(value)}, expected {_shown(wanted)}")
    return CaseResult(info.id, case.name, tuple(differences), outcome, reasons, fired)


def _check_reasons(info: PolicyInfo, place: Place, codes: Sequence[str]) -> None:
    for code in codes:
        if code not in BIT:
            what = f"unknown reason {code}; {suggestion(code, tuple(BIT))}"
            raise info.text.fault((*place, "reasons"), what)


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(str, value)) + "]"
    return str(value)
