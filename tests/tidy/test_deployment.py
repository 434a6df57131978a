"""The deployment in containers is the one that tests run: versions, settings, commands."""

import re

from typer.main import get_command

from streams import cli
from streams.broker import kafka
from tests.tidy.source import ROOT

_COMPOSE = (ROOT / "docker-compose.yml").read_text()
_DOCKERFILE = (ROOT / "Dockerfile").read_text()
# Commands that are still to come; a name leaves this set when its module lands.
_TO_COME = frozenset({"live"})
# Where the two differ on purpose: addresses, and folders.
_PLACES = {"listeners", "advertised.listeners", "controller.quorum.voters", "log.dirs"}
_PLACES |= {"controller.listener.names"}


def test_images_have_exact_tags() -> None:
    """No image is `latest`: each names a full version, Kafka's the one that tests start."""
    tags = re.findall(r"^ +image: [\w/.-]+:(\S+)$", _COMPOSE, re.MULTILINE)
    tags += re.findall(r"^FROM [\w/.-]+:(\S+)$", _DOCKERFILE, re.MULTILINE)
    assert len(tags) == 5
    assert all(re.match(r"v?\d+\.\d+\.\d+", tag) for tag in tags), tags
    assert f"apache/kafka:{kafka.VERSION}\n" in _COMPOSE


def test_containers_set_kafka_as_tests_do() -> None:
    """A setting that both name has one value, so that what tests prove holds in containers."""
    contained = {
        name.lower().replace("_", "."): value.strip('"')
        for name, value in re.findall(r"^ +KAFKA_([A-Z_]+): (\S+)$", _COMPOSE, re.MULTILINE)
    }
    tested = dict(
        line.format(record_bytes_max=kafka.RECORD_BYTES_MAX).split("=", 1)
        for line in kafka.SETTINGS.splitlines()
        if "=" in line and line.split("=", 1)[0] not in _PLACES
    )
    shared = set(contained) & set(tested)
    assert {"message.max.bytes", "auto.create.topics.enable", "process.roles"} <= shared
    assert {name: contained[name] for name in shared} == {name: tested[name] for name in shared}


def test_containers_run_commands_that_exist() -> None:
    """The first word of each container's command is a command of dipper."""
    named = set(re.findall(r"command:\n +- ([a-z]+)$", _COMPOSE, re.MULTILINE))
    known = set(getattr(get_command(cli.app), "commands", {}))
    assert len(named) == 6
    assert named <= known | _TO_COME
