"""One partition on its way through `Work`: its queue, its turns, and what becomes of a record that cannot be worked on.

A record that makes `process` raise is found by halves: the batch is tried again in smaller ones until a single record fails alone, and that
one is refused; its neighbours pass. A record on which the process dies cannot be found that way: stream/crashes.py remembers where the
process was. partition_loop.py reads, commits and ends lanes; read it next.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from groundswell.clock import Clock
from groundswell.errors import BrokerAway, Fatal, Fenced, Misconfigured, Poison, PoisonFlood, RecordTooLarge, Retryable
from groundswell.telemetry import DROPPED, log
from groundswell.text import safe
from stream.crashes import Crashes, Footing

Record = Any  # aiokafka.ConsumerRecord with bytes for key and value


class Work(Protocol):
    """Called in offset order; never twice at once for one partition."""

    async def assigned(self, partition: int) -> int | None:
        """Take the partition up. The offset to start at; None: the committed one, else the earliest."""
        ...

    async def process(self, partition: int, records: Sequence[Record]) -> int:
        """The next offset; everything below it is lasting. Raises Retryable (called again with the same records),
        Fenced (the partition is taken up anew), another Fatal (the process ends). Anything else is a record's fault:
        the partition is taken up anew and its records come again, fewer at a time."""
        ...

    async def refuse(self, partition: int, record: Record, error: Poison) -> int:
        """Make a dead letter of a record that cannot be worked on; raises and returns as `process`."""
        ...

    async def idle(self, partition: int, caught_up: bool) -> None:
        """Nothing waits. `caught_up`: the end of the partition has been read. May raise as `process`."""
        ...

    async def committed(self, partition: int, offset: int) -> None:
        """Nothing below `offset` is ever read again."""
        ...

    async def revoked(self, partition: int) -> None:
        """Drop what is held for the partition."""
        ...


@dataclass(frozen=True)
class Bounds:
    """What the loop may hold and how long it may wait."""

    batch_records: int = 200  # handed to `process` at once
    batch_bytes: int = 1_048_576  # likewise; a larger record goes alone
    queue_records: int = 1_000  # a partition; when full it is paused, and resumed below half
    queue_bytes: int = 4 * 1_048_576
    all_bytes: int = 64 * 1_048_576  # of all partitions: each has its equal part
    tick_s: float = 0.5  # between two calls of `idle`
    commit_s: float = 1.0
    trail_s: float = 0.0  # what became lasting is committed so much later
    drain_s: float = 6.0  # at stop and revocation: for the batch in work
    stuck_s: float = 900.0  # one call of `Work` may take so long; then the process ends
    refused_in_a_row: int = 20  # more than that is no record's fault: the process ends, and commits none of the next
    retry_s: tuple[float, ...] = (0.1, 0.5, 1, 2, 5)  # between tries after a Retryable; the last repeats


class Lane:
    """One assigned partition. `serve` runs until `leave` or an error that no retry, take-up or refusal mends."""

    def __init__(
        self, partition: TopicPartition, consumer: AIOKafkaConsumer, work: Work, clock: Clock, bounds: Bounds,
        crashes: Crashes | None = None, stage: str = "",
    ) -> None:  # fmt: skip
        self._stage = stage
        self.partition, self.number = partition, int(partition.partition)
        self.queue: deque[Record] = deque()
        self.queued_bytes = 0
        self.read_to = -1  # offset after the last record queued
        self._expected = -1  # what was committed when this lane began; -1: not asked
        self.done: deque[tuple[float, int]] = deque()  # when, and the offset below which all became lasting then
        self.committed: int | None = None
        self.leaving = False  # no new batch is begun
        self.fell = False  # ended by an error that a record may be to blame for
        self.busy_since_s: float | None = None  # a call of `Work` is under way
        self.task: asyncio.Task[None] | None = None
        self._consumer, self._work, self._clock, self._bounds = consumer, work, clock, bounds
        self._footing = Footing(crashes, self.number) if crashes is not None else None
        self._filled = asyncio.Event()
        self._paused = False
        self._bytes = bounds.queue_bytes
        self._taken_up = False  # `assigned` has answered, and nobody has fenced us since
        self._fences = 0  # in a row, without a batch between
        self._at_most, self._suspect_to = bounds.batch_records, 0  # batches are this small below that offset
        self._to_refuse: dict[int, Poison] = {}  # by offset
        self._refused = 0  # in a row
        self._begun = False  # `footing` knows how the life before ended

    # -- what the reader does -----------------------------------------------------------------------------------------

    def add(self, records: Sequence[Record], bytes_each: int) -> None:
        """Queue what was read. `bytes_each`: this lane's part of what all may hold; a full lane is read no further."""
        self._miss(records[0].offset, max(self.read_to, self._expected))
        self.queue.extend(records)
        self.queued_bytes += sum(len(record.value or b"") for record in records)
        self.read_to = records[-1].offset + 1
        self._filled.set()
        self._bytes = min(self._bounds.queue_bytes, bytes_each)
        if not self._paused and self._full():
            self._consumer.pause(self.partition)
            self._paused = True

    async def _expect(self) -> None:
        """What comes first, or has come already, follows what was committed last."""
        try:
            self._expected = await self._consumer.committed(self.partition) or 0
        except KafkaError as error:
            raise BrokerAway(f"Asking for what is committed failed: {error!r}.") from error
        if self.queue:
            self._miss(self.queue[0].offset, self._expected)

    def _miss(self, first: int, expected: int) -> None:
        """Neither `documents` nor `scored` is compacted: a gap is what Kafka dropped before it was read. At 0 nobody had begun."""
        if 0 < expected < first:
            DROPPED.labels(self._stage).inc(first - expected)
            log().error(
                "records_dropped", partition=self.number, offset=expected, records=first - expected,
                hint="Kafka dropped them before they were read: raise the retention of this topic.",
            )  # fmt: skip

    def _full(self, part: float = 1.0) -> bool:
        return len(self.queue) >= self._bounds.queue_records * part or self.queued_bytes >= self._bytes * part

    def _resume(self) -> None:
        if self._paused and not self._full(part=0.5):
            self._consumer.resume(self.partition)
            self._paused = False

    @property
    def lag(self) -> int:
        """Messages between what is finished and the end."""
        if self.read_to < 0:
            return 0
        return max(0, int(self._consumer.highwater(self.partition) or 0) - (self.read_to - len(self.queue)))

    def leave(self) -> None:
        """Begin no other batch."""
        self.leaving = True
        self._filled.set()

    # -- its task -----------------------------------------------------------------------------------------------------

    async def serve(self) -> None:
        """Raises what ends the process."""
        while not self.leaving:
            if self._taken_up and not self.queue:
                await self._wait()
            if not self.leaving:
                await self._turn()

    async def _wait(self) -> None:
        self._filled.clear()
        if self.queue or self.leaving:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(self._bounds.tick_s):
                await self._filled.wait()

    async def _turn(self) -> None:
        """The take-up, one batch, one refusal or one idle call, tried until it works or fails for good."""
        records, tries = self._next(), 0
        while not self.leaving:
            try:
                await self._call(records)
            except Fenced:
                log().warning("fenced", partition=self.number)
                self._taken_up = False
                self._fences += 1
                if self._fences > 1:  # two owners quarrel, or Redis refuses what we write: not in a hot loop
                    await self._clock.sleep(self._pause_s(self._fences - 2))
                records = []  # they may not come again: the take-up says from where
            except Retryable as error:
                pause_s = self._pause_s(tries)
                tries += 1
                log().warning(
                    error.reason, partition=self.number, error=str(error), hint=error.remedy, again_in_s=pause_s
                )
                await self._forgive()
                await self._clock.sleep(pause_s)
            except (Fatal, Misconfigured) as error:
                self.fell = isinstance(error, RecordTooLarge)
                raise
            except Exception as error:
                if not records or records[0].offset in self._to_refuse:
                    self.fell = True
                    raise
                self._suspect(records, error)
                return
            else:
                return

    async def _call(self, records: list[Record]) -> None:
        self.busy_since_s = self._clock.monotonic_s()
        try:
            if not self._taken_up:
                await self._take_up()
            elif records:
                await self._work_on(records)
            else:
                await self._work.idle(self.number, self._caught_up())
                self._fences = 0
        finally:
            self.busy_since_s = None

    def _pause_s(self, tries: int) -> float:
        return self._bounds.retry_s[min(tries, len(self._bounds.retry_s) - 1)]

    def _next(self) -> list[Record]:
        """The batch to work on: bounded, smaller among suspects, a single one where one is to be refused."""
        if not self.queue or not self._taken_up:
            return []
        first = self.queue[0].offset
        most = self._at_most if first < self._suspect_to else self._bounds.batch_records
        if first in self._to_refuse or (self._footing is not None and self._footing.careful):
            most = 1
        records: list[Record] = []
        size = 0
        for record in self.queue:
            size += len(record.value or b"")
            full = len(records) >= most or size > self._bounds.batch_bytes
            if records and (full or record.offset in self._to_refuse):
                break
            records.append(record)
        return records

    async def _work_on(self, records: list[Record]) -> None:
        if self._footing is not None and self._footing.careful:
            await self._tread(self._footing, records[0].offset)
        poison = self._to_refuse.get(records[0].offset)
        if poison is not None:
            offset = await self._refuse(records[0], poison)
        else:
            offset = await self._work.process(self.number, records)
            self._refused = 0
        self._to_refuse = {at: error for at, error in self._to_refuse.items() if at >= offset}
        self._fences = 0
        self.done.append((self._clock.monotonic_s(), offset))
        for record in records:
            self.queue.popleft()
            self.queued_bytes -= len(record.value or b"")
        self._resume()
        if self._footing is not None:
            with suppress(Retryable):  # the note stays: at worst somebody is blamed once too often
                await self._footing.finished(offset)

    async def _take_up(self) -> None:
        """At the assignment, and again when what is held may be wrong: start from what is stored."""
        if self._footing is not None and not self._begun:
            await self._footing.begin()
            self._begun = True
        start = await self._work.assigned(self.number)
        if self.leaving:
            return
        self._taken_up = True
        if start is None:  # what is queued has not been worked on: go on with it
            if self._expected < 0:
                await self._expect()
            return
        # In one breath with the seek: what the reader queued meanwhile is of the old place.
        self._consumer.seek(self.partition, start)
        self.queue.clear()
        self.queued_bytes = 0
        self.done.clear()
        self.committed = self.read_to = start
        self._resume()

    def _caught_up(self) -> bool:
        end = self._consumer.highwater(self.partition)
        done = self.done[-1][1] if self.done else self.committed or 0
        return not self.queue and end is not None and max(self.read_to, done) >= end

    # -- records that cannot be worked on -----------------------------------------------------------------------------

    def _suspect(self, records: list[Record], error: Exception) -> None:
        """One of these is to blame: halve, or refuse the only one."""
        self._taken_up = False  # what is held in memory may be half done
        first, count = records[0].offset, len(records)
        shown = safe(repr(error), 300)
        log().warning("batch_failed", partition=self.number, offset=first, records=count, error=shown)
        if count == 1:
            log().error("record_failed", partition=self.number, offset=first, exc_info=error)
            self._to_refuse[first] = Poison(f"Working on it failed: {shown}.")
        else:
            self._at_most, self._suspect_to = count // 2, records[-1].offset + 1

    async def _refuse(self, record: Record, error: Poison) -> int:
        self._refused += 1
        if self._refused > self._bounds.refused_in_a_row:
            raise PoisonFlood(f"{self._refused} records in a row cannot be worked on; the newest: {error}") from error
        log().error("record_refused", partition=self.number, offset=record.offset, error=str(error), hint=error.remedy)
        return await self._work.refuse(self.number, record, error)

    async def _tread(self, footing: Footing, offset: int) -> None:
        """Before each record of a careful life: is it to be refused unseen, else note where we are."""
        if self.committed is not None:
            footing.committed(self.committed)
        poison = footing.poison(offset)
        if poison is not None:
            self._to_refuse[offset] = poison
        elif footing.careful and offset not in self._to_refuse:
            await footing.at(offset)

    async def _forgive(self) -> None:
        if self._footing is not None:
            with suppress(Retryable):
                await self._footing.forgive()
