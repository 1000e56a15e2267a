"""kill -9 of tag and aggregate in the middle of a push, on real Kafka and Redis: afterwards everything is as if nothing had happened.

The same documents go through an undisturbed installation at the same time; both are compared with each other and with a count of the
file that knows nothing of streams. tests/unit/test_windows.py shows that without the mark the counts would differ.
What a dead process held is free after its session (10 s): with the pushing and the draining of both, half a minute and more.
"""

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from groundswell.clients.connect import close_producer, open_consumer, open_producer
from groundswell.commands.stack import Stack, stack
from groundswell.demo import script
from groundswell.keys import HOUR_MS, Keys
from groundswell.pusher import Pusher
from groundswell.records import AlertEvent
from groundswell.running.accounting import Accounting, account
from groundswell.running.books import Counts
from groundswell.settings import Settings
from stream.names.directory import MARKET
from stream.topology import ALERTS, NEWS, SCORED, Topology
from tests.chaos import road

DOCUMENTS = 5_000
STAGES = ("ingest", "tag", "aggregate")
RECOUNT = Path(__file__).parents[2] / "scripts" / "recount.py"
# Both stages are killed when they have read so much: documents, and rows (two a document and a little).
KILL_AT = ({"tag": 700, "aggregate": 1_500}, {"tag": 2_500, "aggregate": 5_200})
WAIT_S = 60.0


@dataclass
class Outcome:
    """What one installation made of the file."""

    books: Accounting
    buckets: road.Counted
    events: set[str]
    episodes: dict[str, str]  # episode -> subject
    recounted: dict[str, Any]  # what scripts/recount.py says
    kills: list[dict[str, int]] = field(default_factory=list)  # documents read by the stage when it was killed
    seconds: float = 0.0


async def books(found: Stack) -> Accounting:
    return await account(found.redis, Keys(found.topology.prefix), found.topology.partitions(SCORED), Counts())


async def until_read(found: Stack, stage: str, rows: int) -> int:
    """Wait until a stage has read so much; the figure, to show that it was in the middle."""
    async with asyncio.timeout(WAIT_S):
        while (read := (await books(found)).stages[stage].read) < rows:
            await asyncio.sleep(0.02)
    return read


async def until_drained(found: Stack, pushed: int) -> Accounting:
    async with asyncio.timeout(WAIT_S):
        while True:
            now = await books(found)
            ingest, tag, aggregate = (now.stages[stage] for stage in STAGES)
            # By what came to an end, not by what was read: after a kill rows are written, and read, twice.
            counted = aggregate.applied + aggregate.late + aggregate.dead_lettered
            read = ingest.read >= pushed and tag.read >= ingest.emitted and counted >= tag.emitted
            if read and not now.in_flight and not await waiting(found):
                return now
            await asyncio.sleep(0.2)


async def waiting(found: Stack) -> int:
    """Alerts that are not on their topic yet."""
    keys = Keys(found.topology.prefix)
    pipeline = found.redis.pipeline(transaction=False)
    for partition in range(found.topology.partitions(SCORED)):
        pipeline.llen(keys.outbox(partition))
    return sum(await pipeline.execute())


async def told(found: Stack) -> list[AlertEvent]:
    """All that is on the alerts topic."""
    consumer = await open_consumer(found.settings, None, [found.topology.name(ALERTS)])
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        await consumer.seek_to_beginning()
        events = []
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for record in (await consumer.getmany(partition, timeout_ms=200)).get(partition, ()):
                    events.append(msgspec.json.decode(record.value, type=AlertEvent))
        return events
    finally:
        await consumer.stop()


async def recount(settings: Settings) -> dict[str, Any]:
    """The script as an operator runs it, which knows nothing of the product."""
    where = ("--kafka", settings.kafka, "--redis", settings.redis, "--prefix", settings.prefix)
    process = await asyncio.create_subprocess_exec(sys.executable, str(RECOUNT), *where, stdout=asyncio.subprocess.PIPE)
    printed, _ = await process.communicate()
    found: dict[str, Any] = json.loads(printed)
    return found | {"status": process.returncode}


async def travel(settings: Settings, sent: list[road.Sent], *, kill: bool) -> Outcome:
    """Push the file through an installation of its own, with or without kills, and look at what it left."""
    began_s, kills = time.monotonic(), []
    async with stack(settings, stages=STAGES) as found:
        await found.ready(STAGES)
        producer = await open_producer(found.settings)
        pushers = {
            key: Pusher(producer, found.topology.name(NEWS), key, batch=10) for key in sorted({one.key for one in sent})
        }
        try:
            for one in sent:
                await pushers[one.key].add(one.document)
            for pusher in pushers.values():
                await pusher.settle()
        finally:
            await close_producer(producer)
        for kill_at in KILL_AT if kill else ():
            at = {}
            for stage, enough in kill_at.items():
                at[stage] = await until_read(found, stage, enough)
                os.kill(found.processes[stage].pid, signal.SIGKILL)
            kills.append(at)
        drained = await until_drained(found, len(sent))
        # The market hears all five companies, whose order among each other is free: what it makes of that may differ.
        events = [event for event in await told(found) if event.data.subject.id != MARKET]
        left = await road.buckets(found.redis, found.topology.prefix)
        recounted = await recount(found.settings)
    episodes = {event.data.episode_id: event.data.subject.id for event in events}
    return Outcome(
        drained, left, {event.id for event in events}, episodes, recounted, kills, time.monotonic() - began_s
    )


async def test_a_killed_road_ends_where_a_calm_one_does(
    kafka_address: str, topic_prefix: str, redis_url: str, tmp_path: Path, record_property: Any
) -> None:
    start_ms = time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS - 6 * HOUR_MS
    sent = road.file(DOCUMENTS, start_ms)
    settings = {
        name: Settings(
            kafka=kafka_address, redis=redis_url, prefix=f"{topic_prefix}{name}", state_dir=str(tmp_path / name), model="scripted",
            catalogues=[str(script.catalogue())], batch_documents=1, idle_s=3_600,
        )
        for name in ("calm", "killed")
    }  # fmt: skip
    calm, killed = await asyncio.gather(
        travel(settings["calm"], sent, kill=False), travel(settings["killed"], sent, kill=True)
    )
    figures = {
        "kills": killed.kills, "seconds": [round(calm.seconds, 1), round(killed.seconds, 1)], "buckets": len(killed.buckets),
        "events": len(killed.events), "calm": calm.books.as_json(), "killed": killed.books.as_json(),
    }  # fmt: skip
    record_property("figures", figures)
    print(figures)

    assert len(killed.kills) == len(KILL_AT)
    assert all(at["tag"] < DOCUMENTS for at in killed.kills), "in the middle"
    for one in (calm, killed):
        assert one.books.balanced, one.books.wrong
        duplicates = sum(each.duplicate for each in sent)
        assert one.books.stages["ingest"].read >= DOCUMENTS
        assert one.books.stages["tag"].applied == DOCUMENTS - duplicates
        assert one.books.stages["aggregate"].late == 0
    assert killed.books.stages["aggregate"].applied == calm.books.stages["aggregate"].applied

    for one in (calm, killed):
        assert (one.recounted["status"], one.recounted["differ"]) == (0, 0), one.recounted
        assert one.recounted["rows"] == 2 * (DOCUMENTS - duplicates), "the company and the market, each document once"

    wanted = road.expected(sent)
    assert calm.buckets == wanted
    assert killed.buckets == wanted

    assert set(calm.episodes.values()) == set(road.SURGES)
    assert killed.events == calm.events
    assert killed.episodes == calm.episodes


def test_the_companies_of_the_file_share_no_partition_so_that_each_has_one_order() -> None:
    topology = Topology("any")
    homes = [
        topology.scored_partition(name)
        for name in ("market", *(c[0] for c in road.COMPANIES), *(f"topic:{c[3]}" for c in road.COMPANIES))
    ]
    assert len(set(homes)) == len(homes)


def test_the_count_of_the_file_notices_a_single_row() -> None:
    sent = road.file(DOCUMENTS, 1_700_000_000_000 // HOUR_MS * HOUR_MS)
    assert len(sent) == DOCUMENTS
    assert sum(one.duplicate for one in sent) > 100
    assert sum(one.echo for one in sent) > 300
    assert [one.at_ms for one in sent] == sorted(one.at_ms for one in sent)
    original = next(i for i, one in enumerate(sent) if not one.duplicate)
    assert road.expected(sent) != road.expected(sent[:original] + sent[original + 1 :])
