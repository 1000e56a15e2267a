"""What is told of a rule's episode: the alert event, its summary in both languages, and the evidence it stands on. Pure."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from groundswell import times
from groundswell.records import AlertEvent, AlertRule, DocumentCard, Severity
from stream.detection import episodes, surge_reading
from stream.detection.detect import Detector
from stream.detection.episodes import AlertType, Episode, Measured, ranked
from stream.detection.usual import usual
from stream.names.directory import Subject
from stream.rulebook.rule_tally import Counts
from stream.rulebook.rule_words import found
from stream.rulebook.rules import Condition, Rule


@dataclass(frozen=True)
class Seen:
    """What was found at one closed step. `counts`: over the rule's longest window. `since_ms`: texts before it were not counted; 0:
    all were. `values`: None where a condition says nothing."""

    start_ms: int
    end_ms: int
    at_ms: int
    counts: Counts
    since_ms: int
    values: Mapping[Condition, float | None]
    broad: bool = True  # it would hold without the largest negative story, too


def made(
    rule: Rule | None, who: AlertRule, severity: Severity, kind: AlertType, episode: Episode, seen: Seen, detector: Detector
) -> tuple[AlertEvent, dict[str, Any]]:  # fmt: skip
    """The event and its evidence. `rule` None: it is not in force any more, and its episode ends with it.

    Counts are of the rule's longest window up to the step's end. The expectation is the detector's for the same stretch; 0 where the
    rule counts only some of the texts, of which nobody knows what is usual.
    """
    subject = detector.directory[episode.subject]
    negatives, mentions, reach = seen.counts
    window_s = rule.window_s if rule is not None else 0
    expected, low, high, effect, effect_low, effect_high = 0.0, 0, 0, 0.0, 0.0, 0.0
    if rule is not None and not rule.sieve.id:
        norm = usual(detector, episode.subject, seen.end_ms, window_s)
        expected, minutes = norm.negatives, window_s // 60
        low, high = (int(edge[0]) for edge in surge_reading.band([expected], [norm.phi15]))
        effect, effect_low, effect_high = surge_reading.effect(
            np.full(minutes, negatives / minutes), np.full(minutes, expected / minutes), norm.phi15
        )
    cards = [
        one
        for one in _cards(rule, detector, episode.subject)
        if seen.end_ms - window_s * 1000 <= one.published_at < seen.end_ms
    ]
    line = detector.policy.line(episode.subject)
    echoes = detector.echoes.get(episode.subject, Counter())
    best = sorted(cards, key=lambda one: (-one.negative, one.published_at, one.id))
    measured = Measured(
        mentions=mentions, negatives=negatives, reach=reach, expected=expected, expected_low=low, expected_high=high,
        effect=effect, effect_low=effect_low, effect_high=effect_high,
        ln_m=line + detector.evidence(episode.subject), ln_h=line, severity=severity, trend="steady",
    )  # fmt: skip
    policy = detector.policy
    named = {
        **policy.versions,
        "rule": f"{who.id}/{who.version}",
        **({"model": detector.model} if detector.model else {}),
    }
    event = episodes.event(
        kind, episode, subject, measured, [(one, echoes[one.story]) for one in best], seen.at_ms, policy.page_url, named
    )
    data = msgspec.structs.replace(
        event.data, rule=who, severity=severity, window_s=max(window_s, 60), summary=_summary(rule, who, kind, subject, seen), trend="",
        fires_without_largest_story=seen.broad,
    )  # fmt: skip
    evidence: dict[str, Any] = {
        "subject": episode.subject,
        "bucket": seen.start_ms,
        "step_s": detector.policy.settings.step_s,
        "rule": {"id": who.id, "version": who.version, "name": who.name, "bounded": False},
        "conditions": [_condition(one, value) for one, value in seen.values.items()],
        "window_s": window_s,
        "counted": {"negatives": negatives, "mentions": mentions, "reach": reach},
        **({"counted_since": times.rfc3339(seen.since_ms)} if seen.since_ms else {}),
        "floors": {
            "stories": len({one.story for one in cards}),
            "authors": len({one.author for one in cards if one.author}),
            "publishers": len({one.source for one in cards if one.feed == "news"}),
        },
        "by_source": ranked(Counter(one.source for one in cards))[:8],
        "versions": named,
        "episode": episode.id,
        "transition": kind,
    }
    return msgspec.structs.replace(event, data=data), evidence


def _cards(rule: Rule | None, detector: Detector, subject: str) -> list[DocumentCard]:
    """The negative originals that the rule is about, of those that are remembered."""
    cards = detector.cards.get(subject, ()) if rule is not None else ()
    return [one for one in cards if rule is not None and rule.sieve.passes(one.topics, one.source, one.feed)]


def _condition(one: Condition, value: float | None) -> dict[str, Any]:
    return {
        "metric": one.metric,
        "of": one.of,
        "window_s": one.window_s,
        "value": None if value is None else round(value, 4),
        "comparison": one.comparison,
        "threshold": one.threshold,
        "holds": value is not None and one.compares(value),
    }


def _summary(rule: Rule | None, who: AlertRule, kind: AlertType, subject: Subject, seen: Seen) -> dict[str, str]:
    en, zh = subject.names.get("en", subject.id), subject.names.get("zh", subject.id)
    name_en, name_zh = who.name.get("en", who.id), who.name.get("zh", who.id)
    if rule is None:
        return {
            "en": f"{en}: your rule “{name_en}” was changed or removed, and what fired by it ends.",
            "zh": f"{zh}：自定义规则“{name_zh}”已修改或移除，由它触发的预警随之结束。",
        }
    if kind == "alert.resolved":
        return {
            "en": f"{en}: your rule “{name_en}” has not held for ten steps.",
            "zh": f"{zh}：自定义规则“{name_zh}”已连续十个周期不再成立。",
        }
    held = [(one, value) for one, value in seen.values.items() if value is not None and one.compares(value)]
    return {
        "en": f"{en}: your rule “{name_en}” (no bound on false alarms) holds: {found(held, 'en')}.",
        "zh": f"{zh}：自定义规则“{name_zh}”（不在误报预算之内）成立：{found(held, 'zh')}。",
    }
