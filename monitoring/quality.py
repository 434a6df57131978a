"""Are the decisions still good? Drift, segments, fees and outcomes, from evidence and loans alone.

Everything is a fold over the log: read it anew, and the same figures stand there. What is repeated
in `dipper.evidence` counts once, by the decision's id.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from prometheus_client.core import Metric as Samples
from prometheus_client.registry import Collector

from models.reference import Reference, make_reference
from monitoring import metrics
from monitoring.arms import Arms
from monitoring.collector import counts, gauges
from monitoring.drift import DriftWindow
from monitoring.outcomes import Outcomes, Told
from streams.config import columns_of
from streams.deployment import Deployment
from streams.evidence import evidence_rows, own_evidence
from streams.schema import EventType

REMEMBERED_IDS = 200_000  # far more than a producer repeats after a failure
MISSING = "missing"
_VERDICTS = ("declined", "approved")


class _Watched(NamedTuple):
    """A model: its place in the evidence, its features' columns, products that use it, window."""

    place: int
    columns: list[int]
    products: frozenset[int]
    window: DriftWindow | None


class DecisionQuality:
    """Takes the deployment whose decisions are watched; `pace` as in `Outcomes`."""

    def __init__(self, deployment: Deployment, pace: float = 1.0) -> None:
        self.outcomes = Outcomes(pace)
        self.arms = Arms(deployment)
        self.decisions = self.repeated = 0
        self.fees: Counter[str] = Counter()
        self.segments: Counter[tuple[str, str, str]] = Counter()
        self._deployment = deployment
        self._ids: OrderedDict[tuple[int, int], None] = OrderedDict()
        self._models = {
            info.name: _watched(deployment, place)
            for place, info in enumerate(deployment.model_infos)
        }
        self._categories = {
            name: (column.row, {code: value for value, code in column.categories.items()})
            for name, column in columns_of(deployment.catalog).items()
            if column.categories is not None
        }
        documents = [info.document for info in deployment.policies.infos]
        self._policies = [
            (each.application.model, each.drawdown.model if each.drawdown else None)
            for each in documents
        ]

    @property
    def windows(self) -> dict[str, DriftWindow]:
        """Return the drift window of each model that has a reference."""
        return {name: each.window for name, each in self._models.items() if each.window is not None}

    def on_evidence(self, data: bytes) -> None:
        """Take in records of `dipper.evidence`, one after the other.

        What other versions of the policies decided is not measured against the models of this one.
        """
        rows = evidence_rows(own_evidence(data, self._deployment), self._deployment)
        heads = rows["head"]
        new = [self._is_new(ids) for ids in zip(heads["hi"].tolist(), heads["lo"].tolist(),
                                                strict=True)]  # fmt: skip
        rows = rows[np.array(new, bool)]
        self.decisions += len(rows)
        self.repeated += new.count(False)
        applied = rows[rows["head"]["type"] == EventType.APPLICATION]
        for each in self._models.values():
            if each.window is not None:
                mine = _scored(applied, each)
                each.window.add(mine["features"][:, each.columns], mine["raw"][:, each.place])
        for row in applied:
            verdict = _VERDICTS[int(row["head"]["chosen"] >= 0)]
            for name, (column, values) in self._categories.items():
                code = row["features"][column]
                value = MISSING if np.isnan(code) else values[int(code)]
                self.segments[name, value, verdict] += 1
        self.arms.take(rows)
        for row in rows[rows["head"]["chosen"] >= 0]:
            self._on_approval(row)

    def reference(self, data: bytes, model: str) -> Reference:
        """Return how features and score of a model lie in records of `dipper.evidence`, to pin them
        to it.
        """
        each = self._models[model]
        rows = evidence_rows(data, self._deployment)
        mine = _scored(rows[rows["head"]["type"] == EventType.APPLICATION], each)
        names = self._deployment.model_infos[each.place].features
        return make_reference(names, mine["features"][:, each.columns], mine["raw"][:, each.place])

    def on_loan(self, partition: int, event: Mapping[str, Any]) -> None:
        """Take in one loan event of `dipper.events`."""
        self.outcomes.on_loan(partition, event)

    def on_tick(self, partition: int, at: int) -> None:
        """Partition time has come to `at`, epoch ms."""
        self.outcomes.on_tick(partition, at)

    def _is_new(self, ids: tuple[int, int]) -> bool:
        if ids in self._ids:
            return False
        self._ids[ids] = None
        if len(self._ids) > REMEMBERED_IDS:
            self._ids.popitem(last=False)
        return True

    def _on_approval(self, row: Any) -> None:
        head, verdict = row["head"], row["verdicts"][row["head"]["chosen"]]
        institution = self._deployment.institution_ids[int(verdict["institution"])]
        self.fees[institution] += int(verdict["fee_cents"])
        section = int(head["type"]) != EventType.APPLICATION
        model = self._policies[int(verdict["policy"])][section]
        if model and verdict["pd_ppm"] >= 0:
            decision = f"{int(head['hi']):016x}{int(head['lo']):016x}"
            arms = tuple(arm[:3] for arm in self.arms.of(verdict, int(head["type"])))
            told = Told(model, int(verdict["pd_ppm"]), int(head["at"]), arms)
            self.outcomes.on_approval(decision, told)


def _scored(applied: Any, model: _Watched) -> Any:
    """Return the applications that a policy judges by this model."""
    return applied[np.isin(applied["head"]["product"], list(model.products))]


def _watched(deployment: Deployment, place: int) -> _Watched:
    info = deployment.model_infos[place]
    columns = [deployment.catalog.columns[name] for name in info.features]
    products = frozenset(
        policy.product
        for policy in deployment.policies.infos
        if policy.document.application.model == info.name
    )
    window = None
    if info.reference is not None:
        window = DriftWindow(info.reference, info.features)
    return _Watched(place, columns, products, window)


class AgentCollector(Collector):
    """Collects what the agents know: notices by what became of them and, if watched, the quality
    of decisions; `shadow`, where one runs, what it says by institution.

    Both are folds from the log's start: until `caught_up` says that what stood when they began is
    taken in, neither is shown, so that a restart is a gap and no storm.
    """

    def __init__(
        self,
        notices: Callable[[], Mapping[str, int]],
        quality: DecisionQuality | None,
        shadow: Callable[[], Mapping[tuple[str, str], int]] | None = None,
        caught_up: Callable[[], bool] = lambda: True,
    ) -> None:
        self._caught_up = caught_up
        self._notices = notices
        self._quality = quality
        self._shadow = shadow

    def collect(self) -> Iterator[Samples]:
        """Yield every metric of the agents that the catalogue names."""
        yield counts(metrics.NOTICES, [((name,), n) for name, n in self._notices().items()])
        if not self._caught_up():
            return
        if self._shadow is not None:
            yield counts(metrics.SHADOW, self._shadow().items())
        quality = self._quality
        if quality is None:
            return
        yield counts(metrics.WATCHED, [(("new",), quality.decisions),
                                       (("repeated",), quality.repeated)])  # fmt: skip
        yield counts(metrics.FEES, [((name,), fee) for name, fee in sorted(quality.fees.items())])
        yield counts(metrics.SEGMENTS, sorted(quality.segments.items()))
        yield from _arms(quality)
        yield from _drift(quality)
        yield from _outcomes(quality.outcomes)

    def describe(self) -> Iterator[Samples]:
        """Yield nothing: names come from the catalogue."""
        return iter(())


def _drift(quality: DecisionQuality) -> Iterator[Samples]:
    windows = quality.windows
    found = {name: window.readings() for name, window in windows.items()}
    each = [((name, one.column), one) for name, readings in found.items() for one in readings]
    rows = [((name,), window.rows) for name, window in windows.items()]
    yield gauges(metrics.DRIFT_ROWS, rows)
    yield gauges(metrics.PSI, [(labels, one.psi) for labels, one in each])
    yield gauges(metrics.PSI_NOISE, [(labels, one.noise) for labels, one in each])
    yield gauges(metrics.FEATURE_MISSING, [(labels, one.missing) for labels, one in each])
    yield gauges(
        metrics.FEATURE_MISSING_REFERENCE, [(labels, one.missing_reference) for labels, one in each]
    )


def _arms(quality: DecisionQuality) -> Iterator[Samples]:
    ended = sorted(quality.outcomes.arms.items())
    yield counts(metrics.ARM_DECIDED, sorted(quality.arms.decided.items()))
    yield counts(metrics.ARM_MATURED, [(labels, tally.loans) for labels, tally in ended])
    yield counts(metrics.ARM_BAD, [(labels, tally.bad) for labels, tally in ended])
    yield counts(metrics.ARM_EXPECTED, [(labels, tally.expected) for labels, tally in ended])


def _outcomes(outcomes: Outcomes) -> Iterator[Samples]:
    bands, cohorts = sorted(outcomes.bands.items()), sorted(outcomes.cohorts.items())
    yield counts(metrics.MATURED, [(labels, tally.loans) for labels, tally in bands])
    yield counts(metrics.MATURED_BAD, [(labels, tally.bad) for labels, tally in bands])
    yield counts(metrics.MATURED_EXPECTED, [(labels, tally.expected) for labels, tally in bands])
    yield counts(metrics.MATURED_VARIANCE, [(labels, tally.variance) for labels, tally in bands])
    yield gauges(metrics.VINTAGE, [(labels, tally.loans) for labels, tally in cohorts])
    yield gauges(metrics.VINTAGE_BAD, [(labels, tally.bad) for labels, tally in cohorts])
    quality = sorted(outcomes.quality().items())
    yield gauges(metrics.AUC, [(key, one.auc) for key, one in quality if one.auc is not None])
    yield gauges(metrics.KS, [(key, one.ks) for key, one in quality if one.ks is not None])
