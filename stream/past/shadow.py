"""Runs another setting beside the live one, on the live stream, and says where the two differ. It writes nothing, anywhere.

It begins with what the live aggregate knows (Redis, read only) and goes on from the same offset, each scored partition by itself and
closed by the clock as aggregate closes it, so that only the setting differs. What the live one says is read from the alerts topic.
`Ledger` pairs the two; the loop is at the end.
"""

import asyncio
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct

from groundswell import times
from groundswell.clients.connect import RedisClient, open_consumer
from groundswell.clock import Clock
from groundswell.errors import BrokerAway
from groundswell.keys import MINUTE_MS, Keys
from groundswell.records import AlertEvent, ScoredBatch
from groundswell.reserved import is_test
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream import create
from stream.detection import episodes
from stream.detection.case import HISTORY_STEPS
from stream.detection.detect import Transition
from stream.detection.policy import Policy
from stream.names.directory import Directory
from stream.past.backtest import Play
from stream.rulebook import rule_store
from stream.rulebook.rules_in_force import InForce
from stream.store import Store
from stream.topology import ALERTS, SCORED, Topology
from stream.windows import advance_idle

POLL_MS = 250
SETTLE_S = 10.0  # the two are not equally quick: no difference is told before
SAME_MS = 3_600_000  # episodes of a subject that begin within an hour of each other are of one surge

_scored = msgspec.json.Decoder(ScoredBatch).decode
_event = msgspec.json.Decoder(AlertEvent).decode

Side = Literal["live", "shadow"]


class Surge(Struct, kw_only=True):
    """One surge, as one or both saw it. Times are RFC 3339."""

    subject: str
    name: dict[str, str]
    onset: str
    live: str | None = None  # when it fired
    shadow: str | None = None
    negatives: int = 0
    expected: float = 0.0
    effect: float = 0.0

    @property
    def earlier_min(self) -> float | None:
        """Minutes by which the shadow was earlier."""
        if self.live is None or self.shadow is None:
            return None
        return round((times.parse_ms(self.live) - times.parse_ms(self.shadow)) / 60_000, 1)


@dataclass
class _Entry:
    surge: Surge
    since_s: float
    told: bool = False


@dataclass
class Ledger:
    """Which surges each side has told. What began before `from_ms` belongs to neither. `by_rules`: the shadow's are what rules of a
    user's own tell, and the live ones all that is told; else both sides are the detector's alone."""

    from_ms: int
    by_rules: bool = False
    entries: list[_Entry] = field(default_factory=list)
    ids: dict[tuple[Side, str], _Entry] = field(default_factory=dict)

    def hear(self, side: Side, event: AlertEvent, now_s: float) -> None:
        """An event of one side; only the beginning of an episode counts."""
        data = event.data
        by_rule = data.rule.id != episodes.RULE.id
        counts = (side == "live" or by_rule) if self.by_rules else not by_rule
        if event.type != "alert.firing" or not counts or is_test(data.subject.id):
            return
        if times.parse_ms(data.detected_at) < self.from_ms:
            return
        if (side, data.episode_id) in self.ids:  # opened again
            return
        entry = self._same(side, event)
        if entry is None:
            entry = _Entry(Surge(subject=data.subject.id, name=data.subject.names, onset=data.started_at), now_s)
            self.entries.append(entry)
        self.ids[side, data.episode_id] = entry
        found = entry.surge
        setattr(found, side, data.detected_at)
        found.negatives, found.expected, found.effect = data.observed.negatives, data.expected.negatives, data.effect

    def _same(self, side: Side, event: AlertEvent) -> _Entry | None:
        data = event.data
        other: Side = "shadow" if side == "live" else "live"
        known = self.ids.get((other, data.episode_id))
        if known is not None and getattr(known.surge, side) is None:
            return known
        for entry in reversed(self.entries):
            apart_ms = abs(times.parse_ms(entry.surge.onset) - times.parse_ms(data.started_at))
            if entry.surge.subject == data.subject.id and getattr(entry.surge, side) is None and apart_ms <= SAME_MS:
                return entry
        return None

    def news(self, now_s: float) -> list[Surge]:
        """Surges that one side alone has told for a while; each once. And those whose other side came after that."""
        found = []
        for entry in self.entries:
            alone = entry.surge.live is None or entry.surge.shadow is None
            if not entry.told and alone and now_s - entry.since_s >= SETTLE_S:
                entry.told = True
                found.append(entry.surge)
            elif entry.told and not alone:
                entry.told = False
                entry.since_s = float("inf")
                found.append(entry.surge)
        return found

    def summary(self) -> dict[str, Any]:
        """All surges so far, by who told them."""
        surges = [entry.surge for entry in self.entries]
        both = [one for one in surges if one.live and one.shadow]
        earlier = [one.earlier_min for one in both if one.earlier_min is not None]
        return {
            "both": len(both), "shadow_earlier_min": round(statistics.median(earlier), 1) if earlier else None,
            "only_shadow": [msgspec.structs.asdict(one) for one in surges if one.live is None],
            "only_live": [msgspec.structs.asdict(one) for one in surges if one.shadow is None],
        }  # fmt: skip


@dataclass
class _Part:
    play: Play
    offset: int
    last_row_s: float


class Shadow:
    """The other setting on every scored partition, in memory."""

    def __init__(
        self, policy: Policy, directory: Directory, told: Callable[[AlertEvent], None], idle_s: float,
        force: InForce | None = None,
    ) -> None:  # fmt: skip
        self._policy, self._directory, self._told, self._idle_s = policy, directory, told, idle_s
        self._force = force
        self.parts: dict[int, _Part] = {}

    async def take_up(self, store: Store, keys: Keys, partition: int, now_s: float) -> int:
        """Begin with what the live aggregate knows; the offset to read from. Raises RedisAway."""
        loaded = await store.peek(partition, HISTORY_STEPS * self._policy.step_ms)
        play = Play([self._policy], self._directory, self._hear, force=self._force)
        window, lane, detector = loaded.window, play.lane(partition), play.detectors[0]
        play.all.minutes, play.all.closed_ms = window.minutes, window.closed_ms
        lane.window, lane.begun = window, window.closed_ms > 0
        detector.restore(loaded.subjects, loaded.state)
        detector.open_episodes, detector.cards, detector.echoes = loaded.open_episodes, loaded.cards, loaded.echoes
        if self._force is not None and window.closed_ms:
            memory_ms = window.closed_ms - HISTORY_STEPS * self._policy.step_ms
            wanted = play.rules.enforce(self._force, window, loaded.subjects, memory_ms)
            await rule_store.fetch(store, keys, partition, play.rules, wanted, window.newest_ms // MINUTE_MS)
        self.parts[partition] = _Part(play, loaded.offset or 0, now_s)
        return loaded.offset or 0

    def take(self, partition: int, batches: Sequence[ScoredBatch], now_s: float) -> None:
        """Records of one partition, in order."""
        part = self.parts[partition]
        part.last_row_s = now_s
        part.play.lane(partition).put(batches)
        part.play.turn()

    def idle(self, partition: int, now_ms: int, now_s: float) -> None:
        """All is read, and nothing has come for a while: the clock closes, as in aggregate."""
        part = self.parts[partition]
        window, step_ms = part.play.lane(partition).window, self._policy.step_ms
        if now_s - part.last_row_s < self._idle_s:
            return
        before = window.watermark_ms, window.newest_ms
        advance_idle(window, now_ms, round(self._idle_s * 1000))
        if part.play.closed_ms == 0 or window.watermark_ms // step_ms * step_ms <= part.play.closed_ms:
            window.watermark_ms, window.newest_ms = before
            return
        part.play.close_until(window.watermark_ms // step_ms * step_ms)

    def _hear(self, _number: int, one: Transition) -> None:
        self._told(one.event)


async def run(
    settings: Settings, topology: Topology, clock: Clock, redis: RedisClient, shadow: Shadow, ledger: Ledger, stop: asyncio.Event,
    tell: Callable[[list[Surge]], None], begun: Callable[[], None],
) -> None:  # fmt: skip
    """Until `stop`; what is said after `begun()` is looked at. Raises BrokerAway, RedisAway, TopicsMissing."""
    keys = Keys(topology.prefix)
    store = Store(redis, keys, await create.incarnation(settings, topology))
    scored = await open_consumer(settings, None, [topology.name(SCORED)])
    alerts = await open_consumer(settings, None, [topology.name(ALERTS)])
    try:
        await alerts.seek_to_end()
        for one in await alerts.end_offsets(list(alerts.assignment())):
            await alerts.position(one)  # a seek to the end is not done before it is asked for
        for one in sorted(scored.assignment()):
            scored.seek(one, await shadow.take_up(store, keys, one.partition, clock.monotonic_s()))
        begun()
        while not stop.is_set():
            await _look(scored, shadow, clock)
            for records in (await alerts.getmany(timeout_ms=0)).values():
                for record in records:
                    _live(record.value, ledger, clock.monotonic_s())
            news = ledger.news(clock.monotonic_s())
            if news:
                tell(news)
    except KafkaError as error:
        raise BrokerAway(f"Reading along failed: {error!r}.") from error
    finally:
        await scored.stop()
        await alerts.stop()


async def _look(scored: AIOKafkaConsumer, shadow: Shadow, clock: Clock) -> None:
    polled: dict[TopicPartition, list[Any]] = await scored.getmany(timeout_ms=POLL_MS)
    for one, records in polled.items():
        batches = []
        for record in records:
            try:
                batches.append(_scored(record.value or b""))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                log().debug("scored_record_skipped", error=str(error)[:200])  # aggregate has made a dead letter of it
        shadow.take(one.partition, batches, clock.monotonic_s())
        await asyncio.sleep(0)
    for one in scored.assignment():
        if one in polled:
            continue
        end = scored.highwater(one)
        if end is not None and await scored.position(one) >= end:
            shadow.idle(one.partition, clock.now_ms(), clock.monotonic_s())


def _live(value: bytes | None, ledger: Ledger, now_s: float) -> None:
    try:
        ledger.hear("live", _event(value or b""), now_s)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return  # of a later version: nobody compares it
