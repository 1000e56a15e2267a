"""Claims after a loss: what Redis forgot of the documents that were counted, tag reads back from `tagged` before it goes on.

A mark lies beside the claims and names the life of the server under which they were whole. It is gone: Redis lost everything. It names
another life: Redis was started again, and may have lost its last second. Either way nobody claims, and nobody writes what was claimed
before, until each process has said again what it has under way and one has read back the rest: the last minute of `tagged` after a new
start, the last hour after a loss and then, while others go on, the two days before it. Claims that are there always stand.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

import msgspec
from aiokafka import AIOKafkaConsumer
from msgspec import Struct
from redis.exceptions import RedisError

from groundswell.clients.connect import RedisClient
from groundswell.clock import Clock
from groundswell.errors import BrokerAway, ClaimsLost
from groundswell.keys import Keys
from groundswell.records import Document, Source, Tagged
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream import readback
from stream.claims import DAY_MS, DAYS, Said, digest, reissue, remember, retell
from stream.generation import life
from stream.readback import Offsets
from stream.topology import TAGGED, Topology

LOOK_S = 1.0
OTHERS_S = 1.5 * LOOK_S  # by then every process that is alive has said again what it has under way
FIRST_MS = 3_600_000  # read back before anybody goes on, where everything is gone
LAST_MS = 60_000  # likewise where the last second may be, by the log's own time: what tag writes without a Redis that answers is less
WAIT_S = 2.0  # before ClaimsLost is raised
RECENT_S, RECENT_CLAIMS = (
    10.0,
    50_000,
)  # kept in memory after they were written: longer than a record can be on its way into `tagged`
LEASE_S = 30
AT_ONCE = 500

_tagged = msgspec.json.Decoder(Tagged).decode


class Mark(Struct, frozen=True, array_like=True):
    """What lies beside the claims: of which life of the server, of which loss (random), and whether the two days are there as well."""

    life: str
    loss: str
    whole: bool


_mark = msgspec.json.Decoder(Mark).decode
Standing = tuple[str, str]  # life and loss


class Reclaim:
    """Keeps the claims of one installation whole; each tag process has one."""

    def __init__(self, settings: Settings, topology: Topology, redis: RedisClient, clock: Clock) -> None:
        self._settings, self._topology, self._redis, self._clock = settings, topology, redis, clock
        self._keys = Keys(topology.prefix)
        self._own = secrets.token_hex(8)
        self._under_way: dict[Source, Said] = {}  # claimed, and not yet written
        self._recent: deque[tuple[float, Said]] = deque(maxlen=RECENT_CLAIMS)  # written, and when
        self._renewed = asyncio.Event()
        self.standing: Standing | None = None  # under which this process has said again all that it knows

    # -- what tag asks ------------------------------------------------------------------------------------------------

    async def stands(self, standing: Standing | None) -> None:
        """Whether Redis has kept everything since `standing` was looked up. Raises ClaimsLost, RedisError."""
        found = await self._found()
        # The life after the mark: none comes twice, so the mark was read in this one as well.
        lives = await life(self._redis)
        if standing is None or found is None or standing != (found.life, found.loss) or lives != found.life:
            await self._another(standing)
            raise ClaimsLost

    async def _another(self, standing: Standing | None) -> None:
        """Wait a while until there is: who is told too early tries too late."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                while self.standing in (None, standing):
                    await self._renewed.wait()

    async def sure(self, standing: Standing | None, said: Sequence[Said]) -> None:
        """These are to be claimed now, upon what was read since `standing`. Raises as `stands`."""
        await self.stands(standing)
        self._under_way.update({one[0]: one for one in said})

    def wrote(self, sources: Sequence[Source]) -> None:
        """These are on `tagged`, or are somebody else's now."""
        now_s = self._clock.monotonic_s()
        self._recent.extend((now_s, said) for one in sources if (said := self._under_way.pop(one, None)) is not None)
        while self._recent and now_s - self._recent[0][0] > RECENT_S:
            self._recent.popleft()

    def left(self, partition: int) -> None:
        """What is under way there becomes another's."""
        self.wrote([one for one in self._under_way if one.partition == partition])

    def forget(self, sources: Sequence[Source]) -> None:
        """These are not claimed after all: duplicates, or dead letters."""
        gone = set(sources)
        for one in gone:
            self._under_way.pop(one, None)
        if any(said[0] in gone for _, said in self._recent):
            self._recent = deque((one for one in self._recent if one[1][0] not in gone), maxlen=RECENT_CLAIMS)

    # -- the keeper ---------------------------------------------------------------------------------------------------

    async def keep(self) -> None:
        """Until cancelled: look each second, mend what is lost."""
        while True:
            try:
                await self.look()
            except (RedisError, BrokerAway, ClaimsLost) as error:
                log().warning("claims_wait", error=repr(error))
            await self._clock.sleep(LOOK_S)

    async def look(self) -> None:
        """Raises RedisError, BrokerAway, ClaimsLost: look again."""
        mark, lives = await self._found(), await life(self._redis)
        if mark is None or mark.life != lives:
            await self._say_again()
        elif self.standing != (mark.life, mark.loss):
            await self._go_on(mark)
        if mark is not None and mark.life == lives and mark.whole:
            return
        if await self._take():
            try:
                await self._read_back(mark, lives)
            finally:
                if await self._mine():
                    await self._redis.delete(f"{self._keys.claims}:by")

    async def _found(self) -> Mark | None:
        raw = await self._redis.get(self._keys.claims)
        try:
            return _mark(raw) if raw else None
        except msgspec.MsgspecError:
            return None  # of another version: as if it were not there

    async def _say_again(self) -> None:
        """All that is under way, and what was written in the last seconds; also the stories that began in them: else their echoes
        would be originals."""
        said = [*(one for _, one in self._recent), *self._under_way.values()]
        await reissue(
            self._redis,
            self._keys,
            [(src, digest(document), document.ingested_at, story) for src, document, story in said],
        )
        originals = [document for _, document, story in said if story == digest(document)]
        await retell(self._redis, self._keys, originals, self._clock.now_ms())

    async def _go_on(self, mark: Mark) -> None:
        await self._say_again()
        self.standing = mark.life, mark.loss
        self._renewed.set()
        self._renewed = asyncio.Event()

    async def _take(self) -> bool:
        """Be the one who reads back; also who was before Redis went away in the midst of it."""
        if await self._redis.set(f"{self._keys.claims}:by", self._own, nx=True, ex=LEASE_S):
            return True
        return await self._mine() and bool(await self._redis.expire(f"{self._keys.claims}:by", LEASE_S))

    async def _mine(self) -> bool:
        """Whether this process still reads back: a Redis that was emptied again has forgotten who does."""
        return bool(await self._redis.get(f"{self._keys.claims}:by") == self._own.encode())

    async def _set(self, mark: Mark) -> bool:
        """Let others go on, unless Redis was emptied while this read: then all must be read again."""
        if not await self._mine():
            return False
        await self._redis.set(self._keys.claims, msgspec.json.encode(mark))
        if not await self._mine():
            await self._redis.delete(self._keys.claims)
            return False
        await self._go_on(mark)
        return True

    async def _read_back(self, mark: Mark | None, lives: str) -> None:
        began_s, read = self._clock.monotonic_s(), 0
        async with readback.reader(self._settings, self._topology, TAGGED) as consumer:
            begins, ends = await readback.bounds(consumer)
            if begins != ends:
                await self._clock.sleep(OTHERS_S)
                begins, ends = await readback.bounds(consumer)
            hour = await self._since(consumer, self._clock.now_ms() - FIRST_MS, begins, ends)
            if mark is None:
                mark = Mark(lives, secrets.token_hex(4), whole=False)
                read += await self._part(consumer, hour, ends)
            elif mark.life != lives:
                newest_ms = await readback.newest_ms(consumer, begins, ends)
                read += await self._part(consumer, await self._since(consumer, newest_ms - LAST_MS, begins, ends), ends)
                mark = Mark(lives, mark.loss, mark.whole)
            if not await self._set(mark):
                return
            if not mark.whole:
                days_ms = self._clock.now_ms() - DAYS * DAY_MS
                read += await self._part(consumer, await self._since(consumer, days_ms, begins, ends), hour)
                await self._set(Mark(lives, mark.loss, whole=True))
        if read:
            log().warning("claims_read_back", documents=read, seconds=round(self._clock.monotonic_s() - began_s, 1))

    async def _since(self, consumer: AIOKafkaConsumer, at_ms: int, begins: Offsets, ends: Offsets) -> Offsets:
        if begins == ends:
            return begins
        found = await readback.since(consumer, dict.fromkeys(begins, at_ms), ends)
        return {one: max(at, begins[one]) for one, at in found.items()}

    async def _part(self, consumer: AIOKafkaConsumer, starts: Offsets, ends: Offsets) -> int:
        read = 0

        async def take(values: list[bytes]) -> None:
            nonlocal read
            for at in range(0, len(values), AT_ONCE):
                if not await self._mine():
                    raise ClaimsLost  # it was emptied again, and all that was read so far is gone with it: begin anew at once
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
