"""How clients prove to a broker who they are, and see that it is the right one: TLS and SASL.

Settings come from the environment, `DIPPER_KAFKA_PROTOCOL` and so on by the fields of `Access`, or
from a TOML file with these fields that `DIPPER_KAFKA_CONFIG` names; a single variable wins over the
file. Nothing set: PLAINTEXT, for a broker on this machine.
"""

import os
import ssl
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from aiokafka.admin import AIOKafkaAdminClient
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, model_validator

from streams.errors import DipperError

PREFIX = "DIPPER_KAFKA_"
CONFIG_FILE = f"{PREFIX}CONFIG"
_OTHERS = 0o077


class Access(BaseModel):
    """What a client shows, and what it trusts. Never printed: the password is a secret string.

    `protocol`: PLAINTEXT, SSL (a certificate says who we are, or nobody does) or SASL_SSL (a SCRAM
    user with a password, and a certificate where the broker asks for one). There is no password
    without TLS. Files: `ca_file` (who may vouch for the broker; default the system's),
    `certificate_file` and `key_file` (ours, PEM), `password_file` (one line).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    protocol: Literal["PLAINTEXT", "SSL", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.protocol == "SASL_SSL" and not (
            self.user and (self.password.get_secret_value() or self.password_file)
        ):
            raise ValueError("SASL_SSL needs user, and password or password_file")
        if self.protocol == "PLAINTEXT" and self.model_fields_set - {"protocol"}:
            raise ValueError("without TLS no user, password or certificate is sent: set protocol")
        if self.key_file and not self.certificate_file:
            raise ValueError("key_file needs certificate_file")
        return self

    def client_settings(self) -> dict[str, Any]:
        """Return what aiokafka's clients take; `DipperError` where a file is missing or open to
        others.
        """
        if self.protocol == "PLAINTEXT":
            return {}
        settings: dict[str, Any] = {
            "security_protocol": self.protocol,
            "ssl_context": self._tls(),
        }
        if self.protocol == "SASL_SSL":
            settings |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.user,
                "sasl_plain_password": self._password(),
            }
        return settings

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=_readable(self.ca_file, "ca_file"))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        certificate = _readable(self.certificate_file, "certificate_file")
        if certificate is None:
            return context
        key = self.key_file or self.certificate_file
        assert key is not None
        try:
            context.load_cert_chain(certificate, private_file(key))
        except ssl.SSLError as error:
            raise DipperError(
                f"{certificate} and {key} are no certificate and key in PEM form that fit"
            ) from error
        return context

    def _password(self) -> str:
        if self.password_file is None:
            return self.password.get_secret_value()
        return private_file(self.password_file).read_text().strip()


def load_access(environment: Mapping[str, str] | None = None) -> Access:
    """Return the access that the environment describes; `DipperError` naming the field if not."""
    environment = os.environ if environment is None else environment
    settings: dict[str, Any] = {}
    file = environment.get(CONFIG_FILE)
    if file:
        settings = _read_file(Path(file))
    for name in Access.model_fields:
        value = environment.get(PREFIX + name.upper())
        if value:
            settings[name] = value
    try:
        return Access.model_validate(settings)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)[0]
        field = ".".join(str(part) for part in wrong["loc"])
        where = f"{PREFIX}{field.upper()}" if field else f"{PREFIX}*"
        why = wrong["msg"].removeprefix("Value error, ")
        raise DipperError(f"{where}{f' or {file}' if file else ''}: {why}") from None


def make_admin(
    bootstrap: str, access: Access | None = None, **overrides: Any
) -> AIOKafkaAdminClient:
    """Return an admin client, not started; `access` is the environment's where not given."""
    settings = (access or load_access()).client_settings()
    return AIOKafkaAdminClient(bootstrap_servers=bootstrap, **(settings | overrides))


def private_file(path: Path) -> Path:
    """Return the path of a file that only its owner may read; `DipperError` where it is not so."""
    try:
        mode = path.stat().st_mode
        with path.open("rb"):
            pass
    except OSError as error:
        raise DipperError(f"{path}: {error.strerror or 'cannot be read'}") from error
    if mode & _OTHERS:
        raise DipperError(f"{path} can be read by others; run: chmod 600 {path}")
    return path


def _readable(path: Path | None, field: str) -> Path | None:
    if path is not None and not path.is_file():
        raise DipperError(f"{field} {path}: no such file")
    return path


def _read_file(path: Path) -> dict[str, Any]:
    try:
        settings = tomllib.loads(path.read_text())
    except OSError as error:
        raise DipperError(f"{path}: {error.strerror}; {CONFIG_FILE} names it") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # Not the error's own text: it may quote a line, and a line may hold a password.
        raise DipperError(f"{path} is no TOML; {CONFIG_FILE} names it") from error
    if "password" in settings:
        private_file(path)
    return settings
