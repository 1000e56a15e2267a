"""What each process must be allowed on Kafka, and whether this one is: asked of the broker before the first record is read.

A broker with ACLs hides what a user may not see, and refuses the rest only when it is tried: in the middle of the work, to a process that
its supervisor then starts again for ever. docs/operations.md prints this table.
"""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient

from groundswell.clients.connect import admin_options
from groundswell.clients.knock import principal
from groundswell.errors import BrokerAway, NotAllowed
from groundswell.settings import Settings
from stream.topology import (
    ALERTS,
    AUDIT,
    BASELINES,
    COMMENTS,
    CONTROL,
    DEAD_LETTERS,
    DELIVERIES,
    DOCUMENTS,
    FEEDBACK,
    NEWS,
    SCORED,
    TAGGED,
    TOPICS,
    Topic,
    Topology,
)

ANSWER_S = 20.0
GROUP_TRIES, GROUP_PAUSE_S = 10, 0.3


@dataclass(frozen=True)
class Needs:
    """Of one process. `group`: it shares partitions with others of its kind, as consumer group <prefix>-<process>."""

    reads: tuple[Topic, ...] = ()
    writes: tuple[Topic, ...] = ()
    group: bool = True


NEEDS = {
    "ingest": Needs((NEWS, COMMENTS), (DOCUMENTS, DEAD_LETTERS)),
    "tag": Needs((DOCUMENTS, TAGGED), (TAGGED, SCORED, DEAD_LETTERS)),
    "aggregate": Needs((SCORED, BASELINES, ALERTS, CONTROL), (ALERTS, BASELINES, DEAD_LETTERS)),
    # Besides, with canaries NEWS and with regular drills COMMENTS: it writes documents of its own.
    "deliver": Needs((ALERTS, CONTROL, DELIVERIES), (DELIVERIES, DEAD_LETTERS)),
    # Besides, to search documents TAGGED, and where they are pushed through its HTTP interface NEWS and COMMENTS.
    "dashboard": Needs((CONTROL, FEEDBACK), (CONTROL, FEEDBACK, AUDIT), group=False),
    "push to news": Needs((), (NEWS,), group=False),
    "push to comments": Needs((), (COMMENTS,), group=False),
}


def topics(who: str) -> Sequence[Topic]:
    """What `who` reads and writes; all topics for somebody who is not in NEEDS."""
    needs = NEEDS.get(who, Needs())
    return tuple(dict.fromkeys((*needs.reads, *needs.writes))) or TOPICS


async def found(settings: Settings, topology: Topology, who: str) -> dict[str, int]:
    """Full name -> partitions of the topics that `who` needs (a name in NEEDS; any other: all topics, to be seen only). A topic that is
    not there is left out. Raises NotAllowed with operation, topic and principal; BrokerAway."""
    return await asyncio.to_thread(_found, settings, topology, who)


def _found(settings: Settings, topology: Topology, who: str) -> dict[str, int]:
    needs = NEEDS.get(who, Needs(group=False))
    by_name = {topology.name(topic): topic for topic in topics(who)}
    admin = AdminClient(admin_options(settings))
    asked = admin.describe_topics(
        TopicCollection(list(by_name)), include_authorized_operations=True, request_timeout=ANSWER_S
    )  # fmt: skip
    partitions = {}
    for name, answer in asked.items():
        told = _answer(settings, answer, f"DESCRIBE topic {name}")
        if told is None:
            continue
        partitions[name] = len(told.partitions)
        topic, wanted = by_name[name], []
        if topic in needs.reads:
            wanted.append(AclOperation.READ)
        if topic in needs.writes:
            wanted.append(AclOperation.WRITE)
        _allowed(settings, told.authorized_operations, wanted, f"topic {name}")
    if needs.group:
        name = f"{topology.prefix}-{who}"
        told = _group(settings, admin, name)
        if told is not None:
            _allowed(settings, told.authorized_operations, [AclOperation.READ], f"group {name}")
    return partitions


def _group(settings: Settings, admin: AdminClient, name: str) -> Any:
    """None when no broker tells yet: the very first group of a cluster waits until its topic is made."""
    for _ in range(GROUP_TRIES):
        asked = admin.describe_consumer_groups([name], include_authorized_operations=True, request_timeout=ANSWER_S)
        try:
            return _answer(settings, asked[name], f"DESCRIBE group {name}")
        except BrokerAway:
            time.sleep(GROUP_PAUSE_S)
    return None


def _answer(settings: Settings, answer: "Future[Any]", what: str) -> Any:
    """None when there is no such thing."""
    try:
        return answer.result(timeout=2 * ANSWER_S)
    except KafkaException as error:
        code = error.args[0].code()
        if code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND):
            return None
        if code in (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED):
            raise _refused(settings, what) from error
        raise BrokerAway(f"Kafka at {settings.kafka} does not say what we may do: {error.args[0].str()}.") from error


def _allowed(settings: Settings, may: Any, wanted: Sequence[Any], where: str) -> None:
    for operation in wanted:
        if may is not None and operation not in may:  # None: a broker that does not tell
            raise _refused(settings, f"{operation.name} {where}")


def _refused(settings: Settings, what: str) -> NotAllowed:
    operation, _, where = what.partition(" ")
    kind, _, name = where.partition(" ")
    return NotAllowed(
        f"Kafka does not let {principal(settings)} {what}.",
        remedy=f"kafka-acls.sh --add --allow-principal '{principal(settings)}' --operation {operation} --{kind} {name}; "
        "docs/operations.md lists what each process needs.",
    )
