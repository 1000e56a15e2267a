"""PartitionLoop on the embedded broker and on a real Kafka: what tests/unit/test_partition_loop.py shows with lists."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from groundswell.clients.connect import acknowledged, close_producer, open_consumer, open_producer
from groundswell.clock import SystemClock
from groundswell.errors import Fenced, Poison, RedisAway
from groundswell.running import embedded
from groundswell.settings import Settings
from stream.partition_loop import Bounds, PartitionLoop

PARTITIONS = 3
WAIT_S = 30.0


class Work:
    """Notes what it does; `trouble` may raise before a batch is worked on."""

    def __init__(self, start: Callable[[int], int | None] = lambda _partition: None) -> None:
        self.start = start
        self.done: dict[int, list[int]] = defaultdict(list)
        self.trouble: list[BaseException] = []
        self.idles: dict[int, list[bool]] = defaultdict(list)
        self.taken_up: list[int] = []
        self.dropped: list[int] = []
        self.bad: set[tuple[int, int]] = set()  # partition, number: `process` fails on it, always
        self.refused: dict[int, list[int]] = defaultdict(list)

    async def assigned(self, partition: int) -> int | None:
        self.taken_up.append(partition)
        return self.start(partition)

    async def process(self, partition: int, records: Sequence[Any]) -> int:
        await asyncio.sleep(0)
        if self.trouble:
            raise self.trouble.pop(0)
        if any((partition, int(record.value)) in self.bad for record in records):
            raise ZeroDivisionError
        self.done[partition] += [int(record.value) for record in records]
        return int(records[-1].offset) + 1

    async def refuse(self, partition: int, record: Any, error: Poison) -> int:
        assert "ZeroDivisionError" in str(error)
        self.refused[partition].append(int(record.value))
        return int(record.offset) + 1

    async def committed(self, partition: int, offset: int) -> None:
        pass

    async def idle(self, partition: int, caught_up: bool) -> None:
        self.idles[partition].append(caught_up)

    async def revoked(self, partition: int) -> None:
        self.dropped.append(partition)

    @property
    def count(self) -> int:
        return sum(len(numbers) for numbers in self.done.values())


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Tracebacks of what fails on purpose are slow to print."""
    with capture_logs():
        yield


@pytest.fixture(params=["embedded", "kafka"])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Settings, str]]:
    """Settings that lead to a broker, and a topic of its own with three partitions."""
    if request.param == "embedded":
        services = await embedded.start({"numbers": PARTITIONS})
        try:
            yield Settings(kafka=services.services.kafka, redis=services.services.redis), "numbers"
        finally:
            await services.stop()
        return
    from confluent_kafka.admin import AdminClient, NewTopic

    address, topic = request.getfixturevalue("kafka_address"), f"{request.getfixturevalue('topic_prefix')}.numbers"
    client = AdminClient({"bootstrap.servers": address, "log_level": 0})
    await asyncio.to_thread(client.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result, 10)
    yield Settings(kafka=address), topic


async def write(settings: Settings, topic: str, count: int, start: int = 0) -> None:
    """The numbers from `start`, the same on each partition."""
    producer = await open_producer(settings)
    try:
        await acknowledged(
            [
                await producer.send(topic, str(number).encode(), partition=partition)
                for number in range(start, start + count)
                for partition in range(PARTITIONS)
            ]
        )
    finally:
        await close_producer(producer)


@asynccontextmanager
async def running(
    settings: Settings, topic: str, work: Work, bounds: Bounds | None = None
) -> AsyncIterator[PartitionLoop]:
    consumer = await open_consumer(settings, f"{topic}-readers")
    loop = PartitionLoop(consumer, topic, work, SystemClock(), bounds or Bounds(batch_records=50, tick_s=0.1))
    task = asyncio.create_task(loop.run())
    try:
        yield loop
        loop.stop()
        async with asyncio.timeout(WAIT_S):
            await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await consumer.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.02)


async def test_all_is_read_in_order_and_the_next_process_goes_on_where_this_one_stopped(
    place: tuple[Settings, str],
) -> None:
    settings, topic = place
    await write(settings, topic, 500)
    first = Work()
    async with running(settings, topic, first):
        await until(lambda: first.count == 500 * PARTITIONS)
    assert all(first.done[n] == list(range(500)) for n in range(PARTITIONS))
    assert sorted(first.dropped) == list(range(PARTITIONS))
    await write(settings, topic, 50, start=500)
    second = Work()
    async with running(settings, topic, second):
        await until(lambda: second.count >= 50 * PARTITIONS)
    assert all(second.done[n] == list(range(500, 550)) for n in range(PARTITIONS))


async def test_work_that_keeps_its_own_place_is_given_what_comes_from_there(place: tuple[Settings, str]) -> None:
    settings, topic = place
    await write(settings, topic, 100)
    work = Work(start=lambda partition: partition * 10)
    async with running(settings, topic, work):
        await until(lambda: work.count >= 3 * 100 - 30)
    assert {n: work.done[n] for n in range(PARTITIONS)} == {n: list(range(n * 10, 100)) for n in range(PARTITIONS)}


async def test_after_a_fence_a_partition_is_read_again_from_the_stored_place(place: tuple[Settings, str]) -> None:
    settings, topic = place
    await write(settings, topic, 100)
    stored: dict[int, int] = {}
    work = Work(start=lambda partition: stored.get(partition, 0))
    async with running(settings, topic, work):
        await until(lambda: work.count == 100 * PARTITIONS)
        stored |= dict.fromkeys(range(PARTITIONS), 90)
        work.trouble = [Fenced()]
        await write(settings, topic, 20, start=100)
        await until(lambda: work.count == (100 + 20) * PARTITIONS + 10)
    again = [n for n in range(PARTITIONS) if len(work.done[n]) == 130]
    assert len(again) == 1
    assert work.done[again[0]] == [*range(100), *range(90, 120)]


async def test_a_retryable_error_and_bounds_of_a_few_records_lose_nothing(place: tuple[Settings, str]) -> None:
    settings, topic = place
    await write(settings, topic, 1_000)
    work = Work()
    work.trouble = [RedisAway() for _ in range(3)]
    bounds = Bounds(batch_records=7, queue_records=40, tick_s=0.1, retry_s=(0.01,))
    async with running(settings, topic, work, bounds) as loop:
        await until(lambda: work.count == 1_000 * PARTITIONS)
        await until(lambda: loop.lag == 0)
    assert all(work.done[n] == list(range(1_000)) for n in range(PARTITIONS))


@pytest.mark.parametrize("own_place", [False, True], ids=["committed place", "place of its own"])
async def test_bad_records_are_refused_and_their_neighbours_are_worked_on_in_order(
    place: tuple[Settings, str], own_place: bool
) -> None:
    settings, topic = place
    await write(settings, topic, 300)
    work = Work()
    if own_place:  # as aggregate: it goes back to what it had stored
        work.start = lambda partition: max(work.done[partition][-1:] + work.refused[partition][-1:], default=-1) + 1
    work.bad = {(0, 7), (0, 8), (1, 0), (1, 299)}
    async with running(settings, topic, work):
        await until(lambda: work.count == 300 * PARTITIONS - 4 and len(work.refused[1]) == 2)
    assert [work.refused[n] for n in range(PARTITIONS)] == [[7, 8], [0, 299], []]
    for n in range(PARTITIONS):
        assert work.done[n] == [number for number in range(300) if (n, number) not in work.bad]
    after = Work()
    async with running(settings, topic, after):
        await until(lambda: bool(after.idles))
    assert after.count == 0, "all was committed, the refused ones too"


async def test_a_place_that_the_topic_does_not_hold_is_read_from_the_oldest_record(place: tuple[Settings, str]) -> None:
    settings, topic = place
    await write(settings, topic, 100)
    work = Work(start=lambda partition: 1_000_000 if partition == 1 else 0)  # it was made anew since 1 was stored
    async with running(settings, topic, work):
        await until(lambda: work.count >= 100 * PARTITIONS)
    assert all(work.done[n] == list(range(100)) for n in range(PARTITIONS))


async def test_what_kafka_dropped_before_it_was_read_is_told_and_the_rest_is_read(
    kafka_address: str, topic_prefix: str
) -> None:
    """Real Kafka only: the embedded broker drops nothing."""
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import AdminClient, NewTopic

    settings, topic = Settings(kafka=kafka_address), f"{topic_prefix}.numbers"
    client = AdminClient({"bootstrap.servers": kafka_address, "log_level": 0})
    await asyncio.to_thread(client.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result, 10)
    await write(settings, topic, 100)
    stored, committed = Work(start=lambda _partition: 10), Work()
    (cut,) = client.delete_records([TopicPartition(topic, 1, 40)]).values()
    await asyncio.to_thread(cut.result, 10)
    with capture_logs() as logged:
        async with running(settings, topic, stored):
            await until(lambda: stored.count == 2 * 90 + 60)
    assert [(one["partition"], one["offset"], one["records"]) for one in told(logged)] == [(1, 10, 30)]
    assert [stored.done[n][0] for n in range(PARTITIONS)] == [10, 40, 10]
    await write(settings, topic, 100, start=100)
    (cut,) = client.delete_records([TopicPartition(topic, 1, 140)]).values()
    await asyncio.to_thread(cut.result, 10)
    with capture_logs() as logged:
        async with running(settings, topic, committed):
            await until(lambda: committed.count == 2 * 100 + 60)
    assert [(one["partition"], one["offset"], one["records"]) for one in told(logged)] == [(1, 100, 40)]
    assert [committed.done[n][0] for n in range(PARTITIONS)] == [100, 140, 100]


def told(logged: Sequence[Any]) -> list[Any]:
    return [line for line in logged if line["event"] == "records_dropped"]


async def test_idle_says_when_the_end_has_been_reached(place: tuple[Settings, str]) -> None:
    settings, topic = place
    await write(settings, topic, 5)
    work = Work(start=lambda _partition: 0)
    async with running(settings, topic, work):
        await until(lambda: all(True in work.idles[n] for n in range(PARTITIONS)))
        assert work.count == 5 * PARTITIONS


async def test_a_second_member_takes_over_a_part_and_nothing_is_missing(kafka_address: str, topic_prefix: str) -> None:
    """Real Kafka only: the embedded broker has one member a group."""
    from confluent_kafka.admin import AdminClient, NewTopic

    settings, topic = Settings(kafka=kafka_address), f"{topic_prefix}.numbers"
    client = AdminClient({"bootstrap.servers": kafka_address, "log_level": 0})
    await asyncio.to_thread(client.create_topics([NewTopic(topic, PARTITIONS, 1)])[topic].result, 10)
    one, two = Work(), Work()
    async with running(settings, topic, one):
        await write(settings, topic, 300)
        await until(lambda: one.count > 0)
        async with running(settings, topic, two):
            await until(lambda: bool(two.taken_up))
            await write(settings, topic, 300, start=300)
            await until(lambda: all({*one.done[n], *two.done[n]} >= set(range(600)) for n in range(PARTITIONS)))
    for n in range(PARTITIONS):
        assert one.done[n] == sorted(one.done[n])
        assert two.done[n] == sorted(two.done[n])
    assert two.count > 0
