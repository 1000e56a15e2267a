"""What people write over HTTP, on a real broker and a running deliver: it is done, it is told, and a lost Redis loses none of it."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import pytest
import redis as redis_client

from alerts import deliver
from alerts.people.desk import Desk
from alerts.receiver import Receiver
from dashboard import app
from groundswell.clock import SystemClock
from groundswell.keys import Keys
from groundswell.running import embedded
from groundswell.secrets import new_key
from groundswell.settings import Settings
from stream import create
from stream.topology import Topology
from tests import believable

TOPOLOGY = Topology(single=True)


@dataclass
class Road:
    """The broker and Redis that `up` brings, a dashboard and a deliver on them, and a receiver."""

    http: aiohttp.ClientSession
    receiver: Receiver
    url: str
    redis: redis_client.Redis
    settings: Settings

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        headers = {} if method == "GET" else {"content-type": "application/json"}
        async with self.http.request(method, f"/api/v1{path}", json=body, headers=headers) as answer:
            return answer.status, await answer.json() if answer.status != 204 else None


@pytest.fixture
async def road() -> AsyncIterator[Road]:
    services = await embedded.start(TOPOLOGY.wanted())
    receiver = Receiver()
    url = await receiver.start()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = Settings(
        kafka=services.services.kafka, redis=services.services.redis, port=port, single_partition=True, secret_key=new_key(),
        deliver_http=True, deliver_allow=[url.split("/")[2]],
    )  # fmt: skip
    await create.mark_incarnation(settings, TOPOLOGY)
    stop, clock = asyncio.Event(), SystemClock()
    tasks = [
        asyncio.create_task(app.run(settings, TOPOLOGY, clock, stop, make_desk=partial(Desk, settings, clock))),
        asyncio.create_task(deliver.run(settings, TOPOLOGY, clock, stop)),
    ]
    redis = redis_client.Redis.from_url(settings.redis)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        made = Road(http, receiver, url, redis, settings)
        await opened(made)
        yield made
    stop.set()
    async with asyncio.timeout(20):
        await asyncio.gather(*tasks)
    await asyncio.to_thread(redis.close)
    await receiver.stop()
    await services.stop()


async def opened(road: Road) -> None:
    async with asyncio.timeout(20):
        while True:
            with contextlib.suppress(aiohttp.ClientConnectionError):
                await road.ask("GET", "/health")
                return
            await asyncio.sleep(0.05)


async def test_an_endpoint_added_over_http_is_tested_rotated_and_heard(road: Road) -> None:
    status, made = await road.ask("POST", "/endpoints", {"url": road.url, "name": "risk"})
    assert status == 201
    road.receiver.secret = made["secret"]
    status, result = await road.ask("POST", f"/endpoints/{made['id']}/test?wait_s=30", {"by": "lin"})
    assert (status, result["well"]) == (200, True), result
    assert "204" in result["says"]
    assert road.receiver.received[-1].verified

    _, rotated = await road.ask("POST", "/endpoints/risk/rotate", {"hours": 1})
    for secret in (made["secret"], rotated["secret"]):
        road.receiver.secret = secret
        _, result = await road.ask("POST", "/endpoints/risk/test?wait_s=30", {})
        assert result["well"], result
        assert road.receiver.received[-1].verified
    _, log = await road.ask("GET", "/deliveries?endpoint=risk")
    assert [row["outcome"] for row in log["items"]] == ["sent"] * 3


async def test_one_change_after_another_keeps_both_and_a_removed_one_is_gone(road: Road) -> None:
    _, made = await road.ask("POST", "/endpoints", {"url": road.url, "name": "risk"})
    await road.ask("PATCH", f"/endpoints/{made['id']}", {"severity": "critical"})
    _, changed = await road.ask("PATCH", f"/endpoints/{made['id']}", {"repeat_s": 600})
    assert (changed["severity"], changed["repeat_s"]) == ("critical", 600)
    assert (await road.ask("DELETE", f"/endpoints/{made['id']}"))[0] == 204
    assert (await road.ask("GET", "/endpoints"))[1]["items"] == []


async def test_a_lost_redis_loses_no_silence_no_endpoint_and_no_acknowledgement(road: Road) -> None:
    def alert() -> None:
        pipeline = road.redis.pipeline()
        believable.write_alert(pipeline, Keys(), believable.alert(SystemClock().now_ms()))
        pipeline.execute()

    await asyncio.to_thread(alert)
    await road.ask("POST", "/endpoints", {"url": road.url, "name": "risk", "topics": ["fraud"]})
    await road.ask("POST", "/silences", {"matchers": ["topic in fraud"], "for": "2h", "reason": "known"})
    assert (await road.ask("POST", "/alerts/ep_9a41/ack", {"by": "lin", "assigned": "Ana"}))[0] == 202

    view = await everything_written(road.settings)
    assert [one.topics for one in view.endpoints.values()] == [["fraud"]]
    assert [one.matchers for one in view.silences.values()] == [["topic in fraud"]]
    assert view.acks["ep_9a41"].assigned == "Ana"


async def everything_written(settings: Settings) -> Any:
    """The control topic read from its beginning, as a stage reads it that starts with an empty Redis."""
    from groundswell.control import ControlView, follow

    view, stop, ready = ControlView(), asyncio.Event(), asyncio.Event()
    following = asyncio.create_task(follow(settings, TOPOLOGY, view, stop, ready))
    async with asyncio.timeout(20):
        await ready.wait()
    stop.set()
    await following
    return view
