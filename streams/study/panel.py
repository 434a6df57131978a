"""A replay's decisions as arrays: what was asked, what was known, what each side answered."""

from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.policy.price import METHODS
from models.policy.reasons import LINE_NOT_ACTIVE, REASONS
from streams.buffers import Array
from streams.codec.hashing import sip_hash
from streams.deployment import Deployment
from streams.evidence import evidence_rows
from streams.replay import FILES, ReplayResult
from streams.schema import EventType, Outcome
from streams.study.rejudge import ASKED, Judged
from streams.topology import OUT_DECISION, OUT_EVIDENCE

OUTCOMES = [outcome.name.lower() for outcome in Outcome]
METHOD_NAMES = list(METHODS)
_APPROVED = int(Outcome.APPROVED)
_CAPACITY = int(Outcome.CAPACITY)
_IDS = pl.Schema(
    {"id": pl.String(), "applicant": pl.String(), "request": pl.String(), "line": pl.String()}
)


@dataclass(frozen=True)
class Panel:
    """All requests of one replay in the order of their decisions; n of them."""

    deployment: Deployment
    ids: pl.DataFrame
    """[n]: id (of the decision), applicant, request, line."""
    rows: Array
    """Evidence as it stands in its records (`streams.evidence.evidence_rows`)."""

    @cached_property
    def judged(self) -> Judged:
        """What stood in the evidence."""
        head = self.rows["head"]
        return Judged(self.rows["verdicts"], self.rows["masks"], head["candidates"], head["chosen"])

    @cached_property
    def asked(self) -> Array:
        """ASKED[n]: the requests as the decide stage was asked, but who asks (`asked_of`)."""
        head, rows = self.rows["head"], self.rows
        drawdown = head["type"] == EventType.DRAWDOWN
        judged = head["candidates"] > 0
        asked = np.zeros(len(head), ASKED)
        for name in ("at", "amount_cents", "tenor_days"):
            asked[name] = head[name]
        asked["section"] = drawdown
        # A drawdown that nobody judged had no line: there is nothing to judge again.
        asked["product"] = np.where(drawdown & ~judged, -1, head["product"])
        asked["channel"] = np.where(drawdown, -1, head["channel"])
        asked["institution"] = np.where(drawdown, rows["verdicts"]["institution"][:, 0], -1)
        inactive = np.uint64(1) << np.uint64(LINE_NOT_ACTIVE)
        asked["preset"] = np.where(drawdown, rows["verdicts"]["reasons"][:, 0] & inactive, 0)
        left = rows["features"][:, self.deployment.catalog.columns["line_available_cents"]]
        known = drawdown & ~np.isnan(left)
        asked["available_cents"] = np.where(known, np.nan_to_num(left), -1).astype(np.int64)
        return asked

    def applicant_hashes(self, deployment: Deployment) -> NDArray[np.uint64]:
        """Return uint64[n]: applicants as the experiments of a deployment know them."""
        key = deployment.symbols.key
        return np.array([_hash(key, name) for name in self.ids["applicant"]], np.uint64)

    def blocked(self, institutions: list[str]) -> NDArray[np.uint8]:
        """Return uint8[n, institutions]: 1 where that one made an offer that no money was left for.

        An institution that this side does not know had its money.
        """
        verdicts = self.rows["verdicts"]
        places = {name: place for place, name in enumerate(institutions)}
        mine = np.array([places.get(name, -1) for name in self.deployment.institution_ids])
        blocked = np.zeros((len(verdicts), max(1, len(institutions))), np.uint8)
        valid = np.arange(verdicts.shape[1])[None, :] < self.rows["head"]["candidates"][:, None]
        request, place = np.nonzero(valid & (verdicts["outcome"] == _CAPACITY))
        theirs = mine[verdicts["institution"][request, place]]
        blocked[request[theirs >= 0], theirs[theirs >= 0]] = 1
        return blocked


def make_panel(result: ReplayResult) -> Panel:
    """Return the panel of a replay; decisions and evidence stand in one order."""
    data = result.mapped(OUT_DECISION)
    ids = pl.DataFrame(schema=_IDS)
    if len(data):
        folder = result.folder
        source = BytesIO(data.tobytes()) if folder is None else folder / FILES[OUT_DECISION]
        ids = pl.read_ndjson(source, schema=_IDS)
    rows = evidence_rows(result.mapped(OUT_EVIDENCE), result.deployment)
    assert len(ids) == len(rows)
    return Panel(result.deployment, ids, rows)


def answers(judged: Judged, deployment: Deployment, prefix: str) -> pl.DataFrame:
    """Return one row a request, each column's name before it `prefix`: how it came out.

    approved, outcome, institution, policy (null without candidates), amount_cents, rate_bps,
    apr_bps, fee_cents, instalment_cents, method (null where declined), pd_ppm (null without score)
    and band (-1 none) of the candidate that speaks, reasons (a mask), reason (the first code), and
    need_ppm: the lowest cut-off that would let it pass, null where something else forbids it, with
    need_rate_bps and need_amount_cents (null above the cut-off) of that candidate.
    """
    rows = np.arange(len(judged.count))
    valid = np.arange(judged.verdicts.shape[1])[None, :] < judged.count[:, None]
    outcome = np.where(valid, judged.verdicts["outcome"], -1)
    speaker = np.where(judged.chosen >= 0, judged.chosen, outcome.argmax(axis=1))
    spoken = judged.verdicts[rows, speaker]
    approved, any_ = judged.chosen >= 0, judged.count > 0
    infos = deployment.policies.infos
    reasons = np.where(any_ & ~approved, spoken["reasons"], np.uint64(0))
    # Without candidates nobody offers the product; an offer that found no room is `data`.
    came_to = np.where(any_, spoken["outcome"], int(Outcome.ELIGIBILITY))
    came_to = np.where(~approved & (came_to == _APPROVED), int(Outcome.DATA), came_to)
    columns: dict[str, Any] = {
        "approved": approved,
        "outcome": named(OUTCOMES, came_to),
        "institution": named(deployment.institution_ids, np.where(any_, spoken["institution"], -1)),
        "policy": named([info.id for info in infos], np.where(any_, spoken["policy"], -1)),
        "method": named(METHOD_NAMES, np.where(approved, spoken["method"], -1)),
        "pd_ppm": _known(spoken["pd_ppm"], any_ & (spoken["pd_ppm"] >= 0)),
        "band": np.where(any_, spoken["band"], -1),
        "reasons": reasons,
        "reason": _first_reason(reasons),
        **_cut_off_needed(judged, valid),
    }
    for name in ("amount_cents", "rate_bps", "apr_bps", "fee_cents", "instalment_cents"):
        columns[name] = _known(spoken[name], approved)
    return pl.DataFrame({prefix + name: values for name, values in columns.items()})


def _cut_off_needed(judged: Judged, valid: NDArray[np.bool_]) -> dict[str, Any]:
    """Return PD, rate and offer of the candidate of least PD that only the cut-off may refuse."""
    bits = {reason.code: bit for bit, reason in enumerate(REASONS)}
    cut_off = np.uint64(1 << bits["score_above_cut_off"])
    alone = valid & ((judged.verdicts["reasons"] & ~cut_off) == 0)
    pd = np.where(alone & (judged.verdicts["pd_ppm"] >= 0), judged.verdicts["pd_ppm"], 2**31)
    place = pd.argmin(axis=1)
    rows = np.arange(len(pd))
    least = pd[rows, place]
    verdict = judged.verdicts[rows, place]
    passes = least < 2**31
    return {
        "need_ppm": _known(least, passes),
        "need_rate_bps": _known(verdict["rate_bps"], passes),
        "need_amount_cents": _known(verdict["amount_cents"], passes & (verdict["outcome"] == 0)),
    }


def asks_who(deployment: Deployment) -> bool:
    """Say whether a policy decides some applicants otherwise than others, by hash."""
    tables = deployment.policies.tables
    return bool((tables.policies["salt"] != 0).any() or (tables.sections["random_ppm"] > 0).any())


def _hash(key: Array, name: str) -> np.uint64:
    data = np.frombuffer(name.encode(), np.uint8)
    return sip_hash(key, data, 0, len(data))


def _first_reason(masks: NDArray[np.uint64]) -> pl.Series:
    lowest = masks & (~masks + np.uint64(1))
    place = np.full(len(masks), -1)
    for bit in range(len(REASONS)):
        place[lowest == np.uint64(1 << bit)] = bit
    return named([reason.code for reason in REASONS], place)


def named(names: list[str], codes: NDArray[Any]) -> pl.Series:
    """Return the names of codes; null where a code is negative."""
    place = pl.Series(np.ascontiguousarray(codes).astype(np.int64))
    return pl.Series(names, dtype=pl.String()).gather(place.set(place < 0, None))


def _known(values: NDArray[Any], known: NDArray[np.bool_]) -> pl.Series:
    series = pl.Series(np.ascontiguousarray(values).astype(np.int64))
    return series.set(pl.Series(~known), None)
