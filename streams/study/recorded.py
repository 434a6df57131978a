"""A replay beside decisions that were written before, by a worker or another replay.

A decision says what each institution's policy said and by which version, so the first of these that
differs is the verdict: the request itself (data), the version of a policy, what the policies said
(model or features: a decision does not tell the two apart), the money (funding state).
"""

from enum import StrEnum
from pathlib import Path
from typing import Any

import polars as pl

from streams.control.records import Caps
from streams.errors import DipperError
from streams.frames import DECISIONS, read_lines
from streams.sources import KAFKA, open_source
from streams.study.compare import with_labels
from streams.study.swaps import swap_figures
from streams.topology import DECISIONS as TOPIC

LIVE = "LIVE"
_NO_CAPS: Caps = {}
_REQUEST = ("type", "at", "product", "channel", "line")
_SCOPED = ("at", "type", "product", "channel")
_ANSWER = (
    "outcome", "institution", "amount_cents", "rate_bps", "fee_cents", "apr_bps", "tenor_days",
    "instalment_cents", "method", "expires_at", "reasons",
)  # fmt: skip
_VERSION = ("institution", "policy")
_SAID = ("institution", "outcome", "reasons", "pd_ppm", "apr_bps")
_CAPACITY, _APPROVED = "capacity", "approved"


class Verdict(StrEnum):
    """Why a decision differs, in the order in which it is looked for."""

    DATA = "data"
    POLICY = "policy"
    MODEL_OR_FEATURES = "model or features"
    FUNDING = "funding state"


def names_decisions(against: str) -> bool:
    """Say whether `--against` names decisions: a file of them, a topic, or LIVE."""
    return against == LIVE or against.startswith(KAFKA) or against.endswith(".jsonl")


def read_recorded(against: str, source: str) -> pl.DataFrame:
    """Return decisions (`streams.frames.DECISIONS`) of a file, a topic, or of the broker that the
    log `source` stands on, where `against` is LIVE.

    Raises `DipperError` where there are none to be read.
    """
    if against == LIVE:
        if not source.startswith(KAFKA):
            raise DipperError(f"--against {LIVE} needs a log on Kafka, not {source}: name a file")
        against = KAFKA + source.removeprefix(KAFKA).partition("/")[0]
    if against.startswith(KAFKA):
        bootstrap, _, topic = against.removeprefix(KAFKA).partition("/")
        opened = open_source(f"{KAFKA}{bootstrap}/{topic or TOPIC.name}", None, _NO_CAPS, b"")
        lines = b"".join((each.record.value or b"") + b"\n" for each in opened.records())
    else:
        path = Path(against)
        if not path.is_file():
            raise DipperError(f"{path}: no such file; name decisions.jsonl of a replay, or a topic")
        lines = path.read_bytes()
    try:
        found = read_lines(lines, DECISIONS)
    except pl.exceptions.PolarsError as error:
        raise DipperError(f"{against} holds no decisions: {error}") from error
    if found["request"].null_count():
        raise DipperError(f"{against} holds no decisions: a record names no request")
    # Where a worker may write twice, the repeat has the same bytes.
    return found.unique(("applicant", "request"), keep="first", maintain_order=True)


def compare_recorded(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """Return one row a request of either side: applicant, request, at, type, product, channel;
    outcome, institution and amount_cents of both as before_… and after_…; same, verdict (null where
    the answer is the same).

    Both are frames of `streams.frames.DECISIONS`.
    """
    keys = ("applicant", "request")
    both = before.join(after, on=keys, how="full", coalesce=True, suffix="_after").sort(keys)
    same = pl.all_horizontal(
        pl.col("id").is_not_null() & pl.col("id_after").is_not_null(),
        *(pl.col(name).eq_missing(pl.col(f"{name}_after")) for name in (*_REQUEST, *_ANSWER)),
    )
    both = both.with_columns(same=same)
    verdicts = [None if row["same"] else _verdict(row).value for row in both.iter_rows(named=True)]
    told = ("outcome", "institution", "amount_cents")
    return both.select(
        *keys,
        *(pl.coalesce(name, f"{name}_after").alias(name) for name in _SCOPED),
        *(pl.col(name).alias(f"before_{name}") for name in told),
        *(pl.col(f"{name}_after").alias(f"after_{name}") for name in told),
        "same",
        pl.Series("verdict", verdicts, pl.String()),
    )


def flipped(rows: pl.DataFrame) -> pl.DataFrame:
    """Return the requests that differ: those approved on one side only first, then by amount."""
    amount = pl.max_horizontal("before_amount_cents", "after_amount_cents")
    one_sided = (pl.col("before_outcome") == _APPROVED).ne_missing(
        pl.col("after_outcome") == _APPROVED
    )
    return rows.filter(~pl.col("same")).sort(
        one_sided, amount, "applicant", "request",
        descending=[True, True, False, False], nulls_last=True,
    )  # fmt: skip


def summarise_recorded(rows: pl.DataFrame) -> dict[str, Any]:
    """Return how many requests there are, how many answers differ and by which verdict, and the
    swap sets, with what is known of each where rows have `bad` (`streams.study.compare`).
    """
    different = rows.filter(~pl.col("same"))
    counts = different["verdict"].value_counts(sort=True, name="requests")
    labelled = rows if "bad" in rows.columns else with_labels(rows, None)
    sides = labelled.with_columns(
        a_approved=pl.col("before_outcome").eq_missing(_APPROVED),
        b_approved=pl.col("after_outcome").eq_missing(_APPROVED),
    )
    return {
        "requests": rows.height,
        "same": rows.height - different.height,
        "different": different.height,
        "verdicts": dict(counts.iter_rows()),
        **swap_figures(sides),
    }


def _verdict(row: dict[str, Any]) -> Verdict:
    one_sided = row["id"] is None or row["id_after"] is None
    if one_sided or any(row[name] != row[f"{name}_after"] for name in _REQUEST):
        return Verdict.DATA
    before, after = (row[name] or [] for name in ("candidates", "candidates_after"))
    if _parts(before, _VERSION) != _parts(after, _VERSION):
        return Verdict.POLICY
    for one, other in zip(before, after, strict=True):
        short_of_money = _CAPACITY in {one["outcome"], other["outcome"]}
        if not short_of_money and _parts([one], _SAID) != _parts([other], _SAID):
            return Verdict.MODEL_OR_FEATURES
    return Verdict.FUNDING


def _parts(candidates: list[dict[str, Any]], names: tuple[str, ...]) -> list[tuple[Any, ...]]:
    return [tuple(each[name] for name in names) for each in candidates]
