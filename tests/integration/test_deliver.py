"""The deliver process on real Kafka and Redis: signed, retried, resumed after a kill; no endpoint delays another."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from confluent_kafka.admin import AdminClient, NewTopic
from redis.asyncio import Redis

from alerts import deliver, endpoints
from alerts.lanes import books, deliveries
from alerts.receiver import Receiver
from groundswell.beat import beats
from groundswell.clock import SystemClock
from groundswell.connect import open_consumer, open_producer, open_redis
from groundswell.control import erase, write
from groundswell.errors import NoSecretKey, TopicsMissing
from groundswell.keys import Keys
from groundswell.records import DeadLetter, DeliveryOutcome, Silence
from groundswell.secrets import new_key
from groundswell.settings import Settings
from stream.topology import ALERTS, DEAD_LETTERS, DELIVERIES, Topology
from tests.alert_events import event_bytes

STEPS_S = (0.0, 0.2, 0.2, 0.2)


class Road:
    """One deliver process with topics and keys of its own."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self.settings, self.redis = settings, redis
        self.topology = Topology(settings.prefix)
        self.keys = Keys(settings.prefix)
        self.process: asyncio.Task[None] | None = None
        self.stop = asyncio.Event()
        self.receivers: list[Receiver] = []

    async def subscribe(self, *answers: int, name: str = "risk", listening: bool = True) -> Receiver:
        """A receiver whose port the operator allowed, and its endpoint; not listening: its port is closed again."""
        receiver = Receiver(answers=list(answers))
        self.receivers.append(receiver)
        url = await receiver.start()
        allowed = [*self.settings.deliver_allow, url.split("/")[2]]
        self.settings = msgspec.structs.replace(self.settings, deliver_allow=allowed)
        _, receiver.secret = await endpoints.add(self.settings, self.topology, url, name)
        if not listening:
            await receiver.stop()
        return receiver

    def start(self) -> None:
        self.stop = asyncio.Event()
        self.process = asyncio.create_task(
            deliver.run(self.settings, self.topology, SystemClock(), self.stop, steps_s=STEPS_S)
        )

    async def end(self) -> None:
        self.stop.set()
        if self.process is not None:
            await self.process
            self.process = None

    async def kill(self) -> None:
        """As kill -9 leaves it: nothing is drained, the lease is not given back, but it has run out since."""
        if self.process is not None and not self.process.done():
            self.process.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.process
            await self.redis.delete(f"{self.keys.delivery}:lease")
        self.process = None

    async def push(self, *values: bytes) -> None:
        producer = await open_producer(self.settings)
        for value in values:
            await producer.send_and_wait(self.topology.name(ALERTS), value, partition=3)
        await producer.stop()

    async def until(self, true: Callable[[], Awaitable[bool] | bool], seconds: float = 15.0) -> None:
        async with asyncio.timeout(seconds):
            while not (await found if asyncio.iscoroutine(found := true()) else found):
                if self.process is not None and self.process.done():
                    await self.process
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


@pytest.fixture
async def road(kafka_address: str, topic_prefix: str, redis_url: str) -> AsyncIterator[Road]:
    settings = Settings(
        kafka=kafka_address,
        redis=redis_url,
        prefix=topic_prefix,
        secret_key=new_key(),
        deliver_http=True,
        deliver_timeout_s=2.0,
        drain_s=2.0,
    )
    topology = Topology(settings.prefix)
    wanted = {name: min(count, 12) for name, count in topology.wanted().items()}
    admin = AdminClient({"bootstrap.servers": kafka_address, "log_level": 0})
    for future in admin.create_topics([NewTopic(name, count, 1) for name, count in wanted.items()]).values():
        future.result(timeout=20)
    redis = await open_redis(settings)
    road = Road(settings, redis)
    yield road
    await road.kill()
    for receiver in road.receivers:
        await receiver.stop()
    await redis.aclose()


async def test_a_receiver_that_fails_twice_gets_the_same_signed_event_until_it_accepts(road):
    receiver = await road.subscribe(503, 500)
    sent = event_bytes()
    road.start()
    await road.push(sent)
    await road.until(lambda: len(receiver.received) == 3)
    assert {got.id for got in receiver.received} == {"gw_harbour_1"}
    assert all(got.verified for got in receiver.received)
    assert receiver.received[-1].event == msgspec.json.decode(sent)

    rows = [
        msgspec.json.decode(raw, type=DeliveryOutcome) for raw in await road.read(road.topology.name(DELIVERIES), 3)
    ]
    assert [(row.attempt, row.outcome, row.status) for row in rows] == [
        (1, "retry", 503),
        (2, "retry", 500),
        (3, "sent", 204),
    ]
    log = await deliveries(road.redis, road.keys)
    assert sorted(row.attempt for row in log) == [1, 2, 3]
    await road.end()
    assert len(receiver.received) == 3


async def test_a_killed_process_goes_on_where_it_was(road):
    receiver = await road.subscribe(500)
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.kill()
    await road.push(event_bytes("alert.updated", 2), event_bytes("alert.resolved", 3))
    road.start()
    await road.until(lambda: len(receiver.received) >= 4)
    await road.end()
    arrived = [got.event["data"]["sequence"] for got in receiver.received]
    assert arrived == [1, 1, 2, 3]
    counts = await books(road.redis, road.keys)
    assert (counts.read, counts.applied, counts.duplicate, counts.balanced) == (3, 3, 0, True)


async def test_a_dead_endpoint_does_not_delay_the_other(road):
    dead = await road.subscribe(name="dead", listening=False)
    hanging = await road.subscribe(name="hanging")
    hanging.hang_s = 30.0
    alive = await road.subscribe(name="alive")
    road.start()
    await road.until(lambda: _leads(road))
    begun = asyncio.get_running_loop().time()
    await road.push(*(event_bytes(episode=f"ep_{number}") for number in range(10)))
    await road.until(lambda: len(alive.received) == 10, seconds=5.0)
    assert asyncio.get_running_loop().time() - begun < 2.0
    assert dead.received == []


async def test_no_two_processes_send_and_the_standby_takes_over(road):
    receiver = await road.subscribe()
    road.start()
    await road.until(lambda: _leads(road))
    stop = asyncio.Event()
    standby = asyncio.create_task(deliver.run(road.settings, road.topology, SystemClock(), stop, steps_s=STEPS_S))
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.end()
    await road.push(event_bytes("alert.resolved", 2))
    await road.until(lambda: len(receiver.received) == 2)
    stop.set()
    await standby
    assert [got.event["type"] for got in receiver.received] == ["alert.firing", "alert.resolved"]


async def test_a_lost_redis_sends_nothing_again(road):
    receiver = await road.subscribe()
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.read(road.topology.name(DELIVERIES), 1)
    await road.end()
    await road.redis.flushdb()
    await road.push(event_bytes(episode="ep_new"))
    road.start()
    await road.until(lambda: len(receiver.received) == 2)
    await road.end()
    assert [got.id for got in receiver.received] == ["gw_harbour_1", "gw_new_1"]


async def test_what_a_silence_held_back_is_told_when_it_is_lifted(road):
    receiver = await road.subscribe()
    producer = await open_producer(road.settings)
    now = SystemClock().now_ms()
    quiet = Silence(id="quiet", subjects=["XSHG:600001"], until=now + 3_600_000, by="ana", at=now)
    await write(producer, road.topology, quiet)
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: _read(road, 1))
    assert receiver.received == []
    await erase(producer, road.topology, "quiet")
    await road.until(lambda: len(receiver.received) == 1)
    await producer.stop()
    await road.end()


async def test_an_endpoint_that_is_gone_is_not_asked_again(road):
    receiver = await road.subscribe(410)
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.push(event_bytes(episode="ep_later"))
    await road.until(lambda: _read(road, 2))
    await road.end()
    assert len(receiver.received) == 1
    assert [row.reason for row in await deliveries(road.redis, road.keys)] == ["endpoint_gone"]


async def test_a_record_that_is_no_alert_is_a_dead_letter_and_its_neighbours_arrive(road):
    receiver = await road.subscribe()
    road.start()
    await road.push(b"\xff not json", event_bytes(), event_bytes(episode="ep_a.b"))
    await road.until(lambda: _read(road, 3))
    await road.until(lambda: len(receiver.received) == 1)
    letters = [
        msgspec.json.decode(raw, type=DeadLetter) for raw in await road.read(road.topology.name(DEAD_LETTERS), 2)
    ]
    assert {letter.reason for letter in letters} == {"not_json", "wrong_shape"}
    assert {(letter.src.partition, letter.src.offset) for letter in letters} == {(3, 0), (3, 2)}
    counts = await books(road.redis, road.keys)
    assert (counts.read, counts.applied, counts.dead_lettered, counts.balanced) == (3, 1, 2, True)
    await road.end()


async def test_without_a_key_it_does_not_start(road):
    settings = msgspec.structs.replace(road.settings, secret_key="")
    with pytest.raises(NoSecretKey):
        await deliver.run(settings, road.topology, SystemClock(), asyncio.Event())


async def test_without_topics_it_stops_and_says_how_to_make_them(road):
    with pytest.raises(TopicsMissing) as caught:
        await deliver.run(road.settings, Topology(f"{road.settings.prefix}-none"), SystemClock(), asyncio.Event())
    assert "topology --create" in caught.value.line


async def _read(road: Road, count: int) -> bool:
    return (await books(road.redis, road.keys)).read >= count


async def _leads(road: Road) -> bool:
    return any("wait" in beat.note for beat in await beats(road.redis, road.keys))
