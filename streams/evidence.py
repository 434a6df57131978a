"""Evidence as data frames: what stood behind each decision, read back from its binary rows.

The layout stands in `streams/codec/encode.py`; sizes follow from the deployment that decided, so
evidence is read with the deployment whose manifest the decision names.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from models.policy.reasons import REASONS
from streams.codec.encode import evidence_words
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.schema import EVIDENCE_HEAD, VERDICT, EventType, Outcome

_SECTION_OF = {EventType.APPLICATION: 0, EventType.DRAWDOWN: 1}
_TERMS = (
    "band", "rank", "pd_ppm", "rate_bps", "apr_bps", "tenor_days", "amount_cents", "fee_cents",
    "instalment_cents",
)  # fmt: skip


def read_evidence(data: bytes, deployment: Deployment) -> pl.DataFrame:
    """Return one row a decision: what was asked, every feature, every model's score and PD.

    Columns: decision, partition, offset, at, type, product, channel (null on a drawdown, whose line
    has them), amount_cents, tenor_days, outcome, chosen (place among the candidates, -1 none); each
    feature of the catalog by name (NaN: missing); `raw.<model>` and `pd_ppm.<model>` (-1: missing).
    """
    rows = evidence_rows(data, deployment)
    head = rows["head"]
    products = [product.id for product in deployment.platform.products]
    channels = [channel.id for channel in deployment.platform.channels]
    columns: dict[str, Any] = {
        "decision": _ids(head),
        "partition": head["partition"],
        "offset": head["offset"],
        "at": head["at"],
        "type": _named([kind.name.lower() for kind in EventType], head["type"]),
        "product": _named(products, head["product"]),
        "channel": _named(channels, head["channel"]),
        "amount_cents": head["amount_cents"],
        "tenor_days": head["tenor_days"],
        "outcome": _named([code.name.lower() for code in Outcome], head["outcome"]),
        "chosen": head["chosen"],
    }
    for name, column in deployment.catalog.columns.items():
        columns[name] = rows["features"][:, column]
    for place, info in enumerate(deployment.model_infos):
        columns[f"raw.{info.name}"] = rows["raw"][:, place]
        columns[f"pd_ppm.{info.name}"] = rows["pd_ppm"][:, place]
    return pl.DataFrame({name: _owned(values) for name, values in columns.items()})


def read_candidates(data: bytes, deployment: Deployment) -> pl.DataFrame:
    """Return one row for each policy that judged a request, in policy order within a decision.

    Columns: decision, policy, institution, outcome, terms of its offer (rank -1: no offer; pd_ppm
    -1: no score), reasons (codes by precedence) and rules (labels of those that fired).
    """
    rows = evidence_rows(data, deployment)
    count = rows["head"]["candidates"]
    judged = np.arange(deployment.policies.candidates_max)[None, :] < count[:, None]
    request, place = np.nonzero(judged)
    verdicts = rows["verdicts"][request, place]
    masks = rows["masks"][request, place]
    infos = deployment.policies.infos
    columns: dict[str, Any] = {
        "decision": _ids(rows["head"]).gather(request),
        "policy": _named([info.id for info in infos], verdicts["policy"]),
        "institution": _named(deployment.institution_ids, verdicts["institution"]),
        "outcome": _named([code.name.lower() for code in Outcome], verdicts["outcome"]),
    }
    columns |= {name: verdicts[name] for name in _TERMS}
    frame = pl.DataFrame({name: _owned(values) for name, values in columns.items()})
    codes = [reason.code for reason in REASONS]
    reasons = [_members(codes, int(mask)) for mask in verdicts["reasons"]]
    kinds = rows["head"]["type"][request]
    fired = [
        _members(
            [rule.label for rule in infos[policy].rules[_SECTION_OF[EventType(kind)]]],
            int.from_bytes(mask.tobytes(), "little"),
        )
        for policy, kind, mask in zip(verdicts["policy"], kinds, masks, strict=True)
    ]
    texts = pl.List(pl.String())
    return frame.with_columns(
        pl.Series("reasons", reasons, texts), pl.Series("rules", fired, texts)
    )


def evidence_rows(data: bytes, deployment: Deployment) -> np.ndarray[Any, np.dtype[np.void]]:
    """Return the records as they stand, read-only: head, features, raw, pd_ppm, verdicts, masks."""
    features = len(deployment.catalog.columns)
    models = len(deployment.model_infos)
    policies, words = deployment.policies.candidates_max, deployment.policies.rule_words
    layout = np.dtype(
        [
            ("head", EVIDENCE_HEAD),
            ("features", "<f8", (features,)),
            ("raw", "<f8", (models,)),
            ("pd_ppm", "<i8", (models,)),
            ("verdicts", VERDICT, (policies,)),
            ("masks", "<u8", (policies, words)),
        ]
    )
    assert layout.itemsize == 8 * evidence_words(features, models, policies, words)
    if len(data) % layout.itemsize:
        raise DipperError(
            f"evidence of {len(data)} bytes is no whole number of rows of {layout.itemsize}; "
            "read it with the deployment that decided"
        )
    return np.frombuffer(data, layout)


def _ids(head: np.ndarray[Any, Any]) -> pl.Series:
    both = zip(head["hi"].tolist(), head["lo"].tolist(), strict=True)
    return pl.Series("decision", [f"{hi:016x}{lo:016x}" for hi, lo in both], pl.String())


def _named(names: Sequence[str], codes: np.ndarray[Any, Any]) -> pl.Series:
    known = pl.Series(names, dtype=pl.String())
    place = pl.Series(codes.astype(np.int64))
    return known.gather(place.set(place < 0, None))


def _owned(values: Any) -> Any:
    # Columns of a record lie apart in memory; a frame wants them together.
    return np.ascontiguousarray(values) if isinstance(values, np.ndarray) else values


def _members(names: Sequence[str], mask: int) -> list[str]:
    return [name for bit, name in enumerate(names) if mask >> bit & 1]
