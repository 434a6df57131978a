"""Credentials from the environment and from a file."""

import ssl
from pathlib import Path

import pytest

from streams.broker.access import Access, load_access
from streams.errors import DipperError
from tests.kafka.secured import Authority

_SASL = {"DIPPER_KAFKA_PROTOCOL": "SASL_SSL", "DIPPER_KAFKA_USER": "worker"}


def test_nothing_set_is_plaintext() -> None:
    """Without settings clients take no credentials and no TLS."""
    assert load_access({}).client_settings() == {}


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    """A file names all but what a variable says otherwise."""
    secret = tmp_path / "password"
    secret.touch(0o600)
    secret.write_text("from a file\n")
    file = tmp_path / "kafka.toml"
    file.write_text(f'protocol = "SASL_SSL"\nuser = "control"\npassword_file = "{secret}"\n')
    named = {"DIPPER_KAFKA_CONFIG": str(file)}
    settings = load_access(named | {"DIPPER_KAFKA_USER": "worker"}).client_settings()
    context = settings.pop("ssl_context")
    assert settings == {
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "worker",
        "sasl_plain_password": "from a file",
    }
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert load_access(named).user == "control"


def test_a_certificate_and_its_key(tmp_path: Path) -> None:
    """A file with key and certificate is shown; one that others may read, or of no use, is not."""
    authority = Authority(tmp_path)
    pem = authority.issue("worker-1")
    access = Access(protocol="SSL", certificate_file=pem, ca_file=authority.file)
    assert access.client_settings()["security_protocol"] == "SSL"
    pem.chmod(0o644)
    with pytest.raises(DipperError, match="chmod 600"):
        access.client_settings()
    junk = tmp_path / "junk.pem"
    junk.touch(0o600)
    with pytest.raises(DipperError, match="no certificate and key"):
        Access(protocol="SSL", certificate_file=junk).client_settings()


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (_SASL, "DIPPER_KAFKA_.* needs user, and password"),
        ({"DIPPER_KAFKA_PROTOCOL": "SASL_PLAINTEXT"}, "DIPPER_KAFKA_PROTOCOL: "),
        ({"DIPPER_KAFKA_PASSWORD": "secret-word"}, "without TLS"),
        (_SASL | {"DIPPER_KAFKA_PASSWORD_FILE": "/nowhere"}, "/nowhere: No such file"),
        (_SASL | {"DIPPER_KAFKA_PASSWORD": "x", "DIPPER_KAFKA_CA_FILE": "/none"}, "ca_file /none"),
        ({"DIPPER_KAFKA_CONFIG": "/nowhere.toml"}, "/nowhere.toml: No such file"),
        (_SASL | {"DIPPER_KAFKA_PASSWORD": "secret-word", "DIPPER_KAFKA_MECHANISM": "PLAIN"},
         "DIPPER_KAFKA_MECHANISM"),
    ],
)  # fmt: skip
def test_faults_are_named_without_secrets(environment: dict[str, str], sentence: str) -> None:
    """What is missing or unsafe is one sentence that names the setting, and never its secret."""
    with pytest.raises(DipperError, match=sentence) as fault:
        load_access(environment).client_settings()
    assert "secret-word" not in f"{fault.value!r} {fault.value.__cause__!r}"


def test_a_file_with_a_password_is_its_owner_s(tmp_path: Path) -> None:
    """A file that others may read must not hold a password; broken TOML is not quoted."""
    file = tmp_path / "kafka.toml"
    file.touch(0o644)
    file.write_text('protocol = "SASL_SSL"\nuser = "u"\npassword = "secret-word"\n')
    with pytest.raises(DipperError, match="chmod 600"):
        load_access({"DIPPER_KAFKA_CONFIG": str(file)})
    file.chmod(0o600)
    access = load_access({"DIPPER_KAFKA_CONFIG": str(file)})
    assert "secret-word" not in f"{access!r} {access}"
    file.write_text('password = "secret-word')
    with pytest.raises(DipperError, match="no TOML") as fault:
        load_access({"DIPPER_KAFKA_CONFIG": str(file)})
    assert "secret-word" not in str(fault.value)
