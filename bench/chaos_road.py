"""One installation under test: its stages as processes that are started again when they end, a pusher that knows what it pushed, and eyes.

The eyes look at Redis and Kafka as any client could. chaos_faults.py breaks things here; chaos.py compares what is left.
"""

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError

from alerts import lanes
from alerts.people import endpoints
from alerts.receiver import Receiver
from bench.chaos_file import COMPANIES, HOUR_MS, MINUTE_MS, Counted, Sent, bucket
from bench.chaos_services import CLOSED_S, OwnKafka, OwnRedis, closed, within
from bench.chaos_stage import CLOCK, SESSION
from groundswell import settings as all_settings
from groundswell.clients.connect import RedisClient, close_producer, open_consumer, open_producer, open_redis
from groundswell.demo import script
from groundswell.errors import Fatal
from groundswell.keys import Keys
from groundswell.running import beat, orphan
from groundswell.running.accounting import Accounting, account
from groundswell.secrets import new_key
from groundswell.settings import Settings
from stream import create
from stream.topology import ALERTS, DEAD_LETTERS, DOCUMENTS, INPUTS, NEWS, SCORED, Topology

STAGES = ("ingest", "tag", "aggregate", "deliver")
AGAIN_S = 0.3
LOOK_S = 0.3
UNDER_WAY = 40  # messages pushed and not yet acknowledged
MOST_A_MESSAGE = 20
ACKNOWLEDGED_S = 180.0  # a broker that is killed is away for less
PUSHED_S = 240.0  # beside what the rate takes
COMMAND = ("-m", "bench.chaos_stage")
ENDS_S = 12.0
READY_S = 90.0


class PushFailed(Fatal):
    """The pusher does not know what it pushed: nothing can be compared."""

    reason = "push_failed"


class NotReady(Fatal):
    """A stage does not start, before anything was broken."""

    reason = "not_ready"


@dataclass
class Worker:
    """One process of a stage that is kept running."""

    stage: str
    keeper: "asyncio.Task[None] | None" = None
    process: asyncio.subprocess.Process | None = None
    began_s: float = 0.0
    kept: bool = True  # started again when it ends
    ended: int = 0

    def signal(self, number: signal.Signals) -> None:
        if self.process is not None and self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.send_signal(number)


@dataclass
class Road:
    """Where things are, and what is known of them."""

    settings: Settings
    topology: Topology
    redis: RedisClient
    folder: Path
    own_kafka: OwnKafka
    own_redis: OwnRedis
    receiver: Receiver
    command: Sequence[str] = COMMAND
    session_ms: int = 10_000
    workers: list[Worker] = field(default_factory=list)
    letters_due: set[tuple[int, int]] = field(default_factory=set)  # coordinates of what must be refused
    counted: dict[str, int] = field(default_factory=dict)  # company -> rows, as Redis had it lately

    @property
    def keys(self) -> Keys:
        return Keys(self.topology.prefix)

    @property
    def clock(self) -> Path:
        """How far the stages' clock is off, in milliseconds."""
        return self.folder / "clock"

    # -- processes ----------------------------------------------------------------------------------------------------

    def start(self, stage: str) -> Worker:
        """One more process of a stage, kept running until `end`."""
        worker = Worker(stage)
        worker.keeper = asyncio.create_task(self._keep(worker))
        self.workers.append(worker)
        return worker

    async def _keep(self, worker: Worker) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(all_settings.PREFIX)}
        environment |= all_settings.environment(self.settings)
        environment |= {orphan.VARIABLE: str(os.getpid()), CLOCK: str(self.clock), SESSION: str(self.session_ms)}
        while worker.kept:
            with (self.folder / f"{worker.stage}.log").open("ab") as log:
                worker.process = await asyncio.create_subprocess_exec(
                    sys.executable, *self.command, worker.stage, env=environment, stdin=asyncio.subprocess.DEVNULL,
                    stdout=log, stderr=log,
                )  # fmt: skip
            worker.began_s = time.monotonic()
            await worker.process.wait()
            worker.ended += 1
            await asyncio.sleep(AGAIN_S)

    async def end(self, worker: Worker) -> None:
        """SIGTERM, and for good; one that does not leave in time is killed."""
        worker.kept = False
        worker.signal(signal.SIGCONT)
        worker.signal(signal.SIGTERM)
        if worker.process is not None and worker.process.returncode is None:
            try:
                async with asyncio.timeout(ENDS_S):
                    await worker.process.wait()
            except TimeoutError:
                worker.signal(signal.SIGKILL)
                await within(CLOSED_S, f"A kill -9 of {worker.stage}", worker.process.wait())
        if worker.keeper is not None:
            worker.keeper.cancel()
        if worker in self.workers:
            self.workers.remove(worker)

    async def ready(self) -> None:
        """Until each process has said that it lives. Raises NotReady."""
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s:
            pids = {one.pid for one in await beat.beats(self.redis, self.keys)}
            if all(worker.process is not None and worker.process.pid in pids for worker in self.workers):
                return
            await asyncio.sleep(LOOK_S)
        raise NotReady(f"Not all stages came up; their logs are in {self.folder}.")

    # -- eyes ---------------------------------------------------------------------------------------------------------

    async def buckets(self) -> Counted:
        """All that Redis holds. Raises RedisError."""
        found: dict[tuple[str, int], tuple[int, ...]] = {}
        async for key in self.redis.scan_iter(match=f"{self.topology.prefix}:{{s*}}:b:*", count=1_000):
            subject, _, hour = key.decode().partition("}:b:")[2].rpartition(":")
            for minute, packed in (await self.redis.hgetall(key)).items():
                found[subject, int(hour) * HOUR_MS + minute[0] * MINUTE_MS] = bucket(packed)
        return found

    async def watch(self, subjects: Sequence[str], hours: range) -> None:
        """Keep `counted` as new as Redis answers, until cancelled."""
        while True:
            with suppress(RedisError, OSError):
                pipeline = self.redis.pipeline(transaction=False)
                names = [(subject, self.keys.buckets(self.topology.scored_partition(subject), subject, hour))
                         for subject in subjects for hour in hours]  # fmt: skip
                for _, name in names:
                    pipeline.hvals(name)
                sums: Counter[str] = Counter()
                for (subject, _), packed in zip(names, await pipeline.execute(), strict=True):
                    sums[subject] += sum(sum(bucket(one)) for one in packed)
                self.counted = dict(sums)
            await asyncio.sleep(LOOK_S)

    async def unread(self) -> int:
        """Records that are not lasting with the stage that reads them. Raises RedisError, KafkaError."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka)
        await admin.start()
        try:
            done: dict[TopicPartition, int] = {}
            for group in ("ingest", "tag"):
                held = await admin.list_consumer_group_offsets(f"{self.topology.prefix}-{group}")
                done |= {partition: at.offset for partition, at in held.items()}
        finally:
            await closed(admin.close())
        scored = self.topology.name(SCORED)
        for number in range(self.topology.partitions(SCORED)):
            done[TopicPartition(scored, number)] = int(await self.redis.hget(self.keys.state(number), "off") or 0)
        names = [self.topology.name(topic) for topic in (*INPUTS, DOCUMENTS, SCORED)]
        consumer = await open_consumer(self.settings, None, names)
        try:
            ends = await consumer.end_offsets(list(consumer.assignment()))
        finally:
            await closed(consumer.stop())
        return sum(max(0, end - done.get(partition, 0)) for partition, end in ends.items())

    async def told(self) -> list[dict[str, Any]]:
        """All events on the alerts topic."""
        return [json.loads(record) for record in await self._all_of(self.topology.name(ALERTS))]

    async def letters(self) -> list[dict[str, Any]]:
        """All dead letters."""
        return [json.loads(record) for record in await self._all_of(self.topology.name(DEAD_LETTERS))]

    async def _all_of(self, topic: str) -> list[bytes]:
        consumer = await open_consumer(self.settings, None, [topic])
        try:
            found: list[bytes] = []
            ends = await consumer.end_offsets(list(consumer.assignment()))
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(record.value for record in records)
            return found
        finally:
            await closed(consumer.stop())

    async def books(self) -> Accounting:
        delivered = await lanes.books(self.redis, self.keys)
        return await account(self.redis, self.keys, self.topology.partitions(SCORED), delivered)


class Pusher:
    """Pushes a file in order of time as far as it is allowed to, each company under its own key, in messages of 1 to 20 documents."""

    def __init__(
        self, road: Road, producer: AIOKafkaProducer, sent: Sequence[Sent], chance: random.Random, rate: float
    ) -> None:
        self._road, self._producer, self._sent, self._chance, self._rate = road, producer, sent, chance, rate
        self._topic = road.topology.name(NEWS)
        self._allowed, self._at = 0, 0
        self._more = asyncio.Event()
        self._under_way: deque[tuple[asyncio.Future[Any], list[Sent]]] = deque()
        self.pushed: Counter[str] = Counter()  # company -> documents that must count, acknowledged
        self.done = 0

    def allow(self, documents: int) -> None:
        """Let it go on to so many."""
        self._allowed = max(self._allowed, min(documents, len(self._sent)))
        self._more.set()

    async def run(self) -> None:
        """Until all is pushed and acknowledged. Raises PushFailed."""
        while self._at < len(self._sent):
            if self._at >= self._allowed:
                self._more.clear()
                await self._more.wait()
            began_s, before = time.monotonic(), self._at
            piece = self._sent[self._at : min(self._allowed, self._at + max(20, int(self._rate / 5)))]
            by_key: dict[bytes, list[Sent]] = defaultdict(list)
            for one in piece:
                by_key[one.key].append(one)
            for key, mine in by_key.items():
                await self._push(key, mine)
            self._at += len(piece)
            await asyncio.sleep(max(0.0, (self._at - before) / self._rate - (time.monotonic() - began_s)))
        await self._acknowledge(0)

    async def again(self) -> None:
        """What was pushed a while ago is pushed once more, as a feed does that starts anew; it must not count."""
        if self._at > 10:
            first = self._chance.randrange(max(1, self._at - 400))
            for one in self._sent[first : first + 60]:
                await self._send(one.key, json.dumps(one.document).encode(), [])

    async def bad(self, message: bytes | None) -> None:
        """A message that must become a dead letter, between the others."""
        held = await self._producer.send(self._topic, message, key=self._chance.choice(self._sent).key)
        try:
            async with asyncio.timeout(ACKNOWLEDGED_S):
                written = await held
        except (KafkaError, TimeoutError) as error:
            raise PushFailed(f"The broker did not take a message: {error!r}.") from error
        self._road.letters_due.add((written.partition, written.offset))

    async def _push(self, key: bytes, mine: Sequence[Sent]) -> None:
        at = 0
        while at < len(mine):
            chunk = list(mine[at : at + self._chance.randint(1, MOST_A_MESSAGE)])
            at += len(chunk)
            documents = [one.document for one in chunk]
            await self._send(key, json.dumps(documents if len(documents) > 1 else documents[0]).encode(), chunk)

    async def _send(self, key: bytes, value: bytes, chunk: list[Sent]) -> None:
        self._under_way.append((await self._producer.send(self._topic, value, key=key), chunk))
        await self._acknowledge(UNDER_WAY)

    async def _acknowledge(self, most: int) -> None:
        while len(self._under_way) > most or (self._under_way and self._under_way[0][0].done()):
            waiting, chunk = self._under_way.popleft()
            try:
                async with asyncio.timeout(ACKNOWLEDGED_S):
                    await waiting
            except (KafkaError, TimeoutError) as error:
                raise PushFailed(f"The broker did not take documents: {error!r}.") from error
            self.done += len(chunk)
            for one in chunk:
                self.pushed[one.subjects[0]] += not one.again


@asynccontextmanager
async def road(
    prefix: str, kafka: OwnKafka, redis: OwnRedis, folder: Path, *, stages: Sequence[str] = STAGES, workers: int = 1,
    session_ms: int = 10_000, command: Sequence[str] = COMMAND,
) -> AsyncIterator[Road]:  # fmt: skip
    """Topics, an endpoint, the stages; everything stopped when the block ends. Raises Misconfigured."""
    topology = Topology(prefix)
    await asyncio.to_thread(folder.mkdir, parents=True)
    receiver = Receiver()
    url = await receiver.start()
    settings = Settings(
        kafka=kafka.address, redis=redis.address, prefix=prefix, state_dir=str(folder), model="scripted", log="json", secret_key=new_key(),
        catalogues=[str(script.catalogue())], idle_s=86_400, deliver_http=True, deliver_allow=[url.split("/")[2]],
    )  # fmt: skip
    found = None
    try:
        await create.create(settings, topology)
        client = await open_redis(settings)
        found = Road(settings, topology, client, folder, kafka, redis, receiver, command, session_ms)
        await leave_strange_state(found)
        # Of companies alone: no wider alert is told there, so none keeps another back, whichever comes first.
        _, receiver.secret = await endpoints.add(
            settings, topology, url, "chaos", subjects=[company[0] for company in COMPANIES]
        )
        for stage in stages:
            for _ in range(1 if stage == "ingest" else workers):
                found.start(stage)
        yield found
    finally:
        if found is not None:
            await asyncio.gather(*(found.end(worker) for worker in list(found.workers)))
            await closed(found.redis.aclose())
        await closed(receiver.stop())


async def leave_strange_state(found: Road) -> None:
    """What an installation leaves whose topics were made anew since: marks that all that comes lies below. It must not be believed."""
    for partition in range(found.topology.partitions(SCORED)):
        marks = {f"d{number}": 1 << 52 for number in range(found.topology.partitions(DOCUMENTS))}
        await found.redis.hset(
            found.keys.state(partition),
            mapping={
                "owner": "gone",
                "rev": 7,
                "off": 0,
                "inc": "of-other-topics",
                "gen": "",
                "wm": 1,
                "closed": 1,
                **marks,
            },
        )


@asynccontextmanager
async def pusher(found: Road, sent: Sequence[Sent], chance: random.Random, rate: float) -> AsyncIterator[Pusher]:
    """A pusher at work; whoever leaves the block leaves it behind."""
    producer = await open_producer(found.settings)
    made = Pusher(found, producer, sent, chance, rate)
    running = asyncio.create_task(made.run())
    try:
        yield made
        made.allow(len(sent))
        await within(PUSHED_S + len(sent) / rate, "Pushing the rest", running)
    finally:
        running.cancel()
        await close_producer(producer)


def all_counted(found: Road, goal: Counter[str]) -> bool:
    """Whether every company's rows are there."""
    return all(found.counted.get(subject, 0) >= count for subject, count in goal.items())
