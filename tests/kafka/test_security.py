"""Who may do what on a broker that checks: TLS, users, certificates, roles."""

import secrets
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka.errors import KafkaError

from streams.broker.access import PREFIX
from streams.broker.client import broker_kind, make_consumer, make_producer
from streams.broker.kafka import missing_tools
from streams.broker.roles import ROLES, grant_role, writers
from streams.broker.topics import ensure_topics
from streams.errors import BrokerError
from streams.topology import (
    CONTROL,
    DEAD_LETTERS,
    DECISIONS,
    EVENTS,
    EVIDENCE,
    FUNDING,
    INGRESS_PREFIX,
    NOTICES,
)
from tests.kafka.secured import ADMIN, Authority, SecuredKafka

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

_USERS = [*ROLES, "nobody"]


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    """Give a Kafka that checks, with a user of each role's name."""
    if missing := missing_tools():
        pytest.skip(f"Apache Kafka needs {' and '.join(missing)}")
    passwords = {user: secrets.token_hex(12) for user in (ADMIN, *_USERS)}
    with SecuredKafka(Authority(tmp_path_factory.mktemp("authority")), passwords) as broker:
        yield broker


def _enter(patch: pytest.MonkeyPatch, secured: SecuredKafka, user: str) -> None:
    """Be that user from here on, as the environment says it."""
    patch.setenv(f"{PREFIX}PROTOCOL", "SASL_SSL")
    patch.setenv(f"{PREFIX}USER", user)
    patch.setenv(f"{PREFIX}PASSWORD", secured.passwords[user])
    patch.setenv(f"{PREFIX}CA_FILE", str(secured.authority.file))


async def _roles_stand(patch: pytest.MonkeyPatch, secured: SecuredKafka) -> None:
    _enter(patch, secured, ADMIN)
    await ensure_topics(secured.bootstrap, 1, institutions=("dawn", "north"))
    for role in ROLES:
        await grant_role(secured.bootstrap, role, role, "dawn" if role == "institution" else "")


async def _writable(bootstrap: str, *topics: str) -> set[str]:
    """Return to which of the topics a record could be written."""
    # Not idempotent: else the very start is refused to who may write nowhere, which says less.
    producer = make_producer(
        bootstrap, "embedded", request_timeout_ms=10_000, metadata_max_age_ms=60_000
    )
    await producer.start()
    found = set()
    try:
        for topic in topics:
            with suppress(KafkaError):
                await producer.send_and_wait(topic, b"{}", key=b"k", partition=0)
                found.add(topic)
    finally:
        await producer.stop()
    return found


WRITABLE = {
    EVENTS.name: {"publisher", "converter", "control", "operator"},
    CONTROL.name: {"control", "operator"},
    DECISIONS.name: {"worker"},
    EVIDENCE.name: {"worker"},
    FUNDING.name: {"worker"},
    DEAD_LETTERS.name: {"worker", "control"},
    NOTICES.name: {"agents"},
    f"{INGRESS_PREFIX}dawn": {"institution"},
    f"{INGRESS_PREFIX}north": set(),
}


async def test_who_may_write_what(secured: SecuredKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell of role x topic, tried on the broker itself: only the rows above can write."""
    await _roles_stand(monkeypatch, secured)
    told = {topic: await writers(secured.bootstrap, topic) for topic in WRITABLE}
    wanted: dict[str, frozenset[str] | None] = {
        topic: frozenset(f"User:{user}" for user in users) for topic, users in WRITABLE.items()
    }
    assert told == wanted
    found: dict[str, set[str]] = {topic: set() for topic in WRITABLE}
    for user in _USERS:
        _enter(monkeypatch, secured, user)
        for topic in await _writable(secured.bootstrap, *WRITABLE):
            found[topic].add(user)
    assert found == WRITABLE


async def test_a_certificate_says_who_we_are(
    secured: SecuredKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the listener for certificates the role hangs on the name in ours; without one there is
    no entrance, nor with one of another authority.
    """
    await _roles_stand(monkeypatch, secured)
    await grant_role(secured.bootstrap, "CN=publisher-7", "publisher")
    for name in ("USER", "PASSWORD"):
        monkeypatch.delenv(PREFIX + name)
    monkeypatch.setenv(f"{PREFIX}PROTOCOL", "SSL")
    with pytest.raises(BrokerError, match="refuses us by SSL"):
        await broker_kind(secured.certificate_bootstrap)
    pem = secured.authority.issue("publisher-7")
    monkeypatch.setenv(f"{PREFIX}CERTIFICATE_FILE", str(pem))
    topics = (EVENTS.name, DECISIONS.name)
    assert await _writable(secured.certificate_bootstrap, *topics) == {EVENTS.name}


async def test_wrong_credentials_are_one_sentence_without_them(
    secured: SecuredKafka, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A wrong password, a broker that another authority vouches for and a client without TLS are
    refused, and no text of it holds the password.
    """
    _enter(monkeypatch, secured, "worker")
    monkeypatch.setenv(f"{PREFIX}PASSWORD", "wrong-and-secret")
    with pytest.raises(BrokerError, match="refuses us by SASL_SSL") as wrong:
        await broker_kind(secured.bootstrap)
    assert "wrong-and-secret" not in f"{wrong.value!r}{wrong.value.__cause__!r}"
    _enter(monkeypatch, secured, "worker")
    monkeypatch.setenv(f"{PREFIX}CA_FILE", str(Authority(tmp_path).file))
    with pytest.raises(BrokerError, match="refuses us"):
        await broker_kind(secured.bootstrap)
    for name in ("PROTOCOL", "USER", "PASSWORD", "CA_FILE"):
        monkeypatch.delenv(PREFIX + name)
    with pytest.raises(BrokerError, match="no broker answers"):
        await broker_kind(secured.bootstrap)


async def test_an_analyst_reads_and_writes_nothing(
    secured: SecuredKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may read decisions reads them by the same clients."""
    await _roles_stand(monkeypatch, secured)
    _enter(monkeypatch, secured, "worker")
    assert await _writable(secured.bootstrap, DECISIONS.name)
    _enter(monkeypatch, secured, "analyst")
    consumer = make_consumer(secured.bootstrap, DECISIONS.name)
    await consumer.start()
    try:
        assert (await consumer.getone()).value == b"{}"
    finally:
        await consumer.stop()
