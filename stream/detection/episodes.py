"""An episode: one surge from onset to resolution, its transitions, and the alert event and evidence each transition freezes.

judge.py decides, this file writes down. Ids are hashes of rule, subject, onset and transition: the same input gives the same alerts.
"""

import hashlib
from collections import Counter
from typing import Literal

from msgspec import Struct

from groundswell import times
from groundswell.effect import MANY_TIMES
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
    Peak,
    Severity,
)
from groundswell.reserved import is_test
from groundswell.topics import TOPIC_NAMES
from stream.detection.single import SINGLE
from stream.names.directory import Subject

RULE = AlertRule(id="negative-surge", version=1)
DOCUMENTS_SHOWN, CAUSES_SHOWN = 5, 5
REOPEN_MS = 3_600_000

EpisodeState = Literal["firing", "recovering", "resolved"]
AlertType = Literal["alert.firing", "alert.updated", "alert.resolved"]
Trend = Literal["growing", "steady", "fading"]


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
    kind: Literal["count", "share", "both", "document"]
    ratio: float  # of the fast channel when it fired, kept: the surge must not raise its own expectation
    calm_steps: int = 0
    steps: int = 0  # closed since firing
    told_effect: float = 0.0
    told_ms: int = 0
    told_level: Severity = "warning"  # before levels were kept, the least
    told_story: str = ""  # the cause that people know: a family of stories, a topic
    told_topic: str = ""
    told_until_ms: int = 0  # end of the step that was told
    ended: Literal["", "calm", "new_level"] = ""
    resolved_ms: int = 0
    over: bool = False  # it cannot reopen any more; its end is kept, so that the next onset lies behind it


class Measured(Struct, kw_only=True, frozen=True):
    """What case.py measured at a transition: from onset to now."""

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
    severity: Severity
    trend: Trend
    peak: Peak | None = None
    during: str = ""  # the scheduled event that it falls into
    leave_out: dict[str, float] = {}  # ln M from the onset, with all and without a part; only where it was decided by
    fires_up_to: float = 0.0


def identity(subject: str, onset_ms: int, rule: AlertRule = RULE) -> str:
    """The id of an episode."""
    return "ep_" + _hash(rule.id, str(rule.version), subject, str(onset_ms))[:24]


def event(
    kind: AlertType, episode: Episode, subject: Subject, measured: Measured, documents: list[tuple[DocumentCard, int]],
    at_ms: int, page_url: str, versions: dict[str, str],
) -> AlertEvent:  # fmt: skip
    """The record that goes to people and machines. `documents`: all negative originals with their echo counts, best first."""
    topics = Counter(topic for card, _ in documents for topic in card.topics)
    shown = [_document(card, echoes) for card, echoes in documents[:DOCUMENTS_SHOWN]]
    share = measured.negatives / measured.mentions if measured.mentions else 0.0
    onset = times.rfc3339(episode.onset_ms)
    by = SINGLE if episode.kind == "document" else RULE
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
            severity=measured.severity,
            rule=by,
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
            fires_without_largest_story=measured.leave_out.get("story", measured.ln_h) >= measured.ln_h - 2,
            documents=shown,
            documents_total=len(documents),
            truncated=len(documents) > len(shown),
            versions=versions,
            summary=_summary(episode, subject, measured),
            links={"evidence": f"{page_url}/alerts/{episode.id}"},
            topics=_causes(topics),
            sources=_causes(Counter(card.source for card, _ in documents)),
            peak=measured.peak,
            during=measured.during,
            fires_up_to=measured.fires_up_to,
            trend="" if episode.state == "resolved" else measured.trend,
            ended=episode.ended if episode.state == "resolved" else "",
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
    if episode.kind == "document":
        topic_en, topic_zh = TOPIC_NAMES.get(episode.told_topic, (episode.told_topic, episode.told_topic))
        if episode.state == "resolved":
            return {
                "en": f"{en}: an hour has passed since one text on {topic_en.lower()} of {since} UTC.",
                "zh": f"{zh}：{since} UTC 的一条“{topic_zh}”文本已过一小时。",
            }
        return {
            "en": f"{en}: one negative text on {topic_en.lower()} from a trusted source at {since} UTC. One text, not a surge.",
            "zh": f"{zh}：{since} UTC 可信来源发布一条“{topic_zh}”负面文本。仅此一条，并非异动。",
        }
    if episode.state == "resolved" and episode.ended == "new_level":
        return {
            "en": f"{en}: the surge has become the usual level. {measured.negatives} negative texts since {since} UTC.",
            "zh": f"{zh}：负面声量居高不下，已按新常态计。自 {since} UTC 起共 {measured.negatives} 条负面。",
        }
    if episode.state == "resolved":
        return {
            "en": f"{en}: negative talk is back to normal. {measured.negatives} negative texts since {since} UTC.",
            "zh": f"{zh}：负面声量已恢复正常。自 {since} UTC 起共 {measured.negatives} 条负面。",
        }
    high = max(measured.expected_high, 1)
    sparse = measured.expected_low == 0 and high == 1
    many = measured.effect > MANY_TIMES
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
