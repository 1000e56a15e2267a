"""Searches in processes of their own, since the pages' loop feeds hundreds of live streams that a search must not hold up.

`Sieves` is the pages' end, `main` the other: a request is a line of JSON on its standard input, the answer is frames on its standard output
(a kind, a length, the bytes). It lives until its input closes, so that it never outlives the pages, or until nobody searched for a while.
past.py does the looking.
"""

import asyncio
import contextlib
import os
import select
import struct
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain, islice
from typing import Any, Literal

import msgspec
from msgspec import Struct

from dashboard.archive import found
from dashboard.archive.past import Bounds, Log, Reach, look
from dashboard.archive.search import Query
from groundswell.errors import BrokerAway, GroundswellError, Retryable, WrongShape

AT_ONCE = 2  # processes; who comes while both are busy waits WAIT_S, then is told to come again
WAIT_S = 5.0
IDLE_S = 300.0
OVERTIME_S = 15.0  # beyond its own bounds: then a process is taken for stuck
DATA, END, WRONG = b"d", b"e", b"x"
_HEAD = struct.Struct(">cI")


class TooManySearches(Retryable):
    """All searchers are busy."""

    reason = "too_many_searches"
    remedy = "Try again in some seconds."


class Sift(Struct, frozen=True, kw_only=True):
    """What one search is: where to look, for what, how far, and in which form the answer is."""

    options: dict[str, Any]  # of librdkafka
    topic: str
    query: Query
    form: Literal["page", "csv", "jsonl"] = "page"
    cursor: str = ""
    bounds: Bounds
    future_ms: int | None = None


class Wrong(Struct, frozen=True):
    """An error on its way between the processes."""

    reason: str
    says: str
    remedy: str


def answer(log: Log, sift: Sift, monotonic_s: Callable[[], float]) -> Iterator[bytes]:
    """The answer in pieces. Raises BrokerAway, WrongShape."""
    reach = Reach()
    hits = look(log, sift.query, sift.cursor, sift.bounds, reach, monotonic_s, future_ms=sift.future_ms)
    if sift.form == "page":
        items = [found.item(one, sift.query.subject) for one in hits]
        yield msgspec.json.encode(
            {
                "items": items,
                "next": reach.next,
                "searched": reach.read,
                "searched_back_to": reach.back_to_ms or None,
                "more_came_later": reach.more_came_later,
            }
        )
        return
    written, ended = (found.csv_line, found.csv_end) if sift.form == "csv" else (found.json_line, found.json_end)
    first = list(islice(hits, 1))  # what is wrong shows before anything is written
    if sift.form == "csv":
        yield found.csv_head()
    for one in chain(first, hits):
        yield written(one)
    yield ended(reach, reach.next)


class Sieves:
    """At most AT_ONCE searching processes, started when first needed."""

    def __init__(self) -> None:
        self._seats = asyncio.Semaphore(AT_ONCE)
        self._export = asyncio.Semaphore(1)  # one seat is always free for pages
        self._resting: list[asyncio.subprocess.Process] = []

    async def page(self, sift: Sift) -> bytes:
        """One page of a search as JSON. Raises TooManySearches, BrokerAway, WrongShape."""
        return b"".join([piece async for piece in self.pieces(sift)])

    async def pieces(self, sift: Sift) -> AsyncIterator[bytes]:
        """The answer as it comes. Raises TooManySearches, BrokerAway, WrongShape before the first piece, or in the middle BrokerAway."""
        async with contextlib.AsyncExitStack() as seats:
            if sift.form != "page":
                await seats.enter_async_context(_seat(self._export))
            await seats.enter_async_context(_seat(self._seats))
            process = await self._ready()
            whole = False
            # Who takes an export too slowly, or not at all, loses the process, and with it the seat.
            watch = asyncio.get_running_loop().call_later(sift.bounds.most_s + OVERTIME_S, _kill, process)
            try:
                async for piece in _frames(process, sift):
                    yield piece
                whole = True
            finally:
                watch.cancel()
                if whole:
                    self._resting.append(process)
                else:  # stopped in the middle: what it still says is nobody's
                    await _end(process)

    async def close(self) -> None:
        while self._resting:
            await _end(self._resting.pop())

    async def _ready(self) -> asyncio.subprocess.Process:
        while self._resting:
            process = self._resting.pop()
            if process.returncode is None:
                return process
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dashboard.archive.sifting",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the command that started us all
        )  # fmt: skip


async def _frames(process: asyncio.subprocess.Process, sift: Sift) -> AsyncIterator[bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(msgspec.json.encode(sift) + b"\n")
        await process.stdin.drain()
        while True:
            kind, length = _HEAD.unpack(await process.stdout.readexactly(_HEAD.size))
            piece = await process.stdout.readexactly(length)
            if kind == DATA:
                yield piece
            elif kind == WRONG:
                raise _said(msgspec.json.decode(piece, type=Wrong))
            else:
                return
    except (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError) as error:
        raise BrokerAway(
            "The search did not answer in time.", remedy="Try again; a narrower span is quicker."
        ) from error


@contextlib.asynccontextmanager
async def _seat(seats: asyncio.Semaphore) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(WAIT_S):
            await seats.acquire()
    except TimeoutError as error:
        raise TooManySearches from error
    try:
        yield
    finally:
        seats.release()


async def _end(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    await process.wait()


def _kill(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()


def _said(wrong: Wrong) -> GroundswellError:
    kind = WrongShape if wrong.reason == WrongShape.reason else BrokerAway
    return kind(wrong.says, remedy=wrong.remedy)


# -- the other end -----------------------------------------------------------------------------------------------------


def main() -> None:
    """Answer sifts until standard input closes, or nobody asked for IDLE_S."""
    from dashboard.archive.tagged_log import TaggedLog

    os.nice(5)  # pages and live streams go first
    logs: dict[bytes, TaggedLog] = {}
    asked, out = sys.stdin.buffer, sys.stdout.buffer
    while select.select([asked], [], [], IDLE_S)[0]:
        line = asked.readline()
        if not line:
            return
        sift = msgspec.json.decode(line, type=Sift)
        place = msgspec.json.encode([sift.options, sift.topic])
        try:
            if place not in logs:
                logs.clear()
                logs[place] = TaggedLog(sift.options, sift.topic)
            for piece in _gathered(answer(logs[place], sift, time.monotonic)):
                out.write(_HEAD.pack(DATA, len(piece)) + piece)
                out.flush()
            out.write(_HEAD.pack(END, 0))
        except GroundswellError as error:
            logs.clear()  # the next one begins with a new connection
            raw = msgspec.json.encode(Wrong(error.reason, str(error), error.remedy))
            out.write(_HEAD.pack(WRONG, len(raw)) + raw)
        out.flush()


def _gathered(pieces: Iterator[bytes], least: int = 32_768) -> Iterator[bytes]:
    """Small pieces together, so that a row is not a write."""
    waiting: list[bytes] = []
    for piece in pieces:
        waiting.append(piece)
        if sum(map(len, waiting)) >= least:
            yield b"".join(waiting)
            waiting.clear()
    if waiting:
        yield b"".join(waiting)


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):
        main()
