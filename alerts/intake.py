"""Plans: each event of the alerts topic, each open episode when its time comes, all of them when people change something.

planner.py decides, lanes.py remembers, slots.py sends what waits. One task does all planning, in slices, so that a new
event never waits for thousands of old ones to be looked at again.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from alerts import write
from alerts.case import CLOSES
from alerts.channels.contract import Limits
from alerts.health import Health, State, worth_telling
from alerts.lanes import Accept, Known, Lanes
from alerts.open_alerts import OpenAlerts, covered
from alerts.pipeline import derived
from alerts.planner import Facts, Planned, head_of, planned
from alerts.say import Say
from alerts.wording.sample import notice_episode, reachable, unreachable
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.decisions import Delivery, Fate, Stage
from groundswell.errors import NestedTooDeep, NotJson, Refused, TopicsMissing, UnknownVersion, WrongShape
from groundswell.records import AlertEvent, Channel
from groundswell.telemetry import DECISIONS, RECORDS, log, tell
from stream.topology import ALERTS, Topology

POLL_MS = 200
READY_S = 20.0
READ_MOST = 200
TOGETHER = 50  # records planned in one round trip
SLICE = 100  # open episodes looked at between two reads
LOOK_MS = 250  # how often timers are looked at
LATE_MS = 76 * 3_600_000  # an event older than this is news to nobody
TOLD_MOST = 1_000  # events of our own that wait to be planned; more are dropped, with a line in the log

_decode = msgspec.json.Decoder(AlertEvent).decode
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_EVERYDAY = frozenset({Delivery.NOT_ROUTED, Delivery.UNCHANGED})


def read_event(value: bytes | None) -> AlertEvent:
    """One record of the alerts topic. Raises Refused (NotJson, WrongShape, UnknownVersion, NestedTooDeep)."""
    try:
        event = _decode(value or b"")
    except RecursionError as error:
        raise NestedTooDeep from error
    except msgspec.ValidationError as error:
        if "schema" in str(error):
            raise UnknownVersion(f"An alert event of another version: {error}.") from error
        raise WrongShape(f"An alert event does not have the shape of one: {error}.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise NotJson(f"An alert event is not JSON: {error}.") from error
    for found in (event.id, event.data.episode_id):
        if not _ID.fullmatch(found):  # it goes into a header, a signature and Redis keys
            raise WrongShape(f"An alert event's id holds more than letters, digits, _ and -: {found[:80]!r}.")
    return event


class Intake:
    """One planner over all partitions. `wake` tells an endpoint's slot that something waits; `fares` how it fares."""

    def __init__(
        self,
        *,
        consumer: AIOKafkaConsumer,
        producer: AIOKafkaProducer,
        lanes: Lanes,
        view: ControlView,
        topology: Topology,
        clock: Clock,
        wake: Callable[[str], None],
        fares: Callable[[str], Health],
        limits_of: Callable[[Channel], Limits],
        heard: Callable[[AlertEvent], None] = lambda _: None,
    ) -> None:
        self._consumer, self._producer, self._lanes = consumer, producer, lanes
        self._view, self._topology, self._clock = view, topology, clock
        self._wake, self._fares, self._limits_of, self._heard = wake, fares, limits_of, heard
        self._open = OpenAlerts(lanes)
        self._agenda: dict[str, None] = {}  # episodes to plan again, in this order
        self._own: deque[AlertEvent] = deque()
        self._gone: frozenset[str] = frozenset()
        self._acks: dict[str, object] = {}
        self._looked_ms, self._revision = 0, -1
        self._rebuilt = False
        self.lag = 0

    def tell(self, event: AlertEvent) -> None:
        """Plan an event of our own, which no topic carries: about an endpoint, a missed drill."""
        if len(self._own) >= TOLD_MOST:
            log().error("own_event_dropped", event_id=event.id, hint="Planning does not keep up.")
            return
        self._own.append(event)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises Fenced, ProduceFailed, UnfitRedis, TopicsMissing and errors of Redis."""
        partitions = await self._go_to_place()
        await self.resume()
        while not stop.is_set():
            busy = bool(self._agenda or self._own)
            batch = await self._consumer.getmany(*partitions, timeout_ms=0 if busy else POLL_MS, max_records=READ_MOST)
            for records in batch.values():
                for start in range(0, len(records), TOGETHER):
                    await self.take(records[start : start + TOGETHER])
            if batch:
                await self._commit({partition: records[-1].offset + 1 for partition, records in batch.items()})
            self.lag = sum([await self._behind(partition) for partition in partitions])
            await self.look_again()

    async def resume(self) -> None:
        """Take up the open episodes of whoever planned before."""
        self._rebuilt = await self._lanes.rebuilt()
        await self._open.load()

    async def take(self, records: Sequence[Any]) -> None:
        """Plan records of one partition, in order. Safe to repeat: an offset that was planned is ignored."""
        now, read = self._clock.now_ms(), list[tuple[Any, AlertEvent | None]]()
        for record in records:
            try:
                read.append((record, read_event(record.value)))
            except Refused as refusal:
                await write.dead_letter(self._producer, self._topology, record, refusal, now)
                read.append((record, None))
        plans = _Plans(
            await self._lanes.known(sorted({event.data.episode_id for _, event in read if event is not None}))
        )
        for record, event in read:
            place = (record.partition, record.offset)
            if event is None:
                plans.add(Accept(place=place, now_ms=now, refused=True))
            else:
                await self._plan(plans, event, record.value, place, written_at=max(record.timestamp, 0))
        for (_, event), fate in zip(read, await self._keep(plans), strict=True):
            self._count(fate)
            if fate == Fate.APPLIED and event is not None:
                self._heard(event)

    async def look_again(self) -> None:
        """What its time or a change makes due: one slice of it."""
        while self._own:
            event = self._own.popleft()
            plans = _Plans(await self._lanes.known([event.data.episode_id]))
            await self._plan(plans, event, msgspec.json.encode(event), None, written_at=0)
            await self._keep(plans)
        self._notice_changes()
        now = self._clock.now_ms()
        if now >= self._looked_ms + LOOK_MS:
            self._looked_ms = now
            self._notice_endpoints(now)
            self._agenda |= dict.fromkeys(await self._lanes.open(now, SLICE))
        due = list(self._agenda)[:SLICE]
        for episode in due:
            del self._agenda[episode]
        if due:
            await self._plan_again(due)

    def _notice_changes(self) -> None:
        """Whatever people changed may change what is told of each open episode; those with a new acknowledgement first."""
        gone = frozenset(name for name in self._view.endpoints if self._fares(name).state is State.DISABLED)
        if self._revision == self._view.revision and gone == self._gone:
            return
        self._revision, self._gone = self._view.revision, gone
        acks = dict(self._view.acks)
        first = [
            episode for episode in acks.keys() | self._acks.keys() if acks.get(episode) is not self._acks.get(episode)
        ]
        self._acks = {**acks}
        known = [episode for episode in first if episode in self._open]
        self._agenda = dict.fromkeys([*known, *self._agenda, *self._open])

    def _notice_endpoints(self, now: int) -> None:
        """Tell the other endpoints of one that cannot be reached, and when it can be again."""
        for name, endpoint in self._view.endpoints.items():
            health, said = self._fares(name), self._open.fires(notice_episode(name))
            if not said and worth_telling(health, now):
                self.tell(unreachable(endpoint, health))
            elif said and health.state is State.HEALTHY:
                self.tell(reachable(endpoint, health.since_ms or now))

    async def _plan_again(self, episodes: Sequence[str]) -> None:
        plans = _Plans(await self._lanes.known(episodes))
        for episode in episodes:
            known = plans.known[episode]
            if known.head is None or not known.body:
                await self._lanes.forget(episode)
                self._open.close(episode)
            else:
                event = read_event(known.body)
                await self._plan(plans, event, known.body, None, written_at=known.head.written_ms, again=True)
        await self._keep(plans)

    async def _plan(
        self, plans: "_Plans", event: AlertEvent, body: bytes, place: tuple[int, int] | None, *,
        written_at: int, again: bool = False,
    ) -> None:  # fmt: skip
        """Plan one event, new or (`again`) the newest of its episode once more."""
        now, episode = self._clock.now_ms(), event.data.episode_id
        known = plans.known[episode]
        newer = again or event.data.sequence > known.sequence
        if not newer:
            if place is not None:
                plans.add(Accept(place=place, now_ms=now, episode=episode, sequence=event.data.sequence))
            return
        head = known.head if again and known.head is not None else head_of(event, known, written_at, now)
        facts = Facts(
            event=event,
            body=body,
            head=head,
            told=known.told,
            now=now,
            inhibited=await self._inhibited(event, plans, now),
            gone=self._gone,
            late=not again and 0 < written_at < now - LATE_MS,
            done=await self._done(event) if self._rebuilt else {},
        )
        made = planned(facts, self._view, self._limits_of)
        accept = Accept(
            place=place,
            now_ms=now,
            episode=episode,
            sequence=event.data.sequence,
            head=head,
            body=b"" if again else body,
            bodies=made.bodies,
            tellings=made.tellings,
            look_ms=made.look_ms,
            close=made.look_ms is None,
        )
        plans.add(accept, event, made, again=again)
        told = known.told | {telling.endpoint: telling.told for telling in made.tellings if telling.told is not None}
        over = made.look_ms is None
        plans.known[episode] = Known(event.data.sequence) if over else Known(event.data.sequence, head, body, told)
        if not again:
            if event.type in CLOSES:
                self._open.end(event, (name for name, last in known.told.items() if not last.nothing), now)
            if self._open.frees(event):
                self._agenda |= dict.fromkeys(self._open)
        if made.look_ms is None:
            self._open.close(event.data.episode_id)
        else:
            self._open.add(event)

    async def _keep(self, plans: "_Plans") -> list[str]:
        """Make it lasting in one call, then wake who has something to send. The fate of each, in order."""
        if not plans.accepts:
            return []
        answers = await self._lanes.accept(*(accept for accept, _ in plans.accepts))
        for (_, made), (fate, rests) in zip(plans.accepts, answers, strict=True):
            if fate == Fate.APPLIED and made is not None:
                self._say(*made, rests)
        return [fate for fate, _ in answers]

    def _say(self, event: AlertEvent, made: Planned, again: bool, rests: dict[str, int]) -> None:
        sent = [telling for telling in made.tellings if telling.lane]
        for telling in sent:
            self._wake(telling.endpoint)
            if telling.endpoint in rests:
                why = Delivery.RATE_LIMITED if telling.urgent else Delivery.GROUPED
                tell(
                    why,
                    kind="delivery",
                    event_id=telling.event,
                    endpoint_id=telling.endpoint,
                    until=rests[telling.endpoint],
                )
        if again and not sent:
            return
        says = {say: sum(telling.say is say for telling in sent) for say in Say}
        log().info(
            "planned",
            event_id=event.id,
            episode_id=event.data.episode_id,
            endpoints=len(sent),
            says={say.value: count for say, count in says.items() if count},
        )
        for endpoint, why in made.kept.items() if not again else ():
            DECISIONS.labels("delivery", why.value).inc()
            if why not in _EVERYDAY:
                log().info(why.value, kind="delivery", event_id=event.id, endpoint_id=endpoint)

    async def _inhibited(self, event: AlertEvent, plans: "_Plans", now: int) -> dict[str, int]:
        """The endpoints that a wider alert was told to, or a crowd of such alerts, and until when that counts; 0 while it is open."""
        wider = self._open.wider(event)
        crowd, wait_ms = self._open.crowd(event, now)
        asked = [*wider, *(episode for episodes in crowd for episode in episodes)]
        missing = [episode for episode in asked if episode not in plans.known]
        if missing:
            plans.known |= await self._lanes.known(missing)
        return covered(self._open.lately(event, now), wider, crowd, wait_ms, lambda episode: plans.known[episode].told)

    async def _done(self, event: AlertEvent) -> dict[str, dict[str, int]]:
        """What was finished of this event, its acknowledgement and its repeats before Redis was lost."""
        ack = self._view.acks.get(event.data.episode_id)
        ids = [event.id, *([derived(event.id, Say.ACKNOWLEDGED, str(ack.at))] if ack is not None else ())]
        found = {name: await self._lanes.done(name) for name in ids}
        count = 1
        while heard := await self._lanes.done(derived(event.id, Say.REPEAT, str(count))):
            found[derived(event.id, Say.REPEAT, str(count))] = heard
            count += 1
        return {name: heard for name, heard in found.items() if heard}

    async def _go_to_place(self) -> list[TopicPartition]:
        """Assign all partitions and seek behind what is planned; Kafka's committed offset only shows the lag."""
        name = self._topology.name(ALERTS)
        partitions = [TopicPartition(name, number) for number in range(self._topology.partitions(ALERTS))]
        self._consumer.assign(partitions)
        try:
            async with asyncio.timeout(READY_S):
                ends = await self._consumer.end_offsets(partitions)
        except (KafkaError, TimeoutError) as error:
            raise TopicsMissing(f"The topic {name} cannot be read: {error!r}.") from error
        planned_to = await self._lanes.planned()
        for partition in partitions:
            following = planned_to.get(partition.partition, -1) + 1
            if following > ends[partition]:
                log().warning("topic_made_anew", topic=name, partition=partition.partition, planned=following)
                await self._lanes.forget_offset(partition.partition)
                following = 0
            if following:
                self._consumer.seek(partition, following)
            else:
                await self._consumer.seek_to_beginning(partition)
        return partitions

    async def _behind(self, partition: TopicPartition) -> int:
        end = self._consumer.highwater(partition)
        return max(end - await self._consumer.position(partition), 0) if end is not None else 0

    async def _commit(self, offsets: dict[TopicPartition, int]) -> None:
        try:
            await self._consumer.commit(offsets)
        except KafkaError as error:
            log().warning("commit_failed", error=repr(error)[:200], hint="Redis keeps the place.")

    @staticmethod
    def _count(fate: str) -> None:
        if fate in set(Fate):
            RECORDS.labels(Stage.DELIVER, fate).inc()


@dataclass
class _Plans:
    """Plans that go to Redis together, and what will be known once they are there."""

    known: dict[str, Known]
    accepts: list[tuple[Accept, tuple[AlertEvent, Planned, bool] | None]] = field(default_factory=list)

    def add(
        self, accept: Accept, event: AlertEvent | None = None, made: Planned | None = None, *, again: bool = False
    ) -> None:
        self.accepts.append((accept, (event, made, again) if event is not None and made is not None else None))
