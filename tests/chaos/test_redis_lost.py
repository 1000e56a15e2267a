"""Redis emptied in the middle of a push and again in the calm after it, on real Kafka and Redis: everything comes back by itself.

The same documents go through an undisturbed installation; both are compared with each other and with a count of the file. The database
is this test's own: FLUSHDB is to it what FLUSHALL is to a Redis of one's own. Two installations
one after the other, and two rebuilds: most of a minute.
"""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from groundswell import settings as all_settings
from groundswell.clients.connect import close_producer, open_consumer, open_producer
from groundswell.commands.stack import Stack, stack
from groundswell.demo import script
from groundswell.keys import HOUR_MS, Keys
from groundswell.pusher import Pusher
from groundswell.records import AlertEvent, LiveRow
from groundswell.running import beat
from groundswell.settings import Settings
from stream.names.directory import MARKET
from stream.topology import ALERTS, NEWS, SCORED
from tests.chaos import road
from tests.chaos.test_kill import STAGES, travel, until_drained, until_read
from tests.stages import clean_environment

DOCUMENTS = 5_000
NOTICED_S = 5.0
WAIT_S = 60.0


async def pushed(found: Stack, sent: list[road.Sent]) -> None:
    producer = await open_producer(found.settings)
    try:
        keys = sorted({one.key for one in sent})
        pushers = {key: Pusher(producer, found.topology.name(NEWS), key, batch=10) for key in keys}
        for one in sent:
            await pushers[one.key].add(one.document)
        for pusher in pushers.values():
            await pusher.settle()
    finally:
        await close_producer(producer)


async def states(found: Stack) -> Counter[str]:
    """What pages show of the subjects, and what the processes say of themselves."""
    keys = Keys(found.topology.prefix)
    shown: Counter[str] = Counter()
    for raw in await found.redis.mget([keys.live(partition) for partition in range(found.topology.partitions(SCORED))]):
        if raw is not None:
            shown.update(row.state for row in msgspec.json.decode(raw, type=list[LiveRow]))
    shown.update(f"process {one.state}" for one in await beat.beats(found.redis, keys))
    return shown


async def lost(found: Stack, wanted: road.Counted | None = None) -> tuple[float, float, Counter[str]]:
    """Empty Redis; seconds until aggregate has noticed, and until all that is `wanted` is back; the states seen meanwhile."""
    await found.redis.flushdb()
    keys, began_s, noticed_s, seen = Keys(found.topology.prefix), time.monotonic(), 0.0, Counter[str]()
    async with asyncio.timeout(WAIT_S):
        while True:
            seen += await states(found)
            if not noticed_s and await found.redis.exists(*(keys.state(number) for number in range(64))):
                noticed_s = time.monotonic() - began_s
            if noticed_s and (wanted is None or await road.buckets(found.redis, found.topology.prefix) == wanted):
                return noticed_s, time.monotonic() - began_s, seen
            await asyncio.sleep(0.01)


async def events(found: Stack) -> list[AlertEvent]:
    """All that is on the alerts topic, doubles too, of subjects whose rows have one order."""
    name = found.topology.name(ALERTS)
    consumer = await open_consumer(found.settings, None, [name])
    try:
        heard: list[AlertEvent] = []
        ends = await consumer.end_offsets(list(consumer.assignment()))
        await consumer.seek_to_beginning()
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                heard += [msgspec.json.decode(record.value, type=AlertEvent) for record in records]
        return [event for event in heard if event.data.subject.id != MARKET]
    finally:
        await consumer.stop()


async def test_a_lost_redis_comes_back_by_itself_and_nobody_hears_anything_twice(
    kafka_address: str, topic_prefix: str, redis_url: str, tmp_path: Path, record_property: Any
) -> None:
    sent = road.file(DOCUMENTS, time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS - 6 * HOUR_MS)
    wanted = road.expected(sent)
    settings = {
        name: Settings(
            kafka=kafka_address, redis=redis_url, prefix=f"{topic_prefix}{name}", state_dir=str(tmp_path / name), model="scripted",
            catalogues=[str(script.catalogue())], batch_documents=1, idle_s=3_600,
        )
        for name in ("calm", "lost")
    }  # fmt: skip
    calm = await travel(settings["calm"], sent, kill=False)
    async with stack(settings["lost"], stages=STAGES) as found:
        await found.ready(STAGES)
        pushing = asyncio.create_task(pushed(found, sent))
        await until_read(found, "aggregate", 6_000)  # most of them: one surge is told, the other is under way
        in_the_middle = await lost(found)
        await pushing
        drained = await until_drained(found, len(sent))
        first = await road.buckets(found.redis, found.topology.prefix)
        in_the_calm = await lost(found, wanted)
        await asyncio.sleep(2)  # what would be told twice is told now
        twice = [one for one in sent[-600:] if not one.echo]
        await pushed(found, twice)  # pushed again: the claims of before the loss must still hold
        heard, again = await events(found), await until_drained(found, len(sent) + len(twice))
        assert await road.buckets(found.redis, found.topology.prefix) == wanted
        ended = dict(found.ended)
    figures = {
        "noticed_s": [round(in_the_middle[0], 2), round(in_the_calm[0], 2)], "back_s": round(in_the_calm[1], 2),
        "states": dict(in_the_middle[2] + in_the_calm[2]), "books": drained.as_json(), "events": len(heard),
    }  # fmt: skip
    record_property("figures", figures)
    print(figures)

    assert first == wanted == calm.buckets
    assert Counter(event.id for event in heard) == Counter(calm.events)
    assert {event.data.episode_id for event in heard} == set(calm.episodes)
    assert max(in_the_middle[0], in_the_calm[0]) <= NOTICED_S
    assert in_the_calm[2]["warming"], "pages say that it is being counted again"
    assert not ended, "no process had to be started again"
    for books in (drained, again):
        assert books.balanced, books.wrong
        assert books.stages["tag"].applied == DOCUMENTS - sum(one.duplicate for one in sent), (
            "no document counted twice"
        )


async def test_an_operator_counts_everything_again_and_sees_it_done(
    kafka_address: str, topic_prefix: str, redis_url: str, tmp_path: Path
) -> None:
    sent = road.file(1_500, time.time_ns() // 1_000_000 // HOUR_MS * HOUR_MS - 6 * HOUR_MS)
    settings = Settings(
        kafka=kafka_address, redis=redis_url, prefix=topic_prefix, state_dir=str(tmp_path), model="scripted",
        catalogues=[str(script.catalogue())], idle_s=3_600,
    )  # fmt: skip
    async with stack(settings, stages=STAGES) as found:
        await found.ready(STAGES)
        await pushed(found, sent)
        await until_drained(found, len(sent))
        heard = Counter(event.id for event in await events(found))
        key = next(iter([one async for one in found.redis.scan_iter(match=f"{topic_prefix}:{{s*}}:b:*")]))
        await found.redis.delete(key)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "groundswell", "rebuild", "--json", stdout=asyncio.subprocess.PIPE, cwd=tmp_path,
            env=clean_environment() | all_settings.environment(found.settings),
        )  # fmt: skip
        printed = msgspec.json.decode((await asyncio.wait_for(process.communicate(), WAIT_S))[0])
        assert process.returncode == 0, printed
        assert (printed["complete"], printed["done"], printed["aggregates"]) == (True, 64, 1)
        assert await road.buckets(found.redis, topic_prefix) == road.expected(sent)
        await asyncio.sleep(2)
        assert Counter(event.id for event in await events(found)) == heard
        assert (await until_drained(found, len(sent))).balanced
