"""Rows as pages and API show them, made from the records that aggregate and the relay leave in Redis. Pure."""

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from groundswell.decisions import SubjectState
from groundswell.markets import MARKET, market_of
from groundswell.records import MAX_URL_CHARS, Acknowledgement, AlertView, DocumentCard, LiveRow
from groundswell.shown import minute_ms
from groundswell.text import safe
from groundswell.times import parse_ms

NOBODY = "page"  # whom an acknowledgement without a name is from
NAME_CHARS = 200
REST = -9.0  # evidence under this is none: then the count decides


def span(low: int, high: int) -> str:
    """2–9, or 0 where both ends are one."""
    return f"{low}" if low == high else f"{low}–{high}"


def ack_row(ack: Acknowledgement | None) -> dict[str, Any] | None:
    """Who has seen an episode, when, and who looks into it; "" for somebody at the page who gave no name."""
    if ack is None:
        return None
    return {"by": "" if ack.by == NOBODY else ack.by, "at": ack.at, "note": ack.note, "assigned": ack.assigned}


def at_ms(value: Any) -> int | None:
    """Epoch milliseconds of a time in either of the forms that records use; None when it is neither."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return round(value) if math.isfinite(value) else None
    try:
        return parse_ms(str(value))
    except ValueError:
        return None


def names(given: Mapping[str, str]) -> dict[str, str]:
    """As people call a subject, short enough for a line."""
    return {language: _short(name) for language, name in given.items()}


@lru_cache(4_096)
def _short(name: str) -> str:
    return safe(name, NAME_CHARS)


def subject_row(row: LiveRow) -> dict[str, Any]:
    """One line of the overview."""
    return {
        "subject": row.subject,
        "kind": row.kind,
        "names": names(row.names),
        "state": row.state,
        "at": minute_ms(row.at),
        "neg": row.negatives_15,
        "exp": round(row.expected_15, 2),
        "lo": row.low_15,
        "hi": row.high_15,
        "mentions": row.mentions_15,
        "reach": row.reach_15,
        "share": round(row.share, 4),
        "evidence": round(row.evidence, 2),
        "spark": row.spark,
        "episode": row.episode,
        "market": market_of(row.subject),
    }


def rank(row: LiveRow) -> tuple[float, int, str]:
    """Sorting by this puts what needs eyes first: evidence, then negatives."""
    return (-max(row.evidence, REST), -row.negatives_15, row.subject)


def ratio(row: LiveRow) -> float | None:
    """Negatives against expected; None where nothing is known of what is normal."""
    known = row.state not in (SubjectState.LEARNING, SubjectState.WARMING)
    return row.negatives_15 / row.expected_15 if known and row.expected_15 > 0 else None


def pulse(rows: Mapping[str, LiveRow]) -> dict[str, Any]:
    """The market in one line: its own row where it is counted, otherwise what can be summed over the subjects. `first` is who fires
    most clearly."""
    own = rows.get(MARKET)
    subjects = [row for row in rows.values() if row is not own]
    firing = [row for row in subjects if row.state == SubjectState.FIRING]
    counted = {
        "subjects": len(subjects),
        "firing": len(firing),
        "learning": sum(row.state == SubjectState.LEARNING for row in subjects),
        "first": names(min(firing, key=rank).names) if firing else None,
    }
    if own is not None:
        return {**subject_row(own), **counted}
    companies = [row for row in subjects if "|" not in row.subject and row.kind not in ("topic", MARKET)]
    mentions = sum(row.mentions_15 for row in companies)
    negatives = sum(row.negatives_15 for row in companies)
    return {
        "neg": negatives,
        "exp": round(sum(row.expected_15 for row in companies), 2),
        "lo": None,
        "hi": None,
        "mentions": mentions,
        "reach": sum(row.reach_15 for row in companies),
        "share": round(negatives / mentions, 4) if mentions else 0.0,
        **counted,
    }


def alert_row(view: AlertView, ack: Acknowledgement | None = None) -> dict[str, Any]:
    """One line of the inbox."""
    data = view.event.data
    return {
        "episode": view.episode,
        "subject": view.subject,
        "names": names(data.subject.names),
        "state": view.state,
        "severity": data.severity,
        "test": data.test,
        "started_at": at_ms(data.started_at),
        "detected_at": at_ms(data.detected_at),
        "resolved_at": at_ms(data.resolved_at),
        "updated_at": at_ms(view.event.timestamp),
        "neg": data.observed.negatives,
        "exp": round(data.expected.negatives, 2),
        "lo": data.expected.low,
        "hi": data.expected.high,
        "window_s": data.window_s,
        "effect": round(data.effect, 2),
        "reach": data.observed.reach,
        "summary": data.summary,
        "ack": ack_row(ack),
    }


def card_row(card: DocumentCard) -> dict[str, Any]:
    """A document for a page: links that are none are left out, long texts are cut."""
    return {
        "id": card.id,
        "story": card.story,
        "published_at": card.published_at,
        "source": safe(card.source, 80),
        "label": card.label,
        "negative": round(card.negative, 4),
        "unsure": card.unsure,
        "echo": card.echo,
        "feed": card.feed,
        "lang": card.lang,
        "title": safe(card.title, 300),
        "excerpt": safe(card.excerpt, 600),
        "url": link(card.url),
    }


def link(url: str | None) -> str:
    """The address if it is one that a page may link to, else "": only http and https."""
    cleaned = (url or "").strip()
    return cleaned if cleaned.lower().startswith(("http://", "https://")) and len(cleaned) <= MAX_URL_CHARS else ""
