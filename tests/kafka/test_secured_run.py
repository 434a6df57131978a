"""A whole deployment on a Kafka that checks: each process in its own role, and what it leaves."""

import asyncio
import re
import secrets
import shutil
import urllib.request
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import polars as pl
import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from streams.broker.access import CONFIG_FILE, PREFIX, Access
from streams.broker.client import make_consumer, make_producer
from streams.broker.kafka import missing_tools
from streams.broker.roles import grant_role
from streams.config import load_deployment
from streams.live import GROUP
from streams.replay import replay
from streams.topology import (
    CONTROL,
    DEAD_LETTERS,
    DECISIONS,
    EVENTS,
    EVIDENCE,
    FUNDING,
    INGRESS_PREFIX,
    NOTICES,
    OUT_DECISION,
    Topic,
)
from streams.versions import with_versions
from tests.deployment import make_deployment
from tests.faults.fleet import Member
from tests.kafka.leaks import files_under, forms, leaks
from tests.kafka.logs import read_partition, until
from tests.kafka.secured import ADMIN, Authority, SecuredKafka
from tests.streams.lives import LIMITS, write_lives

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(900)]

_PARTITIONS = 2
_USERS = (ADMIN, "control", "worker", "agents", "converter", "institution", "analyst")
_KEEPER = "keeper-1"  # enters by a certificate
_DAYS = 7  # of ticks alone, at the end of a log of lives
_TOKENS = ("device", "phone", "id_doc", "bank_account")
_DECISION_KEY = "the deployment's key of decisions"
_READ = (DECISIONS, EVIDENCE, FUNDING, DEAD_LETTERS, NOTICES, CONTROL, EVENTS)
# A record that is refused, and holds a token.
_REFUSED = b'{"type":"application","id":"r","applicant":"someone","at":1,"phone":"%s"'


class _Site:
    """Where a deployment lives: its folders, its broker, what went in, and who enters how."""

    def __init__(self, folder: Path, broker: SecuredKafka) -> None:
        self.folder, self.broker = folder, broker
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.control = make_deployment(folder / "control", LIMITS)
        _new_decision_key(self.control / "platform.toml")
        self.worker = folder / "worker"
        shutil.copytree(self.control, self.worker, ignore=shutil.ignore_patterns("control.key"))
        self.tokens = {name: f"{name}-{secrets.token_hex(9)}".encode() for name in _TOKENS}
        self.said: set[bytes] = set()  # by institutions, of their loans
        self._members: list[Member] = []

    def secrets(self) -> dict[str, bytes]:
        """Return what no log, no record and no snapshot may hold, by what it is."""
        pem = (self.control / "keys" / "control.key").read_text().splitlines()
        certificate = (self.broker.authority.folder / f"{_KEEPER}.pem").read_text()
        body = certificate.split("PRIVATE KEY-----")[1].splitlines()[1:-1]
        decision_key = load_deployment(self.control).platform.decision_key
        return {
            **{f"password of {user}": self.broker.passwords[user].encode() for user in _USERS},
            "control's key as a file": "".join(pem[1:-1]).encode(),
            "control's key": b64decode("".join(pem[1:-1]))[-32:],
            "the keeper's key": body[0].encode(),
            _DECISION_KEY: decision_key,
        }

    def entrance(self, user: str, **fields: str) -> dict[str, str]:
        """Return the environment of this user's processes; `fields` of Access replace some."""
        ours = {"protocol": "SASL_SSL", "user": user, "ca_file": str(self.broker.authority.file)}
        if "password_file" not in fields:
            ours["password"] = self.broker.passwords.get(user, "")
        names = dict.fromkeys(Access.model_fields, "") | ours | fields
        return {CONFIG_FILE: ""} | {PREFIX + name.upper(): value for name, value in names.items()}

    def private(self, name: str, text: str) -> str:
        """Write a file that only its owner may read; return its path."""
        path = self.folder / name
        path.touch(0o600)
        path.write_text(text)
        return str(path)

    def start(self, name: str, *arguments: object, environment: dict[str, str]) -> Member:
        """Start a command of ours; what it prints goes to a log of its name."""
        member = Member(name, self.logs, [str(each) for each in arguments], environment)
        self._members.append(member)
        return member

    async def run(self, name: str, *arguments: object, environment: dict[str, str]) -> None:
        """Run a command to its end; it must do what it was asked."""
        member = self.start(name, *arguments, environment=environment)

        async def ended() -> bool:
            return member.ended is not None

        await until(ended, 300)
        assert member.ended == 0, member.last_words()

    def end(self) -> list[int | None]:
        """Ask whoever lives to leave; return their exit codes."""
        living = [member for member in self._members if member.ended is None]
        for member in living:
            member.leave()
        return [member.ended for member in living]


class _Left(NamedTuple):
    """What a run left, and what is made of it again."""

    records: dict[str, list[ConsumerRecord]]
    places: dict[str, bytes]  # all bytes of records, files and pages, by where they stood
    again: list[bytes]
    codes: list[int | None]


def _new_decision_key(platform: Path) -> None:
    new = f'decision_key = "{secrets.token_hex(16)}"'
    platform.write_text(re.sub('decision_key = "[0-9a-f]+"', new, platform.read_text()))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Site]:
    """Give a Kafka that checks, and a deployment of small tables."""
    if missing := missing_tools():
        pytest.skip(f"Apache Kafka needs {' and '.join(missing)}")
    passwords = {user: secrets.token_hex(12) for user in _USERS}
    authority = Authority(tmp_path_factory.mktemp("authority"))
    with SecuredKafka(authority, passwords) as broker:
        site = _Site(tmp_path_factory.mktemp("site"), broker)
        try:
            yield site
        finally:
            site.end()


@pytest.fixture(scope="module")
def left(site: _Site) -> _Left:
    """Let the deployment live for a while, each process in its own role."""
    events, loans = _histories(site)
    with pytest.MonkeyPatch.context() as patch:
        # This process looks on as a super user does; those under test have their own entrance.
        for name, value in site.entrance(ADMIN).items():
            patch.setenv(name, value)
        return asyncio.run(_live(site, events, loans))


def _histories(site: _Site) -> tuple[Path, dict[str, list[bytes]]]:
    """Write what publishers say, with personal tokens in it; return it, and what institutions say
    of their own loans.
    """
    path = site.folder / "events.jsonl"
    deployment = load_deployment(site.control)
    write_lives(path, deployment, 60)
    said: list[bytes] = []
    loans: dict[str, list[bytes]] = {}
    tokens = {name: token.decode() for name, token in site.tokens.items()}
    lines = path.read_bytes().splitlines()
    # Without the days at the end: institutions speak before offers expire.
    for line in lines[:-_DAYS]:
        event = _object(line)
        if event.get("type") == "loan" and event.get("issuer") in deployment.institution_ids:
            ours = {name: value for name, value in event.items() if name != "issuer"}
            loans.setdefault(event["issuer"], []).append(orjson.dumps(ours))
        elif event.get("type") in {"application", "drawdown", "activity", "accept"}:
            said.append(orjson.dumps(event | tokens))
        else:
            said.append(line)
    site.said = {event for events in loans.values() for event in events}
    said.append(_REFUSED % site.tokens["phone"])
    path.write_bytes(b"\n".join(said) + b"\n")
    return path, loans


def _object(line: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


async def _live(site: _Site, events: Path, loans: dict[str, list[bytes]]) -> _Left:
    bootstrap = site.broker.bootstrap
    for user in _USERS[1:]:
        await grant_role(bootstrap, user, user, "dawn" if user == "institution" else "")
    await grant_role(bootstrap, f"CN={_KEEPER}", "worker")
    for institution in set(loans) - {"dawn"}:
        await grant_role(bootstrap, "institution", "institution", institution)
    shown = await _start(site)
    worker, converter = site.entrance("worker"), site.entrance("converter")
    await site.run(
        "publish", "publish", "--broker", bootstrap, "--raw", "--quiet", events,
        environment=converter,
    )  # fmt: skip
    await _say(site, loans)
    await _folded(bootstrap, sum(map(len, loans.values())))
    await _change(site)
    await _folded(bootstrap, sum(map(len, loans.values())))
    await _noticed(bootstrap)
    # Who shows a wrong password is refused, and says so.
    wrong = site.start(
        "refused", "live", "--broker", bootstrap, "--config", site.worker,
        environment=worker | {f"{PREFIX}PASSWORD": f"no-{site.broker.passwords['worker']}"},
    )  # fmt: skip
    await until(lambda: _holds(wrong.ended is not None), 120)
    assert "refuses us by SASL_SSL" in wrong.last_words()
    pages = {name: await asyncio.to_thread(_page, site, name) for name in shown}
    await _snapshots(site)
    archive = site.folder / "archive"
    await site.run(
        "archive", "archive", "copy", "--broker", bootstrap, "--archive", archive,
        "--vault", site.folder / "vault.db", environment=site.entrance("analyst"),
    )  # fmt: skip
    codes = site.end()
    records = {topic.name: await _records(bootstrap, topic) for topic in _READ}
    again = replay(f"kafka://{bootstrap}", with_versions(load_deployment(site.worker)))
    places = {f"{topic}: {n}": _bytes_of(each) for topic, all_ in records.items()
              for n, each in enumerate(all_) if topic != EVENTS.name}  # fmt: skip
    places |= files_under(site.logs, site.folder / "snapshots") | _unpacked(archive) | pages
    return _Left(records, places, again.read(OUT_DECISION).splitlines(), codes)


async def _start(site: _Site) -> tuple[str, ...]:
    """Start control, a worker, the agents and a follower; each comes in by another way."""
    place = ("--broker", site.broker.bootstrap, "--metrics-port", "0", "--config")
    password = site.private("password", site.broker.passwords["control"] + "\n")
    site.start(
        "control", "control", *place, site.control, "--clock", "file", "--partitions", _PARTITIONS,
        environment=site.entrance("control", password_file=password),
    )  # fmt: skip
    await _says(site, "control", "control runs on")
    snapshots = ("--snapshots", site.folder / "snapshots")
    site.start(
        "worker", "live", *place, site.worker, *snapshots, environment=site.entrance("worker")
    )
    file = site.private(
        "agents.toml",
        f'protocol = "SASL_SSL"\nuser = "agents"\nca_file = "{site.broker.authority.file}"\n'
        f'password = "{site.broker.passwords["agents"]}"\n',
    )
    nothing = dict.fromkeys(site.entrance("agents"), "")
    site.start("agents", "agents", *place, site.worker, environment=nothing | {CONFIG_FILE: file})
    certificate = str(site.broker.authority.issue(_KEEPER))
    site.start(
        "keeper", "state", "keep", "--broker", site.broker.certificate_bootstrap,
        "--config", site.worker, *snapshots, "--every-seconds", "1", "--metrics-port", "0",
        environment=site.entrance("", protocol="SSL", certificate_file=certificate),
    )  # fmt: skip
    return ("control", "worker", "agents", "keeper")


async def _holds(what: bool) -> bool:
    return what


async def _says(site: _Site, name: str, words: str) -> None:
    log = site.logs / f"{name}.log"

    async def said() -> bool:
        return words in log.read_text()

    try:
        await until(said, 120)
    except TimeoutError:
        raise AssertionError(log.read_text()[-2_000:]) from None


async def _say(site: _Site, loans: dict[str, list[bytes]]) -> None:
    """Let institutions say what became of their loans, each on its own topic."""
    access = site.broker.access_of("institution").client_settings()
    producer = make_producer(site.broker.bootstrap, "kafka", **access)
    await producer.start()
    try:
        for institution, events in loans.items():
            for event in events:
                await producer.send_and_wait(INGRESS_PREFIX + institution, event, partition=0)
    finally:
        await producer.stop()


async def _change(site: _Site) -> None:
    """Put a stricter policy into force: control hands it over, the worker takes it from Kafka."""
    stricter = site.folder / "stricter"
    shutil.copytree(site.control, stricter, ignore=shutil.ignore_patterns("keys", "versions"))
    policy = stricter / "institutions" / "dawn" / "cash_line.toml"
    text = policy.read_text().replace("cut_off_pd_ppm = 150_000", "cut_off_pd_ppm = 145_000")
    policy.write_text(text)
    place = ("--broker", site.broker.bootstrap, "--config", site.control)
    control = site.entrance("control")
    await site.run("prepare", "control", "prepare", stricter, *place, environment=control)
    (version,) = re.findall("prepared ([0-9a-f]+);", (site.logs / "prepare.log").read_text())
    await site.run("activate", "control", "activate", version, *place, environment=control)
    await until(lambda: _holds((site.worker / "versions" / version).is_dir()), 120)


async def _folded(bootstrap: str, forwarded: int) -> None:
    """Wait until control has forwarded so many loan events and the worker has committed all."""
    consumer = make_consumer(bootstrap, group=GROUP)
    await consumer.start()
    places = [TopicPartition(EVENTS.name, number) for number in range(_PARTITIONS)]

    async def done() -> bool:
        events = [each.value or b"" for each in await _records(bootstrap, EVENTS)]
        signed = sum(b'"type":"loan"' in each and b'"signature"' in each for each in events)
        ends = await consumer.end_offsets(places)
        at = [await consumer.committed(place) for place in places]
        return signed >= forwarded and at == [ends[place] for place in places]

    try:
        await until(done, 240)
    finally:
        await consumer.stop()


async def _noticed(bootstrap: str) -> None:
    """Wait until each decision has its notice."""

    async def done() -> bool:
        decisions = await _records(bootstrap, DECISIONS)
        return bool(decisions) and _told(await _records(bootstrap, NOTICES)) >= {
            orjson.loads(each.value)["id"] for each in decisions
        }

    await until(done, 120)


def _told(notices: Sequence[ConsumerRecord]) -> set[str]:
    said = [orjson.loads(each.value) for each in notices]
    return {each["decision"] for each in said if "kind" not in each}


async def _snapshots(site: _Site) -> None:
    """Wait until a snapshot of each partition stands."""

    async def done() -> bool:
        found = (site.folder / "snapshots").rglob("*.image")
        return len({path.parent for path in found}) == _PARTITIONS

    await until(done, 120)


async def _records(bootstrap: str, topic: Topic) -> list[ConsumerRecord]:
    parts = [
        await read_partition(bootstrap, topic.name, number)
        for number in range(topic.partitions or _PARTITIONS)
    ]
    return [record for part in parts for record in part]


def _bytes_of(record: ConsumerRecord) -> bytes:
    headers = [part for name, value in record.headers for part in (name.encode(), value)]
    return b"\0".join([record.key or b"", record.value or b"", *headers])


def _page(site: _Site, name: str) -> bytes:
    """Return the metrics of a process, from the address that it printed."""
    (address, *_) = re.findall(r"http://\S+/metrics", (site.logs / f"{name}.log").read_text())
    with urllib.request.urlopen(address) as answer:
        return bytes(answer.read())


def _unpacked(archive: Path) -> dict[str, bytes]:
    """Return every segment of the archive as the bytes of its cells."""
    found = {}
    for path in sorted(archive.rglob("*.parquet")):
        cells = [cell for row in pl.read_parquet(path).iter_rows() for cell in row]
        found[str(path)] = b"\0".join(
            cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells
        )
    return found


def test_each_process_does_its_work_in_its_role(left: _Left) -> None:
    """Under TLS and ACLs control ticks, forwards loans and changes versions, workers decide, the
    follower keeps snapshots and the agents tell everybody; a replay leads to the same decisions.
    """
    decided = [record.value for record in left.records[DECISIONS.name]]
    assert sorted(decided) == sorted(left.again)
    outcomes = Counter(orjson.loads(value)["outcome"] for value in decided)
    assert outcomes["approved"] > 10
    moves = Counter(orjson.loads(each.value)["type"] for each in left.records[FUNDING.name])
    assert moves["draw"] > 0, moves
    told = Counter(orjson.loads(e.value).get("kind", "") for e in left.records[NOTICES.name])
    assert told[""] == len(decided)
    assert set(told) != {""}, "nobody told why a lender refused"
    assert left.codes == [0, 0, 0, 0]


def test_nothing_that_a_run_leaves_holds_a_secret(site: _Site, left: _Left) -> None:
    """No password, key or private token stands in a log, a page of metrics, a decision, its
    evidence, a notice, a funding record, a dead letter, a snapshot or the archive; but what was
    refused is kept as it came, with what its publisher put into it, and a version on
    `dipper.control` holds the key of decisions, which is a secret of workers and control alone.
    """
    refused = {each.value for each in left.records[DEAD_LETTERS.name]}
    assert _REFUSED % site.tokens["phone"] in refused
    assert refused <= {each.value for each in left.records[EVENTS.name]} | site.said
    found = leaks(site.secrets() | site.tokens, _without(left.places, refused))
    bodies = {
        (_DECISION_KEY, place)
        for place, data in left.places.items()
        if place.startswith(CONTROL.name) and b"decision_key" in data
    }
    assert bodies
    assert found == bodies
    looked_at = " ".join(left.places)
    for topic in (DECISIONS, EVIDENCE, FUNDING, DEAD_LETTERS, NOTICES):
        assert f"{topic.name}: 0" in left.places
    for kind in ("worker.log", "control.log", "agents.log", "keeper.log", ".image", ".parquet"):
        assert kind in looked_at


def _without(places: dict[str, bytes], refused: set[bytes]) -> dict[str, bytes]:
    """Return the places where refused records are kept without those records' own bytes."""
    found = dict(places)
    for name in places:
        if name.startswith(DEAD_LETTERS.name) or name.endswith(".parquet"):
            for value in sorted(refused, key=len, reverse=True):
                found[name] = found[name].replace(value, b"")
    return found


def test_the_search_finds_what_is_there(site: _Site, left: _Left) -> None:
    """The same search finds every token in the events, and every secret in each of its forms."""
    events = b"\0".join(_bytes_of(each) for each in left.records[EVENTS.name])
    assert leaks(site.tokens, {"events": events}) == {(name, "events") for name in site.tokens}
    for name, secret in site.secrets().items():
        for form in forms(secret):
            assert leaks({name: secret}, {"here": b"{" + form + b"}"}) == {(name, "here")}
