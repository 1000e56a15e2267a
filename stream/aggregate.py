"""Rows in, counts, episodes and alerts out: fold, detect, and make both lasting in one compare-and-set per batch.

`AggregateWork` is the `Work` of a PartitionLoop over `scored`. Redis is the authority of its offsets: it starts where Redis stands, never
where Kafka's commit stands. Read windows.py and detect.py before; relay.py takes the alerts from the outbox to their topic.
"""

import asyncio
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from groundswell import __version__, beat
from groundswell.clock import Clock
from groundswell.connect import acknowledged, close_producer, open_consumer, open_producer, open_redis
from groundswell.decisions import Detected
from groundswell.errors import Fenced, TopicsMissing, UnknownVersion
from groundswell.keys import QUARTER_MS, Keys
from groundswell.records import DeadLetter, DocumentCard, ScoredBatch, Source
from groundswell.settings import Settings
from groundswell.telemetry import BATCH_SECONDS, DEAD_LETTERS, EVENT_LAG, RECORDS, WATERMARK, log, tell
from groundswell.text import safe
from stream import create, entities, surge
from stream.detect import HISTORY_STEPS, Detector, Policy, Transition, card, expectation
from stream.directory import Directory
from stream.live import show
from stream.pack_answers import Packs
from stream.packs import packs_of
from stream.partition_loop import Bounds, PartitionLoop, Record
from stream.relay import Outgoing, relay
from stream.store import Loaded, Store, Writes
from stream.topology import DEAD_LETTERS as DEAD_LETTERS_TOPIC
from stream.topology import SCORED, Topology
from stream.windows import Applied, Window, advance, advance_idle, due_steps, fold, is_new, touches

HOLE_MS = 2 * 86_400_000  # a longer silence of a partition is missing data
BREATHE_STEPS = 50  # steps closed before other partitions get a turn
EXPECTATIONS_KEPT = 8 * 96  # quarter hours
QUARTERS_AHEAD = 4

_decode = msgspec.json.Decoder(ScoredBatch).decode
_encode = msgspec.json.Encoder().encode


@dataclass
class Part:
    """One scored partition in memory: equal to what Redis holds whenever no batch is in work."""

    partition: int
    owner: str
    revision: int
    offset: int
    window: Window
    detector: Detector
    last_row_s: float
    drawn: tuple[int, int] = (0, 0)  # quarter hour up to which bands are written, for how many subjects
    dirty: bool = True  # something for the live view
    outbox: bool = True  # something may wait for the relay


@dataclass
class _Change:
    """What a batch adds beyond the buckets."""

    applied: list[Applied] = field(default_factory=list)
    told: list[Transition] = field(default_factory=list)
    steps: int = 0
    quarters: set[int] = field(default_factory=set)
    letters: list[DeadLetter] = field(default_factory=list)


class AggregateWork:
    """Fold and detect for the scored partitions of this process."""

    def __init__(
        self, topology: Topology, store: Store, producer: AIOKafkaProducer, directory: Directory, policy: Policy, clock: Clock,
        *, idle_s: float, event_time: bool = False,
    ) -> None:  # fmt: skip
        self._topology, self._store, self._producer, self._clock = topology, store, producer, clock
        self._directory, self._policy, self._idle_s, self._event_time = directory, policy, idle_s, event_time
        self._keys = Keys(topology.prefix)
        self.parts: dict[int, Part] = {}

    # -- the five verbs -----------------------------------------------------------------------------------------------

    async def assigned(self, partition: int) -> int | None:
        self.parts.pop(partition, None)
        loaded = await self._store.take_up(partition, HISTORY_STEPS * self._policy.step_ms)
        part = Part(
            partition,
            loaded.owner,
            loaded.revision,
            loaded.offset or 0,
            loaded.window,
            self._detector(loaded),
            self._clock.monotonic_s(),
        )
        self.parts[partition] = part
        return part.offset

    async def revoked(self, partition: int) -> None:
        self.parts.pop(partition, None)

    async def process(self, partition: int, records: Sequence[Record]) -> int:
        """Raises RedisAway (nothing has changed yet), Fenced (memory is dropped), ProduceFailed."""
        started_s = self._clock.monotonic_s()
        part, change = self.parts[partition], _Change()
        batches = [batch for record in records if (batch := self._read(record, change)) is not None]
        await self._store.fetch(partition, part.window, (pair for batch in batches for pair in touches(batch)))
        part.last_row_s = started_s
        try:
            for batch in batches:
                await self._fold(part, batch, change)
            part.window.counts.read += len(change.letters)
            part.window.counts.dead_lettered += len(change.letters)
            await acknowledged(
                [await self._producer.send(self._topology.name(DEAD_LETTERS_TOPIC), _encode(one), key=one.reason.encode())
                 for one in change.letters]
            )  # fmt: skip
            await self._commit(part, records[-1].offset + 1, change)
        except Fenced:
            self.parts.pop(partition, None)
            raise
        BATCH_SECONDS.labels("aggregate").observe(self._clock.monotonic_s() - started_s)
        return part.offset

    async def idle(self, partition: int, caught_up: bool) -> None:
        """Let the clock close buckets once all is read and nothing has come for a while. In event time only rows do."""
        part = self.parts.get(partition)
        if part is None or self._event_time or not caught_up:
            return
        if self._clock.monotonic_s() - part.last_row_s < self._idle_s:
            return
        before, change = (part.window.watermark_ms, part.window.newest_ms), _Change()
        advance_idle(part.window, self._clock.now_ms(), round(self._idle_s * 1000))
        if not due_steps(part.window, self._policy.step_ms, 1):
            part.window.watermark_ms, part.window.newest_ms = before  # nothing to make lasting yet
            return
        try:
            await self._close_due(part, change)
            await self._commit(part, part.offset, change)
        except Fenced:
            self.parts.pop(partition, None)
            raise

    # -- one batch ----------------------------------------------------------------------------------------------------

    def _read(self, record: Record, change: _Change) -> ScoredBatch | None:
        try:
            return _decode(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            refused, payload = (
                UnknownVersion(f"A record on scored cannot be read: {safe(str(error), 200)}."),
                record.value or b"",
            )
            change.letters.append(
                DeadLetter(
                    reason=refused.reason, stage="aggregate", message=str(refused), remedy=refused.remedy,
                    topic=self._topology.name(SCORED), src=Source(record.partition, record.offset), at=self._clock.now_ms(),
                    payload=payload[:65_536], truncated=len(payload) > 65_536,
                )
            )  # fmt: skip
            DEAD_LETTERS.labels("aggregate", refused.reason).inc()
            return None

    async def _fold(self, part: Part, batch: ScoredBatch, change: _Change) -> None:
        """One document at a time, and the steps that its time closes before it counts: so a decision knows nothing that came
        later, and rows cut into other records or batches decide the same."""
        window, detector = part.window, part.detector
        detector.model = batch.model or detector.model
        for document in batch.documents:
            alone = msgspec.structs.replace(batch, documents=[document])
            if is_new(window, alone):
                if window.closed_ms == 0:
                    window.closed_ms = document.published_at // self._policy.step_ms * self._policy.step_ms
                advance(window, alone.documents, self._policy.lateness_ms)
                await self._close_due(part, change)
            applied = fold(window, alone)
            change.applied += applied
            change.told += detector.early(window, detector.note(applied))

    async def _close_due(self, part: Part, change: _Change) -> None:
        window, step_ms = part.window, self._policy.step_ms
        due = due_steps(window, step_ms, most=HOLE_MS // step_ms)
        if not due:
            return
        if due.start > window.closed_ms:
            part.detector.gap((due.start - window.closed_ms) // step_ms)
        for start_ms in due:
            change.told += part.detector.close(window, start_ms)
            window.closed_ms = start_ms + step_ms
            change.steps += 1
            if change.steps % BREATHE_STEPS == 0:
                await asyncio.sleep(0)
        if not self._event_time:
            change.quarters.update(_new_quarters(part, due.start))

    async def _commit(self, part: Part, offset: int, change: _Change) -> None:
        window, detector, writes = part.window, part.detector, Writes()
        self._store.write_window(part.partition, window, offset, writes)
        if change.steps or change.applied:
            self._store.write_detector(part.partition, detector.subjects, detector.state, writes)
        self._store.write_episodes(part.partition, detector.open_episodes, detector.gone(), writes)
        self._write_cards(part, change, writes)
        self._write_expectations(part, change, writes)
        if change.told:
            entries = [_encode(Outgoing(event=one.event, evidence=one.evidence)) for one in change.told]
            writes.add("RPUSH", self._keys.outbox(part.partition), *entries)
        part.revision = await self._store.commit(part.partition, part.owner, part.revision, writes)
        part.offset = offset
        window.touched.clear()
        # Only now: a touched minute must be in memory until it is written, and a fetched one until it is folded.
        open_onsets = [episode.onset_ms for episode in detector.open_episodes.values()]
        window.forget(min([window.closed_ms - (HISTORY_STEPS + 1) * self._policy.step_ms, *open_onsets]))
        part.dirty = True
        part.outbox = part.outbox or bool(change.told)
        self._say(part, change)

    def _write_cards(self, part: Part, change: _Change, writes: Writes) -> None:
        shown: dict[str, list[DocumentCard]] = defaultdict(list)
        echoed: dict[str, dict[str, int]] = defaultdict(dict)
        for one in change.applied:
            for row in one.rows:
                shown[row.subject].append(card(one, row.subject))
                if one.document.echo:
                    echoed[row.subject][one.document.story] = part.detector.echoes[row.subject][one.document.story]
        for subject, cards in shown.items():
            negatives = [one for one in cards if one.label == "negative" and not one.unsure and not one.echo]
            self._store.write_cards(part.partition, subject, cards, negatives, echoed.get(subject, {}), writes)

    def _write_expectations(self, part: Part, change: _Change, writes: Writes) -> None:
        """The chart's band of each quarter hour that was entered."""
        for quarter in sorted(change.quarters)[-EXPECTATIONS_KEPT:]:
            for subject, (mean, phi15, phi60) in part.detector.expectations(quarter * QUARTER_MS).items():
                key = self._keys.expectations(part.partition, subject)
                writes.add("HSET", key, quarter, _encode(expectation(mean, phi15, phi60)))
                writes.add("HDEL", key, quarter - EXPECTATIONS_KEPT)

    def _say(self, part: Part, change: _Change) -> None:
        RECORDS.labels("aggregate", "applied").inc(sum(len(one.rows) for one in change.applied))
        if change.applied:
            EVENT_LAG.labels("aggregate").set((self._clock.now_ms() - change.applied[-1].document.published_at) / 1000)
        WATERMARK.set(min(one.window.watermark_ms for one in self.parts.values()) / 1000)
        for one in change.told:
            data = one.event.data
            tell(
                one.decision, kind="detect", partition=part.partition, subject=one.subject, episode_id=data.episode_id,
                event_id=one.event.id, negatives=data.observed.negatives, expected=data.expected.negatives, onset=data.started_at,
            )  # fmt: skip

    def _detector(self, loaded: Loaded) -> Detector:
        def hear(decision: Detected, subject: str, facts: dict[str, Any]) -> None:
            tell(decision, kind="detect", subject=subject, **facts)

        detector = Detector(self._policy, self._directory, tell=hear)
        detector.restore(loaded.subjects, loaded.state)
        detector.open_episodes, detector.cards, detector.echoes = loaded.open_episodes, loaded.cards, loaded.echoes
        return detector


def _new_quarters(part: Part, start_ms: int) -> range:
    """Quarter hours whose band is not written yet: an hour ahead, so that a chart never runs out; all again for a new subject."""
    end = part.window.closed_ms // QUARTER_MS + QUARTERS_AHEAD + 1
    known = part.drawn[0] if part.drawn[1] == len(part.detector.subjects) else 0
    part.drawn = (end, len(part.detector.subjects))
    return range(max(start_ms // QUARTER_MS, known), end)


def policy(settings: Settings, directory: Directory) -> Policy:
    """The detector's settings: the false-alarm budget of the sensitivity word, shared by all subjects."""
    budget = surge.SENSITIVITY_BUDGET[settings.sensitivity]
    return Policy(
        settings=surge.Settings(step_s=settings.step_s),
        ln_h=surge.threshold(budget, len(directory), step_s=settings.step_s),
        lateness_ms=round(settings.lateness_s * 1000),
        page_url=settings.page_url or f"http://{settings.host}:{settings.port}",
        versions={"engine": __version__, "rule": "negative-surge/1", "sensitivity": settings.sensitivity},
    )


async def run(settings: Settings, topology: Topology, clock: Clock, stop: asyncio.Event) -> None:
    """The aggregate process: until `stop`. Raises Misconfigured at start, Fatal when it must begin anew."""
    directory = Directory(entities.load_for(settings), Packs(packs_of(settings)).topics)
    incarnation = await create.incarnation(settings, topology)
    if not incarnation:
        raise TopicsMissing("The control topic names no incarnation of the topics.")
    redis = await open_redis(settings)
    producer = await open_producer(settings)
    consumer = await open_consumer(settings, f"{topology.prefix}-aggregate")
    keys = Keys(topology.prefix)
    event_time = settings.clock == "event"
    work = AggregateWork(
        topology, Store(redis, keys, incarnation), producer, directory, policy(settings, directory), clock,
        idle_s=settings.idle_s, event_time=event_time,
    )  # fmt: skip
    loop = PartitionLoop(consumer, topology.name(SCORED), work, clock, Bounds(drain_s=settings.drain_s))
    side = [
        asyncio.create_task(relay(redis, keys, topology, producer, work.parts, stop)),
        asyncio.create_task(
            beat.keep_beating(redis, keys, clock, "aggregate", str(os.getpid()),
                              lambda: {"lag": loop.lag, "note": f"{len(work.parts)} partitions"})
        ),
    ]  # fmt: skip
    if not event_time:
        side.append(asyncio.create_task(show(redis, keys, directory, work.parts)))
    stopping = asyncio.create_task(stop.wait())
    for task in (stopping, *side):
        task.add_done_callback(lambda _: loop.stop())
    try:
        await loop.run()
    finally:
        for task in (stopping, *side):
            task.cancel()
        ended = await asyncio.gather(*side, return_exceptions=True)
        await consumer.stop()
        await close_producer(producer)
        await redis.aclose()
    for failure in ended:
        if isinstance(failure, Exception):
            log().error("aggregate_ends", error=repr(failure))
            raise failure
