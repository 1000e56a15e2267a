"""Tokens from the command line on a real broker: known to a running dashboard within a second, gone as quickly, all of it written down."""

import asyncio
import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import aiohttp
import pytest
import redis as redis_client

from alerts.people.desk import Desk
from dashboard import app
from dashboard.entry.access import Access
from dashboard.entry.audit import Trail
from dashboard.entry.door import Door
from dashboard.entry.rates import Rates
from groundswell import settings as all_settings
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
class Running:
    """A dashboard that asks for tokens, on the broker and Redis that `up` brings."""

    http: aiohttp.ClientSession
    settings: Settings

    async def ran(self, *arguments: str) -> Any:
        """What one command says, as JSON; it must succeed."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(all_settings.PREFIX)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "groundswell", *arguments, "--json", env=clean | all_settings.environment(self.settings),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        said, wrong = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0, wrong.decode()
        return json.loads(said)

    async def status(self, path: str, token: str = "") -> int:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        async with self.http.get(path, headers=headers) as answer:
            return answer.status

    async def until(self, status: int, token: str, within_s: float) -> None:
        """Ask until it is so."""
        began = time.monotonic()
        while (found := await self.status("/api/v1/me", token)) != status:
            assert time.monotonic() - began < within_s, f"still {found}"
            await asyncio.sleep(0.05)


@pytest.fixture
async def running(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    def quick(settings: Settings, view: Any, clock: Any, is_read: Any) -> Door:
        return Door(Access(settings, view, clock, is_read), Rates(clock.monotonic_s), Trail(clock), clock, check_s=0.2)

    monkeypatch.setattr(app, "make_door", quick)
    services = await embedded.start(TOPOLOGY.wanted())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = Settings(
        kafka=services.services.kafka, redis=services.services.redis, port=port, single_partition=True, secret_key=new_key(),
        access="token",
    )  # fmt: skip
    await create.mark_incarnation(settings, TOPOLOGY)
    with redis_client.Redis.from_url(settings.redis) as redis:
        await asyncio.to_thread(believable.fill, redis, Keys(), TOPOLOGY, SystemClock().now_ms(), hours=1)
    stop, clock = asyncio.Event(), SystemClock()
    serving = asyncio.create_task(app.run(settings, TOPOLOGY, clock, stop, make_desk=partial(Desk, settings, clock)))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as http:
        one = Running(http, settings)
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    if await one.status("/api/v1/me", "gsw_x") == 401:  # 503 until the tokens have been read
                        break
                await asyncio.sleep(0.05)
        yield one
    stop.set()
    async with asyncio.timeout(20):
        await serving
    await services.stop()


async def test_a_token_opens_the_door_within_a_second_and_its_removal_ends_a_stream(running: Running) -> None:
    made = await running.ran("tokens", "add", "--name", "林", "--role", "analyst", "--days", "30", "--by", "ana")
    token = made["token"]
    await running.until(200, token, within_s=2)
    assert [one["name"] for one in await running.ran("tokens", "list")] == ["林"]
    body = {"for": "2h", "subjects": ["market"], "by": "somebody"}
    bearer = {"Authorization": f"Bearer {token}"}
    async with running.http.post("/api/v1/silences", json=body, headers=bearer) as answer:
        assert (answer.status, (await answer.json())["by"]) == (201, "林")
    async with running.http.post("/api/v1/tokens", json={"name": "x", "role": "operator"}, headers=bearer) as answer:
        assert answer.status == 403

    async with running.http.get("/live?topics=overview", headers=bearer) as stream:
        assert stream.status == 200
        assert await stream.content.readany()
        await running.ran("tokens", "remove", "林", "--by", "ana")
        async with asyncio.timeout(5):
            while await stream.content.readany():  # it ends whole: a cut one would raise
                pass
    await running.until(401, token, within_s=2)

    async with asyncio.timeout(20):
        while len(found := await running.ran("audit", "--since", "1h", "--what", "write")) < 2:
            await asyncio.sleep(0.2)
    silenced, removed = found
    assert (silenced["who"], silenced["role"], silenced["action"]) == ("林", "analyst", "POST /api/v1/silences")
    assert silenced["object"].startswith("sil_")
    assert (removed["who"], removed["action"], removed["object"]) == ("ana", "groundswell tokens remove", made["id"])
    assert token not in json.dumps(await running.ran("audit"))
