"""Notices what Redis lost: everything, when the random value that lies there is gone or another; its last second, when it began anew.

An aggregate that reads along would find out by its next commit; a quiet one, and the books of ingest and tag, only by looking. An operator
who wants everything counted anew writes another value (`begin`). Next: rebuild.py, what aggregate does then; reclaim.py, what tag does.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakSet

from redis.exceptions import RedisError, ResponseError

from groundswell.clients.connect import RedisClient
from groundswell.keys import Keys
from groundswell.telemetry import log

LOOK_S = 1.0

_silent: WeakSet[Any] = WeakSet()  # clients of servers that do not say which life theirs is


@dataclass(frozen=True)
class Generation:
    """What state in Redis belongs to. `from_ms`: how far back a rebuild reads; 0: as far as `scored` goes. `life`: of the server."""

    id: str
    from_ms: int = 0
    life: str = ""


async def current(redis: RedisClient, keys: Keys) -> Generation:
    """The value that is there; the first who finds none makes one. Raises RedisError."""
    found = await redis.get(keys.generation)
    if found is None:
        await redis.set(keys.generation, f"{secrets.token_hex(8)}:0", nx=True)
        found = await redis.get(keys.generation) or b"none:0"  # lost again this instant: the next look tells
    return replace(_read(found), life=await life(redis))


async def life(redis: RedisClient) -> str:
    """What is another once a server was started again, or a replica took its place: until then nothing was lost but by a command. Empty
    where servers do not say. Raises RedisError."""
    if redis in _silent:
        return ""
    options = {"target_nodes": redis.PRIMARIES} if hasattr(redis, "PRIMARIES") else {}
    try:
        told = await redis.info("server", **options)
    except ResponseError:  # embedded: it closes the connection on which it said so, and never loses a second alone
        _silent.add(redis)
        await redis.connection_pool.disconnect(inuse_connections=False)
        return ""
    return "+".join(sorted(str(one.get("run_id", "")) for one in (told.values() if options else [told])))


async def begin(redis: RedisClient, keys: Keys, from_ms: int = 0) -> Generation:
    """Make every scored partition be counted anew. Raises RedisError."""
    made = Generation(secrets.token_hex(8), from_ms)
    await redis.set(keys.generation, f"{made.id}:{made.from_ms}")
    return replace(made, life=await life(redis))


async def watch(redis: RedisClient, keys: Keys, changed: Callable[[Generation], Awaitable[None]]) -> None:
    """Until cancelled. `changed` is awaited with the first generation found, with each new one and after each new start of the
    server, and tried again while it fails with a RedisError."""
    known: Generation | None = None
    while True:
        try:
            found = await current(redis, keys)
            if found != known:
                if known is not None and found.id != known.id:
                    log().warning(
                        "redis_lost", known=known.id, found=found.id, hint="What was kept in Redis is built again."
                    )
                elif known is not None:
                    log().warning(
                        "redis_restarted",
                        hint="It may have lost its last second: each partition begins where it stands.",
                    )
                await changed(found)
                known = found
        except RedisError as error:  # the stage itself waits for it
            log().debug("redis_away", error=repr(error))
        await asyncio.sleep(LOOK_S)


def _read(raw: bytes) -> Generation:
    name, _, from_ms = raw.decode("ascii", "replace").partition(":")
    return Generation(name, int(from_ms) if from_ms.isdigit() else 0)
