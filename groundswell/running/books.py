"""Accounting that survives kill -9: a stage's counts are kept beside the offset they belong to.

Before a stage commits offset `o` it writes the counts of everything below `o` under the field `o`. After a crash it starts at the
committed offset and takes up the counts of exactly that offset, so what is read again is not counted again.
"""

from typing import Self

import msgspec
from msgspec import Struct

from groundswell.clients.connect import RedisClient
from groundswell.keys import Keys

NEWEST = b"newest"  # field with the counts of the highest offset noted
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
    """Note the counts of everything below `offset`; call it before the commit. `key` is Keys.books of one partition."""
    note = msgspec.json.encode(counts)
    pipeline = redis.pipeline(transaction=False)  # one HSET is whole by itself, and the shelf is in another slot
    pipeline.hset(key, mapping={str(offset): note, NEWEST: note})
    pipeline.hlen(key)
    pipeline.sadd(_shelf(key), key)
    _, length, _ = await pipeline.execute()
    if length > KEPT:
        offsets = sorted(int(field) for field in await redis.hkeys(key) if field != NEWEST)
        await redis.hdel(key, *(str(old) for old in offsets[: -KEPT // 2]))


async def resume(redis: RedisClient, key: str, offset: int) -> Counts:
    """The counts of what lies below `offset`, the first one read; a fresh partition starts at nothing.

    Offsets may have holes (markers, compaction), so the newest note at or below counts.
    """
    below = [int(field) for field in await redis.hkeys(key) if field != NEWEST and int(field) <= offset]
    raw = await redis.hget(key, str(max(below))) if below else None
    return _decode(raw) if raw else Counts()


async def total(redis: RedisClient, keys: Keys, stage: str) -> Counts:
    """The sum over all partitions of a stage of the newest counts of each. Two round trips: no walk over the key space."""
    first = keys.books(stage, "", "").rstrip(":")
    shelf = await redis.smembers(_shelf(first))
    pipeline = redis.pipeline(transaction=False)
    for key in sorted(key for key in shelf if key.startswith(first.encode() + b":")):
        pipeline.hget(key, NEWEST)
    whole = Counts()
    for raw in await pipeline.execute():
        if raw:
            whole += _decode(raw)
    return whole


def _shelf(key: str) -> str:
    """The set that lists all books of a namespace."""
    return key.partition(":books:")[0] + ":books"
