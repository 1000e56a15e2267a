"""One try against receivers that lie, stall and flood: always a verdict, soon, and little of the answer is read."""

import asyncio
import gzip
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from alerts.channels import channel_of
from alerts.channels.contract import Request
from alerts.guard import Allowed
from alerts.send import HEAD_BYTES, Sender
from groundswell.clock import SystemClock
from groundswell.decisions import Delivery
from groundswell.settings import Settings

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@asynccontextmanager
async def receiver(answer: Answer) -> AsyncIterator[tuple[str, list[int]]]:
    """A URL, and how many requests came over each connection."""
    requests: list[int] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        number = len(requests)
        requests.append(0)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(2)  # the body of `request`
                requests[number] += 1
                await answer(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook", requests
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


def rules(url: str) -> Allowed:
    return Allowed.of(Settings(deliver_allow=[url.split("/")[2]], deliver_http=True))


async def send(url: str, timeout_s: float = 1.0, times: int = 1):
    sender = Sender(rules(url), SystemClock(), timeout_s)
    try:
        found = [await sender.send("hook", request(url), channel_of("webhook").verdict) for _ in range(times)]
    finally:
        await sender.close()
    return found[-1]


def request(url: str) -> Request:
    return Request(url, {"content-type": "application/json"}, b"{}")


def says(*parts: bytes, again_s: float | None = None) -> Answer:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        while again_s is not None:
            await asyncio.sleep(again_s)
            writer.write(parts[-1])
            await writer.drain()

    return answer


BOMB = gzip.compress(b"\0" * 100_000_000)
HOSTILE = {
    "an endless body": (says(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536, again_s=0.0), Delivery.SENT, ""),
    "a bomb": (
        says(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BOMB), BOMB),
        Delivery.SENT,
        "",
    ),
    "a body of one byte a while": (says(b"HTTP/1.1 500 No\r\n\r\n", b"x", again_s=0.05), Delivery.RETRY, "timed_out"),
    "headers of one byte a while": (says(b"HTTP/1.1 200 OK\r\n", b"x", again_s=0.05), Delivery.RETRY, "timed_out"),
    "two thousand headers": (
        says(b"HTTP/1.1 200 OK\r\n", b"".join(b"x-%d: y\r\n" % number for number in range(2_000)), b"\r\n"),
        Delivery.RETRY,
        "broken_answer",
    ),
    "a header of a megabyte": (
        says(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 1_000_000, b"\r\n\r\n"),
        Delivery.RETRY,
        "broken_answer",
    ),
    "silence": (says(), Delivery.RETRY, "timed_out"),
    "no HTTP": (says(b"\xff\xfe\0\0 hello\r\n\r\n"), Delivery.RETRY, "broken_answer"),
    "a way to somewhere else": (
        says(b"HTTP/1.1 307 No\r\nlocation: http://127.0.0.1:1/x\r\ncontent-length: 0\r\n\r\n"),
        Delivery.RETRY,
        "redirected 127.0.0.1",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_whatever_it_answers_there_is_a_verdict_soon_and_little_is_held(name):
    """F41."""
    answer, outcome, reason = HOSTILE[name]
    async with receiver(answer) as (url, _):
        tracemalloc.start()
        begun = time.monotonic()
        found = await send(url)
        took, (_, peak) = time.monotonic() - begun, tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert (found.verdict.outcome, found.verdict.reason.partition(" Line")[0].startswith(reason)) == (outcome, True), (
        found
    )
    assert took < 2.0
    assert peak < 4_000_000
    assert len(found.head) <= HEAD_BYTES


async def test_connections_are_kept_and_one_that_was_closed_meanwhile_is_no_failure():
    async def once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await writer.drain()
        if requests[-1] == 2:
            writer.close()

    async with receiver(once) as (url, requests):
        sender = Sender(rules(url), SystemClock(), 2.0)
        outcomes = [await sender.send("hook", request(url), channel_of("webhook").verdict) for _ in range(4)]
        await sender.close()
    assert {found.verdict.outcome for found in outcomes} == {Delivery.SENT}
    assert requests == [2, 2]


async def test_two_endpoints_of_one_host_share_no_connection():
    async with receiver(says(OK)) as (url, requests):
        sender = Sender(rules(url), SystemClock(), 2.0)
        for endpoint in ("one", "two", "one"):
            await sender.send(endpoint, request(url), channel_of("webhook").verdict)
        await sender.close()
    assert sorted(requests) == [1, 2]


async def test_the_beginning_of_the_answer_is_kept_and_a_clock_that_differs_is_measured():
    answer = b"HTTP/1.1 503 No\r\ndate: Tue, 14 Nov 2023 22:13:20 GMT\r\ncontent-length: 4\r\n\r\nbusy"
    async with receiver(says(answer)) as (url, _):
        found = await send(url)
    assert (found.status, found.head, found.verdict.reason) == (503, b"busy", "http_503")
    assert found.skew_s < -60
