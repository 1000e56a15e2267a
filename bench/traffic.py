"""Invented talk about companies, story by story, whose surges are known: for tests, benchmarks and demos. Texts are added by
`traffic_texts.py`; `groundswell simulate` writes both.

It is not the world that the detector assumes: stories are reprinted in clusters, few authors write much, levels walk and
jump, surges swell or fade instead of standing like a box, weekends and holidays differ from company to company, and how
much is said of each is spread over two orders of magnitude. `surge_simulator.py` is the plainer world of the gates.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from math import exp
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from bench.surge_simulator import DAY, wander
from groundswell import times
from stream.detection.season import local_slots
from stream.names.subjects import Entry

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator

NEGATIVE, NEUTRAL, POSITIVE = 0, 1, 2
MINUTE_MS = 60_000
MONDAY_MS = 1_767_571_200_000  # 2026-01-05 00:00 UTC
NEWS_SHARE = 0.3
AUTHORS, LOUD_AUTHORS, LOUD_SHARE = 4000, 3, 0.2
LEAST_PLANTED = 14  # negatives: under that the floors of an alert hold back any surge
FACTORS = (2.0, 3.0, 5.0, 8.0, 12.0)
HOLIDAY = 0.03  # of the weekdays of a calendar


@dataclass(frozen=True)
class Asked:
    """`mentions_a_day` is the mean over the subjects; the quiet ones have a tenth of it, the loud ones ten times."""

    days: int
    subjects: Sequence[Entry]
    surges: int
    storms: int
    seed: int
    mentions_a_day: float = 200.0
    start_ms: int = MONDAY_MS


class Said(NamedTuple):
    """One document without its words. `copy_of` is the number of the story it repeats, or -1; `author` is -1 for news."""

    at_ms: int
    subject: int
    tone: int
    news: bool
    author: int
    story: int
    copy_of: int


@dataclass
class Traffic:
    """Everything said, in order of time, and what was planted."""

    said: list[Said] = field(default_factory=list)
    truth: list[dict[str, Any]] = field(default_factory=list)


class Count(NamedTuple):
    """One minute of one subject, as the detector counts: stories, of these negative ones, and all documents."""

    subject: int
    at_ms: int
    negatives: int
    mentions: int
    reach: int


def simulate(asked: Asked) -> Traffic:
    """The same `asked` gives the same traffic."""
    plan = np.random.default_rng([asked.seed, 0])
    minutes = asked.days * DAY
    holidays = _holidays(plan, asked)
    size = np.exp(plan.normal(0, 1, len(asked.subjects)))
    size *= asked.mentions_a_day / max(size.mean(), 1e-9)
    surges = _spread(plan, asked.surges, len(asked.subjects), minutes)
    storms = _spread(plan, asked.storms, len(asked.subjects), minutes)
    loud = _spread(plan, asked.storms // 3, len(asked.subjects), minutes)
    traffic = Traffic(truth=[{"kind": "holiday", "calendar": zone, "day": str(day)} for zone, day in sorted(holidays)])
    for k, entry in enumerate(asked.subjects):
        rng = np.random.default_rng([asked.seed, 1, k])
        made = _Subject(asked, k, entry, rng, float(size[k]), holidays)
        for at in surges.get(k, ()):
            made.surge(at)
        made.talk()
        for at in storms.get(k, ()):
            made.storm(at)
        for at in loud.get(k, ()):
            made.loud_author(at)
        traffic.said += made.said
        traffic.truth += made.truth
    # Stories are numbered a subject; the order is that of time, then subject, then story.
    traffic.said.sort()
    traffic.truth.sort(key=lambda one: (one.get("start", one.get("day", "")), one.get("subject", ""), one["kind"]))
    return traffic


def counts(traffic: Traffic) -> Iterator[Count]:
    """The same traffic as counts, minutes without a document left out, in order of time and subject."""
    found: dict[tuple[int, int], list[int]] = {}
    for one in traffic.said:
        place = found.setdefault((one.at_ms // MINUTE_MS * MINUTE_MS, one.subject), [0, 0, 0])
        place[2] += 1
        if one.copy_of < 0:
            place[1] += 1
            place[0] += one.tone == NEGATIVE
    for (at_ms, subject), (negatives, mentions, reach) in sorted(found.items()):
        yield Count(subject, at_ms, negatives, mentions, reach)


def _spread(rng: Rng, number: int, subjects: int, minutes: int) -> dict[int, list[int]]:
    """`number` moments by subject: after the first quarter (at least a day, where there are two), eight hours apart."""
    first = min(max(DAY, minutes // 4), minutes // 2)
    found: dict[int, list[int]] = {}
    placed = tries = 0
    while placed < number and subjects and tries < 1000 * (number + 1):
        tries += 1
        k, at = int(rng.integers(subjects)), int(rng.integers(first, max(minutes - 240, first + 1)))
        if all(abs(at - other) >= 480 for other in found.get(k, ())):
            found.setdefault(k, []).append(at)
            placed += 1
    return found


def _holidays(rng: Rng, asked: Asked) -> set[tuple[str, date]]:
    first = datetime.fromtimestamp(asked.start_ms / 1000, UTC).toordinal()
    zones = sorted({entry.zone for entry in asked.subjects})
    return {
        (zone, day)
        for zone in zones
        for day in map(date.fromordinal, range(first, first + asked.days + 1))
        if day.weekday() < 5 and rng.random() < HOLIDAY
    }


class _Subject:
    """One company's talk: its intensity by minute first, then what is planted, then the documents."""

    def __init__(
        self, asked: Asked, k: int, entry: Entry, rng: Rng, mentions_a_day: float, holidays: set[tuple[str, date]]
    ) -> None:
        self.asked, self.k, self.entry, self.rng = asked, k, entry, rng
        self.minutes = asked.days * DAY
        self.said: list[Said] = []
        self.truth: list[dict[str, Any]] = []
        self.stories = 0
        self.usual = mentions_a_day / DAY * self._season(holidays) * self._level()
        share = rng.beta(6, 24)
        odds = share / (1 - share) * np.exp(wander(rng, self.minutes, 1, 0.35, 180)[:, 0])
        self.share = odds / (1 + odds)
        self.extra = np.zeros(self.minutes)
        self.turned = np.ones(self.minutes)
        self.loud = rng.integers(0, AUTHORS, LOUD_AUTHORS)

    def _season(self, holidays: set[tuple[str, date]]) -> Floats:
        rng = self.rng
        begins_s = self.asked.start_ms // 1000 + 60 * np.arange(self.minutes)
        slot = local_slots(self.entry.zone, begins_s)
        hour = slot.quarter % 96 / 4
        shape = np.full(self.minutes, rng.uniform(0.25, 0.5))
        for centre, width, height in ((rng.uniform(10, 15), rng.uniform(3, 5), 1.0), (9.6, 0.6, rng.uniform(0, 0.7)),
                                      (rng.uniform(19, 22), 2.0, rng.uniform(0, 0.6))):  # fmt: skip
            apart = np.abs(hour - centre)
            shape += height * np.exp(-((np.minimum(apart, 24 - apart) / width) ** 2))
        quiet = np.where(slot.weekend, rng.uniform(0.25, 0.8), 1.0)
        zone = ZoneInfo(self.entry.zone)
        for name, day in holidays:
            if name == self.entry.zone:
                midnight = _midnight_s(day, zone)
                at = (midnight - self.asked.start_ms // 1000) // 60
                quiet[max(at, 0) : max(at + DAY, 0)] *= 0.4
        shape *= quiet
        return np.asarray(shape / shape.mean(), np.float64)

    def _level(self) -> Floats:
        rng = self.rng
        path = wander(rng, self.minutes, 1, 0.3, 120)[:, 0] + np.cumsum(rng.normal(0, 0.1 / DAY**0.5, self.minutes))
        if rng.random() < 1 - exp(-0.3 * self.asked.days / 28):
            at, factor = int(rng.integers(0, self.minutes)), float(np.exp(rng.normal(0, 0.5)))
            path[at:] += np.log(factor)
            self._tell("new_level", at, self.minutes, factor=round(factor, 2))
        # A minute is bursty: a message calls forth others.
        return np.asarray(np.exp(path) * rng.gamma(2.5, 1 / 2.5, self.minutes), np.float64)

    def _tell(self, kind: str, first: int, last: int, **facts: Any) -> None:
        start, end = (times.rfc3339(self.asked.start_ms + at * MINUTE_MS) for at in (first, last))
        self.truth.append({"kind": kind, "subject": self.entry.id, "start": start, "end": end, **facts})

    def surge(self, at: int) -> None:
        """More negatives than usual, sudden, swelling or fading; one in five at the usual volume, as a turn of mood."""
        rng = self.rng
        length = int(np.clip(np.exp(rng.normal(np.log(45), 0.6)), 10, 240))
        shape_name = str(rng.choice(["sudden", "swelling", "fading"]))
        place = np.linspace(0, 1, length)
        shape = {"sudden": np.ones(length), "swelling": 0.1 + 0.9 * place, "fading": np.exp(-2 * place)}[shape_name]
        end = min(at + length, self.minutes)
        shape, span = shape[: end - at], slice(at, end)
        factor = float(rng.choice(FACTORS))
        usual = float((self.usual[span] * self.share[span]).sum())
        if rng.random() < 0.2 and self.usual[span].sum() > 4 * LEAST_PLANTED:
            self.turned[span] = 1 + (factor - 1) * shape
            self._tell("surge", at, end, of="share", factor=factor, shape=shape_name, expected=round(usual, 2))
            return
        planted = max((factor - 1) * usual, float(rng.uniform(1, 2)) * LEAST_PLANTED)
        self.extra[span] += planted * shape / shape.sum()
        self._tell("surge", at, end, of="count", factor=round(1 + planted / max(usual, 1e-3), 1), shape=shape_name,
                   expected=round(usual, 2), planted=round(planted, 1))  # fmt: skip

    def talk(self) -> None:
        """Everyday stories and those of the surges, each with its reprints."""
        rng = self.rng
        odds = self.share / (1 - self.share) * self.turned
        share = odds / (1 + odds)
        negatives = rng.poisson(self.usual * share + self.extra)
        rest = rng.poisson(self.usual * (1 - share))
        for tones, number in ((None, negatives), ((NEUTRAL, POSITIVE), rest)):
            for minute in np.flatnonzero(number):
                for _ in range(int(number[minute])):
                    tone = NEGATIVE if tones is None else int(rng.choice(tones, p=(0.6, 0.4)))
                    at_ms = self._moment(int(minute))
                    news = rng.random() < NEWS_SHARE
                    story = self._say(at_ms, tone, news=news, author=-1 if news else self._author())
                    if rng.random() < (0.3 if news else 0.08):
                        self._reprint(story, at_ms, tone, min(int(rng.zipf(2.2)), 40), 20.0)

    def storm(self, at: int) -> None:
        """One story, passed on ten to three hundred times within the hour or so."""
        copies = int(np.exp(self.rng.uniform(np.log(10), np.log(300))))
        at_ms = self._moment(at)
        tone = NEGATIVE if self.rng.random() < 0.8 else NEUTRAL
        story = self._say(at_ms, tone, news=True, author=-1)
        last_ms = self._reprint(story, at_ms, tone, copies, 15.0)
        self._tell(
            "storm", at, (last_ms - self.asked.start_ms) // MINUTE_MS + 1, copies=copies, negative=tone == NEGATIVE
        )

    def loud_author(self, at: int) -> None:
        """One account, many different complaints within an hour."""
        number, author = int(self.rng.integers(12, 40)), int(self.loud[0])
        for _ in range(number):
            self._say(self._moment(at + int(self.rng.integers(0, 60))), NEGATIVE, news=False, author=author)
        self._tell("loud_author", at, at + 60, negatives=number)

    def _moment(self, minute: int) -> int:
        return self.asked.start_ms + minute * MINUTE_MS + int(self.rng.integers(0, MINUTE_MS))

    def _author(self) -> int:
        if self.rng.random() < LOUD_SHARE:
            return int(self.rng.choice(self.loud))
        return int(AUTHORS * self.rng.random() ** 2.5)

    def _say(self, at_ms: int, tone: int, *, news: bool, author: int) -> int:
        story, self.stories = self.stories, self.stories + 1
        self.said.append(Said(at_ms, self.k, tone, news, author, story, -1))
        return story

    def _reprint(self, of: int, at_ms: int, tone: int, copies: int, median_min: float) -> int:
        last_ms = at_ms
        end_ms = self.asked.start_ms + self.minutes * MINUTE_MS
        for delay in self.rng.lognormal(np.log(median_min * MINUTE_MS), 0.9, copies):
            copy_ms = at_ms + 1 + int(delay)
            if copy_ms < end_ms:
                news = self.rng.random() < 0.5
                author = -1 if news else int(self.rng.integers(0, AUTHORS))
                self.said.append(Said(copy_ms, self.k, tone, news, author, self.stories, of))
                self.stories += 1
                last_ms = max(last_ms, copy_ms)
        return last_ms


def _midnight_s(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())
