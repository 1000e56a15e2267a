"""Real servers that let nobody in without a password or a certificate, each started by a test on ports and a folder of its own.

Kafka comes from the jars that `make services` fetched; certificates are made here, good for an hour.
Used by tests/integration/test_secured_*.py.
"""

import datetime as dt
import ipaddress
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stream.rights import NEEDS
from stream.topology import Topology
from tests.conftest import kafka_answers, missing

JARS = Path(__file__).parents[1] / "var" / "services" / "kafka" / "libs"
PASSWORD = "correct-horse"
START_S = 60.0


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Certificates:
    """An authority, and what it signs: PEM files in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"authority of {folder.name}")])
        self.ca = self._write("ca.pem", self._signed(self._name, self._key, [], authority=True))

    def signed(self, name: str, *hosts: str) -> tuple[str, str, str]:
        """Files with the certificate, its key, and both; for a server that answers at these hosts, or a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        cert = self._signed(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key, hosts)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return (
            self._write(f"{name}.pem", cert),
            self._write(f"{name}.key", private),
            self._write(f"{name}-both.pem", private + cert),
        )

    def _signed(
        self, name: x509.Name, key: ec.EllipticCurvePrivateKey, hosts: Sequence[str], *, authority: bool = False
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if hosts:
            names = [
                x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
                for host in hosts
            ]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _write(self, name: str, content: bytes) -> str:
        path = self._folder / name
        path.write_bytes(content)
        return str(path)


@contextmanager
def running(command: Sequence[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server in a folder, its words in server.log; ended with the block, by force when it must."""
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _in_time(process: "subprocess.Popen[bytes]", end_s: float, folder: Path) -> None:
    if process.poll() is not None or time.monotonic() > end_s:
        raise AssertionError((folder / "server.log").read_text(encoding="utf-8", errors="replace")[-2_000:])


# --- Kafka -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SecuredKafka:
    """One broker with ACLs. `scram`: SASL_SSL with SCRAM or PLAIN; `mutual`: SSL with client certificates; `elsewhere`: SASL_SSL with a
    certificate for another host; `administrator`: plain text, where anything is allowed."""

    scram: str
    mutual: str
    elsewhere: str
    administrator: str

    def allow(self, principal: str, kind: ResourceType, name: str, *operations: AclOperation) -> None:
        """Returns when the broker goes by it."""
        admin = AdminClient(
            {"bootstrap.servers": self.administrator, "log_level": 0}
        )  # kept: without it its answers are lost
        for operation in operations:
            acl = AclBinding(
                kind, name, ResourcePatternType.LITERAL, principal, "*", operation, AclPermissionType.ALLOW
            )
            admin.create_acls([acl], request_timeout=20)[acl].result(timeout=20)
            wanted = AclBindingFilter(
                kind, name, ResourcePatternType.LITERAL, principal, "*", operation, AclPermissionType.ALLOW
            )
            while not admin.describe_acls(wanted, request_timeout=20).result(timeout=20):
                time.sleep(0.02)

    def allow_process(self, principal: str, who: str, topology: Topology) -> None:
        """Exactly what stream/rights.py says that a process needs."""
        needs = NEEDS[who]
        for topic in needs.reads:
            self.allow(principal, ResourceType.TOPIC, topology.name(topic), AclOperation.READ)
        for topic in needs.writes:
            self.allow(principal, ResourceType.TOPIC, topology.name(topic), AclOperation.WRITE)
        if needs.group:
            self.allow(principal, ResourceType.GROUP, f"{topology.prefix}-{who}", AclOperation.READ)


@contextmanager
def secured_kafka(folder: Path, certificates: Certificates, users: Sequence[str]) -> Iterator[SecuredKafka]:
    """A broker that knows these users, all by PASSWORD, with SCRAM-SHA-512, and `old` with SCRAM-SHA-256 and `plain` with PLAIN."""
    if shutil.which("java") is None or not JARS.is_dir():
        missing("No Java, or no Kafka in var/services: run 'make services'.")
    names = ("administrator", "scram", "mutual", "elsewhere", "controller")
    at = {name: f"127.0.0.1:{free_port()}" for name in names}
    _, _, server = certificates.signed("server", "127.0.0.1", "localhost")
    _, _, stranger = certificates.signed("stranger", "kafka.elsewhere.example")
    jaas = "org.apache.kafka.common.security"
    lines = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.bootstrap.servers": at["controller"],
        "listeners": ",".join(f"{name.upper()}://{address}" for name, address in at.items()),
        "advertised.listeners": ",".join(f"{name.upper()}://{at[name]}" for name in names[:-1]),
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "ADMINISTRATOR:PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL,ELSEWHERE:SASL_SSL,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "ADMINISTRATOR",
        "log.dirs": "data",
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "2",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "log.index.size.max.bytes": "1048576",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": server,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": certificates.ca,
        "listener.name.mutual.ssl.client.auth": "required",
        "listener.name.elsewhere.ssl.keystore.type": "PEM",
        "listener.name.elsewhere.ssl.keystore.location": stranger,
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-512,SCRAM-SHA-256,PLAIN",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;",
        "listener.name.scram.scram-sha-256.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;",
        "listener.name.scram.plain.sasl.jaas.config": f'{jaas}.plain.PlainLoginModule required user_plain="{PASSWORD}";',
        "listener.name.elsewhere.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.elsewhere.scram-sha-512.sasl.jaas.config": f"{jaas}.scram.ScramLoginModule required;",
    }
    (folder / "server.properties").write_text(
        "".join(f"{name}={value}\n" for name, value in lines.items()), encoding="utf-8"
    )
    logger = JARS.parents[3] / "ops" / "kafka" / "simplelogger.properties"
    shutil.copy(logger, folder)
    java = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx384m", "-cp", f"{folder}:{JARS}/*"]
    scram = [f"SCRAM-SHA-512=[name={user},password={PASSWORD}]" for user in users]
    scram.append(f"SCRAM-SHA-256=[name=old,password={PASSWORD}]")
    subprocess.run(
        [*java, "kafka.tools.StorageTool", "format", "--standalone", "-t", "groundswell-tests-0002", "-c", "server.properties",
         *(word for one in scram for word in ("--add-scram", one))],
        cwd=folder, check=True, capture_output=True, timeout=START_S,
    )  # fmt: skip
    with running([*java, "kafka.Kafka", "server.properties"], folder) as process:
        end_s = time.monotonic() + START_S
        while not kafka_answers(at["administrator"], 1.0):
            _in_time(process, end_s, folder)
            time.sleep(0.1)
        yield SecuredKafka(at["scram"], at["mutual"], at["elsewhere"], at["administrator"])


# --- Redis -------------------------------------------------------------------------------------------------------


@contextmanager
def redis_server(
    folder: Path, port: int, client: Mapping[str, object], *options: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A server with these options, or with a sentinel's file, once it answers a client made with `client` (arguments of redis.Redis)."""
    if shutil.which("redis-server") is None:
        missing("No redis-server: run 'make services'.")
    folder.mkdir(exist_ok=True)
    kept = [] if "--sentinel" in options else ["--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    command = ["redis-server", *options, *kept]
    with running(command, folder) as process:
        end_s = time.monotonic() + START_S
        while True:
            try:
                with redis.Redis(host="127.0.0.1", port=port, **client) as asked:  # type: ignore[arg-type]
                    asked.ping()
                break
            except redis.RedisError:
                _in_time(process, end_s, folder)
                time.sleep(0.05)
        yield process


@contextmanager
def redis_cluster(folder: Path) -> Iterator[list[int]]:
    """Three nodes that share the slots; their ports."""
    if shutil.which("redis-cli") is None:
        missing("No redis-cli: run 'make services'.")
    ports = [free_port() for _ in range(3)]
    with _node(folder / "a", ports[0]), _node(folder / "b", ports[1]), _node(folder / "c", ports[2]):
        addresses = [f"127.0.0.1:{port}" for port in ports]
        subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-yes"], check=True, capture_output=True, timeout=START_S
        )  # fmt: skip
        end_s = time.monotonic() + START_S
        for port in ports:
            with redis.Redis(port=port) as node:
                while b"cluster_state:ok" not in node.execute_command("CLUSTER", "INFO"):
                    assert time.monotonic() < end_s
                    time.sleep(0.05)
        yield ports


def _node(folder: Path, port: int) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return redis_server(
        folder, port, {}, "--port", str(port), "--cluster-enabled", "yes", "--cluster-node-timeout", "2000",
        "--cluster-port", str(free_port()),
    )  # fmt: skip
