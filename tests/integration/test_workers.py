"""Two and four workers of each stage in one consumer group, on real Kafka: all share the work, and each document counts once.

Also while workers come and go and while partitions are added. Seven to thirteen processes on two cores: half a minute each.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from groundswell.errors import TopicsMissing
from groundswell.records import InboundDocument, ScoredBatch
from stream import create
from stream.topology import DOCUMENTS, NEWS, SCORED
from tests.stages import Site, Stage, site, until

STAGES = ("ingest", "tag", "aggregate")


@pytest.fixture
async def here(kafka_address: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Site:
    return await site(kafka_address, redis_url, topic_prefix, tmp_path, single_partition=False)


@asynccontextmanager
async def workers(here: Site, count: int) -> AsyncIterator[dict[str, list[Stage]]]:
    """So many processes of each stage, once all of them hold partitions."""
    async with AsyncExitStack() as stack:
        found = {name: [await stack.enter_async_context(here.stage(name)) for _ in range(count)] for name in STAGES}
        await until(lambda: shared(here, count), f"{count} members in each group")
        yield found


async def shared(here: Site, count: int) -> bool:
    """Each group has so many members, and each of them holds partitions."""
    return await asyncio.to_thread(_shared, here, count)


def _shared(here: Site, count: int) -> bool:
    admin = AdminClient({"bootstrap.servers": here.settings.kafka, "log_level": 0})
    names = [f"{here.settings.prefix}-{name}" for name in STAGES]
    groups = [
        answer.result(timeout=20) for answer in admin.describe_consumer_groups(names, request_timeout=20).values()
    ]
    held = [[len(member.assignment.topic_partitions) for member in group.members] for group in groups]
    return all(len(members) == count and all(members) for members in held)


def document(number: int) -> InboundDocument:
    said = "跌停违约裁员召回泄露亏损"[number % 6 * 2 :][:2]
    return InboundDocument(
        id=f"d{number}", source="Wire", author=f"a{number}", text=f"{number} 号：港湾锡业{said}，编号 {number * 7919}。"
    )


async def push(here: Site, first: int, count: int) -> None:
    """Each with a key of its own, so that they spread; every tenth twice."""
    values = [msgspec.json.encode(document(number)) for number in range(first, first + count)]
    await here.push(NEWS, [*values, *values[::10]])


async def totals_are_right(here: Site, pushed: int, twice: int) -> None:
    await here.until_read("ingest", pushed + twice)

    async def all_tagged() -> (
        bool
    ):  # by what was applied: a process that leaves may write some again, which are read as duplicates
        return (await here.books()).stages["tag"].applied >= pushed

    await until(all_tagged, f"tag to apply {pushed} documents")
    tagged = await here.until_read("tag", pushed + twice)
    assert (tagged.applied, tagged.dead_lettered) == (pushed, 0)
    assert tagged.duplicate >= twice

    async def counted() -> bool:
        counts = (await here.books()).stages["aggregate"]
        return counts.read >= tagged.emitted and not counts.in_flight

    await until(counted, f"aggregate to read {tagged.emitted} rows")
    books = await here.books()
    assert books.balanced, books.wrong
    assert books.stages["aggregate"].applied == tagged.emitted
    rows = {(batch.partition, batch.offset, one.index, row.subject) for batch in await here.values(SCORED, ScoredBatch)
            for one in batch.documents for row in one.rows}  # fmt: skip
    assert len(rows) == tagged.emitted


@pytest.mark.parametrize("count", [4])
async def test_workers_of_each_stage_share_the_work_and_count_each_document_once(here, count):
    async with workers(here, count) as found:
        await push(here, 0, 600)
        await totals_are_right(here, 600, 60)
        for processes in found.values():  # one of each leaves; the others take over what it held
            assert (await processes[0].terminated())[0] == 0, processes[0].said
        await push(here, 600, 300)
        await totals_are_right(here, 900, 90)


async def test_partitions_added_to_documents_are_written_and_read_by_the_processes_that_run(here):
    name = here.topology.name(DOCUMENTS)
    async with workers(here, 1):
        await push(here, 0, 100)
        await totals_are_right(here, 100, 10)
        pushed = 100
        await add_partitions(here, name, 40)

        async def written() -> bool:
            nonlocal pushed
            await push(here, pushed, 20)
            pushed += 20
            await asyncio.sleep(1)
            return any(record.partition >= 24 for record in await here.read(DOCUMENTS))

        await until(written, "a document on a new partition")
        await totals_are_right(here, pushed, pushed // 10)
        await create.check(here.settings, here.topology, "tag")  # and the next process starts


async def test_another_number_of_partitions_of_scored_is_refused(here):
    await add_partitions(here, here.topology.name(SCORED), 65)
    with pytest.raises(TopicsMissing, match=r"scored\.v1 has 65 partitions, 64 are wanted"):
        await create.check(here.settings, here.topology, "aggregate")


async def add_partitions(here: Site, topic: str, total: int) -> None:
    admin = AdminClient({"bootstrap.servers": here.settings.kafka, "log_level": 0})
    await asyncio.to_thread(admin.create_partitions([NewPartitions(topic, total)])[topic].result, 20)
    await until(lambda: _has(here, topic, total), f"{total} partitions of {topic}")


async def _has(here: Site, topic: str, total: int) -> bool:
    return (await create.found(here.settings))[topic] == total
