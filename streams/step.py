"""Stages 2 to 10 as one function: bytes in, bytes out, no I/O, no clock, no randomness.

`live` and `replay` differ in source and sink only; recovery is a third use of the same step with
its output off.

    fill `step.batch`  ->  decode  ->  waves of rows (admit, enrich, derive; score; decide, reserve,
    record, encode)  ->  read `step.out`
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from features.tables import make_scratch as make_feature_scratch
from models.policy.tables import make_scratch as make_policy_scratch
from models.tables import make_scratch as make_score_scratch
from streams.buffers import Array, Out, clear_batch, make_batch, make_out
from streams.codec.decode import decode, read_raw
from streams.codec.encode import evidence_words, make_stage
from streams.core import Core, make_work
from streams.counters import SLOW, places, size
from streams.deployment import Deployment, version_halves
from streams.funding.segments import write_segments
from streams.schema import EventType, Lane, Refusal
from streams.state.tables import State, make_state
from streams.wave import run_waves

Verify = Callable[[int, bytes, int], bool]
"""Whether a record bears a good signature: its partition, its bytes, its offset."""


def make_core(deployment: Deployment, state: State, partitions: int) -> Core:
    """Take the tables and the memory with which a deployment decides on a state."""
    columns = len(deployment.catalog.columns)
    models = len(deployment.model_infos)
    candidates = deployment.policies.candidates_max
    words = deployment.policies.rule_words
    stage = make_stage(columns, models, candidates, words)
    stage.head["bytes"] = stage.bytes.nbytes
    stage.head["version"] = version_halves(deployment.version)[0]
    write_segments(state, deployment.segments, deployment.institution_ids)
    return Core(
        state,
        deployment.catalog.tables,
        make_feature_scratch(deployment.catalog.tables),
        deployment.models,
        make_score_scratch(deployment.models),
        deployment.policies.tables,
        make_policy_scratch(deployment.policies.tables),
        deployment.names(partitions),
        stage,
        make_work(
            columns,
            models,
            candidates,
            words,
            [int(product.kind == "line") for product in deployment.platform.products],
            deployment.catalog.window_ms_max,
            8 * evidence_words(columns, models, candidates, words),
            deployment.limits,
            places(deployment.dimensions),
        ),
    )


def version_name(row: Any, prefix: str = "") -> str:
    """Return the version whose halves stand in a row, as 32 hex digits."""
    return f"{int(row[prefix + 'hi']):016x}{int(row[prefix + 'lo']):016x}"


class Step:
    """The step of one partition: its state and its memory, taken here once."""

    def __init__(
        self,
        deployment: Deployment,
        partition: int,
        partitions: int,
        verify: Verify,
    ) -> None:
        """Take all memory of `partition` of `partitions`; `verify` checks the signature of a
        record: its bytes, partition, offset.
        """
        limits = deployment.limits
        self.deployment = deployment  # as it stands in its folder, whichever version is live
        self.partition = partition
        self.batch = make_batch(limits)
        self.out = make_out(limits)
        self._verify = partial(verify, partition)
        self._skips = deployment.skips.get(partition, ())
        institutions = len(deployment.institutions)
        counters = size(deployment.dimensions)
        segments = len(deployment.segments)
        state = make_state(limits, institutions, partition, partitions, counters, segments)
        state.versions[0] = version_halves(deployment.version)
        self.live = deployment
        self.core = make_core(deployment, state, partitions)

    @property
    def counters(self) -> Array:
        """Return the array that `streams.counters.layout` describes."""
        return self.core.state.counters

    @property
    def state(self) -> State:
        """Return the tables of this partition."""
        return self.core.state

    def mute(self, *, on: bool) -> None:
        """Switch the output off (to fold a log into state) or on again."""
        self.core.state.partition[0]["mute"] = int(on)

    def run(self) -> Iterator[Out]:
        """Decide the batch; yield the output as often as it must be handed over, then empty both.

        The same `Out` each time: read it before going on. Input rows that its dead letters point at
        stay until the end.
        """
        batch, out = self.batch, self.out
        rows = int(batch.used[0])
        skipped = self._hide_skipped(rows) if self._skips else ()
        if skipped:
            batch.used[2] = 0  # what is hidden must not be known from before
        decode(self.deployment.symbols, self.deployment.fields, batch, self._verify)
        for row, length in skipped:
            batch.value_len[row] = length
            batch.events[row]["refusal"] = Refusal.SKIPPED
        self.counters[SLOW] += int((batch.events["lane"][:rows] == Lane.SLOW).sum())
        done = 0
        for stop in [*self._version_rows(rows), rows]:
            self._follow_version()
            known = min(stop, int(batch.used[2]))
            if known > done and len(self.core.policies.listed):
                read_raw(self.deployment.symbols, batch, done, known)  # lists ask for tokens
            while done < stop:
                done = run_waves(self.core, batch, out, done, stop)
                yield out
                out.used[:] = 0
        self._follow_version()
        clear_batch(batch)

    def _version_rows(self, rows: int) -> list[int]:
        """Return the rows after those that could change the version: the tables change there.

        Of what is prepared the versions are told, so that they are at hand when they go live.
        """
        events = self.batch.events[:rows]
        for row in np.flatnonzero(events["type"] == EventType.PREPARE).tolist():
            if events[row]["signature_ok"] == 1:
                self.deployment.versions.prepare(version_name(events[row], "reference_"))
        return [row + 1 for row in np.flatnonzero(events["type"] == EventType.ACTIVATE).tolist()]

    def _follow_version(self) -> None:
        """Decide by the version that the state says is live; `VersionError` where it is not to be
        had: then this partition must not go on.
        """
        state = self.core.state
        name = version_name(state.versions[int(state.partition[0]["version"])])
        if name == self.live.version:
            return
        self.live = self.deployment
        if name != self.deployment.version:
            self.live = self.deployment.versions.get(name)
        self.core = make_core(self.live, state, int(state.partition[0]["count"]))

    def _hide_skipped(self, rows: int) -> list[tuple[int, int]]:
        """Hide the bytes of records on the skip list from every kernel; return rows and lengths."""
        batch = self.batch
        found = np.flatnonzero(np.isin(batch.offset[:rows], self._skips)).tolist()
        hidden = [(row, int(batch.value_len[row])) for row in found]
        batch.value_len[found] = -1
        return hidden
