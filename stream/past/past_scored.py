"""Plays what the `scored` topic of a running installation still holds, without a consumer group and without Redis: it only reads.

Reads as far back as is worth it for warming, each partition at its own pace and never far ahead of the others. What the clock had
closed is closed again at the same place (`baselines.Closed`), so that the same setting finds what the installation found.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition

from groundswell.records import ScoredBatch
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream import baselines, create, readback
from stream.baselines import Closed
from stream.past.backtest import Item, Play
from stream.readback import Offsets
from stream.topology import BASELINES, SCORED, Topology

AHEAD = 4_000  # documents of one partition that may wait for the others
POLL_MS = 200

_decode = msgspec.json.Decoder(ScoredBatch).decode


@dataclass
class Read:
    """What was there. `begin_ms`: the oldest record, by the broker's clock; 0: nothing."""

    documents: int = 0
    unreadable: int = 0
    begin_ms: int = 0


async def play(settings: Settings, topology: Topology, into: Play, *, since_ms: int, subjects: frozenset[str]) -> Read:
    """Everything from `since_ms` on, by the broker's clock, until `into` stops. Raises BrokerAway, TopicsMissing."""
    homes = {topology.scored_partition(subject) for subject in subjects}
    closed = await _closed(settings, topology)
    found = Read()
    async with readback.reader(settings, topology, SCORED) as consumer:
        begins, ends = await readback.bounds(consumer)
        if homes:
            begins, ends = ({one: at for one, at in each.items() if one.partition in homes} for each in (begins, ends))
            consumer.pause(*(one for one in consumer.assignment() if one not in ends))
        starts = await _starts(consumer, since_ms, begins, ends)
        for one, start in starts.items():
            into.lane(one.partition).over = start >= ends[one]
            consumer.seek(one, start)
        silent = {one.partition: [each for each in closed.get(one.partition, ()) if each.offset >= start]
                  for one, start in starts.items()}  # fmt: skip
        while into.turn():
            await _more(consumer, into, ends, silent, found)
    return found


async def _starts(consumer: AIOKafkaConsumer, since_ms: int, begins: Offsets, ends: Offsets) -> Offsets:
    """Where to begin. The embedded broker knows no times: there everything is read, which is little."""
    filled = [one for one in ends if begins[one] < ends[one]]
    ever = await readback.since(consumer, dict.fromkeys(filled, 0), ends) if filled else {}
    if filled and all(ever[one] == ends[one] for one in filled):
        return dict(begins)
    starts = await readback.since(consumer, dict.fromkeys(ends, since_ms), ends)
    return {one: max(at, begins[one]) for one, at in starts.items()}


async def _more(
    consumer: AIOKafkaConsumer, into: Play, ends: Offsets, silent: Mapping[int, list[Closed]], found: Read
) -> None:
    """One look at the broker, for the lanes that have room."""
    full = [one for one in ends if into.lane(one.partition).over or len(into.lane(one.partition).waiting) > AHEAD]
    consumer.pause(*full)
    consumer.resume(*(one for one in ends if one not in full))
    polled: Mapping[TopicPartition, list[object]] = await consumer.getmany(timeout_ms=POLL_MS)
    for one, records in polled.items():
        lane, before = into.lane(one.partition), silent[one.partition]
        for record in records:
            if record.offset >= ends[one]:  # type: ignore[attr-defined]
                break
            found.begin_ms = min(found.begin_ms or record.timestamp, record.timestamp)  # type: ignore[attr-defined]
            items: list[Item] = []
            while before and before[0].offset <= record.offset:  # type: ignore[attr-defined]
                items.append(before.pop(0))
            try:
                batch = _decode(record.value or b"")  # type: ignore[attr-defined]
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
                found.unreadable += 1  # aggregate has made a dead letter of it
                log().debug("scored_record_skipped", error=str(error)[:200])
                continue
            found.documents += len(batch.documents)
            lane.put([*items, batch])
    for one in ends:
        # By the position, not by the last record: the end of a log may hold none.
        if not into.lane(one.partition).over and await consumer.position(one) >= ends[one]:
            into.lane(one.partition).put(silent[one.partition])
            silent[one.partition].clear()
            into.lane(one.partition).over = True


async def _closed(settings: Settings, topology: Topology) -> dict[int, list[Closed]]:
    values: list[bytes] = []

    async def take(more: list[bytes]) -> None:
        values.extend(more)

    async with readback.reader(settings, topology, BASELINES) as consumer:
        await readback.read(consumer, *await readback.bounds(consumer), take)
    return baselines.gather(values, await create.incarnation(settings, topology)).closed
