"""What was delivered before Redis was lost: read from the deliveries topic, so that an empty Redis re-sends nothing.

The alerts themselves are read again from their beginning; what is found here tells intake.py which of them were told, to
whom and when, and which endpoints were switched off because nothing reached them.
"""

import msgspec
from aiokafka import TopicPartition

from alerts.health import Health, State
from alerts.lanes import DONE_MS, Lanes
from groundswell.clients.connect import open_consumer
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.decisions import Delivery
from groundswell.records import DeliveryOutcome
from groundswell.settings import Settings
from stream.topology import DELIVERIES, Topology

POLL_MS = 250
ENDED = frozenset({Delivery.SENT, Delivery.REFUSED, Delivery.GIVEN_UP, Delivery.EXPIRED, Delivery.GROUPED})

_decode = msgspec.json.Decoder(DeliveryOutcome).decode


async def rebuild(settings: Settings, topology: Topology, lanes: Lanes, view: ControlView, clock: Clock) -> int:
    """Fill an empty Redis with the tries of the last days; how many ended. Raises BrokerAway and errors of Redis."""
    name, since = topology.name(DELIVERIES), clock.now_ms() - DONE_MS
    left = {TopicPartition(name, number) for number in range(topology.partitions(DELIVERIES))}
    count = 0
    heard: dict[str, int] = {}
    off: dict[str, DeliveryOutcome] = {}
    consumer = await open_consumer(settings, group=None)
    try:
        consumer.assign(left)
        await consumer.seek_to_beginning(*left)
        ends = await consumer.end_offsets(left)
        while left := {partition for partition in left if await consumer.position(partition) < ends[partition]}:
            batch = await consumer.getmany(*left, timeout_ms=POLL_MS)
            rows = [row for records in batch.values() for record in records if (row := _row(record.value)) is not None]
            ended = [row for row in rows if row.outcome in ENDED and row.at >= since]
            await lanes.remember(ended)
            count += len(ended)
            for row in rows:
                if row.outcome == Delivery.SENT:
                    heard[row.endpoint] = max(heard.get(row.endpoint, 0), row.at)
                elif row.outcome == Delivery.DISABLED and not row.event and row.at > off.get(row.endpoint, row).at - 1:
                    off[row.endpoint] = row
    finally:
        await consumer.stop()
    for errand in view.errands.values():
        if errand.task == "enable":
            heard[errand.endpoint] = max(heard.get(errand.endpoint, 0), errand.at)
    for endpoint, row in off.items():
        if endpoint in view.endpoints and row.at > heard.get(endpoint, 0):
            await lanes.set_health(endpoint, Health(state=State.DISABLED, since_ms=row.at, reason=row.reason))
    return count


def _row(value: bytes | None) -> DeliveryOutcome | None:
    try:
        return _decode(value or b"")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
