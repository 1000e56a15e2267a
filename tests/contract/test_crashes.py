"""Notes of where processes were when they died, on real Redis and on the embedded one."""

import pytest
import redis.asyncio
from fakeredis import FakeAsyncRedis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from groundswell.errors import RedisAway
from groundswell.keys import Keys
from stream.crashes import UNKNOWN, Died, RedisCrashes


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
