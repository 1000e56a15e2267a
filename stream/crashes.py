"""Where a process was when it died: a record that ends the process before anybody can say so is found on the third time.

A life begins with a note that it lives, and takes it away when it ends in order. Who finds a note of another life goes carefully: one
record at a time, each noted before it is worked on, until a commit shows that the place was passed. So the first crash costs nothing
but a note a life; the second and the third name the record; the fourth life refuses it.
"""

from dataclasses import dataclass
from typing import Protocol

from redis.exceptions import RedisError

from groundswell.clients.connect import RedisClient
from groundswell.errors import Poison, RedisAway
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


class Footing:
    """How one life goes over one partition: freely, or one record at a time where the life before did not end in order.

    What writes a note raises Retryable, as `Crashes`.
    """

    def __init__(self, crashes: Crashes, partition: int) -> None:
        self._crashes, self._partition = crashes, partition
        self._died: Died | None = None
        self._first = UNKNOWN  # record that this life noted
        self._noted = UNKNOWN  # record that the note blames now

    async def begin(self) -> None:
        """Before the first record."""
        self._died = await self._crashes.begin(self._partition)

    async def end(self) -> None:
        """In order."""
        await self._crashes.end(self._partition)

    @property
    def careful(self) -> bool:
        """Whether `at` is to be called before each record."""
        return self._died is not None

    def poison(self, offset: int) -> Poison | None:
        """The reason to refuse a record unseen."""
        if self._died is None or self._died.offset != offset or self._died.times < DEADLY:
            return None
        return Poison(f"The process ended {self._died.times + 1} times at this record.")

    async def at(self, offset: int) -> None:
        """The next record is worked on."""
        before = self._died.times if self._died is not None and self._died.offset == offset else 0
        await self._crashes.at(self._partition, Died(offset, before + 1))
        self._noted = offset
        if self._first == UNKNOWN:
            self._first = offset

    async def forgive(self) -> None:
        """Somebody else is waited for: a process that ends meanwhile did not die of this record."""
        if self._died is not None:
            await self._crashes.at(self._partition, self._died)

    async def finished(self, end: int) -> None:
        """Everything below `end` is lasting: whoever dies now did not die of it."""
        if UNKNOWN < self._noted < end:
            self._noted = UNKNOWN
            await self._crashes.at(self._partition, Died(UNKNOWN, 0))

    def committed(self, end: int) -> None:
        """Nothing below `end` is read again. Beyond the first record, and beyond the one to blame, the road is clear."""
        if self._died is not None and end > max(self._first, self._died.offset):
            self._died = None


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
