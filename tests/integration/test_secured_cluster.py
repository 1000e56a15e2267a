"""The contracts of claims, store, lanes and books once more, on three Redis nodes that share the slots.

What one script or one MULTI touches must lie in one slot, or a node refuses it; everything else must not mind where a key lies.
A hundred short tests, some of which go to one Redis again because they bring their own client: half a minute.
"""

from collections.abc import AsyncIterator, Iterator

import msgspec
import pytest

from groundswell.clients.connect import RedisClient, open_redis
from groundswell.keys import Keys
from groundswell.records import InboundDocument
from groundswell.running import beat
from groundswell.secrets import new_key
from groundswell.settings import Settings
from groundswell.shown import Shown
from stream.topology import NEWS
from tests.contract.test_books import *  # noqa: F403
from tests.contract.test_claims import *  # noqa: F403
from tests.contract.test_lanes import *  # noqa: F403
from tests.contract.test_store import *  # noqa: F403
from tests.secured import redis_cluster
from tests.stages import site, until


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


async def test_the_road_counts_and_shows_on_a_cluster_as_on_one_redis(cluster, kafka_address, topic_prefix, tmp_path):
    """Four processes on two cores: some fifteen seconds."""
    here = await site(kafka_address, cluster, topic_prefix, tmp_path, single_partition=False, secret_key=new_key())
    values = [
        msgspec.json.encode(
            InboundDocument(
                id=f"d{number}",
                source="Wire",
                author=f"a{number}",
                text=f"{number} 号：港湾锡业跌停，编号 {number * 7919}。",
            )
        )
        for number in range(300)
    ]
    await here.push(NEWS, [*values, *values[::10]])
    async with (
        here.stage("ingest") as ingest, here.stage("tag") as tag, here.stage("aggregate") as aggregate, here.stage("deliver") as deliver
    ):  # fmt: skip
        await here.until_read("ingest", 330)
        tagged = await here.until_read("tag", 330)
        assert (tagged.applied, tagged.duplicate) == (300, 30)
        counts = await here.until_read("aggregate", tagged.emitted)
        assert counts.applied == tagged.emitted
        assert (await here.books()).balanced
        client, keys = await open_redis(here.settings), Keys(topic_prefix)
        shown = Shown(client, keys, 64)

        async def all_there() -> bool:
            await shown.look()
            row = shown.rows.get("market")
            return row is not None and row.mentions_15 + row.negatives_15 > 0

        await until(all_there, "the market's row", lambda: shown.rows)

        async def all_beat() -> bool:
            return {one.stage for one in await beat.beats(client, keys)} == {"ingest", "tag", "aggregate", "deliver"}

        await until(all_beat, "a beat of each process")
        await client.aclose()
        for stage in (ingest, tag, aggregate, deliver):
            assert (await stage.terminated())[0] == 0, stage.said
            assert "redis_away" not in stage.said, stage.said
