"""Reads a topic, calls `Work` for each partition in offset order, commits what is finished. Knows neither Redis nor models.

One task reads and never stops polling, so that a slow partition cannot cost the group membership; each partition has a bounded queue
and a task of its own that calls `Work.process` with one batch at a time. Partitions do not wait for each other.
Next: aggregate.py and tag.py, which are nothing but `Work`.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from groundswell.clock import Clock
from groundswell.errors import BrokerAway, Fenced, Retryable
from groundswell.telemetry import log

Record = Any  # aiokafka.ConsumerRecord with bytes for key and value


class Work(Protocol):
    """Called in offset order; never twice at once for one partition."""

    async def assigned(self, partition: int) -> int | None:
        """Take the partition up. The offset to start at; None: the committed one, else the earliest."""
        ...

    async def process(self, partition: int, records: Sequence[Record]) -> int:
        """The next offset; everything below it is lasting. Raises Retryable (called again with the same records),
        Fenced (the partition is taken up anew); anything else ends the loop."""
        ...

    async def idle(self, partition: int, caught_up: bool) -> None:
        """Nothing waits. `caught_up`: the end of the partition has been read. May raise as `process`."""
        ...

    async def revoked(self, partition: int) -> None:
        """Drop what is held for the partition."""
        ...


@dataclass(frozen=True)
class Bounds:
    """What the loop may hold and how long it may wait."""

    batch_records: int = 200  # handed to `process` at once
    queue_records: int = 1_000  # a partition; when full it is paused, and resumed below half
    queue_bytes: int = 4 * 1_048_576
    tick_s: float = 0.5  # between two calls of `idle`
    commit_s: float = 1.0
    drain_s: float = 6.0  # at stop and revocation: for the batch in work
    retry_s: tuple[float, ...] = (0.1, 0.5, 1, 2, 5)  # between tries after a Retryable; the last repeats


@dataclass
class _Lane:
    """One assigned partition."""

    partition: TopicPartition
    queue: deque[Record] = field(default_factory=deque)
    queued_bytes: int = 0
    filled: asyncio.Event = field(default_factory=asyncio.Event)
    paused: bool = False
    committable: int | None = None
    committed: int | None = None
    read_to: int = -1  # offset after the last record queued
    taken_up: bool = False  # `assigned` has answered, and nobody has fenced us since
    fences: int = 0  # in a row, without a batch between
    leaving: bool = False  # revoked: no new batch is begun
    task: asyncio.Task[None] | None = None


class PartitionLoop(ConsumerRebalanceListener):  # type: ignore[misc]
    """`run` until `stop`; an error of `Work` that is no Retryable comes out of `run` after the lanes are stopped."""

    def __init__(
        self, consumer: AIOKafkaConsumer, topic: str, work: Work, clock: Clock, bounds: Bounds | None = None
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._work = work
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._lanes: dict[TopicPartition, _Lane] = {}
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Read and work until `stop` is called; then finish the batches in work, commit and return."""
        self._consumer.subscribe([self._topic], listener=self)
        committer = asyncio.create_task(self._commit_often())
        try:
            while not self._stopping.is_set():
                await self._read()
        finally:
            committer.cancel()
            await self._drain(list(self._lanes.values()))
            self._lanes.clear()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ask the loop to end; `run` returns when it has drained, after `drain_s` at the latest."""
        self._stopping.set()
        for lane in self._lanes.values():
            lane.filled.set()

    @property
    def lag(self) -> int:
        """Messages between what is finished and the end, over all partitions held."""
        return sum(
            max(0, int(self._consumer.highwater(lane.partition) or 0) - (lane.read_to - len(lane.queue)))
            for lane in self._lanes.values()
            if lane.read_to >= 0
        )

    # -- the reader ---------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            batches = await self._consumer.getmany(timeout_ms=200)
        except KafkaError as error:
            raise BrokerAway(f"Reading {self._topic} failed: {error!r}.") from error
        for partition, records in batches.items():
            lane = self._lanes.get(partition)
            if lane is None:  # revoked while the fetch was under way: its new owner reads these
                continue
            lane.queue.extend(records)
            lane.queued_bytes += sum(len(record.value or b"") for record in records)
            lane.read_to = records[-1].offset + 1
            lane.filled.set()
            if not lane.paused and self._full(lane):
                self._consumer.pause(partition)
                lane.paused = True

    def _full(self, lane: _Lane, part: float = 1.0) -> bool:
        bounds = self._bounds
        return len(lane.queue) >= bounds.queue_records * part or lane.queued_bytes >= bounds.queue_bytes * part

    # -- one task a partition -----------------------------------------------------------------------------------------

    async def _serve(self, lane: _Lane) -> None:
        try:
            while not self._ends(lane):
                if lane.taken_up and not lane.queue:
                    await self._wait(lane)
                if not self._ends(lane):
                    await self._turn(lane)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a process edge: it comes out of run()
            self._failure = self._failure or error
            self._stopping.set()

    def _ends(self, lane: _Lane) -> bool:
        return lane.leaving or self._stopping.is_set()

    async def _turn(self, lane: _Lane) -> None:
        """The take-up, one batch or one idle call, tried until it works or fails for good."""
        records = [lane.queue[i] for i in range(min(len(lane.queue), self._bounds.batch_records))]
        tries = 0
        while True:
            try:
                if not lane.taken_up:
                    await self._take_up(lane)
                    return
                if records:
                    lane.committable = await self._work.process(lane.partition.partition, records)
                else:
                    await self._work.idle(lane.partition.partition, self._caught_up(lane))
                break
            except Fenced:
                log().warning("fenced", partition=lane.partition.partition)
                lane.taken_up = False
                lane.fences += 1
                if lane.fences > 1:  # two owners quarrel, or Redis refuses what we write: not in a hot loop
                    await self._clock.sleep(self._pause_s(lane.fences - 2))
            except Retryable as error:
                pause_s = self._pause_s(tries)
                tries += 1
                log().warning(
                    error.reason,
                    partition=lane.partition.partition,
                    error=str(error),
                    hint=error.remedy,
                    again_in_s=pause_s,
                )
                await self._clock.sleep(pause_s)
            if self._ends(lane):
                return
        lane.fences = 0
        for record in records:
            lane.queue.popleft()
            lane.queued_bytes -= len(record.value or b"")
        self._resume(lane)

    def _pause_s(self, tries: int) -> float:
        return self._bounds.retry_s[min(tries, len(self._bounds.retry_s) - 1)]

    def _resume(self, lane: _Lane) -> None:
        if lane.paused and not self._full(lane, part=0.5):
            self._consumer.resume(lane.partition)
            lane.paused = False

    async def _wait(self, lane: _Lane) -> None:
        lane.filled.clear()
        if lane.queue or self._ends(lane):
            return
        try:
            async with asyncio.timeout(self._bounds.tick_s):
                await lane.filled.wait()
        except TimeoutError:
            return

    async def _take_up(self, lane: _Lane) -> None:
        """At the assignment, and again when somebody else wrote for this partition: start from what is stored."""
        start = await self._work.assigned(lane.partition.partition)
        if self._ends(lane):
            return
        lane.taken_up = True
        if start is None:  # what is queued has not been worked on: go on with it
            return
        # In one breath with the seek: what the reader queued meanwhile is of the old place.
        self._consumer.seek(lane.partition, start)
        lane.queue.clear()
        lane.queued_bytes = 0
        lane.committable = lane.committed = lane.read_to = start
        self._resume(lane)

    def _caught_up(self, lane: _Lane) -> bool:
        if lane.queue:
            return False
        end = self._consumer.highwater(lane.partition)
        return end is not None and max(lane.read_to, lane.committable or 0) >= end

    # -- membership ---------------------------------------------------------------------------------------------------

    async def on_partitions_assigned(self, assigned: Any) -> None:
        for partition in assigned:
            lane = self._lanes[partition] = _Lane(partition)
            # The lane takes itself up: while this callback runs, aiokafka sends no heartbeats.
            lane.task = asyncio.create_task(self._serve(lane), name=f"{self._topic}/{partition.partition}")

    async def on_partitions_revoked(self, revoked: Any) -> None:
        lanes = [self._lanes.pop(partition) for partition in revoked if partition in self._lanes]
        await self._drain(lanes, drain_s=min(2.0, self._bounds.drain_s))

    async def _drain(self, lanes: list[_Lane], drain_s: float | None = None) -> None:
        """Let the batches in work end, commit them, drop the rest. What is dropped is read again by the next owner."""
        for lane in lanes:
            lane.leaving = True
            lane.filled.set()
        tasks = [lane.task for lane in lanes if lane.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._bounds.drain_s if drain_s is None else drain_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self._commit(lanes)
        for lane in lanes:
            await self._work.revoked(lane.partition.partition)

    # -- commits ------------------------------------------------------------------------------------------------------

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.commit_s)
            await self._commit(list(self._lanes.values()))

    async def _commit(self, lanes: Sequence[_Lane]) -> None:
        due = {
            lane.partition: lane.committable
            for lane in lanes
            if lane.committable is not None and lane.committable != lane.committed
        }
        if not due:
            return
        try:
            async with asyncio.timeout(5):
                await self._consumer.commit(due)
        except (CommitFailedError, IllegalStateError):
            return  # no longer ours: the new owner starts where the last good commit stands
        except (KafkaError, TimeoutError) as error:
            log().warning("commit_failed", error=repr(error))
            return
        for lane in lanes:
            if lane.partition in due:
                lane.committed = due[lane.partition]
