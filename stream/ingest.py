"""From bytes that anybody pushed to documents that are clean, timed and linked. Pure; intake.py is the Faust app around it.

A message is one JSON object or an array of up to 500. One bad element never harms its neighbours: it becomes a dead letter with its
reason and its coordinates. `take` cannot raise.
"""

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Raw

from groundswell import errors, times
from groundswell.clock import Clock
from groundswell.decisions import Stage
from groundswell.language import language
from groundswell.letters import letter_of
from groundswell.records import (
    MAX_DOCUMENTS,
    MAX_TEXT_BYTES,
    MAX_URL_CHARS,
    DeadLetter,
    Document,
    InboundDocument,
    Mention,
    Source,
)
from groundswell.text import NORMALISER_VERSION, normalise, safe

BOM = b"\xef\xbb\xbf"
TITLE_CHARS, NAME_CHARS, ID_CHARS = 500, 120, 200
YEAR_1990_MS = 631_152_000_000
YEAR_10000_MS = 253_402_300_800_000  # no calendar downstream goes further

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)

Link = Callable[[str, list[str]], list[Mention]]


@dataclass(frozen=True)
class Terms:
    """What ingest is told: how to link, how far ahead a time may be, whose clock counts, how authors are hashed."""

    link: Link
    clock: Clock
    future_s: float = 300.0
    event_time: bool = False  # a replay: each document is scored as of its own time
    pepper: str = "groundswell"


@dataclass
class Taken:
    """What one message became."""

    documents: list[Document] = field(default_factory=list)
    dead: list[DeadLetter] = field(default_factory=list)

    @property
    def read(self) -> int:
        return len(self.documents) + len(self.dead)


def take(
    value: bytes | None, topic: str, feed: Literal["news", "comments"], partition: int, offset: int, terms: Terms
) -> Taken:
    """All documents of one message, and a dead letter for each that is refused."""
    intake = Taken()
    now_ms = terms.clock.now_ms()

    def refuse(error: errors.Refused, raw: bytes, index: int) -> None:
        src = Source(partition, offset, index)
        intake.dead.append(letter_of(error, stage=Stage.INGEST, topic=topic, src=src, at_ms=now_ms, payload=raw))

    whole = value or b""
    try:
        found = elements(whole)
    except errors.Refused as error:
        refuse(error, whole, 0)
        return intake
    for index, raw in enumerate(found):
        try:
            intake.documents.append(_one(raw, feed, now_ms, terms))
        except errors.Refused as error:
            refuse(error, raw, index)
    return intake


def elements(whole: bytes) -> list[bytes]:
    """The documents of a message, byte for byte; a message that is no array is one. Raises Refused."""
    array = whole.removeprefix(BOM).strip()
    if not array:
        raise errors.NotJson("The message is empty.")
    if not array.startswith(b"["):
        return [whole]
    try:
        found = [bytes(raw) for raw in msgspec.json.decode(array, type=list[Raw])]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        # First by hand: what cannot be read is one element, and the others stay as they were sent.
        split = _split(array)
        found = [bytes(raw) for raw in _decoded(array, list[Raw])] if split is None else split
    if not found:
        raise errors.EmptyArray
    if len(found) > MAX_DOCUMENTS:
        raise errors.TooManyDocuments(f"The array holds {len(found)} documents.")
    return found


def _split(array: bytes) -> list[bytes] | None:
    """The elements of an array that holds something unreadable, so that only that one is refused; None if it has no end."""
    elements, start, depth = [], 1, 0
    for token in _TOKEN.finditer(array):
        mark = token[0]
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
        if (depth == 1 and mark == b",") or depth == 0:
            elements.append(array[start : token.start()].strip())
            start = token.end()
        if depth == 0:
            return elements if start == len(array) and mark == b"]" else None
    return None


def _decoded(raw: bytes, shape: Any) -> Any:
    """msgspec with its three ways to fail made ours. Even an unknown field can nest past the interpreter's limit."""
    try:
        return msgspec.json.decode(raw, type=shape)
    except msgspec.ValidationError as error:
        raise errors.WrongShape(f"{error}.") from error
    except msgspec.DecodeError as error:
        mended = _ESCAPE.sub(lambda match: rb"\ufffd" if match[1] else match[0], raw)
        if mended != raw:  # half of an escaped surrogate pair: a feed cut an emoji in two
            return _decoded(mended, shape)
        raise errors.NotJson(f"{error}.") from error
    except UnicodeDecodeError as error:
        raise errors.NotUtf8(f"Byte {error.start} is not UTF-8.") from error
    except RecursionError as error:
        raise errors.NestedTooDeep from error


def _one(raw: bytes, feed: Literal["news", "comments"], now_ms: int, terms: Terms) -> Document:
    inbound: InboundDocument = _decoded(raw.removeprefix(BOM), InboundDocument)
    if len(inbound.text.encode()) > MAX_TEXT_BYTES:
        raise errors.TextTooLong(f"The text has {len(inbound.text.encode())} bytes.")
    text = normalise(inbound.text)
    if not text:
        raise errors.NoText
    title = normalise(inbound.title)[:TITLE_CHARS] if inbound.title else ""
    published_at = _event_time(inbound.published_at, now_ms, terms)
    words = f"{title}\n{text}" if title else text
    # A source may be an address (www.example.com), which normalise would take away.
    source = normalise(inbound.source or "")[:NAME_CHARS] or safe(inbound.source or "", NAME_CHARS) or "unknown"
    url = _web_address(inbound.url)
    return Document(
        id=_identity(inbound, source, url, text),
        text=text,
        title=title,
        url=url,
        source=source,
        author=_hashed(inbound.author, source, terms.pepper),
        feed=inbound.feed or feed,
        lang=language(words),
        published_at=published_at,
        ingested_at=published_at if terms.event_time else now_ms,
        mentions=terms.link(words, [symbol[:NAME_CHARS] for symbol in (inbound.symbols or [])[:50]]),
        engagement={
            normalise(name)[:NAME_CHARS]: value for name, value in list((inbound.engagement or {}).items())[:20]
        },
        parent_id=_given(inbound.parent_id),
        retracted=inbound.retracted,
        normaliser=NORMALISER_VERSION,
    )


def _event_time(given: str | float | None, now_ms: int, terms: Terms) -> int:
    if given is None:
        return now_ms
    try:
        at_ms = times.parse_ms(given) if isinstance(given, str) else round(given)
    except (ValueError, OverflowError) as error:
        raise errors.BadTime(f"published_at is {safe(str(given), 60)!r}: {error}.") from error
    if at_ms < YEAR_1990_MS:
        raise errors.TooOld(f"published_at is {at_ms} ms after 1970.")
    if at_ms >= YEAR_10000_MS:
        raise errors.FromTheFuture(
            "published_at lies after the year 9999.", remedy="Send milliseconds, not microseconds."
        )
    ahead_s = (at_ms - now_ms) / 1000
    if not terms.event_time and ahead_s > terms.future_s:
        raise errors.FromTheFuture(f"published_at is {math.ceil(ahead_s)} s ahead.")
    return at_ms


def _identity(inbound: InboundDocument, source: str, url: str, text: str) -> str:
    """As given; else from the link; else from who said what where, so that a record pushed twice is one document."""
    given = _given(inbound.id)
    return given or _digest(f"url\0{url}" if url else f"text\0{source}\0{inbound.author or ''}\0{text}")


def _given(name: str | None) -> str:
    """An id as its source gave it, which may well be an address; one that is too long or cannot be shown becomes a hash."""
    name = (name or "").strip()
    return name if len(name) <= ID_CHARS and name.isprintable() else _digest(f"id\0{name}")


def _digest(seed: str) -> str:
    return "h" + hashlib.blake2b(seed.encode("utf-8", "replace"), digest_size=12).hexdigest()


def _hashed(author: str | None, source: str, pepper: str) -> str:
    if not author:
        return ""
    key = pepper.encode()[:64]
    return hashlib.blake2b(f"{source}|{author}".encode("utf-8", "replace"), key=key, digest_size=8).hexdigest()


def _web_address(url: str | None) -> str:
    """http and https only, as given; anything else is dropped, for a page will make it a link."""
    if not url or len(url) > MAX_URL_CHARS or " " in url or not url.isprintable():
        return ""
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.hostname else ""
