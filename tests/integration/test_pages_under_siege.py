"""A thousand browsers that ask for the stream and never read: some are turned away, the others cost little, and the pages answer."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
import redis as redis_client

from alerts.people.desk import Desk
from dashboard.app import run
from dashboard.live import MAX_STREAMS
from groundswell.clock import SystemClock
from groundswell.keys import Keys
from groundswell.settings import Settings
from groundswell.telemetry import STREAMS
from stream.topology import Topology
from tests import believable

SOCKETS = 1_000
MEMORY_BYTES = 200_000_000
PAGE_BYTES = 4_096
TOPOLOGY, KEYS = Topology(), Keys()


@pytest.fixture
async def pages(redis_url: str) -> AsyncIterator[tuple[str, int, redis_client.Redis]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings, stop = Settings(redis=redis_url, port=port), asyncio.Event()
    with redis_client.Redis.from_url(redis_url) as redis:
        believable.fill(redis, KEYS, TOPOLOGY, int(time.time() * 1000), hours=2)
        desk = partial(Desk, settings, SystemClock())
        serving = asyncio.create_task(run(settings, TOPOLOGY, SystemClock(), stop, make_desk=desk))
        yield f"http://127.0.0.1:{port}", port, redis
        stop.set()
        async with asyncio.timeout(15):
            await serving


async def test_a_thousand_streams_that_nobody_reads_leave_the_pages_answering(pages):
    """F47."""
    address, port, redis = pages
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session, asyncio.timeout(90):
        await _answers(session, address)
        before, sockets = _resident(), []
        try:
            for _ in range(SOCKETS):
                sockets.append(await _asks_and_never_reads(port))
            while STREAMS._value.get() < MAX_STREAMS:
                await asyncio.sleep(0.05)
            for _ in range(20):  # each tells every stream something new
                believable.fill(redis, KEYS, TOPOLOGY, int(time.time() * 1000), hours=1)
                begun = time.monotonic()
                await _answers(session, address)
                assert time.monotonic() - begun < 5, "a reader waits for those who do not read"
            assert STREAMS._value.get() == MAX_STREAMS
            assert _resident() - before < MEMORY_BYTES
            async with session.get(f"{address}/live?topics=overview") as turned_away:
                assert turned_away.status == 503
                assert (await turned_away.json())["reason"] == "too_many_streams"
        finally:
            for one in sockets:
                one.close()
        while STREAMS._value.get():
            await asyncio.sleep(0.05)
        await _answers(session, address)


async def _asks_and_never_reads(port: int) -> socket.socket:
    made = socket.socket()
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(made, ("127.0.0.1", port))
    await loop.sock_sendall(made, f"GET /live?topics=overview HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    return made


async def _answers(session: aiohttp.ClientSession, address: str) -> None:
    while True:
        with contextlib.suppress(aiohttp.ClientConnectorError):
            async with session.get(f"{address}/api/v1/overview") as answer:
                assert answer.status == 200
                return
        await asyncio.sleep(0.05)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
