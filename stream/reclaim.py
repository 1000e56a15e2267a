"""Claims after a loss: what Redis forgot of the documents that were counted, tag reads back from `tagged` before it goes on.

A mark lies beside the claims; when it is gone, so are they, and `claim` refuses. One process reads the last hour back, sets the mark and
lets all go on, then reads the two days before it. A Redis that was restarted may have lost its last second: the claims of the last
seconds are written once more from memory. Claims that are there always stand.
"""

import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from aiokafka import AIOKafkaConsumer
from redis.exceptions import RedisError, ResponseError

from groundswell.clock import Clock
from groundswell.connect import RedisClient
from groundswell.errors import BrokerAway
from groundswell.keys import Keys
from groundswell.records import Document, Source, Tagged
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream import readback
from stream.claims import DAY_MS, DAYS, Claim, Claimed, digest, reissue, remember, retell
from stream.readback import Offsets
from stream.topology import TAGGED, Topology

LOOK_S = 1.0
FIRST_MS = 3_600_000  # read back before anybody goes on
RECENT_S, RECENT_CLAIMS = 10.0, 50_000  # kept in memory; more than the second that Redis may lose
LEASE_S = 30
AT_ONCE = 500
HALF, WHOLE = b"half", b"whole"

_tagged = msgspec.json.Decoder(Tagged).decode


@dataclass(frozen=True)
class _Recent:
    """One document claimed a moment ago."""

    at_s: float
    src: Source
    document: Document
    story: str


class Reclaim:
    """Keeps the claims of one installation whole; each tag process has one."""

    def __init__(self, settings: Settings, topology: Topology, redis: RedisClient, clock: Clock) -> None:
        self._settings, self._topology, self._redis, self._clock = settings, topology, redis, clock
        self._keys = Keys(topology.prefix)
        self._own = secrets.token_hex(8)
        self._recent: deque[_Recent] = deque(maxlen=RECENT_CLAIMS)
        self._server, self._says = b"", True

    def note(self, documents: Sequence[tuple[Source, Document]], answers: Sequence[Claimed]) -> None:
        """These were claimed now."""
        now_s = self._clock.monotonic_s()
        for (src, document), answer in zip(documents, answers, strict=True):
            if answer.claim is not Claim.DUPLICATE:
                self._recent.append(_Recent(now_s, src, document, answer.story))
        while self._recent and now_s - self._recent[0].at_s > RECENT_S:
            self._recent.popleft()

    def forget(self, documents: Sequence[tuple[Source, Document]]) -> None:
        """These were given up: they became dead letters."""
        gone = {src for src, _ in documents}
        self._recent = deque((one for one in self._recent if one.src not in gone), maxlen=RECENT_CLAIMS)

    async def keep(self) -> None:
        """Until cancelled: look each second, mend what is lost."""
        while True:
            try:
                await self.look()
            except (RedisError, BrokerAway) as error:
                log().warning("claims_wait", error=repr(error))
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Raises RedisError, BrokerAway: look again."""
        server, mark = await self._server_now(), await self._redis.get(self._keys.claims)
        if mark is None or server != self._server:
            await self._say_again()
            self._server = server
        if mark != WHOLE and await self._redis.set(f"{self._keys.claims}:by", self._own, nx=True, ex=LEASE_S):
            try:
                await self._read_back(mark)
            finally:
                if await self._mine():
                    await self._redis.delete(f"{self._keys.claims}:by")

    async def _say_again(self) -> None:
        """The claims of the last seconds, and the stories that began in them: else their echoes would be originals."""
        recent = list(self._recent)
        await reissue(
            self._redis,
            self._keys,
            [(one.src, digest(one.document), one.document.ingested_at, one.story) for one in recent],
        )
        originals = [one.document for one in recent if one.story == digest(one.document)]
        await retell(self._redis, self._keys, originals, self._clock.now_ms())

    async def _mine(self) -> bool:
        """Whether this process still reads back: a Redis that was emptied again has forgotten who does."""
        return bool(await self._redis.get(f"{self._keys.claims}:by") == self._own.encode())

    async def _mark(self, mark: bytes) -> bool:
        """Let others go on, unless Redis was emptied while this read: then all must be read again."""
        if not await self._mine():
            return False
        await self._redis.set(self._keys.claims, mark)
        if await self._mine():
            return True
        await self._redis.delete(self._keys.claims)
        return False

    async def _server_now(self) -> bytes:
        """What changes when Redis is started again; empty on one that does not say."""
        if not self._says:
            return b""
        try:
            return str((await self._redis.info("server")).get("run_id", "")).encode()
        except ResponseError:  # embedded: it closes the connection on which it said so, and never loses a second alone
            self._says = False
            await self._redis.connection_pool.disconnect(inuse_connections=False)
            return b""

    async def _read_back(self, mark: bytes | None) -> None:
        now_ms, read = self._clock.now_ms(), 0
        async with readback.reader(self._settings, self._topology, TAGGED) as consumer:
            begins, ends = await readback.bounds(consumer)
            hour = begins if begins == ends else await self._since(consumer, now_ms - FIRST_MS, begins, ends)
            if mark is None:
                read += await self._part(consumer, hour, ends)
                if not await self._mark(HALF):
                    return
            first = begins if begins == ends else await self._since(consumer, now_ms - DAYS * DAY_MS, begins, ends)
            read += await self._part(consumer, first, hour)
        if await self._mark(WHOLE) and read:
            log().warning("claims_read_back", documents=read, seconds=round((self._clock.now_ms() - now_ms) / 1000, 1))

    async def _since(self, consumer: AIOKafkaConsumer, at_ms: int, begins: Offsets, ends: Offsets) -> Offsets:
        found = await readback.since(consumer, dict.fromkeys(begins, at_ms), ends)
        return {one: max(at, begins[one]) for one, at in found.items()}

    async def _part(self, consumer: AIOKafkaConsumer, starts: Offsets, ends: Offsets) -> int:
        read = 0

        async def take(values: list[bytes]) -> None:
            nonlocal read
            for at in range(0, len(values), AT_ONCE):
                told = [one for value in values[at : at + AT_ONCE] if (one := _read(value)) is not None]
                await remember(self._redis, self._keys, told)
                await retell(
                    self._redis, self._keys, [_document(one) for one in told if not one.echo], self._clock.now_ms()
                )
                await self._redis.expire(f"{self._keys.claims}:by", LEASE_S)
                read += len(told)

        await readback.read(consumer, starts, ends, take)
        return read


def _read(value: bytes) -> Tagged | None:
    try:
        return _tagged(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None  # of a later version: what it claims, its own tagger knows


def _document(one: Tagged) -> Document:
    return Document(
        id=one.id, text=one.text, title=one.title, source=one.source, author=one.author, lang=one.lang,
        published_at=one.published_at, ingested_at=one.ingested_at, mentions=one.mentions,
    )  # fmt: skip
