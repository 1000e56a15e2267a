"""What was delivered before Redis was lost: read from the deliveries topic, so that an empty Redis re-sends nothing."""

import msgspec
from aiokafka import TopicPartition

from groundswell.connect import open_consumer
from groundswell.decisions import Delivery
from groundswell.records import DeliveryOutcome
from groundswell.settings import Settings
from stream.topology import DELIVERIES, Topology

POLL_MS = 250
ENDED = frozenset({Delivery.SENT, Delivery.REFUSED, Delivery.GIVEN_UP, Delivery.EXPIRED})

_decode = msgspec.json.Decoder(DeliveryOutcome).decode


async def finished(settings: Settings, topology: Topology) -> set[tuple[str, str]]:
    """(endpoint, event) of every delivery that ended, up to the end the topic has now. Raises BrokerAway."""
    name = topology.name(DELIVERIES)
    left = {TopicPartition(name, number) for number in range(topology.partitions(DELIVERIES))}
    done: set[tuple[str, str]] = set()
    consumer = await open_consumer(settings, group=None)
    try:
        consumer.assign(left)
        await consumer.seek_to_beginning(*left)
        ends = await consumer.end_offsets(left)
        while left := {partition for partition in left if await consumer.position(partition) < ends[partition]}:
            for records in (await consumer.getmany(*left, timeout_ms=POLL_MS)).values():
                done.update(ended for record in records if (ended := _ended(record.value)) is not None)
    finally:
        await consumer.stop()
    return done


def _ended(value: bytes | None) -> tuple[str, str] | None:
    try:
        row = _decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return (row.endpoint, row.event) if row.outcome in ENDED else None
