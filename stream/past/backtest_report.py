"""What a back-test found, by setting: episodes, how often, how early, how long, on what, and what another setting makes of the same talk.

Pure; `Findings` listens to a `backtest.Play`, `report` makes one dictionary of it, for JSON and for people.
"""

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct, structs

from groundswell import times
from groundswell.decisions import Detected
from stream.detection.detect import Transition
from stream.detection.episodes import RULE
from stream.detection.season import local_slots
from stream.names.directory import Directory
from stream.past.backtest import Play

OFFICE_HOURS = range(9, 18)  # Monday to Friday, in the subject's zone
DAY_MS = 86_400_000
RANK = {"notice": 0, "warning": 1, "critical": 2}
WORTH_WARMING_MS = 28 * DAY_MS


class Episode(Struct, kw_only=True):
    """One surge that would have been told. Times are RFC 3339; `resolved` is None while it lasted at the end."""

    id: str
    subject: str
    name: dict[str, str]
    onset: str
    fired: str
    resolved: str | None = None
    minutes_to_fire: float
    minutes: float | None = None  # from fired to resolved
    kind: str
    severity: str  # the worst it was
    effect: float  # the largest that was told
    negatives: int
    mentions: int
    expected: float
    office_hours: bool  # fired within those of the subject's zone
    reopened: int = 0
    rule: str = ""  # the user's own that fired
    said: str = ""  # one of the texts


@dataclass
class Findings:
    """The episodes of one setting that fired from `from_ms` on and before `until_ms`."""

    name: str
    directory: Directory
    from_ms: int
    until_ms: int
    budget: float  # false alarms a day; 0: none holds, they are a user's own rules
    ln_h: float
    line: str = ""  # what the budget means: guaranteed or calibrated; empty: none holds
    episodes: dict[str, Episode] = field(default_factory=dict)
    outside: set[str] = field(default_factory=set)  # fired before, while the detector was warming up, or after

    def hear(self, one: Transition) -> None:
        """A transition of a subject."""
        data = one.event.data
        if one.event.type == "alert.firing" and data.episode_id not in self.episodes:
            within = self.from_ms <= times.parse_ms(one.event.timestamp) < self.until_ms
            if not within or data.episode_id in self.outside:
                self.outside.add(data.episode_id)
                return
            self.episodes[data.episode_id] = self._fired(one)
        known = self.episodes.get(data.episode_id)
        if known is None:
            return
        known.negatives, known.mentions, known.expected = (
            data.observed.negatives,
            data.observed.mentions,
            data.expected.negatives,
        )
        known.effect = max(known.effect, data.effect)
        known.severity = max(known.severity, data.severity, key=lambda word: RANK.get(word, 0))
        known.reopened += one.decision is Detected.REOPENED
        known.resolved = data.resolved_at if one.event.type == "alert.resolved" else None
        known.minutes = _minutes(known.fired, known.resolved) if known.resolved else None

    def _fired(self, one: Transition) -> Episode:
        data = one.event.data
        return Episode(
            id=data.episode_id, subject=one.subject, name=data.subject.names, onset=data.started_at, fired=one.event.timestamp,
            minutes_to_fire=_minutes(data.started_at, one.event.timestamp), kind=data.kind, severity=data.severity, effect=data.effect,
            negatives=data.observed.negatives, mentions=data.observed.mentions, expected=data.expected.negatives,
            office_hours=self._office(one.subject, times.parse_ms(one.event.timestamp)),
            rule=data.rule.id if data.rule.id != RULE.id else "",
            said=next((text.title or text.excerpt for text in data.documents if text.title or text.excerpt), ""),
        )  # fmt: skip

    def _office(self, subject: str, at_ms: int) -> bool:
        about = self.directory[subject]
        slot = local_slots(about.zone, at_ms // 1000, group=about.group)
        return int(slot.hour[0]) in OFFICE_HOURS and not slot.weekend[0]


def report(play: Play, settings: list[Findings], *, from_ms: int, until_ms: int, documents: int) -> dict[str, Any]:
    """Everything that is known at the end of `play`."""
    days = max((until_ms - from_ms) / DAY_MS, 1e-9)
    warm_ms = max(from_ms - play.first_ms, 0) if play.first_ms else 0
    found: dict[str, Any] = {
        "from": times.rfc3339(from_ms), "until": times.rfc3339(until_ms), "days": round(days, 2),
        "warm_up_days": round(warm_ms / DAY_MS, 2), "warm_up_enough": warm_ms >= WORTH_WARMING_MS, "step_s": play.policy.step_ms // 1000,
        "documents": documents, "subjects": len(play.detectors[0].subjects), "steps": play.steps,
        "settings": [
            _setting(one, play.held[number] if number < len(play.held) else Counter(), from_ms, until_ms)
            for number, one in enumerate(settings)
        ],
    }  # fmt: skip
    if len(settings) >= 2:
        found["difference"] = difference(*settings[:2])
    return found


def difference(first: Findings, second: Findings) -> dict[str, Any]:
    """Which surges only one of two settings tells, and how much earlier the first one is with the others. Two episodes of a subject
    are one surge when they overlap."""
    theirs = list(second.episodes.values())
    both, only_first = [], []
    for one in first.episodes.values():
        match = next((other for other in theirs if overlap(one, other)), None)
        if match is None:
            only_first.append(one.id)
        else:
            theirs.remove(match)
            both.append(_minutes(one.fired, match.fired))
    return {
        "both": len(both), "only_first": only_first, "only_second": [one.id for one in theirs],
        "first_earlier_min": round(statistics.median(both), 1) if both else None,
    }  # fmt: skip


def overlap(one: Episode, other: Episode) -> bool:
    """Of the same surge: the same subject, and neither began after the other had ended."""
    if one.subject != other.subject:
        return False
    return one.id == other.id or (
        (one.resolved is None or other.onset <= one.resolved)
        and (other.resolved is None or one.onset <= other.resolved)
    )


def _setting(found: Findings, held: Counter[tuple[Detected, str]], from_ms: int, until_ms: int) -> dict[str, Any]:
    episodes = sorted(found.episodes.values(), key=lambda one: (one.fired, one.subject))
    days = [times.rfc3339(at_ms)[:10] for at_ms in range(from_ms - from_ms % DAY_MS, until_ms, DAY_MS)]
    fired_on = Counter(one.fired[:10] for one in episodes)
    subjects = Counter(one.subject for one in episodes)
    reasons: Counter[str] = Counter()
    for (reason, _), times_held in held.items():
        reasons[reason.value] += times_held
    return {
        "name": found.name, "budget_a_day": found.budget, "ln_h": round(found.ln_h, 3), "line": found.line, "fired": len(episodes),
        "fired_a_day": round(len(episodes) * DAY_MS / max(until_ms - from_ms, 1), 3),
        "outside_office_hours": round(sum(not one.office_hours for one in episodes) / len(episodes), 3) if episodes else None,
        "minutes_to_fire": _median([one.minutes_to_fire for one in episodes]),
        "minutes": _median([one.minutes for one in episodes if one.minutes is not None]),
        "severity": dict(sorted(Counter(one.severity for one in episodes).items())),
        "by_subject": dict(sorted(subjects.items(), key=lambda pair: (-pair[1], pair[0]))),
        "by_day": {day: fired_on[day] for day in days},
        "held": dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))),
        "episodes": [structs.asdict(one) for one in episodes],
    }  # fmt: skip


def _median(values: list[float]) -> float | None:
    return round(statistics.median(values), 1) if values else None


def _minutes(since: str, until: str) -> float:
    return round((times.parse_ms(until) - times.parse_ms(since)) / 60_000, 1)
