"""One demo from nothing to its summary.

1. A throw-away copy of the config folder with keys of its own. 2. The kernels, compiled once before
the clock starts. 3. A broker with empty topics. 4. Control and workers. 5. The world's traffic, and
what comes back. 6. Everything stopped, in this order backwards.
"""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

from streams.broker.client import make_consumer
from streams.broker.embedded import EmbeddedBroker
from streams.broker.kafka import KafkaBroker
from streams.broker.topics import ensure_topics
from streams.config import load_deployment
from streams.control.keys import init_keys, load_trusted, verifier
from streams.demo.crowd import make_crowd
from streams.demo.processes import Processes, wait_until_served
from streams.demo.tally import Tally
from streams.demo.traffic import Traffic
from streams.demo.watch import Watcher, watched
from streams.deployment import Deployment
from streams.errors import BrokerError, DipperError
from streams.limits import SECOND_MS
from streams.live import warm_up
from streams.signals import stop_event
from streams.simulate.world import World, WorldConfig
from streams.step import Step
from streams.topology import EVENTS

_READY_S_MAX = 300.0  # a cold start compiles
_HISTORY_MS = 20_000  # of events before the first request
_PACE = 86_400.0  # a day of a loan passes in a second


class Options(NamedTuple):
    """What a demo is asked for; `broker` is embedded, kafka or HOST:PORT."""

    broker: str
    config: Path
    seconds: float
    rate: float
    applicants: int
    partitions: int
    workers: int
    seed: int
    hostile_share: float
    income_factor: float = 1.0  # what incomes are worth in the second half
    institutions: int = 0  # how many, 0: those of the folder


Say = Callable[[str], None]
Show = Callable[[Tally, float], None]


def run_demo(
    options: Options, say: Say, show: Show, watcher: Watcher | None = None
) -> tuple[dict[str, Any], Tally]:
    """Run it; `say` gets a sentence per stage, `show` the tally some times a second.

    With a `watcher` the agents run too, and a Prometheus scrapes all.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dipper-demo-")))
        config = copy_config(options.config, folder)
        if options.institutions:
            make_crowd(config, options.institutions)
        say("loading the kernels; the first start on a machine compiles them, for about a minute")
        began = time.monotonic()
        # What a worker compiles before it joins, so that each of them finds it in the cache.
        deployment = load_deployment(config)
        warm_up(Step(deployment, 0, 1, verifier(load_trusted(config))))
        say(f"kernels ready after {time.monotonic() - began:.1f} s")
        broker = options.broker
        if broker in {"embedded", "kafka"}:
            server = EmbeddedBroker() if broker == "embedded" else KafkaBroker()
            broker = stack.enter_context(server).bootstrap
        institutions = deployment.institution_ids
        asyncio.run(_prepare(broker, options.partitions, institutions))
        processes = stack.enter_context(Processes(folder))
        processes.start_control(broker, config, options.partitions)
        for _ in range(options.workers):
            processes.start_worker(broker, config)
        if watcher is not None:
            processes.start_agents(broker, config, _PACE)
        wait_until_served(processes, options.partitions, _READY_S_MAX)
        urls = " ".join(processes.metrics_urls())
        say(f"{options.workers} workers serve {options.partitions} partitions at {broker}; {urls}")
        with watched(processes, watcher):
            return asyncio.run(_traffic(options, broker, deployment, processes, show))


def copy_config(source: Path, folder: Path) -> Path:
    """Copy a deployment into `folder`, with keys of its own; return the copy."""
    config = folder / "config"
    if not (source / "platform.toml").is_file():
        raise DipperError(f"{source}: no platform.toml here; name a deployment's folder")
    shutil.copytree(source, config, ignore=shutil.ignore_patterns("keys"))
    init_keys(config)
    return config


async def _prepare(broker: str, partitions: int, institutions: list[str]) -> None:
    await ensure_topics(broker, partitions, institutions=institutions)
    consumer = make_consumer(broker, EVENTS.name)
    await consumer.start()
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
    finally:
        await consumer.stop()
    if any(ends.values()):
        raise BrokerError(f"{EVENTS.name} at {broker} holds events already; give an empty broker")


async def _traffic(
    options: Options, broker: str, deployment: Deployment, processes: Processes, show: Show
) -> tuple[dict[str, Any], Tally]:
    now_ms = time.time_ns() // 1_000_000
    config = WorldConfig(
        applicants=options.applicants,
        rate_per_second=options.rate,
        hostile_share=options.hostile_share,
        pace=_PACE,
        income_factor=options.income_factor,
        shift_ms=_HISTORY_MS + int(options.seconds / 2 * SECOND_MS),
        seed=options.seed,
        keep_truth=False,
    )
    world = World(config, now_ms - _HISTORY_MS, requests_from_ms=now_ms)
    tally, caps = Tally(deployment.segments), deployment.caps
    began = time.monotonic()
    shown = [0.0]

    def on_turn() -> None:
        now = time.monotonic()
        if now - shown[0] > 0.25:
            shown[0] = now
            processes.check()
            show(tally, now - began)

    traffic = Traffic(broker, world, tally, options.partitions, list(caps))
    seconds = await traffic.run(options.seconds, stop_event(), on_turn)
    show(tally, seconds)
    return tally.summary(seconds, caps), tally
