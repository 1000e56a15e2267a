"""What the negative texts about one subject were on, who published them, and which stories spread: tables for a span of time.

Counted over the cards that aggregate keeps of a subject, its newest KEPT negative originals. An answer says over how many
of them it was counted and how far back they reach (`since`), so that a table never looks whole where it is not. Pure but for
`read`; groundswell/keys.py says where the cards lie.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct, field
from redis.asyncio import Redis
from redis.exceptions import RedisError

from dashboard.rows import link
from groundswell.errors import RedisAway
from groundswell.keys import MINUTE_MS, Keys
from groundswell.records import DocumentCard
from groundswell.telemetry import log
from groundswell.text import safe

KEPT = 500  # cards a subject, newest applied last (stream/detection/cards.py)
BINS = 60  # at most: places of a strip over the span
LATE_CARDS = 5  # of the oldest kept, some may have come late: the youngest of these says how far back the cards reach
TOP_PARTS, TOP_SOURCES, TOP_STORIES = 8, 8, 8

_card = msgspec.json.Decoder(DocumentCard)


class PartRow(Struct, kw_only=True):
    """A topic or a company that negative texts were about; `over` counts them, a place every `bin_ms` from `from`."""

    id: str
    negatives: int
    over: list[int]


class SourceRow(Struct, kw_only=True):
    source: str
    negatives: int
    stories: int
    newest: int


class StoryRow(Struct, kw_only=True):
    """`reach` is its originals in the span and all its copies so far."""

    story: str
    title: str
    source: str
    lang: str
    url: str
    first: int
    newest: int
    negatives: int
    echoes: int
    reach: int
    topics: list[str]


class Breakdown(Struct, kw_only=True):
    """`documents` negative originals of [begin, end) were counted. `since`: cards before this moment are no longer kept; null when
    all of the span are."""

    subject: str
    begin: int = field(name="from")
    end: int = field(name="to")
    bin_ms: int
    documents: int
    kept: int
    since: int | None
    topics: list[PartRow]
    companies: list[PartRow]
    sources: list[SourceRow]
    sources_total: int
    stories: list[StoryRow]
    stories_total: int


async def read(redis: Redis, keys: Keys, scored: int, subject: str) -> tuple[list[DocumentCard], dict[str, int]]:
    """All cards of a subject, oldest applied first, and how often each story was copied. Raises RedisAway."""
    try:
        pipeline = redis.pipeline(transaction=False)
        pipeline.lrange(keys.negatives(scored, subject), -KEPT, -1)
        pipeline.hgetall(keys.echoes(scored, subject))
        raw, echoes = await pipeline.execute()
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
    return _decoded(raw), {story.decode(): int(count) for story, count in echoes.items()}


def breakdown(
    subject: str, cards: Sequence[DocumentCard], echoes: dict[str, int], begin_ms: int, end_ms: int
) -> Breakdown:
    """The tables of [begin, end)."""
    bin_ms = bin_of(begin_ms, end_ms)
    bins = -(-(end_ms - begin_ms) // bin_ms)
    within = [one for one in cards if begin_ms <= one.published_at < end_ms]
    sources, stories = _sources(within), _stories(within, echoes)
    return Breakdown(
        subject=subject, begin=begin_ms, end=end_ms, bin_ms=bin_ms, documents=len(within), kept=KEPT, since=_since(cards, begin_ms),
        topics=_parts(((topic, one.published_at) for one in within for topic in one.topics), begin_ms, bin_ms, bins),
        companies=_parts(((name, one.published_at) for one in within for name in one.about if name != subject), begin_ms, bin_ms, bins),
        sources=sources[:TOP_SOURCES], sources_total=len(sources), stories=stories[:TOP_STORIES], stories_total=len(stories),
    )  # fmt: skip


def bin_of(begin_ms: int, end_ms: int) -> int:
    """Whole minutes, so that a span has at most BINS of them."""
    return max(1, -(-(end_ms - begin_ms) // (BINS * MINUTE_MS))) * MINUTE_MS


def _since(cards: Sequence[DocumentCard], begin_ms: int) -> int | None:
    """Where the cards begin, when older ones of the span were dropped for newer ones."""
    if len(cards) < KEPT:
        return None
    oldest = max(one.published_at for one in cards[:LATE_CARDS])
    return oldest if oldest > begin_ms else None


def _parts(said: Iterable[tuple[str, int]], begin_ms: int, bin_ms: int, bins: int) -> list[PartRow]:
    over: dict[str, list[int]] = defaultdict(lambda: [0] * bins)
    for name, at_ms in said:
        over[name][(at_ms - begin_ms) // bin_ms] += 1
    found = [PartRow(id=name, negatives=sum(counts), over=counts) for name, counts in over.items()]
    return sorted(found, key=lambda row: (-row.negatives, row.id))[:TOP_PARTS]


def _sources(cards: Sequence[DocumentCard]) -> list[SourceRow]:
    counts = Counter(one.source for one in cards)
    stories: dict[str, set[str]] = defaultdict(set)
    newest: dict[str, int] = defaultdict(int)
    for one in cards:
        stories[one.source].add(one.story)
        newest[one.source] = max(newest[one.source], one.published_at)
    found = [
        SourceRow(source=safe(name, 80), negatives=count, stories=len(stories[name]), newest=newest[name])
        for name, count in counts.items()
    ]
    return sorted(found, key=lambda row: (-row.negatives, row.source))


def _stories(cards: Sequence[DocumentCard], echoes: dict[str, int]) -> list[StoryRow]:
    told: dict[str, list[DocumentCard]] = defaultdict(list)
    for one in cards:
        told[one.story].append(one)
    found = []
    for story, members in told.items():
        first = min(members, key=lambda one: one.published_at)
        copies = echoes.get(story, 0)
        found.append(
            StoryRow(
                story=story,
                title=safe(first.title or first.excerpt, 200),
                source=safe(first.source, 80),
                lang=first.lang,
                url=link(first.url),
                first=first.published_at,
                newest=max(one.published_at for one in members),
                negatives=len(members),
                echoes=copies,
                reach=len(members) + copies,
                topics=sorted({topic for one in members for topic in one.topics}),
            )
        )
    return sorted(found, key=lambda row: (-row.reach, -row.newest, row.story))


def _decoded(raw: list[Any]) -> list[DocumentCard]:
    cards = []
    for one in raw:
        try:
            cards.append(_card.decode(one))
        except msgspec.DecodeError as error:
            log().warning("document_card_unreadable", error=str(error)[:200])
    return cards
