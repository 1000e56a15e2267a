"""What people write through the page's process: documents to the input topics, objects to the control topic.

Documents are checked here only so far that their sender can be told at once; ingest checks again, for every feed alike.
A write answers after the broker acknowledged it. The producer is made on the first write, so that the pages open
without a broker too.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from groundswell import control, feedback
from groundswell.clients.connect import MAX_MESSAGE_BYTES, acknowledged, close_producer, open_producer
from groundswell.clock import Clock
from groundswell.errors import (
    BadTime,
    BrokerAway,
    EmptyArray,
    FromTheFuture,
    MessageTooLarge,
    NestedTooDeep,
    NoText,
    NothingRuns,
    NotJson,
    NotUtf8,
    ProduceFailed,
    TextTooLong,
    TooManyDocuments,
    WrongShape,
)
from groundswell.records import MAX_DOCUMENTS, MAX_TEXT_BYTES, AuditEntry, ControlObject, Feedback, InboundDocument
from groundswell.settings import Settings
from groundswell.times import parse_ms
from stream.topology import AUDIT, COMMENTS, FEEDBACK, NEWS, Topic, Topology

WRITE_S = 10.0
FEEDS = {"news": NEWS, "comments": COMMENTS}

_inbound = msgspec.json.Decoder(InboundDocument | list[InboundDocument])


def checked(body: bytes, now_ms: int, future_s: float) -> list[InboundDocument]:
    """The documents of one request. Raises Refused with the place of the first one that is wrong."""
    if len(body) > MAX_MESSAGE_BYTES:
        raise MessageTooLarge
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotUtf8 from error
    try:
        found = _inbound.decode(body)
    except RecursionError as error:
        raise NestedTooDeep from error
    except msgspec.ValidationError as error:
        raise WrongShape(f"{error}.") from error
    except msgspec.DecodeError as error:
        raise NotJson(f"The body is not JSON: {error}.") from error
    documents = found if isinstance(found, list) else [found]
    if not documents:
        raise EmptyArray
    if len(documents) > MAX_DOCUMENTS:
        raise TooManyDocuments(f"The array holds {len(documents)} documents, {MAX_DOCUMENTS} are allowed.")
    for place, document in enumerate(documents):
        _check(document, place, now_ms, future_s)
    return documents


def _check(document: InboundDocument, place: int, now_ms: int, future_s: float) -> None:
    where = f"Document {place}"
    if not document.text.strip():
        raise NoText(f"{where} has no text.")
    if len(document.text.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise TextTooLong(f"{where}: the text is longer than {MAX_TEXT_BYTES} bytes.")
    if document.published_at is None:
        return
    if isinstance(document.published_at, str):
        try:
            at = parse_ms(document.published_at)
        except ValueError as error:
            raise BadTime(f"{where}: published_at {document.published_at[:40]!r} is not a time with a zone.") from error
    else:
        at = int(document.published_at)
    if at > now_ms + future_s * 1000:
        raise FromTheFuture(f"{where}: published_at is {(at - now_ms) // 1000} s ahead.")


class Pen:
    """One idempotent producer, opened when first needed and again after it failed."""

    def __init__(self, settings: Settings, topology: Topology, clock: Clock) -> None:
        self._settings = settings
        self._topology = topology
        self._clock = clock
        self._producer: AIOKafkaProducer | None = None
        self._opening = asyncio.Lock()

    async def push(self, body: bytes, feed: str) -> dict[str, Any]:
        """Send one request's documents as one message. Raises Refused, BrokerAway."""
        topic = FEEDS.get(feed)
        if topic is None:
            raise WrongShape(f"There is no feed {feed[:40]!r}.", remedy="Use feed=news or feed=comments.")
        documents = checked(body, self._clock.now_ms(), self._settings.future_s)
        first = documents[0].id
        placed = await self._send(topic, first.encode() if first else None, body)
        return {
            "accepted": len(documents),
            "topic": placed.topic,
            "partition": placed.partition,
            "offset": placed.offset,
        }

    async def write(self, thing: ControlObject) -> None:
        """One object to the control topic: this is the desk's pen. Raises BrokerAway."""
        async with self._producing() as producer:
            await control.write(producer, self._topology, thing)

    async def remark(self, one: Feedback) -> None:
        """One word of feedback to its topic. Raises BrokerAway."""
        await self._send(FEEDBACK, feedback.key(one), msgspec.json.encode(one))

    async def audit(self, entry: AuditEntry) -> None:
        """One record of the audit trail (audit.py). Raises BrokerAway."""
        await self._send(AUDIT, entry.who.encode() or None, msgspec.json.encode(entry))

    async def erase(self, object_id: str) -> None:
        """Take one away from there. Raises BrokerAway."""
        async with self._producing() as producer:
            await control.erase(producer, self._topology, object_id)

    async def close(self) -> None:
        """Flush what was taken."""
        if self._producer is not None:
            await close_producer(self._producer)

    async def _send(self, topic: Topic, key: bytes | None, value: bytes) -> Any:
        async with self._producing() as producer:
            waiting = await producer.send(self._topology.name(topic), value, key=key)
            await acknowledged([waiting])
        return waiting.result()

    @contextlib.asynccontextmanager
    async def _producing(self) -> AsyncIterator[AIOKafkaProducer]:
        try:
            async with asyncio.timeout(WRITE_S):
                yield await self._open()
        except (ProduceFailed, TimeoutError) as error:
            # Requests are independent of each other, so a new producer reorders nothing that matters.
            failed, self._producer = self._producer, None
            if failed is not None:
                with contextlib.suppress(Exception):  # it is lost already; the caller is told what matters
                    await close_producer(failed)
            raise BrokerAway(f"The broker did not acknowledge within {WRITE_S:g} s.") from error

    async def _open(self) -> AIOKafkaProducer:
        async with self._opening:
            if self._producer is None:
                if not self._settings.kafka:
                    raise NothingRuns
                self._producer = await open_producer(self._settings)
            return self._producer
