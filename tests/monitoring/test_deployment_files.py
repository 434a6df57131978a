"""What starts dipper elsewhere: containers, Grafana, Kubernetes; held to the code."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from compose_spec import PyCompose
from typer.main import get_command

from monitoring.endpoint import Health, serve_metrics
from monitoring.grafana_files import SOURCE
from streams import cli

ROOT = Path(__file__).resolve().parents[2]
_COMPOSE = (ROOT / "docker-compose.yml").read_text()
_SERVICES: dict[str, Any] = yaml.safe_load(_COMPOSE)["services"]
_KUBERNETES = list(yaml.safe_load_all((ROOT / "examples/kubernetes/dipper.yaml").read_text()))
_PROMETHEUS = yaml.safe_load((ROOT / "monitoring/prometheus/prometheus.yml").read_text())


def _defaults(text: str) -> str:
    """Return what compose makes of `${NAME:-value}` where NAME is not set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_the_compose_file_is_one_by_its_specification() -> None:
    """The Compose specification's own parser takes the file, with every service that is told."""
    # Merge keys are YAML's, and are gone once it is read.
    found = PyCompose.from_yaml(yaml.safe_dump(yaml.safe_load(_defaults(_COMPOSE))))
    expected = {
        "kafka", "control", "worker", "keeper", "archiver", "agents", "simulator", "prometheus",
        "grafana",
    }  # fmt: skip
    assert set(found.service_names()) == expected


def test_every_mounted_file_exists() -> None:
    """What a container mounts from here is here, and volumes by name are declared."""
    volumes = set(yaml.safe_load(_COMPOSE)["volumes"])
    for name, service in _SERVICES.items():
        for mount in service.get("volumes", ()):
            source = _defaults(mount).split(":")[0]
            known = source in volumes or source == "/dev/null" or (ROOT / source).exists()
            assert known, f"{name} mounts {source}"


def test_long_running_services_say_how_they_are() -> None:
    """Every service has a health check, and its image an exact version."""
    for name, service in _SERVICES.items():
        assert "test" in service["healthcheck"], name
        assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name


def _asked(service: dict[str, Any]) -> int | None:
    """Return the port at which a service of ours is asked for its health."""
    code = service["healthcheck"]["test"][-1]
    match = re.search(r"http://127\.0\.0\.1:(\d+)/healthz", code)
    return int(match[1]) if match else None


@pytest.mark.parametrize(
    ("alive", "code"), [(None, 0), ("the loop has not come round for 70 s", 1)]
)
def test_the_health_check_of_compose_tells_alive_from_not(alive: str | None, code: int) -> None:
    """The very command of docker-compose.yml, at another port, ends with 0 where /healthz answers
    that all is well, and with 1 where it does not; each service of ours has it at its own port.
    """
    ours = {n: s for n, s in _SERVICES.items() if s["image"].startswith("dipper:")}
    for name, service in ours.items():
        option = next(w for w in service["command"] if w.startswith(("--metrics-port", "--health")))
        assert _asked(service) == int(option.rpartition("=")[2]), name
    asked = ours["worker"]["healthcheck"]["test"]
    assert asked[:3] == ["CMD", "python", "-c"]
    with serve_metrics(None, 0, health=Health(lambda: alive, lambda: None)) as port:
        words = [sys.executable, "-c", asked[3].replace(":9100/", f":{port}/")]
        done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == code


def test_the_private_key_is_in_control_alone() -> None:
    """Whoever mounts the configuration and is not control sees an empty file in place of the
    key.
    """
    for name, service in _SERVICES.items():
        hidden = "/dev/null:/config/keys/control.key:ro" in service.get("volumes", ())
        mounts = any("/config:" in mount for mount in service.get("volumes", ()))
        assert hidden == (mounts and name != "control"), name


def test_prometheus_scrapes_what_runs() -> None:
    """Each job is a service that shows metrics at that port; Prometheus takes the file."""
    jobs = {job["job_name"]: job["dns_sd_configs"][0] for job in _PROMETHEUS["scrape_configs"]}
    shown = {
        name: int(match[1])
        for name, service in _SERVICES.items()
        if (match := re.search(r"--metrics-port=(\d+)", str(service.get("command"))))
    }
    assert {name: job["port"] for name, job in jobs.items()} == shown
    assert all(job["names"] == [name] for name, job in jobs.items())
    command = ["promtool", "check", "config", "monitoring/prometheus/prometheus.yml"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_grafana_finds_its_source_and_dashboards() -> None:
    """The provisioned source has the uid that dashboards name and the address of Prometheus; the
    folder of dashboards is where the container mounts it, and the home page is one of them.
    """
    folder = ROOT / "monitoring" / "grafana" / "provisioning"
    source = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())
    told = source["datasources"][0]
    assert (told["uid"], told["type"]) == (SOURCE.uid, SOURCE.type_val)
    assert told["url"] == "http://prometheus:9090"
    assert told["jsonData"]["timeInterval"] == _PROMETHEUS["global"]["scrape_interval"]
    provider = yaml.safe_load((folder / "dashboards" / "dipper.yml").read_text())["providers"][0]
    inside = provider["options"]["path"]
    grafana = _SERVICES["grafana"]
    assert f"./monitoring/grafana/dashboards:{inside}:ro" in grafana["volumes"]
    home = grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    stored = ROOT / "monitoring" / "grafana" / "dashboards" / Path(home).name
    assert Path(home).parent == Path(inside)
    assert json.loads(stored.read_text())["panels"]


def test_kubernetes_takes_the_example() -> None:
    """Each object is valid, unknown fields refused, by the schemas of Kubernetes itself; one that
    is not is seen.
    """
    assert len(_KUBERNETES) == 7
    for thing in _KUBERNETES:
        kubernetes_validate.validate(thing, "1.34", strict=True)
    wrong = json.loads(json.dumps(_KUBERNETES[0]))
    wrong["spec"]["replica"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.34", strict=True)


def _commands() -> Iterator[list[str]]:
    for service in _SERVICES.values():
        if service.get("image", "").startswith("dipper:"):
            yield [_defaults(word) for word in service["command"]]
    for thing in _KUBERNETES:
        if "template" in thing["spec"]:
            yield thing["spec"]["template"]["spec"]["containers"][0]["args"]


@pytest.mark.parametrize("words", list(_commands()), ids=lambda words: words[0])
def test_containers_call_commands_as_they_are(words: list[str]) -> None:
    """Each container's command and every option of it is taken by the command line."""
    name, *words = words
    command: Any = getattr(get_command(cli.app), "commands", {})[name]
    while words[0] in getattr(command, "commands", {}):
        name, *words = words
        command = command.commands[name]
    assert command.callback is not None, f"{name} alone does nothing"
    command.make_context(name, words, resilient_parsing=False)


def test_probes_ask_what_is_answered() -> None:
    """Probes name the container's port and a path that the endpoint answers."""
    probed = 0
    for thing in _KUBERNETES:
        if "template" not in thing["spec"]:
            continue
        container = thing["spec"]["template"]["spec"]["containers"][0]
        ports = {port["name"] for port in container["ports"]}
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            if name in container:
                asked = container[name]["httpGet"]
                assert asked["path"] in {"/healthz", "/readyz"}
                assert asked["port"] in ports
                probed += 1
    assert probed == 6
