"""Documents in, tagged documents and rows out: claim, find the story, ask the model, write, and only then go on.

`TagWork` is the `Work` of a PartitionLoop over `documents`. For each documents partition the rows leave in offset order, and the offset
is committed after the broker acknowledged them: stream/windows.py builds on both. Next: aggregate.py reads what this writes.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from redis.exceptions import RedisError

from groundswell import beat, books
from groundswell.books import Counts
from groundswell.clock import Clock
from groundswell.connect import RedisClient, acknowledged, close_producer, open_consumer, open_producer, open_redis
from groundswell.errors import ModelCrash, RedisAway, Refused, UnknownVersion
from groundswell.keys import Keys
from groundswell.records import DeadLetter, Document, Row, ScoredBatch, ScoredDocument, Source, Tagged
from groundswell.settings import Settings
from groundswell.tagging import UNREAD, Model, Polarity, Span, Tag, Text
from groundswell.telemetry import BATCH_SECONDS, DEAD_LETTERS, EVENT_LAG, IN_FLIGHT, RECORDS, TOKENS, log
from groundswell.text import safe
from stream.claims import CLAIM_S, Claim, Claimed, claim, digest
from stream.directory import MARKET
from stream.pack_answers import with_packs
from stream.partition_loop import Bounds, PartitionLoop, Record
from stream.topology import DEAD_LETTERS as DEAD_LETTERS_TOPIC
from stream.topology import DOCUMENTS, SCORED, TAGGED, Topology

EXCERPT_CHARS, TITLE_CHARS = 280, 200
RECORD_BYTES = 900_000


_decode = msgspec.json.Decoder(list[Document]).decode
_verdict = msgspec.json.Decoder(Tag).decode
_encode = msgspec.json.Encoder().encode


@dataclass
class _Item:
    """One document on its way through."""

    src: Source
    document: Document
    claimed: Claimed
    tag: Tag | None = None


@dataclass
class _Batch:
    """What one call of `process` turns its records into, in order."""

    items: list[_Item] = field(default_factory=list)
    letters: list[tuple[int, DeadLetter]] = field(default_factory=list)
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
    ) -> None:
        self._topology, self._redis, self._producer, self._model, self._clock = topology, redis, producer, model, clock
        self._keys = Keys(topology.prefix)
        self._event_time = event_time
        self._counts: dict[int, Counts] = {}
        self.in_flight = 0

    async def assigned(self, partition: int) -> int | None:
        self._counts.pop(partition, None)
        return None

    async def revoked(self, partition: int) -> None:
        self._counts.pop(partition, None)

    async def idle(self, partition: int, caught_up: bool) -> None:
        del partition, caught_up  # nothing to do without records

    async def process(self, partition: int, records: Sequence[Record]) -> int:
        """Raises RedisAway, ModelAway (called again) and ProduceFailed (the process ends)."""
        started_s = self._clock.monotonic_s()
        try:
            if partition not in self._counts:
                key = self._keys.books("tag", self._topology.name(DOCUMENTS), partition)
                self._counts[partition] = await books.resume(self._redis, key, records[0].offset)
            batch = await self._claimed(partition, records)
            self.in_flight += batch.counts.read
            try:
                await self._ask(batch)
                await self._write(partition, batch)
                await self._keep(partition, records[-1].offset + 1, batch)
            finally:
                self.in_flight -= batch.counts.read
                IN_FLIGHT.labels("tag").set(self.in_flight)
        except RedisError as error:
            raise RedisAway(f"Redis failed while tagging: {error!r}.") from error
        BATCH_SECONDS.labels("tag").observe(self._clock.monotonic_s() - started_s)
        return int(records[-1].offset) + 1

    async def _claimed(self, partition: int, records: Sequence[Record]) -> _Batch:
        batch = _Batch()
        read: list[tuple[Source, Document]] = []
        for record in records:
            try:
                documents = _decode(record.value or b"")
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                refused = UnknownVersion(f"A record on documents cannot be read: {safe(str(error), 200)}.")
                batch.letters.append(
                    (record.offset, self._letter(refused, Source(partition, record.offset), record.value or b""))
                )
                batch.counts.read += 1
                continue
            read.extend((Source(partition, record.offset, index), document) for index, document in enumerate(documents))
        batch.counts.read += len(read)
        for (src, document), claimed in zip(read, await claim(self._redis, self._keys, read), strict=True):
            if claimed.claim is Claim.DUPLICATE:
                batch.counts.duplicate += 1
            else:
                batch.items.append(_Item(src, document, claimed))
        return batch

    async def _ask(self, batch: _Batch) -> None:
        """Fill in each item's tag. What was said the first time stands: a replay must send the same rows."""
        again = [item for item in batch.items if item.claimed.claim is Claim.AGAIN]
        if again:
            said = await self._redis.mget([self._keys.verdict(digest(item.document)) for item in again])
            for item, raw in zip(again, said, strict=True):
                item.tag = _verdict(raw) if raw else None
        open_items = [item for item in batch.items if item.tag is None]
        if not open_items:
            return
        texts = [
            Text(item.document.text, item.document.title or None, item.document.lang, places(item.document))
            for item in open_items
        ]
        pipeline = self._redis.pipeline(transaction=False)
        answered = []
        for item, tag in zip(open_items, await self._model.tag(texts), strict=True):
            if tag is None:
                refused = ModelCrash(f"The model ended twice on document {safe(item.document.id, 80)}.")
                batch.letters.append((item.src.offset, self._letter(refused, item.src, _encode(item.document))))
                continue
            answered.append((item, tag))
            TOKENS.inc(tag.tokens)
            pipeline.set(self._keys.verdict(digest(item.document)), _encode(tag), nx=True, get=True, ex=CLAIM_S)
        for (item, tag), before in zip(answered, await pipeline.execute(), strict=True):
            item.tag = tag if before is None else _verdict(before)

    async def _write(self, partition: int, batch: _Batch) -> None:
        """Per record, in offset order: its rows, then its tagged documents. All in one breath, then one wait."""
        by_offset: dict[int, list[_Item]] = defaultdict(list)
        for item in batch.items:
            if item.tag is not None:
                by_offset[item.src.offset].append(item)
        sends = []
        tagged_topic, scored_topic = self._topology.name(TAGGED), self._topology.name(SCORED)
        for offset in sorted(by_offset):
            rows: dict[int, list[ScoredDocument]] = defaultdict(list)
            for item in by_offset[offset]:
                for scored_partition, scored in self._scored(item).items():
                    rows[scored_partition].append(scored)
                    batch.counts.emitted += len(scored.rows)
            for scored_partition in sorted(rows):
                for value in _batches(partition, offset, rows[scored_partition], self._model.version):
                    sends.append(await self._producer.send(scored_topic, value, partition=scored_partition))
            for item in by_offset[offset]:
                sends.append(
                    await self._producer.send(tagged_topic, _encode(self._tagged(item)), key=item.document.id.encode())
                )
            batch.counts.applied += len(by_offset[offset])
        for _, letter in batch.letters:
            sends.append(
                await self._producer.send(
                    self._topology.name(DEAD_LETTERS_TOPIC), _encode(letter), key=letter.reason.encode()
                )
            )
            batch.counts.dead_lettered += 1
            DEAD_LETTERS.labels("tag", letter.reason).inc()
            log().warning(
                "dead_letter", reason=letter.reason, partition=partition, offset=letter.src.offset, error=letter.message
            )
        await acknowledged(sends)

    async def _keep(self, partition: int, next_offset: int, batch: _Batch) -> None:
        grown = msgspec.structs.replace(self._counts[partition])
        grown += batch.counts
        await books.keep(
            self._redis, self._keys.books("tag", self._topology.name(DOCUMENTS), partition), next_offset, grown
        )
        self._counts[partition] = grown
        for fate in ("applied", "duplicate", "dead_lettered"):
            RECORDS.labels("tag", fate).inc(getattr(batch.counts, fate))
        if batch.items:
            EVENT_LAG.labels("tag").set((self._clock.now_ms() - batch.items[-1].document.published_at) / 1000)

    def _scored(self, item: _Item) -> dict[int, ScoredDocument]:
        """The document's rows, by the scored partition that is each subject's home."""
        assert item.tag is not None
        document, tag = item.document, item.tag
        companies = company_rows(document, tag)
        subjects = [*(f"topic:{topic}" for topic, _ in tag.topics if topic != "other"), MARKET]
        rows: dict[int, list[Row]] = defaultdict(list)
        for row in (*companies, *(row_of(subject, tag) for subject in subjects)):
            rows[self._topology.scored_partition(row.subject)].append(row)
        excerpt = document.words[slice(*tag.deciding)].strip() if tag.deciding else document.text
        return {
            scored_partition: ScoredDocument(
                index=item.src.index, id=document.id, story=item.claimed.story, echo=item.claimed.echo,
                published_at=document.published_at, ingested_at=document.ingested_at, source=document.source, author=document.author,
                feed=document.feed, lang=document.lang, title=document.title[:TITLE_CHARS], url=document.url,
                excerpt=excerpt[:EXCERPT_CHARS], about=[row.subject for row in companies], rows=own,
            )
            for scored_partition, own in rows.items()
        }  # fmt: skip

    def _tagged(self, item: _Item) -> Tagged:
        assert item.tag is not None
        document, tag = item.document, item.tag
        return Tagged(
            id=document.id, src=item.src, story=item.claimed.story, echo=item.claimed.echo, title=document.title, text=document.text,
            url=document.url, source=document.source, author=document.author, feed=document.feed, lang=document.lang,
            published_at=document.published_at, ingested_at=document.ingested_at,
            tagged_at=document.ingested_at if self._event_time else self._clock.now_ms(),
            label=tag.polarity, negative=tag.negative, neutral=tag.neutral, positive=tag.positive, unsure=tag.unsure,
            topics=tag.topics, mentions=document.mentions, deciding=tag.deciding, words=tag.words, companies=company_rows(document, tag),
            truncated=tag.truncated, model=self._model.version,
        )  # fmt: skip

    def _letter(self, error: Refused, src: Source, payload: bytes) -> DeadLetter:
        return DeadLetter(
            reason=error.reason, stage="tag", message=str(error), remedy=error.remedy, topic=self._topology.name(DOCUMENTS), src=src,
            at=self._clock.now_ms(), payload=payload[:65_536], truncated=len(payload) > 65_536,
        )  # fmt: skip


def places(document: Document) -> list[Span]:
    """Where the companies stand that the text itself names, in the order of its mentions."""
    return [(mention.start, mention.end) for mention in document.mentions if mention.start >= 0]


def company_rows(document: Document, tag: Tag) -> list[Row]:
    """One row a company. What the text names is judged where it stands; what only the feed names has no place, and
    the feed says that the whole text is about it. A name beyond what the model read counts as mentioned, no more."""
    named = [mention.subject for mention in document.mentions if mention.start >= 0]
    judged = dict(zip(named, tag.targets, strict=False))
    return [
        row_of(subject, judged.get(subject, UNREAD if subject in named else tag) or UNREAD)
        for subject in dict.fromkeys(mention.subject for mention in document.mentions)
    ]


def row_of(subject: str, polarity: Polarity) -> Row:
    return Row(subject, polarity.polarity, polarity.negative, polarity.unsure, polarity.positive)


def _batches(partition: int, offset: int, documents: list[ScoredDocument], model: str) -> list[bytes]:
    """Encoded ScoredBatches of at most RECORD_BYTES, split between documents only: marks are a document's."""
    raw = _encode(ScoredBatch(partition=partition, offset=offset, documents=documents, model=model))
    if len(raw) <= RECORD_BYTES or len(documents) == 1:
        return [raw]
    half = len(documents) // 2
    return _batches(partition, offset, documents[:half], model) + _batches(partition, offset, documents[half:], model)


async def run(settings: Settings, topology: Topology, clock: Clock, model: Model, stop: asyncio.Event) -> None:
    """The tag process: until `stop`. Raises Misconfigured at start, Fatal when it must begin anew."""
    model = with_packs(settings, model)
    async with AsyncExitStack() as opened:
        redis = await open_redis(settings)
        opened.push_async_callback(redis.aclose)
        await model.start()
        opened.push_async_callback(model.stop)
        producer = await open_producer(settings)
        opened.push_async_callback(close_producer, producer)
        consumer = await open_consumer(settings, f"{topology.prefix}-tag")
        opened.push_async_callback(consumer.stop)
        await _run(settings, topology, clock, model, stop, redis, producer, consumer)


async def _run(
    settings: Settings, topology: Topology, clock: Clock, model: Model, stop: asyncio.Event,
    redis: RedisClient, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer,
) -> None:  # fmt: skip
    work = TagWork(topology, redis, producer, model, clock, event_time=settings.clock == "event")
    bounds = Bounds(batch_records=settings.batch_documents, drain_s=settings.drain_s)
    loop = PartitionLoop(consumer, topology.name(DOCUMENTS), work, clock, bounds)
    beating = asyncio.create_task(
        beat.keep_beating(redis, Keys(topology.prefix), clock, "tag", str(os.getpid()),
                          lambda: {"in_flight": work.in_flight, "lag": loop.lag, "note": f"model {model.version}"})
    )  # fmt: skip
    stopping = asyncio.create_task(stop.wait())
    stopping.add_done_callback(lambda _: loop.stop())
    try:
        await loop.run()
    finally:
        stopping.cancel()
        beating.cancel()
