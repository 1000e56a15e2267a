"""Notices that Redis lost everything: a random value lies there, and when it is gone or another, so is all that was kept beside it.

An aggregate that reads along would find out by its next commit; a quiet one, and the books of ingest and tag, only by looking. An operator
who wants everything counted anew writes another value (`begin`). Next: rebuild.py, what aggregate does then.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from redis.exceptions import RedisError

from groundswell.connect import RedisClient
from groundswell.keys import Keys
from groundswell.telemetry import log

LOOK_S = 1.0


@dataclass(frozen=True)
class Generation:
    """What state in Redis belongs to. `from_ms`: how far back a rebuild reads; 0: as far as `scored` goes."""

    id: str
    from_ms: int = 0


async def current(redis: RedisClient, keys: Keys) -> Generation:
    """The value that is there; the first who finds none makes one. Raises RedisError."""
    found = await redis.get(keys.generation)
    if found is None:
        await redis.set(keys.generation, f"{secrets.token_hex(8)}:0", nx=True)
        found = await redis.get(keys.generation) or b"none:0"  # lost again this instant: the next look tells
    return _read(found)


async def begin(redis: RedisClient, keys: Keys, from_ms: int = 0) -> Generation:
    """Make every scored partition be counted anew. Raises RedisError."""
    made = Generation(secrets.token_hex(8), from_ms)
    await redis.set(keys.generation, f"{made.id}:{made.from_ms}")
    return made


async def watch(redis: RedisClient, keys: Keys, changed: Callable[[Generation], Awaitable[None]]) -> None:
    """Until cancelled. `changed` is awaited with the first generation found and with each new one, and tried again while it
    fails with a RedisError."""
    known = ""
    while True:
        try:
            found = await current(redis, keys)
            if found.id != known:
                if known:
                    log().warning(
                        "redis_lost", known=known, found=found.id, hint="What was kept in Redis is built again."
                    )
                await changed(found)
                known = found.id
        except RedisError as error:  # the stage itself waits for it
            log().debug("redis_away", error=repr(error))
        await asyncio.sleep(LOOK_S)


def _read(raw: bytes) -> Generation:
    name, _, from_ms = raw.decode("ascii", "replace").partition(":")
    return Generation(name, int(from_ms) if from_ms.isdigit() else 0)
