"""The hub: what a browser hears, what it is told when it fell behind, and that nobody costs memory."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import fakeredis
import msgspec
import pytest

from dashboard import live
from dashboard.live import Full, Hub
from groundswell.clock import ManualClock
from groundswell.keys import Keys
from groundswell.records import Acknowledgement, LiveRow
from groundswell.shown import Shown
from stream.topology import SCORED, Topology
from tests import believable

NOW = 1_795_300_020_000
KEYS = Keys()
TOPOLOGY = Topology()


class Redis:
    """A fake server with a client for writing (as aggregate does) and one for reading (as the hub does)."""

    def __init__(self) -> None:
        server = fakeredis.FakeServer()
        self.server = server
        self.writer = fakeredis.FakeRedis(server=server)
        self.reader = fakeredis.FakeAsyncRedis(server=server)

    def rows(self, *rows: LiveRow) -> None:
        pipeline = self.writer.pipeline()
        believable.write_rows(pipeline, KEYS, TOPOLOGY, list(rows))
        pipeline.execute()


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    one = Redis()
    yield one
    await one.reader.aclose()
    one.writer.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


@pytest.fixture
def hub(redis: Redis, clock: ManualClock) -> Hub:
    return Hub(Shown(redis.reader, KEYS, TOPOLOGY.partitions(SCORED)), clock)


def a_row(negatives: int = 3, **changes: Any) -> LiveRow:
    row = believable.live_row(believable.SURGE, {}, NOW, minutes=[[NOW - 60_000, negatives, 1, 0]])
    return msgspec.structs.replace(row, negatives_15=negatives, **changes)


def heard(chunk: bytes) -> list[tuple[str, dict[str, Any]]]:
    """The events of some bytes of a stream, ticks left out."""
    found = []
    for block in chunk.decode().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        if "event" in fields and fields["event"] != "tick":
            found.append((fields["event"], json.loads(fields["data"])))
    return found


async def hear(frames: AsyncIterator[bytes]) -> list[tuple[str, dict[str, Any]]]:
    async with asyncio.timeout(2):
        return heard(await anext(frames))


async def listen(hub: Hub, *topics: str, since: str = "") -> AsyncIterator[bytes]:
    frames = hub.watch(topics, since)
    assert (await anext(frames)).startswith(b"retry:")
    return frames


async def test_a_changed_row_reaches_who_listens_to_it_and_nobody_else(redis: Redis, hub: Hub) -> None:
    await hub.tick()
    mine = await listen(hub, "overview", since=hub.cursor)
    other = await listen(hub, "subject:XTST:OTHER", since=hub.cursor)
    redis.rows(a_row(negatives=7))
    await hub.tick()
    [(event, data)] = await hear(mine)
    assert event == "rows"
    assert [(row["subject"], row["neg"]) for row in data["rows"]] == [("XTST:HLVN", 7)]
    assert await hear(other) == []


async def test_a_subjects_listener_gets_its_newest_minutes_in_milliseconds(redis: Redis, hub: Hub) -> None:
    frames = await listen(hub, "subject:XTST:HLVN", since=hub.cursor)
    redis.rows(a_row(negatives=9, at=NOW // 60_000, minutes=[[NOW // 60_000 - 1, 9, 1, 0]]))
    await hub.tick()
    assert await hear(frames) == [
        ("series", {"subject": "XTST:HLVN", "at": NOW, "minutes": [[NOW - 60_000, 9, 1, 0]]}),
    ]


async def test_nothing_is_sent_twice_when_nothing_changes(redis: Redis, hub: Hub) -> None:
    redis.rows(a_row())
    await hub.tick()
    frames = await listen(hub, "overview", since=hub.cursor)
    await hub.tick()
    assert await hear(frames) == []


async def test_a_subject_that_is_no_longer_shown_is_said_to_be_gone(redis: Redis, hub: Hub) -> None:
    redis.rows(a_row())
    await hub.tick()
    frames = await listen(hub, "overview", since=hub.cursor)
    redis.writer.delete(KEYS.live(TOPOLOGY.scored_partition("XTST:HLVN")))
    await hub.tick()
    assert (await hear(frames))[0][1]["gone"] == ["XTST:HLVN"]
    assert hub.state()["state"] == "empty"


async def test_who_reconnects_hears_exactly_what_was_missed(redis: Redis, hub: Hub) -> None:
    redis.rows(a_row(negatives=1))
    await hub.tick()
    cursor = hub.cursor
    for negatives in (2, 3):
        redis.rows(a_row(negatives=negatives))
        await hub.tick()
    frames = await listen(hub, "overview", since=cursor)
    assert [data["rows"][0]["neg"] for _, data in await hear(frames)] == [2, 3]


@pytest.mark.parametrize("cursor", ["abcdef-3", "nonsense", "-", "{boot}-999999", "{boot}--1", "{boot}-١"])
async def test_a_cursor_that_is_not_ours_means_read_again(hub: Hub, cursor: str) -> None:
    await hub.tick()
    frames = await listen(hub, "overview", since=cursor.format(boot=hub.boot))
    assert await hear(frames) == [("reset", {})]


async def test_who_falls_off_the_ring_is_told_to_read_again_and_then_goes_on(redis: Redis, hub: Hub) -> None:
    await hub.tick()
    cursor = hub.cursor
    for negatives in range(live.RING_TICKS + 5):
        redis.rows(a_row(negatives=negatives))
        await hub.tick()
    frames = await listen(hub, "overview", since=cursor)
    assert await hear(frames) == [("reset", {})]
    redis.rows(a_row(negatives=77))
    await hub.tick()
    assert (await hear(frames))[0][1]["rows"][0]["neg"] == 77


async def test_the_ring_does_not_grow_whatever_happens(redis: Redis, hub: Hub) -> None:
    for negatives in range(3 * live.RING_TICKS):
        redis.rows(a_row(negatives=negatives))
        await hub.tick()
    assert len(hub._ring) <= 3 * live.RING_TICKS + 3


async def test_a_new_alert_and_its_acknowledgement_are_heard(redis: Redis, clock: ManualClock) -> None:
    acks: dict[str, Acknowledgement] = {}
    hub = Hub(Shown(redis.reader, KEYS, TOPOLOGY.partitions(SCORED)), clock, acks=lambda: acks)
    frames = await listen(hub, "alerts", since=hub.cursor)
    pipeline = redis.writer.pipeline()
    believable.write_alert(pipeline, KEYS, believable.alert(NOW))
    pipeline.execute()
    await hub.tick()
    [(event, row)] = await hear(frames)
    assert (event, row["episode"], row["state"], row["ack"]) == ("alert", "ep_9a41", "firing", None)
    acks["ep_9a41"] = Acknowledgement(id="ep_9a41", by="lin", at=NOW)
    await hub.tick()
    [(_, row)] = await hear(frames)
    assert row["ack"]["by"] == "lin"


async def test_one_unreadable_partition_does_not_hide_the_others(redis: Redis, hub: Hub) -> None:
    redis.rows(a_row())
    home = TOPOLOGY.scored_partition("XTST:HLVN")
    redis.writer.set(KEYS.live((home + 1) % 64), b'[{"subject": 3')
    redis.writer.set(KEYS.live((home + 2) % 64), b"\xff\xfe")
    await hub.tick()
    assert list(hub.shown.rows) == ["XTST:HLVN"]


async def test_a_redis_that_goes_is_said_and_one_that_comes_back_is_too(redis: Redis, hub: Hub) -> None:
    redis.rows(a_row())
    await hub.tick()
    assert hub.state()["state"] == "ok"
    redis.server.connected = False
    await hub.tick()
    assert hub.state()["state"] == "redis_away"
    assert hub.shown.rows, "what was read last still stands"
    redis.server.connected = True
    await hub.tick()
    assert hub.state()["state"] == "ok"


async def test_counts_that_end_three_minutes_ago_are_called_stale(redis: Redis, hub: Hub, clock: ManualClock) -> None:
    redis.rows(a_row())
    await hub.tick()
    clock.advance(181)
    assert hub.state()["state"] == "stale"


async def test_a_tick_reads_redis_once_and_twice_only_when_an_alert_is_new(
    redis: Redis, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    trips: list[str] = []
    monkeypatch.setattr(redis.reader, "pipeline", _counted(redis.reader.pipeline, trips, "pipeline"))
    monkeypatch.setattr(redis.reader, "mget", _counted(redis.reader.mget, trips, "mget"))
    pipeline = redis.writer.pipeline()
    believable.write_alert(pipeline, KEYS, believable.alert(NOW))
    pipeline.execute()
    await hub.tick()
    await hub.tick()
    await hub.tick()
    assert trips == ["pipeline", "mget", "pipeline", "pipeline"]


def _counted(function: Any, trips: list[str], name: str) -> Any:
    def counted(*args: Any, **options: Any) -> Any:
        trips.append(name)
        return function(*args, **options)

    return counted


async def test_more_streams_than_allowed_are_refused_and_a_left_one_makes_room(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "MAX_STREAMS", 2)
    first = await listen(hub, "overview")
    await listen(hub, "overview")
    with pytest.raises(Full):
        hub.watch(["overview"], "")
    await first.aclose()  # type: ignore[attr-defined]
    assert hub.streams == 1
    await listen(hub, "overview")


async def test_closing_ends_every_stream_at_once(hub: Hub) -> None:
    frames = [await listen(hub, "overview", since=hub.cursor) for _ in range(5)]
    ends = [asyncio.create_task(_drain(one)) for one in frames]
    await asyncio.sleep(0)
    hub.close()
    async with asyncio.timeout(1):
        await asyncio.gather(*ends)
    assert hub.streams == 0


async def _drain(frames: AsyncIterator[bytes]) -> None:
    async for _ in frames:
        pass
