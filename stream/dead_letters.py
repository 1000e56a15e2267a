"""Dead letters read back, and sent again once their cause is mended: the original bytes to the topic they came from, under their key.

Each counts once, however often it is sent: what ingest refused was never claimed, tag gives up the claims of what it refuses, and a
record of `scored` goes out under coordinates of its own (`_beside_the_marks`), since later documents have raised the marks past it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from aiokafka import TopicPartition
from msgspec.structs import replace

from groundswell.clients.connect import acknowledged, close_producer, open_consumer, open_producer
from groundswell.clock import Clock
from groundswell.errors import BrokerAway, ModelCrash, Refused
from groundswell.records import DeadLetter, Document, ScoredBatch
from groundswell.settings import Settings
from stream.ingest import elements
from stream.topology import DEAD_LETTERS, DOCUMENTS, INPUTS, SCORED, Topology

READ_S = 10.0
UNDER_WAY = 100  # sent and not yet acknowledged
OFFSET_BITS = 44

_decode = msgspec.json.Decoder(DeadLetter).decode
_encode = msgspec.json.Encoder().encode


class OriginalGone(Refused):
    """The letter holds only the beginning, and the original is no longer on its topic."""

    reason = "original_gone"
    remedy = "Push the document again from its source."


@dataclass
class Replayed:
    """What became of a replay."""

    sent: list[DeadLetter] = field(default_factory=list)
    not_sent: list[tuple[DeadLetter, Refused]] = field(default_factory=list)


def place(letter: DeadLetter) -> str:
    """Where it came from, and so its name: topic/partition/offset/index."""
    return letter.place


async def read(settings: Settings, topology: Topology, newest: int | None = None) -> list[DeadLetter]:
    """Each letter once, oldest first; `replayed_at` says whether it was sent again. Raises BrokerAway.

    With `newest` about so many records from the ends of the topic: its cost is bounded then, and what it finds may be less."""
    found: dict[str, DeadLetter] = {}
    for value in await _values(settings, topology.name(DEAD_LETTERS), newest):
        letter = _decode(value)
        known = found.setdefault(place(letter), letter)
        if letter.replayed_at or not known.payload:
            # A process that was killed writes a letter twice; what says that one was sent again has no bytes.
            whole = known if known.payload or known.replayed_at == 0 else letter
            found[place(letter)] = replace(whole, replayed_at=max(known.replayed_at, letter.replayed_at))
    # Where the beginning was not read, a mark may stand alone: the letter it is of has no bytes here.
    whole_ones = [letter for letter in found.values() if newest is None or letter.payload or not letter.replayed_at]
    return sorted(whole_ones, key=lambda letter: letter.at)


async def send_again(
    settings: Settings, topology: Topology, clock: Clock, letters: Sequence[DeadLetter], told: Callable[[int], None]
) -> Replayed:
    """Send and mark them. `told` hears how many are done. Raises BrokerAway, ProduceFailed (call again: nothing counts twice)."""
    result, producer = Replayed(), await open_producer(settings)
    try:
        for start in range(0, len(letters), UNDER_WAY):
            sends, sent = [], []
            for letter in letters[start : start + UNDER_WAY]:
                try:
                    value = await _value(settings, topology, letter)
                except Refused as error:
                    result.not_sent.append((letter, error))
                    continue
                sends.append(await producer.send(letter.topic, value, key=letter.key, partition=letter.src.partition))
                sent.append(letter)
            await acknowledged(sends)
            marks = [replace(letter, payload=b"", truncated=False, replayed_at=clock.now_ms()) for letter in sent]
            name = topology.name(DEAD_LETTERS)
            await acknowledged([await producer.send(name, _encode(mark), key=mark.reason.encode()) for mark in marks])
            result.sent += sent
            told(len(result.sent) + len(result.not_sent))
    finally:
        await close_producer(producer)
    return result


async def _value(settings: Settings, topology: Topology, letter: DeadLetter) -> bytes:
    """What to send. Raises OriginalGone, UnreadableScored."""
    value = letter.payload
    if letter.truncated:
        value = _part(await _original(settings, letter), topology, letter)
        if not value.startswith(letter.payload):  # of other topics of this name
            raise OriginalGone
    return _beside_the_marks(value) if letter.topic == topology.name(SCORED) else value


async def _original(settings: Settings, letter: DeadLetter) -> bytes:
    """The message that a letter is of, from its topic. Raises OriginalGone."""
    consumer = await open_consumer(settings, None, [letter.topic])
    try:
        partition = TopicPartition(letter.topic, letter.src.partition)
        if (await consumer.beginning_offsets([partition]))[partition] > letter.src.offset:
            raise OriginalGone
        consumer.seek(partition, letter.src.offset)
        async with asyncio.timeout(READ_S):
            record = await consumer.getone(partition)
    except TimeoutError as error:
        raise OriginalGone from error
    finally:
        await consumer.stop()
    if record.offset != letter.src.offset:
        raise OriginalGone
    return bytes(record.value or b"")


def _part(value: bytes, topology: Topology, letter: DeadLetter) -> bytes:
    """What of a message the letter is of: one document of an array, or the message as a whole."""
    try:
        if letter.topic in {topology.name(topic) for topic in INPUTS}:
            return elements(value)[letter.src.index]
        if letter.topic == topology.name(DOCUMENTS) and letter.reason == ModelCrash.reason:
            return _encode([msgspec.json.decode(value, type=list[Document])[letter.src.index]])
    except (Refused, msgspec.MsgspecError):
        return value
    return value


def _beside_the_marks(value: bytes) -> bytes:
    """The record as one of a documents partition that only it has, so that its mark is its own: it counts, and once.

    Raises UnreadableScored where this version cannot read it either."""
    try:
        batch = msgspec.json.decode(value, type=ScoredBatch)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableScored from error
    if batch.partition >= 1 << OFFSET_BITS:  # refused when it was sent again: it has its own already
        return value
    return _encode(replace(batch, partition=(batch.partition + 1) << OFFSET_BITS | batch.offset))


class UnreadableScored(Refused):
    """This version cannot read the record, so it could not be counted either."""

    reason = "unreadable_scored"
    remedy = "Upgrade first; then replay."


def shares(sizes: dict[TopicPartition, int], newest: int) -> dict[TopicPartition, int]:
    """How many records to read of each partition: `newest` in all, evenly, and what a short one leaves goes to the others."""
    taken: dict[TopicPartition, int] = {}
    left = newest
    for place, partition in enumerate(sorted(sizes, key=lambda one: (sizes[one], one))):
        taken[partition] = min(sizes[partition], left // (len(sizes) - place))
        left -= taken[partition]
    return taken


async def _values(settings: Settings, topic: str, newest: int | None) -> list[bytes]:
    consumer = await open_consumer(settings, None, [topic])
    try:
        ends = await consumer.end_offsets(list(consumer.assignment()))
        starts = await consumer.beginning_offsets(list(consumer.assignment()))
        if newest is not None:
            for partition, count in shares({one: ends[one] - starts[one] for one in ends}, newest).items():
                starts[partition] = ends[partition] - count
                consumer.seek(partition, starts[partition])
        left = {partition for partition, end in ends.items() if end > starts[partition]}
        found: list[bytes] = []
        while left:
            async with asyncio.timeout(READ_S):
                batches = await consumer.getmany(timeout_ms=300)
                while not batches:
                    batches = await consumer.getmany(timeout_ms=300)
            for partition, records in batches.items():
                found += [record.value for record in records if record.value]
                if records[-1].offset + 1 >= ends[partition]:
                    left.discard(partition)
    except TimeoutError as error:
        raise BrokerAway(f"The dead letters could not be read: nothing came for {READ_S:.0f} s.") from error
    finally:
        await consumer.stop()
    return found
