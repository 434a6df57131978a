"""Two policies on one past: every request's answer on both sides, and why they differ.

1. Replay the log under A. 2. In mode *frozen* judge each request again under B on the features as A
saw them, with the money as A saw it; in mode *closed* replay the log under B too, so that B lives
with its own offers, lines and loans. 3. Swap one part after the other from A to B; the part after
which the answer is B's for good is the cause of the difference.

Take-up is held constant in both: whether an applicant accepts, draws and repays stands in the log.
"""

import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.score import score_rows
from streams.buffers import Array
from streams.config import load_deployment
from streams.deployment import Deployment
from streams.replay import Progress, ReplayResult, replay
from streams.study.grid import Ground
from streams.study.panel import Panel, answers, asks_who, make_panel, named
from streams.study.rejudge import Judged, Trial, rejudge
from streams.study.tokens import read_tokens

CHUNK_ROWS = 65_536
ANSWER = ("approved", "institution", "amount_cents", "rate_bps", "apr_bps", "outcome", "reasons")


class Mode(StrEnum):
    """How B is asked."""

    FROZEN = "frozen"
    CLOSED = "closed"


class Cause(StrEnum):
    """What made an answer differ, in the order in which parts are swapped."""

    DATA = "data"
    FEATURES = "features"
    MODEL = "model"
    POLICY = "policy"
    FUNDING = "funding state"


TOLD = {
    Mode.FROZEN: "frozen: B decides each request on the state as A left it; take-up held constant",
    Mode.CLOSED: "closed loop: B lives with its own offers, lines and leases; what applicants did"
    " stands in the log, so take-up is held constant",
}


@dataclass(frozen=True)
class Comparison:
    """Both sides' answers. `a` and `b` are what stood behind them, in the order of `rows`."""

    mode: Mode
    rows: pl.DataFrame
    """One row a request: place (in the panel of `ground`, null: not there), id, applicant, request,
    line, at, type, product, channel, amount_cents, tenor_days, `answers` of both sides as a_… and
    b_…, same, cause (null where same), bad (null where not known)."""
    panel: Panel
    deployment_b: Deployment
    judged_a: Judged
    judged_b: Judged
    result: ReplayResult
    seconds: float
    """From opening the source to the answers of both."""
    remarks: list[str]
    """What of the log and the labels is worth saying."""
    ground: Callable[[], Ground]
    """Gives what B's policies can be tried on under other settings (`streams.study.grid`)."""

    def only(self, keep: pl.Series) -> "Comparison":
        """Return the comparison of those requests for which `keep` is true."""
        mask = keep.fill_null(value=False).to_numpy()
        return replace(
            self,
            rows=self.rows.filter(keep),
            panel=Panel(self.panel.deployment, self.panel.ids.filter(keep), self.panel.rows[mask]),
            judged_a=self.judged_a.only(mask),
            judged_b=self.judged_b.only(mask),
        )


def compare(
    events: str | Path | pl.DataFrame,
    a: Path | Deployment,
    b: Path | Deployment,
    *,
    mode: Mode = Mode.FROZEN,
    labels: pl.DataFrame | None = None,
    partitions: int | None = None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Comparison:
    """Replay `events` under A and compare with B; `labels` as `models.train.dataset.read_labels`.

    Raises what `streams.replay.replay` raises.
    """
    started = time.monotonic()
    # All columns, whatever each side reads: B may ask for what A did not.
    sides = [
        each if isinstance(each, Deployment) else load_deployment(each, features="all")
        for each in (a, b)
    ]
    result = replay_to_files(events, sides[0], partitions, on_progress)
    panel = make_panel(result)
    other = None
    if mode is Mode.CLOSED or sides[0].catalog.sha256 != sides[1].catalog.sha256:
        result_b = replay_to_files(events, sides[1], partitions)
        other = make_panel(result_b)
    chain = _Chain(panel, sides[1], other, events)
    steps, last, side_b = chain.steps()
    ground: Callable[[], Ground] = partial(_frozen_ground, chain, result)
    if mode is Mode.CLOSED:
        assert other is not None
        ground = partial(own_ground, other, result_b, events)
        last = _aligned(panel, other)
        side_b = answers(last, sides[1], "b_")
        steps.append((Cause.FUNDING, _key(side_b, "b_")))
    rows = _rows(panel, steps, side_b)
    if mode is Mode.CLOSED:
        assert other is not None
        rows = _mark_missing(rows, panel, other)
    rows = with_labels(rows, labels)
    remarks = result.remarks() + label_remarks(rows, labels)
    seconds = time.monotonic() - started
    return Comparison(
        mode, rows, panel, sides[1], panel.judged, last, result, seconds, remarks, ground
    )


def replay_to_files(
    events: str | Path | pl.DataFrame,
    deployment: Deployment,
    partitions: int | None,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> ReplayResult:
    """Replay into files that live as long as the result: evidence of a large log fits no memory."""
    folder = tempfile.mkdtemp(prefix="dipper-study-")
    try:
        result = replay(
            events, deployment, partitions=partitions, out=folder, on_progress=on_progress
        )
    except BaseException:
        shutil.rmtree(folder)
        raise
    weakref.finalize(result, shutil.rmtree, folder, ignore_errors=True)
    return result


def with_labels(rows: pl.DataFrame, labels: pl.DataFrame | None) -> pl.DataFrame:
    """Join outcomes by applicant and request; `bad` is null where none is known."""
    if labels is None:
        return rows.with_columns(pl.lit(None, pl.Int8).alias("bad"))
    known = labels.select("applicant", pl.col("id").alias("request"), pl.col("bad").cast(pl.Int8))
    return rows.join(known, on=("applicant", "request"), how="left", maintain_order="left")


def label_remarks(rows: pl.DataFrame, labels: pl.DataFrame | None) -> list[str]:
    """Return what is worth saying of labels that met no request of `rows` (`with_labels`)."""
    if labels is None:
        return []
    keys = rows.select("applicant", pl.col("request").alias("id"))
    unmet = labels.join(keys, on=("applicant", "id"), how="anti").height
    if not unmet:
        return []
    whose = "none does: are they of another log?" if unmet == labels.height else "they say nothing"
    return [f"{unmet:,} of {labels.height:,} labels meet no request of this log; {whose}"]


def score_panel(
    panel: Panel, deployment: Deployment, features: NDArray[np.float64], *, recorded: bool
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return raw scores and PDs [n, models] of `deployment`, from evidence where the model is one
    that stood behind it and `features` are those recorded.
    """
    models = deployment.model_infos
    raw = np.zeros((len(features), len(models)))
    pd_ppm = np.full((len(features), len(models)), -1, np.int64)
    mine = {info.sha256: place for place, info in enumerate(panel.deployment.model_infos)}
    if recorded and all(info.sha256 in mine for info in models):
        for place, info in enumerate(models):
            raw[:, place] = panel.rows["raw"][:, mine[info.sha256]]
            pd_ppm[:, place] = panel.rows["pd_ppm"][:, mine[info.sha256]]
        return raw, pd_ppm
    for first in range(0, len(features), CHUNK_ROWS):
        part = slice(first, first + CHUNK_ROWS)
        scores = score_rows(deployment.models, np.ascontiguousarray(features[part]))
        raw[part], pd_ppm[part] = scores[0].T, scores[1].T
    return raw, pd_ppm


def asked_of(panel: Panel, b: Deployment) -> Array:
    """Return the requests of a panel in B's codes of products, channels and institutions, and with
    B's hashes of applicants where it looks at them.
    """
    asked = panel.asked.copy()
    own = panel.deployment
    for name, mine, theirs in (
        ("product", [p.id for p in own.platform.products], [p.id for p in b.platform.products]),
        ("channel", [c.id for c in own.platform.channels], [c.id for c in b.platform.channels]),
        ("institution", own.institution_ids, b.institution_ids),
    ):
        # What B does not know fits no policy of B's.
        codes = np.array([theirs.index(each) if each in theirs else -2 for each in mine] or [-2])
        asked[name] = np.where(asked[name] < 0, asked[name], codes[asked[name]])
    unknown = (asked["product"] == -2) | (asked["channel"] == -2) | (asked["institution"] == -2)
    asked["product"][unknown] = -1
    if asks_who(b):
        asked["applicant_hash"] = panel.applicant_hashes(b)
    return asked


def _frozen_ground(chain: "_Chain", result: ReplayResult) -> Ground:
    return Ground(chain.panel, result, chain.b, chain.trial())


def own_ground(panel: Panel, result: ReplayResult, events: str | Path | pl.DataFrame) -> Ground:
    """Return what the policies of a replay can be tried on under other settings: that replay."""
    own = panel.deployment
    trial = Trial(
        asked_of(panel, own),
        panel.rows["features"],
        panel.rows["raw"],
        panel.rows["pd_ppm"],
        panel.blocked(own.institution_ids),
        read_tokens(events, panel.ids, own),
    )
    return Ground(panel, result, own, trial)


class _Chain:
    """The answers between A and B: features, then models, then policies are B's."""

    def __init__(
        self,
        panel: Panel,
        b: Deployment,
        other: Panel | None,
        events: str | Path | pl.DataFrame,
    ) -> None:
        self.panel, self.b, self.other, self.events = panel, b, other, events
        self.own = panel.deployment

    @cached_property
    def _asked_a(self) -> tuple[Array, Array]:
        """Requests and their tokens as A knows them: few comparisons judge by A again."""
        return asked_of(self.panel, self.own), read_tokens(self.events, self.panel.ids, self.own)

    def steps(self) -> tuple[list[tuple[Cause, pl.Series]], Judged, pl.DataFrame]:
        """Return what is answered after each swap, in order, as the keys of those answers; and what
        all of B but its money says, with its answers as b_….

        A swap that changes nothing is left out.
        """
        features_a, features_b = self._features()
        raw_a, pd_a = self._own_scores(features_a)
        steps = []
        blocked = self.panel.blocked(self.own.institution_ids)

        def own() -> pl.Series:
            asked, tokens = self._asked_a
            trial = Trial(asked, features_a, raw_a, pd_a, blocked, tokens)
            judged = rejudge(self.own.policies, trial)
            return _key(answers(judged, self.own, ""), "")

        if self.other is not None:
            steps.append((Cause.FEATURES, own()))
        raw_b, pd_b = score_panel(self.panel, self.b, features_b, recorded=self.other is None)
        names = {info.name: info.sha256 for info in self.own.model_infos}
        if any(names.get(info.name) not in {None, info.sha256} for info in self.b.model_infos):
            places = {info.name: place for place, info in enumerate(self.b.model_infos)}
            for place, info in enumerate(self.own.model_infos):
                if info.name in places:
                    raw_a[:, place] = raw_b[:, places[info.name]]
                    pd_a[:, place] = pd_b[:, places[info.name]]
            steps.append((Cause.MODEL, own()))
        judged = rejudge(self.b.policies, self._trial_b(features_b, raw_b, pd_b))
        said = answers(judged, self.b, "b_")
        steps.append((Cause.POLICY, _key(said, "b_")))
        return steps, judged, said

    def trial(self) -> Trial:
        """Return what B's policies are asked, on the state as A left it."""
        _, features = self._features()
        return self._trial_b(
            features, *score_panel(self.panel, self.b, features, recorded=self.other is None)
        )

    def _trial_b(
        self, features: NDArray[np.float64], raw: NDArray[np.float64], pd_ppm: NDArray[np.int64]
    ) -> Trial:
        blocked = self.panel.blocked(self.b.institution_ids)
        tokens = read_tokens(self.events, self.panel.ids, self.b)
        return Trial(asked_of(self.panel, self.b), features, raw, pd_ppm, blocked, tokens)

    def _features(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the features as B defines them: in A's columns, and in B's."""
        if self.other is None:
            return self.panel.rows["features"], self.panel.rows["features"]
        mine = np.array(self.panel.rows["features"])
        order = _places(self.panel, self.other)
        found = np.flatnonzero(order >= 0)
        theirs = np.full((len(mine), len(self.b.catalog.columns)), np.nan)
        theirs[found] = self.other.rows["features"][order[found]]
        for name, column in self.own.catalog.columns.items():
            place = self.b.catalog.columns.get(name)
            if place is not None:
                mine[found, column] = theirs[found, place]
                missing = np.flatnonzero(order < 0)
                theirs[missing, place] = mine[missing, column]
        return mine, theirs

    def _own_scores(
        self, features: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        if self.other is None:
            return np.array(self.panel.rows["raw"]), np.array(self.panel.rows["pd_ppm"])
        raw, pd_ppm = score_rows(self.own.models, features)
        return np.ascontiguousarray(raw.T), np.ascontiguousarray(pd_ppm.T)


def _places(panel: Panel, other: Panel) -> NDArray[np.int64]:
    """Return, for each request of `panel`, its row in `other`; -1 where it has none."""
    found = panel.ids.select("applicant", "request").join(
        other.ids.select("applicant", "request").with_row_index("place"),
        on=("applicant", "request"),
        how="left",
        maintain_order="left",
    )
    return found["place"].cast(pl.Int64).fill_null(-1).to_numpy()


def _aligned(panel: Panel, other: Panel) -> Judged:
    """Return what `other` answered, in the order of `panel`; nothing where it has no such row."""
    order = _places(panel, other)
    judged, missing = other.judged, order < 0
    count = np.where(missing, 0, judged.count[order])
    chosen = np.where(missing, -1, judged.chosen[order])
    return Judged(judged.verdicts[order], judged.masks[order], count, chosen)


def _mark_missing(rows: pl.DataFrame, panel: Panel, other: Panel) -> pl.DataFrame:
    """Give the cause `data` to requests that only one side has decided."""
    places = pl.Series(_places(panel, other))
    missing = places < 0
    return rows.with_columns(
        place=places.set(missing, None),
        cause=pl.when(missing).then(pl.lit(Cause.DATA.value)).otherwise(pl.col("cause")),
        same=pl.col("same") & ~missing,
    )


def _rows(panel: Panel, steps: list[tuple[Cause, pl.Series]], side_b: pl.DataFrame) -> pl.DataFrame:
    head, own = panel.rows["head"], panel.deployment
    side_a = answers(panel.judged, own, "a_")
    keys = [_key(side_a, "a_"), *(key for _, key in steps)]
    cause = _causes(keys, [cause for cause, _ in steps])
    request = pl.DataFrame(
        {
            "place": np.arange(len(head)),
            "at": np.ascontiguousarray(head["at"]),
            "type": np.where(panel.asked["section"] == 1, "drawdown", "application"),
            "product": named([p.id for p in own.platform.products], head["product"]),
            "channel": named([c.id for c in own.platform.channels], head["channel"]),
            "amount_cents": np.ascontiguousarray(head["amount_cents"]),
            "tenor_days": np.ascontiguousarray(head["tenor_days"]),
        }
    )
    return pl.concat([panel.ids, request, side_a, side_b], how="horizontal").with_columns(
        same=cause.is_null(), cause=cause
    )


def _key(frame: pl.DataFrame, prefix: str) -> pl.Series:
    """Return a 64-bit hash of each answer: two that differ share one once in 10^19."""
    return frame.select(pl.col(prefix + name).alias(name) for name in ANSWER).hash_rows()


def _causes(keys: list[pl.Series], causes: list[Cause]) -> pl.Series:
    """Return the first cause after which the answer is the last one's to the end; null: no change.

    The answer need not be new for its reasons alone: what is compared is all of ANSWER.
    """
    final = keys[-1]
    cause = pl.Series("cause", [None] * len(final), pl.String())
    # From the end: the latest step before which the answer was another.
    open_ = pl.Series([True] * len(final))
    for step in range(len(causes), 0, -1):
        differs = open_ & (keys[step - 1] != final)
        cause = cause.zip_with(~differs, pl.Series([causes[step - 1].value] * len(final)))
        open_ &= ~differs
    return cause


def impact(comparison: Comparison) -> Mapping[str, Any]:
    """Return what a change of policy does to who is approved."""
    rows = comparison.rows
    old, new = rows["a_approved"], rows["b_approved"]
    return {
        "requests": rows.height,
        "flipped_to_approve": int((~old & new).sum()),
        "flipped_to_decline": int((old & ~new).sum()),
        "approval_rate_before": float(old.mean() or 0.0),  # type: ignore[arg-type]
        "approval_rate_after": float(new.mean() or 0.0),  # type: ignore[arg-type]
        "causes": dict(
            rows.filter(pl.col("cause").is_not_null())["cause"].value_counts(sort=True).iter_rows()
        ),
    }
