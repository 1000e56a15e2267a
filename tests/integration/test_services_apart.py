"""Tests that share a Redis and a Kafka do not see each other: what tests/conftest.py promises."""

import redis


def test_each_test_has_an_empty_database_that_another_does_not_see(redis_url, redis_server):
    with redis.Redis.from_url(redis_url) as mine, redis.Redis.from_url(f"{redis_server}/0") as other:
        assert mine.dbsize() == 0
        mine.set("only-here", 1)
        assert other.get("only-here") is None


def test_topics_of_a_test_carry_its_prefix_on_a_real_broker(topic_prefix, kafka_address):
    from confluent_kafka.admin import AdminClient, NewTopic

    client = AdminClient({"bootstrap.servers": kafka_address})
    client.create_topics([NewTopic(f"{topic_prefix}.news", 2, 1)])[f"{topic_prefix}.news"].result(timeout=10)
    assert f"{topic_prefix}.news" in client.list_topics(timeout=10).topics
