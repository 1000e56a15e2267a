"""Rows in, counts, episodes and alerts out: fold, detect, and make both lasting in one compare-and-set per batch.

`AggregateWork` is the `Work` of a PartitionLoop over `scored`. Redis is the authority of its offsets: it starts where Redis stands, never
where Kafka's commit stands. Read windows.py, detect.py and part.py before; aggregate_process.py runs it, and relay.py takes the alerts
from the outbox to their topic.

Long, because a rebuild after a lost Redis (rebuild.py) is the same fold and commit from an older offset, and both are read best
side by side: the verbs, what people set, the rebuild, one batch.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from groundswell import times
from groundswell.clients.connect import acknowledged
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.decisions import Detected, Fate, Stage
from groundswell.errors import Fenced, Poison, ProduceFailed, RedisAway, Refused, UnknownVersion
from groundswell.keys import MINUTE_MS, Keys
from groundswell.letters import letter_of
from groundswell.records import ScoredBatch, Source
from groundswell.telemetry import BATCH_SECONDS, DEAD_LETTERS, EVENT_LAG, RECORDS, WARMING, WATERMARK, log, tell
from groundswell.text import safe
from stream import bands
from stream.baselines import Closed, checkpoint, encode, write
from stream.canary import watchdogs
from stream.detection import surge
from stream.detection.cards import card
from stream.detection.case import HISTORY_STEPS
from stream.detection.detect import Detector
from stream.detection.policy import Policy
from stream.generation import Generation
from stream.names.directory import Directory
from stream.part import Change, Part
from stream.partition_loop import Record
from stream.past import history
from stream.rebuild import Past, Plan
from stream.relay import Outgoing, decode_outgoing
from stream.rulebook import rule_store, rules_in_force
from stream.rulebook.rules_in_force import InForce
from stream.store import CARDS_SHOWN, Loaded, Store, Writes
from stream.topology import DEAD_LETTERS as DEAD_LETTERS_TOPIC
from stream.topology import SCORED, Topology
from stream.windows import (
    Applied,
    advance,
    advance_idle,
    closes_ms,
    cold,
    due_steps,
    first_step,
    is_new,
    skip,
    stretch,
)

HOLE_MS = 2 * 86_400_000  # a longer silence of a partition is missing data
CHECKPOINT_MS = 86_400_000
BREATHE_STEPS = 50  # steps closed before other partitions get a turn

_decode = msgspec.json.Decoder(ScoredBatch).decode
_encode = msgspec.json.Encoder().encode


class AggregateWork:
    """Fold and detect for the scored partitions of this process."""

    def __init__(
        self, topology: Topology, store: Store, producer: AIOKafkaProducer, directory: Directory, policy: Policy, clock: Clock,
        *, idle_s: float, event_time: bool = False, past: Past | None = None, view: ControlView | None = None,
        judged_by: Callable[[ControlView], Policy] | None = None,
    ) -> None:  # fmt: skip
        """Without a `past` nothing is rebuilt and no checkpoint written: a partition without state begins at the beginning. `view`: what
        people set, as it stands now; looked at before each batch, so that nothing changes within one. `judged_by`: the policy that
        follows from it."""
        self._past, self._view = past, view or ControlView()
        self.ending = False  # set before the loop stops: then each partition leaves a checkpoint
        self._topology, self._store, self._producer, self._clock = topology, store, producer, clock
        self._directory, self._policy, self._idle_s, self._event_time = directory, policy, idle_s, event_time
        self._keys = Keys(topology.prefix)
        self._force, self._looked = InForce(), -1
        self._judged_by, self._judged_at = judged_by, -1
        self.parts: dict[int, Part] = {}

    # -- the five verbs -----------------------------------------------------------------------------------------------

    async def assigned(self, partition: int) -> int | None:
        """Raises RedisAway, BrokerAway."""
        self.parts.pop(partition, None)
        generation = await self._store.look() if self._past is not None else self._store.generation
        history_ms = HISTORY_STEPS * self._policy.step_ms
        loaded, plan = await self._store.take_up(partition, history_ms), None
        if self._past is not None and (loaded.offset is None or loaded.rebuild is not None):
            try:
                plan = await self._past.plan(partition, generation, loaded.offset, loaded.rebuild)
            except LookupError as error:
                log().warning("rebuild_begins_again", partition=partition, error=str(error))
                await self._store.drop(partition)
                raise Fenced(f"The rebuild of scored partition {partition} begins again.") from error
        start = loaded.offset
        if start is None:
            start = plan.rebuild.start if plan is not None else 0
        part = Part(
            partition,
            loaded.owner,
            loaded.revision,
            start,
            loaded.window,
            self._detector(partition, loaded),
            self._clock.monotonic_s(),
            plan=plan,
            generation=generation,
            checkpointed_ms=loaded.checkpointed_ms or self._clock.now_ms(),
        )
        part.rules.restore(await rule_store.kept(self._store, self._keys, partition))
        self.parts[partition] = part
        if self._past is not None and loaded.offset is None:  # known from the start, to who waits for it
            writes = Writes()
            histories = plan.histories if plan is not None and plan.checkpoint is None else {}
            if history.lay(part.detector, histories, self._directory):
                self._store.write_detector(partition, part.detector.subjects, part.detector.state, writes)
            self._store.write_rebuild(partition, plan.rebuild if plan else None, part.checkpointed_ms, writes)
            part.revision = await self._store.commit(partition, part.owner, part.revision, writes)
        if plan is not None:
            log().info(
                "rebuild", partition=partition, start=start, until=plan.rebuild.until, checkpoint=plan.rebuild.install
            )
        WARMING.set(sum(one.warming for one in self.parts.values()))
        return part.offset

    async def revoked(self, partition: int) -> None:
        part = self.parts.pop(partition, None)
        if part is None or self._past is None or not self.ending or part.half_done or part.warming or not part.offset:
            return
        try:
            await self._checkpoint(part)
        except ProduceFailed as error:  # the one of yesterday is still there
            log().warning("no_checkpoint", partition=partition, error=str(error))

    async def process(self, partition: int, records: Sequence[Record]) -> int:
        """Raises RedisAway and Fenced (memory is dropped), ProduceFailed."""
        part = self._mine(partition)
        left = [record for record in records if record.offset >= part.offset]  # called again: what is lasting is done
        if part.counting:
            part, left = await self._up_to_checkpoint(part, left)
        if left:
            await self._batch(part, left)
        await self._settle(part)
        return part.offset

    async def refuse(self, partition: int, record: Record, error: Poison) -> int:
        """A record that cannot be folded: its mark is raised all the same, so that only a replay counts it."""
        part, change = self._mine(partition), Change()
        if part.plan is not None and part.plan.checkpoint is not None and record.offset >= part.plan.checkpoint.offset:
            part = await self._install(part)
        self._refuse(record, error, change)
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            skip(part.window, _decode(record.value or b""))
        await self._batch(part, [record], change)
        await self._settle(part)
        return part.offset

    async def committed(self, partition: int, offset: int) -> None:
        del partition, offset  # Redis says where a partition begins

    async def idle(self, partition: int, caught_up: bool) -> None:
        """Let the clock close buckets once all is read and nothing has come for a while. In event time only rows do.
        Raises as `process`."""
        if partition not in self.parts:
            return
        part = self._mine(partition)
        if part.plan is not None and (caught_up or part.offset >= part.plan.rebuild.until):
            if part.counting:
                part = await self._install(part)
            await self._settle(part, at_the_end=True)
        if self._event_time or not caught_up or part.warming:
            return
        if self._clock.monotonic_s() - part.last_row_s < self._idle_s:
            return
        await self._enforce(part)
        window, change = part.window, Change()
        before = window.watermark_ms, window.newest_ms
        advance_idle(window, self._clock.now_ms(), round(self._idle_s * 1000))
        if not due_steps(window, self._policy.step_ms, 1):
            window.watermark_ms, window.newest_ms = before  # nothing to make lasting yet
            return
        with self._dropped_when_fenced(part):
            start_ms = await self._close_due(part, change)
            last = part.closed
            goes_on = last is not None and (last.offset, last.end_ms) == (part.offset, start_ms)
            part.closed = change.closed = Closed(
                incarnation=self._store.incarnation, partition=partition, offset=part.offset,
                start_ms=last.start_ms if last is not None and goes_on else start_ms, end_ms=window.closed_ms,
                watermark_ms=window.watermark_ms, newest_ms=window.newest_ms,
            )  # fmt: skip
            await self._commit(part, part.offset, change)
        await self._settle(part)

    # -- what people set ------------------------------------------------------------------------------------------------

    def policy_now(self) -> Policy:
        """By the watchlists and sensitivities as people have set them until now."""
        if self._judged_by is not None and self._judged_at != self._view.revision:
            self._judged_at = self._view.revision
            now = self._judged_by(self._view)
            if now.revision != self._policy.revision:
                self._policy = now
                log().info("policy", revision=now.revision, budget=now.budget, mode=now.mode, own_lines=len(now.lines))
        return self._policy

    def _judge_by(self, part: Part) -> None:
        """Steps that begin from now on are judged by what people have set; those before by what was set before. A partition that is
        taken up anew, or counted again, is judged by today's policy throughout (lines.policy)."""
        if part.detector.aim.revision != self.policy_now().revision:
            part.detector.change(self._policy, 0 if self._event_time else self._clock.now_ms())

    # -- rules of a user's own ----------------------------------------------------------------------------------------

    def in_force(self) -> InForce:
        """The rules as people have set them until now: each partition takes them up before its next batch."""
        if self._looked != self._view.revision:
            self._looked = self._view.revision
            self._force = rules_in_force.of(self._view.rules.values(), rules_in_force.watchlists_of(self._view))
        return self._force

    async def _enforce(self, part: Part) -> None:
        """Take up what changed. Raises RedisAway."""
        self._judge_by(part)
        force, window = self.in_force(), part.window
        if part.rules.force.revision == force.revision:
            return
        with self._dropped_when_fenced(part):
            memory_ms = window.closed_ms - HISTORY_STEPS * self._policy.step_ms
            wanted = part.rules.enforce(force, window, part.detector.subjects, memory_ms)
            now_minute = window.newest_ms // MINUTE_MS
            await rule_store.fetch(self._store, self._keys, part.partition, part.rules, wanted, now_minute)
        log().info("rules_in_force", partition=part.partition, revision=force.revision, rules=len(force.rules))

    # -- a rebuild ----------------------------------------------------------------------------------------------------

    def _mine(self, partition: int) -> Part:
        """Raises Fenced when it must be taken up anew: Redis was lost or started again, a rebuild asked for, or the last take-up failed."""
        part = self.parts.get(partition)
        if part is None or part.generation != self._store.generation:
            self.parts.pop(partition, None)
            raise Fenced(f"Scored partition {partition} is of another generation.")
        return part

    async def lost(self, generation: Generation) -> None:
        """Redis is in another generation, or was started again and may stand where it stood before: each partition is taken up anew at
        its next batch or tick."""
        self._store.generation = generation

    async def _up_to_checkpoint(self, part: Part, records: list[Record]) -> tuple[Part, list[Record]]:
        """Count what lies before the checkpoint; where it is reached, install it. What is left of the records."""
        assert part.plan is not None
        assert part.plan.checkpoint is not None
        there = part.plan.checkpoint.offset
        before = [record for record in records if record.offset < there]
        if before:
            await self._batch(part, before)
        left = records[len(before) :]
        return (await self._install(part) if left or part.offset >= there else part), left

    async def _install(self, part: Part) -> Part:
        """Go on from what was known at the checkpoint. It is written, then loaded as after any restart."""
        assert part.plan is not None
        assert part.plan.checkpoint is not None
        found, window, detector = part.plan.checkpoint, part.window, part.detector
        with self._dropped_when_fenced(part):
            window.marks, window.counts = dict(found.marks), msgspec.structs.replace(found.counts)
            window.watermark_ms, window.closed_ms, window.newest_ms = (
                found.watermark_ms,
                found.closed_ms,
                found.newest_ms,
            )
            rows = [surge.row_from_bytes(known.row) for known in found.subjects]
            detector.restore([known.subject for known in found.subjects], surge.State.concat(rows) if rows else None)
            detector.open_episodes = {known.subject: known.episode for known in found.subjects if known.episode}
            for known in found.subjects:
                detector.open_episodes.update(known.singles)
            history.lay(detector, part.plan.histories, self._directory)
            part.rules.restore(found.rules or None)
            part.rules.changed = True
            part.plan.checkpoint, part.plan.rebuild = None, msgspec.structs.replace(part.plan.rebuild, install=-1)
            await self._commit(part, max(part.offset, found.offset), Change(installed=True))
        await self.assigned(part.partition)
        return self._mine(part.partition)

    async def _repeat(self, part: Part, offset: int, change: Change) -> None:
        """Close what the clock had closed before the record at `offset` came."""
        assert part.plan is not None
        window, closed = part.window, part.plan.closed
        while closed and closed[0].offset <= offset:
            one = closed.popleft()
            if window.closed_ms == 0:
                continue
            window.watermark_ms = max(window.watermark_ms, one.watermark_ms)
            window.newest_ms = max(window.newest_ms, one.newest_ms)
            if not part.counting:
                due = range(max(one.start_ms, window.closed_ms), one.end_ms, self._policy.step_ms)
                await self._close(part, due, change)

    async def _settle(self, part: Part, *, at_the_end: bool = False) -> None:
        """After a batch: end a rebuild that has come to its end, leave a checkpoint once a day. Raises Retryable: called again."""
        plan = part.plan
        if plan is not None:
            if part.counting or (part.offset < plan.rebuild.until and not at_the_end):
                return
            await self._finish(part, plan)
        if self._past is not None and self._clock.now_ms() - part.checkpointed_ms >= CHECKPOINT_MS:
            await self._checkpoint(part)

    async def _finish(self, part: Part, plan: Plan) -> None:
        """Everything is as it was, and nobody has heard a word of it: tell now what nobody was told before."""
        assert self._past is not None
        if plan.closed:
            with self._dropped_when_fenced(part):
                change = Change()
                await self._repeat(part, part.offset, change)
                plan.closed.clear()
                await self._commit(part, part.offset, change)
        told, untold = await self._past.told(), []
        found = await self._store.waiting(part.partition)
        for entry in found:
            one = decode_outgoing(entry)
            if one.event.id in told:
                continue
            if times.parse_ms(one.event.timestamp) < plan.rebuild.silent_before_ms:
                tell(Detected.HELD_WARMING, kind="detect", subject=one.event.data.subject.id, event_id=one.event.id)
            else:
                untold.append(entry)
        with self._dropped_when_fenced(part):
            part.plan = None
            await self._commit(part, part.offset, Change(released=untold))
        part.checkpointed_ms = 0  # due: the next rebuild need not go the same way again
        log().info("rebuilt", partition=part.partition, offset=part.offset, found=len(found), told_now=len(untold))
        warming = sum(one.warming for one in self.parts.values())
        WARMING.set(warming)
        if not warming:
            self._past.forget()

    async def _checkpoint(self, part: Part) -> None:
        """Raises ProduceFailed."""
        now_ms = self._clock.now_ms()
        parts = checkpoint(
            self._store.incarnation, part.partition, part.offset, part.window, part.detector, now_ms, part.rules
        )
        await write(self._producer, self._topology, parts)
        part.checkpointed_ms = now_ms

    @contextmanager
    def _dropped_when_fenced(self, part: Part) -> Iterator[None]:
        part.half_done = True
        try:
            yield
        except (Fenced, RedisAway):
            self.parts.pop(part.partition, None)
            raise
        part.half_done = False

    # -- one batch ----------------------------------------------------------------------------------------------------

    async def _batch(self, part: Part, records: Sequence[Record], change: Change | None = None) -> None:
        """`change`: what is known of the records already; those it has letters of are not folded. A record is folded as soon as it is
        decoded, while it is in the processor's cache."""
        await self._enforce(part)
        started_s, before = self._clock.monotonic_s(), msgspec.structs.replace(part.window.counts)
        refused, change = change is not None, change or Change()
        part.last_row_s = started_s
        with self._dropped_when_fenced(part):
            for record in () if refused else records:
                batch = self._read(record, change)
                if batch is None:
                    continue
                await self._store.fetch(part.partition, part.window, cold(part.window, batch))
                if part.plan is not None:
                    await self._repeat(part, record.offset, change)
                await self._fold(part, batch, change)
            part.window.counts.read += len(change.letters)
            part.window.counts.dead_lettered += len(change.letters)
            letters = [] if part.counting else change.letters  # those before a checkpoint were written when they came
            await acknowledged(
                [await self._producer.send(self._topology.name(DEAD_LETTERS_TOPIC), _encode(one), key=one.reason.encode())
                 for one in letters]
            )  # fmt: skip
            for one in letters:
                DEAD_LETTERS.labels(Stage.AGGREGATE, one.reason).inc()
                log().warning(
                    "dead_letter",
                    reason=one.reason,
                    partition=one.src.partition,
                    offset=one.src.offset,
                    error=one.message,
                )
            await self._commit(part, records[-1].offset + 1, change)
        BATCH_SECONDS.labels(Stage.AGGREGATE).observe(self._clock.monotonic_s() - started_s)
        for fate in (Fate.APPLIED, Fate.DUPLICATE, Fate.LATE, Fate.DEAD_LETTERED):
            RECORDS.labels(Stage.AGGREGATE, fate).inc(getattr(part.window.counts, fate) - getattr(before, fate))

    def _read(self, record: Record, change: Change) -> ScoredBatch | None:
        try:
            return _decode(record.value or b"")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            self._refuse(record, UnknownVersion(f"A record on scored cannot be read: {safe(str(error), 200)}."), change)
            return None

    def _refuse(self, record: Record, refused: Refused, change: Change) -> None:
        topic, src = self._topology.name(SCORED), Source(record.partition, record.offset)
        refusal = letter_of(
            refused, stage=Stage.AGGREGATE, topic=topic, src=src, at_ms=self._clock.now_ms(), payload=record.value, key=record.key
        )  # fmt: skip
        change.letters.append(refusal)

    async def _fold(self, part: Part, batch: ScoredBatch, change: Change) -> None:
        """As if each document came alone: the steps that its time closes are closed before it counts, and a negative is looked at
        before the next one counts. So a decision knows nothing that came later, and rows cut into other records or batches
        decide the same. Documents between two such moments are counted in one stretch."""
        window, detector = part.window, part.detector
        step_ms, lateness_ms = self._policy.step_ms, self._policy.lateness_ms
        detector.model = batch.model or detector.model
        at = 0
        while at < len(batch.documents):
            if is_new(window, batch, at):
                document = batch.documents[at]
                if window.closed_ms == 0:
                    window.closed_ms = first_step(document, step_ms)
                advance(window, [document], lateness_ms)
                if part.counting:
                    window.closed_ms = max(window.closed_ms, window.watermark_ms // step_ms * step_ms)
                    part.rules.roll(window.closed_ms)
                else:
                    await self._close_due(part, change)
            until_ms = closes_ms(window, step_ms, lateness_ms)
            applied, at = stretch(
                window, batch, at, lateness_ms=lateness_ms, until_ms=until_ms, looks=not part.counting
            )
            change.applied += applied
            gained = detector.note(applied)
            part.rules.note(applied)
            if not part.counting:
                change.told += watchdogs(applied, self._policy.page_url)
                early = detector.early(window, gained)
                part.rules.hear(early)
                change.told += early

    async def _close_due(self, part: Part, change: Change) -> int:
        """Returns the start of the first step closed; 0 when none was due."""
        due = due_steps(part.window, self._policy.step_ms, most=HOLE_MS // self._policy.step_ms)
        await self._close(part, due, change)
        return due.start

    async def _close(self, part: Part, due: range, change: Change) -> None:
        window, step_ms = part.window, self._policy.step_ms
        if not due:
            return
        if due.start > window.closed_ms:
            part.detector.gap((due.start - window.closed_ms) // step_ms)
        for start_ms in due:
            told = part.detector.close(window, start_ms)
            part.rules.hear(told)
            change.told += told + part.rules.close(part.detector, start_ms, warming=part.warming)
            window.closed_ms = start_ms + step_ms
            change.steps += 1
            if change.steps % BREATHE_STEPS == 0:
                await asyncio.sleep(0)
        if not self._event_time:
            change.quarters.update(bands.entered(part, due.start))

    async def _commit(self, part: Part, offset: int, change: Change) -> None:
        window, detector, writes = part.window, part.detector, Writes()
        self._store.write_window(part.partition, window, offset, writes)
        self._store.write_rebuild(
            part.partition, part.plan.rebuild if part.plan else None, part.checkpointed_ms, writes
        )
        if change.steps or change.applied or change.installed:
            self._store.write_detector(part.partition, detector.subjects, detector.state, writes)
        self._store.write_episodes(part.partition, detector.open_episodes, detector.gone(), writes)
        self._write_cards(part, change, writes)
        bands.write(self._keys, part, change.quarters, writes)
        rule_store.write(self._keys, part.partition, part.rules, writes)
        if change.closed is not None:
            writes.add("RPUSH", self._keys.shut(part.partition), encode(change.closed))
        if change.told:
            entries = [_encode(Outgoing(event=one.event, evidence=one.evidence)) for one in change.told]
            there = self._keys.waiting(part.partition) if part.warming else self._keys.outbox(part.partition)
            writes.add("RPUSH", there, *entries)
        if change.released is not None:
            self._store.write_release(part.partition, change.released, writes)
        part.revision = await self._store.commit(part.partition, part.owner, part.revision, writes)
        part.offset = offset
        window.touched.clear()
        rule_store.written(part.rules)
        # Only now: a touched minute must be in memory until it is written, and a fetched one until it is folded.
        open_onsets = [episode.onset_ms for episode in detector.open_episodes.values()]
        window.forget(min([window.closed_ms - (HISTORY_STEPS + 1) * self._policy.step_ms, *open_onsets]))
        part.dirty = True
        part.outbox = part.outbox or bool(change.told or change.closed or change.released)
        if not part.warming:  # what is done again was said and counted the first time
            self._say(part, change)

    def _write_cards(self, part: Part, change: Change, writes: Writes) -> None:
        shown: dict[str, deque[Applied]] = defaultdict(lambda: deque(maxlen=CARDS_SHOWN))
        echoed: dict[str, dict[str, int]] = defaultdict(dict)
        for one in change.applied:
            for row in one.rows:
                shown[row.subject].append(one)
                if one.document.echo:
                    echoed[row.subject][one.document.story] = part.detector.echoes[row.subject][one.document.story]
        negatives = part.detector.noted()
        for subject, newest in shown.items():
            self._store.write_cards(
                part.partition, subject, [card(one, subject) for one in newest],
                negatives.get(subject, ()), echoed.get(subject, {}), writes,
            )  # fmt: skip

    def _say(self, part: Part, change: Change) -> None:
        if change.applied:
            EVENT_LAG.labels(Stage.AGGREGATE).set(
                (self._clock.now_ms() - change.applied[-1].document.published_at) / 1000
            )
        WATERMARK.set(min(one.window.watermark_ms for one in self.parts.values()) / 1000)
        for one in change.told:
            data = one.event.data
            tell(
                one.decision, kind="detect", partition=part.partition, subject=one.subject, episode_id=data.episode_id,
                event_id=one.event.id, negatives=data.observed.negatives, expected=data.expected.negatives, onset=data.started_at,
            )  # fmt: skip

    def _detector(self, partition: int, loaded: Loaded) -> Detector:
        def hear(decision: Detected, subject: str, facts: dict[str, Any]) -> None:
            part = self.parts.get(partition)
            if part is not None and not part.warming:
                tell(decision, kind="detect", subject=subject, **facts)

        detector = Detector(self.policy_now(), self._directory, tell=hear)
        detector.restore(loaded.subjects, loaded.state)
        detector.open_episodes, detector.cards, detector.echoes = loaded.open_episodes, loaded.cards, loaded.echoes
        return detector
