"""The command line: help, examples, errors, and the commands of the house."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from streams import cli
from streams.broker.embedded import EmbeddedBroker
from streams.broker.kafka import KafkaBroker
from streams.errors import BrokerError, DipperError
from streams.topology import STAGES, TOPICS

# What takes long to import, or must not be loaded by whoever only asks for help.
_SLOW = ["aiokafka", "faust", "lightgbm", "numba", "numpy", "polars", "pydantic", "rich"]


def commands() -> Iterator[tuple[str, object]]:
    """Yield the full name and the object of every command, those in groups too."""
    open_groups = [("dipper", get_command(cli.app))]
    while open_groups:
        path, group = open_groups.pop()
        for name, command in getattr(group, "commands", {}).items():
            if hasattr(command, "commands"):
                open_groups.append((f"{path} {name}", command))
            else:
                yield f"{path} {name}", command


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(*each, id=each[0]) for each in commands()]
)
def test_every_command_has_help_and_example(path: str, command: object) -> None:
    """Each command says what it does, and shows one call of itself."""
    assert getattr(command, "help", None)
    assert f"Example: {path}" in (getattr(command, "epilog", None) or "")


def test_help_imports_nothing_slow() -> None:
    """`dipper --help` loads no kernel, no client and no frame, and so answers at once."""
    code = "import json, sys, streams.cli; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not set(_SLOW) & set(json.loads(done.stdout))


def test_topology_shows_every_stage_and_topic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables name each stage, its module and each topic, none cut short."""
    monkeypatch.setenv("COLUMNS", "100")
    shown = CliRunner().invoke(cli.app, ["topology"]).output
    for stage in STAGES:
        assert stage.name in shown
        assert stage.module in shown
    for topic in TOPICS:
        assert topic.name in shown


def test_an_error_is_one_sentence_and_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A fault of the input is printed without a trace, and the exit code is 2."""

    def fail() -> None:
        message = "policy.toml, line 3: no such feature; see the catalog"
        raise DipperError(message)

    monkeypatch.setattr(cli, "app", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "dipper: policy.toml, line 3: no such feature; see the catalog\n"
    )


def test_running_without_assertions_is_refused() -> None:
    """`python -O` ends with a sentence before anything is done."""
    done = subprocess.run(
        [sys.executable, "-O", "-c", "from streams.cli import main; main()", "topology"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("dipper: python -O")


def test_broker_runs_until_it_is_told_to_stop() -> None:
    """`dipper broker` prints HOST:PORT first, and a termination signal ends it in order."""
    with subprocess.Popen(
        [sys.executable, "-m", "streams", "broker", "--partitions", "2"],
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout is not None
        host, port = started.stdout.readline().strip().split(":")
        assert host == "127.0.0.1"
        assert int(port) > 0
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == 0


def test_application_is_a_group() -> None:
    """`dipper COMMAND` stays a group, so that adding or removing a command changes no call."""
    assert isinstance(cli.app, typer.Typer)
    assert "topology" in dict(getattr(get_command(cli.app), "commands", {}))


@pytest.mark.parametrize("command", [["demo", "--config"], ["control", "init"]])
def test_a_folder_that_is_no_deployment_is_refused(command: list[str], tmp_path: Path) -> None:
    """A mistyped folder ends with a sentence; nothing is made there."""
    folder = tmp_path / "mistyped"
    refused = CliRunner().invoke(cli.app, [*command, str(folder)]).exception
    assert isinstance(refused, DipperError)
    assert str(refused) == f"{folder}: no platform.toml here; name a deployment's folder"
    assert not folder.exists()


@pytest.mark.parametrize("broker", [EmbeddedBroker, KafkaBroker])
def test_a_taken_port_is_refused_before_another_broker_answers_there(
    broker: type[EmbeddedBroker | KafkaBroker],
) -> None:
    """Whoever listens on the port already would pass for the broker that fails to start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"^port {port} of 127.0.0.1 is taken; stop .*$"):
            broker(port).start()
