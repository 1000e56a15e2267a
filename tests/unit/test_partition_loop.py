"""PartitionLoop against a consumer made of lists: order, commits, retries, fences, bounds, stop, revocation.

tests/contract/test_partition_loop.py asks the same of real brokers.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from groundswell.clock import ManualClock
from groundswell.errors import BrokerAway, Fenced, Poison, PoisonFlood, ProduceFailed, RedisAway, Stuck
from groundswell.telemetry import DROPPED
from stream.crashes import Died
from stream.partition_loop import Bounds, PartitionLoop

TOPIC = "numbers"


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Tracebacks of what fails on purpose are slow to print."""
    with capture_logs():
        yield


QUICK = Bounds(batch_records=10, tick_s=0.01, commit_s=0.01, drain_s=1.0)


@dataclass(frozen=True)
class Message:
    """What the loop reads of a record."""

    partition: int
    offset: int
    value: bytes


class Consumer:
    """Partitions as lists. Hands out what lies behind each position, like aiokafka: a partition at a time, never a paused one."""

    def __init__(self, partitions: int = 1, at_once: int = 50) -> None:
        self.logs: dict[TopicPartition, list[bytes]] = {TopicPartition(TOPIC, n): [] for n in range(partitions)}
        self.positions = dict.fromkeys(self.logs, 0)
        self.paused: set[TopicPartition] = set()
        self.pauses: list[TopicPartition] = []
        self.resumes: list[TopicPartition] = []
        self.commits: list[dict[TopicPartition, int]] = []
        self.seeks: list[tuple[int, int]] = []
        self.fetched = False
        self.broken: BaseException | None = None
        self.commit_fails = False
        self.committed_before: int | None = None  # by another process
        self._at_once = at_once
        self._listener: Any = None

    def write(self, partition: int, count: int, size: int = 1) -> None:
        log = self.logs[TopicPartition(TOPIC, partition)]
        log += [str(len(log) + i).encode().zfill(size) for i in range(count)]

    def subscribe(self, topics: list[str], listener: Any) -> None:
        assert topics == [TOPIC]
        self._listener = listener

    async def assign(self) -> None:
        await self._listener.on_partitions_assigned(set(self.logs))

    async def revoke(self, *partitions: int) -> None:
        await self._listener.on_partitions_revoked({TopicPartition(TOPIC, n) for n in partitions})

    async def getmany(self, timeout_ms: int) -> dict[TopicPartition, list[Message]]:
        await asyncio.sleep(0.001)
        if self.broken is not None:
            raise self.broken
        self.fetched = True
        found = {}
        for partition, log in self.logs.items():
            start = self.positions[partition]
            values = log[start : start + self._at_once]
            if values and partition not in self.paused:
                found[partition] = [Message(partition.partition, start + i, value) for i, value in enumerate(values)]
                self.positions[partition] = start + len(values)
        return found

    def highwater(self, partition: TopicPartition) -> int | None:
        return len(self.logs[partition]) if self.fetched else None

    def pause(self, partition: TopicPartition) -> None:
        self.paused.add(partition)
        self.pauses.append(partition)

    def resume(self, partition: TopicPartition) -> None:
        self.paused.discard(partition)
        self.resumes.append(partition)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.seeks.append((partition.partition, offset))
        self.positions[partition] = offset

    async def commit(self, offsets: dict[TopicPartition, int]) -> None:
        await asyncio.sleep(0)
        if self.commit_fails:
            raise CommitFailedError
        self.commits.append(dict(offsets))

    async def committed(self, partition: TopicPartition) -> int | None:
        return self.last_committed.get(partition.partition, self.committed_before)

    def drop(self, partition: int, below: int) -> None:
        """As a broker does whose retention has run out: who stands below is given what comes next."""
        at = TopicPartition(TOPIC, partition)
        self.positions[at] = max(self.positions[at], below)

    @property
    def last_committed(self) -> dict[int, int]:
        """By partition."""
        found: dict[int, int] = {}
        for offsets in self.commits:
            found |= {partition.partition: offset for partition, offset in offsets.items()}
        return found


@dataclass
class Recorder:
    """Work that notes what it was given. `before` may wait or raise; `starts` are the answers to `assigned`."""

    before: Callable[[int, Sequence[Message]], Awaitable[None]] | None = None
    starts: dict[int, int | None] = field(default_factory=dict)
    done: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))
    calls: list[tuple[int, list[int]]] = field(default_factory=list)
    taken_up: list[int] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)
    idles: list[tuple[int, bool]] = field(default_factory=list)
    working: set[int] = field(default_factory=set)
    refused: list[tuple[int, int, str]] = field(default_factory=list)  # partition, offset, why
    told: dict[int, int] = field(default_factory=dict)  # partition -> what was committed
    assigned_raises: list[BaseException] = field(default_factory=list)
    remember: bool = False  # start where the last call ended, as a store would say

    async def assigned(self, partition: int) -> int | None:
        self.taken_up.append(partition)
        if self.assigned_raises:
            raise self.assigned_raises.pop(0)
        return self.starts.get(partition)

    async def process(self, partition: int, records: Sequence[Message]) -> int:
        assert partition not in self.working, "two batches of one partition at once"
        self.working.add(partition)
        try:
            self.calls.append((partition, [record.offset for record in records]))
            if self.before is not None:
                await self.before(partition, records)
            await asyncio.sleep(0)
            self.done[partition] += [record.offset for record in records]
            self._store(partition, records[-1].offset + 1)
        finally:
            self.working.discard(partition)
        return records[-1].offset + 1

    async def refuse(self, partition: int, record: Message, error: Poison) -> int:
        self.refused.append((partition, record.offset, str(error)))
        self._store(partition, record.offset + 1)
        return record.offset + 1

    def _store(self, partition: int, offset: int) -> None:
        if self.remember:
            self.starts[partition] = offset

    async def committed(self, partition: int, offset: int) -> None:
        self.told[partition] = offset

    async def idle(self, partition: int, caught_up: bool) -> None:
        self.idles.append((partition, caught_up))

    async def revoked(self, partition: int) -> None:
        self.dropped.append(partition)


class Running:
    """A loop under way; `until` waits for a condition, with a deadline."""

    def __init__(
        self, consumer: Consumer, work: Recorder, bounds: Bounds = QUICK, crashes: "Notes | None" = None
    ) -> None:
        self.consumer, self.clock = consumer, ManualClock()
        self.loop = PartitionLoop(consumer, TOPIC, work, self.clock, bounds, crashes=crashes)  # type: ignore[arg-type]
        self.task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.loop.run())
        await asyncio.sleep(0)
        await self.consumer.assign()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self.task is not None
        self.loop.stop()
        await asyncio.wait({self.task}, timeout=5)
        assert self.task.done(), "run() did not end"
        if not self.task.cancelled() and self.task.exception() is None:
            self.task.result()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)

    async def ends(self) -> None:
        assert self.task is not None
        async with asyncio.timeout(5):
            await self.task


async def test_each_partition_is_worked_on_in_offset_order_without_a_hole() -> None:
    consumer, work = Consumer(partitions=3), Recorder()
    for partition in range(3):
        consumer.write(partition, 120)
    async with Running(consumer, work) as running:
        await running.until(lambda: all(len(work.done[n]) == 120 for n in range(3)))
    assert all(work.done[n] == list(range(120)) for n in range(3))
    assert max(len(offsets) for _, offsets in work.calls) <= QUICK.batch_records


@pytest.mark.parametrize("own_place", [False, True], ids=["committed place", "place of its own"])
async def test_records_that_kafka_dropped_before_they_were_read_are_told_and_counted(own_place: bool) -> None:
    consumer, work = Consumer(), Recorder(starts={0: 10} if own_place else {})
    consumer.write(0, 100)
    consumer.committed_before = 10
    if own_place:  # a seek to what is no longer there leads to the oldest
        consumer.seek = lambda partition, _offset: consumer.drop(partition.partition, 40)  # type: ignore[method-assign]
    consumer.drop(0, 40)
    before = DROPPED.labels(TOPIC)._value.get()
    with capture_logs() as logged:
        async with Running(consumer, work) as running:
            await running.until(lambda: work.done[0] == list(range(40, 100)))
    told = [(line["offset"], line["records"]) for line in logged if line["event"] == "records_dropped"]
    assert told == [(10, 30)]
    assert DROPPED.labels(TOPIC)._value.get() - before == 30


@pytest.mark.parametrize("committed_before", [None, 0, 40])
async def test_a_new_group_and_one_that_stands_where_it_stopped_have_lost_nothing(committed_before: int | None) -> None:
    consumer, work = Consumer(), Recorder()
    consumer.write(0, 100)
    consumer.committed_before = committed_before
    consumer.drop(0, 40)
    with capture_logs() as logged:
        async with Running(consumer, work) as running:
            await running.until(lambda: work.done[0] == list(range(40, 100)))
    assert [line for line in logged if line["event"] == "records_dropped"] == []


async def test_nothing_is_committed_before_process_has_returned() -> None:
    gate = asyncio.Event()
    consumer = Consumer()
    consumer.write(0, 5)
    work = Recorder(before=lambda _partition, _records: gate.wait())  # type: ignore[arg-type,return-value]
    async with Running(consumer, work) as running:
        await running.until(lambda: bool(work.calls))
        await asyncio.sleep(0.05)  # five commit intervals
        assert consumer.commits == []
        gate.set()
        await running.until(lambda: consumer.last_committed == {0: 5})
    assert consumer.last_committed == {0: 5}


async def test_a_retryable_error_brings_the_same_records_again_after_growing_pauses() -> None:
    consumer, fails = Consumer(), [RedisAway(), RedisAway(), RedisAway()]
    consumer.write(0, 7)

    async def before(_partition: int, _records: Sequence[Message]) -> None:
        if fails:
            raise fails.pop()

    work = Recorder(before=before)
    async with Running(consumer, work) as running:
        await running.until(lambda: consumer.last_committed == {0: 7})
        assert work.calls == [(0, list(range(7)))] * 4
        assert running.clock.monotonic_s() == pytest.approx(sum(QUICK.retry_s[:3]))
    assert work.done[0] == list(range(7))


async def test_a_fenced_partition_is_taken_up_anew_and_read_from_where_the_store_stands() -> None:
    consumer, fences = Consumer(at_once=5), [Fenced()]
    consumer.write(0, 40)
    work = Recorder(starts={0: 0})

    async def before(_partition: int, records: Sequence[Message]) -> None:
        if fences and records[0].offset >= 20:
            work.starts[0] = 12  # another owner had got this far, then left
            raise fences.pop()

    work.before = before
    async with Running(consumer, work) as running:
        await running.until(lambda: consumer.last_committed == {0: 40})
    assert work.taken_up == [0, 0]
    assert consumer.seeks == [(0, 0), (0, 12)]
    assert work.done[0] == [*range(20), *range(12, 40)]


async def test_after_a_fence_the_partition_does_not_count_as_caught_up_before_it_is_read_again() -> None:
    consumer, fences = Consumer(), [Fenced()]
    consumer.write(0, 3)
    work = Recorder(starts={0: 0})

    async def idle(partition: int, caught_up: bool) -> None:
        work.idles.append((partition, caught_up))
        if fences:
            consumer.pause(TopicPartition(TOPIC, 0))  # the fetch of what comes again takes its time
            raise fences.pop()

    work.idle = idle  # type: ignore[method-assign]
    async with Running(consumer, work) as running:
        await running.until(lambda: len(work.idles) >= 3)
    assert work.idles[:3] == [(0, True), (0, False), (0, False)]


async def test_a_fence_by_work_that_starts_where_kafka_stands_loses_nothing() -> None:
    consumer, fences = Consumer(), [Fenced()]
    consumer.write(0, 30)

    async def before(_partition: int, _records: Sequence[Message]) -> None:
        if fences:
            raise fences.pop()

    work = Recorder(before=before)  # `assigned` answers None
    async with Running(consumer, work) as running:
        await running.until(lambda: len(work.done[0]) >= 30)
    assert work.done[0] == list(range(30))


async def test_two_owners_that_fence_each_other_wait_between_their_tries() -> None:
    consumer = Consumer()
    consumer.write(0, 1)
    fences = [Fenced() for _ in range(5)]

    async def before(_partition: int, _records: Sequence[Message]) -> None:
        if fences:
            raise fences.pop()

    async with Running(consumer, Recorder(before=before, starts={0: 0})) as running:
        await running.until(lambda: consumer.last_committed == {0: 1})
        assert running.clock.monotonic_s() == pytest.approx(sum(QUICK.retry_s[:4]))


async def test_a_redis_that_is_away_when_a_partition_comes_does_not_end_the_process() -> None:
    consumer = Consumer()
    consumer.write(0, 4)
    work = Recorder(starts={0: 2}, assigned_raises=[RedisAway(), RedisAway()])
    async with Running(consumer, work) as running:
        await running.until(lambda: consumer.last_committed == {0: 4})
    assert work.taken_up == [0, 0, 0]
    assert work.done[0] == [2, 3]


async def test_an_error_that_must_end_the_process_comes_out_of_run_and_what_was_finished_is_committed() -> None:
    consumer, work = Consumer(partitions=2), Recorder()
    consumer.write(0, 20)

    async def before(partition: int, _records: Sequence[Message]) -> None:
        if partition == 1:
            raise ProduceFailed

    work.before = before
    async with Running(consumer, work) as running:
        await running.until(lambda: len(work.done[0]) == 20)
        consumer.write(1, 1)
        with pytest.raises(ProduceFailed):
            await running.ends()
    assert consumer.last_committed == {0: 20}
    assert work.refused == []
    assert sorted(work.dropped) == [0, 1]


# -- records that cannot be worked on ---------------------------------------------------------------------------------


def failing(*bad: int) -> Callable[[int, Sequence[Message]], Awaitable[None]]:
    """As a stage would fail on some records of partition 0."""

    async def before(partition: int, records: Sequence[Message]) -> None:
        if partition == 0 and any(record.offset in bad for record in records):
            raise ZeroDivisionError("none of ours")

    return before


@pytest.mark.parametrize("stored", [False, True], ids=["goes on with its queue", "reads from what is stored"])
@settings(max_examples=60, deadline=None)
@given(bad=st.sets(st.integers(0, 79), max_size=12), batch=st.integers(1, 40), at_once=st.integers(1, 50))
def test_bad_records_are_refused_once_and_all_others_are_worked_on_in_order(
    stored: bool, bad: set[int], batch: int, at_once: int
) -> None:
    async def play() -> None:
        consumer, work = Consumer(at_once=at_once), Recorder(before=failing(*bad))
        consumer.write(0, 80)
        if stored:
            work.starts = {0: 0}
            work.remember = True
        async with Running(consumer, work, replace(QUICK, batch_records=batch)) as running:
            await running.until(lambda: consumer.last_committed == {0: 80})
        assert sorted(offset for _, offset, _ in work.refused) == sorted(bad)
        assert work.done[0] == [offset for offset in range(80) if offset not in bad]

    asyncio.run(play())


async def test_one_bad_record_among_many_is_found_in_a_few_tries_and_told_by_its_error() -> None:
    consumer, work = Consumer(at_once=500), Recorder(before=failing(100))
    consumer.write(0, 256)
    async with Running(consumer, work, replace(QUICK, batch_records=256)) as running:
        await running.until(lambda: consumer.last_committed == {0: 256})
    assert len(work.calls) <= 20
    ((partition, offset, why),) = work.refused
    assert (partition, offset) == (0, 100)
    assert "none of ours" in why


async def test_a_partition_with_a_bad_record_does_not_delay_another() -> None:
    consumer, work = Consumer(partitions=2), Recorder(before=failing(0))
    consumer.write(0, 1)
    consumer.write(1, 300)
    async with Running(consumer, work) as running:
        await running.until(lambda: len(work.done[1]) == 300 and bool(work.refused))
    assert consumer.last_committed == {0: 1, 1: 300}


async def test_what_fails_with_every_record_ends_the_process_instead_of_throwing_all_away() -> None:
    consumer, work = Consumer(), Recorder(before=failing(*range(300)))
    consumer.write(0, 300)
    async with Running(consumer, work, replace(QUICK, refused_in_a_row=5)) as running:
        with pytest.raises(PoisonFlood, match="none of ours"):
            await running.ends()
    assert len(work.refused) == 5
    assert consumer.last_committed == {0: 5}


async def test_a_dead_letter_that_cannot_be_written_ends_the_process_and_commits_nothing() -> None:
    consumer, work = Consumer(), Recorder(before=failing(0))
    consumer.write(0, 1)

    async def refuse(_partition: int, _record: Message, _error: Poison) -> int:
        raise ValueError("no letter either")

    work.refuse = refuse  # type: ignore[method-assign]
    async with Running(consumer, work) as running:
        with pytest.raises(ValueError, match="no letter"):
            await running.ends()
    assert consumer.commits == []


class Notes:
    """Where processes were when they died, through several lives."""

    def __init__(self) -> None:
        self.kept: dict[int, Died] = {}

    async def begin(self, partition: int) -> Died | None:
        found = self.kept.get(partition)
        self.kept.setdefault(partition, Died(-1, 0))
        return found

    async def at(self, partition: int, here: Died) -> None:
        self.kept[partition] = here

    async def end(self, partition: int) -> None:
        self.kept.pop(partition, None)


async def life(consumer: Consumer, notes: Notes, *deadly: int, until: int = 0) -> tuple[Recorder, bool]:
    """One process: kill -9 at a deadly record, or SIGTERM when all up to `until` is committed. What it did, and if it was killed."""
    killed = asyncio.Event()
    work = Recorder()

    async def before(_partition: int, records: Sequence[Message]) -> None:
        if any(record.offset in deadly for record in records):
            killed.set()
            await asyncio.Event().wait()

    work.before = before
    partition = TopicPartition(TOPIC, 0)
    consumer.positions[partition] = consumer.last_committed.get(0, 0)
    consumer.paused.clear()
    running = Running(consumer, work, crashes=notes)
    async with running:
        await running.until(lambda: killed.is_set() or consumer.last_committed.get(0, 0) >= until)
        if killed.is_set():
            kept = dict(notes.kept)
            running.loop._bounds = replace(QUICK, drain_s=0.01)
    if killed.is_set():
        notes.kept = kept  # a killed process takes nothing back
    return work, killed.is_set()


async def test_a_record_on_which_the_process_dies_is_refused_after_the_third_time_and_its_neighbours_pass() -> None:
    consumer, notes = Consumer(), Notes()
    consumer.write(0, 30)
    for _ in range(3):
        work, killed = await life(consumer, notes, 17, until=30)
        assert killed
        assert work.refused == []
    work, killed = await life(consumer, notes, 17, until=30)
    assert not killed
    assert [(offset, why) for _, offset, why in work.refused] == [(17, "The process ended 3 times at this record.")]
    assert consumer.last_committed == {0: 30}
    assert notes.kept == {}


async def test_a_killed_process_blames_no_record_that_its_successors_can_work_on() -> None:
    consumer, notes = Consumer(), Notes()
    consumer.write(0, 30)
    for deadly in (9, 9, 14, 20):
        work, killed = await life(consumer, notes, deadly, until=30)
        assert killed
        assert work.refused == []
    work, killed = await life(consumer, notes, until=30)
    assert (killed, work.refused, consumer.last_committed) == (False, [], {0: 30})


async def test_a_process_that_is_told_to_end_or_ends_by_its_own_will_leaves_no_note() -> None:
    notes = Notes()
    for error in (None, ProduceFailed()):
        consumer, work = Consumer(), Recorder()
        consumer.write(0, 5)

        async def before(_partition: int, _records: Sequence[Message], error: BaseException | None = error) -> None:
            if error is not None:
                raise error

        work.before = before
        async with Running(consumer, work, crashes=notes) as running:
            if error is None:
                await running.until(lambda consumer=consumer: consumer.last_committed == {0: 5})  # type: ignore[misc]
            else:
                with pytest.raises(ProduceFailed):
                    await running.ends()
        assert notes.kept == {}


async def test_who_waits_for_redis_when_it_is_killed_did_not_die_of_a_record() -> None:
    consumer, notes, away = Consumer(), Notes(), asyncio.Event()
    notes.kept = {0: Died(-1, 0)}  # the life before was killed
    consumer.write(0, 5)

    async def before(_partition: int, _records: Sequence[Message]) -> None:
        away.set()
        raise RedisAway

    async with Running(consumer, Recorder(before=before), crashes=notes) as running:
        await running.until(away.is_set)
        await asyncio.sleep(0.01)
        assert notes.kept[0].times == 0 or running.loop._lanes == {}


# -- the watchdog -----------------------------------------------------------------------------------------------------


async def test_a_partition_that_is_at_one_batch_for_too_long_is_told_in_words_and_then_ends_the_process() -> None:
    consumer, notes = Consumer(partitions=2), Notes()
    consumer.write(0, 3)
    consumer.write(1, 10)

    async def before(partition: int, _records: Sequence[Message]) -> None:
        if partition == 0:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.05)  # it takes its time even when it is told to end

    work = Recorder(before=before)
    async with Running(consumer, work, replace(QUICK, stuck_s=0.04, drain_s=0.02), notes) as running:
        await running.until(lambda: len(work.done[1]) == 10)
        assert running.loop.slow == ""
        await running.clock.sleep(0.02)
        assert running.loop.slow.startswith("partition 0 has been at one batch for")
        await running.clock.sleep(0.03)
        with pytest.raises(Stuck, match="Partition 0 of numbers has been at offset 0"):
            await running.ends()
    assert consumer.last_committed == {1: 10}
    assert set(notes.kept) == {0}  # who comes next goes carefully there


async def test_waiting_for_something_that_is_away_is_not_being_stuck() -> None:
    consumer, tries = Consumer(), [0]
    consumer.write(0, 1)

    async def before(_partition: int, _records: Sequence[Message]) -> None:
        tries[0] += 1
        if tries[0] < 100:
            raise RedisAway

    async with Running(consumer, Recorder(before=before), replace(QUICK, stuck_s=1.0)) as running:
        await running.until(lambda: consumer.last_committed == {0: 1})
        assert running.clock.monotonic_s() > 100


async def test_commits_may_trail_what_is_finished() -> None:
    consumer, work = Consumer(at_once=10), Recorder()
    consumer.write(0, 10)
    async with Running(consumer, work, replace(QUICK, trail_s=3.0)) as running:
        await running.until(lambda: len(work.done[0]) == 10)
        await asyncio.sleep(0.05)  # five commit intervals
        assert consumer.commits == []
        await running.clock.sleep(3.0)
        await running.until(lambda: consumer.last_committed == {0: 10})
        consumer.write(0, 10)
        await running.until(lambda: len(work.done[0]) == 20)
    assert consumer.last_committed == {0: 20}, "who ends in order commits all"
    assert work.told == {0: 20}


async def test_an_error_while_a_partition_is_taken_up_comes_out_of_run() -> None:
    work = Recorder(assigned_raises=[ValueError("no state of ours")])
    async with Running(Consumer(), work) as running:
        with pytest.raises(ValueError, match="no state"):
            await running.ends()


async def test_a_broker_that_refuses_to_be_read_ends_the_loop_by_name() -> None:
    consumer, work = Consumer(), Recorder()
    async with Running(consumer, work) as running:
        consumer.broken = KafkaConnectionError()
        with pytest.raises(BrokerAway, match=TOPIC):
            await running.ends()
    assert work.dropped == [0]


@pytest.mark.parametrize(
    ("bounds", "size"),
    [
        (Bounds(batch_records=10, queue_records=60, tick_s=0.01), 1),
        (Bounds(batch_records=10, queue_bytes=600, tick_s=0.01), 10),
    ],
    ids=["records", "bytes"],
)
async def test_a_full_queue_pauses_its_partition_and_half_a_queue_resumes_it(bounds: Bounds, size: int) -> None:
    gate = asyncio.Event()
    consumer = Consumer(partitions=2, at_once=20)
    consumer.write(0, 500, size=size)
    consumer.write(1, 5, size=size)
    waiting = TopicPartition(TOPIC, 0)

    async def before(partition: int, _records: Sequence[Message]) -> None:
        if partition == 0:
            await gate.wait()

    work = Recorder(before=before)
    async with Running(consumer, work, bounds) as running:
        await running.until(lambda: waiting in consumer.paused)
        await running.until(lambda: len(work.done[1]) == 5)
        await asyncio.sleep(0.02)
        assert consumer.positions[waiting] <= 80  # 60 and the fetch that filled it
        assert consumer.pauses == [waiting]
        gate.set()
        await running.until(lambda: len(work.done[0]) == 500)
    assert work.done[0] == list(range(500))
    assert set(consumer.resumes) == {waiting}
    assert len(consumer.pauses) - len(consumer.resumes) in (0, 1)


async def test_a_slow_partition_does_not_delay_another() -> None:
    never = asyncio.Event()
    consumer = Consumer(partitions=2)
    consumer.write(0, 10)
    consumer.write(1, 300)

    async def before(partition: int, _records: Sequence[Message]) -> None:
        if partition == 0:
            await never.wait()

    work = Recorder(before=before)
    async with Running(consumer, work, Bounds(batch_records=10, tick_s=0.01, commit_s=0.01, drain_s=0.05)) as running:
        await running.until(lambda: len(work.done[1]) == 300)
        assert work.done[0] == []
    assert consumer.last_committed == {1: 300}  # and the one that never ended is read again by the next process


async def test_stop_lets_the_batch_in_work_end_and_commits_it() -> None:
    gate = asyncio.Event()
    consumer = Consumer()
    consumer.write(0, 30)
    work = Recorder(before=lambda _partition, _records: gate.wait())  # type: ignore[arg-type,return-value]
    async with Running(consumer, work) as running:
        await running.until(lambda: bool(work.calls))
        running.loop.stop()
        await asyncio.sleep(0.02)
        assert running.task is not None
        assert not running.task.done()
        gate.set()
        await running.ends()
    assert work.done[0] == list(range(10))
    assert consumer.last_committed == {0: 10}
    assert work.dropped == [0]


async def test_a_partition_revoked_during_work_is_committed_dropped_and_never_worked_on_again() -> None:
    gate = asyncio.Event()
    consumer = Consumer(partitions=2)
    consumer.write(0, 30)

    async def before(partition: int, _records: Sequence[Message]) -> None:
        if partition == 0:
            await gate.wait()

    work = Recorder(before=before)
    async with Running(consumer, work) as running:
        await running.until(lambda: bool(work.calls))
        leaving = asyncio.create_task(consumer.revoke(0))
        await asyncio.sleep(0.02)
        assert not leaving.done()
        gate.set()
        await leaving
        assert consumer.last_committed == {0: 10}
        consumer.write(0, 30)  # a fetch that was under way brings some more
        consumer.write(1, 10)
        await running.until(lambda: len(work.done[1]) == 10)
    assert work.done[0] == list(range(10))
    assert work.dropped[0] == 0


async def test_work_that_outlasts_a_revocation_is_cut_off_and_not_committed() -> None:
    never = asyncio.Event()
    consumer = Consumer()
    consumer.write(0, 10)
    work = Recorder(before=lambda _partition, _records: never.wait())  # type: ignore[arg-type,return-value]
    async with Running(consumer, work, Bounds(drain_s=0.02, commit_s=0.01)) as running:
        await running.until(lambda: bool(work.calls))
        await consumer.revoke(0)
        assert not work.working
    assert consumer.commits == []


async def test_a_partition_that_comes_back_starts_again_from_its_committed_place() -> None:
    consumer, work = Consumer(), Recorder()
    consumer.write(0, 10)
    async with Running(consumer, work) as running:
        await running.until(lambda: len(work.done[0]) == 10)
        await consumer.revoke(0)
        consumer.positions[TopicPartition(TOPIC, 0)] = consumer.last_committed[0]
        consumer.write(0, 10)
        await consumer.assign()
        await running.until(lambda: len(work.done[0]) == 20)
    assert work.done[0] == list(range(20))


async def test_idle_is_called_while_nothing_comes_and_says_whether_the_end_is_reached() -> None:
    consumer, work = Consumer(), Recorder()
    consumer.write(0, 10)
    async with Running(consumer, work) as running:
        await running.until(lambda: len(work.idles) >= 3)
        assert work.done[0] == list(range(10))
        assert set(work.idles) == {(0, True)}
        consumer.pause(TopicPartition(TOPIC, 0))
        consumer.write(0, 5)  # the end is known to be further on than what was read
        work.idles.clear()
        await running.until(lambda: len(work.idles) >= 2)
        assert set(work.idles) == {(0, False)}


async def test_the_lag_is_what_is_not_finished_up_to_the_end() -> None:
    gate = asyncio.Event()
    consumer = Consumer(at_once=20)
    consumer.write(0, 25)
    work = Recorder(before=lambda _partition, _records: gate.wait())  # type: ignore[arg-type,return-value]
    async with Running(consumer, work) as running:
        await running.until(lambda: bool(work.calls))
        assert running.loop.lag == 25
        gate.set()
        await running.until(lambda: len(work.done[0]) == 25)
        await running.until(lambda: running.loop.lag == 0)


async def test_a_commit_that_comes_too_late_is_dropped_and_the_work_goes_on() -> None:
    consumer, work = Consumer(), Recorder()
    consumer.commit_fails = True
    consumer.write(0, 10)
    async with Running(consumer, work) as running:
        await running.until(lambda: len(work.done[0]) == 10)
        await asyncio.sleep(0.03)
        consumer.commit_fails = False
        await running.until(lambda: consumer.last_committed == {0: 10})
    assert work.done[0] == list(range(10))
