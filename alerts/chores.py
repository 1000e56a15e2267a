"""Does what people asked for once: a test event, a replay, another try of an endpoint. errands.py is the asking side.

An errand is noted as done when it is done: a killed process does it again, with the same event ids. One that is an hour
old when it is first seen is not begun: whoever asked has gone.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from alerts import write
from alerts.case import Told
from alerts.channels.contract import Limits
from alerts.intake import read_event
from alerts.lanes import ALL, Addressed, Lanes
from alerts.say import Say
from alerts.slots import Slots
from alerts.stages import wants
from alerts.wording.sample import test_event
from groundswell.clients.connect import open_consumer
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.decisions import Delivery
from groundswell.errors import Refused
from groundswell.records import AlertEvent, Channel, DeliveryOutcome, Endpoint, Errand
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream.topology import ALERTS, DELIVERIES, Topic, Topology

LOOK_S = 0.1
KEPT_MS = 3_600_000
POLL_MS = 250
REPLAYED_TOGETHER, REPLAY_REST_S = 50, 0.5  # a replay is no reason to hold up what is new
WAITING_MOST = 500
SAYS = {"alert.firing": Say.FIRING, "alert.updated": Say.UPDATED, "alert.resolved": Say.RESOLVED}
ARRIVED = frozenset({Delivery.SENT, Delivery.GROUPED})

_row = msgspec.json.Decoder(DeliveryOutcome).decode


class Chores:
    """One for a leading process."""

    def __init__(
        self, *, settings: Settings, topology: Topology, clock: Clock, lanes: Lanes, view: ControlView, slots: Slots,
        producer: AIOKafkaProducer, limits_of: Callable[[Channel], Limits],
    ) -> None:  # fmt: skip
        self._settings, self._topology, self._clock = settings, topology, clock
        self._lanes, self._view, self._slots, self._producer = lanes, view, slots, producer
        self._limits_of = limits_of
        self._seen: set[str] = set()
        self._one_replay = asyncio.Semaphore(1)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`; a replay that is under way then is done again by whoever follows."""
        tasks: set[asyncio.Task[None]] = set()
        try:
            while not stop.is_set():
                self._seen &= self._view.errands.keys()
                for errand in [one for name, one in self._view.errands.items() if name not in self._seen]:
                    self._seen.add(errand.id)
                    tasks.add(asyncio.create_task(self._do(errand), name=f"errand-{errand.task}"))
                for done in [task for task in tasks if task.done()]:
                    tasks.discard(done)
                    await done  # raises what ended it
                await self._clock.sleep(LOOK_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _do(self, errand: Errand) -> None:
        endpoint = self._view.endpoints.get(errand.endpoint)
        if endpoint is None or self._clock.now_ms() - errand.at > KEPT_MS or await self._lanes.was_run(errand.id):
            return
        match errand.task:
            case "test":
                await self._test(errand, endpoint)
            case "enable":
                await self._slots.enable(endpoint.id)
            case "replay":
                async with self._one_replay:
                    await self._replay(errand, endpoint)
        await self._lanes.note_run(errand.id)
        log().info("errand_done", task=errand.task, endpoint_id=endpoint.id, by=errand.by)

    async def _test(self, errand: Errand, endpoint: Endpoint) -> None:
        now = self._clock.now_ms()
        event = test_event(errand, endpoint, now)
        health = self._slots.health(endpoint.id)
        if endpoint.disabled or not health.reachable:
            row = DeliveryOutcome(
                event=event.id, episode=event.data.episode_id, endpoint=endpoint.id, attempt=0,
                outcome=Delivery.DISABLED.value, reason=health.reason, at=now, type=event.type, test=True,
            )  # fmt: skip
            await write.outcomes(self._producer, self._topology, [row])
            await self._lanes.log(row)
            return
        lane = self._lane(endpoint, event)
        telling = Addressed(endpoint=endpoint.id, told=None, event=event.id, say=Say.TEST, lane=lane, urgent=True)
        await self._lanes.push(event.data.episode_id, now, {event.id: msgspec.json.encode(event)}, [telling])
        self._slots.wake(endpoint.id, probe=lane)

    async def _replay(self, errand: Errand, endpoint: Endpoint) -> None:
        """Send again, under the same ids, what this endpoint did not get since then (or all of it)."""
        had = await self._lanes.waiting_events(endpoint.id)
        if not errand.all:
            async for record in self._records(DELIVERIES, errand.since):
                had |= _arrived(record.value, endpoint.id)
        count = 0
        async for record in self._records(ALERTS, errand.since):
            try:
                event = read_event(record.value)
            except Refused:
                continue
            say = SAYS.get(event.type)
            if say is None or event.id in had or not wants(endpoint, event.type, event.data, 0):
                continue
            had.add(event.id)
            await self._again(endpoint, event, say, record.value)
            count += 1
            while count % REPLAYED_TOGETHER == 0 and endpoint.id in self._view.endpoints:
                await self._clock.sleep(REPLAY_REST_S)
                if (await self._lanes.waiting()).get(endpoint.id, 0) < WAITING_MOST:
                    break
        log().info("replayed", endpoint_id=endpoint.id, events=count, since=errand.since, by=errand.by)

    async def _again(self, endpoint: Endpoint, event: AlertEvent, say: Say, body: bytes) -> None:
        now = self._clock.now_ms()
        # Noted as told where nothing was: whoever hears now that it fires is to hear its end.
        told = Told(event.data.sequence, say, now, severe=event.data.severity == "critical")
        lane = self._lane(endpoint, event)
        telling = Addressed(endpoint=endpoint.id, told=told, event=event.id, say=say, lane=lane, replayed=True)
        await self._lanes.push(event.data.episode_id, now, {event.id: body}, [telling])
        self._slots.wake(endpoint.id)

    def _lane(self, endpoint: Endpoint, event: AlertEvent) -> str:
        return ALL if self._limits_of(endpoint.channel).many else event.data.episode_id

    async def _records(self, topic: Topic, since_ms: int) -> AsyncIterator[Any]:
        """What a topic holds now from this moment on, partition by partition in order."""
        name = self._topology.name(topic)
        places = [TopicPartition(name, number) for number in range(self._topology.partitions(topic))]
        consumer = await open_consumer(self._settings, group=None)
        try:
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            starts = await _starts(consumer, places, since_ms)
            left = set()
            for place, start in starts.items():
                if start < ends[place]:
                    consumer.seek(place, start)
                    left.add(place)
            while left:
                for place, records in (await consumer.getmany(*left, timeout_ms=POLL_MS)).items():
                    for record in records:
                        if record.offset < ends[place] and record.timestamp >= since_ms:
                            yield record
                left = {place for place in left if await consumer.position(place) < ends[place]}
        finally:
            await consumer.stop()


async def _starts(consumer: AIOKafkaConsumer, places: list[TopicPartition], since_ms: int) -> dict[TopicPartition, int]:
    """Where records from this moment on begin. The embedded broker knows no times: there all is read from the beginning."""
    if all(found is None for found in (await consumer.offsets_for_times(dict.fromkeys(places, 0))).values()):
        return dict(await consumer.beginning_offsets(places))
    found = await consumer.offsets_for_times(dict.fromkeys(places, since_ms))
    return {place: start.offset for place, start in found.items() if start is not None}


def _arrived(value: bytes | None, endpoint: str) -> set[str]:
    try:
        row = _row(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return set()
    return {row.event} if row.endpoint == endpoint and row.outcome in ARRIVED else set()
