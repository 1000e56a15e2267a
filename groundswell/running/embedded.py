"""The broker and the Redis that `groundswell up` brings along: memory only, on free loopback ports, in one child process.

The broker is librdkafka's mock cluster, which the confluent-kafka wheel carries: the real protocol over a real socket, driven by
ctypes so that topics get our partition counts. Redis is `redis-server` if it is on the PATH, else fakeredis over TCP. The same
aiokafka and redis clients talk to them as in production. Limits: 5 MiB a partition, one member a consumer group, gone on exit.

Run as a process: `python -m groundswell.running.embedded '{"topic": partitions, ...}'` prints one JSON line with the addresses and
lives until its standard input closes, so that it can never outlive the command that started it.
"""

import asyncio
import contextlib
import ctypes
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from groundswell.errors import Misconfigured

START_S = 20.0


class NoEmbeddedBroker(Misconfigured):
    """The broker inside the confluent-kafka wheel cannot be found or started."""

    reason = "no_embedded_broker"
    remedy = "Install the wheel (`make setup`), or set GROUNDSWELL_KAFKA to a broker of your own."


@dataclass(frozen=True)
class Services:
    """Addresses of what runs; `redis_kind` is redis-server or fakeredis."""

    kafka: str
    redis: str
    redis_kind: str


@dataclass
class EmbeddedProcess:
    """The child process and its addresses."""

    services: Services
    process: asyncio.subprocess.Process

    async def stop(self) -> None:
        """Close its input and wait; kill it when it does not leave."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            async with asyncio.timeout(5):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def start(topics: Mapping[str, int]) -> EmbeddedProcess:
    """Start broker and Redis with these topics. Raises NoEmbeddedBroker."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "groundswell.running.embedded", json.dumps(dict(topics)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for the command: it stops the stages first, the broker last
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_S):
            line = await process.stdout.readline()
    except TimeoutError:
        process.kill()
        line = b""
    if not line:
        await process.wait()
        raise NoEmbeddedBroker(f"The embedded services did not start (exit status {process.returncode}).")
    return EmbeddedProcess(Services(**json.loads(line)), process)


def main() -> None:
    """The child: serve until standard input closes."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # an exit that stops Redis: it is a process of its own
    topics = json.loads(sys.argv[1])
    with _broker(topics) as kafka, _redis() as (redis, kind):
        sys.stdout.write(json.dumps({"kafka": kafka, "redis": redis, "redis_kind": kind}) + "\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()


@contextlib.contextmanager
def _broker(topics: Mapping[str, int]) -> Iterator[str]:
    library = _librdkafka()
    error = ctypes.create_string_buffer(512)
    conf = library.rd_kafka_conf_new()
    library.rd_kafka_conf_set(conf, b"log_level", b"2", error, len(error))
    client = library.rd_kafka_new(0, conf, error, len(error))
    if not client:
        raise NoEmbeddedBroker(f"librdkafka refuses to start: {error.value.decode()}.")
    cluster = library.rd_kafka_mock_cluster_new(client, 1)
    # The first member of a group need not wait for others: there is one member a group here.
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    for name, partitions in topics.items():
        library.rd_kafka_mock_topic_create(cluster, name.encode(), partitions, 1)
    try:
        yield library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
    finally:
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)


def _librdkafka() -> ctypes.CDLL:
    import confluent_kafka

    package = Path(confluent_kafka.__file__).parent
    folders = (package.with_name("confluent_kafka.libs"), package / ".dylibs")
    found = [file for folder in folders for file in sorted(folder.glob("librdkafka*"))]
    if not found:
        raise NoEmbeddedBroker("The confluent-kafka wheel on this machine carries no librdkafka.")
    library = ctypes.CDLL(str(found[0]))
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


@contextlib.contextmanager
def _redis() -> Iterator[tuple[str, str]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"redis://127.0.0.1:{port}/0"
    server = shutil.which("redis-server")
    if server is None:
        with _fakeredis(port):
            yield address, "fakeredis"
        return
    process = subprocess.Popen(
        [server, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
         "--maxmemory-policy", "noeviction", "--daemonize", "no", "--loglevel", "warning"],
        stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait_for_port(port)
        yield address, "redis-server"
    finally:
        process.terminate()
        process.wait(timeout=5)


@contextlib.contextmanager
def _fakeredis(port: int) -> Iterator[None]:
    from fakeredis import TcpFakeServer

    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        _wait_for_port(port)
        yield
    finally:
        server.shutdown()
        server.server_close()


def _wait_for_port(port: int) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise NoEmbeddedBroker(f"The embedded Redis did not open its port {port}.")


if __name__ == "__main__":
    main()
