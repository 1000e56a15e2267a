"""The store on a real Redis and on the embedded one: a commit is all or nothing, only the owner writes, a reload is what was in memory."""

import asyncio
import contextlib
import socket
import struct
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pytest
import redis.asyncio
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from groundswell.errors import Fenced, RedisAway
from groundswell.keys import HOUR_MS, MINUTE_MS, Keys, pack_counters, unpack_bucket, unpack_counters
from groundswell.records import Bucket, DocumentCard
from groundswell.running.embedded import _fakeredis
from stream.detection import surge
from stream.detection.cards import CARDS
from stream.detection.episodes import Episode
from stream.store import CARDS_SHOWN, UNPACKED, Store, Writes
from stream.windows import Window

NOON_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
HISTORY_MS = 180 * MINUTE_MS
KEYS = Keys("ns")
SETTINGS = surge.Settings()


@pytest.fixture(scope="session")
def fake_url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _fakeredis(port):
        yield f"redis://127.0.0.1:{port}/0"


@pytest.fixture(params=["redis", "fakeredis"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """An empty database of a real Redis, and of the one that needs no installation."""
    url = request.getfixturevalue("redis_url" if request.param == "redis" else "fake_url")
    connection = redis.asyncio.Redis.from_url(url)
    await connection.flushdb()
    yield connection
    await connection.aclose()


def store(client: Any, incarnation: str = "first") -> Store:
    return Store(client, KEYS, incarnation)


@dataclass
class Memory:
    """What an aggregator holds of a partition, filled with all sorts."""

    window: Window
    subjects: list[str]
    state: surge.State
    episodes: dict[str, Episode]
    cards: dict[str, deque[DocumentCard]]
    echoes: dict[str, Counter[str]]


def card(number: int, at_ms: int = NOON_MS) -> DocumentCard:
    return DocumentCard(
        id=f"d{number}", story=f"s{number % 7}", published_at=at_ms, source="paper", label="negative", negative=0.91, lang="zh",
        title="松涛银行下调评级", author=f"a{number % 5}", about=("XTST:AAAA",),
    )  # fmt: skip


def episode(subject: str, onset_ms: int, state: str = "firing") -> Episode:
    return Episode(
        id=f"ep_{subject}", subject=subject, state=state, onset_ms=onset_ms, fired_ms=onset_ms + 60_000, changed_ms=onset_ms,
        kind="both", ratio=1.2345678901234567, told_effect=3.3, resolved_ms=0,
    )  # type: ignore[arg-type]  # fmt: skip


def memory(subjects: int = 5, seed: int = 3) -> Memory:
    chance = np.random.default_rng(seed)
    names = [
        f"XTST:S{i:05d}" for i in chance.permutation(subjects)
    ]  # their order of arrival is not that of their names
    state = surge.State.new(subjects, 0.2, SETTINGS)
    slot = surge.local_slots("UTC", NOON_MS // 1000)
    for _ in range(3):
        y = chance.poisson(2, subjects).astype(float)
        state, _ = surge.tick(state, slot.take([0] * subjects), y, y + 1, np.zeros(subjects, bool), SETTINGS)
    window = Window(
        marks={0: 65_536 * 9 + 4, 23: 7},
        watermark_ms=NOON_MS - 30_000,
        closed_ms=NOON_MS - MINUTE_MS,
        newest_ms=NOON_MS,
    )
    window.counts.read = window.counts.applied = 12
    for name in names:
        for minute in range(-170, 2):
            if chance.random() < 0.3:
                at_ms = NOON_MS + minute * MINUTE_MS
                window.touch(name, at_ms)[:] = [int(count) for count in chance.integers(0, 300, 5)]
    cards = {names[0]: deque((card(i) for i in range(40)), maxlen=CARDS)}
    echoes = {names[0]: Counter({"s1": 40, "s2": 2})}
    return Memory(window, names, state, {names[1]: episode(names[1], NOON_MS - HOUR_MS)}, cards, echoes)


def writes(kept: Store, held: Memory, offset: int = 10) -> Writes:
    found = Writes()
    kept.write_window(17, held.window, offset, found)
    kept.write_detector(17, held.subjects, held.state, found)
    kept.write_episodes(17, held.episodes, [], found)
    for subject, cards in held.cards.items():
        kept.write_cards(17, subject, list(cards), list(cards), held.echoes.get(subject, {}), found)
    return found


async def everything(client: Any) -> dict[bytes, Any]:
    """All that is in the database, to compare."""
    found: dict[bytes, Any] = {}
    async for key in client.scan_iter():
        kind = await client.type(key)
        if kind == b"hash":
            found[key] = await client.hgetall(key)
        elif kind == b"list":
            found[key] = await client.lrange(key, 0, -1)
        elif kind == b"zset":
            found[key] = await client.zrange(key, 0, -1, withscores=True)
        else:
            found[key] = await client.get(key)
    return found


# -- commit -----------------------------------------------------------------------------------------------------------


async def test_a_reload_is_equal_to_what_was_in_memory(client: Any) -> None:
    kept, held = store(client), memory()
    loaded = await kept.take_up(17, HISTORY_MS)
    assert (loaded.offset, loaded.revision, loaded.window, loaded.state) == (None, 0, Window(), None)
    assert await kept.commit(17, loaded.owner, loaded.revision, writes(kept, held)) == 1
    again = await kept.take_up(17, HISTORY_MS)
    assert (again.offset, again.revision) == (10, 1)
    assert again.window.marks == held.window.marks
    assert again.window.counts == held.window.counts
    assert (again.window.watermark_ms, again.window.closed_ms, again.window.newest_ms) == (
        held.window.watermark_ms, held.window.closed_ms, held.window.newest_ms,
    )  # fmt: skip
    assert again.window.minutes == held.window.minutes
    assert again.subjects == held.subjects
    assert again.state is not None
    assert again.state.to_bytes() == held.state.to_bytes(), "to the bit"
    assert again.open_episodes == held.episodes
    assert again.cards[held.subjects[0]] == held.cards[held.subjects[0]]
    assert again.echoes[held.subjects[0]] == held.echoes[held.subjects[0]]


async def test_who_lost_the_partition_writes_nothing(client: Any) -> None:
    zombie, owner = store(client), store(client)
    before = await zombie.take_up(17, HISTORY_MS)
    now = await owner.take_up(17, HISTORY_MS)
    stands = await everything(client)
    with pytest.raises(Fenced, match="fenced"):
        await zombie.commit(17, before.owner, before.revision, writes(zombie, memory()))
    assert await everything(client) == stands
    assert await owner.commit(17, now.owner, now.revision, writes(owner, memory())) == 1


async def test_a_batch_computed_from_an_older_revision_writes_nothing(client: Any) -> None:
    kept, held = store(client), memory()
    loaded = await kept.take_up(17, HISTORY_MS)
    await kept.commit(17, loaded.owner, 0, writes(kept, held))
    stands = await everything(client)
    held.window.counts.read += 1
    with pytest.raises(Fenced, match="moved"):
        await kept.commit(17, loaded.owner, 0, writes(kept, held, offset=11))
    assert await everything(client) == stands


async def test_a_commit_whose_command_is_wrong_changes_nothing_that_a_reload_would_believe(client: Any) -> None:
    kept, held = store(client), memory()
    loaded = await kept.take_up(17, HISTORY_MS)
    found = Writes()
    found.add("HSET", KEYS.state(17), "off")  # one argument short
    kept.write_window(17, held.window, 10, found)
    with pytest.raises(Fenced):
        await kept.commit(17, loaded.owner, 0, found)
    with contextlib.suppress(redis.exceptions.ConnectionError):  # fakeredis closes the connection after an error
        await client.ping()
    again = await kept.take_up(17, HISTORY_MS)
    assert (again.offset, again.revision) == (None, 0)


class Cut:
    """A proxy in front of Redis that can swallow the next answer: the command is done, nobody hears of it."""

    def __init__(self, url: str) -> None:
        self.target = redis.asyncio.connection.parse_url(url)
        self.swallow = False
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"redis://127.0.0.1:{port}/{self.target.get('db', 0)}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, there = await asyncio.open_connection(self.target["host"], self.target["port"])
        self._writers += [writer, there]

        async def forth() -> None:
            while data := await reader.read(65_536):
                there.write(data)
                await there.drain()
            there.close()

        async def answers() -> None:
            while data := await back.read(65_536):
                if self.swallow:
                    self.swallow = False
                    writer.close()
                    there.close()
                    return
                writer.write(data)
                await writer.drain()
            writer.close()

        for work in (forth(), answers()):
            task = asyncio.create_task(_quietly(work))
            self._tasks.add(task)


async def _quietly(work: Any) -> None:
    with contextlib.suppress(OSError):
        await work


async def test_a_long_commit_works_on_a_redis_that_has_forgotten_the_script(client: Any) -> None:
    kept = store(client)
    await client.script_flush()
    loaded = await kept.take_up(17, HISTORY_MS)
    found = Writes()
    found.add("RPUSH", KEYS.outbox(17), *("x" * 1_000 for _ in range(3_000)))
    assert await kept.commit(17, loaded.owner, 0, found) == 1


async def test_a_lost_answer_is_a_fence_and_the_reload_tells_that_it_was_written(redis_url: str) -> None:
    async with Cut(redis_url) as proxy:
        client = redis.asyncio.Redis.from_url(proxy.url)
        try:
            kept, held = store(client), memory()
            loaded = await kept.take_up(17, HISTORY_MS)
            proxy.swallow = True
            with pytest.raises(Fenced, match="no answer"):
                await kept.commit(17, loaded.owner, loaded.revision, writes(kept, held))
            again = await kept.take_up(17, HISTORY_MS)
            assert (again.offset, again.revision) == (10, 1)
            assert again.window.minutes == held.window.minutes
        finally:
            await client.aclose()


async def test_a_redis_that_is_away_is_called_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nowhere = redis.asyncio.Redis(port=port, retry=Retry(NoBackoff(), 0))
    with pytest.raises(RedisAway, match="partition 17"):
        await store(nowhere).take_up(17, HISTORY_MS)
    with pytest.raises(RedisAway):
        await store(nowhere).fetch(17, Window(), [("XTST:AAAA", NOON_MS)])
    await nowhere.aclose()


# -- incarnation ------------------------------------------------------------------------------------------------------


async def test_state_of_topics_that_are_gone_is_dropped_and_that_of_other_partitions_kept(client: Any) -> None:
    kept, held = store(client), memory()
    for partition in (17, 1, 170):
        loaded = await kept.take_up(partition, HISTORY_MS)
        found = Writes()
        kept.write_window(partition, held.window, 10, found)
        await kept.commit(partition, loaded.owner, 0, found)
    others = {key: value for key, value in (await everything(client)).items() if b"{s17}" not in key}
    again = await store(client, "second").take_up(17, HISTORY_MS)
    assert (again.offset, again.revision, again.window) == (None, 0, Window())
    left = await everything(client)
    assert {key: value for key, value in left.items() if b"{s17}" not in key} == others
    assert [key for key in left if b"{s17}" in key] == [KEYS.state(17).encode()]


async def test_a_zombie_of_the_old_topics_cannot_write_beside_the_new_ones(client: Any) -> None:
    old = store(client)
    loaded = await old.take_up(17, HISTORY_MS)
    await store(client, "second").take_up(17, HISTORY_MS)
    stands = await everything(client)
    with pytest.raises(Fenced):
        await old.commit(17, loaded.owner, 0, writes(old, memory()))
    assert await everything(client) == stands


async def test_a_drop_that_was_cut_short_is_done_again(client: Any) -> None:
    kept = store(client)
    loaded = await kept.take_up(17, HISTORY_MS)
    await kept.commit(17, loaded.owner, 0, writes(kept, memory()))
    new = store(client, "second")
    deleted = client.delete
    calls = 0

    async def dies(*keys: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise redis.exceptions.ConnectionError("killed here")
        return await deleted(*keys)

    client.delete = dies
    with pytest.raises(RedisAway):
        await new.take_up(17, HISTORY_MS)
    client.delete = deleted
    again = await new.take_up(17, HISTORY_MS)
    assert (again.offset, again.subjects, again.open_episodes) == (None, [], {})
    assert [key for key in await everything(client) if b"{s17}" in key] == [KEYS.state(17).encode()]


# -- what is written --------------------------------------------------------------------------------------------------


async def test_two_thousand_subjects_are_written_in_one_call(client: Any, request: pytest.FixtureRequest) -> None:
    # The embedded Redis takes 3,000 commands a second, and a reload asks for each hour of each subject.
    kept, held = store(client), memory(subjects=200 if "fakeredis" in request.node.name else 2_000)
    held.window.minutes.clear()
    held.window.touched.clear()
    for name in held.subjects:
        held.window.touch(name, NOON_MS)[:] = [1, 2, 3, 4, 5]
    held.echoes = {held.subjects[0]: Counter({f"s{i}": i + 1 for i in range(UNPACKED + 500)})}
    loaded = await kept.take_up(17, HISTORY_MS)
    async with asyncio.timeout(20):
        await kept.commit(17, loaded.owner, 0, writes(kept, held))
    again = await kept.take_up(17, 0)
    assert again.subjects == held.subjects
    assert again.state is not None
    assert again.state.to_bytes() == held.state.to_bytes()
    assert again.window.minutes == held.window.minutes
    assert again.echoes[held.subjects[0]] == held.echoes[held.subjects[0]]


@given(st.lists(st.integers(0, 3 * UNPACKED), min_size=1, max_size=3))
@settings(max_examples=30, deadline=None)
def test_long_commands_are_cut_between_pairs_and_keep_their_order(lengths: list[int]) -> None:
    found, expected = Writes(), []
    for i, pairs in enumerate(lengths):
        values = list(range(2 * (pairs // 2)))
        found.add("HSET", f"key{i % 2}", *values)
        expected.append((f"key{i % 2}", values))
    at, read = 0, []
    while at < len(found.arguments):
        command, place, count = found.arguments[at : at + 3]
        assert (command, count % 2) == ("HSET", 0)
        assert count <= UNPACKED
        read.append((found.keys[place - 2], found.arguments[at + 3 : at + 3 + count]))
        at += 3 + count
    merged: dict[str, list[int]] = {}
    for key, values in read:
        merged.setdefault(key, []).extend(values)
    wanted: dict[str, list[int]] = {}
    for key, values in expected:
        wanted.setdefault(key, []).extend(values)
    assert merged == wanted


async def test_buckets_are_absolute_and_expire(client: Any) -> None:
    kept, held = store(client), memory()
    loaded = await kept.take_up(17, HISTORY_MS)
    revision = await kept.commit(17, loaded.owner, 0, writes(kept, held))
    name, at_ms = next(iter(held.window.touched))
    held.window.touched.clear()
    held.window.touch(name, at_ms)[:] = [9, 8, 7, 6, 5]
    await kept.commit(17, loaded.owner, revision, writes(kept, held, offset=11))
    key = KEYS.buckets(17, name, at_ms // HOUR_MS)
    packed = await client.hget(key, bytes((at_ms % HOUR_MS // MINUTE_MS,)))
    assert unpack_bucket(packed) == Bucket(9, 8, 7, 6, 5)
    assert await client.ttl(key) > 7 * 86_400


async def test_a_cold_minute_is_brought_back_before_it_is_changed(client: Any) -> None:
    kept, held = store(client), memory()
    loaded = await kept.take_up(17, HISTORY_MS)
    await kept.commit(17, loaded.owner, 0, writes(kept, held))
    name, at_ms = min(held.window.touched, key=lambda one: one[1])
    window = Window(minutes={name: {NOON_MS + HOUR_MS: [1, 0, 0, 0, 0]}})
    hour, newer = at_ms // HOUR_MS, NOON_MS // HOUR_MS + 1
    await kept.fetch(17, window, [(name, hour), (name, newer), ("XTST:NONE", hour)])
    in_hour = {minute: counters for minute, counters in held.window.minutes[name].items() if minute // HOUR_MS == hour}
    assert window.minutes == {name: {NOON_MS + HOUR_MS: [1, 0, 0, 0, 0]} | in_hour}
    assert window.whole == {hour: {name, "XTST:NONE"}, newer: {name}}, "not asked for again"


async def test_what_memory_has_of_an_hour_is_not_undone_by_a_read(client: Any) -> None:
    kept, held = store(client), memory()
    loaded = await kept.take_up(17, HISTORY_MS)
    await kept.commit(17, loaded.owner, 0, writes(kept, held))
    name, at_ms = next(iter(held.window.touched))
    window = Window(minutes={name: {at_ms: [99, 0, 0, 0, 0]}})
    await kept.fetch(17, window, [(name, at_ms // HOUR_MS)])
    assert window.minutes[name][at_ms] == [99, 0, 0, 0, 0]


async def test_buckets_that_version_0_1_wrote_are_read_and_go_on(client: Any) -> None:
    kept, hour = store(client), NOON_MS // HOUR_MS
    loaded = await kept.take_up(17, HISTORY_MS)
    await client.hset(KEYS.buckets(17, "XTST:AAAA", hour), b"\x05", struct.pack("<5I", 7, 0, 300, 0, 70_000))
    window = Window()
    await kept.fetch(17, window, [("XTST:AAAA", hour)])
    window.touch("XTST:AAAA", NOON_MS + 5 * MINUTE_MS)[0] += 1
    found = Writes()
    kept.write_window(17, window, 1, found)
    await kept.commit(17, loaded.owner, 0, found)
    again = Window()
    await kept.fetch(17, again, [("XTST:AAAA", hour)])
    assert again.bucket("XTST:AAAA", NOON_MS + 5 * MINUTE_MS) == Bucket(8, 0, 300, 0, 70_000)


@given(
    st.lists(
        st.one_of(st.integers(0, 300), st.integers(65_000, 66_000), st.integers(0, 2**32 - 1)), min_size=5, max_size=5
    )
)
@settings(max_examples=200, deadline=None)
def test_counters_take_as_many_bytes_as_they_need_and_come_back(counters: list[int]) -> None:
    packed = pack_counters(counters)
    assert unpack_counters(packed) == tuple(counters)
    assert len(packed) == (5 if max(counters) < 256 else 10 if max(counters) < 65_536 else 20)


async def test_a_forgotten_episode_leaves_redis_and_a_new_one_of_its_subject_stays(client: Any) -> None:
    kept, held = store(client), memory()
    loaded = await kept.take_up(17, HISTORY_MS)
    revision = await kept.commit(17, loaded.owner, 0, writes(kept, held))
    first, second = held.subjects[1], held.subjects[2]
    found = Writes()
    kept.write_episodes(17, {second: episode(second, NOON_MS)}, [first, second], found)
    await kept.commit(17, loaded.owner, revision, found)
    assert list((await kept.take_up(17, HISTORY_MS)).open_episodes) == [second]


async def test_the_lists_people_see_are_bounded(client: Any) -> None:
    kept = store(client)
    loaded = await kept.take_up(17, HISTORY_MS)
    revision = 0
    for start in range(0, 700, 100):
        cards, found = [card(i, NOON_MS + i) for i in range(start, start + 100)], Writes()
        kept.write_cards(17, "XTST:AAAA", cards, cards, {}, found)
        revision = await kept.commit(17, loaded.owner, revision, found)
    assert await client.zcard(KEYS.documents(17, "XTST:AAAA")) == CARDS_SHOWN
    negatives = await client.lrange(KEYS.negatives(17, "XTST:AAAA"), 0, -1)
    assert len(negatives) == CARDS
    assert b'"d699"' in negatives[-1]


async def test_minutes_since_the_onset_of_an_open_episode_are_loaded_however_old(client: Any) -> None:
    kept, held = store(client), memory()
    name = held.subjects[1]
    old_ms = NOON_MS - 30 * HOUR_MS
    held.episodes = {name: episode(name, old_ms)}
    held.window.touch(name, old_ms)[0] = 3
    loaded = await kept.take_up(17, HISTORY_MS)
    await kept.commit(17, loaded.owner, 0, writes(kept, held))
    again = await kept.take_up(17, HISTORY_MS)
    assert again.window.minutes[name][old_ms] == [3, 0, 0, 0, 0]
