"""Reads alerts as Redis has them, one AlertView an episode: pages and commands read them here. stream/relay.py writes them.

What is absent is left out, and what is not in our shape too, with a line in the log: one bad record must not blind anybody to the others.
"""

from collections.abc import Sequence

import msgspec
from redis.exceptions import RedisError

from groundswell.clients.connect import RedisClient
from groundswell.errors import RedisAway
from groundswell.keys import Keys
from groundswell.records import AlertView
from groundswell.telemetry import log

_decode = msgspec.json.Decoder(AlertView).decode


async def one(redis: RedisClient, keys: Keys, episode: str) -> AlertView | None:
    """The alert of an episode, however old. Raises RedisAway."""
    return next(iter(await several(redis, keys, [episode])), None)


async def newest(redis: RedisClient, keys: Keys, most: int) -> list[AlertView]:
    """At most so many of those that are listed, newest first. Raises RedisAway."""
    try:
        names = await redis.zrevrange(keys.alerts, 0, most - 1)
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
    return await several(redis, keys, [name.decode() for name in names])


async def several(redis: RedisClient, keys: Keys, episodes: Sequence[str]) -> list[AlertView]:
    """Those of these episodes that are there, in the same order. Raises RedisAway."""
    if not episodes:
        return []
    try:
        raw = await redis.mget([keys.alert(episode) for episode in episodes])
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
    return [view for found in raw if (view := decoded(found)) is not None]


def decoded(raw: bytes | None) -> AlertView | None:
    """None for one that is absent or unreadable."""
    if raw is None:
        return None
    try:
        return _decode(raw)
    except msgspec.DecodeError as error:
        log().warning("alert_unreadable", error=str(error)[:200])
        return None
