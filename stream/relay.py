"""From the outbox to the alerts topic, and to the list of alerts that pages read. At least once, under the event's own id. What an
alert stands on goes before it: the steps that the clock closed, and the evidence (baselines.py).

An entry leaves the outbox by its value after the broker acknowledged it, so two relays (one of them a zombie) may publish an event twice,
but neither can drop what the other has not published.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
from aiokafka import AIOKafkaProducer
from msgspec import Raw, Struct
from redis.exceptions import RedisError

from groundswell import times
from groundswell.clients.connect import RedisClient, acknowledged
from groundswell.errors import RedisAway
from groundswell.keys import Keys
from groundswell.records import AlertEvent, AlertView
from groundswell.telemetry import log
from stream import baselines
from stream.topology import ALERTS, Topology

EVERY_S = 0.1
AT_ONCE = 50
VIEW_TTL_S = 90 * 86_400
LISTED = 2_000

_encode = msgspec.json.Encoder().encode


class Outgoing(Struct, kw_only=True, frozen=True):
    """An entry of the outbox."""

    event: AlertEvent
    evidence: dict[str, Any]


class _AsWritten(Struct, frozen=True):
    """The same entry, its event left as the bytes that aggregate wrote."""

    event: Raw


class HasOutbox(Protocol):
    outbox: bool


decode_outgoing = msgspec.json.Decoder(Outgoing).decode
_as_written = msgspec.json.Decoder(_AsWritten).decode
_view = msgspec.json.Decoder(AlertView).decode


async def relay(
    redis: RedisClient,
    keys: Keys,
    topology: Topology,
    producer: AIOKafkaProducer,
    parts: Mapping[int, HasOutbox],
    stop: asyncio.Event,
    incarnation: str,
) -> None:
    """Until `stop`. Raises ProduceFailed; waits for a Redis that is away."""
    while not stop.is_set():
        for partition, part in list(parts.items()):
            if not part.outbox:
                continue
            part.outbox = False
            try:
                if await empty(redis, keys, topology, producer, partition, incarnation):
                    part.outbox = True
            except RedisError as error:
                part.outbox = True
                log().warning("redis_away", error=repr(error), hint="Alerts wait in the outbox.")
                await asyncio.sleep(1)
        await asyncio.sleep(EVERY_S)


async def empty(
    redis: RedisClient, keys: Keys, topology: Topology, producer: AIOKafkaProducer, partition: int, incarnation: str
) -> bool:
    """Publish up to AT_ONCE entries of one outbox; True when there may be more."""
    entries = await redis.lrange(keys.outbox(partition), 0, AT_ONCE - 1)
    shut = await redis.lrange(keys.shut(partition), 0, -1)  # after: with an alert, all that it stands on
    if not entries and not shut:
        return False
    outgoing = [decode_outgoing(entry) for entry in entries]
    why = [
        baselines.Evidence(incarnation=incarnation, partition=partition, event=one.event.id, evidence=one.evidence)
        for one in outgoing
        if one.evidence
    ]
    # First, and acknowledged: an alert that somebody heard of can always be found and explained again.
    await baselines.write(producer, topology, [*(baselines.decode(entry) for entry in shut), *why])
    for entry in shut:
        await redis.lrem(keys.shut(partition), 1, entry)
    await acknowledged(
        [
            await producer.send(
                topology.name(ALERTS), bytes(_as_written(entry).event), key=one.event.data.episode_id.encode()
            )
            for entry, one in zip(entries, outgoing, strict=True)
        ]
    )
    for entry, one in zip(entries, outgoing, strict=True):
        await _list(redis, keys, one)
        await redis.lrem(keys.outbox(partition), 1, entry)
    return len(entries) == AT_ONCE


async def enlist(redis: RedisClient, keys: Keys, one: Outgoing) -> None:
    """An event that was told before a loss, for the pages. Raises RedisAway."""
    try:
        await _list(redis, keys, one)
    except RedisError as error:
        raise RedisAway(f"Listing an alert failed: {error!r}.") from error


async def _list(redis: RedisClient, keys: Keys, one: Outgoing) -> None:
    """Bring the page's copy of the episode up to this event; telling it twice changes nothing."""
    if one.event.type == "system.watchdog":  # nobody looks at a canary
        return
    data = one.event.data
    raw = await redis.get(keys.alert(data.episode_id))
    known = _view(raw) if raw else None
    timeline = list(known.timeline) if known else [{"at": data.started_at, "what": "onset"}]
    if all(line.get("id") != one.event.id for line in timeline):
        timeline.append({"at": one.event.timestamp, "what": data.state, "id": one.event.id, "type": one.event.type})
    newest = known.event if known and known.event.data.sequence > data.sequence else one.event
    evidence = {one.event.id: one.evidence} if one.evidence else {}  # a topic of alerts has none
    view = AlertView(
        episode=data.episode_id, subject=data.subject.id, state=newest.data.state, event=newest, timeline=timeline,
        evidence={**(known.evidence if known else {}), **evidence},
    )  # fmt: skip
    await redis.set(keys.alert(data.episode_id), _encode(view), ex=VIEW_TTL_S)
    await redis.zadd(keys.alerts, {data.episode_id: times.parse_ms(newest.timestamp)})
    await redis.zremrangebyrank(keys.alerts, 0, -LISTED - 1)
