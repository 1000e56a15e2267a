"""Where a process was when it died: a record that ends the process before anybody can say so is found on the third time.

A life begins with a note that it lives, and takes it away when it ends in order. Who finds a note of another life goes carefully: one
record at a time, each noted before it is worked on, until a commit shows that the place was passed. So the first crash costs nothing
but a note a life; the second and the third name the record; the fourth life refuses it.
"""

from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from groundswell.connect import RedisClient
from groundswell.errors import RedisAway
from groundswell.keys import Keys

UNKNOWN = -1  # the life was not a careful one
DEADLY = 2  # noted deaths at one record; the one before them was not noted, which makes three


@dataclass(frozen=True)
class Died:
    """The record at which a life ended, and how many ended there."""

    offset: int
    times: int


class Crashes(Protocol):
    """Notes of one topic, by partition. All raise Retryable."""

    async def begin(self, partition: int) -> Died | None:
        """A life begins; where the one before ended, if it did not end in order."""
        ...

    async def at(self, partition: int, here: Died) -> None:
        """What the next life is to find if this one ends now."""
        ...

    async def end(self, partition: int) -> None:
        """This life ends in order."""
        ...


class RedisCrashes:
    """Notes in one hash a topic: partition -> offset:times. A lost note costs one more crash."""

    def __init__(self, redis: RedisClient, keys: Keys, topic: str) -> None:
        self._redis, self._key = redis, keys.crashes(topic)

    async def begin(self, partition: int) -> Died | None:
        try:
            found = await self._redis.hget(self._key, partition)
            if found is None:
                await self._redis.hset(self._key, partition, f"{UNKNOWN}:0")
        except RedisError as error:
            raise RedisAway(f"Redis failed while a partition was taken up: {error!r}.") from error
        if found is None:
            return None
        offset, _, times = found.decode().rpartition(":")
        return Died(int(offset), int(times))

    async def at(self, partition: int, here: Died) -> None:
        try:
            await self._redis.hset(self._key, partition, f"{here.offset}:{here.times}")
        except RedisError as error:
            raise RedisAway(f"Redis failed while a record was noted: {error!r}.") from error

    async def end(self, partition: int) -> None:
        try:
            await self._redis.hdel(self._key, partition)
        except RedisError as error:
            raise RedisAway(f"Redis failed while a partition was left: {error!r}.") from error
