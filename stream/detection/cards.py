"""The negative originals behind a surge, as cards: what a list shows of a document, and which of them tell one story in other words."""

from collections.abc import Iterable

from groundswell.records import DocumentCard
from stream.windows import Applied

CARDS = 500  # newest negative originals kept a subject
FAMILY_WORDS = 8


def card(applied: Applied, subject: str) -> DocumentCard:
    """What is shown of a document in a list of `subject`."""
    document = applied.document
    row = next(row for row in applied.rows if row.subject == subject)
    return DocumentCard(
        id=document.id, story=document.story, published_at=document.published_at, source=document.source, label=row.label,
        negative=row.negative, lang=document.lang, feed=document.feed, author=document.author, title=document.title,
        excerpt=document.excerpt, url=document.url, unsure=row.unsure, echo=document.echo, about=document.about,
        topics=document.topics,
    )  # fmt: skip


def family(one: DocumentCard) -> str:
    """Stories that tell one thing in nearly one headline: the same link, or the same first eight words; else its story."""
    if one.url:
        return one.url.partition("?")[0]
    words = (one.title or one.excerpt).casefold().split()
    return " ".join(words[:FAMILY_WORDS]) if len(words) >= FAMILY_WORDS else one.story


def voice(one: DocumentCard) -> str:
    """Who speaks: of news its publisher, else its author, where one is named."""
    return f"news|{one.source}" if one.feed == "news" else one.author


def voices(cards: Iterable[DocumentCard]) -> int:
    """How many speak."""
    return len({voice(one) for one in cards} - {""})
