"""What delivery is measured on: a broker, a Redis, receivers, and `groundswell deliver` as the process that it is.

bench/deliver.py measures on it, tests/chaos/test_deliver_kills.py kills on it. Reads /proc, so memory and processor time are for
Linux only. The events are made in deliver_events.py, the receivers are in deliver_receivers.py.
"""

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiokafka import AIOKafkaProducer
from msgspec import structs

from bench.deliver_events import Alert
from bench.deliver_receivers import Receivers, receivers
from groundswell import settings as all_settings
from groundswell.clients.connect import RedisClient, acknowledged, close_producer, open_producer, open_redis
from groundswell.control import write
from groundswell.errors import Misconfigured
from groundswell.keys import Keys
from groundswell.records import Endpoint
from groundswell.running import beat, embedded
from groundswell.secrets import SecretBox, new_key, new_signing_secret
from groundswell.settings import Settings
from stream import create
from stream.topology import ALERTS, Topology

LOOK_S = 0.05
SAMPLE_S = 0.5
START_S = 30.0
AN_HOUR_MS = 3_600_000


class DeliverSlow(Misconfigured):
    """The deliver process did not do what is waited for."""

    reason = "deliver_slow"
    remedy = "Its log follows."


@dataclass
class Road:
    """One installation of delivery alone: no other stage runs."""

    settings: Settings
    topology: Topology
    redis: RedisClient
    producer: AIOKafkaProducer
    receivers: Receivers
    folder: Path
    endpoints: list[str] = field(default_factory=list)  # ids, by number
    processes: int = 0

    @property
    def keys(self) -> Keys:
        return Keys(self.topology.prefix)

    @property
    def log(self) -> Path:
        return self.folder / "deliver.log"

    async def subscribe(self) -> None:
        """An endpoint for each receiver."""
        box, now = SecretBox(self.settings.secret_key), time.time_ns() // 1_000_000
        for number in range(len(self.receivers.behaviours)):
            name, url = f"hook_bench{number:03d}", self.receivers.url(number)
            self.endpoints.append(name)
            endpoint = Endpoint(
                id=name,
                name=f"{self.receivers.behaviours[number]} {number}",
                url=box.seal(url, name, "url"),
                secret=box.seal(new_signing_secret(), name, "secret"),
                shown=url.partition("//")[2],
                created_at=now - AN_HOUR_MS,
            )
            await write(self.producer, self.topology, endpoint)

    async def tell(self, alerts: Sequence[Alert], pace: float = 0.0) -> dict[str, float]:
        """Write alerts, `pace` a second or at once; answers when each was written (id -> time.monotonic()). Raises ProduceFailed."""
        name, written, waiting = self.topology.name(ALERTS), {}, []
        begun_s = time.monotonic()
        for number, alert in enumerate(alerts):
            if pace:
                await asyncio.sleep(max(begun_s + number / pace - time.monotonic(), 0))
            written[alert.id] = time.monotonic()
            waiting.append(await self.producer.send(name, alert.body, key=alert.episode.encode()))
        await acknowledged(waiting)
        return written

    @asynccontextmanager
    async def deliver(self, command: Sequence[str] = ("-m", "groundswell", "deliver")) -> AsyncIterator["Deliver"]:
        """`groundswell deliver` while the block runs, from the moment it leads or stands by; killed at its end if it still runs."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(all_settings.PREFIX)}
        begun_s = time.monotonic()
        self.processes += 1
        with self.log.open("ab") as out:
            process = await asyncio.create_subprocess_exec(
                sys.executable, *command, env=clean | all_settings.environment(self.settings),
                stdin=asyncio.subprocess.DEVNULL, stdout=out, stderr=out,
            )  # fmt: skip
        found = Deliver(self, process, begun_s)
        sampling = asyncio.create_task(found.sample())
        try:
            await self.until(found.is_up, "deliver to come up", START_S, process)
            found.start_s = time.monotonic() - begun_s
            yield found
        finally:
            sampling.cancel()
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.send_signal(signal.SIGCONT)
                process.kill()
                await process.wait()

    async def until(
        self,
        true: Callable[[], Awaitable[bool]],
        what: str,
        seconds: float,
        process: asyncio.subprocess.Process | None = None,
    ) -> None:
        """Wait for something. Raises DeliverSlow with the end of the log, also when `process` ends meanwhile."""
        end_s = time.monotonic() + seconds
        while not await true():
            if (ended := process is not None and process.returncode is not None) or time.monotonic() > end_s:
                last = self.log.read_text("utf-8", "replace")[-2_000:]
                raise DeliverSlow(
                    f"waited for {what}: {'deliver ended' if ended else f'{seconds:.0f} s passed'}", remedy=last
                )
            await asyncio.sleep(LOOK_S)


@dataclass
class Deliver:
    """One deliver process. `resident` are (seconds since its start, bytes)."""

    road: Road
    process: asyncio.subprocess.Process
    began_s: float  # of time.monotonic()
    start_s: float = 0.0  # until it said so in its beat, which comes every two seconds
    resident: list[tuple[float, int]] = field(default_factory=list)

    async def is_up(self) -> bool:
        return any(one.pid == self.process.pid and one.state == "running" for one in await self._beats())

    async def leads(self) -> bool:
        return any(one.pid == self.process.pid and "stands by" not in one.note for one in await self._beats())

    async def sample(self) -> None:
        """Note the memory until cancelled."""
        begun_s, page = time.monotonic(), os.sysconf("SC_PAGE_SIZE")
        while self.process.returncode is None:
            with suppress(OSError, IndexError):
                self.resident.append((time.monotonic() - begun_s, int(self._proc("statm").split()[1]) * page))
            await asyncio.sleep(SAMPLE_S)

    def cpu_s(self) -> float:
        """Processor seconds so far; 0 where there is no /proc."""
        with suppress(OSError, IndexError):
            fields = self._proc("stat").rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return 0.0

    async def terminated(self) -> None:
        """As an operator ends it: SIGTERM, and wait."""
        self.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(self.process.wait(), 30)

    async def killed(self) -> None:
        """As the machine's power would do it."""
        self.process.kill()
        await self.process.wait()

    def _proc(self, name: str) -> str:
        return Path(f"/proc/{self.process.pid}/{name}").read_text("ascii", "replace")

    async def _beats(self) -> list[beat.Beat]:
        return [one for one in await beat.beats(self.road.redis, self.road.keys) if one.stage == "deliver"]


@asynccontextmanager
async def road(behaviours: Sequence[str], kafka: str = "", **changes: Any) -> AsyncIterator[Road]:
    """Services and receivers with an endpoint each; `changes` are settings. All is gone when the block ends.

    `kafka`: a broker with topics made for this road, instead of the one in memory.
    """
    topology = Topology(f"bench-{secrets.token_hex(4)}")
    own = await embedded.start({} if kafka else topology.wanted())
    try:
        async with receivers(behaviours) as listening:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                settings = structs.replace(
                    Settings(
                        kafka=kafka or own.services.kafka,
                        redis=own.services.redis,
                        prefix=topology.prefix,
                        secret_key=new_key(),
                        state_dir=folder,
                        deliver_allow=listening.allowed,
                        deliver_http=True,
                        log="json",
                        log_level="warning",
                    ),
                    **changes,
                )
                await (create.create if kafka else create.mark_incarnation)(settings, topology)
                redis = await open_redis(settings)
                producer = await open_producer(settings)
                try:
                    found = Road(settings, topology, redis, producer, listening, Path(folder))
                    await found.subscribe()
                    yield found
                finally:
                    await close_producer(producer)
                    await redis.aclose()
                    if kafka:
                        _delete(kafka, topology)
    finally:
        await own.stop()


def _delete(kafka: str, topology: Topology) -> None:
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    for deleted in admin.delete_topics(list(topology.wanted()), operation_timeout=10).values():
        deleted.result(timeout=10)


async def bare_loop(listening: Receivers, alerts: Sequence[Alert], together: int) -> tuple[float, float]:
    """What a client that only posts can do: the same bodies to the same receivers, `together` at a time to each, connections kept.

    Answers wall and processor seconds of this process.
    """

    async def post(session: aiohttp.ClientSession, url: str, mine: Sequence[Alert]) -> None:
        for alert in mine:
            headers = {"content-type": "application/json", "webhook-id": alert.id}
            async with session.post(url, data=alert.body, headers=headers) as response:
                await response.read()

    begun_s, begun_cpu_s = time.monotonic(), time.process_time()
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as tasks:
        for endpoint in range(len(listening.behaviours)):
            for worker in range(together):
                tasks.create_task(post(session, listening.url(endpoint), alerts[worker::together]))
    return time.monotonic() - begun_s, time.process_time() - begun_cpu_s
