"""Apache Kafka 4.1 without Docker: one KRaft node from Maven's jars, in a temporary folder."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from streams.broker.server import BrokerServer, free_ports
from streams.errors import BrokerError

VERSION = "4.1.0"
RECORD_BYTES_MAX = 2_621_440  # 2.5 MiB: the largest dead letter with its headers, and room

_POM = Path(__file__).with_name("kafka_pom.xml")
_REMEDY = "install Java 17 and Maven, or name a running broker with --broker HOST:PORT"
_FETCH_S_MAX = 600
_COMPILER = "-XX:TieredStopAtLevel=1"

SETTINGS = """\
process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
controller.quorum.voters=1@127.0.0.1:{controller_port}
log.dirs={folder}/log
message.max.bytes={record_bytes_max}
replica.fetch.max.bytes={record_bytes_max}
# A topic that nobody made is a fault of configuration, not a topic of one partition.
auto.create.topics.enable=false
# One node holds every copy.
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
# Small internal topics: the node starts and stops sooner.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
# The first worker of a group does not wait for a second.
group.initial.rebalance.delay.ms=0
"""

_LOGGING = """\
rootLogger.level=warn
rootLogger.appenderRef.console.ref=console
appender.console.type=Console
appender.console.name=console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%p %m (%c)%n%throwable
"""


def missing_tools() -> list[str]:
    """Return which of the programs that Apache Kafka needs are not on the path."""
    needed = ["java"] if _is_complete(cache_folder()) else ["java", "mvn"]
    return [program for program in needed if shutil.which(program) is None]


def cache_folder() -> Path:
    """Return where the jars are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dipper" / f"kafka-{VERSION}"


def fetch_jars() -> Path:
    """Return the folder of the broker's jars (54 MB); the first caller fetches, others wait."""
    folder = cache_folder()
    if _is_complete(folder):
        return folder / "libs"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_complete(folder):
            shutil.rmtree(folder / "libs", ignore_errors=True)
            _copy_dependencies(folder / "libs")
            # Written last: its presence says that all jars are there.
            shutil.copyfile(_POM, folder / "pom.xml")
    return folder / "libs"


def _is_complete(folder: Path) -> bool:
    done = folder / "pom.xml"
    return done.exists() and done.read_bytes() == _POM.read_bytes()


def _copy_dependencies(target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        message = f"Maven (mvn) is not on the path, and Apache Kafka's jars are not here: {_REMEDY}"
        raise BrokerError(message)
    # From a folder of its own, since Maven writes beside its pom.
    target.mkdir(parents=True)
    arguments = ["-q", "-B", "-f", str(_POM), "dependency:copy-dependencies"]
    arguments += ["-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    try:
        done = subprocess.run(
            [maven, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=_FETCH_S_MAX,
            cwd=target,
        )
    except subprocess.TimeoutExpired as error:
        message = f"Maven did not bring Apache Kafka's jars in {_FETCH_S_MAX} s; try again"
        raise BrokerError(message) from error
    if done.returncode != 0:
        why = next(
            (line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line), "?"
        )
        message = f"Maven could not bring Apache Kafka's jars: {why}"
        raise BrokerError(message)


def class_archive() -> Path:
    """Return the file of classes that Java has loaded and checked; the first caller makes it.

    It halves a start (JEP 350). Java itself leaves it alone where it does not fit, and one that
    cannot make it leaves it empty: a start then takes longer, no more.
    """
    java = Path(shutil.which("java") or "java").resolve()
    known = f"{java} {java.stat().st_mtime_ns}"
    name = hashlib.sha256(known.encode()).hexdigest()[:16]
    archive = cache_folder() / f"classes-{name}.jsa"
    if archive.exists():
        return archive
    with (cache_folder() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not archive.exists():
            made = archive.with_suffix(".new")
            made.unlink(missing_ok=True)
            with _Training(made):
                pass
            made.touch()
            made.rename(archive)
    return archive


class KafkaBroker(BrokerServer):
    """One Apache Kafka node on free loopback ports: `with KafkaBroker() as broker: ...`.

    Most live for seconds: Java's second compiler, busy for the first minutes, would take more than
    it gives.
    """

    kind = "kafka"
    start_s_max = 90.0
    grace_s = 15.0

    def command(self) -> list[str]:
        """Fetch jars where missing, write settings, format the log; return Kafka's command line."""
        java = shutil.which("java")
        if java is None:
            message = f"Java is not on the path: {_REMEDY}"
            raise BrokerError(message)
        libs = fetch_jars()
        free, controller_port = free_ports(2)
        port = self.port or free
        self.bootstrap = f"127.0.0.1:{port}"
        settings = self.folder / "server.properties"
        settings.write_text(self.settings(port, controller_port))
        (self.folder / "log4j2.properties").write_text(_LOGGING)
        run = [
            java,
            "-Xmx512m",
            "-XX:+UseSerialGC",
            f"-Dlog4j2.configurationFile={self.folder}/log4j2.properties",
            _COMPILER,
            "-cp",
            f"{libs}/*",
            *self.classes(),
        ]
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        tool = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(settings)]
        tool += self.format_arguments()
        done = subprocess.run([*run, *tool], check=False, capture_output=True, text=True)
        if done.returncode != 0:
            message = f"Apache Kafka could not format its log: {(done.stdout + done.stderr)[-300:]}"
            raise BrokerError(message)
        return [*run, "kafka.Kafka", str(settings)]

    def classes(self) -> list[str]:
        """Return Java's option that names the classes loaded before."""
        return [f"-XX:SharedArchiveFile={class_archive()}"]

    def settings(self, port: int, controller_port: int) -> str:
        """Return the node's server.properties."""
        return SETTINGS.format(
            port=port,
            controller_port=controller_port,
            folder=self.folder,
            record_bytes_max=RECORD_BYTES_MAX,
        )

    def format_arguments(self) -> list[str]:
        """Return what more its log is formatted with: users that stand from the start."""
        return []


class _Training(KafkaBroker):
    """A node that starts, answers, stops, and then writes down which classes it has loaded."""

    grace_s = 120.0

    def __init__(self, target: Path) -> None:
        super().__init__()
        self._target = target

    def classes(self) -> list[str]:
        """Return nothing: there are none yet."""
        return []

    def command(self) -> list[str]:
        """Return Kafka's command line, with the option by which Java writes at its end."""
        java, *rest = super().command()
        return [java, f"-XX:ArchiveClassesAtExit={self._target}", *rest]
