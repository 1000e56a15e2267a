"""Who was first: each document is claimed once, with the story it belongs to, so that a replay decides the same.

Claims and stories live in Redis for a while; stories.py says when two texts are copies. The first claimer wins, and the same coordinates
win again: what a tagger reads twice it decides twice alike.

A claim is one field of a small hash, and there are SHARDS of them a day of arrival, because a key of its own takes five times the memory.
Redis keeps a hash packed up to 512 fields (hash-max-listpack-entries), so that holds from about 250,000 to 8 million documents a day.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from groundswell.clients.connect import RedisClient
from groundswell.keys import Keys
from groundswell.records import Document, Source, Tagged
from groundswell.reserved import tests
from stream import stories

SHARDS = 16_384
DAY_MS = 86_400_000
DAYS = 2  # a claim is remembered for at least so many days beside its own
CLAIM_S = (DAYS + 1) * 86_400 + 3_600
MIDNIGHT_MS = 3_600_000  # a twin on another partition may have arrived a little later and still be read first
STORY_S = 24 * 3600
STORY_MS = STORY_S * 1000  # copies further apart, by event time, are news again


class Claim(StrEnum):
    NEW = "new"
    AGAIN = "again"  # read twice by a replay: same coordinates, same story
    DUPLICATE = "duplicate"  # pushed twice


@dataclass(frozen=True)
class Claimed:
    """One document's standing. `echo`: a copy of a story that somebody else told first."""

    claim: Claim
    story: str
    echo: bool


Said = tuple[Source, Document, str]  # coordinates, document, story
Sure = Callable[[Sequence[Said]], Awaitable[None]]


def digest(document: Document | Tagged) -> str:
    """24 hex digits for (source, id): ids are a source's own, so two sources may use the same one."""
    return hashlib.blake2b(f"{document.source}\0{document.id}".encode("utf-8", "replace"), digest_size=12).hexdigest()


async def claim(
    redis: RedisClient, keys: Keys, documents: Sequence[tuple[Source, Document]], *, sure: Sure | None = None
) -> list[Claimed]:
    """In order of reading; one answer a document. Five round trips, whatever the number of documents. `sure` is awaited with all that is
    to be claimed, after the last read and before the first write: where it raises, nothing is claimed (reclaim.py)."""
    names = [digest(document) for _, document in documents]
    held = await _held(
        redis,
        keys,
        [(name, document.ingested_at) for name, (_, document) in zip(names, documents, strict=True)],
    )
    answers: list[Claimed | None] = [None] * len(names)
    first_of: dict[str, int] = {}
    fresh: list[int] = []
    for i, (name, value) in enumerate(zip(names, held, strict=True)):
        if value is not None:
            answers[i] = _standing(value, documents[i][0], name)
        elif name in first_of:
            answers[i] = Claimed(Claim.DUPLICATE, name, echo=False)
        else:
            first_of[name] = i
            fresh.append(i)
    found, telling = await _find_stories(redis, keys, [(names[i], documents[i][1]) for i in fresh])
    for i, story in zip(fresh, found, strict=True):
        answers[i] = Claimed(Claim.NEW, story, story != names[i])
    if sure is not None:
        mine = [i for i, answer in enumerate(answers) if answer is not None and answer.claim is not Claim.DUPLICATE]
        await sure([(*documents[i], answer.story) for i in mine if (answer := answers[i]) is not None])
    await telling.execute()  # first: a claim that survives has its story
    wanted = [
        (documents[i][0], names[i], documents[i][1].ingested_at, story) for i, story in zip(fresh, found, strict=True)
    ]
    won = await _write(redis, keys, wanted)
    lost = [i for i, mine in zip(fresh, won, strict=True) if not mine]  # another claimed it since we looked
    before = await _held(redis, keys, [(names[i], documents[i][1].ingested_at) for i in lost])
    for i, value in zip(lost, before, strict=True):
        if value is not None:
            answers[i] = _standing(value, documents[i][0], names[i])
    return [answer for answer in answers if answer is not None]


async def release(redis: RedisClient, keys: Keys, documents: Sequence[tuple[Source, Document]]) -> None:
    """Give up what these coordinates have claimed: they became dead letters, and who sends them again shall win."""
    names = [(digest(document), document.ingested_at) for _, document in documents]
    pipeline = redis.pipeline(transaction=False)
    for (name, at_ms), (src, _), value in zip(names, documents, await _held(redis, keys, names), strict=True):
        if value is not None and _standing(value, src, name).claim is Claim.AGAIN:
            pipeline.hdel(_key(keys, name, at_ms // DAY_MS), _field(name))
    await pipeline.execute()


async def remember(redis: RedisClient, keys: Keys, told: Sequence[Tagged]) -> None:
    """Claim again what was written, after Redis has lost it. What is claimed already stands."""
    await _write(redis, keys, [(one.src, digest(one), one.ingested_at, one.story) for one in told])


async def reissue(redis: RedisClient, keys: Keys, claims: Sequence[tuple[Source, str, int, str]]) -> None:
    """Claim again what was claimed a moment ago: (coordinates, name, time of arrival, story) each. What is there stands."""
    await _write(redis, keys, claims)


async def retell(redis: RedisClient, keys: Keys, originals: Sequence[Document], now_ms: int) -> None:
    """Tell stories again that Redis has lost, each as long as it would have been remembered. Who tells one first stands."""
    pipeline = redis.pipeline(transaction=False)
    for document in originals:
        left_s = STORY_S - (now_ms - document.ingested_at) // 1000
        if left_s <= 0 or tests(document):
            continue
        name, signature = digest(document), stories.signature(document.words, document.lang)
        raw = stories.encode(signature) if signature is not None else b""
        pipeline.set(keys.signature(name), raw, ex=left_s, nx=True)
        for band in _bands(document, signature):
            pipeline.set(keys.band(band), f"{name}|{document.published_at}", ex=left_s, nx=True)
    await pipeline.execute()


async def _held(redis: RedisClient, keys: Keys, names: Sequence[tuple[str, int]]) -> list[bytes | None]:
    """The claim on each name that is remembered at its time of arrival."""
    if not names:
        return []
    pipeline = redis.pipeline(transaction=False)
    asked = []
    for name, at_ms in names:
        days = range(at_ms // DAY_MS - DAYS, (at_ms + MIDNIGHT_MS) // DAY_MS + 1)
        asked.append(len(days))
        for day in days:
            pipeline.hget(_key(keys, name, day), _field(name))
    values = iter(await pipeline.execute())
    return [
        next((value for value in [next(values) for _ in range(count)] if value is not None), None) for count in asked
    ]


async def _write(redis: RedisClient, keys: Keys, claims: Sequence[tuple[Source, str, int, str]]) -> list[bool]:
    """(coordinates, name, time of arrival, story) each; whether the claim was won."""
    if not claims:
        return []
    pipeline = redis.pipeline(transaction=False)
    for src, name, at_ms, story in claims:
        key = _key(keys, name, at_ms // DAY_MS)
        pipeline.hsetnx(key, _field(name), _value(src, story, name))
        pipeline.expire(key, CLAIM_S, nx=True)
    return [bool(won) for won in (await pipeline.execute())[::2]]


def _key(keys: Keys, name: str, day: int) -> str:
    return keys.claim(day, int(name[:4], 16) % SHARDS)


def _field(name: str) -> bytes:
    """8 bytes: with the shard's 14 bits, the chance that any two of ten million documents share them is 2e-10."""
    return bytes.fromhex(name[4:20])


def _value(src: Source, story: str, name: str) -> bytes:
    """The coordinates, 7 bits a byte, then the story if it is not the document's own."""
    place = b"".join(_packed(number) for number in (src.partition, src.offset, src.index))
    return place if story == name else place + bytes.fromhex(story)


def _packed(number: int) -> bytes:
    packed = bytearray()
    while number > 0x7F:
        packed.append(number & 0x7F | 0x80)
        number >>= 7
    packed.append(number)
    return bytes(packed)


def _standing(value: bytes, src: Source, name: str) -> Claimed:
    own = _value(src, name, name)
    end, numbers = 0, 0
    while numbers < 3:
        numbers += value[end] < 0x80
        end += 1
    story = value[end:].hex() or name
    return Claimed(Claim.AGAIN if value[:end] == own else Claim.DUPLICATE, story, story != name)


async def _find_stories(redis: RedisClient, keys: Keys, fresh: Sequence[tuple[str, Document]]) -> tuple[list[str], Any]:
    """The story of each: a known one whose words are nearly the same within a day, else its own. Also the pipeline that tells the
    new ones."""
    pipeline = redis.pipeline(transaction=False)
    if not fresh:
        return [], pipeline
    signatures = [stories.signature(document.words, document.lang) for _, document in fresh]
    bands = [_bands(document, signature) for (_, document), signature in zip(fresh, signatures, strict=True)]
    flat = [keys.band(band) for own in bands for band in own]
    known: dict[str, bytes | None] = dict(zip(flat, await redis.mget(flat), strict=True))
    candidates = sorted({value.partition(b"|")[0].decode() for value in known.values() if value})
    stored = await redis.mget([keys.signature(story) for story in candidates]) if candidates else []
    remembered: dict[str, bytes] = {
        story: raw for story, raw in zip(candidates, stored, strict=True) if raw is not None
    }

    found: list[str] = []
    for (name, document), signature, own in zip(fresh, signatures, bands, strict=True):
        if tests(document):  # a drill says the same each time, and nobody's story is its echo
            found.append(name)
            continue
        near = [
            story
            for story, at_ms in (_parts(known.get(keys.band(band))) for band in own)
            if story and abs(document.published_at - at_ms) <= STORY_MS
        ]
        if signature is None:
            story = near[0] if near else name
        else:
            pairs = (
                (story, stories.decode(remembered[story])) for story in dict.fromkeys(near) if remembered.get(story)
            )
            best = stories.nearest(signature, pairs)
            story = best[0] if best else name
        if story == name:  # an original: later copies in this very batch must find it too
            raw = stories.encode(signature) if signature is not None else b""
            remembered[name] = raw
            pipeline.set(keys.signature(name), raw, ex=STORY_S)
            for band in own:
                value = f"{name}|{document.published_at}"
                known[keys.band(band)] = value.encode()
                pipeline.set(keys.band(band), value, ex=STORY_S)
        found.append(story)
    return found, pipeline


def _bands(document: Document, signature: stories.Signature | None) -> list[str]:
    if signature is None:  # too short to compare: a hundred people may say 跌停了, only one's own repeat is an echo
        return [f"={stories.fingerprint(document.words).hex()}{document.author or document.source}"]
    return [band.hex() for band in stories.bands(signature)]


def _parts(value: bytes | None) -> tuple[str, int]:
    if value is None:
        return "", 0
    story, _, at_ms = value.partition(b"|")
    return story.decode(), int(at_ms)
