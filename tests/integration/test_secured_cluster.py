"""The contracts of claims, store, lanes and books once more, on three Redis nodes that share the slots.

What one script or one MULTI touches must lie in one slot, or a node refuses it; everything else must not mind where a key lies.
"""

from collections.abc import AsyncIterator, Iterator

import pytest

from groundswell.connect import RedisClient, open_redis
from groundswell.settings import Settings
from tests.contract.test_books import *  # noqa: F403
from tests.contract.test_claims import *  # noqa: F403
from tests.contract.test_lanes import *  # noqa: F403
from tests.contract.test_store import *  # noqa: F403
from tests.secured import redis_cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_cluster(tmp_path_factory.mktemp("cluster")) as ports:
        yield "redis+cluster://" + ",".join(f"127.0.0.1:{port}" for port in ports[:2])


@pytest.fixture
async def redis(cluster: str) -> AsyncIterator[RedisClient]:
    """An empty cluster, by the name that test_lanes.py has for it."""
    client = await open_redis(Settings(redis=cluster))
    await client.flushall(target_nodes=client.PRIMARIES)
    yield client
    await client.aclose()


@pytest.fixture
def store(redis: RedisClient) -> RedisClient:
    """For test_claims.py and test_books.py."""
    return redis


@pytest.fixture
def client(redis: RedisClient) -> RedisClient:
    """For test_store.py."""
    return redis
