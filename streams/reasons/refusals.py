"""What each lender that refused says, from one record of evidence: a pure function of its bytes.

1. A lender keeps its own reasons: those of its verdict, in order of precedence. 2. At most four
sentences, each once. 3. A refusal by score is told by the themes that raised the risk most, as many
as there is room for. 4. What is fraud is one sentence without a code, for everybody.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.policy.policies import PolicyInfo
from models.policy.reasons import REASONS, Reason
from streams.deployment import Deployment
from streams.evidence import evidence_rows, split_evidence
from streams.limits import REASONS_MAX
from streams.reasons.contributions import Contributions, Explainer, make_explainer
from streams.reasons.texts import NOT_VERIFIED, Texts, Theme, check_texts
from streams.schema import EventType, Outcome

_SCORE = "score_above_cut_off"


@dataclass(frozen=True)
class Cause:
    """One sentence. `code` as disclosed (`score_above_cut_off.income` for a theme), `own` the
    lender's word for it, `text` by language, `parts`: what each feature of the theme added to the
    raw score, and its value (None: missing); for a regulator.
    """

    code: str
    own: str
    text: Mapping[str, str]
    parts: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """One lender's refusal: class of outcome (fraud is told as `not_verified`), PD, and why."""

    decision: str
    institution: str
    policy: str
    policy_sha256: str
    model: str
    model_sha256: str
    outcome: str
    pd_ppm: int
    at: int
    causes: tuple[Cause, ...]


class Reasoner:
    """Explains evidence of a deployment and of the versions beside it (`streams.versions`).

    DipperError where a code or a feature has no text: of the deployment at the start.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._versions = {deployment.version: _VersionReasoner(deployment, deployment.folder)}

    def refusals(self, evidence: bytes, *, declined_only: bool = True) -> list[Refusal]:
        """Return the refusals behind records of evidence, in order of policies; of requests that
        nobody approved, or of all. Versions come in the order in which they first decided.
        """
        found = []
        for live, records in split_evidence(evidence, self._deployment):
            if live.version not in self._versions:
                self._versions[live.version] = _VersionReasoner(live, self._deployment.folder)
            found += self._versions[live.version].refusals(records, declined_only=declined_only)
        return found


class _VersionReasoner:
    """Explains evidence of one version; models are read once, when one is first asked for."""

    def __init__(self, deployment: Deployment, config: Path) -> None:
        self._deployment = deployment
        self._texts: Texts = check_texts(deployment, config)
        self._explainers: dict[int, Explainer] = {}
        self._models = {info.name: row for row, info in enumerate(deployment.model_infos)}

    def refusals(self, evidence: bytes, *, declined_only: bool) -> list[Refusal]:
        """Return the refusals behind records of this version's evidence."""
        return [
            refusal
            for row in evidence_rows(evidence, self._deployment)
            if not declined_only or row["head"]["outcome"] != Outcome.APPROVED
            for refusal in self._of(row)
        ]

    def _of(self, row: Any) -> list[Refusal]:
        columns = self._deployment.catalog.columns
        features = {name: float(row["features"][column]) for name, column in columns.items()}
        contributions: dict[int, Contributions] = {}
        found = []
        for verdict in row["verdicts"][: int(row["head"]["candidates"])]:
            if verdict["outcome"] == Outcome.APPROVED:
                continue
            info = self._deployment.policies.infos[int(verdict["policy"])]
            model = self._model(info, int(row["head"]["type"]))
            codes = [r for bit, r in enumerate(REASONS) if int(verdict["reasons"]) >> bit & 1]
            if any(reason.code == _SCORE for reason in codes) and model not in contributions:
                explain = self._explainer(model)
                contributions[model] = explain(features, float(row["raw"][model]))
            causes = self._causes(info, codes, contributions.get(model, {}), features)
            found.append(self._refusal(row["head"], verdict, info, model, causes))
        return found

    def _refusal(
        self, head: Any, verdict: Any, info: PolicyInfo, model: int, causes: tuple[Cause, ...]
    ) -> Refusal:
        outcome = Outcome(int(verdict["outcome"]))
        used = self._deployment.model_infos[model] if model >= 0 else None
        return Refusal(
            decision=f"{int(head['hi']):016x}{int(head['lo']):016x}",
            institution=self._deployment.institution_ids[int(verdict["institution"])],
            policy=info.id,
            policy_sha256=info.sha256,
            model=used.name if used else "",
            model_sha256=used.sha256 if used else "",
            outcome=NOT_VERIFIED if outcome is Outcome.FRAUD else outcome.name.lower(),
            pd_ppm=int(verdict["pd_ppm"]),
            at=int(head["at"]),
            causes=causes,
        )

    def _model(self, info: PolicyInfo, kind: int) -> int:
        document = info.document
        section = document.drawdown if kind == EventType.DRAWDOWN else document.application
        return self._models.get(section.model or "", -1) if section else -1

    def _explainer(self, model: int) -> Explainer:
        if model not in self._explainers:
            self._explainers[model] = make_explainer(self._deployment, model)
        return self._explainers[model]

    def _causes(
        self,
        info: PolicyInfo,
        reasons: list[Reason],
        contributions: Contributions,
        features: Mapping[str, float],
    ) -> tuple[Cause, ...]:
        ordinary = {self._text(reason) for reason in reasons if reason.code != _SCORE}
        room = max(1, REASONS_MAX - len(ordinary))
        told: dict[str, Cause] = {}
        for reason in reasons:
            if reason.code == _SCORE:
                causes = self._themes(info, contributions, features, room)
            else:
                causes = [self._plain(info, reason)]
            for cause in causes:
                told.setdefault(cause.text["en"], cause)
        return tuple(told.values())[:REASONS_MAX]

    def _plain(self, info: PolicyInfo, reason: Reason) -> Cause:
        # The lender's own word for fraud would disclose as much as the code.
        hidden = reason.outcome is Outcome.FRAUD
        code = NOT_VERIFIED if hidden else reason.code
        own = code if hidden else info.own_reasons.get(reason.code, reason.code)
        return Cause(code, own, self._texts.reasons[reason.code])

    def _text(self, reason: Reason) -> str:
        return self._texts.reasons[reason.code]["en"]

    def _themes(
        self,
        info: PolicyInfo,
        contributions: Contributions,
        features: Mapping[str, float],
        most: int,
    ) -> list[Cause]:
        """Return the themes that raised the risk most, at most so many; the plain reason where none
        did.
        """
        sums: dict[str, tuple[Theme, dict[str, float]]] = {}
        for name, value in contributions.items():
            theme = self._texts.theme(name)
            assert theme is not None, "checked at the start"
            sums.setdefault(theme.id, (theme, {}))[1][name] = value
        ranked = sorted(sums.values(), key=lambda each: (-sum(each[1].values()), each[0].id))
        own = info.own_reasons.get(_SCORE, _SCORE)
        causes = []
        for theme, parts in ranked[:most]:
            if sum(parts.values()) <= 0:
                break
            text = {"en": theme.en, "zh": theme.zh}
            if theme.undisclosed:
                causes.append(Cause(NOT_VERIFIED, NOT_VERIFIED, text))
                continue
            shown = {name: (part, _known(features[name])) for name, part in parts.items()}
            causes.append(Cause(f"{_SCORE}.{theme.id}", own, text, shown))
        plain = next(reason for reason in REASONS if reason.code == _SCORE)
        return causes or [self._plain(info, plain)]


def _known(value: float) -> float | None:
    return None if value != value else value  # noqa: PLR0124 NaN: missing
