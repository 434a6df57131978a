"""Evidence as data frames: what stood behind each decision, read back from its binary rows.

The layout stands in `streams/codec/encode.py`; sizes follow from the deployment that decided, so
evidence is read with the deployment whose manifest the decision names.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from models.policy.arms import ARMS
from models.policy.reasons import CAPACITY, REASONS, SCORE_ABOVE_CUT_OFF
from streams.buffers import Array
from streams.codec.encode import evidence_words
from streams.deployment import Deployment, version_halves
from streams.errors import DipperError
from streams.limits import PPM
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
    -1: no score), arm (of an experiment, null: in none), propensity (the chance that it had of
    being approved at random, null where chance had no part), reasons (codes by precedence; of an
    approval only where chance overruled it) and rules (labels of those that fired).
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
    sections = [_SECTION_OF[EventType(kind)] for kind in rows["head"]["type"][request]]
    columns |= _chances(deployment, verdicts, np.array(sections, np.int64))
    frame = pl.DataFrame({name: _owned(values) for name, values in columns.items()})
    codes = [reason.code for reason in REASONS]
    reasons = [_members(codes, int(mask)) for mask in verdicts["reasons"]]
    fired = [
        _members(
            [rule.label for rule in infos[policy].rules[section]],
            int.from_bytes(mask.tobytes(), "little"),
        )
        for policy, section, mask in zip(verdicts["policy"], sections, masks, strict=True)
    ]
    texts = pl.List(pl.String())
    return frame.with_columns(
        pl.Series("reasons", reasons, texts), pl.Series("rules", fired, texts)
    )


def section_of(kind: EventType) -> int:
    """Return the section of a policy that decides a request of this kind."""
    return _SECTION_OF[kind]


def chances(deployment: Deployment, verdicts: Any, sections: Any) -> tuple[Any, Any]:
    """Return of each verdict whether its score alone was against it where chance may overrule that,
    and the chance, 0 to 1: both follow from the policy that it names. `sections` int64[verdicts].
    """
    tables = deployment.policies.tables
    section = tables.policies["section"][verdicts["policy"], sections]
    share = tables.sections["random_ppm"][section] / PPM
    refused = verdicts["reasons"] & ~np.uint64(1 << CAPACITY)
    return (refused == np.uint64(1 << SCORE_ABOVE_CUT_OFF)) & (share > 0), share


def _chances(deployment: Deployment, verdicts: Any, sections: Any) -> dict[str, Any]:
    """Return the columns arm and propensity."""
    arms = deployment.policies.tables.policies["arm"][verdicts["policy"]]
    part, share = chances(deployment, verdicts, sections)
    return {
        "arm": _named(ARMS, arms - 1),
        "propensity": pl.Series(share).set(pl.Series(~part), None),
    }


def evidence_layout(deployment: Deployment) -> np.dtype[np.void]:
    """Return the layout of one record: head, features, raw, pd_ppm, verdicts, masks."""
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
    return layout


def evidence_rows(
    data: bytes | Array, deployment: Deployment
) -> np.ndarray[Any, np.dtype[np.void]]:
    """Return the records as they stand, read-only (`evidence_layout`); `data` may be a file that
    is mapped into memory, uint8[bytes].

    `DipperError` where one is of another version, or was written with other columns.
    """
    if not _is_all_of(data, deployment):
        raise DipperError(
            f"evidence of {len(data)} bytes is not all of version {deployment.version} with its "
            "columns; read it with the deployment that decided"
        )
    return np.frombuffer(data, evidence_layout(deployment))


def _is_all_of(data: bytes | Array, deployment: Deployment) -> bool:
    layout = evidence_layout(deployment)
    if len(data) % layout.itemsize:
        return False
    heads = np.frombuffer(data, layout)["head"]
    low, _ = version_halves(deployment.version)
    return bool((heads["version"] == low).all() and (heads["bytes"] == layout.itemsize).all())


def own_evidence(data: bytes, deployment: Deployment) -> bytes:
    """Return the records that the deployment's own version wrote."""
    if _is_all_of(data, deployment):
        return data
    return _by_low_half(data).get(version_halves(deployment.version)[0], b"")


def split_evidence(data: bytes, deployment: Deployment) -> list[tuple[Deployment, bytes]]:
    """Return evidence by the version that decided, each with its records in their order.

    Versions come in the order in which they first decided; they are the deployment's own and those
    beside it. `VersionError` where one is not to be had.
    """
    if _is_all_of(data, deployment):
        return [(deployment, data)]
    own, _ = version_halves(deployment.version)
    return [
        (deployment if low == own else deployment.versions.by_low_half(low), records)
        for low, records in _by_low_half(data).items()
    ]


def _by_low_half(data: bytes) -> dict[int, bytes]:
    parts: dict[int, list[bytes]] = {}
    at = 0
    while at < len(data):
        whole = len(data) - at >= EVIDENCE_HEAD.itemsize
        head = np.frombuffer(data, EVIDENCE_HEAD, int(whole), at if whole else 0)
        length = int(head["bytes"][0]) if whole else 0
        if not EVIDENCE_HEAD.itemsize <= length <= len(data) - at:
            raise DipperError(f"evidence of {len(data)} bytes holds no record at byte {at}")
        parts.setdefault(int(head["version"][0]), []).append(data[at : at + length])
        at += length
    return {low: b"".join(records) for low, records in parts.items()}


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
