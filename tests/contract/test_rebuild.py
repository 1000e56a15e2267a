"""A lost Redis, on a real and on the embedded one: the rebuild counts, learns and tells what an undisturbed run does, each alert once.

One scored partition with two subjects. `World` is a broker in memory: the log, the baselines and the alerts as the relay leaves them. What
is compared is what a run without losses leaves behind after the same rows and the same moments of the clock.
"""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
import redis.asyncio

from groundswell.clock import ManualClock
from groundswell.errors import Fenced
from groundswell.keys import HOUR_MS, MINUTE_MS, Keys
from groundswell.records import NEGATIVE, POSITIVE, AlertEvent, AlertView, Row, ScoredBatch, ScoredDocument
from groundswell.running.embedded import _fakeredis
from stream import baselines, generation, rebuild
from stream.aggregate import CHECKPOINT_MS, AggregateWork
from stream.baselines import Checkpoint, Closed
from stream.detection import surge
from stream.detection.detect import Detector
from stream.detection.policy import Policy
from stream.generation import Generation
from stream.live import rows
from stream.names import entities
from stream.names.directory import Directory
from stream.relay import Outgoing, empty, enlist
from stream.store import Store
from stream.topology import ALERTS, BASELINES, Topology
from stream.windows import Window

NOON_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
DIRECTORY = Directory(entities.load())
POLICY = Policy(settings=surge.Settings(), ln_h=surge.threshold(5.0, len(DIRECTORY)), lateness_ms=30_000)
TOPOLOGY, KEYS = Topology("ns"), Keys("ns")
SUBJECT, OTHER = "XNAS:AAPL", "XNAS:MSFT"
FUTURE_S = 90


@dataclass(frozen=True)
class Record:
    partition: int
    offset: int
    value: bytes
    key: bytes | None = None


@dataclass
class World:
    """What the broker holds. `begin`: older records of the log have expired."""

    log: list[Record] = field(default_factory=list)
    topics: dict[str, list[tuple[bytes, bytes]]] = field(default_factory=dict)
    begin: int = 0

    async def send(self, topic: str, value: bytes, key: bytes = b"", **_: Any) -> "asyncio.Future[None]":
        self.topics.setdefault(topic, []).append((key, value))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    @property
    def told(self) -> list[str]:
        return [
            msgspec.json.decode(value, type=AlertEvent).id for _, value in self.topics.get(TOPOLOGY.name(ALERTS), [])
        ]

    @property
    def baselines(self) -> list[Any]:
        return [baselines.decode(value) for _, value in self.topics.get(TOPOLOGY.name(BASELINES), [])]

    def compact(self) -> None:
        """As the broker may at any time: the newest of each key stays."""
        name = TOPOLOGY.name(BASELINES)
        self.topics[name] = list(dict(self.topics.get(name, [])).items())


class WorldPast:
    """The `Past` of a world."""

    def __init__(self, world: World, client: Any, clock: ManualClock) -> None:
        self._world, self._client, self._clock = world, client, clock

    async def plan(self, partition: int, of: Generation, at: int | None, begun: rebuild.Rebuild | None) -> Any:
        kept = baselines.gather(self._values(), "only")
        begin, end = self._world.begin, len(self._world.log)
        start = max(begin, of.from_ms)  # in this world an offset is given as a time
        return rebuild.plan(kept, partition, begin, end, start, self._clock.now_ms(), at, begun)

    def _values(self) -> list[bytes]:
        return [value for _, value in self._world.topics.get(TOPOLOGY.name(BASELINES), [])]

    def forget(self) -> None:
        pass

    async def told(self) -> frozenset[str]:
        kept = baselines.gather(self._values(), "only")
        for _, value in self._world.topics.get(TOPOLOGY.name(ALERTS), []):
            event = msgspec.json.decode(value, type=AlertEvent)
            await enlist(self._client, KEYS, Outgoing(event=event, evidence=kept.evidence[event.id]))
        return frozenset(self._world.told)


class Aggregate:
    """One process on the world: does to its partition what the PartitionLoop does."""

    def __init__(self, world: World, client: Any, clock: ManualClock) -> None:
        self.world, self.client, self.clock = world, client, clock
        store = Store(client, KEYS, "only")
        self.work = AggregateWork(
            TOPOLOGY, store, world, DIRECTORY, POLICY, clock, idle_s=60.0, past=WorldPast(world, client, clock),  # type: ignore[arg-type]
        )  # fmt: skip
        self.at: int | None = None

    async def _turn(self, records: Sequence[Record]) -> None:
        try:
            if self.at is None:
                self.at = await self.work.assigned(0) or 0
            elif records:
                self.at = await self.work.process(0, records)
            else:
                await self.work.idle(0, self.at >= len(self.world.log))
        except Fenced:
            self.at = None
            await self._turn(())

    async def read(self, most: int = 10_000) -> None:
        """Work off up to so many records, in batches."""
        if self.at is None:
            await self._turn([])
        left = most
        while left > 0 and self.at is not None and self.at < len(self.world.log):
            await self._turn(self.world.log[self.at : self.at + min(left, 7)])
            left -= 7
        if self.at is None:
            await self.read(left)

    async def tick(self) -> None:
        """An idle turn; after a loss as many as it takes."""
        await self._turn([])
        if self.at is None or self.at < len(self.world.log):
            await self.read()
            await self._turn([])

    async def relay(self) -> None:
        while await empty(self.client, KEYS, TOPOLOGY, self.world, 0, "only"):  # type: ignore[arg-type]
            pass

    @property
    def part(self) -> Any:
        return self.work.parts[0]


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


@dataclass(frozen=True)
class Step:
    """At `at_s` after noon: documents come (each a time after noon, negative or not), or the clock ticks."""

    at_s: int
    documents: tuple[tuple[int, bool], ...] = ()


def story(seed: int) -> list[Step]:
    """Some hours of talk, a surge or two, silences that the clock closes, late rows."""
    chance, steps, now_s = random.Random(seed), [], 0
    surges = sorted(chance.sample(range(150, 420), 2))
    for minute in range(480):
        now_s = minute * 60
        heavy = any(0 <= minute - start < 6 for start in surges)
        quiet = (minute // 40) % 3 == 2 and not heavy
        for _ in range(12 if heavy else 0 if quiet else chance.choice((0, 1, 1))):
            late_s = chance.choice((0, 0, 0, 5, 40, 200, 4_000))
            steps.append(
                Step(
                    now_s + chance.randrange(50),
                    ((now_s - late_s + chance.randrange(50), heavy or chance.random() < 0.3),),
                )
            )
        steps.append(Step(now_s + 55))
    steps += [Step(now_s + 60 * i) for i in range(1, 90)]
    return sorted(steps, key=lambda step: step.at_s)


def record(offset: int, step: Step) -> Record:
    def document(index: int, second: int, negative: bool) -> ScoredDocument:
        subject = SUBJECT if negative or second % 3 else OTHER
        return ScoredDocument(
            index=index, id=f"d{offset}-{index}", story=f"s{offset % 97}-{index}" if offset % 11 else "s1-0", echo=offset % 11 == 0,
            published_at=NOON_MS + second * 1000, ingested_at=NOON_MS + step.at_s * 1000, author=f"a{offset % 50}", source=f"w{offset % 4}",
            title=f"{offset} says something of its own about this company today {offset}",
            rows=[Row(subject, NEGATIVE if negative else POSITIVE, 0.9 if negative else 0.1)],
        )  # fmt: skip

    documents = [document(i, second, negative) for i, (second, negative) in enumerate(step.documents)]
    return Record(0, offset, msgspec.json.encode(ScoredBatch(partition=0, offset=offset, documents=documents)))


async def live(
    client: Any, steps: Sequence[Step], *, flush: Sequence[int] = (), crash: Sequence[int] = (), checkpoint: Sequence[int] = (),
    expire: int = 0,
) -> Aggregate:  # fmt: skip
    """A run through all steps. At those numbered, Redis is emptied, the process dies, a day has passed since the last checkpoint."""
    world, clock = World(), ManualClock(NOON_MS)
    await client.flushdb()
    await generation.begin(client, KEYS)
    one = Aggregate(world, client, clock)
    await one.read()
    for number, step in enumerate(steps):
        clock.advance(NOON_MS / 1000 + step.at_s - clock.now_ms() / 1000)
        if number in checkpoint and one.at is not None:
            one.part.checkpointed_ms -= CHECKPOINT_MS
        if step.documents:
            world.log.append(record(len(world.log), step))
            await one.read()
        else:
            await one.tick()
        if number in flush:
            if await client.llen(KEYS.shut(0)):
                await one.relay()  # closes that were lost before they were logged make another run
            world.compact()
            world.begin = max(world.begin, expire if len(world.log) > expire else 0)
            await client.flushdb()
            await one.work.lost(await generation.current(client, KEYS))
            await one.read(random.Random(number).randrange(200))  # and perhaps it dies in the middle of it
        if number in crash or (number in flush and number % 2):
            one = Aggregate(world, client, clock)
            await one.read()
        if number % 5 == 0:
            await one.relay()
    await one.tick()
    await one.relay()
    return one


async def buckets(client: Any) -> dict[bytes, dict[bytes, bytes]]:
    return {key: await client.hgetall(key) async for key in client.scan_iter(match="ns:{s0}:b:*")}


async def views(client: Any) -> dict[str, AlertView]:
    return {
        key.decode(): msgspec.json.decode(await client.get(key), type=AlertView)
        async for key in client.scan_iter(match="ns:alert:*")
    }


@pytest.mark.parametrize("seed", range(6))
async def test_losses_at_any_moment_leave_what_an_undisturbed_run_leaves(client: Any, seed: int, request: Any) -> None:
    if "fakeredis" in request.node.name and seed > 0:
        pytest.skip("One seed is enough on the slow one.")
    steps, chance = story(seed), random.Random(seed + 100)
    calm = await live(client, steps)
    wanted, left, shown = calm.world.told, await buckets(client), await views(client)
    assert len(wanted) >= 2, "a story without alerts shows nothing"
    moments = [sorted(chance.sample(range(50, len(steps)), size)) for size in (3, 2, 3)]
    broken = await live(client, steps, flush=moments[0], crash=moments[1], checkpoint=moments[2])
    assert Counter(broken.world.told) == Counter(wanted), f"told at {moments}"
    assert await buckets(client) == left
    assert not broken.part.warming
    assert broken.part.window.counts == calm.part.window.counts
    assert broken.part.detector.state.to_bytes() == calm.part.detector.state.to_bytes(), "to the bit"
    again = await views(client)
    assert {name: (view.event, view.evidence) for name, view in again.items()} == {
        name: (view.event, view.evidence) for name, view in shown.items()
    }


async def test_what_has_expired_from_the_log_is_known_from_the_checkpoint(client: Any) -> None:
    """The first rows of the log are gone and with them what was learned of them; the checkpoint lies behind them."""
    steps = story(3)
    calm = await live(client, steps)
    broken = await live(client, steps, flush=[len(steps) - 60], checkpoint=[len(steps) // 2], expire=60)
    assert broken.world.begin == 60
    assert broken.world.told == calm.world.told
    assert broken.part.detector.state.to_bytes() == calm.part.detector.state.to_bytes()
    assert broken.part.window.counts == calm.part.window.counts


async def test_where_the_past_is_not_known_nothing_old_is_told(client: Any) -> None:
    """No checkpoint, and the log has lost its beginning: another episode might be found than was told then."""
    steps = story(3)
    broken = await live(client, steps, flush=[len(steps) - 40], expire=60)
    before = {msgspec.json.decode(value, type=AlertEvent).id for _, value in broken.world.topics[TOPOLOGY.name(ALERTS)]}
    assert len(broken.world.told) == len(before), "none twice"
    calm = await live(client, steps)
    assert set(broken.world.told) <= set(calm.world.told)


async def test_while_it_is_rebuilt_nothing_is_told_and_pages_say_warming(client: Any) -> None:
    steps = story(0)
    one = await live(client, steps)
    told = list(one.world.told)
    assert told
    one.world.topics[TOPOLOGY.name(ALERTS)].clear()  # nobody was told: all of it is to be told, at the end
    await client.flushdb()
    await one.work.lost(await generation.current(client, KEYS))
    one.at = None  # noticed
    for _ in range(20):
        await one.read(7)
        await one.relay()
        shown = rows(one.part.window, one.part.detector, DIRECTORY, warming=one.part.warming)
        assert one.part.warming
        assert {row.state for row in shown} == {"warming"}
        assert one.world.told == []
    await one.read()
    await one.tick()
    assert not one.part.warming
    await one.relay()
    assert sorted(one.world.told) == sorted(told)


async def test_a_quiet_aggregate_takes_up_anew_at_its_next_tick(client: Any) -> None:
    one = await live(client, story(1)[:200])
    left = await buckets(client)
    await client.flushdb()
    await one.work.lost(await generation.current(client, KEYS))
    with pytest.raises(Fenced):
        await one.work.idle(0, caught_up=True)
    one.at = None
    await one.tick()
    assert await buckets(client) == left


async def test_an_operator_s_rebuild_drops_what_is_there_and_counts_it_again(client: Any) -> None:
    one = await live(client, story(2)[:300])
    left, told = await buckets(client), list(one.world.told)
    key = min(left)
    minute, packed = next(iter(left[key].items()))
    await client.hset(key, minute, bytes(20))  # somebody's hand
    assert await buckets(client) != left
    await one.work.lost(await generation.begin(client, KEYS))
    await one.tick()
    await one.relay()
    assert await buckets(client) == left
    assert packed != bytes(20)
    assert one.world.told == told


async def test_a_rebuild_from_a_moment_counts_what_came_after_it(client: Any) -> None:
    one = await live(client, story(2)[:300])
    half = len(one.world.log) // 2
    await one.work.lost(await generation.begin(client, KEYS, from_ms=half))
    await one.tick()
    assert one.part.window.counts.read == len(one.world.log) - half


async def test_a_day_s_checkpoint_is_written_once_and_one_more_at_a_clean_end(client: Any) -> None:
    one = await live(client, story(2)[:300], checkpoint=[120])
    found = [each for each in one.world.baselines if isinstance(each, Checkpoint)]
    assert len(found) == 1
    one.work.ending = True
    offset = one.part.offset
    await one.work.revoked(0)
    found = [each for each in one.world.baselines if isinstance(each, Checkpoint)]
    assert [each.offset for each in found][1:] == [offset]


async def test_a_checkpoint_cut_short_costs_the_one_before_nothing(client: Any) -> None:
    one = await live(client, story(2)[:300], checkpoint=[120])
    (first,) = (each for each in one.world.baselines if isinstance(each, Checkpoint))
    torn = msgspec.structs.replace(first, offset=first.offset + 5, number="torn", parts=2, at=first.at + CHECKPOINT_MS)
    assert torn.key != first.key
    kept = baselines.gather([baselines.encode(first), baselines.encode(torn)], "only")
    assert kept.checkpoints[0].number == first.number
    assert baselines.gather([baselines.encode(first)], "other topics").checkpoints == {}


def test_a_silence_is_one_record_however_often_the_clock_closed_in_it() -> None:
    def closed(end_ms: int) -> Closed:
        return Closed(
            incarnation="only", partition=0, offset=9, start_ms=0, end_ms=end_ms, watermark_ms=end_ms, newest_ms=end_ms
        )

    values = [baselines.encode(closed(minute * MINUTE_MS)) for minute in (1, 3, 2)]
    assert len({closed(minute).key for minute in (1, 2, 3)}) == 1
    assert baselines.gather(values, "only").closed == {0: [closed(3 * MINUTE_MS)]}


def test_what_is_not_ours_on_the_topic_is_passed_over() -> None:
    assert baselines.gather([b"\xff", b"{}", None, b'{"kind":"checkpoint"}'], "only").checkpoints == {}


def test_a_checkpoint_of_many_subjects_travels_in_parts_and_comes_back_whole_in_any_order() -> None:
    detector = Detector(POLICY, DIRECTORY)
    names = [f"XTST:S{number:04d}" for number in range(2 * baselines.SUBJECTS_A_RECORD + 1)]
    detector.restore(names, surge.State.new(len(names), 0.3, POLICY.settings))
    parts = baselines.checkpoint("only", 5, 77, Window(marks={3: 9}, closed_ms=NOON_MS), detector, NOON_MS)
    assert (len(parts), len({part.key for part in parts})) == (3, 3)
    assert max(len(baselines.encode(part)) for part in parts) < 700_000, (
        "under the broker's limit, with room for episodes"
    )
    values = [baselines.encode(part) for part in (parts[2], parts[0], parts[1])]
    whole = baselines.gather(values, "only").checkpoints[5]
    assert [known.subject for known in whole.subjects] == names
    assert (whole.offset, whole.marks, whole.closed_ms) == (77, {3: 9}, NOON_MS)
    assert baselines.gather(values[:2], "only").checkpoints == {}
