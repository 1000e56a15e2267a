"""What is written of a document once the model has answered: its rows, one a subject, and the record for anybody. Pure; tag.py sends it."""

from collections import defaultdict
from dataclasses import dataclass

import msgspec

from groundswell.markets import MARKET, market_of
from groundswell.records import Document, Row, ScoredBatch, ScoredDocument, Source, Tagged
from groundswell.reserved import tests
from groundswell.tagging import UNREAD, Polarity, Span, Tag
from stream.claims import Claimed
from stream.topology import Topology

EXCERPT_CHARS, TITLE_CHARS = 280, 200
RECORD_BYTES = 900_000

_encode = msgspec.json.Encoder().encode


@dataclass
class Item:
    """One document on its way through."""

    src: Source
    document: Document
    claimed: Claimed
    tag: Tag | None = None


def scored(item: Item, topology: Topology) -> dict[int, ScoredDocument]:
    """The document's rows, by the scored partition that is each subject's home."""
    assert item.tag is not None
    document, tag = item.document, item.tag
    companies = company_rows(document, tag)
    topics = [topic for topic, _ in tag.topics if topic != "other"]
    markets = sorted({market_of(row.subject) for row in companies} - {""})
    subjects = [] if tests(document) else [*(f"topic:{topic}" for topic in topics), *markets, MARKET]
    rows: dict[int, list[Row]] = defaultdict(list)
    for row in (*companies, *(row_of(subject, tag) for subject in subjects)):
        rows[topology.scored_partition(row.subject)].append(row)
    excerpt = document.words[slice(*tag.deciding)].strip() if tag.deciding else document.text
    return {
        scored_partition: ScoredDocument(
            index=item.src.index, id=document.id, story=item.claimed.story, echo=item.claimed.echo,
            published_at=document.published_at, ingested_at=document.ingested_at, source=document.source, author=document.author,
            feed=document.feed, lang=document.lang, title=document.title[:TITLE_CHARS], url=document.url,
            excerpt=excerpt[:EXCERPT_CHARS], about=tuple(row.subject for row in companies), topics=tuple(topics), rows=tuple(own),
        )
        for scored_partition, own in rows.items()
    }  # fmt: skip


def tagged(item: Item, at_ms: int, model: str) -> Tagged:
    """The document for anybody, as `model` read it."""
    assert item.tag is not None
    document, tag = item.document, item.tag
    return Tagged(
        id=document.id, src=item.src, story=item.claimed.story, echo=item.claimed.echo, title=document.title, text=document.text,
        url=document.url, source=document.source, author=document.author, feed=document.feed, lang=document.lang,
        published_at=document.published_at, ingested_at=document.ingested_at,
        tagged_at=at_ms,
        label=tag.polarity, negative=tag.negative, neutral=tag.neutral, positive=tag.positive, unsure=tag.unsure,
        topics=tag.topics, mentions=document.mentions, deciding=tag.deciding, words=tag.words, companies=company_rows(document, tag),
        truncated=tag.truncated, model=model,
    )  # fmt: skip


def places(document: Document) -> list[Span]:
    """Where the companies stand that the text itself names, in the order of its mentions."""
    return [(mention.start, mention.end) for mention in document.mentions if mention.start >= 0]


def company_rows(document: Document, tag: Tag) -> list[Row]:
    """One row a company. What the text names is judged where it stands; what only the feed names has no place, and
    the feed says that the whole text is about it. A name beyond what the model read counts as mentioned, no more."""
    named = [mention.subject for mention in document.mentions if mention.start >= 0]
    judged = dict(zip(named, tag.targets, strict=False))
    return [
        row_of(subject, judged.get(subject, UNREAD if subject in named else tag) or UNREAD)
        for subject in dict.fromkeys(mention.subject for mention in document.mentions)
    ]


def row_of(subject: str, polarity: Polarity) -> Row:
    return Row(subject, polarity.polarity, polarity.negative, polarity.unsure, polarity.positive)


def batches(partition: int, offset: int, documents: list[ScoredDocument], model: str) -> list[bytes]:
    """Encoded ScoredBatches of at most RECORD_BYTES, split between documents only: marks are a document's."""
    raw = _encode(ScoredBatch(partition=partition, offset=offset, documents=documents, model=model))
    if len(raw) <= RECORD_BYTES or len(documents) == 1:
        return [raw]
    half = len(documents) // 2
    return batches(partition, offset, documents[:half], model) + batches(partition, offset, documents[half:], model)
