"""Documents in, tagged documents and rows out: claim, find the story, ask the model, write, and only then go on.

`TagWork` is the `Work` of a PartitionLoop over `documents`. For each documents partition the rows leave in offset order, and the offset
is committed after the broker acknowledged them: stream/windows.py builds on both. rows.py says what is written of a document; aggregate.py
reads it.

Long, because the way of a piece is one story: claimed, answered, written, kept, or refused.
"""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.exceptions import RedisError

from groundswell.clients.connect import (
    RedisClient,
    acknowledged,
    close_producer,
    open_consumer,
    open_producer,
    open_redis,
)
from groundswell.clock import Clock
from groundswell.decisions import Fate, Stage
from groundswell.errors import ModelCrash, Poison, RedisAway, Refused, UnknownVersion
from groundswell.keys import Keys
from groundswell.letters import letter_of
from groundswell.records import DeadLetter, Document, ScoredDocument, Source
from groundswell.running import beat, books
from groundswell.running.books import Counts
from groundswell.settings import Settings
from groundswell.tagging import Model, Tag, Text
from groundswell.telemetry import BATCH_SECONDS, DEAD_LETTERS, EVENT_LAG, IN_FLIGHT, RECORDS, log
from groundswell.text import safe
from stream import generation, rows
from stream.claims import CLAIM_S, Claim, Claimed, claim, digest, release
from stream.crashes import RedisCrashes
from stream.generation import Generation
from stream.names.pack_answers import with_packs
from stream.partition_loop import Bounds, PartitionLoop, Record
from stream.reclaim import Reclaim, Standing
from stream.rows import Item
from stream.topology import DEAD_LETTERS as DEAD_LETTERS_TOPIC
from stream.topology import DOCUMENTS, SCORED, TAGGED, Topology

# A batch goes through in pieces, so that the model reads one while the rows of the one before are written.
PIECE_RECORDS = 64
PIECES_AHEAD = 2
# Redis may lose its last second, and with it our books: after a crash of both, those documents are read again and counted.
TRAIL_S = 3.0
FRESH_MS = 5 * 60_000  # an older document is a backfill's: the model reads it after those of now

_decode = msgspec.json.Decoder(list[Document]).decode
_verdict = msgspec.json.Decoder(Tag).decode
_encode = msgspec.json.Encoder().encode


@dataclass
class _Batch:
    """What some records in a row become, in order."""

    items: list[Item] = field(default_factory=list)
    letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
    given_up: list[tuple[Source, Document]] = field(default_factory=list)  # dead letters that had been claimed
    keys: dict[int, bytes | None] = field(default_factory=dict)  # offset -> the record's key
    standing: Standing | None = None  # of the claims, when they were made
    counts: Counts = field(default_factory=Counts)


class TagWork:
    """The `Work` of tag: claims and stories from Redis, verdicts from the model, records to Kafka."""

    def __init__(
        self,
        topology: Topology,
        redis: RedisClient,
        producer: AIOKafkaProducer,
        model: Model,
        clock: Clock,
        *,
        event_time: bool = False,
        reclaim: Reclaim | None = None,
    ) -> None:
        self._reclaim = reclaim
        self._topology, self._redis, self._producer, self._model, self._clock = topology, redis, producer, model, clock
        self._keys = Keys(topology.prefix)
        self._event_time = event_time
        self._counts: dict[int, Counts] = {}
        self._lasting: dict[int, int] = {}  # the offset below which all is written and kept
        self._said: dict[int, deque[bytes]] = {}  # fields of the verdicts that Redis holds, in offset order
        self._in_flight: Counter[int] = Counter()  # documents by partition

    @property
    def in_flight(self) -> int:
        """Documents claimed and not yet written."""
        return self._in_flight.total()

    async def assigned(self, partition: int) -> int | None:
        await self.revoked(partition)
        return None

    async def revoked(self, partition: int) -> None:
        self._counts.pop(partition, None)
        self._lasting.pop(partition, None)
        self._said.pop(partition, None)
        if self._reclaim is not None:
            self._reclaim.left(partition)

    async def committed(self, partition: int, offset: int) -> None:
        """What was said below is never asked again. Raises RedisAway."""
        said, key = self._said.get(partition, deque()), self._keys.verdicts(partition)
        try:
            while said and said[0] < _below(offset):
                gone = [said.popleft() for _ in range(min(len(said), 500)) if said[0] < _below(offset)]
                await self._redis.hdel(key, *gone)
        except RedisError as error:
            raise RedisAway(f"Redis failed while tagging: {error!r}.") from error

    async def idle(self, partition: int, caught_up: bool) -> None:
        del partition, caught_up  # nothing to do without records

    async def lost(self, generation: Generation) -> None:
        """Redis forgot the books, or the newest of them: they are written again from memory. Raises RedisError."""
        del generation
        for partition in list(self._counts):
            while (offset := self._lasting.get(partition)) is not None:
                counts = self._counts[partition]
                await books.keep(
                    self._redis, self._keys.books(Stage.TAG, self._topology.name(DOCUMENTS), partition), offset, counts
                )
                if self._counts.get(partition) in (counts, None):  # else a batch has come between: once more
                    break

    async def process(self, partition: int, records: Sequence[Record]) -> int:
        """Raises RedisAway, ClaimsLost, ModelAway, ModelUnhealthy (called again) and ProduceFailed (the process ends)."""
        started_s = self._clock.monotonic_s()
        next_offset = int(records[-1].offset) + 1
        # Called again after a failure: what was written and kept then is not written twice.
        records = [record for record in records if record.offset >= self._lasting.get(partition, 0)]
        pieces = deque(records[n : n + PIECE_RECORDS] for n in range(0, len(records), PIECE_RECORDS))
        ahead: deque[tuple[int, asyncio.Task[_Batch]]] = deque()
        turn = asyncio.Lock()
        try:
            if records:
                await self._resume(partition, records[0].offset)
            while pieces or ahead:
                while pieces and len(ahead) <= PIECES_AHEAD:
                    piece = pieces.popleft()
                    ahead.append((piece[-1].offset + 1, asyncio.create_task(self._answered(partition, piece, turn))))
                batch = await ahead[0][1]
                if self._reclaim is not None:  # what may be another's by now is claimed again before it is written
                    await self._reclaim.stands(batch.standing)
                await self._write(partition, batch)
                await self._keep(partition, ahead.popleft()[0], batch)
                self._in_flight[partition] -= batch.counts.read
        except RedisError as error:
            raise RedisAway(f"Redis failed while tagging: {error!r}.") from error
        finally:
            for _, task in ahead:
                task.cancel()
            await asyncio.gather(*(task for _, task in ahead), return_exceptions=True)
            self._in_flight.pop(partition, None)
            IN_FLIGHT.labels(Stage.TAG).set(self.in_flight)
        BATCH_SECONDS.labels(Stage.TAG).observe(self._clock.monotonic_s() - started_s)
        return next_offset

    async def refuse(self, partition: int, record: Record, error: Poison) -> int:
        """All documents of the record become one dead letter, and their claims are given up: sent again, they count."""
        payload = record.value or b""
        try:
            documents = _decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            documents = []
        src = Source(partition, record.offset)
        batch = _Batch(letters=[(record.offset, self._letter(error, src, payload, record.key))])
        batch.given_up = [(Source(partition, record.offset, index), one) for index, one in enumerate(documents)]
        batch.counts.read = batch.counts.dead_lettered = max(1, len(documents))
        try:
            await self._resume(partition, record.offset)
            await self._write(partition, batch)
            await self._keep(partition, record.offset + 1, batch)
        except RedisError as failure:
            raise RedisAway(f"Redis failed while tagging: {failure!r}.") from failure
        return int(record.offset) + 1

    async def _resume(self, partition: int, offset: int) -> None:
        """After a take-up: the books as of its first offset, and which verdicts there are."""
        if partition in self._counts:
            return
        key = self._keys.books(Stage.TAG, self._topology.name(DOCUMENTS), partition)
        self._said[partition] = deque(sorted(await self._redis.hkeys(self._keys.verdicts(partition))))
        self._counts[partition] = await books.resume(self._redis, key, offset)

    async def _answered(self, partition: int, records: Sequence[Record], turn: asyncio.Lock) -> _Batch:
        """One piece, claimed in its turn: a story is told by whoever comes first in offset order."""
        await turn.acquire()
        batch = await self._claimed(partition, records)
        turn.release()  # not where it failed: who comes after it shall not claim before it
        self._in_flight[partition] += batch.counts.read
        IN_FLIGHT.labels(Stage.TAG).set(self.in_flight)
        await self._ask(partition, batch)
        return batch

    async def _claimed(self, partition: int, records: Sequence[Record]) -> _Batch:
        batch = _Batch()
        read: list[tuple[Source, Document]] = []
        for record in records:
            batch.keys[record.offset] = record.key
            try:
                documents = _decode(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                refused = UnknownVersion(f"A record on documents cannot be read: {safe(str(error), 200)}.")
                letter = self._letter(refused, Source(partition, record.offset), record.value or b"", record.key)
                batch.letters.append((record.offset, letter))
                batch.counts.read += 1
                batch.counts.dead_lettered += 1
                continue
            read.extend((Source(partition, record.offset, index), document) for index, document in enumerate(documents))
        batch.counts.read += len(read)
        answers = await self._claims(batch, read)
        for (src, document), claimed in zip(read, answers, strict=True):
            if claimed.claim is Claim.DUPLICATE:
                batch.counts.duplicate += 1
            else:
                batch.items.append(Item(src, document, claimed))
        return batch

    async def _claims(self, batch: _Batch, read: Sequence[tuple[Source, Document]]) -> list[Claimed]:
        """Raises ClaimsLost, RedisError."""
        if self._reclaim is None:
            return await claim(self._redis, self._keys, read)
        batch.standing = self._reclaim.standing
        answers = await claim(self._redis, self._keys, read, sure=partial(self._reclaim.sure, batch.standing))
        self._reclaim.forget([src for (src, _), one in zip(read, answers, strict=True) if one.claim is Claim.DUPLICATE])
        return answers

    async def _ask(self, partition: int, batch: _Batch) -> None:
        """Fill in each item's tag. What was said the first time stands: a replay must send the same rows."""
        again = [item for item in batch.items if item.claimed.claim is Claim.AGAIN]
        for item, raw in zip(again, await self._verdicts(partition, again), strict=True):
            item.tag = _verdict(raw) if raw else None
        open_items = [item for item in batch.items if item.tag is None]
        if not open_items:
            return
        texts = [
            Text(item.document.text, item.document.title or None, item.document.lang, rows.places(item.document))
            for item in open_items
        ]
        fresh = self._clock.now_ms() - open_items[0].document.published_at <= FRESH_MS
        tags = await self._model.tag(texts, partition=partition, fresh=fresh)
        answered = []
        for item, tag in zip(open_items, tags, strict=True):
            if tag is None:
                refused = ModelCrash(f"The model ended twice on document {safe(item.document.id, 80)}.")
                letter = self._letter(refused, item.src, _encode([item.document]), batch.keys[item.src.offset])
                batch.letters.append((item.src.offset, letter))
                batch.given_up.append((item.src, item.document))
                batch.counts.dead_lettered += 1
                continue
            item.tag = tag
            answered.append(item)
        await self._say(partition, answered)

    async def _verdicts(self, partition: int, items: Sequence[Item]) -> list[bytes | None]:
        if not items:
            return []
        found: list[bytes | None] = await self._redis.hmget(
            self._keys.verdicts(partition), [_place(item) for item in items]
        )
        return found

    async def _say(self, partition: int, items: Sequence[Item]) -> None:
        """Keep what the model said until its offset is committed. Where another process has said something, that stands."""
        if not items:
            return
        pipeline, key = self._redis.pipeline(transaction=False), self._keys.verdicts(partition)
        for item in items:
            pipeline.hsetnx(key, _place(item), _encode(item.tag))
        pipeline.expire(key, CLAIM_S)
        first = (await pipeline.execute())[:-1]
        second = [item for item, mine in zip(items, first, strict=True) if not mine]
        for item, raw in zip(second, await self._verdicts(partition, second), strict=True):
            item.tag = _verdict(raw) if raw else item.tag
        if partition in self._said:
            self._said[partition].extend(_place(item) for item in items)

    async def _write(self, partition: int, batch: _Batch) -> None:
        """Per record, in offset order: its rows, then its tagged documents. All in one breath, then one wait."""
        by_offset: dict[int, list[Item]] = defaultdict(list)
        for item in batch.items:
            if item.tag is not None:
                by_offset[item.src.offset].append(item)
        sends = []
        for offset in sorted(by_offset):
            # Made before any is sent: a document that cannot be written shall leave none of its record behind.
            scored, tagged, count = self._made(partition, offset, by_offset[offset])
            for home, value in scored:
                sends.append(await self._producer.send(self._topology.name(SCORED), value, partition=home))
            for key, value in tagged:
                sends.append(await self._producer.send(self._topology.name(TAGGED), value, key=key))
            batch.counts.emitted += count
            batch.counts.applied += len(by_offset[offset])
        for _, letter in batch.letters:
            sends.append(
                await self._producer.send(
                    self._topology.name(DEAD_LETTERS_TOPIC), _encode(letter), key=letter.reason.encode()
                )
            )
            DEAD_LETTERS.labels(Stage.TAG, letter.reason).inc()
            log().warning(
                "dead_letter", reason=letter.reason, partition=partition, offset=letter.src.offset, error=letter.message
            )
        await acknowledged(sends)
        if self._reclaim is not None:
            self._reclaim.forget([src for src, _ in batch.given_up])
            self._reclaim.wrote([item.src for item in batch.items])
        if batch.given_up:
            await release(self._redis, self._keys, batch.given_up)

    def _made(
        self, partition: int, offset: int, items: Sequence[Item]
    ) -> tuple[list[tuple[int, bytes]], list[tuple[bytes, bytes]], int]:
        """What one record becomes: values by scored partition, tagged values by key, and the number of rows."""
        homes: dict[int, list[ScoredDocument]] = defaultdict(list)
        count, model = 0, self._model.version
        for item in items:
            for home, document in rows.scored(item, self._topology).items():
                homes[home].append(document)
                count += len(document.rows)
        scored = [
            (home, value) for home in sorted(homes) for value in rows.batches(partition, offset, homes[home], model)
        ]
        tagged = [
            (one.document.id.encode(), _encode(rows.tagged(one, self._tagged_at(one.document), model))) for one in items
        ]
        return scored, tagged, count

    def _tagged_at(self, document: Document) -> int:
        return document.ingested_at if self._event_time else self._clock.now_ms()

    async def _keep(self, partition: int, next_offset: int, batch: _Batch) -> None:
        grown = msgspec.structs.replace(self._counts[partition])
        grown += batch.counts
        await books.keep(
            self._redis, self._keys.books(Stage.TAG, self._topology.name(DOCUMENTS), partition), next_offset, grown
        )
        self._counts[partition] = grown
        self._lasting[partition] = next_offset
        for fate in (Fate.APPLIED, Fate.DUPLICATE, Fate.DEAD_LETTERED):
            RECORDS.labels(Stage.TAG, fate).inc(getattr(batch.counts, fate))
        if batch.items:
            EVENT_LAG.labels(Stage.TAG).set((self._clock.now_ms() - batch.items[-1].document.published_at) / 1000)

    def _letter(self, error: Refused, src: Source, payload: bytes, key: bytes | None) -> DeadLetter:
        topic, at_ms = self._topology.name(DOCUMENTS), self._clock.now_ms()
        return letter_of(error, stage=Stage.TAG, topic=topic, src=src, at_ms=at_ms, payload=payload, key=key)


def _place(item: Item) -> bytes:
    """Where a verdict is kept: in offset order, and never another document's, should offsets begin again."""
    return _below(item.src.offset) + item.src.index.to_bytes(2, "big") + bytes.fromhex(digest(item.document)[:12])


def _below(offset: int) -> bytes:
    return offset.to_bytes(8, "big")


async def run(settings: Settings, topology: Topology, clock: Clock, model: Model, stop: asyncio.Event) -> None:
    """The tag process: until `stop`. Raises Misconfigured at start, Fatal when it must begin anew."""
    model = with_packs(settings, model)
    async with AsyncExitStack() as opened:
        redis = await open_redis(settings)
        opened.push_async_callback(redis.aclose)
        await model.start()
        opened.push_async_callback(model.stop)
        producer = await open_producer(settings, linger_ms=0)  # a piece is sent in one breath: nothing to wait for
        opened.push_async_callback(close_producer, producer)
        consumer = await open_consumer(settings, f"{topology.prefix}-tag")
        opened.push_async_callback(consumer.stop)
        await _run(settings, topology, clock, model, stop, redis, producer, consumer)


async def _run(
    settings: Settings, topology: Topology, clock: Clock, model: Model, stop: asyncio.Event,
    redis: RedisClient, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer,
) -> None:  # fmt: skip
    event_time = settings.clock == "event"
    reclaim = None if event_time else Reclaim(settings, topology, redis, clock)  # a replay's services are in memory
    work = TagWork(topology, redis, producer, model, clock, event_time=event_time, reclaim=reclaim)
    keys, name = Keys(topology.prefix), topology.name(DOCUMENTS)
    bounds = Bounds(
        batch_records=settings.batch_documents, trail_s=0.0 if event_time else TRAIL_S, drain_s=settings.drain_s,
        stuck_s=settings.stuck_s,
    )  # fmt: skip
    loop = PartitionLoop(consumer, name, work, clock, bounds, stage=Stage.TAG, crashes=RedisCrashes(redis, keys, name))
    beating = asyncio.create_task(
        beat.keep_beating(redis, keys, clock, Stage.TAG,
                          lambda: {"in_flight": work.in_flight, "lag": loop.lag, "model": model.version,
                                   **beat.fares(f"model {model.version}", loop.slow)})
    )  # fmt: skip
    side = [beating]
    if reclaim is not None:
        side += [
            asyncio.create_task(reclaim.keep()),
            asyncio.create_task(generation.watch(redis, keys, work.lost)),
        ]
    stopping = asyncio.create_task(stop.wait())
    stopping.add_done_callback(lambda _: loop.stop())
    try:
        await loop.run()
    finally:
        for task in (stopping, *side):
            task.cancel()
