"""The books of a stage go on from the offset that was committed, however far it trails, so that nothing is counted twice."""

import pytest
import redis.asyncio
from fakeredis import FakeAsyncRedis

from groundswell.clock import ManualClock
from groundswell.keys import Keys
from groundswell.running import beat, books
from groundswell.running.accounting import account
from groundswell.running.books import Counts

KEYS = Keys("t")
KEY = KEYS.books("tag", "documents", 0)


@pytest.fixture(params=["fakeredis", "redis"])
async def store(request: pytest.FixtureRequest):
    real = request.param == "redis"
    client = redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url")) if real else FakeAsyncRedis()
    yield client
    await client.aclose()


def counted(read: int) -> Counts:
    return Counts(read=read, applied=read, emitted=read)


async def test_after_a_crash_the_books_are_those_of_the_committed_offset(store):
    for offset in (10, 20, 30):
        await books.keep(store, KEY, offset, counted(offset))
    assert await books.resume(store, KEY, 20) == counted(20)
    assert await books.resume(store, KEY, 25) == counted(20)
    assert await books.resume(store, KEY, 5) == Counts()


async def test_a_fresh_partition_starts_at_nothing(store):
    assert await books.resume(store, KEY, 0) == Counts()


async def test_a_commit_may_trail_by_seconds_of_busy_work(store):
    # 200 notes a second in one partition, and a commit that is five seconds late.
    for offset in range(1, 1_001):
        await books.keep(store, KEY, offset, counted(offset))
    assert await books.resume(store, KEY, 1) == counted(1)


async def test_the_notes_do_not_grow_without_end(store, monkeypatch):
    monkeypatch.setattr(books, "KEPT", 50)
    for offset in range(500):
        await books.keep(store, KEY, offset, counted(offset))
    assert await store.hlen(KEY) <= 50
    assert await books.resume(store, KEY, 499) == counted(499)


async def test_the_sum_takes_the_newest_note_of_each_partition(store):
    for partition, offset in ((0, 9), (0, 10), (1, 2)):
        await books.keep(store, KEYS.books("tag", "documents", partition), offset, counted(offset))
    await books.keep(store, KEYS.books("ingest", "news", 0), 99, counted(99))
    assert await books.total(store, KEYS, "tag") == counted(12)


async def test_what_a_process_holds_is_read_and_in_flight(store):
    await books.keep(store, KEY, 5, counted(5))
    clock = ManualClock(1)
    note = beat.Beat(stage="tag", instance="1", pid=1, at=clock.now_ms(), in_flight=3)
    await beat.say(store, KEYS, note)
    found = await account(store, KEYS, 1, Counts())
    tag = found.stages["tag"]
    assert (tag.read, tag.in_flight, tag.balanced) == (8, 3, True)


async def test_books_that_do_not_add_up_are_told_in_sentences(store):
    await books.keep(store, KEYS.books("ingest", "news", 0), 9, Counts(read=9, applied=8, emitted=8))
    await books.keep(store, KEY, 5, counted(5))
    found = await account(store, KEYS, 1, Counts())
    assert not found.balanced
    assert any(sentence.startswith("ingest: read 9 is not applied 8") for sentence in found.wrong)
    assert "tag has read 5 of the 8 documents that ingest wrote." in found.wrong


async def test_a_namespace_does_not_count_its_neighbour(store):
    await books.keep(store, Keys("t2").books("tag", "documents", 0), 5, counted(5))
    assert (await account(store, KEYS, 1, Counts())).stages["tag"] == Counts()
