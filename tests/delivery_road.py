"""A deliver process on real Kafka and Redis with topics and keys of its own, for tests; and clocks that run as they like."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from redis.asyncio import Redis

from alerts import deliver
from alerts.health import Health
from alerts.lanes import books, deliveries, health
from alerts.receiver import Receiver
from groundswell.clients.connect import close_producer, open_consumer, open_producer
from groundswell.clock import Clock, SystemClock
from groundswell.control import erase, write
from groundswell.keys import Keys
from groundswell.records import ControlObject, DeliveryOutcome, Endpoint, Secret
from groundswell.running.beat import beats
from groundswell.secrets import SecretBox, new_signing_secret
from groundswell.settings import Settings
from stream.topology import ALERTS, Topology

STEPS_S = (0.0, 0.2, 0.2, 0.2)
KILLS, KILL_S = 5, 3.0


class Road:
    """One deliver process with topics and keys of its own."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self.settings, self.redis = settings, redis
        self.topology = Topology(settings.prefix)
        self.keys = Keys(settings.prefix)
        self.process: asyncio.Task[None] | None = None
        self.stop = asyncio.Event()
        self.receivers: list[Receiver] = []
        self.urls: dict[str, str] = {}
        self.closing: list[Callable[[], Awaitable[None]]] = []
        self.clock: Clock = SystemClock()
        self.options: dict[str, Any] = {"steps_s": STEPS_S, "group_s": 0.5}

    async def subscribe(self, *answers: int, name: str = "risk", listening: bool = True, **fields: Any) -> Receiver:
        """A receiver whose port the operator allowed, and its endpoint; not listening: its port is closed again."""
        receiver = Receiver(answers=list(answers))
        self.receivers.append(receiver)
        url = await receiver.start()
        allowed = [*self.settings.deliver_allow, url.split("/")[2]]
        self.settings = msgspec.structs.replace(self.settings, deliver_allow=allowed)
        self.urls[name] = url
        endpoint = self.endpoint(url, name, receiver, **fields)
        await self.people(endpoint)
        if not listening:
            await receiver.stop()
        return receiver

    def endpoint(self, url: str, name: str, receiver: Receiver | None = None, **fields: Any) -> Endpoint:
        """An endpoint whose id is its name, as people would have made it a while ago."""
        box, secret = SecretBox(self.settings.secret_key), new_signing_secret()
        if receiver is not None:
            receiver.secret = secret
        given = {"created_at": self.clock.now_ms() - 3_600_000} | fields
        return Endpoint(
            id=name,
            name=name,
            url=box.seal(url, name, "url"),
            secret=box.seal(secret, name, "secret"),
            shown=url,
            **given,
        )

    def seal(self, text: str, endpoint: str) -> Secret:
        """A signing secret as an endpoint holds it."""
        return SecretBox(self.settings.secret_key).seal(text, endpoint, "secret")

    async def people(self, *things: ControlObject, forget: tuple[str, ...] = ()) -> None:
        """What people change."""
        producer = await open_producer(self.settings)
        for thing in things:
            await write(producer, self.topology, thing)
        for name in forget:
            await erase(producer, self.topology, name)
        await close_producer(producer)

    async def log(self, endpoint: str = "") -> list[DeliveryOutcome]:
        """Rows of the delivery log, oldest first."""
        return (await deliveries(self.redis, self.keys, endpoint, 1_000))[::-1]

    async def fares(self, endpoint: str) -> Health:
        return (await health(self.redis, self.keys)).get(endpoint, Health())

    async def has_read(self, count: int) -> bool:
        return (await books(self.redis, self.keys)).read >= count

    async def leads(self) -> bool:
        return any("wait" in beat.note for beat in await beats(self.redis, self.keys))

    def start(self) -> None:
        self.stop = asyncio.Event()
        self.process = asyncio.create_task(
            deliver.run(self.settings, self.topology, self.clock, self.stop, **self.options)
        )

    async def end(self) -> None:
        self.stop.set()
        if self.process is not None:
            await self.process
            self.process = None

    async def kill(self) -> None:
        """As kill -9 leaves it: nothing is drained, the lease is not given back, but it has run out since."""
        if self.process is not None and not self.process.done():
            self.stop.set()
            for _ in range(KILLS):  # a library may swallow one cancellation, and all would wait for ever
                self.process.cancel()
                if (await asyncio.wait({self.process}, timeout=KILL_S))[0]:
                    break
            assert self.process.done(), f"deliver does not end: {self.process.get_stack()}"
            await self.redis.delete(f"{self.keys.delivery}:lease")
        self.process = None

    async def push(self, *values: bytes) -> None:
        producer = await open_producer(self.settings)
        for value in values:
            await producer.send_and_wait(
                self.topology.name(ALERTS), value, partition=3, timestamp_ms=self.clock.now_ms()
            )
        await producer.stop()

    async def until(self, true: Callable[[], Awaitable[bool] | bool], seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while not (await found if asyncio.iscoroutine(found := true()) else found):
                if self.process is not None and self.process.done():
                    await self.process
                self.clock.now_ms()  # FastClock goes by being looked at
                await asyncio.sleep(0.02)

    async def read(self, topic: str, count: int) -> list[bytes]:
        consumer = await open_consumer(self.settings, None, [topic])
        found: list[bytes] = []
        async with asyncio.timeout(15):
            while len(found) < count:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found += [record.value for record in records]
        await consumer.stop()
        return found


class FastClock:
    """Time runs so many times faster than outside, and begins two days ago: a broker takes no record from the future.

    A machine under load stops the event loop for a second now and then, which would be ten minutes in which nobody did anything.
    So no two looks at this clock are more than STEP_S of real time apart: what the loop slept through has not passed.
    """

    STEP_S = 0.05

    def __init__(self, times: float) -> None:
        self._times, self._clock = times, SystemClock()
        self._looked_s, self._passed_ms = self._clock.monotonic_s(), self._clock.now_ms() - 48 * 3_600_000.0

    def now_ms(self) -> int:
        now_s = self._clock.monotonic_s()
        self._passed_ms += min(now_s - self._looked_s, self.STEP_S) * 1000 * self._times
        self._looked_s = now_s
        return round(self._passed_ms)

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    async def sleep(self, seconds: float) -> None:
        due_ms = self.now_ms() + seconds * 1000
        while (left_ms := due_ms - self.now_ms()) > 0:
            await asyncio.sleep(min(left_ms / 1000 / self._times, self.STEP_S / 2))


class WrongClock(SystemClock):
    """So many seconds ahead."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_ms = round(ahead_s * 1000)

    def now_ms(self) -> int:
        return super().now_ms() + self._ahead_ms


def said(receiver: Receiver) -> list[tuple[str, int]]:
    """(type, sequence) of what came, in order."""
    return [(got.event["type"], got.event["data"]["sequence"]) for got in receiver.received]
