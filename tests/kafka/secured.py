"""Apache Kafka as a bank runs it: TLS, SCRAM users, client certificates, and ACLs that deny all."""

import datetime as dt
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import SecretStr

from streams.broker.access import Access
from streams.broker.kafka import KafkaBroker
from streams.broker.server import free_ports

ADMIN = "admin"
MECHANISM = "SCRAM-SHA-512"

_SETTINGS = """\
listeners=SASL_SSL://127.0.0.1:{port},SSL://127.0.0.1:{certificate_port},\
CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=SASL_SSL://127.0.0.1:{port},SSL://127.0.0.1:{certificate_port}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL,SSL:SSL
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required \
username="admin" password="{password}";
listener.name.ssl.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location={folder}/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
# The controller's own port is the node's alone.
super.users=User:admin;User:ANONYMOUS
"""


class Authority:
    """A certificate authority of a test, and the certificates that it signs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
        self.file = folder / "ca.pem"
        self.file.write_bytes(self._sign(self._name, self._key, is_authority=True))

    def issue(self, name: str) -> Path:
        """Return a file with key and certificate of `name`, good for 127.0.0.1, mode 0600."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        file = self.folder / f"{name}.pem"
        file.touch(0o600)
        file.write_bytes(secret + self._sign(subject, key, is_authority=False))
        return file

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        host = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(host, critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


class SecuredKafka(KafkaBroker):
    """One node with two listeners: `bootstrap` for SCRAM users, `certificate_bootstrap` for
    clients that show a certificate. `passwords` by user; `admin` is super user.
    """

    def __init__(self, authority: Authority, passwords: dict[str, str]) -> None:
        super().__init__()
        self.authority = authority
        self.passwords = passwords
        self.certificate_bootstrap = ""
        self.access = self.access_of(ADMIN)

    def access_of(self, user: str) -> Access:
        """Return how this user enters."""
        return Access(
            protocol="SASL_SSL",
            mechanism=MECHANISM,
            user=user,
            password=SecretStr(self.passwords[user]),
            ca_file=self.authority.file,
        )

    def settings(self, port: int, controller_port: int) -> str:
        """Put our listeners in the place of the plain one."""
        plain = super().settings(port, controller_port)
        rest = [
            line
            for line in plain.splitlines()
            if not line.startswith(("listeners=", "advertised.listeners="))
        ]
        (certificate_port,) = free_ports(1)
        self.certificate_bootstrap = f"127.0.0.1:{certificate_port}"
        (self.folder / "ca.pem").write_bytes(self.authority.file.read_bytes())
        pem = self.authority.issue("broker")
        (self.folder / "broker.pem").write_bytes(pem.read_bytes())
        ours = _SETTINGS.format(
            port=port,
            certificate_port=certificate_port,
            controller_port=controller_port,
            folder=self.folder,
            password=self.passwords[ADMIN],
        )
        return "\n".join(rest) + "\n" + ours

    def format_arguments(self) -> list[str]:
        """Make every user before the node starts."""
        return [
            argument
            for user, password in self.passwords.items()
            for argument in ("--add-scram", f"{MECHANISM}=[name={user},password={password}]")
        ]
