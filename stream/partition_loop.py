"""Reads a topic, gives each partition a lane, commits what is finished. Knows neither Redis nor models.

One task reads and never stops polling, so that a slow partition cannot cost the group membership; each partition has a bounded queue
and a task of its own (lane.py), so that none waits for another. A partition that is at one batch for too long ends the process.
Next: aggregate.py and tag.py, which are nothing but `Work`.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from groundswell.clock import Clock
from groundswell.errors import BrokerAway, Retryable, Stuck
from groundswell.telemetry import BUSY_SECONDS, log
from stream.crashes import Crashes
from stream.lane import Bounds, Lane, Record, Work

__all__ = ["Bounds", "PartitionLoop", "Record", "Work"]

LATE_S = 1.0  # after a task was cancelled; one that does not listen is left behind, for the process ends
WATCH_S = 1.0


class PartitionLoop(ConsumerRebalanceListener):  # type: ignore[misc]
    """`run` until `stop`; what ends a lane comes out of `run` after the others are stopped. `crashes`: where the notes are
    that find a record on which processes die; without it such a record stops its partition."""

    def __init__(
        self, consumer: AIOKafkaConsumer, topic: str, work: Work, clock: Clock, bounds: Bounds | None = None,
        *, stage: str = "", crashes: Crashes | None = None,
    ) -> None:  # fmt: skip
        self._consumer = consumer
        self._topic = topic
        self._work = work
        self._clock = clock
        self._bounds = bounds or Bounds()
        self._stage = stage or topic
        self._crashes = crashes
        self._lanes: dict[TopicPartition, Lane] = {}
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None

    async def run(self) -> None:
        """Read and work until `stop` is called; then finish the batches in work, commit and return."""
        self._consumer.subscribe([self._topic], listener=self)
        side = [asyncio.create_task(self._commit_often()), asyncio.create_task(self._watch())]
        try:
            while not self._stopping.is_set():
                await self._read()
        finally:
            for task in side:
                task.cancel()
            await self._drain(list(self._lanes.values()))
            self._lanes.clear()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ask the loop to end; `run` returns when it has drained, after `drain_s` at the latest."""
        self._stopping.set()
        for lane in self._lanes.values():
            lane.leave()

    @property
    def lag(self) -> int:
        """Messages between what is finished and the end, over all partitions held."""
        return sum(lane.lag for lane in self._lanes.values())

    @property
    def slow(self) -> str:
        """A sentence for people while a partition has used up a quarter of the time it may be at one batch; else empty."""
        busy_s, lane = self._busiest()
        if lane is None or busy_s < self._bounds.stuck_s / 4:
            return ""
        return f"partition {lane.number} has been at one batch for {busy_s:.0f} s and may be for {self._bounds.stuck_s:.0f} s"

    # -- the reader ---------------------------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            batches = await self._consumer.getmany(timeout_ms=200)
        except KafkaError as error:
            raise BrokerAway(f"Reading {self._topic} failed: {error!r}.") from error
        for partition, records in batches.items():
            lane = self._lanes.get(partition)
            if lane is not None:  # else revoked while the fetch was under way: its new owner reads these
                lane.add(records, self._bounds.all_bytes // len(self._lanes))

    async def _serve(self, lane: Lane) -> None:
        try:
            await lane.serve()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - a process edge: it comes out of run()
            self._failure = self._failure or error
            self.stop()

    # -- the watchdog -------------------------------------------------------------------------------------------------

    def _busiest(self) -> tuple[float, Lane | None]:
        now_s = self._clock.monotonic_s()
        busy = [(now_s - lane.busy_since_s, lane) for lane in self._lanes.values() if lane.busy_since_s is not None]
        return max(busy, key=lambda one: one[0], default=(0.0, None))

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(min(WATCH_S, self._bounds.stuck_s / 4))
            busy_s, lane = self._busiest()
            BUSY_SECONDS.labels(self._stage).set(busy_s)
            if lane is not None and busy_s >= self._bounds.stuck_s:
                lane.fell = True
                offset = lane.queue[0].offset if lane.queue else lane.read_to
                error = Stuck(
                    f"Partition {lane.number} of {self._topic} has been at offset {offset} for {busy_s:.0f} s."
                )
                log().error("stuck", partition=lane.number, offset=offset, seconds=round(busy_s), hint=error.remedy)
                self._failure = self._failure or error
                self.stop()
                return

    # -- membership ---------------------------------------------------------------------------------------------------

    async def on_partitions_assigned(self, assigned: Any) -> None:
        for partition in assigned:
            lane = Lane(partition, self._consumer, self._work, self._clock, self._bounds, self._crashes, self._stage)
            self._lanes[partition] = lane
            if self._stopping.is_set():
                lane.leave()
            # The lane takes itself up: while this callback runs, aiokafka sends no heartbeats.
            lane.task = asyncio.create_task(self._serve(lane), name=f"{self._topic}/{partition.partition}")

    async def on_partitions_revoked(self, revoked: Any) -> None:
        lanes = [self._lanes.pop(partition) for partition in revoked if partition in self._lanes]
        await self._drain(lanes, drain_s=min(2.0, self._bounds.drain_s))

    async def _drain(self, lanes: list[Lane], drain_s: float | None = None) -> None:
        """Let the batches in work end, commit them, drop the rest. What is dropped is read again by the next owner."""
        for lane in lanes:
            lane.leave()
        tasks = [lane.task for lane in lanes if lane.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=self._bounds.drain_s if drain_s is None else drain_s)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=LATE_S)
        await self._commit(lanes, trail_s=0.0)
        for lane in lanes:
            if self._crashes is not None and not lane.fell:
                with suppress(Retryable, TimeoutError):
                    async with asyncio.timeout(LATE_S):
                        await self._crashes.end(lane.number)
            await self._work.revoked(lane.number)

    # -- commits ------------------------------------------------------------------------------------------------------

    async def _commit_often(self) -> None:
        while True:
            await asyncio.sleep(self._bounds.commit_s)
            await self._commit(list(self._lanes.values()), self._bounds.trail_s)

    async def _commit(self, lanes: Sequence[Lane], trail_s: float) -> None:
        before_s = self._clock.monotonic_s() - trail_s
        due: dict[TopicPartition, int] = {}
        oldest = {lane.partition: lane.done[0] for lane in lanes if lane.done}
        for lane in lanes:
            ripe = [offset for at_s, offset in lane.done if at_s <= before_s]
            if ripe and ripe[-1] != lane.committed:
                due[lane.partition] = ripe[-1]
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
            offset = due.get(lane.partition)
            # A lane that was taken up anew meanwhile may stand before what was committed.
            if offset is not None and lane.done and lane.done[0] is oldest[lane.partition]:
                lane.committed = offset
                while lane.done and lane.done[0][1] <= offset:
                    lane.done.popleft()
                with suppress(Retryable):  # it is asked again at the next commit
                    await self._work.committed(lane.number, offset)
