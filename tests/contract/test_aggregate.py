"""AggregateWork on a real and on the embedded Redis: however its input is cut, replayed and reloaded, Redis holds every count."""

import asyncio
import random
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import redis.asyncio

from groundswell.clock import ManualClock
from groundswell.errors import Fenced, Poison, RedisAway
from groundswell.keys import HOUR_MS, MINUTE_MS, Keys, unpack_bucket
from groundswell.records import NEGATIVE, Bucket, DeadLetter, Row, ScoredBatch, ScoredDocument, Source
from groundswell.running.embedded import _fakeredis
from stream.aggregate import AggregateWork
from stream.dead_letters import _beside_the_marks
from stream.detection import surge
from stream.detection.policy import Policy
from stream.names import entities
from stream.names.directory import Directory
from stream.store import Store
from stream.topology import Topology

NOON_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
DIRECTORY = Directory(entities.load())
POLICY = Policy(settings=surge.Settings(), ln_h=surge.threshold(5.0, len(DIRECTORY)), lateness_ms=30_000)
SUBJECT = "XNAS:AAPL"


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int
    value: bytes
    key: bytes | None = None


class Producer:
    """Acknowledges all; keeps what was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    async def send(self, topic: str, value: bytes, **_: Any) -> "asyncio.Future[None]":
        self.sent.append((topic, value))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


@pytest.fixture(scope="module")
def fake_url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _fakeredis(port):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(params=["redis", "fakeredis"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    url = request.getfixturevalue("redis_url" if request.param == "redis" else "fake_url")
    connection = redis.asyncio.Redis.from_url(url)
    await connection.flushdb()
    yield connection
    await connection.aclose()


def work(client: Any, clock: ManualClock | None = None, producer: Producer | None = None) -> AggregateWork:
    topology = Topology("ns")
    store = Store(client, Keys("ns"), "only")
    return AggregateWork(
        topology, store, producer or Producer(), DIRECTORY, POLICY, clock or ManualClock(NOON_MS), idle_s=60.0,  # type: ignore[arg-type]
    )  # fmt: skip


def document(index: int, at_ms: int) -> ScoredDocument:
    return ScoredDocument(
        index=index, id=f"d{at_ms}-{index}", story=f"s{at_ms}-{index}", published_at=at_ms, ingested_at=at_ms, author=f"a{index}",
        rows=[Row(SUBJECT, NEGATIVE, 0.9)],
    )  # fmt: skip


def records(*arrays: list[int]) -> list[Record]:
    """One record for each list of times."""
    return [
        Record(0, offset, msgspec.json.encode(
            ScoredBatch(partition=0, offset=offset, documents=[document(i, at_ms) for i, at_ms in enumerate(array)])
        ))
        for offset, array in enumerate(arrays)
    ]  # fmt: skip


def expected(found: list[Record]) -> dict[int, int]:
    counts: dict[int, int] = defaultdict(int)
    for record in found:
        for one in msgspec.json.decode(record.value, type=ScoredBatch).documents:
            counts[one.published_at // MINUTE_MS * MINUTE_MS] += 1
    return dict(counts)


async def stored(client: Any) -> dict[int, int]:
    counts = {}
    async for key in client.scan_iter(match="ns:{s0}:b:*"):
        hour = int(key.decode().rpartition(":")[2])
        for minute, packed in (await client.hgetall(key)).items():
            bucket = unpack_bucket(packed)
            assert bucket == Bucket(negative=bucket.negative)
            counts[hour * HOUR_MS + minute[0] * MINUTE_MS] = bucket.negative
    return counts


async def test_a_batch_that_spans_a_day_keeps_all_its_minutes(client: Any) -> None:
    """Memory holds three hours; what a batch has touched must be written before it is forgotten."""
    found = records(*([NOON_MS + i * 7 * MINUTE_MS + 100, NOON_MS + i * 7 * MINUTE_MS + 200] for i in range(200)))
    aggregate = work(client)
    await aggregate.assigned(0)
    await aggregate.process(0, found)
    assert await stored(client) == expected(found)


async def test_an_array_that_spans_hours_keeps_all_its_minutes(client: Any) -> None:
    found = records([NOON_MS + i * 30 * MINUTE_MS for i in range(20)])
    aggregate = work(client)
    await aggregate.assigned(0)
    await aggregate.process(0, found)
    assert await stored(client) == expected(found)


async def test_a_late_row_corrects_its_minute_though_time_has_moved_on_in_the_same_batch(client: Any) -> None:
    aggregate = work(client)
    await aggregate.assigned(0)
    first = records([NOON_MS, NOON_MS + 1])
    await aggregate.process(0, first)
    rest = records([], [NOON_MS + 5 * HOUR_MS], [NOON_MS + 10 * HOUR_MS], [NOON_MS + 2])[1:]
    await aggregate.process(0, rest)
    assert await stored(client) == expected(first + rest)


@pytest.mark.parametrize("seed", range(4))
async def test_cuts_reloads_and_replays_change_no_count(client: Any, seed: int) -> None:
    chance, at_ms, arrays = random.Random(seed), NOON_MS, []
    for _ in range(60):
        at_ms += chance.randrange(20) * MINUTE_MS
        arrays.append([at_ms - chance.choice((0, 0, 0, 1, 300)) * MINUTE_MS for _ in range(chance.randint(1, 5))])
    found = records(*arrays)
    aggregate, at, log = work(client), 0, found + found[20:] + found[40:]
    log = [Record(0, offset, record.value) for offset, record in enumerate(log)]
    await aggregate.assigned(0)
    while at < len(log):
        size = chance.randint(1, 25)
        at = await aggregate.process(0, log[at : at + size])
        if chance.random() < 0.4:
            aggregate = work(client)
            assert await aggregate.assigned(0) == at
    assert await stored(client) == expected(found)
    counts = aggregate.parts[0].window.counts
    assert counts.balanced
    assert counts.applied == sum(len(array) for array in arrays)
    assert counts.duplicate == sum(len(array) for array in arrays[20:] + arrays[40:])


async def test_a_zombie_is_fenced_and_counts_nothing(client: Any) -> None:
    zombie, owner = work(client), work(client)
    found = records([NOON_MS], [NOON_MS + 1])
    await zombie.assigned(0)
    await owner.assigned(0)
    with pytest.raises(Fenced):
        await zombie.process(0, found)
    await owner.process(0, found)
    assert await zombie.assigned(0) == 2
    assert await stored(client) == expected(found)


async def test_redis_that_goes_away_within_a_batch_leaves_nothing_half_counted(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    aggregate, found = work(client), records([NOON_MS, NOON_MS + 1], [NOON_MS + HOUR_MS], [NOON_MS + 2])
    await aggregate.assigned(0)
    read, fetch = 0, Store.fetch

    async def away(*given: Any) -> None:
        nonlocal read
        read += 1
        if read == 2:
            raise RedisAway("It was here a moment ago.")
        await fetch(*given)

    monkeypatch.setattr(Store, "fetch", away)
    with pytest.raises(RedisAway):
        await aggregate.process(0, found)
    with pytest.raises(Fenced):  # what it holds is half counted: it must be taken up anew
        await aggregate.process(0, found)
    assert await stored(client) == {}
    assert await aggregate.assigned(0) == 0
    await aggregate.process(0, found)
    assert await stored(client) == expected(found)
    assert aggregate.parts[0].window.counts.applied == 4


async def test_a_record_that_cannot_be_read_is_a_dead_letter_and_its_neighbours_count(client: Any) -> None:
    producer = Producer()
    aggregate = work(client, producer=producer)
    await aggregate.assigned(0)
    good = records([NOON_MS], [], [NOON_MS + 1])
    await aggregate.process(0, [good[0], Record(0, 1, b"\xff{"), good[2]])
    assert [topic for topic, _ in producer.sent] == ["ns.dead-letters.v1"]
    assert await stored(client) == {NOON_MS: 2}
    counts = aggregate.parts[0].window.counts
    assert (counts.read, counts.applied, counts.dead_lettered, counts.balanced) == (3, 2, 1, True)


async def test_a_record_that_cannot_be_folded_counts_once_when_it_is_sent_again_and_not_before(client: Any) -> None:
    producer = Producer()
    aggregate = work(client, producer=producer)
    await aggregate.assigned(0)
    good, bad, after = records([NOON_MS], [NOON_MS + 1, NOON_MS + 2], [NOON_MS + MINUTE_MS])
    await aggregate.process(0, [good])
    assert await aggregate.refuse(0, bad, Poison("it fails")) == 2
    await aggregate.process(0, [after])
    assert await stored(client) == {NOON_MS: 1, NOON_MS + MINUTE_MS: 1}
    letter = msgspec.json.decode(producer.sent[-1][1], type=DeadLetter)
    assert (letter.reason, letter.payload, letter.src) == ("poison", bad.value, Source(0, 1))
    # As tag may write it once more after a crash, then as `dead-letters replay` sends it, twice.
    sent_again = _beside_the_marks(letter.payload)
    log = [Record(0, 3, bad.value), Record(0, 4, sent_again), Record(0, 5, sent_again)]
    for record in log:
        aggregate = work(client)
        await aggregate.assigned(0)
        await aggregate.process(0, [record])
    assert await stored(client) == {NOON_MS: 3, NOON_MS + MINUTE_MS: 1}
    counts = aggregate.parts[0].window.counts
    assert (counts.read, counts.applied, counts.duplicate, counts.dead_lettered, counts.balanced) == (10, 4, 4, 2, True)


async def test_the_clock_closes_minutes_only_when_all_is_read_and_leaves_no_trace_when_none_is_due(client: Any) -> None:
    clock = ManualClock(NOON_MS + 20_000)
    aggregate = work(client, clock)
    await aggregate.assigned(0)
    await aggregate.process(0, records([NOON_MS]))
    window = aggregate.parts[0].window
    clock.advance(61)
    before = (window.watermark_ms, window.newest_ms, window.closed_ms)
    await aggregate.idle(0, caught_up=True)  # 81 s after noon, a minute back: nothing is over yet
    assert (window.watermark_ms, window.newest_ms, window.closed_ms) == before
    clock.advance(120)
    await aggregate.idle(0, caught_up=False)
    assert window.closed_ms == NOON_MS
    await aggregate.idle(0, caught_up=True)
    assert window.closed_ms == NOON_MS + 2 * MINUTE_MS
    again = work(client)
    await again.assigned(0)
    assert again.parts[0].window.closed_ms == window.closed_ms
