"""A process says every two seconds that it lives, what it holds and how it fares; health, watch and the pages read it."""

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from groundswell.clients.connect import RedisClient
from groundswell.clock import Clock
from groundswell.decisions import Stage
from groundswell.keys import Keys

EVERY_S = 2.0
EXPIRES_S = 10


class Beat(Struct, kw_only=True, frozen=True):
    """One process now. `state` is one word: starting, running, slow, warming, draining; `note` a sentence for people."""

    stage: str
    instance: str
    pid: int
    at: int
    state: str = "running"
    in_flight: int = 0
    lag: int = 0  # messages behind the end of its input
    note: str = ""
    rules: str = ""  # revision of the rules in force, of a process that runs some
    model: str = ""  # version of the model, of a process that has one
    warming: int = 0  # partitions that are counted again,
    warmed: float = 0.0  # and the share of them that is read
    canary_at: int = 0  # when the newest canary that came the whole road was written
    drill: str = ""  # how the last fire drill ended: alerted, missed
    drill_at: int = 0  # and when that was known


def fares(note: str, slow: str) -> dict[str, str]:
    """State and note of a process that may have a slow partition."""
    return {"state": "slow", "note": f"{note}; {slow}"} if slow else {"note": note}


async def keep_beating(
    redis: RedisClient, keys: Keys, clock: Clock, stage: Stage, look: Callable[[], dict[str, Any]]
) -> None:
    """Until cancelled. `look` gives the fields that change; a Redis that is away costs a beat, nothing else."""
    instance = f"{socket.gethostname()}-{os.getpid()}"  # the number alone is 1 in every container
    while True:
        with suppress(RedisError):  # the stage itself notices and says so
            await say(redis, keys, Beat(stage=stage, instance=instance, pid=os.getpid(), at=clock.now_ms(), **look()))
        await asyncio.sleep(EVERY_S)


async def say(redis: RedisClient, keys: Keys, beat: Beat) -> None:
    """One beat."""
    key = keys.beat(beat.stage, beat.instance)
    pipeline = redis.pipeline(transaction=False)
    pipeline.set(key, msgspec.json.encode(beat), ex=EXPIRES_S)
    pipeline.sadd(keys.beats, key)
    await pipeline.execute()


async def beats(redis: RedisClient, keys: Keys) -> list[Beat]:
    """All processes that beat within the last ten seconds, by stage and instance. Forgets those that did not."""
    names = sorted(await redis.smembers(keys.beats))
    said = await redis.mget(names) if names else []
    gone = [name for name, raw in zip(names, said, strict=True) if raw is None]
    if gone:
        await redis.srem(keys.beats, *gone)
    found = [msgspec.json.decode(raw, type=Beat) for raw in said if raw is not None]
    return sorted(found, key=lambda beat: (beat.stage, beat.instance))
