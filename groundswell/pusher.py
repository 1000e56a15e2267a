"""Sends documents to an input topic in arrays, in order, with a bounded number under way. push, demo and replay use it."""

import asyncio
from typing import Any

import msgspec
from aiokafka import AIOKafkaProducer

from groundswell.clients.connect import MAX_MESSAGE_BYTES, acknowledged
from groundswell.errors import MessageTooLarge
from groundswell.records import MAX_DOCUMENTS

MESSAGE_BYTES = 700_000  # of one array
LARGEST_BYTES = MAX_MESSAGE_BYTES - 4_096  # the broker counts keys and headers too
UNDER_WAY = 200  # messages sent and not yet acknowledged; when full, sending waits

_encode = msgspec.json.Encoder().encode


class Pusher:
    """One key for all: Kafka keeps the order of a key, and event time needs the order of a history."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, key: bytes | None, batch: int = 100) -> None:
        if not 1 <= batch <= MAX_DOCUMENTS:
            raise ValueError(f"a message holds 1 to {MAX_DOCUMENTS} documents")
        self._producer, self._topic, self._key, self._batch = producer, topic, key, batch
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._under_way: list[asyncio.Future[Any]] = []
        self.sent = 0

    async def add(self, document: dict[str, Any] | bytes) -> None:
        """Queue one document; raw bytes go as a message of their own. Raises MessageTooLarge (nothing is sent), ProduceFailed."""
        if isinstance(document, bytes):
            await self.flush()
            await self._send(document, 1)
            return
        await self.add_json(_encode(document))

    async def add_json(self, raw: bytes) -> None:
        """Queue one document that is JSON already; its bytes stay as they are. Raises as `add`."""
        if len(raw) > LARGEST_BYTES:
            raise MessageTooLarge(f"A document has {len(raw):,} bytes.")
        if self._held and (len(self._held) >= self._batch or self._held_bytes + len(raw) > MESSAGE_BYTES):
            await self.flush()
        self._held.append(raw)
        self._held_bytes += len(raw) + 1
        if len(self._held) >= self._batch:
            await self.flush()

    async def flush(self) -> None:
        """Send what is queued."""
        if self._held:
            held, self._held, self._held_bytes = self._held, [], 0
            await self._send(b"[" + b",".join(held) + b"]" if len(held) > 1 else held[0], len(held))

    async def settle(self) -> None:
        """Send all and wait until the broker has acknowledged it. Raises ProduceFailed."""
        await self.flush()
        under_way, self._under_way = self._under_way, []
        await acknowledged(under_way)

    async def _send(self, value: bytes, documents: int) -> None:
        if len(value) > LARGEST_BYTES:
            raise MessageTooLarge(f"A document has {len(value):,} bytes.")
        self._under_way.append(await self._producer.send(self._topic, value, key=self._key))
        self.sent += documents
        if len(self._under_way) >= UNDER_WAY:
            under_way, self._under_way = self._under_way, []
            await acknowledged(under_way)
