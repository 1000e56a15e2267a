"""Reads a topic back: all partitions, from given offsets up to given ones, outside any consumer group. For rebuild.py and reclaim.py."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError

from groundswell.clients.connect import open_consumer
from groundswell.errors import BrokerAway
from groundswell.settings import Settings
from stream.topology import Topic, Topology

PASS_S = 1_800.0  # all that is done with one consumer takes this long at most

Offsets = dict[TopicPartition, int]


@asynccontextmanager
async def reader(settings: Settings, topology: Topology, topic: Topic) -> AsyncIterator[AIOKafkaConsumer]:
    """A consumer to which all partitions of one topic are assigned. Raises BrokerAway, also for what goes wrong in the block."""
    name = topology.name(topic)
    consumer = await open_consumer(settings, None, [name])
    try:
        async with asyncio.timeout(PASS_S):
            yield consumer
    except TimeoutError as error:
        raise BrokerAway(f"Reading {name} back took longer than {PASS_S:.0f} s.") from error
    except KafkaError as error:
        raise BrokerAway(f"Reading {name} back failed: {error!r}.") from error
    finally:
        await consumer.stop()


async def bounds(consumer: AIOKafkaConsumer) -> tuple[Offsets, Offsets]:
    """First offset and end of each partition, now."""
    here = sorted(consumer.assignment())
    return await consumer.beginning_offsets(here), await consumer.end_offsets(here)


async def since(consumer: AIOKafkaConsumer, times_ms: Mapping[TopicPartition, int], ends: Offsets) -> Offsets:
    """The first offset at or after a time; the end where there is none."""
    found = await consumer.offsets_for_times(dict(times_ms))
    return {one: ends[one] if at is None else at.offset for one, at in found.items()}


async def newest_ms(consumer: AIOKafkaConsumer, begins: Offsets, ends: Offsets) -> int:
    """The time of the newest record, by the log's own account; 0 where there is none."""
    found = 0

    async def take(records: list[ConsumerRecord]) -> None:
        nonlocal found
        found = max([found, *(record.timestamp for record in records)])

    await _read(consumer, {one: max(begins[one], end - 1) for one, end in ends.items()}, ends, take)
    return found


async def read(
    consumer: AIOKafkaConsumer, starts: Offsets, ends: Offsets, take: Callable[[list[bytes]], Awaitable[None]]
) -> None:
    """Hand over all values in [start, end) of each partition; those of one key in order."""

    async def values(records: list[ConsumerRecord]) -> None:
        found = [record.value for record in records if record.value is not None]
        if found:
            await take(found)

    await _read(consumer, starts, ends, values)


async def _read(
    consumer: AIOKafkaConsumer, starts: Offsets, ends: Offsets, take: Callable[[list[ConsumerRecord]], Awaitable[None]]
) -> None:
    left = {one for one, end in ends.items() if starts[one] < end}
    for one in ends:
        if one in left:
            consumer.seek(one, starts[one])
        else:
            consumer.pause(one)
    while left:
        for one, records in (await consumer.getmany(timeout_ms=200)).items():
            await take([record for record in records if record.offset < ends[one]])
        # By the position, not by the last record: the end of a compacted log may have none.
        for one in [one for one in left if await consumer.position(one) >= ends[one]]:
            left.discard(one)
            consumer.pause(one)
    consumer.resume(*ends)
