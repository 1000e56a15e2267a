"""Receivers of webhooks, as many as wanted, in one process of their own: they verify nothing and note what came when.

`python -m bench.deliver_receivers '["healthy", "slow", ...]'` prints one JSON line with its port and one on which nobody listens,
and lives until its standard input closes. Endpoint n is /hook/n. `Receivers` is the other end of that; next: deliver_road.py.
"""

import asyncio
import json
import random
import socket
import sys
import time
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import aiohttp
import msgspec
from aiohttp import web

SLOW_S = 5.0
FLAP_S = 2.0  # well for so long, then ill for so long
HALF_MOST = 3  # tries of one event that are refused by chance
BODY_BYTES = 65_536
# What an endpoint does. A dead one has an address on which nobody listens.
HEALTHY, SLOW, FLAPS, BROKEN, HALF, DEAD = "healthy", "slow", "flaps", "broken", "half", "dead"


class Arrival(NamedTuple):
    """One request that came. `at_s` is of time.monotonic(), which all processes of a machine share."""

    endpoint: int
    at_s: float
    id: str
    episode: str
    sequence: int
    status: int


class _Data(msgspec.Struct):
    episode_id: str
    sequence: int


class _Event(msgspec.Struct):
    type: str
    data: _Data


@dataclass
class Receivers:
    """The running process."""

    port: int
    nobody: int  # a port on which nobody listens
    pid: int
    behaviours: list[str]
    session: aiohttp.ClientSession

    def url(self, endpoint: int) -> str:
        """Where alerts for endpoint n go."""
        port = self.nobody if self.behaviours[endpoint] == DEAD else self.port
        return f"http://127.0.0.1:{port}/hook/{endpoint}"

    @property
    def allowed(self) -> list[str]:
        """For the setting deliver_allow."""
        return [f"127.0.0.1:{self.port}", f"127.0.0.1:{self.nobody}"]

    async def accepted(self) -> list[int]:
        """How many alerts each endpoint took, one that came twice counted once; what deliver says of endpoints is not counted."""
        async with self.session.get(f"http://127.0.0.1:{self.port}/accepted") as response:
            found: list[int] = await response.json()
            return found

    async def behave(self, behaviours: Sequence[str]) -> None:
        """From now on. What is dead stays dead."""
        self.behaviours = list(behaviours)
        async with self.session.post(f"http://127.0.0.1:{self.port}/behave", json=self.behaviours) as response:
            response.raise_for_status()

    async def arrivals(self) -> list[Arrival]:
        """All that came so far, in order."""
        async with self.session.get(f"http://127.0.0.1:{self.port}/arrivals") as response:
            ids, *columns = msgspec.msgpack.decode(await response.read())
        endpoints, times_s, numbers, statuses = (_column(kind, raw) for kind, raw in zip("HdIH", columns, strict=True))
        return [
            Arrival(endpoint, at_s, ids[number][0], ids[number][1], ids[number][2], status)
            for endpoint, at_s, number, status in zip(endpoints, times_s, numbers, statuses, strict=True)
        ]


@asynccontextmanager
async def receivers(behaviours: Sequence[str]) -> AsyncIterator[Receivers]:
    """Start them; they are gone when the block ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.deliver_receivers", json.dumps(list(behaviours)),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        ports = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            yield Receivers(**ports, pid=process.pid, behaviours=list(behaviours), session=session)
    finally:
        process.stdin.close()
        try:
            await asyncio.wait_for(process.wait(), 5)
        except TimeoutError:
            process.kill()
            await process.wait()


class _Process:
    """The child: what came is kept in columns, since there may be millions."""

    def __init__(self, behaviours: Sequence[str]) -> None:
        self.behaviours = list(behaviours)
        self.accepted: list[set[int]] = [set() for _ in behaviours]
        self.numbers: dict[str, int] = {}
        self.alerts: set[int] = set()
        self.ids: list[tuple[str, str, int]] = []
        self.endpoints, self.times_s, self.seen, self.statuses = array("H"), array("d"), array("I"), array("H")
        self.tried: Counter[tuple[int, int]] = Counter()

    async def take(self, request: web.Request) -> web.Response:
        body = await request.read()
        at_s = time.monotonic()
        endpoint, name = int(request.match_info["endpoint"]), request.headers.get("webhook-id", "")
        number = self.numbers.get(name)
        if number is None:
            number = self.numbers[name] = len(self.ids)
            found = msgspec.json.decode(body, type=_Event)
            self.ids.append((name, found.data.episode_id, found.data.sequence))
            if found.type.startswith("alert."):
                self.alerts.add(number)
        behaviour = self.behaviours[endpoint]
        if behaviour == SLOW:
            await asyncio.sleep(SLOW_S)
        status = self.answer(behaviour, at_s, endpoint, number)
        self.endpoints.append(endpoint)
        self.times_s.append(at_s)
        self.seen.append(number)
        self.statuses.append(status)
        if status < 300 and number in self.alerts:
            self.accepted[endpoint].add(number)
        return web.Response(status=status)

    def answer(self, behaviour: str, at_s: float, endpoint: int, number: int) -> int:
        if behaviour == BROKEN:
            return 500
        if behaviour == FLAPS:
            return 503 if int(at_s / FLAP_S) % 2 else 204
        if behaviour == HALF:  # by the try, so that a run is the same whatever the order; none is refused for ever
            self.tried[endpoint, number] += 1
            tried = self.tried[endpoint, number]
            return 503 if tried <= HALF_MOST and random.Random(f"{endpoint} {number} {tried}").random() < 0.5 else 204
        return 204

    async def give(self, _: web.Request) -> web.Response:
        columns = [part.tobytes() for part in (self.endpoints, self.times_s, self.seen, self.statuses)]
        return web.Response(body=msgspec.msgpack.encode([self.ids, *columns]))

    async def count(self, _: web.Request) -> web.Response:
        return web.json_response([len(numbers) for numbers in self.accepted])

    async def behave(self, request: web.Request) -> web.Response:
        self.behaviours = await request.json()
        return web.Response()

    async def run(self) -> None:
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_post(r"/hook/{endpoint:\d+}", self.take)
        app.router.add_get("/arrivals", self.give)
        app.router.add_get("/accepted", self.count)
        app.router.add_post("/behave", self.behave)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        # Bound and not listening: a connection there is refused, and nobody else can take the port meanwhile.
        with socket.socket() as nobody:
            nobody.bind(("127.0.0.1", 0))
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=1_024).start()
            sys.stdout.write(json.dumps({"port": runner.addresses[0][1], "nobody": nobody.getsockname()[1]}) + "\n")
            sys.stdout.flush()
            await asyncio.get_running_loop().run_in_executor(None, sys.stdin.buffer.read)
        await runner.cleanup()


def _column(kind: str, raw: bytes) -> "array[Any]":
    found: array[Any] = array(kind)
    found.frombytes(raw)
    return found


if __name__ == "__main__":
    asyncio.run(_Process(json.loads(sys.argv[1])).run())
