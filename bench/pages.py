"""What people at their screens cost, and how soon they see: `groundswell bench pages [--streams N] [--json]`.

The whole road runs with the scripted tagger while documents come in; one process of the pages answers. Browsers are bare sockets that
read, or do not; the document that moves the line is seen by a real Chromium where there is one.
"""

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from dashboard.live import MAX_STREAMS
from groundswell.clients.connect import acknowledged, close_producer, open_producer
from groundswell.commands.stack import STAGES, Stack, stack
from groundswell.records import InboundDocument
from groundswell.settings import Settings
from stream.topology import NEWS

WATCHED_S = 20.0
RATE_PER_S = 20
SYMBOLS = ("AAPL", "MSFT", "TSLA", "AMZN", "META", "GOOGL", "NVDA", "NFLX", "INTC", "IBM", "ORCL", "CSCO")
NEWS_OF_BOEING = (
    "A lawsuit over a cracked hinge reaches a court in Ohio", "Layoff of four hundred at the plant near Charleston, say unions",
    "Regulators begin a probe of two late filings", "Recall of seat rails after a warning by the agency",
    "Quarter ends in a loss on old tankers",
)  # fmt: skip
DEAD = 20
GONE_S = 90.0
SEEN_S = 30.0
LOOK_S = 0.02
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
REQUIRED = {
    "cpu_share": 0.05, "delay_p99_ms": 250.0, "dead_readers_mib": 10.0, "dead_readers_gone_s": 30.0, "end_s": 3.0, "line_moves_s": 3.0,
}  # fmt: skip


async def measured(streams: int) -> dict[str, Any]:
    """All of it, in one installation of its own. `delay_p99_ms`: of a frame, after the first stream that got it."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = Settings(
            state_dir=folder, model="scripted", port=port, log="json", lateness_s=1.0, idle_s=2.0, drain_s=2.0
        )
        async with stack(settings, stages=STAGES) as found:
            await found.ready(STAGES)
            site = f"http://127.0.0.1:{port}"
            async with _talk(found), _session() as session:
                await _counted(session, site)
                pid = found.processes["dashboard"].pid
                seen = await _line_moves(found, site)
                read = await _read(session, site, pid, streams)
                dead = await _dead_readers(session, site, port, pid)
                full = await _full(session, site)
                ended = await _ended(session, site, found)
    return {"streams": streams, **read, **dead, **full, **ended, **seen}


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None, connect=20)
    )


@contextlib.asynccontextmanager
async def _talk(found: Stack) -> AsyncIterator[None]:
    """RATE_PER_S documents a second about a dozen companies, as long as this is open."""
    producer = await open_producer(found.settings)

    async def say() -> None:
        number = 0
        while True:
            for _ in range(RATE_PER_S // 4):
                number += 1
                one = _document(f"t{number}", SYMBOLS[number % len(SYMBOLS)])
                await producer.send(found.topology.name(NEWS), one, key=b"bench")
            await asyncio.sleep(0.25)

    saying = asyncio.create_task(say())
    try:
        yield
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)
        await close_producer(producer)


def _document(name: str, symbol: str, text: str = "") -> bytes:
    now_ms = round(time.time() * 1000)
    text = text or f"Fraud at {symbol}: note {name} on what the auditors found {now_ms % 9973}"
    return msgspec.json.encode(
        InboundDocument(id=f"{name}-{now_ms}", text=text, symbols=[symbol], published_at=now_ms, source="bench")
    )


async def _counted(session: aiohttp.ClientSession, site: str) -> None:
    """Until the overview has its companies."""
    async with asyncio.timeout(120):
        while True:
            async with session.get(f"{site}/api/v1/overview") as answer:
                if answer.status == 200 and len((await answer.json())["movers"]) >= len(SYMBOLS):
                    return
            await asyncio.sleep(0.5)


# -- streams that read ----------------------------------------------------------------------------------------------------


async def _read(session: aiohttp.ClientSession, site: str, pid: int, streams: int) -> dict[str, Any]:
    arrived: dict[str, list[float]] = {}
    open_, begun = asyncio.Event(), []

    async def listen() -> None:
        async with session.get(f"{site}/live?topics=overview,alerts") as answer:
            begun.append(answer.status)
            async for line in answer.content:
                if open_.is_set() and line.startswith(b"id: "):
                    arrived.setdefault(line.decode().strip(), []).append(time.monotonic())

    listeners = [asyncio.create_task(listen()) for _ in range(streams)]
    try:
        await _until(lambda: len(begun) >= streams)
        await asyncio.sleep(2.0)
        open_.set()
        cpu, at = _cpu_s(pid), time.monotonic()
        await asyncio.sleep(WATCHED_S)
        share = (_cpu_s(pid) - cpu) / (time.monotonic() - at)
        open_.clear()
    finally:
        for one in listeners:
            one.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
    whole = [times for times in arrived.values() if len(times) == streams]
    delays = sorted(one - min(times) for times in whole for one in times)
    return {
        "cpu_share": share,
        "delay_p99_ms": 1000 * delays[int(len(delays) * 0.99)],
        "frames": len(arrived),
        "frames_that_all_got": len(whole),
    }


async def _full(session: aiohttp.ClientSession, site: str) -> dict[str, Any]:
    """The one stream too many is told so."""
    answers: list[int] = []

    async def listen() -> None:
        async with session.get(f"{site}/live?topics=alerts") as answer:
            answers.append(answer.status)
            if answer.status == 200:
                await asyncio.sleep(3600)

    listeners = [asyncio.create_task(listen()) for _ in range(MAX_STREAMS)]
    try:
        await _until(lambda: len(answers) >= MAX_STREAMS)
        async with session.get(f"{site}/live?topics=alerts") as answer:
            one_more = answer.status
    finally:
        for one in listeners:
            one.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
    return {"of_500_open": answers.count(200), "the_501st": one_more}


# -- streams that do not ----------------------------------------------------------------------------------------------


async def _dead_readers(session: aiohttp.ClientSession, site: str, port: int, pid: int) -> dict[str, Any]:
    """Sockets that ask for the stream and never read; each look at the installation is small, so theirs ask for all of it at once."""
    before, streams = _resident_mib(pid), await _streams(session, site)
    sockets = []
    for _ in range(DEAD):
        one = socket.socket()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.setblocking(False)
        await asyncio.get_running_loop().sock_connect(one, ("127.0.0.1", port))
        topics = ",".join(["overview", "alerts", *(f"subject:XNAS:{symbol}" for symbol in SYMBOLS)])
        request = f"GET /live?topics={topics} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n"
        await asyncio.get_running_loop().sock_sendall(one, request.encode())
        sockets.append(one)
    begun, most, gone = time.monotonic(), 0.0, None
    while time.monotonic() - begun < GONE_S:
        await asyncio.sleep(1.0)
        most = max(most, _resident_mib(pid) - before)
        if time.monotonic() - begun > 3 and await _streams(session, site) <= streams:
            gone = time.monotonic() - begun
            break
    for one in sockets:
        one.close()
    return {"dead_readers_mib": most, "dead_readers_gone_s": gone}


async def _streams(session: aiohttp.ClientSession, site: str) -> int:
    async with session.get(f"{site}/api/v1/health") as answer:
        return int((await answer.json())["streams"])


async def _ended(session: aiohttp.ClientSession, site: str, found: Stack) -> dict[str, Any]:
    """From SIGTERM to the end of the process, with fifty streams open."""
    begun: list[int] = []
    listeners = [asyncio.create_task(_listen(session, site, begun)) for _ in range(50)]
    await _until(lambda: len(begun) == 50)
    process = found.processes["dashboard"]
    at = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    await _until(lambda: process.returncode is not None)
    took = time.monotonic() - at
    for one in listeners:
        one.cancel()
    await asyncio.gather(*listeners, return_exceptions=True)
    return {"end_s": took}


async def _listen(session: aiohttp.ClientSession, site: str, begun: list[int]) -> None:
    async with session.get(f"{site}/live") as answer:
        begun.append(answer.status)
        async for _ in answer.content:
            pass


# -- the line ---------------------------------------------------------------------------------------------------------


async def _line_moves(found: Stack, site: str) -> dict[str, Any]:
    """From the moment that a document is pushed until the line of its company has moved in Chromium; nothing where there is none."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        chromium = None
    if chromium is None:
        return {"line_moves_s": None, "line_moves": []}
    producer = await open_producer(found.settings)
    took = []
    try:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
            )
            page = await browser.new_page()
            await page.goto(f"{site}/subjects/XNYS:BA")
            await page.wait_for_function("() => Number(document.getElementById('chart').dataset.drawn) > 0")
            await asyncio.sleep(-time.time() % 60 + 3)  # all within one minute: its count is what moves
            for number, text in enumerate(NEWS_OF_BOEING, start=1):
                begun = time.monotonic()
                one = _document(f"line{number}", "BA", text)
                await acknowledged([await producer.send(found.topology.name(NEWS), one, key=b"line")])
                await page.wait_for_function(
                    "(count) => document.getElementById('chart').dataset.last === count",
                    arg=str(number), timeout=SEEN_S * 1000,
                )  # fmt: skip
                took.append(time.monotonic() - begun)
                await asyncio.sleep(2.5)
            await browser.close()
    finally:
        await close_producer(producer)
    return {"line_moves_s": statistics.median(took), "line_moves": took}


async def _until(true: Callable[[], bool], most_s: float = 60.0) -> None:
    """Raises TimeoutError."""
    for _ in range(round(most_s / LOOK_S)):
        if true():
            return
        await asyncio.sleep(LOOK_S)
    raise TimeoutError


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _resident_mib(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def held(result: dict[str, Any]) -> dict[str, bool | None]:
    """Each required figure: kept, missed, or not measured."""
    found = {name: None if result[name] is None else result[name] <= most for name, most in REQUIRED.items()}
    return {
        **found,
        "the_501st": result["the_501st"] == 503,
        "frames": result["frames_that_all_got"] == result["frames"],
    }


def main(argv: list[str] | None = None) -> int:
    """0 where all that was measured is kept."""
    parser = argparse.ArgumentParser(
        prog="groundswell bench pages", description="What watching costs, and how soon it shows."
    )
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="one JSON object, numbers unrounded")
    asked = parser.parse_args(argv)
    result = asyncio.run(measured(asked.streams))
    result["held"] = held(result)
    if asked.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            most = f"   at most {REQUIRED[name]:g}" if name in REQUIRED else ""
            print(f"{name:<22} {value:.3g}{most}" if isinstance(value, float) else f"{name:<22} {value}{most}")
    return 1 if False in result["held"].values() else 0
