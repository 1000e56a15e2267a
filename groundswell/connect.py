"""Kafka and Redis clients made from the settings, started, with our deadlines. The only place that makes them.

An idempotent batch never expires inside aiokafka, so every wait for an acknowledgement has our own deadline (`acknowledged`),
and a failure there ends the process: later sends would overtake the failed one and turn into silent loss.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from groundswell.errors import BadSetting, BrokerAway, ProduceFailed, RedisAway, UnfitRedis
from groundswell.settings import Settings

RedisClient = Any  # redis.asyncio.Redis: its stubs call every reply str or bytes, with this configuration all are bytes

MAX_MESSAGE_BYTES = 1_048_576
ACKNOWLEDGE_S = 30.0


def kafka_options(settings: Settings) -> dict[str, Any]:
    """Connection options that producers, consumers and Faust's transport share."""
    options: dict[str, Any] = {"bootstrap_servers": settings.kafka, "security_protocol": settings.kafka_security}
    if settings.kafka_security.startswith("SASL"):
        options |= {
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": settings.kafka_password,
        }
    if settings.kafka_security.endswith("SSL"):
        options["ssl_context"] = ssl.create_default_context()
    return options


async def open_producer(settings: Settings) -> AIOKafkaProducer:
    """A started idempotent producer. Raises BrokerAway."""
    producer = AIOKafkaProducer(
        **kafka_options(settings),
        enable_idempotence=True,
        acks="all",
        compression_type="zstd",
        linger_ms=5,
        max_batch_size=262_144,
        max_request_size=MAX_MESSAGE_BYTES,
        request_timeout_ms=20_000,
    )
    await _start(producer, settings)
    return producer


async def open_consumer(
    settings: Settings, group: str | None, topics: Sequence[str] = (), **options: Any
) -> AIOKafkaConsumer:
    """A started consumer that commits nothing by itself. Raises BrokerAway."""
    consumer = AIOKafkaConsumer(
        *topics,
        **kafka_options(settings),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        heartbeat_interval_ms=500,
        session_timeout_ms=10_000,
        max_partition_fetch_bytes=2 * MAX_MESSAGE_BYTES,
        **options,
    )
    await _start(consumer, settings)
    return consumer


async def open_redis(settings: Settings) -> RedisClient:
    """A client that answers. Raises RedisAway, UnfitRedis, BadSetting."""
    try:
        redis: RedisClient = Redis.from_url(
            settings.redis, socket_timeout=10, socket_connect_timeout=5, health_check_interval=15
        )
    except ValueError as error:
        raise BadSetting(
            f"The Redis address {_shown(settings.redis)!r} is not one: {error}.", remedy="Write redis://host:port/0."
        ) from error
    try:
        async with asyncio.timeout(settings.connect_s):
            await redis.ping()
    except (RedisConnectionError, OSError, TimeoutError) as error:
        await redis.aclose()
        raise RedisAway(f"Redis does not answer at {_shown(settings.redis)}: {error}.") from error
    except RedisError as error:
        await redis.aclose()
        raise RedisAway(f"Redis at {_shown(settings.redis)} refuses us: {error}.") from error
    try:
        told = await redis.info()
    except RedisError:
        # Embedded: it has no INFO and never evicts; and it closes the connection on which it said so.
        await redis.connection_pool.disconnect()
        return redis
    policy, version = told.get("maxmemory_policy", "noeviction"), str(told.get("redis_version", "7"))
    if policy != "noeviction" or int(version.partition(".")[0]) < 7:
        await redis.aclose()
        raise UnfitRedis(f"Redis {version} with maxmemory-policy {policy} does not keep what it is given.")
    return redis


def _shown(url: str) -> str:
    """An address without its password, for messages."""
    return url.rpartition("@")[2]


async def acknowledged(waiting: "Sequence[asyncio.Future[Any]]") -> None:
    """Wait until the broker has acknowledged every send. Raises ProduceFailed, after which the process must end."""
    if not waiting:
        return
    try:
        async with asyncio.timeout(ACKNOWLEDGE_S):
            await asyncio.gather(*waiting)
    except (KafkaError, TimeoutError) as error:
        raise ProduceFailed(f"The broker did not acknowledge {len(waiting)} records: {error!r}.") from error


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Flush and stop, but never hang on a broker that is away."""
    try:
        async with asyncio.timeout(5):
            await producer.stop()
    except (TimeoutError, KafkaError):
        return


async def _start(client: AIOKafkaConsumer | AIOKafkaProducer, settings: Settings) -> None:
    try:
        async with asyncio.timeout(settings.connect_s):
            await client.start()
    except (KafkaConnectionError, TimeoutError, OSError) as error:
        await client.stop()
        raise BrokerAway(f"No Kafka broker answers at {settings.kafka or '(no address)'}.") from error
    except KafkaError as error:
        await client.stop()
        raise BrokerAway(f"Kafka at {settings.kafka} refuses us: {error}.") from error
    except ValueError as error:
        raise BadSetting(
            f"The Kafka address {settings.kafka!r} is not one: {error}.", remedy="Write host:port."
        ) from error
