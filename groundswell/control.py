"""What people set while everything runs: endpoints, silences, rules, watchlists and so on. One compacted topic, one view of it.

Only the command line and the dashboard write (`write`, `erase`); every stage reads from the beginning (`follow`).
"""

import asyncio
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from groundswell.clients.connect import acknowledged, open_consumer
from groundswell.errors import TopicsMissing, WrongShape
from groundswell.records import (
    Acknowledgement,
    ControlObject,
    Endpoint,
    Errand,
    Incarnation,
    RuleSet,
    Sensitivity,
    Silence,
    Token,
    Watchlist,
)
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream.topology import CONTROL, Topology

POLL_MS = 250
READY_S = 20.0
LOOKS, LOOK_S = 8, 0.25

_decode = msgspec.json.Decoder(ControlObject).decode


class ControlView:
    """The newest of each object, by id. `revision` grows with every change; `incarnation` names this set of topics."""

    def __init__(self) -> None:
        self.endpoints: dict[str, Endpoint] = {}
        self.acks: dict[str, Acknowledgement] = {}
        self.silences: dict[str, Silence] = {}
        self.errands: dict[str, Errand] = {}
        self.rules: dict[str, RuleSet] = {}
        self.watchlists: dict[str, Watchlist] = {}
        self.sensitivities: dict[str, Sensitivity] = {}
        self.tokens: dict[str, Token] = {}
        self.incarnation = ""
        self.revision = 0

    def apply(self, key: str, value: bytes | None) -> None:
        """Take up one record; None forgets the object. Raises WrongShape and leaves the view as it was."""
        found = None if value is None else _object(key, value)
        for kind in (
            self.endpoints,
            self.acks,
            self.silences,
            self.errands,
            self.rules,
            self.watchlists,
            self.sensitivities,
            self.tokens,
        ):
            kind.pop(key, None)
        match found:
            case Endpoint():
                self.endpoints[key] = found
            case Acknowledgement():
                self.acks[key] = found
            case Silence():
                self.silences[key] = found
            case Errand():
                self.errands[key] = found
            case RuleSet():
                self.rules[key] = found
            case Watchlist():
                self.watchlists[key] = found
            case Sensitivity():
                self.sensitivities[key] = found
            case Token():
                self.tokens[key] = found
            case Incarnation():
                self.incarnation = found.id
        self.revision += 1


async def follow(
    settings: Settings, topology: Topology, view: ControlView, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    """Keep `view` true until `stop`; `ready` is set once it has all that was written before.

    Raises BrokerAway, TopicsMissing.
    """
    partition = TopicPartition(topology.name(CONTROL), 0)
    consumer = await open_consumer(settings, group=None)
    try:
        consumer.assign([partition])
        end = await _end(consumer, partition)
        while not stop.is_set():
            # The last offsets of a compacted topic may be gone: the position says how far we are, not the last record.
            if not ready.is_set() and await consumer.position(partition) >= end:
                ready.set()
            for record in (await consumer.getmany(partition, timeout_ms=POLL_MS)).get(partition, ()):
                _take_up(view, record)
    finally:
        await consumer.stop()


async def followed(
    settings: Settings, topology: Topology, view: ControlView, stop: asyncio.Event
) -> asyncio.Task[None]:
    """Start to `follow`, and return once `view` has all that was written before. Raises as `follow`."""
    ready = asyncio.Event()
    following = asyncio.create_task(follow(settings, topology, view, stop, ready))
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({following, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if following.done():
        await following
    return following


async def write(producer: AIOKafkaProducer, topology: Topology, thing: ControlObject) -> None:
    """Make one object known to all. Returns once the broker has it; raises ProduceFailed."""
    await _send(producer, topology, thing.id, msgspec.json.encode(thing))


async def erase(producer: AIOKafkaProducer, topology: Topology, object_id: str) -> None:
    """Make all forget one object. Returns once the broker has it; raises ProduceFailed."""
    await _send(producer, topology, object_id, None)


async def _end(consumer: AIOKafkaConsumer, partition: TopicPartition) -> int:
    """Go to the beginning; where the end is now."""
    try:
        async with asyncio.timeout(READY_S):
            # A topic made a moment ago may not be known to the broker that we ask.
            for _ in range(LOOKS):
                if partition.topic in await consumer.topics():
                    break
                await asyncio.sleep(LOOK_S)
            else:
                raise TopicsMissing(f"The topic {partition.topic} is missing.")
            await consumer.seek_to_beginning(partition)
            return int((await consumer.end_offsets([partition]))[partition])
    except (KafkaError, TimeoutError) as error:
        raise TopicsMissing(f"The topic {partition.topic} cannot be read: {error!r}.") from error


async def _send(producer: AIOKafkaProducer, topology: Topology, key: str, value: bytes | None) -> None:
    name = topology.name(CONTROL)
    try:
        waiting = await producer.send(name, value, key=key.encode(), partition=0)
    except KafkaError as error:
        waiting = asyncio.get_running_loop().create_future()
        waiting.set_exception(error)
    await acknowledged([waiting])


def _object(key: str, value: bytes) -> ControlObject:
    try:
        found: ControlObject = _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WrongShape(f"A control object does not have the shape of one: {error}.") from error
    if found.id != key:
        raise WrongShape(f"A control object has the id {found.id!r} under the key {key!r}.")
    return found


def _take_up(view: ControlView, record: Any) -> None:
    """Hostile or foreign records cost a log line, never the process."""
    try:
        view.apply(bytes(record.key or b"").decode(), record.value)
    except (WrongShape, UnicodeDecodeError) as error:
        log().warning("control_record_skipped", offset=record.offset, error=str(error)[:200])
