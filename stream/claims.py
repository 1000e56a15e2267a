"""Who was first: each document is claimed once, with the story it belongs to, so that a replay decides the same.

Claims and stories live in Redis for a while; stories.py says when two texts are copies. The first claimer wins, and the same coordinates
win again: what a tagger reads twice it decides twice alike.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from groundswell.connect import RedisClient
from groundswell.keys import Keys
from groundswell.records import Document, Source
from stream import stories

CLAIM_S = 48 * 3600
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


def digest(document: Document) -> str:
    """24 hex digits for (source, id): ids are a source's own, so two sources may use the same one."""
    return hashlib.blake2b(f"{document.source}\0{document.id}".encode("utf-8", "replace"), digest_size=12).hexdigest()


async def claim(redis: RedisClient, keys: Keys, documents: Sequence[tuple[Source, Document]]) -> list[Claimed]:
    """In order of reading; one answer a document. Three round trips, whatever the number of documents."""
    names = [digest(document) for _, document in documents]
    held = await redis.mget([keys.claim(name) for name in names]) if names else []
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
    found = await _find_stories(redis, keys, [(names[i], documents[i][1]) for i in fresh])
    pipeline = redis.pipeline(transaction=False)
    for i, story in zip(fresh, found, strict=True):
        pipeline.set(keys.claim(names[i]), _value(documents[i][0], story), nx=True, get=True, ex=CLAIM_S)
    for i, story, before in zip(fresh, found, await pipeline.execute(), strict=True):
        lost = before is not None
        answers[i] = (
            _standing(before, documents[i][0], names[i]) if lost else Claimed(Claim.NEW, story, story != names[i])
        )
    return [answer for answer in answers if answer is not None]


def _value(src: Source, story: str) -> str:
    return f"{src.partition}:{src.offset}:{src.index}:{story}"


def _standing(value: bytes, src: Source, name: str) -> Claimed:
    coordinates, _, story = value.decode().rpartition(":")
    ours = coordinates == f"{src.partition}:{src.offset}:{src.index}"
    return Claimed(Claim.AGAIN if ours else Claim.DUPLICATE, story, story != name)


async def _find_stories(redis: RedisClient, keys: Keys, fresh: Sequence[tuple[str, Document]]) -> list[str]:
    """The story of each: a known one whose words are nearly the same within a day, else its own."""
    if not fresh:
        return []
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
    pipeline = redis.pipeline(transaction=False)
    for (name, document), signature, own in zip(fresh, signatures, bands, strict=True):
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
    await pipeline.execute()
    return found


def _bands(document: Document, signature: stories.Signature | None) -> list[str]:
    if signature is None:  # too short to compare: a hundred people may say 跌停了, only one's own repeat is an echo
        return [f"={stories.fingerprint(document.words).hex()}{document.author or document.source}"]
    return [band.hex() for band in stories.bands(signature)]


def _parts(value: bytes | None) -> tuple[str, int]:
    if value is None:
        return "", 0
    story, _, at_ms = value.partition(b"|")
    return story.decode(), int(at_ms)
