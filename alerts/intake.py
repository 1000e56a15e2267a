"""Reads the alerts topic and plans each event for each endpoint: into lanes (Redis has the offsets), then the commit.

pipeline.py decides, lanes.py remembers, slots.py sends what waits there. An event that a silence held back is planned
again when the silence ends.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from alerts import write
from alerts.lanes import Lanes
from alerts.pipeline import cases, plan
from alerts.retry import EXPIRES_S
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.decisions import Fate, Stage
from groundswell.errors import NestedTooDeep, NotJson, Refused, TopicsMissing, UnknownVersion, WrongShape
from groundswell.records import AlertEvent
from groundswell.telemetry import RECORDS, log, tell
from stream.topology import ALERTS, Topology

POLL_MS = 200
READY_S = 20.0
READ_MOST = 200
LOOK_AGAIN_MS = 1_000  # for silences that ended

_decode = msgspec.json.Decoder(AlertEvent).decode
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


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
    """One planner over all partitions. `wake` tells an endpoint's slot that something waits."""

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
    ) -> None:
        self._consumer, self._producer, self._lanes = consumer, producer, lanes
        self._view, self._topology, self._clock, self._wake = view, topology, clock, wake
        self._looked_ms, self._revision = 0, -1
        self.lag = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. Raises Fenced, ProduceFailed, UnfitRedis, TopicsMissing and errors of Redis."""
        partitions = await self._go_to_place()
        while not stop.is_set():
            batch = await self._consumer.getmany(*partitions, timeout_ms=POLL_MS, max_records=READ_MOST)
            for records in batch.values():
                for record in records:
                    await self.take(record)
            if batch:
                await self._commit({partition: records[-1].offset + 1 for partition, records in batch.items()})
            self.lag = sum([await self._behind(partition) for partition in partitions])
            await self.tell_after_silence()

    async def take(self, record: Any) -> None:
        """Plan one record. Safe to repeat: an offset that was planned is ignored."""
        place, now = (record.partition, record.offset), self._clock.now_ms()
        try:
            event = read_event(record.value)
        except Refused as refusal:
            await write.dead_letter(self._producer, self._topology, record, refusal, now)
            self._count(await self._lanes.refuse(place, now))
            return
        await self._plan(event, record.value, place, written_at=max(record.timestamp, 0))

    async def tell_after_silence(self) -> None:
        """Plan again what a silence held back, once it ended or people changed something."""
        now = self._clock.now_ms()
        if now < self._looked_ms + LOOK_AGAIN_MS:
            return
        changed, self._revision, self._looked_ms = self._revision != self._view.revision, self._view.revision, now
        for episode in await self._lanes.held(None if changed else now):
            told = await self._lanes.told(episode)
            body = await self._lanes.body(told.event)
            if body:
                await self._plan(read_event(body), body, None, written_at=0)

    async def _plan(self, event: AlertEvent, body: bytes, place: tuple[int, int] | None, *, written_at: int) -> None:
        now, episode = self._clock.now_ms(), event.data.episode_id
        told = await self._lanes.told(episode)
        planned = plan(
            cases(
                event,
                self._view.endpoints,
                self._view.silences,
                written_at=written_at,
                now=now,
                told=told.by_endpoint,
                done=await self._lanes.was_done(event.id, tuple(self._view.endpoints)),
                gone=await self._lanes.gone(),
            )
        )
        fate = await self._lanes.accept(
            place,
            episode=episode,
            sequence=event.data.sequence,
            event=event.id,
            type=event.type,
            body=body,
            now_ms=now,
            body_ms=max(planned.held_until - now, 0) + round(EXPIRES_S * 1000),
            endpoints=planned.send,
            held_until_ms=planned.held_until,
        )
        if place is not None:
            self._count(fate)
        if fate != Fate.APPLIED:
            return
        for endpoint in planned.send:
            self._wake(endpoint)
        if place is not None:
            log().info("planned", event_id=event.id, episode_id=episode, endpoints=len(planned.send))
            for endpoint, why in planned.kept.items():
                tell(why, kind="delivery", event_id=event.id, endpoint_id=endpoint)

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
        planned = await self._lanes.planned()
        for partition in partitions:
            following = planned.get(partition.partition, -1) + 1
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

    def _count(self, fate: str) -> None:
        if fate in set(Fate):
            RECORDS.labels(Stage.DELIVER, fate).inc()
