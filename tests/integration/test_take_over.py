"""Two processes of a stage share the partitions on real Kafka; how long after one ends the other has taken over all of them."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from confluent_kafka.admin import AdminClient

from groundswell.clients.connect import acknowledged, close_producer, open_producer
from groundswell.records import Document, Row, ScoredBatch, ScoredDocument
from stream.topology import DOCUMENTS, SCORED, Topic
from tests.stages import Site, site, until

MOST_S = {"killed": 12.0, "terminated": 3.0}  # the session is 10 s
INPUT = {"tag": DOCUMENTS, "aggregate": SCORED}
NOW_MS = time.time_ns() // 1_000_000


@pytest.fixture
async def here(kafka_address: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Site:
    return await site(kafka_address, redis_url, topic_prefix, tmp_path, single_partition=False)


def one(stage: str, partition: int, number: int) -> bytes:
    """A record that counts one: a document, or a row."""
    if stage == "tag":
        document = Document(
            id=f"{partition}-{number}", text=f"Notice {number} of {partition}", published_at=NOW_MS, ingested_at=NOW_MS
        )
        return msgspec.json.encode([document])
    scored = ScoredDocument(index=0, id=f"{partition}-{number}", story="s", published_at=NOW_MS, ingested_at=NOW_MS,
                            rows=[Row(f"XTST:P{partition}", "neutral", 0.1)])  # fmt: skip
    return msgspec.json.encode(ScoredBatch(partition=partition, offset=number, documents=[scored]))


async def push(here: Site, stage: str, topic: Topic, number: int) -> None:
    """One record on each partition."""
    producer = await open_producer(here.settings)
    try:
        name = here.topology.name(topic)
        await acknowledged([
            await producer.send(name, one(stage, partition, number), partition=partition)
            for partition in range(here.topology.partitions(topic))
        ])  # fmt: skip
    finally:
        await close_producer(producer)


def shares(here: Site, stage: str) -> Sequence[int]:
    """Partitions that each member of the group holds."""
    group = f"{here.settings.prefix}-{stage}"
    admin = AdminClient({"bootstrap.servers": here.settings.kafka, "log_level": 0})
    found = admin.describe_consumer_groups([group])[group].result(10)
    return sorted(len(member.assignment.topic_partitions) for member in found.members)


@pytest.mark.parametrize("end", ["terminated", "killed"])
@pytest.mark.parametrize("stage", ["tag", "aggregate"])
async def test_the_other_process_takes_over(here: Site, stage: str, end: str, record_property: Any) -> None:
    topic = INPUT[stage]
    each = here.topology.partitions(topic)
    async with AsyncExitStack() as running:
        leaving, staying = [await running.enter_async_context(here.stage(stage)) for _ in range(2)]

        async def shared() -> bool:
            held = await asyncio.to_thread(shares, here, stage)
            return len(held) == 2 and sum(held) == each and held[0] > 0

        await until(shared, "both to hold partitions")
        await push(here, stage, topic, 0)
        await here.until_read(stage, each)
        began_s = time.monotonic()
        gone = asyncio.create_task(leaving.killed() if end == "killed" else leaving.terminated())
        await push(here, stage, topic, 1)
        await here.until_read(stage, 2 * each)
        took_s = time.monotonic() - began_s
        counts = await here.until_read(stage, 2 * each)
        await gone
        assert (await staying.terminated())[0] == 0, staying.said
    record_property("took_s", round(took_s, 2))
    print(f"{stage} {end}: {took_s:.2f} s")
    assert counts.applied == 2 * each
    assert took_s <= MOST_S[end]
