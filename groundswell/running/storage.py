"""How much Redis holds, and of how much; health.py says when that is too much."""

from typing import Any

from msgspec import Struct
from redis.exceptions import RedisError

from groundswell.clients.connect import RedisClient


class Storage(Struct, kw_only=True, frozen=True):
    """Redis. `used_bytes` None: it does not tell, as the embedded one."""

    version: str = ""
    nodes: int = 1
    used_bytes: int | None = None
    peak_bytes: int | None = None
    most_bytes: int | None = None  # what it may take; 0: all there is
    fullest: float = 0.0  # share of its maxmemory that the fullest node holds; 0 where none is set


async def storage(redis: RedisClient) -> Storage:
    """What INFO says, of all nodes together. The embedded Redis has no INFO and closes the connection that asks."""
    try:
        told: Any = await redis.info()
    except RedisError:
        await redis.connection_pool.disconnect()
        return Storage()
    nodes = [told] if "redis_version" in told else [one for one in told.values() if isinstance(one, dict)]
    return Storage(
        version=str(nodes[0].get("redis_version", "")) if nodes else "",
        nodes=len(nodes),
        used_bytes=_sum(nodes, "used_memory"),
        peak_bytes=_sum(nodes, "used_memory_peak"),
        most_bytes=_sum(nodes, "maxmemory"),
        fullest=max((one["used_memory"] / one["maxmemory"] for one in nodes if one.get("maxmemory")), default=0.0),
    )


def _sum(nodes: list[dict[str, Any]], name: str) -> int | None:
    found = [int(one[name]) for one in nodes if name in one]
    return sum(found) if found else None
