"""Kafka and Redis clients made from the settings, started, with our deadlines. The only place that makes them.

addresses.py reads the addresses and keeps plain text off the network, tls.py the certificates, redis_clients.py knows the forms of Redis,
knock.py why a broker refuses. An idempotent batch never expires inside aiokafka, so every wait for an acknowledgement has our own deadline
(`acknowledged`), and a failure there ends the process: later sends would overtake the failed one and turn into silent loss.
"""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    KafkaConnectionError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAuthorizationFailedError,
)
from redis.exceptions import (
    AuthenticationError,
    AuthenticationWrongNumberOfArgsError,
    AuthorizationError,
    NoPermissionError,
    RedisError,
)
from redis.exceptions import ConnectionError as RedisConnectionError

from groundswell.clients import addresses, knock, redis_clients, tls
from groundswell.clients.addresses import RedisAddress, shown
from groundswell.errors import (
    BadSetting,
    BrokerAway,
    NotAllowed,
    NotTrusted,
    ProduceFailed,
    RecordTooLarge,
    RedisAway,
    UnfitRedis,
)
from groundswell.settings import Settings

RedisClient = Any  # redis.asyncio.Redis: its stubs call every reply str or bytes, with this configuration all are bytes

MAX_MESSAGE_BYTES = 1_048_576
ACKNOWLEDGE_S = 30.0
METADATA_MS = (
    10_000  # partitions that were added are seen after this long; the clients' own five minutes would leave them unread
)


def kafka_options(settings: Settings) -> dict[str, Any]:
    """Connection options that producers, consumers and Faust's transport share. Raises BadSetting, PlainText."""
    addresses.guard_kafka(settings)
    options: dict[str, Any] = {"bootstrap_servers": settings.kafka, "security_protocol": settings.kafka_security}
    if settings.kafka_security.startswith("SASL"):
        options |= {
            "sasl_mechanism": settings.kafka_mechanism,
            "sasl_plain_username": settings.kafka_user,
            "sasl_plain_password": settings.kafka_password,
        }
    if settings.kafka_security.endswith("SSL"):
        options["ssl_context"] = tls.context("kafka", settings.kafka_ca, settings.kafka_cert, settings.kafka_key)
    return options


def admin_options(settings: Settings) -> dict[str, Any]:
    """The same for librdkafka, whose admin client makes the topics. Raises BadSetting, PlainText."""
    options = kafka_options(settings)
    told: dict[str, Any] = {
        "bootstrap.servers": settings.kafka, "security.protocol": settings.kafka_security, "log_level": 2
    }  # fmt: skip
    if "sasl_mechanism" in options:
        told |= {
            "sasl.mechanism": settings.kafka_mechanism,
            "sasl.username": settings.kafka_user,
            "sasl.password": settings.kafka_password,
        }
    if "ssl_context" in options:
        named = {
            "ssl.ca.location": settings.kafka_ca,
            "ssl.certificate.location": settings.kafka_cert,
            "ssl.key.location": settings.kafka_key or settings.kafka_cert,
        }
        told |= {name: file for name, file in named.items() if file}
    return told


async def let_in(settings: Settings) -> None:
    """Returns when a broker lets us in, and when none answers: the clients wait for that. Raises BadSetting, NotAllowed, NotTrusted,
    PlainText when one refuses."""
    options = kafka_options(settings)
    options.pop("bootstrap_servers")
    refusal = await knock.refusal(settings, addresses.kafka_hosts(settings), options)
    if refusal is not None:
        raise refusal


async def open_producer(settings: Settings, *, linger_ms: int = 5) -> AIOKafkaProducer:
    """A started idempotent producer. With `linger_ms` 0 only what is sent in one breath shares a request. Raises BrokerAway, and
    what `let_in` raises."""
    producer = AIOKafkaProducer(
        **kafka_options(settings),
        enable_idempotence=True,
        acks="all",
        compression_type="zstd",
        linger_ms=linger_ms,
        max_batch_size=262_144,
        max_request_size=MAX_MESSAGE_BYTES,
        request_timeout_ms=20_000,
        metadata_max_age_ms=METADATA_MS,
    )
    await _start(producer, settings)
    return producer


async def open_consumer(
    settings: Settings, group: str | None, topics: Sequence[str] = (), **options: Any
) -> AIOKafkaConsumer:
    """A started consumer that commits nothing by itself. Raises BrokerAway, and what `let_in` raises."""
    consumer = AIOKafkaConsumer(
        *topics,
        **kafka_options(settings),
        group_id=group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        heartbeat_interval_ms=500,
        session_timeout_ms=10_000,
        max_partition_fetch_bytes=2 * MAX_MESSAGE_BYTES,
        metadata_max_age_ms=METADATA_MS,
        **options,
    )
    await _start(consumer, settings)
    return consumer


async def open_redis(settings: Settings) -> RedisClient:
    """A client that answers. Raises RedisAway, UnfitRedis, BadSetting, PlainText, NotAllowed, NotTrusted."""
    address = addresses.redis_address(settings.redis)
    addresses.guard_redis(settings, address)
    try:
        redis: RedisClient = redis_clients.client(settings, address)
    except ValueError as error:
        raise BadSetting(
            f"The Redis address {shown(settings.redis)!r} is not one: {error}.",
            remedy=f"Write {addresses.REDIS_FORMS}.",
        ) from error
    try:
        async with asyncio.timeout(settings.connect_s):
            await redis.ping()
            await _look_fit(redis, settings, address)
    except (RedisError, OSError, TimeoutError) as error:
        await redis.aclose()
        raise _redis_refusal(settings, address, error) from error
    except UnfitRedis:
        await redis.aclose()
        raise
    return redis


async def _look_fit(redis: RedisClient, settings: Settings, address: RedisAddress) -> None:
    """Raises UnfitRedis, errors of Redis."""
    # A user that may use no key of ours would be told so only by the first batch.
    await redis.exists(f"{settings.prefix}:generation")
    try:
        told = await (redis.info(target_nodes=redis.PRIMARIES) if address.kind == "cluster" else redis.info())
    except (RedisConnectionError, NoPermissionError):
        raise
    except RedisError:
        # Embedded: it has no INFO and never evicts; and it closes the connection on which it said so.
        await redis.connection_pool.disconnect()
        return
    for one in told.values() if address.kind == "cluster" else [told]:
        policy, version = one.get("maxmemory_policy", "noeviction"), str(one.get("redis_version", "7"))
        if policy != "noeviction" or int(version.partition(".")[0]) < 7:
            raise UnfitRedis(f"Redis {version} with maxmemory-policy {policy} does not keep what it is given.")


def _redis_refusal(settings: Settings, address: RedisAddress, error: Exception) -> Exception:
    """What an error at the start means, in words."""
    place, user = shown(settings.redis), address.user or "default"
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(error):
        why = getattr(cause, "verify_message", "") or str(error)
        return NotTrusted(f"Redis at {place} shows a certificate that does not hold: {why.rstrip('.')}.")
    refused = AuthenticationError | AuthenticationWrongNumberOfArgsError | AuthorizationError
    # A sentinel's refusal comes wrapped: no master was found, because of such an error.
    if isinstance(error, refused) or "AuthenticationError" in str(error) or "NOAUTH" in str(error):
        return NotAllowed(
            f"Redis at {place} does not let user {user} in: wrong name or password.",
            remedy="Write them into the address, user:password@host; sentinels may want GROUNDSWELL_REDIS_SENTINEL_PASSWORD too.",
        )
    if isinstance(error, NoPermissionError):
        return NotAllowed(
            f"Redis at {place} refuses user {user}: {str(error).rstrip('.')}.",
            remedy=f"Give it the keys and commands: ACL SETUSER {user} ~{settings.prefix}:* +@all -@dangerous -@admin +info.",
        )
    if isinstance(error, RedisConnectionError | OSError | TimeoutError):
        why = str(error).partition(" : <")[0]  # behind it a sentinel's client shows all it is made of
        return RedisAway(f"Redis does not answer at {place}: {why.rstrip('.')}.")
    return RedisAway(f"Redis at {place} refuses us: {error}.")


async def acknowledged(waiting: "Sequence[asyncio.Future[Any]]") -> None:
    """Wait until the broker has acknowledged every send. Raises ProduceFailed, after which the process must end."""
    if not waiting:
        return
    try:
        async with asyncio.timeout(ACKNOWLEDGE_S):
            await asyncio.gather(*waiting)
    except MessageSizeTooLargeError as error:
        raise RecordTooLarge(f"The broker refused a record for its size: {error!r}.") from error
    except (
        TopicAuthorizationFailedError
    ) as error:  # taken away since the start, or a command of somebody who may only look
        raise ProduceFailed(
            f"Kafka does not let this process WRITE: {error}.",
            remedy="Give its user WRITE on that topic; docs/operations.md lists what each process needs.",
        ) from error
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
        await let_in(settings)
        raise BrokerAway(f"No Kafka broker answers at {settings.kafka or '(no address)'}.") from error
    except (
        ClusterAuthorizationFailedError
    ) as error:  # of an idempotent producer, who may write none of the topics there are
        await client.stop()
        raise NotAllowed(f"Kafka does not let {knock.principal(settings)} WRITE any topic.") from error
    except KafkaError as error:
        await client.stop()
        raise BrokerAway(f"Kafka at {settings.kafka} refuses us: {error}.") from error
    except ValueError as error:
        raise BadSetting(
            f"The Kafka address {settings.kafka!r} is not one: {error}.", remedy="Write host:port."
        ) from error
