"""What all tests share: brokers, real data, a cache of kernels per worker, the list of skips."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import hypothesis
import pytest

from streams.broker.access import make_admin
from streams.broker.client import Kind
from streams.broker.embedded import EmbeddedBroker
from streams.broker.kafka import KafkaBroker, missing_tools
from streams.deployment import Deployment
from tests.naive.deployments import segmented_deployment, small_deployment
from tests.sizes import sized

_ROOT = Path(__file__).resolve().parent.parent

# Compilation makes a first example slow, so no deadline; a failure here repeats elsewhere.
hypothesis.settings.register_profile(
    "dipper", deadline=None, max_examples=sized(100), derandomize=True, database=None
)
hypothesis.settings.load_profile("dipper")


class Broker(NamedTuple):
    """A running broker: where it listens and which kind it is."""

    bootstrap: str
    kind: Kind


@pytest.fixture(scope="session")
def embedded_broker() -> Iterator[Broker]:
    """Start one embedded broker for the session of this worker."""
    with EmbeddedBroker() as broker:
        yield Broker(broker.bootstrap, "embedded")


@pytest.fixture(scope="session")
def kafka_broker() -> Iterator[Broker]:
    """Give Apache Kafka: the one DIPPER_TEST_BROKER names, else one from Maven jars."""
    if named := os.environ.get("DIPPER_TEST_BROKER"):
        yield Broker(named, "kafka")
        return
    if missing := missing_tools():
        reason = f"Apache Kafka needs {' and '.join(missing)}, not found on the path"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with KafkaBroker() as broker:
        yield Broker(broker.bootstrap, "kafka")


@pytest.fixture(
    scope="session", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)]
)
def broker(request: pytest.FixtureRequest) -> Broker:
    """Give each kind of broker in turn: for what must hold on both."""
    found: Broker = request.getfixturevalue(f"{request.param}_broker")
    return found


@pytest.fixture
def fresh_embedded_broker() -> Iterator[Broker]:
    """Start an embedded broker without a single topic, for this test alone."""
    with EmbeddedBroker() as broker:
        yield Broker(broker.bootstrap, "embedded")


@pytest.fixture
async def fresh_kafka_broker(kafka_broker: Broker) -> Broker:
    """Give Apache Kafka with all of dipper's topics, and so their committed offsets, removed."""
    admin = make_admin(kafka_broker.bootstrap)
    await admin.start()
    try:
        while left := [each for each in await admin.list_topics() if each.startswith("dipper.")]:
            await admin.delete_topics(sorted(left))
    finally:
        await admin.close()
    return kafka_broker


@pytest.fixture(params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def fresh_broker(request: pytest.FixtureRequest) -> Broker:
    """Give each kind of broker in turn, without dipper's topics."""
    found: Broker = request.getfixturevalue(f"fresh_{request.param}_broker")
    return found


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Give the folder of real data: DIPPER_DATA, else ../shared/data beside the repository."""
    named = os.environ.get("DIPPER_DATA")
    folder = Path(named) if named else _ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set DIPPER_DATA")
    return folder


@pytest.fixture(scope="session")
def step_deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give the small deployment of `tests/naive/deployments.py`, loaded once."""
    return small_deployment(tmp_path_factory.mktemp("deployment"))


@pytest.fixture(scope="session")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Give the same with caps by day and segment, a challenger and a random arm, loaded once."""
    return segmented_deployment(tmp_path_factory.mktemp("segmented"))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what uses Apache Kafka and keep it on one worker, so that one Kafka starts."""
    for item in items:
        if "kafka_broker" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.kafka)
        if item.get_closest_marker("kafka"):
            item.add_marker(pytest.mark.xdist_group("kafka"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List whatever was skipped, with its reason, at the end."""
    skipped = terminalreporter.getreports("skipped")
    if not skipped:
        return
    terminalreporter.section(f"not run: {len(skipped)} skipped")
    for report in skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        terminalreporter.line(f"{report.nodeid}: {reason}")
