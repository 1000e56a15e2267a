"""A deliver process of its own for each test."""

from collections.abc import AsyncIterator

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from groundswell.clients.connect import open_redis
from groundswell.secrets import new_key
from groundswell.settings import Settings
from stream.topology import Topology
from tests.delivery_road import Road


@pytest.fixture
async def road(kafka_address: str, topic_prefix: str, redis_url: str) -> AsyncIterator[Road]:
    settings = Settings(
        kafka=kafka_address,
        redis=redis_url,
        prefix=topic_prefix,
        secret_key=new_key(),
        deliver_http=True,
        deliver_timeout_s=2.0,
        drain_s=2.0,
    )
    topology = Topology(settings.prefix)
    wanted = {name: min(count, 12) for name, count in topology.wanted().items()}
    admin = AdminClient({"bootstrap.servers": kafka_address, "log_level": 0})
    for future in admin.create_topics([NewTopic(name, count, 1) for name, count in wanted.items()]).values():
        future.result(timeout=20)
    redis = await open_redis(settings)
    road = Road(settings, redis)
    yield road
    await road.kill()
    for close in road.closing:
        await close()
    for receiver in road.receivers:
        await receiver.stop()
    await redis.aclose()
