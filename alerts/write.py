"""What deliver writes to Kafka: how each try ended, and what it could not read. Each returns once the broker has it."""

from collections.abc import Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from groundswell.clients.connect import acknowledged
from groundswell.decisions import Stage
from groundswell.errors import ProduceFailed, Refused
from groundswell.letters import letter_of
from groundswell.records import DeliveryOutcome, Source
from groundswell.telemetry import DEAD_LETTERS as COUNTED
from groundswell.telemetry import log
from stream.topology import DEAD_LETTERS, DELIVERIES, Topology


async def outcomes(producer: AIOKafkaProducer, topology: Topology, rows: Sequence[DeliveryOutcome]) -> None:
    """Tries on the deliveries topic, so that a lost Redis re-sends nothing. Raises ProduceFailed."""
    name = topology.name(DELIVERIES)
    await _write(producer, name, [(f"{row.endpoint}|{row.event}", msgspec.json.encode(row)) for row in rows])


async def dead_letter(producer: AIOKafkaProducer, topology: Topology, record: Any, why: Refused, now_ms: int) -> None:
    """A record of the alerts topic that is none of ours, with its place. Raises ProduceFailed."""
    refused = letter_of(
        why, stage=Stage.DELIVER, topic=record.topic, src=Source(record.partition, record.offset), at_ms=now_ms,
        payload=record.value, key=record.key,
    )  # fmt: skip
    await _write(producer, topology.name(DEAD_LETTERS), [(why.reason, msgspec.json.encode(refused))])
    COUNTED.labels(Stage.DELIVER, why.reason).inc()
    log().warning(
        "dead_letter", reason=why.reason, topic=record.topic, partition=record.partition, offset=record.offset
    )


async def _write(producer: AIOKafkaProducer, topic: str, records: Sequence[tuple[str, bytes]]) -> None:
    try:
        waiting = [await producer.send(topic, value, key=key.encode()) for key, value in records]
    except KafkaError as error:
        raise ProduceFailed(f"The broker did not take a record for {topic}: {error!r}.") from error
    await acknowledged(waiting)
