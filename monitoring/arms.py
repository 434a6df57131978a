"""What each arm of an experiment decided: verdicts by champion and challenger, and those that the
random arm let in.

Everybody is counted in the arm whose policy judged, whether its offer won or not, so the arms
differ by chance alone; who was approved by chance below the cut-off is counted `at_random` besides.
"""

from collections import Counter
from typing import Any

import numpy as np

from models.policy.arms import ARMS, CHALLENGER_MARK
from streams.deployment import Deployment
from streams.evidence import chances, section_of
from streams.schema import EventType, Outcome

AT_RANDOM = "at_random"
VERDICTS = ("declined", "approved")

Arm = tuple[str, str, str]
"""Institution, experiment (the champion's policy), arm."""


class Arms:
    """Counts verdicts of `dipper.evidence`: `decided` by arm and verdict, from 0 for each arm that
    the deployment has.
    """

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        infos, tables = deployment.policies.infos, deployment.policies.tables
        self._names = [
            (deployment.institution_ids[info.institution], info.id.removesuffix(CHALLENGER_MARK))
            for info in infos
        ]
        self._arms = tables.policies["arm"][: len(infos)].tolist()
        self.decided: Counter[tuple[str, str, str, str]] = Counter()
        for place, (names, arm) in enumerate(zip(self._names, self._arms, strict=True)):
            if arm:
                for verdict in VERDICTS:
                    self.decided[*names, ARMS[arm - 1], verdict] = 0
            sections = [row for row in tables.policies["section"][place].tolist() if row >= 0]
            if tables.sections["random_ppm"][sections].any():
                self.decided[*names, AT_RANDOM, "approved"] = 0

    def take(self, rows: Any) -> None:
        """Count the verdicts of records of evidence, as `evidence_rows` gives them."""
        if not self.decided:
            return
        for kind in EventType.APPLICATION, EventType.DRAWDOWN:
            mine = rows[rows["head"]["type"] == kind]
            shown = np.arange(mine["verdicts"].shape[1])[None, :]
            verdicts = mine["verdicts"][shown < mine["head"]["candidates"][:, None]]
            for names in (arm for one in verdicts for arm in self.of(one, int(kind))):
                self.decided[names] += 1

    def of(self, verdict: Any, kind: int) -> list[tuple[str, str, str, str]]:
        """Return the arms that one verdict on an event of `kind` counts in, with what it said."""
        names = self._names[int(verdict["policy"])]
        approved = int(verdict["outcome"]) == Outcome.APPROVED
        arm = self._arms[int(verdict["policy"])]
        found = [(*names, ARMS[arm - 1], VERDICTS[approved])] if arm else []
        if approved:
            sections = np.array([section_of(EventType(kind))])
            by_chance, _ = chances(self._deployment, np.array([verdict]), sections)
            if by_chance[0]:
                found.append((*names, AT_RANDOM, VERDICTS[approved]))
        return found
