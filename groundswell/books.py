"""Accounting that survives kill -9: a stage's counts are kept beside the offset they belong to.

Before a stage commits offset `o` it writes the counts of everything below `o` under the field `o`. After a crash it starts at the
committed offset and takes up the counts of exactly that offset, so what is read again is not counted again.
"""

from typing import Self

import msgspec
from msgspec import Struct

from groundswell.connect import RedisClient

KEPT = 4_000  # notes kept; the older half goes. A commit trails by seconds, and a busy partition makes 200 notes in one


class Counts(Struct, kw_only=True):
    """The books of one stage, or of one of its partitions."""

    read: int = 0
    applied: int = 0
    duplicate: int = 0
    late: int = 0
    dead_lettered: int = 0
    in_flight: int = 0
    emitted: int = 0  # outputs written: documents by ingest, rows by tag

    def __iadd__(self, other: "Counts") -> Self:
        for field in self.__struct_fields__:
            setattr(self, field, getattr(self, field) + getattr(other, field))
        return self

    @property
    def balanced(self) -> bool:
        return self.read == self.applied + self.duplicate + self.late + self.dead_lettered + self.in_flight


_decode = msgspec.json.Decoder(Counts).decode


async def keep(redis: RedisClient, key: str, offset: int, counts: Counts) -> None:
    """Note the counts of everything below `offset`; call it before the commit."""
    await redis.hset(key, str(offset), msgspec.json.encode(counts))
    if await redis.hlen(key) > KEPT:
        offsets = sorted(int(field) for field in await redis.hkeys(key))
        await redis.hdel(key, *(str(old) for old in offsets[: -KEPT // 2]))


async def resume(redis: RedisClient, key: str, offset: int) -> Counts:
    """The counts of what lies below `offset`, the first one read; a fresh partition starts at nothing.

    Offsets may have holes (markers, compaction), so the newest note at or below counts.
    """
    below = [int(field) for field in await redis.hkeys(key) if int(field) <= offset]
    raw = await redis.hget(key, str(max(below))) if below else None
    return _decode(raw) if raw else Counts()


async def total(redis: RedisClient, pattern: str, committed: dict[str, int] | None = None) -> Counts:
    """The sum over all partitions of the newest counts of each (`committed`: of that offset, by key)."""
    whole = Counts()
    async for key in redis.scan_iter(match=pattern, count=500):
        fields = await redis.hgetall(key)
        name = key.decode() if isinstance(key, bytes) else key
        wanted = (committed or {}).get(name)
        newest = max(fields, key=int) if wanted is None else str(wanted).encode()
        if newest in fields:
            whole += _decode(fields[newest])
    return whole
