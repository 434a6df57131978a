"""How fast the step is, bytes to bytes on one core, and whether it gave the right answer.

1. A population gets its history, and lines that it asked for and accepted: not timed.
2. The traffic to be measured lies ready in memory, batch by batch.
3. Each round runs it through a step that starts from there; timed is: copy into the batch, decode
   to encode.
4. Answers are checked: one decision for each request, nothing refused, money conserved, and the
   same bytes in every round, one of which has smaller batches; and the scores of the models equal
   LightGBM's, whose own batch prediction of the same vectors is timed beside it.
"""

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from models.lean_lightgbm import lgb
from models.score import score_rows
from streams.bench.allocations import run_counted
from streams.bench.deployment import model_name, write_deployment, write_model
from streams.bench.traffic import START_MS, Load, Record, Traffic, make_loads
from streams.buffers import Out
from streams.config import MODELS_FOLDER, load_deployment
from streams.control.records import ControlLog, Position
from streams.counters import DECIDED, REFUSED
from streams.deployment import Deployment
from streams.errors import DipperError
from streams.schema import EVIDENCE_HEAD, Outcome, Refusal
from streams.step import Step
from streams.topology import OUT_DECISION, OUT_EVIDENCE

BATCH_ROWS = 4_096
OTHER_BATCH_ROWS = 1_000
TRAINING_APPLICANTS = 4_000
KINDS = {"requests": 1.0, "mixed": 0.1}  # traffic: share of requests in it


class Size(NamedTuple):
    """What is measured: events a round, the population and its history, the model, timed rounds;
    who lends, with how many rules and models, and the share of events that one applicant sends.
    """

    events: int = 200_000
    applicants: int = 50_000
    history: int = 20
    trees: int = 200
    leaves: int = 31
    rounds: int = 3
    institutions: int = 1
    rules: int = 5
    models: int = 1
    hot_share: float = 0.0


class Result(NamedTuple):
    """One kind of traffic, measured; figures are those of the fastest round.

    Rates and `us_per_...` are by the wall clock; `cpu_us_per_event` is the time that the processor
    spent, which says the same on an idle machine and more on a busy one.
    """

    traffic: str
    events: int
    requests: int
    approved: int
    events_per_second: float
    requests_per_second: float
    us_per_event: float
    us_per_request: float
    cpu_us_per_event: float
    out_bytes: int
    sha256: str


class Report(NamedTuple):
    """What a run found: results by traffic, and what LightGBM needs for a row of the same model.

    `allocations_per_event` is the most of both kinds of traffic; None where it cannot be counted.
    """

    results: list[Result]
    allocations_per_event: float | None
    lightgbm_batch_microseconds_per_row: float
    state_bytes_per_applicant: float

    def summary(self) -> dict[str, object]:
        """Return the report as one JSON object; figures in front are those of requests alone."""
        first = self.results[0]
        return {
            "requests_per_second": first.requests_per_second,
            "microseconds_per_request": first.us_per_request,
            "allocations_per_event": self.allocations_per_event,
            "lightgbm_batch_microseconds_per_row": self.lightgbm_batch_microseconds_per_row,
            "state_bytes_per_applicant": self.state_bytes_per_applicant,
            **{each.traffic: each._asdict() for each in self.results},
        }


class _Round(NamedTuple):
    seconds: float
    cpu_seconds: float
    sha256: str
    out_bytes: int
    requests: int
    approved: int


def bench_step(size: Size, on_stage: Callable[[str], None] = lambda _: None) -> Report:
    """Measure traffic of requests alone, then of one request in ten events.

    `on_stage` is told what goes on. Raises `DipperError` where an answer is not the expected one.
    """
    with tempfile.TemporaryDirectory(prefix="dipper-bench-") as name:
        lab = Lab(Path(name), size, on_stage)
        deployment = lab.deployment(size)
        return Report(
            [measure(deployment, traffic, size, on_stage) for traffic in KINDS],
            lab.count_allocations(on_stage),
            lab.time_lightgbm(),
            round(state_bytes(deployment, size), 1),
        )


class Lab:
    """A folder with models trained on vectors that the step derived; deployments are made of it."""

    def __init__(self, folder: Path, size: Size, on_stage: Callable[[str], None]) -> None:
        """Derive vectors and train `size.models` models; takes some seconds each."""
        self.folder = folder
        on_stage("compile, and derive vectors to train on")
        write_deployment(folder, scored=False)
        self._unscored = load_deployment(folder, limits_for(size))
        self.vectors = _vectors(self._unscored, size)
        for number in range(size.models):
            on_stage(f"train {size.trees} trees of {size.leaves} leaves, model {number + 1}")
            write_model(
                folder, self._unscored.catalog, self.vectors, size.trees, size.leaves, number
            )

    def deployment(self, size: Size) -> Deployment:
        """Return a deployment of that size, of the models that are there."""
        with tempfile.TemporaryDirectory(prefix="dipper-bench-") as name:
            self._write(Path(name), size)
            return load_deployment(Path(name), limits_for(size))

    def _write(self, folder: Path, size: Size) -> None:
        models = self.folder / MODELS_FOLDER
        write_deployment(
            folder,
            scored=True,
            institutions=size.institutions,
            rules=size.rules,
            models=size.models,
        )
        for number in range(size.models):
            name = model_name(number)
            shutil.copytree(models / name, folder / MODELS_FOLDER / name)

    def count_allocations(self, on_stage: Callable[[str], None]) -> float | None:
        """Return calls of the allocator per event; None, and a sentence, without a C compiler.

        Raises `DipperError` where the counter does not see an object an event.
        """
        on_stage("count allocations")
        folder = self.folder / "counted"
        self._write(folder, Size())
        limits = limits_for(Size(events=50_000, applicants=1_000))
        try:
            found = run_counted(
                self.folder, "-m", "streams.bench.allocating", str(folder), json.dumps(limits)
            )
        except DipperError as error:
            on_stage(f"allocations are not counted: {error}")
            return None
        if min(found[f"{kind} with an object an event"] for kind in KINDS) < 1:
            raise DipperError("the counter of allocations does not see an object an event")
        return max(round(found[kind], 6) for kind in KINDS)

    def time_lightgbm(self) -> float:
        """Return LightGBM's own µs a row, all vectors at once on one core, best of three.

        Raises `DipperError` where a score differs in a bit from that of the compiled model.
        """
        deployment = self.deployment(Size())
        (info,) = deployment.model_infos
        places = self._unscored.catalog.columns
        X = np.ascontiguousarray(self.vectors[:, [places[name] for name in info.features]])
        ours = self.vectors[:, [places[name] for name in deployment.catalog.columns]]
        booster = lgb.Booster(model_file=self.folder / MODELS_FOLDER / info.name / "model.txt")
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            raw = booster.predict(X, raw_score=True, num_threads=1)
            seconds.append(time.perf_counter() - start)
        if not np.array_equal(raw, score_rows(deployment.models, ours)[0][0]):
            raise DipperError("the compiled model's scores are not LightGBM's")
        return round(1e6 * min(seconds) / len(X), 4)


def state_bytes(deployment: Deployment, size: Size) -> float:
    """Return what one applicant with its history takes: its row, slots, pages, ids and loans.

    Counted are rows in use, at the size of their layout: half of the applicants have a loan.
    """
    prepared = Prepared(deployment, Traffic(min(size.applicants, 1_000)), size.history)
    state = prepared.step.core.state
    people = int(state.applicants["used"].sum())
    slot = 2 * state.applicant_slots.itemsize  # tables have two slots a row
    taken = people * (state.applicants.itemsize + slot)
    pages = int((state.pages["count"] > 0).sum())
    taken += pages * (state.pages.itemsize + state.entries[0].nbytes)
    taken += int((state.loans["state"] > 0).sum()) * (state.loans.itemsize + slot)
    taken += int((state.dues["due_at"] > 0).sum()) * state.dues.itemsize
    taken += int((state.lines["state"] > 0).sum()) * state.lines.itemsize
    return taken / people


def limits_for(size: Size) -> dict[str, int]:
    """Return capacities in which a round fits, since nothing expires while it lasts."""
    offers = _power_of_two(size.applicants + size.events)
    loans = _power_of_two(size.applicants)
    return {
        "applicants": _power_of_two(size.applicants),
        "pages": size.applicants * (2 + (size.history + size.events // size.applicants) // 4),
        "ids": 4 * offers,
        "lines": _power_of_two(size.applicants),
        "loans": loans,
        "dues": 4 * loans,
        "offers": offers,
        "timers": 4 * offers,
    }


def _power_of_two(least: int) -> int:
    return 1 << max(3, least.bit_length())


def _vectors(deployment: Deployment, size: Size) -> NDArray[np.float64]:
    """Return feature vectors of requests, float64[requests, columns], from the evidence."""
    applicants = min(size.applicants, TRAINING_APPLICANTS)
    prepared = Prepared(deployment, Traffic(applicants, seed=2), size.history)
    head, columns = EVIDENCE_HEAD.itemsize // 8, len(deployment.catalog.columns)
    found = []
    requests = list(prepared.traffic.mixed(5 * applicants, prepared.lines, 1.0))
    for out in prepared.run(requests):
        for start, length in _values(out, OUT_EVIDENCE):
            row = out.data[start : start + length].view(np.float64)
            found.append(row[head : head + columns].copy())
    return np.array(found)


class Prepared:
    """A step whose applicants have a history and an accepted line each."""

    def __init__(self, deployment: Deployment, traffic: Traffic, history: int) -> None:
        self.traffic = traffic
        self.offset = 0
        # Control events are ours; what they are signed with is no part of what is measured.
        self.step = Step(deployment, 0, 1, lambda _partition, _value, _offset: True)
        self.lines: dict[bytes, bytes] = {}
        control = ControlLog(lambda _: bytes(64), deployment.caps, [Position()])
        entries = [*control.grants(), *control.ticks(START_MS)]
        self._drain([(None, entry.value) for entry in entries])
        self._drain(traffic.history(history))
        for out in self.run(traffic.line_requests()):
            for start, length in _values(out, OUT_DECISION):
                decision = orjson.loads(out.data[start : start + length].tobytes())
                self.lines[decision["applicant"].encode()] = decision["id"].encode()
        self._drain(traffic.accepts(self.lines))

    def run(self, records: Iterable[Record]) -> Iterator[Out]:
        """Decide records; yield the output as the step does."""
        waiting = iter(records)
        while some := list(islice(waiting, 16 * BATCH_ROWS)):
            for load in make_loads(some, BATCH_ROWS, self.offset):
                load.fill(self.step.batch)
                yield from self.step.run()
            self.offset += len(some)

    def _drain(self, records: Iterable[Record]) -> None:
        for _ in self.run(records):
            continue


def _values(out: Out, topic: int) -> Iterator[tuple[int, int]]:
    rows = out.rows[: out.used[0]]
    mine = rows[rows["topic"] == topic]
    return zip(mine["value_start"].tolist(), mine["value_len"].tolist(), strict=True)


def measure(
    deployment: Deployment, traffic: str, size: Size, on_stage: Callable[[str], None]
) -> Result:
    """Measure one kind of traffic, `KINDS`, under a deployment; raise `DipperError` on a wrong
    answer.
    """
    rounds = []
    for number in range(size.rounds + 1):
        last = number == size.rounds
        batch_rows = OTHER_BATCH_ROWS if last else BATCH_ROWS
        on_stage(f"{traffic}: {'check batches of' if last else 'round of'} {batch_rows:,} rows")
        prepared = Prepared(deployment, Traffic(size.applicants), size.history)
        share = KINDS[traffic]
        records = list(prepared.traffic.mixed(size.events, prepared.lines, share, size.hot_share))
        loads = make_loads(records, batch_rows, prepared.offset)
        rounds.append(_run(prepared.step, loads))
    best = min(rounds[:-1], key=lambda each: each.seconds)
    asked = sum(b'"type":"drawdown"' in v or b'"type":"application"' in v for _, v in records)
    timeless = {each._replace(seconds=0.0, cpu_seconds=0.0) for each in rounds}
    _check(traffic, timeless, asked, approved_min=int(size.history > 0))
    return Result(
        traffic=traffic,
        events=size.events,
        requests=best.requests,
        approved=best.approved,
        events_per_second=round(size.events / best.seconds, 1),
        requests_per_second=round(best.requests / best.seconds, 1),
        us_per_event=round(1e6 * best.seconds / size.events, 4),
        us_per_request=round(1e6 * best.seconds / best.requests, 4),
        cpu_us_per_event=round(
            1e6 * min(each.cpu_seconds for each in rounds[:-1]) / size.events, 4
        ),
        out_bytes=best.out_bytes,
        sha256=best.sha256,
    )


class _Watch:
    """Adds up wall-clock and processor time between `start` and `stop`."""

    def __init__(self) -> None:
        self.seconds = self.cpu_seconds = 0.0
        self._since = (0.0, 0.0)

    def start(self) -> None:
        self._since = (time.perf_counter(), time.thread_time())

    def stop(self) -> None:
        self.seconds += time.perf_counter() - self._since[0]
        self.cpu_seconds += time.thread_time() - self._since[1]


def _run(step: Step, loads: Sequence[Load]) -> _Round:
    """Run the loads through the step. Hashing what it writes is not timed."""
    digest, out_bytes, watch = hashlib.sha256(), 0, _Watch()
    decided = slice(DECIDED, DECIDED + len(Outcome))
    before = step.counters.copy()
    for load in loads:
        watch.start()
        load.fill(step.batch)
        outputs = step.run()
        while (out := next(outputs, None)) is not None:
            watch.stop()
            digest.update(out.data[: out.used[1]].data)
            out_bytes += int(out.used[1])
            watch.start()
        watch.stop()
    counted = step.counters - before
    refused = counted[REFUSED + 1 : REFUSED + len(Refusal)]
    if refused.any():
        names = [Refusal(int(code) + 1).name.lower() for code in np.flatnonzero(refused)]
        raise DipperError(f"the benchmark's records were refused: {', '.join(names)}")
    for lease in step.core.state.leases:
        pots = sum(int(lease[f"{pot}_cents"]) for pot in ("free", "reserved", "drawn", "returned"))
        if int(lease["granted_cents"]) + int(lease["overdrawn_cents"]) != pots:
            raise DipperError("money was not conserved: granted + overdrawn is not the sum of pots")
    return _Round(
        watch.seconds,
        watch.cpu_seconds,
        digest.hexdigest(),
        out_bytes,
        int(counted[decided].sum()),
        int(counted[DECIDED + Outcome.APPROVED]),
    )


def _check(traffic: str, answers: set[_Round], asked: int, approved_min: int) -> None:
    if len(answers) != 1:
        raise DipperError(f"{traffic}: rounds differ in their bytes: {sorted(answers)}")
    (answer,) = answers
    if answer.requests != asked:
        raise DipperError(f"{traffic}: {asked} requests, but {answer.requests} decisions")
    if not approved_min <= answer.approved < asked:  # a model may want some history
        raise DipperError(f"{traffic}: of {asked} requests {answer.approved} were approved")
