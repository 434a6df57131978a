"""Shadow: what other policies and models would have said, from the evidence of those that decided.

A fold outside of the path: nothing that it says reaches anybody. Where the shadow could not speak
(evidence of an unknown version, a column or a token that evidence lacks, no score, an institution
that it does not know) that is lost coverage, and never counts as agreement.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.policy.reasons import SCORE_MISSING
from models.policy.tables import columns_read
from streams.buffers import Array
from streams.counters import UNKNOWN
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.evidence import evidence_rows, split_evidence
from streams.schema import Outcome
from streams.study.compare import asked_of, score_panel
from streams.study.panel import Panel
from streams.study.rejudge import Judged, Trial, rejudge
from streams.study.tokens import no_tokens

UNREAD = ""  # the institution of evidence that could not be read at all
_LENDS = (int(Outcome.APPROVED), int(Outcome.CAPACITY))  # the policy said yes, money or not


class Said(StrEnum):
    """How a verdict of the shadow stands to the one that counted; the last three are lost."""

    BOTH = "both"
    NEITHER = "neither"
    ONLY_LIVE = "only_live"
    ONLY_SHADOW = "only_shadow"
    ERROR = "error"  # evidence that cannot be read, or lacks what the shadow reads
    EMPTY = "empty"  # no score
    ABSENT = "absent"  # no policy of the shadow's for what was asked


LOST = (Said.ERROR, Said.EMPTY, Said.ABSENT)
AGREED = (Said.BOTH, Said.NEITHER)


class Seen(NamedTuple):
    """A record of `dipper.evidence`: its key, the applicant, and its value."""

    applicant: bytes
    value: bytes


class Shadow:
    """Takes evidence of `live` (with its versions), asks `other`; `said` counts by institution."""

    def __init__(self, live: Deployment, other: Deployment) -> None:
        self.said: Counter[tuple[str, Said]] = Counter()
        self._live = live
        self._other = other
        names = list(other.catalog.columns)
        self._read = {names[row] for row in columns_read(other.policies.tables)}
        self._read |= {name for info in other.model_infos for name in info.features}
        if len(other.policies.tables.listed):
            raise DipperError(
                f"{other.folder}: has lists of tokens, which evidence does not hold; a shadow"
                " cannot ask them, compare it by dipper replay --against"
            )

    def take(self, records: Iterable[Seen]) -> None:
        """Count some records of evidence, each once."""
        by_length: dict[int, list[Seen]] = {}
        for record in records:
            by_length.setdefault(len(record.value), []).append(record)
        for alike in by_length.values():
            self._take_alike(alike)

    def _take_alike(self, records: Sequence[Seen]) -> None:
        """Count records together or, where they are not all readable, each by itself."""
        try:
            parts = split_evidence(b"".join(record.value for record in records), self._live)
        except DipperError:
            parts = []
        if len(parts) != 1:
            if len(records) == 1:
                self.said[UNREAD, Said.ERROR] += 1
            else:
                for record in records:
                    self._take_alike([record])
            return
        ((live, data),) = parts
        ids = pl.DataFrame({"applicant": [record.applicant.decode() for record in records]})
        self._compare(Panel(live, ids, evidence_rows(data, live)))

    def _compare(self, panel: Panel) -> None:
        features = self._features(panel)
        if features is None:
            self._lose(panel)
            return
        self._count(panel, self._judge(panel, features))

    def _judge(self, panel: Panel, features: NDArray[np.float64]) -> Judged:
        other = self._other
        raw, pd_ppm = score_panel(panel, other, features, recorded=False)
        blocked = np.zeros((len(features), max(1, len(other.institutions))), np.uint8)
        asked = asked_of(panel, other)
        return rejudge(other.policies, Trial(asked, features, raw, pd_ppm, blocked, no_tokens()))

    def _features(self, panel: Panel) -> NDArray[np.float64] | None:
        """Return the shadow's columns by name; None where one that it reads was not computed."""
        mine, theirs = panel.deployment.catalog, self._other.catalog
        names = list(theirs.columns)
        same = {
            name
            for name in names
            if name in mine.columns
            and mine.definition_hashes[name] == theirs.definition_hashes[name]
        }
        if not self._read <= same:
            return None
        features = np.full((len(panel.rows), len(names)), np.nan)
        for name in same:
            place = mine.columns[name]
            features[:, theirs.columns[name]] = panel.rows["features"][:, place]
        return features

    def _lose(self, panel: Panel) -> None:
        for row in panel.rows:
            for verdict in row["verdicts"][: row["head"]["candidates"]]:
                name = panel.deployment.institution_ids[verdict["institution"]]
                self.said[name, Said.ERROR] += 1

    def _count(self, panel: Panel, judged: Judged) -> None:
        live, other = panel.deployment.institution_ids, self._other.institution_ids
        for place, row in enumerate(panel.rows):
            theirs = {
                other[verdict["institution"]]: verdict
                for verdict in judged.verdicts[place][: judged.count[place]]
            }
            for verdict in row["verdicts"][: row["head"]["candidates"]]:
                name = live[verdict["institution"]]
                self.said[name, _stand(verdict, theirs.get(name))] += 1

    def counts(self) -> dict[tuple[str, str], int]:
        """Return for a scrape how often each was said of each institution, zeros too; what stands
        under UNREAD is shown as `unknown`.
        """
        names = (UNREAD, *self._live.institution_ids)
        return {
            (name or UNKNOWN, said.value): self.said[name, said] for name in names for said in Said
        }

    def table(self) -> pl.DataFrame:
        """Return one row an institution: judged (verdicts that counted), covered, coverage, each
        of `Said`, and agreement: of those covered alone, null where none is.
        """
        rows = []
        for name in sorted({institution for institution, _ in self.said}):
            counts = {said.value: self.said[name, said] for said in Said}
            judged = sum(counts.values())
            covered = judged - sum(counts[said] for said in LOST)
            agreed = sum(counts[said] for said in AGREED)
            rows.append(
                {"institution": name, "judged": judged, "covered": covered}
                | {"coverage": covered / judged, "agreement": agreed / covered if covered else None}
                | counts
            )
        return pl.DataFrame(rows, schema=_SCHEMA)


_SCHEMA = {
    "institution": pl.String(),
    "judged": pl.Int64(),
    "covered": pl.Int64(),
    "coverage": pl.Float64(),
    "agreement": pl.Float64(),
} | {said.value: pl.Int64() for said in Said}


def _stand(live: Array, shadow: Array | None) -> Said:
    if shadow is None:
        return Said.ABSENT
    if int(shadow["reasons"]) >> SCORE_MISSING & 1:
        return Said.EMPTY
    both = int(live["outcome"]) in _LENDS, int(shadow["outcome"]) in _LENDS
    return {
        (True, True): Said.BOTH,
        (False, False): Said.NEITHER,
        (True, False): Said.ONLY_LIVE,
        (False, True): Said.ONLY_SHADOW,
    }[both]
