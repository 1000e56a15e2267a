"""Notes of where processes were when they died, on real Redis and on the embedded one."""

import pytest
import redis.asyncio
from fakeredis import FakeAsyncRedis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from groundswell.errors import RedisAway
from groundswell.keys import Keys
from stream.crashes import UNKNOWN, Died, Footing, RedisCrashes


@pytest.fixture(params=["fakeredis", "redis"])
async def store(request: pytest.FixtureRequest):
    real = request.param == "redis"
    client = redis.asyncio.Redis.from_url(request.getfixturevalue("redis_url")) if real else FakeAsyncRedis()
    yield client
    await client.aclose()


def notes(store) -> RedisCrashes:
    return RedisCrashes(store, Keys("t"), "documents")


async def test_a_life_that_ended_in_order_leaves_nothing_to_find(store):
    assert await notes(store).begin(3) is None
    await notes(store).end(3)
    assert await notes(store).begin(3) is None


async def test_a_life_that_ended_otherwise_is_found_with_its_place_and_only_on_its_partition(store):
    assert await notes(store).begin(3) is None
    assert await notes(store).begin(3) == Died(UNKNOWN, 0)
    await notes(store).at(3, Died(12_345_678_901, 2))
    assert await notes(store).begin(3) == Died(12_345_678_901, 2)
    assert await notes(store).begin(4) is None


async def test_a_redis_that_is_away_is_told_as_such():
    gone = RedisCrashes(redis.asyncio.Redis(port=1, retry=Retry(NoBackoff(), 0)), Keys("t"), "documents")
    for call in (gone.begin(0), gone.at(0, Died(1, 1)), gone.end(0)):
        with pytest.raises(RedisAway):
            await call


class Life:
    """One process on partition 3, which notes what it is about to work on."""

    def __init__(self, store) -> None:
        self.footing = Footing(notes(store), 3)

    async def begin(self) -> "Life":
        await self.footing.begin()
        return self

    async def over(self, *offsets: int) -> list[int]:
        """What it refuses of these; it is in the middle of the last when this returns."""
        refused = []
        for offset in offsets:
            if self.footing.careful and self.footing.poison(offset):
                refused.append(offset)
            elif self.footing.careful:
                await self.footing.at(offset)
        return refused


async def test_the_record_on_which_three_lives_end_is_refused_by_the_fourth_and_its_neighbours_are_not(store):
    for _ in range(3):
        life = await Life(store).begin()
        assert await life.over(7, 8, 9) == []
    last = await Life(store).begin()
    assert await last.over(7, 8, 9, 10) == [9]
    assert "ended 3 times" in str(last.footing.poison(9))


async def test_a_first_life_and_one_after_an_end_in_order_note_nothing(store):
    for _ in range(2):
        life = await Life(store).begin()
        assert not life.footing.careful
        await life.footing.end()


async def test_what_is_finished_is_not_blamed_for_the_next_death(store):
    await Life(store).begin()
    for _ in range(5):
        life = await Life(store).begin()
        assert await life.over(7) == []
        await life.footing.finished(8)


async def test_a_commit_past_the_place_ends_the_care_and_not_one_before_it(store):
    await Life(store).begin()
    await (await Life(store).begin()).over(7, 8, 9)
    life = await Life(store).begin()
    await life.over(7)
    life.footing.committed(8)
    assert life.footing.careful, "the record to blame lies ahead"
    await life.over(8, 9)
    await life.footing.finished(10)
    life.footing.committed(10)
    assert not life.footing.careful
    again = await Life(store).begin()
    assert await again.over(9, 10) == []


async def test_a_death_somewhere_else_between_costs_a_life_and_no_neighbour(store):
    await Life(store).begin()
    for offsets in ((7, 8, 9), (7,), (7, 8, 9), (7, 8, 9)):
        assert await (await Life(store).begin()).over(*offsets) == []
    assert await (await Life(store).begin()).over(7, 8, 9) == [9]
