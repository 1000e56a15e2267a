"""What ingest does with a batch of one input partition: documents made, sent, and, once the broker has them, noted and acknowledged.

intake.py reads and hands over; ingest.py makes a document of bytes. Batches are acknowledged in the order they were read, by one task, so
that a commit never jumps over anything. Whatever cannot be gone on from ends the process: the next one reads again what was not committed.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from redis.exceptions import RedisError

from groundswell.clients.connect import RedisClient, acknowledged
from groundswell.clock import Clock
from groundswell.decisions import Fate, Stage
from groundswell.errors import Poison, PoisonFlood, RedisAway, Retryable
from groundswell.keys import Keys
from groundswell.letters import letter_of
from groundswell.records import Document, Source
from groundswell.running import books
from groundswell.running.books import Counts
from groundswell.settings import Settings
from groundswell.telemetry import DEAD_LETTERS, EVENT_LAG, IN_FLIGHT, RECORDS, log
from groundswell.text import safe
from stream.crashes import Footing, RedisCrashes
from stream.generation import Generation
from stream.ingest import Taken, Terms, take
from stream.standstill import Standstill
from stream.topology import COMMENTS, DOCUMENTS, INPUTS, NEWS, Topology
from stream.topology import DEAD_LETTERS as DEAD_LETTERS_TOPIC

PENDING = 8  # batches between reading and acknowledgement; when full the work waits, and Faust stops fetching
KEY_BYTES = 1_000  # kept of a feed's key: a longer one could make the record too large to send
RECORD_BYTES = 900_000  # of one documents record; an array that grew past it is split between documents
# Documents of several messages share a record when they were read together: each record costs the producer, tag and aggregate
# anew. No more than that: a record is also what tag refuses whole when it cannot bear it.
TOGETHER = 20
REFUSED_IN_A_ROW = 20  # messages on which our own code fails; more are no message's fault
AGAIN_S, LEAVE_S = 1.0, 1.0

_home = DefaultPartitioner()
_encode = msgspec.json.Encoder().encode
Record = Any  # aiokafka.ConsumerRecord


@dataclass
class _Batch:
    """Records of one partition in a row, and what became of them."""

    partition: TopicPartition
    first: int  # offset
    end: int  # offset after the last
    ack: Callable[[], object]
    sends: "list[asyncio.Future[Any]]" = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    unsent: list[tuple[bytes | None, list[Document]]] = field(default_factory=list)  # key of the message, its documents


class IngestWork:
    """Two tasks meet here: the reader calls `work`, another calls `acknowledge_some` for ever. Errors that come out end the process."""

    def __init__(
        self, settings: Settings, topology: Topology, terms: Terms, redis: RedisClient, producer: AIOKafkaProducer
    ) -> None:
        self._topology, self._terms, self._redis, self._producer = topology, terms, redis, producer
        self._clock: Clock = terms.clock
        self._keys = Keys(topology.prefix)
        self._feeds: dict[str, Literal["news", "comments"]] = {
            topology.name(NEWS): "news",
            topology.name(COMMENTS): "comments",
        }
        self._crashes = {name: RedisCrashes(redis, self._keys, name) for name in map(topology.name, INPUTS)}
        self._footings: dict[TopicPartition, Footing] = {}
        self._pending: asyncio.Queue[_Batch] = asyncio.Queue(maxsize=PENDING)
        self._counts: dict[TopicPartition, Counts] = {}
        self._ends: dict[TopicPartition, int] = {}  # the offset that they belong to
        self._held = 0
        self._busy = False
        self._refused = 0  # in a row
        self.standstill = Standstill(Stage.INGEST, self._clock, settings.stuck_s)

    @property
    def in_flight(self) -> int:
        """Documents and dead letters sent and not yet acknowledged."""
        return self._held

    # -- the reader's side --------------------------------------------------------------------------------------------

    async def work(self, partition: TopicPartition, records: Sequence[Record], ack: Callable[[], object]) -> None:
        """Turn records into sends; `ack` is called when all of them are lasting. Raises what must end the process."""
        self._busy = True
        try:
            batch = _Batch(partition, records[0].offset, records[-1].offset + 1, ack)
            footing = await self._footing(partition)
            for record in records:
                poison = footing.poison(record.offset) if footing.careful else None
                if footing.careful and poison is None:
                    await self._with_patience(lambda offset=record.offset: footing.at(offset))  # type: ignore[misc]
                intake = self._refuse(record, poison) if poison else self._take(record)
                await self._note(record, intake, batch)
                if footing.careful:
                    await self._send(batch)
            await self._send(batch)
            self._held += batch.counts.read
            await self._pending.put(batch)
        finally:
            self._busy = False

    async def _footing(self, partition: TopicPartition) -> Footing:
        footing = self._footings.get(partition)
        if footing is None:
            footing = self._footings[partition] = Footing(self._crashes[partition.topic], partition.partition)
            await self._with_patience(footing.begin)
        return footing

    def _take(self, record: Record) -> Taken:
        try:
            intake = take(
                record.value, record.topic, self._feeds[record.topic], record.partition, record.offset, self._terms
            )
        except Exception as error:  # noqa: BLE001 - ours: `take` refuses what is wrong with a message
            return self._refuse(record, Poison(f"Working on it failed: {safe(repr(error), 300)}."))
        self._refused = 0
        return intake

    def _refuse(self, record: Record, error: Poison) -> Taken:
        self._refused += 1
        if self._refused > REFUSED_IN_A_ROW:
            raise PoisonFlood(f"{self._refused} messages in a row cannot be worked on; the newest: {error}") from error
        src = Source(record.partition, record.offset)
        at_ms = self._clock.now_ms()
        refused = letter_of(error, stage=Stage.INGEST, topic=record.topic, src=src, at_ms=at_ms, payload=record.value)
        return Taken(dead=[refused])

    async def _note(self, record: Record, intake: Taken, batch: _Batch) -> None:
        """What became of one message: its documents wait for their neighbours, its dead letters do not."""
        if intake.documents:
            batch.unsent.append((record.key, intake.documents))
        for one in intake.dead:
            value = _encode(msgspec.structs.replace(one, key=record.key and record.key[:KEY_BYTES]))
            topic = self._topology.name(DEAD_LETTERS_TOPIC)
            batch.sends.append(await self._producer.send(topic, value, key=one.reason.encode()))
            DEAD_LETTERS.labels(Stage.INGEST, one.reason).inc()
            log().warning("dead_letter", reason=one.reason, topic=one.topic, partition=one.src.partition,
                          offset=one.src.offset, index=one.src.index, error=one.message, hint=one.remedy)  # fmt: skip
        batch.counts.read += intake.read
        batch.counts.applied += len(intake.documents)
        batch.counts.emitted += len(intake.documents)
        batch.counts.dead_lettered += len(intake.dead)

    async def _send(self, batch: _Batch) -> None:
        if not batch.unsent:
            return
        newest, topic = batch.unsent[-1][1][-1], self._topology.name(DOCUMENTS)
        homes = sorted(await self._producer.partitions_for(topic))
        for key, documents in together(batch.unsent, homes):
            for chunk in chunks(documents):
                batch.sends.append(await self._producer.send(topic, chunk, key=key[:KEY_BYTES]))
        batch.unsent.clear()
        EVENT_LAG.labels(Stage.INGEST).set((self._clock.now_ms() - newest.published_at) / 1000)

    # -- the acknowledging side ---------------------------------------------------------------------------------------

    async def acknowledge_some(self) -> None:
        """What waits, or the next: the only place that acks. In order, after the broker acknowledged, after the books are kept."""
        group = [await self._pending.get()]
        while not self._pending.empty():
            group.append(self._pending.get_nowait())
        await acknowledged([send for batch in group for send in batch.sends])
        by_partition: dict[TopicPartition, list[_Batch]] = defaultdict(list)
        for batch in group:
            by_partition[batch.partition].append(batch)
        for partition, batches in by_partition.items():
            await self._with_patience(lambda one=partition, its=batches: self._keep_books(one, its))  # type: ignore[misc]
            footing = self._footings.get(partition)
            if footing is not None:
                with suppress(Retryable):  # the note stays: at worst somebody is blamed once too often
                    await footing.finished(batches[-1].end)
            self.standstill.finished(partition, batches[-1].end)
            log().debug("ingested", topic=partition.topic, partition=partition.partition, offset=batches[-1].end)
        # In one breath, so that a commit falls on the end of a group: the books know only those offsets.
        for batch in group:
            batch.ack()
        self._held -= sum(batch.counts.read for batch in group)
        IN_FLIGHT.labels(Stage.INGEST).set(self._held)

    async def _keep_books(self, partition: TopicPartition, batches: Sequence[_Batch]) -> None:
        """Raises RedisAway."""
        key = self._keys.books(Stage.INGEST, partition.topic, partition.partition)
        first, end = batches[0].first, batches[-1].end
        added = Counts()
        for batch in batches:
            added += batch.counts
        try:
            # What is not read on from where the counts in memory end was read by another life, or is read again.
            if self._ends.get(partition) != first:
                self._counts[partition] = await books.resume(self._redis, key, first)
            grown = msgspec.structs.replace(self._counts[partition])
            grown += added
            await books.keep(self._redis, key, end, grown)
        except RedisError as error:
            raise RedisAway(f"Redis failed while the books were kept: {error!r}.") from error
        self._counts[partition], self._ends[partition] = grown, end
        RECORDS.labels(Stage.INGEST, Fate.APPLIED).inc(added.applied)
        RECORDS.labels(Stage.INGEST, Fate.DEAD_LETTERED).inc(added.dead_lettered)

    async def _with_patience(self, call: Callable[[], Awaitable[None]]) -> None:
        """Until it works: ingest waits for a Redis that is away, and Faust stops reading."""
        while True:
            try:
                return await call()
            except Retryable as error:
                log().warning(error.reason, error=str(error), hint="Ingest waits; nothing is lost.")
                self.standstill.excuse()
                await self._clock.sleep(AGAIN_S)

    # -- what the outside tells ---------------------------------------------------------------------------------------

    def committed(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Nothing below is read again."""
        for partition, offset in offsets.items():
            if partition in self._footings:
                self._footings[partition].committed(offset)

    def assigned(self, partitions: Iterable[TopicPartition]) -> None:
        """They are read from the committed offset on."""
        self.standstill.forget(partitions)

    async def revoked(self, partitions: Iterable[TopicPartition]) -> None:
        """Another process may have these next: this life of theirs ends in order."""
        partitions = list(partitions)
        self.standstill.forget(partitions)
        for partition in partitions:
            self._counts.pop(partition, None)
            self._ends.pop(partition, None)
        footings = [footing for one in partitions if (footing := self._footings.pop(one, None)) is not None]
        with suppress(Retryable, TimeoutError):  # else the next goes carefully
            async with asyncio.timeout(LEAVE_S):
                for footing in footings:
                    await footing.end()

    async def drain(self, drain_s: float) -> None:
        """Nothing new comes: until what was sent is acknowledged, so that the next process does not send it again. What takes
        longer than that is."""
        with suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                while self._busy or self._held:  # noqa: ASYNC110 - once, for seconds
                    await asyncio.sleep(0.01)
        await self.revoked(list(self._footings))

    async def lost(self, _generation: Generation) -> None:
        """Redis forgot the books: they are written again from memory. Raises RedisError."""
        for partition in list(self._counts):
            while (counts := self._counts.get(partition)) is not None and partition in self._ends:
                key = self._keys.books(Stage.INGEST, partition.topic, partition.partition)
                await books.keep(self._redis, key, self._ends[partition], counts)
                if self._counts.get(partition) in (counts, None):  # else a group has come between: once more
                    break


def together(
    messages: Sequence[tuple[bytes | None, list[Document]]], homes: Sequence[int]
) -> list[tuple[bytes, list[Document]]]:
    """Key and documents of each record, in order: of messages with one key, or of such without one whose first ids lead to the same
    of the partitions `homes`. A message is never split; TOGETHER bounds what is joined."""
    found: list[tuple[bytes, list[Document]]] = []
    open_: dict[bytes | int, list[Document]] = {}
    for given, documents in messages:
        key = given or documents[0].id.encode()
        place: bytes | int = given or int(_home(key[:KEY_BYTES], homes, homes))
        waiting = open_.get(place)
        if waiting is not None and len(waiting) + len(documents) <= TOGETHER:
            waiting += documents
        else:
            open_[place] = [*documents]
            found.append((key, open_[place]))
    return found


def chunks(documents: Sequence[Document]) -> list[bytes]:
    """Encoded arrays of at most RECORD_BYTES each, in order."""
    found: list[bytes] = []
    held: list[bytes] = []
    size = 2
    for document in documents:
        raw = _encode(document)
        if held and size + len(raw) + 1 > RECORD_BYTES:
            found.append(b"[" + b",".join(held) + b"]")
            held, size = [], 2
        held.append(raw)
        size += len(raw) + 1
    if held:
        found.append(b"[" + b",".join(held) + b"]")
    return found
