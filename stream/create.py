"""Makes the topics on a real broker and writes the incarnation that guards Redis offsets; the embedded broker makes its own.

Names and counts come from topology.py. confluent-kafka's admin client is used: aiokafka's cannot set a topic's configuration.
"""

import asyncio
import secrets
from typing import Any, NamedTuple

import msgspec
from aiokafka import TopicPartition
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from groundswell.clients.connect import (
    acknowledged,
    admin_options,
    close_producer,
    let_in,
    open_consumer,
    open_producer,
)
from groundswell.clients.knock import principal
from groundswell.errors import BrokerAway, NotAllowed, TopicsMissing
from groundswell.records import Incarnation
from groundswell.settings import Settings
from stream import rights
from stream.topology import CONTROL, TOPICS, Topology

ANSWER_S = 20.0


class Cluster(NamedTuple):
    """What a broker tells of its cluster: topic name -> partitions, how many brokers, its id ("" where it has none)."""

    topics: dict[str, int]
    brokers: int
    id: str


async def found(settings: Settings) -> dict[str, int]:
    """Topic name -> partitions, as the broker tells. Raises BrokerAway, and what connect.let_in raises."""
    return (await cluster(settings)).topics


async def cluster(settings: Settings) -> Cluster:
    """Raises BrokerAway, and what connect.let_in raises."""
    await let_in(settings)
    return await asyncio.to_thread(_cluster, settings)


async def create(settings: Settings, topology: Topology, replication: int = 1) -> list[str]:
    """Make the missing topics and, once, the incarnation. Returns the names made. Raises BrokerAway, TopicsMissing, NotAllowed."""
    await let_in(settings)
    made = await asyncio.to_thread(_create, settings, topology, replication)
    await mark_incarnation(settings, topology)
    return made


async def check(settings: Settings, topology: Topology, who: str = "") -> None:
    """Raises TopicsMissing when a topic is missing or has another partition count than it must; where the broker knows who we are, looks
    only at what `who` (a name in rights.NEEDS) needs, and raises NotAllowed when it may not have it."""
    if settings.kafka_security == "PLAINTEXT":
        wrong = topology.missing(await found(settings))
    else:
        await let_in(settings)
        wrong = topology.missing(await rights.found(settings, topology, who), rights.topics(who))
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise TopicsMissing("; ".join(wrong[:3]) + more + ".")


async def incarnation(settings: Settings, topology: Topology) -> str:
    """The id of this set of topics; empty when `topology --create` never ran."""
    partition = TopicPartition(topology.name(CONTROL), 0)
    consumer = await open_consumer(settings, None)
    try:
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        newest = ""
        await consumer.seek_to_beginning(partition)
        async with asyncio.timeout(ANSWER_S):
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    newest = _incarnation_in(records) or newest
        return newest
    finally:
        await consumer.stop()


async def mark_incarnation(settings: Settings, topology: Topology) -> str:
    """Write the incarnation if there is none; returns it."""
    known = await incarnation(settings, topology)
    if known:
        return known
    producer = await open_producer(settings)
    try:
        record = Incarnation(id=secrets.token_hex(8), made_at=0)
        sent = await producer.send(topology.name(CONTROL), msgspec.json.encode(record), key=record.id.encode())
        await acknowledged([sent])
        return record.id
    finally:
        await close_producer(producer)


def _incarnation_in(records: list[Any]) -> str:
    for record in reversed(records):
        try:
            return msgspec.json.decode(record.value or b"", type=Incarnation).id
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue  # another object, or nothing of ours
    return ""


def _cluster(settings: Settings) -> Cluster:
    try:
        listed = AdminClient(admin_options(settings)).list_topics(timeout=min(ANSWER_S / 2, settings.connect_s))
    except KafkaException as error:
        raise BrokerAway(f"No Kafka broker answers at {settings.kafka or '(no address)'}.") from error
    topics = {name: len(topic.partitions) for name, topic in listed.topics.items()}
    return Cluster(topics, len(listed.brokers), listed.cluster_id or "")


def _create(settings: Settings, topology: Topology, replication: int) -> list[str]:
    present = _cluster(settings).topics
    new = [
        NewTopic(topology.name(topic), topology.partitions(topic), replication, config=topic.config)
        for topic in TOPICS
        if topology.name(topic) not in present
    ]
    if not new:
        return []
    admin = AdminClient(admin_options(settings))
    for name, waiting in admin.create_topics(new, request_timeout=ANSWER_S).items():
        try:
            waiting.result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
                continue  # somebody else made it a moment ago
            if error.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
                raise NotAllowed(
                    f"Kafka does not let {principal(settings)} CREATE topic {name}.",
                    remedy="Run this as an administrator of the broker.",
                ) from error
            raise TopicsMissing(
                f"{name} cannot be made: {error.args[0].str()}.", remedy="Set right what the broker names."
            ) from error
    return [topic.topic for topic in new]
