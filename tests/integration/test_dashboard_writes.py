"""What the pages write, on real Kafka and Redis: pushed documents, and an acknowledgement that comes back by itself."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

import aiohttp
import msgspec
import pytest
import redis as redis_client

from alerts.people.desk import Desk
from dashboard.app import run
from groundswell.clients.connect import open_consumer
from groundswell.clock import SystemClock
from groundswell.keys import Keys
from groundswell.settings import Settings
from stream.create import create
from stream.topology import COMMENTS, Topology
from tests import believable


@dataclass
class Site:
    """A running dashboard of its own topics and keys."""

    settings: Settings
    topology: Topology
    http: aiohttp.ClientSession


@pytest.fixture
async def site(kafka_address: str, topic_prefix: str, redis_url: str, unused_tcp_port: int) -> AsyncIterator[Site]:
    settings = Settings(kafka=kafka_address, redis=redis_url, prefix=topic_prefix, port=unused_tcp_port)
    topology = Topology(topic_prefix)
    await create(settings, topology)
    with redis_client.Redis.from_url(redis_url) as writer:
        pipeline = writer.pipeline()
        believable.write_alert(pipeline, Keys(topic_prefix), believable.alert(SystemClock().now_ms()))
        pipeline.execute()
    stop = asyncio.Event()
    make_desk = partial(Desk, settings, SystemClock())
    process = asyncio.create_task(run(settings, topology, SystemClock(), stop, make_desk=make_desk))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{unused_tcp_port}") as http:
        yield Site(settings, topology, http)
    stop.set()
    async with asyncio.timeout(10):
        await process


async def test_a_push_is_answered_after_the_broker_has_it(site: Site) -> None:
    body = [{"text": "Halvorn vans recalled"}, {"text": "霍尔文汽车召回"}]
    async with await _posted(site, "/api/v1/documents?feed=comments", body) as answer:
        assert answer.status == 202
        placed = await answer.json()
    assert placed["accepted"] == 2
    consumer = await open_consumer(site.settings, None, (site.topology.name(COMMENTS),))
    try:
        async with asyncio.timeout(15):
            record = await consumer.getone()
    finally:
        await consumer.stop()
    assert (record.partition, record.offset) == (placed["partition"], placed["offset"])
    assert msgspec.json.decode(record.value) == body


async def test_an_acknowledgement_comes_back_over_the_control_topic(site: Site) -> None:
    async with await _posted(site, "/api/v1/alerts/ep_9a41/ack", {"by": "lin"}) as answer:
        assert answer.status == 202
    async with asyncio.timeout(15):
        while True:
            async with site.http.get("/api/v1/alerts/ep_9a41") as answer:
                ack = (await answer.json())["ack"]
            if ack:
                break
            await asyncio.sleep(0.1)
    assert ack["by"] == "lin"


async def _posted(site: Site, path: str, body: object) -> aiohttp.ClientResponse:
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):  # it opens in a moment
                return await site.http.post(path, json=body)
            await asyncio.sleep(0.05)
