"""Redis by name: what aggregate loads when it takes a scored partition up, and the one call that makes a batch lasting.

`commit` is a compare-and-set on (owner, revision), lua/commit.lua: a stale, zombie or repeated call changes nothing and raises Fenced,
upon which the caller drops its memory and loads again. Keys and formats: groundswell/keys.py.
"""

import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from redis.exceptions import RedisError

from groundswell.clients.connect import RedisClient
from groundswell.errors import Fenced, RedisAway
from groundswell.keys import HOUR_MS, MINUTE_MS, Keys, pack_counters, unpack_counters
from groundswell.records import DocumentCard
from groundswell.running.books import Counts
from groundswell.telemetry import log
from stream.detection import surge
from stream.detection.cards import CARDS
from stream.detection.episodes import Episode
from stream.generation import Generation, current
from stream.rebuild import Rebuild
from stream.windows import Window

BUCKET_TTL_S = 8 * 86_400  # a week of charts and a day
CARDS_SHOWN = 60
PEEKS = 10
UNPACKED = 4_000  # arguments of one command in Lua, whose stack holds some 8,000; even, for pairs
_MINUTES = [bytes((minute,)) for minute in range(60)]
SCRIPT = (Path(__file__).parent / "lua" / "commit.lua").read_text(encoding="utf-8")

_card = msgspec.json.Decoder(DocumentCard).decode
_episode = msgspec.json.Decoder(Episode).decode
_rebuild = msgspec.json.Decoder(Rebuild).decode
_encode = msgspec.json.Encoder().encode


@dataclass
class Loaded:
    """A partition as Redis had it: where to go on, what is counted, what the detector knew."""

    owner: str
    revision: int
    offset: int | None
    window: Window
    subjects: list[str] = field(default_factory=list)
    state: surge.State | None = None
    open_episodes: dict[str, Episode] = field(default_factory=dict)
    cards: dict[str, deque[DocumentCard]] = field(default_factory=dict)
    echoes: dict[str, Counter[str]] = field(default_factory=dict)
    rebuild: Rebuild | None = None  # under way
    checkpointed_ms: int = 0


@dataclass
class Writes:
    """Redis commands of one commit, by key. Everything written is absolute, so that Lua needs no arithmetic."""

    arguments: list[Any] = field(default_factory=list)
    _places: dict[str, int] = field(default_factory=dict)  # key -> its place in KEYS; the state hash is the first

    @property
    def keys(self) -> list[str]:
        """What is written, beside the state hash."""
        return list(self._places)

    def add(self, command: str, key: str, *values: Any) -> None:
        """One command; long ones are cut so that Lua's `unpack` keeps to its stack. Cuts fall between pairs."""
        place = self._places.setdefault(key, len(self._places) + 2)
        for at in range(0, max(len(values), 1), UNPACKED):
            part = values[at : at + UNPACKED]
            self.arguments += [command, place, len(part), *part]


class Store:
    """One aggregator's view of Redis. `generation`: what state must belong to; an empty id: any."""

    def __init__(self, redis: RedisClient, keys: Keys, incarnation: str) -> None:
        self._redis, self._keys, self.incarnation = redis, keys, incarnation
        self.generation = Generation("")

    async def look(self) -> Generation:
        """Take up the generation that Redis is in. Raises RedisAway."""
        try:
            self.generation = await current(self._redis, self._keys)
        except RedisError as error:
            raise RedisAway(f"Redis failed while loading: {error!r}.") from error
        return self.generation

    async def take_up(self, partition: int, history_ms: int) -> Loaded:
        """Become the owner, then load. State of other topics (another incarnation) or of before a rebuild was asked for (another
        generation) is dropped. Raises RedisAway."""
        try:
            return await self._take_up(partition, history_ms)
        except RedisError as error:
            raise RedisAway(f"Loading scored partition {partition} failed: {error!r}.") from error

    async def _take_up(self, partition: int, history_ms: int) -> Loaded:
        key, owner = self._keys.state(partition), secrets.token_hex(8)
        await self._redis.hset(key, "owner", owner)  # first: from here on nobody else can write
        generation = self.generation.id
        found, of = await self._redis.hmget(key, "inc", "gen")
        if found is not None and found.decode() != self.incarnation:
            log().warning("other_incarnation", partition=partition, found=found.decode(), expected=self.incarnation)
            await self._drop(partition)
        elif generation and of and of.decode() != generation:
            log().warning("other_generation", partition=partition, found=of.decode(), expected=generation)
            await self._drop(partition)
        await self._redis.hset(key, mapping={"owner": owner, "inc": self.incarnation, "gen": generation})
        return await self._load(partition, owner, history_ms)

    async def peek(self, partition: int, history_ms: int, only: str = "") -> Loaded:
        """The same for somebody who only looks: nothing is written, the owner stays. As of one commit, unless commits come faster than
        a partition can be read. `only`: counts and texts of this one subject. Raises RedisAway."""
        try:
            for _ in range(PEEKS):
                loaded = await self._load(partition, "", history_ms, only)
                if int(await self._redis.hget(self._keys.state(partition), "rev") or 0) == loaded.revision:
                    break
        except RedisError as error:
            raise RedisAway(f"Looking at scored partition {partition} failed: {error!r}.") from error
        return loaded

    async def _load(self, partition: int, owner: str, history_ms: int, only: str = "") -> Loaded:
        key = self._keys.state(partition)
        raw = {name.decode(): value for name, value in (await self._redis.hgetall(key)).items()}
        window = Window(
            marks={int(name[1:]): int(value) for name, value in raw.items() if name[0] == "d"},
            watermark_ms=int(raw.get("wm", 0)),
            closed_ms=int(raw.get("closed", 0)),
            newest_ms=int(raw.get("newest", 0)),
            counts=msgspec.json.decode(raw["books"], type=Counts) if "books" in raw else Counts(),
        )
        loaded = Loaded(
            owner, int(raw.get("rev", 0)), int(raw["off"]) if "off" in raw else None, window,
            rebuild=_rebuild(raw["warm"]) if raw.get("warm") else None, checkpointed_ms=int(raw.get("ck", 0)),
        )  # fmt: skip
        rows = await self._redis.hgetall(self._keys.detector(partition))
        if rows:
            # In the order they came first, so that a reloaded detector is the same to the bit.
            ordered = sorted((int(value[:8].decode(), 16), name.decode(), value[8:]) for name, value in rows.items())
            loaded.subjects = [name for _, name, _ in ordered]
            loaded.state = surge.State.concat([surge.row_from_bytes(row) for _, _, row in ordered])
        stored = await self._redis.hgetall(self._keys.episodes(partition))
        loaded.open_episodes = {name.decode(): _episode(value) for name, value in stored.items()}
        await self._load_recent(partition, loaded, history_ms, [only] if only else loaded.subjects)
        return loaded

    async def _load_recent(self, partition: int, loaded: Loaded, history_ms: int, subjects: Sequence[str]) -> None:
        window = loaded.window
        if not subjects:
            return
        first_ms = min(
            [window.closed_ms - history_ms, *(episode.onset_ms for episode in loaded.open_episodes.values())]
        )
        hours = range(first_ms // HOUR_MS, (window.closed_ms + 24 * HOUR_MS) // HOUR_MS + 1)
        hours = range(max(hours.start, hours.stop - 240), hours.stop)
        for subject in subjects:
            pipeline = self._redis.pipeline(transaction=False)
            for hour in hours:
                pipeline.hgetall(self._keys.buckets(partition, subject, hour))
            pipeline.lrange(self._keys.negatives(partition, subject), 0, -1)
            pipeline.hgetall(self._keys.echoes(partition, subject))
            *buckets, cards, echoes = await pipeline.execute()
            for hour, minutes in zip(hours, buckets, strict=True):
                _take_in(window, subject, hour, minutes)
            loaded.cards[subject] = deque((_card(raw) for raw in cards), maxlen=CARDS)
            loaded.echoes[subject] = Counter({story.decode(): int(count) for story, count in echoes.items()})

    async def drop(self, partition: int) -> None:
        """Forget a partition, so that the next take-up finds nothing. Raises RedisAway."""
        try:
            await self._drop(partition)
        except RedisError as error:
            raise RedisAway(f"Dropping scored partition {partition} failed: {error!r}.") from error

    async def _drop(self, partition: int) -> None:
        state = self._keys.state(partition)
        async for key in self._redis.scan_iter(match=self._keys.partition_pattern(partition), count=1000):
            if key.decode() != state:
                await self._redis.delete(key)
        # Last: it names the incarnation, so a drop that was cut short is done again.
        await self._redis.delete(state)

    async def fetch(self, partition: int, window: Window, cold: Iterable[tuple[str, int]]) -> None:
        """Bring hours of subjects into memory before a fold changes minutes of them. Raises RedisAway."""
        wanted = sorted(cold)
        if not wanted:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for subject, hour in wanted:
            pipeline.hgetall(self._keys.buckets(partition, subject, hour))
        try:
            found = await pipeline.execute()
        except RedisError as error:
            raise RedisAway(f"Reading buckets failed: {error!r}.") from error
        for (subject, hour), minutes in zip(wanted, found, strict=True):
            _take_in(window, subject, hour, minutes)
            window.whole.setdefault(hour, set()).add(subject)

    async def ask(self, reads: Callable[[RedisClient], None]) -> list[Any]:
        """The answers to what `reads` puts into one pipeline. Raises RedisAway."""
        pipeline = self._redis.pipeline(transaction=False)
        reads(pipeline)
        try:
            found: list[Any] = await pipeline.execute()
        except RedisError as error:
            raise RedisAway(f"Reading what rules need failed: {error!r}.") from error
        return found

    async def waiting(self, partition: int) -> list[bytes]:
        """What a rebuild has found so far. Raises RedisAway."""
        try:
            found: list[bytes] = await self._redis.lrange(self._keys.waiting(partition), 0, -1)
        except RedisError as error:
            raise RedisAway(f"Reading what waits failed: {error!r}.") from error
        return found

    async def commit(self, partition: int, owner: str, revision: int, writes: Writes) -> int:
        """Make a batch lasting, all or nothing. Returns the new revision. Raises Fenced, also when the answer was lost."""
        try:
            # EVAL with the text, not its hash: a server that forgot the script would cost a round trip and, on fakeredis,
            # the connection; the text is small beside what it writes.
            names = [self._keys.state(partition), *writes.keys]
            answer = await self._redis.eval(SCRIPT, len(names), *names, owner, str(revision), *writes.arguments)
        except RedisError as error:
            # Written or not, we cannot know; a reload can.
            raise Fenced(f"The commit of scored partition {partition} got no answer: {error!r}.") from error
        if answer != b"ok":
            raise Fenced(f"Scored partition {partition}: the store says {answer.decode()}.")
        return revision + 1

    # -- what a commit holds ------------------------------------------------------------------------------------------

    def write_window(self, partition: int, window: Window, offset: int, writes: Writes) -> None:
        """Offset, marks, watermark, books and the buckets touched."""
        values: list[Any] = [
            "off", offset, "wm", window.watermark_ms, "closed", window.closed_ms, "newest", window.newest_ms,
            "books", _encode(window.counts),
        ]  # fmt: skip
        for documents_partition, mark in window.marks.items():
            values += [f"d{documents_partition}", mark]
        writes.add("HSET", self._keys.state(partition), *values)
        hours: dict[tuple[str, int], list[Any]] = {}
        for (subject, at_ms), counters in sorted(window.touched.items()):
            hour, in_hour_ms = divmod(at_ms, HOUR_MS)
            minute = _MINUTES[in_hour_ms // MINUTE_MS]
            hours.setdefault((subject, hour), []).extend((minute, pack_counters(counters)))
        for (subject, hour), fields in hours.items():
            key = self._keys.buckets(partition, subject, hour)
            writes.add("HSET", key, *fields)
            # Once is enough: an hour takes corrections for a day, and the append-only file need not say it each time.
            writes.add("EXPIRE", key, BUCKET_TTL_S, "NX")

    def write_rebuild(self, partition: int, rebuild: Rebuild | None, checkpointed_ms: int, writes: Writes) -> None:
        """How far a rebuild has come, or that none is under way."""
        warm = _encode(rebuild) if rebuild is not None else b""
        writes.add("HSET", self._keys.state(partition), "warm", warm, "ck", checkpointed_ms)

    def write_release(self, partition: int, untold: Sequence[bytes], writes: Writes) -> None:
        """A rebuild has ended: what nobody was told goes to the outbox, the rest is forgotten."""
        if untold:
            writes.add("RPUSH", self._keys.outbox(partition), *untold)
        writes.add("DEL", self._keys.waiting(partition))

    def write_detector(
        self, partition: int, subjects: Sequence[str], state: surge.State | None, writes: Writes
    ) -> None:
        """Every subject's row, after a step has closed."""
        if state is None:
            return
        key = self._keys.detector(partition)
        packed = state.to_bytes()
        head, row = packed[:8], (len(packed) - 8) // len(subjects)
        fields: list[Any] = []
        for i, subject in enumerate(subjects):
            fields += [subject, f"{i:08x}".encode() + head + packed[8 + i * row : 8 + (i + 1) * row]]
        writes.add("HSET", key, *fields)

    def write_episodes(
        self, partition: int, open_episodes: dict[str, Episode], gone: Iterable[str], writes: Writes
    ) -> None:
        """Open and lately resolved episodes, absolute."""
        key = self._keys.episodes(partition)
        for subject in gone:
            writes.add("HDEL", key, subject)
        for subject, episode in open_episodes.items():
            writes.add("HSET", key, subject, _encode(episode))

    def write_cards(
        self, partition: int, subject: str, shown: Sequence[DocumentCard], negatives: Sequence[DocumentCard],
        echoes: dict[str, int], writes: Writes,
    ) -> None:  # fmt: skip
        """New documents of one subject: for the lists people see, and the negative ones an alert is made of."""
        if shown:
            key = self._keys.documents(partition, subject)
            scored: list[Any] = []
            for one in shown[-CARDS_SHOWN:]:
                scored += [one.published_at, _encode(one)]
            writes.add("ZADD", key, *scored)
            writes.add("ZREMRANGEBYRANK", key, 0, -CARDS_SHOWN - 1)
            writes.add("EXPIRE", key, BUCKET_TTL_S)
        if negatives:
            key = self._keys.negatives(partition, subject)
            writes.add("RPUSH", key, *(_encode(one) for one in negatives[-CARDS:]))
            writes.add("LTRIM", key, -CARDS, -1)
            writes.add("EXPIRE", key, BUCKET_TTL_S)
        if echoes:
            key = self._keys.echoes(partition, subject)
            fields: list[Any] = []
            for story, count in echoes.items():
                fields += [story, count]
            writes.add("HSET", key, *fields)
            writes.add("EXPIRE", key, BUCKET_TTL_S)


def _take_in(window: Window, subject: str, hour: int, minutes: dict[bytes, bytes]) -> None:
    """What Redis has of an hour; what memory has is as new or newer."""
    for minute, packed in sorted(minutes.items()):
        at_ms = hour * HOUR_MS + minute[0] * MINUTE_MS
        window.minutes.setdefault(subject, {}).setdefault(at_ms, list(unpack_counters(packed)))
