"""A Redis and a Kafka of a chaos run's own, real servers that may be killed: never the ones that `make services` shares.

Kafka comes from the jars that `make services` fetched, with the properties of ops/kafka and other ports; both live in a folder of the run.
"""

import asyncio
import os
import random
import shutil
import signal
import socket
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from redis.asyncio import Redis
from redis.exceptions import RedisError

from groundswell.errors import Fatal, Misconfigured

ROOT = Path(__file__).parents[1]
JARS = ROOT / "var" / "services" / "kafka" / "libs"
START_S = 90.0
LOST_S = 1.0  # what `appendfsync everysec` may lose when the power goes
SAMPLE_S = 0.1
CLOSED_S = 30.0

Made = TypeVar("Made")


class NoServices(Misconfigured):
    """A server that a chaos run needs is not here or does not start."""

    reason = "no_services"
    remedy = "Run `make services` in a checkout: it fetches Kafka and installs Redis and Java."


class TookTooLong(Fatal):
    """A chaos run waits for something that does not come; the message names it."""

    reason = "took_too_long"
    remedy = "The logs of the run say why."


async def within(seconds: float, what: str, doing: Awaitable[Made]) -> Made:
    """Raises TookTooLong when the time is over."""
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            return await doing
    except TimeoutError as error:
        if not deadline.expired():
            raise
        raise TookTooLong(f"{what} took longer than {seconds:.0f} s.") from error


async def closed(closing: Coroutine[Any, Any, Any]) -> None:
    """Wait a while for a client to close; one that does not is left behind. For every `finally`: a wait there outlives any deadline."""
    task = asyncio.create_task(closing)
    await asyncio.wait({task}, timeout=CLOSED_S)
    if task.done() and not task.cancelled():
        task.exception()  # of no interest: it is gone


class Server(Protocol):
    """What faults do to a server."""

    process: asyncio.subprocess.Process | None

    async def start(self) -> None: ...


def hit(server: Server, number: signal.Signals) -> None:
    """A signal, if it runs."""
    if server.process is not None and server.process.returncode is None:
        with suppress(ProcessLookupError):
            server.process.send_signal(number)


async def kill(server: Server) -> None:
    """kill -9, also of one that is stopped."""
    if server.process is not None and server.process.returncode is None:
        with suppress(ProcessLookupError):
            server.process.kill()
        await within(CLOSED_S, "A kill -9", server.process.wait())


class OwnRedis:
    """A redis-server with an append-only file, as it is run in earnest."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder / "redis", free_port()
        self._folder.mkdir(parents=True)
        self.address = f"redis://127.0.0.1:{self._port}/0"
        self.process: asyncio.subprocess.Process | None = None
        self._sizes: deque[tuple[float, Path, int]] = deque(maxlen=100)
        self._sampling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises NoServices."""
        server = shutil.which("redis-server")
        if server is None:
            raise NoServices("There is no redis-server on this machine.")
        with (self._folder / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                server, "--bind", "127.0.0.1", "--port", str(self._port), "--dir", str(self._folder), "--save", "",
                "--appendonly", "yes", "--appendfsync", "everysec", "--maxmemory-policy", "noeviction",
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._sampling = self._sampling or asyncio.create_task(self._sample())
        client = Redis.from_url(self.address, socket_timeout=1)
        try:
            await _until(lambda: _pongs(client), self, "Redis")
        finally:
            await closed(client.aclose())

    async def lose_power(self, chance: random.Random) -> int:
        """Kill it and cut off what it may not have brought to the disk: up to a second. Returns the bytes cut."""
        await kill(self)
        now_s = time.monotonic()
        newest = max(self._folder.glob("appendonlydir/*.incr.aof"), key=lambda file: file.stat().st_mtime, default=None)
        sizes = [size for at_s, file, size in self._sizes if file == newest and now_s - at_s <= LOST_S]
        if newest is None or not sizes:
            return 0
        written = newest.stat().st_size
        kept = chance.randint(min(sizes), written)  # in the middle of a command, too: Redis drops a torn end
        os.truncate(newest, kept)
        return written - kept

    async def stop(self) -> None:
        if self._sampling is not None:
            self._sampling.cancel()
        await kill(self)

    async def _sample(self) -> None:
        """Note how long the file was when, so that a lost second is a second."""
        while True:
            for file in self._folder.glob("appendonlydir/*.incr.aof"):
                with suppress(OSError):
                    self._sizes.append((time.monotonic(), file, file.stat().st_size))
            await asyncio.sleep(SAMPLE_S)


class OwnKafka:
    """One broker and controller in one process, as `make services` runs it."""

    def __init__(self, folder: Path) -> None:
        self._home, self._port = folder / "kafka", free_port()
        self._home.mkdir(parents=True)
        self.address = f"127.0.0.1:{self._port}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Raises NoServices."""
        if not (self._home / "server.properties").exists():
            await self._format()
        with (self._home / "server.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *_java("-Xms192m", "-Xmx512m", "-XX:+UseSerialGC"), "-cp", f"{self._home}:{JARS}/*", "kafka.Kafka", "server.properties",
                cwd=self._home, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        await _until(lambda: asyncio.to_thread(_has_broker, self.address), self, "Kafka")

    async def _format(self) -> None:
        if not JARS.is_dir() or shutil.which("java") is None:
            raise NoServices("Kafka's jars or Java are not here.")
        given = (ROOT / "ops" / "kafka" / "server.properties").read_text(encoding="utf-8")
        mine = given.replace("19092", str(self._port)).replace("19093", str(free_port()))
        (self._home / "server.properties").write_text(mine, encoding="utf-8")
        shutil.copy(ROOT / "ops" / "kafka" / "simplelogger.properties", self._home)
        with (self._home / "format.log").open("wb") as log:
            formatting = await asyncio.create_subprocess_exec(
                *_java(), "-cp", f"{JARS}/*", "kafka.tools.StorageTool", "format", "--standalone", "-t", "groundswell-chaos-0001",
                "-c", "server.properties", cwd=self._home, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        if await within(START_S, "Making Kafka's data folder", formatting.wait()):
            raise NoServices(f"Kafka's data folder could not be made; {self._home / 'format.log'} says why.")

    async def stop(self) -> None:
        await kill(self)


@asynccontextmanager
async def services(folder: Path) -> AsyncIterator[tuple[OwnKafka, OwnRedis]]:
    """Both, up; gone when the block ends. Raises NoServices."""
    kafka, redis = OwnKafka(folder), OwnRedis(folder)
    try:
        await asyncio.gather(kafka.start(), redis.start())
        yield kafka, redis
    finally:
        await asyncio.gather(kafka.stop(), redis.stop())


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def _java(*more: str) -> Sequence[str]:
    return ("java", "-XX:TieredStopAtLevel=1", *more)


async def _pongs(client: Redis) -> bool:
    try:
        return bool(await client.ping())
    except (RedisError, OSError):
        return False


def _has_broker(address: str) -> bool:
    client = AdminClient({"bootstrap.servers": address, "log_level": 0, "socket.timeout.ms": 2_000})
    try:
        return bool(client.list_topics(timeout=2).brokers)
    except KafkaException:
        return False


async def _until(true: object, server: Server, name: str) -> None:
    end_s = time.monotonic() + START_S
    while not await true():  # type: ignore[operator]
        ended = server.process is None or server.process.returncode is not None
        if ended or time.monotonic() > end_s:
            raise NoServices(f"{name} {'ended' if ended else 'did not answer in time'}.")
        await asyncio.sleep(0.1)
