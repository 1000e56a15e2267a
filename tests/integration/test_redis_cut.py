"""A Redis that is killed and comes back without the end of its log: an older state, whole in itself, from which aggregate reads on.

What a crash with `appendfsync everysec` may cost is cut off the file by hand, since a killed process alone loses nothing to the kernel.
"""

import asyncio
import random
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import ConstantBackoff
from redis.exceptions import RedisError

from groundswell.clock import ManualClock
from groundswell.errors import ClaimsLost, Fenced
from groundswell.records import Document, Source
from groundswell.settings import Settings
from stream import generation
from stream.claims import Claim, claim
from stream.reclaim import Mark, Reclaim
from stream.topology import Topology
from tests.conftest import missing
from tests.contract.test_rebuild import KEYS, NOON_MS, Aggregate, Step, World, buckets, live, record, story

UP_S = 10.0
LINES = 1_000


class Server:
    """A redis-server with a log of its own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        self._process = subprocess.Popen(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--save", "",
             "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0", "--daemonize", "no"],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        client = redis.asyncio.Redis.from_url(self.url)
        async with asyncio.timeout(UP_S):
            while True:
                with suppress(RedisError, OSError):
                    if await client.ping():
                        break
                await asyncio.sleep(0.05)
        await client.aclose()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    async def lose_the_end(self, size: int) -> None:
        """Power off, the last `size` bytes of the log gone, power on."""
        self.kill()
        (log,) = (self._folder / "appendonlydir").glob("*.incr.aof")
        with log.open("r+b") as file:
            file.truncate(max(log.stat().st_size - size, 0))
        await self.start()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    if shutil.which("redis-server") is None:
        missing("No redis-server on the PATH: install it, or run 'make services'.")
    found = Server(tmp_path)
    await found.start()
    yield found
    found.kill()


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Any]:
    connection = redis.asyncio.Redis.from_url(server.url, retry=Retry(ConstantBackoff(0.1), 20))
    yield connection
    await connection.aclose()


async def cut(client: Any, server: Server, steps: list[Step], at: dict[int, int]) -> tuple[Aggregate, int]:
    """As `live` without losses, but at some steps so many bytes of Redis are gone; and how many commits went with them."""
    gone = 0
    world, clock = World(), ManualClock(NOON_MS)
    await client.flushdb()
    await generation.begin(client, KEYS)
    one = Aggregate(world, client, clock)
    await one.read()
    for number, step in enumerate(steps):
        clock.advance(NOON_MS / 1000 + step.at_s - clock.now_ms() / 1000)
        if step.documents:
            world.log.append(record(len(world.log), step))
            await one.read()
        else:
            await one.tick()
        if number in at:
            await server.lose_the_end(at[number])
            gone += one.part.revision - int(await client.hget(KEYS.state(0), "rev"))
            await one.tick()  # within half a second: before anything else comes
        if number % 5 == 0:
            await one.relay()
    await one.tick()
    await one.relay()
    return one, gone


@pytest.mark.parametrize("seed", [1, 2])
async def test_what_redis_forgot_is_read_again_and_nothing_counts_twice(client: Any, server: Server, seed: int) -> None:
    steps, chance = story(seed)[:LINES], random.Random(seed)
    calm = await live(client, steps)
    wanted, told = await buckets(client), set(calm.world.told)
    assert told
    at = {number: chance.randrange(1, 30_000) for number in chance.sample(range(200, len(steps)), 5)}
    broken, gone = await cut(client, server, steps, at)
    assert gone >= len(at), "something was lost each time"
    assert await buckets(client) == wanted
    assert set(broken.world.told) == told, "no alert of another id; one may be published again under its own"
    assert broken.part.window.counts == calm.part.window.counts


async def test_nobody_claims_after_a_restart_until_the_last_seconds_are_written_again(
    client: Any, server: Server
) -> None:
    reclaim = Reclaim(Settings(), Topology("ns"), client, ManualClock(NOON_MS))
    await client.set(KEYS.claims, msgspec.json.encode(Mark(await generation.life(client), "first", whole=True)))
    await reclaim.look()
    before = reclaim.standing
    read = [(Source(0, number), document(number)) for number in range(20)]
    await claim(client, KEYS, read, sure=partial(reclaim.sure, before))
    reclaim.wrote([src for src, _ in read[:10]])
    await server.lose_the_end(1_500)
    left = [await client.hlen(key) async for key in client.scan_iter(match="ns:c:*")]
    assert sum(left) < len(read), "some are gone"
    again = [(Source(0, number + 100), one) for number, (_, one) in enumerate(read)]
    with pytest.raises(ClaimsLost):
        await claim(client, KEYS, again, sure=partial(reclaim.sure, before))
    await client.set(f"{KEYS.claims}:by", "another")  # reads back from `tagged`, and is done:
    await client.set(KEYS.claims, msgspec.json.encode(Mark(await generation.life(client), "first", whole=True)))
    await reclaim.look()
    answers = await claim(client, KEYS, again, sure=partial(reclaim.sure, reclaim.standing))
    assert {answer.claim for answer in answers} == {Claim.DUPLICATE}


async def test_a_quiet_partition_reads_on_from_where_a_restarted_redis_stands(client: Any, server: Server) -> None:
    steps = [step for step in story(1)[:200] if step.documents]
    calm = await live(client, steps)
    wanted = await buckets(client)
    world, clock = World(), ManualClock(NOON_MS)
    await client.flushdb()
    await generation.begin(client, KEYS)
    one = Aggregate(world, client, clock)
    for step in steps:
        world.log.append(record(len(world.log), step))
        await one.read()
    await server.lose_the_end(3_000)
    assert await buckets(client) != wanted
    await one.work.lost(await generation.current(client, KEYS))
    with pytest.raises(Fenced):
        await one.work.idle(0, caught_up=True)
    one.at = None
    await one.tick()
    assert await buckets(client) == wanted
    assert one.part.window.counts == calm.part.window.counts


def document(number: int) -> Document:
    words = " ".join(f"w{number * 37 + i * 101}" for i in range(12))
    return Document(id=f"d{number}", text=words, published_at=NOON_MS, ingested_at=NOON_MS)
