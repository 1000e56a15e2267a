"""An episode: one surge from onset to resolution, its transitions, and the alert event and evidence each transition freezes.

detect.py decides, this file writes down. Ids are hashes of rule, subject, onset and transition: the same input gives the same alerts.
"""

import hashlib
from collections import Counter
from typing import Any, Literal

from msgspec import Struct

from groundswell import times
from groundswell.records import (
    AlertData,
    AlertDocument,
    AlertEvent,
    AlertRule,
    AlertSubject,
    CauseCount,
    DocumentCard,
    Expected,
    Observed,
)
from groundswell.reserved import is_test
from stream.directory import Subject

RULE = AlertRule(id="negative-surge", version=1)
DOCUMENTS_SHOWN, CAUSES_SHOWN = 5, 5
REOPEN_MS = 3_600_000
CRITICAL_EFFECT, CRITICAL_NEGATIVES = 5.0, 20
MANY_TIMES = 20

EpisodeState = Literal["firing", "recovering", "resolved"]
AlertType = Literal["alert.firing", "alert.updated", "alert.resolved"]


class Episode(Struct, kw_only=True):
    """What is remembered of a surge while it lasts, and for some hours after. Times are epoch milliseconds of event time."""

    id: str
    subject: str
    state: EpisodeState
    previous: str = "pending"
    sequence: int = 0
    onset_ms: int
    fired_ms: int
    changed_ms: int
    kind: Literal["count", "share", "both"]
    ratio: float  # of the fast channel when it fired, kept: the surge must not raise its own expectation
    calm_steps: int = 0
    steps: int = 0  # closed since firing
    told_effect: float = 0.0
    told_ms: int = 0
    told_severe: bool = False
    resolved_ms: int = 0
    over: bool = False  # it cannot reopen any more; its end is kept, so that the next onset lies behind it


class Measured(Struct, kw_only=True, frozen=True):
    """What detect.py measured at a transition: from onset to now."""

    mentions: int
    negatives: int
    reach: int
    expected: float
    expected_low: int
    expected_high: int
    effect: float
    effect_low: float
    effect_high: float
    ln_m: float
    ln_h: float
    without_story: float  # ln of the e-value without the largest story
    evidence: dict[str, Any]


def severe(measured: Measured) -> bool:
    """Large against the expected, and large at all."""
    return measured.effect >= CRITICAL_EFFECT and measured.negatives >= CRITICAL_NEGATIVES


def identity(subject: str, onset_ms: int) -> str:
    """The id of an episode."""
    return "ep_" + _hash(RULE.id, str(RULE.version), subject, str(onset_ms))[:24]


def event(
    kind: AlertType, episode: Episode, subject: Subject, measured: Measured, documents: list[tuple[DocumentCard, int]],
    at_ms: int, page_url: str, versions: dict[str, str],
) -> AlertEvent:  # fmt: skip
    """The record that goes to people and machines. `documents`: all negative originals with their echo counts, best first."""
    topics = Counter(topic for card, _ in documents for topic in card.topics)
    shown = [_document(card, echoes) for card, echoes in documents[:DOCUMENTS_SHOWN]]
    share = measured.negatives / measured.mentions if measured.mentions else 0.0
    onset = times.rfc3339(episode.onset_ms)
    return AlertEvent(
        id="gw_" + _hash(episode.id, kind, str(episode.sequence))[:32],
        type=kind,
        timestamp=times.rfc3339(at_ms),
        data=AlertData(
            episode_id=episode.id,
            sequence=episode.sequence,
            state=episode.state,
            previous_state=episode.previous,
            test=is_test(subject.id),
            severity="critical" if severe(measured) else "warning",
            rule=RULE,
            subject=AlertSubject(id=subject.id, kind=subject.kind, names=subject.names),
            kind=episode.kind,
            started_at=onset,
            detected_at=times.rfc3339(episode.fired_ms),
            resolved_at=times.rfc3339(episode.resolved_ms) if episode.resolved_ms else None,
            window_s=max(60, (at_ms - episode.onset_ms) // 1000),
            observed=Observed(
                mentions=measured.mentions,
                negatives=measured.negatives,
                negative_share=round(share, 3),
                reach=measured.reach,
            ),
            expected=Expected(
                negatives=round(measured.expected, 2), low=measured.expected_low, high=measured.expected_high
            ),
            effect=round(measured.effect, 2),
            effect_low=round(measured.effect_low, 2),
            effect_high=round(measured.effect_high, 2),
            log10_e_value=_log10(measured.ln_m),
            log10_threshold=_log10(measured.ln_h),
            fires_without_largest_story=measured.without_story >= measured.ln_h - 2,
            documents=shown,
            documents_total=len(documents),
            truncated=len(documents) > len(shown),
            versions=versions,
            summary=_summary(episode, subject, measured),
            links={"evidence": f"{page_url}/alerts/{episode.id}"},
            topics=_causes(topics),
            sources=_causes(Counter(card.source for card, _ in documents)),
        ),
    )


def ranked(counted: Counter[str]) -> list[tuple[str, int]]:
    """Most first, equal ones by name, so that the same input gives the same bytes: `most_common` goes by arrival."""
    return sorted(counted.items(), key=lambda found: (-found[1], found[0]))


def _causes(counted: Counter[str]) -> list[CauseCount]:
    return [CauseCount(id=name, negatives=negatives) for name, negatives in ranked(counted)[:CAUSES_SHOWN]]


def _summary(episode: Episode, subject: Subject, measured: Measured) -> dict[str, str]:
    """One sentence a language, enough to act on: who, how many against how many expected, since when."""
    en, zh = subject.names.get("en", subject.id), subject.names.get("zh", subject.id)
    since = times.rfc3339(episode.onset_ms)[11:16]
    if episode.state == "resolved":
        return {
            "en": f"{en}: negative talk is back to normal. {measured.negatives} negative texts since {since} UTC.",
            "zh": f"{zh}：负面声量已恢复正常。自 {since} UTC 起共 {measured.negatives} 条负面。",
        }
    high = max(measured.expected_high, 1)
    sparse = measured.expected_low == 0 and high == 1
    many = measured.effect >= MANY_TIMES  # against next to nothing a factor says nothing
    size = f"{_times(measured.effect)}x, {_times(measured.effect_low)}-{_times(measured.effect_high)}"
    return {
        "en": f"{en}: {measured.negatives} negative texts since {since} UTC, "
        + ("at most 1" if sparse else f"{measured.expected_low}-{high}")
        + " expected"
        + (f" (over {MANY_TIMES}x)." if many else f" (about {size})."),
        "zh": f"{zh}：自 {since} UTC 起出现 {measured.negatives} 条负面，同期正常"
        + ("至多 1 条" if sparse else f"为 {measured.expected_low}-{high} 条")
        + (f"（逾 {MANY_TIMES} 倍）。" if many else f"（约 {size.replace('x, ', ' 倍，区间 ')}）。"),
    }


def _document(card: DocumentCard, echoes: int) -> AlertDocument:
    return AlertDocument(
        id=card.id, title=card.title, excerpt=card.excerpt, source=card.source, lang=card.lang,
        published_at=times.rfc3339(card.published_at), url=card.url or None, negative=card.negative, story=card.story, echoes=echoes,
    )  # fmt: skip


def _times(effect: float) -> str:
    return f"{effect:.0f}" if effect >= 10 else f"{effect:.1f}"


def _log10(natural: float) -> float:
    # As a logarithm: an e-value itself can be infinite, which JSON cannot say.
    return round(natural / 2.302585092994046, 2)


def _hash(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
