"""`groundswell drill` and the canary on all five processes: texts become an alert at who takes part, and the watch address hears."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from alerts import lanes
from alerts.guard import Allowed
from alerts.people import endpoints
from alerts.receiver import Receiver
from groundswell import settings as all_settings
from groundswell.asked import AskedEndpoint
from groundswell.clients.connect import close_producer, open_producer
from groundswell.clock import SystemClock
from groundswell.commands.stack import STAGES, Stack, stack
from groundswell.control import write
from groundswell.keys import Keys
from groundswell.records import LiveRow
from groundswell.running.accounting import Accounting, account
from groundswell.secrets import SecretBox
from groundswell.settings import Settings
from stream.topology import SCORED

WAIT_S = 70.0


async def subscribe(found: Stack, receiver: Receiver, url: str, *, drills: bool) -> None:
    asked = AskedEndpoint(url=url, name="takes part" if drills else "does not", channel="webhook", drills=drills)
    box = SecretBox(found.settings.secret_key)
    endpoint, receiver.secret = await endpoints.made(asked, box, Allowed.of(found.settings), SystemClock().now_ms())
    producer = await open_producer(found.settings)
    try:
        await write(producer, found.topology, endpoint)
    finally:
        await close_producer(producer)


async def ran(found: Stack, *arguments: str) -> tuple[int, str]:
    """Exit status and output of one command."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(all_settings.PREFIX)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "groundswell", *arguments, env=clean | all_settings.environment(found.settings),
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, _ = await asyncio.wait_for(process.communicate(), WAIT_S)
    assert process.returncode is not None
    return process.returncode, said.decode()


async def counted_rows(found: Stack) -> set[str]:
    """The subjects that the overview and `groundswell watch` show."""
    keys = [Keys(found.topology.prefix).live(partition) for partition in range(found.topology.partitions(SCORED))]
    raws = [raw for raw in await found.redis.mget(keys) if raw]
    assert raws, "aggregate has written no rows"
    return {row.subject for raw in raws for row in msgspec.json.decode(raw, type=list[LiveRow])}


async def balanced(found: Stack) -> Accounting:
    """The books, once no canary is between two stages."""
    keys = Keys(found.topology.prefix)
    async with asyncio.timeout(WAIT_S):
        while True:
            delivered = await lanes.books(found.redis, keys)
            books = await account(found.redis, keys, found.topology.partitions(SCORED), delivered)
            if books.balanced:
                return books
            await asyncio.sleep(0.2)


@asynccontextmanager
async def watcher() -> AsyncIterator[tuple[str, list[str]]]:
    """An address that notes its visitors."""
    pings: list[str] = []

    async def take(request: web.Request) -> web.Response:
        pings.append(request.path)
        return web.Response()

    app = web.Application()
    app.router.add_get("/watch/secret", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/watch/secret", pings
    finally:
        await runner.cleanup()


async def test_a_drill_reaches_who_takes_part_and_canaries_ping_the_watch_address(
    tmp_path: Path, record_property: Any
) -> None:
    taking_part, other = Receiver(), Receiver()
    urls = [await taking_part.start(), await other.start()]
    try:
        async with watcher() as (watch_url, pings):
            settings = Settings(
                state_dir=str(tmp_path), model="scripted", watch_url=watch_url, canary_s=10, deliver_http=True,
                deliver_allow=[url.split("/")[2] for url in urls], drain_s=2.0, port=0, log="json",
            )  # fmt: skip
            async with stack(settings, stages=[stage for stage in STAGES if stage != "dashboard"]) as found:
                await found.ready([stage for stage in STAGES if stage != "dashboard"])
                await subscribe(found, taking_part, urls[0], drills=True)
                await subscribe(found, other, urls[1], drills=False)
                status, said = await ran(found, "drill", "--json", "--wait", "60")
                report = json.loads(said)
                async with asyncio.timeout(WAIT_S):
                    while not pings:
                        await asyncio.sleep(0.1)
                _, listed = await ran(found, "alerts")
                rows, books = await counted_rows(found), await balanced(found)
    finally:
        await taking_part.stop()
        await other.stop()
    record_property("figures", report)
    print(report, books.as_json())
    assert status == 0, report
    assert [one["outcome"] for one in report["endpoints"]] == ["sent"]
    (got,) = taking_part.received
    assert got.verified
    assert (got.event["type"], got.event["data"]["test"], got.id) == ("alert.firing", True, report["alert"])
    assert other.received == []
    assert "firing (test)" in listed
    assert rows == set(), "a test is a line in the overview"
    assert books.stages["tag"].applied >= 33, "32 texts and a canary"
