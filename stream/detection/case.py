"""All that one decision about one subject at one step rests on, frozen, and what is read from it. judge.py and course.py decide by it.

A case is made of the same parts when the stream runs, when `why` asks afterwards and when frozen evidence is replayed: so they agree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from groundswell import times
from groundswell.keys import MINUTE_MS
from groundswell.records import DocumentCard, Peak, Severity
from stream.detection import severity, surge, surge_reading
from stream.detection.cards import voices
from stream.detection.episodes import Episode, Measured, Trend
from stream.detection.floors import Floats, Steps
from stream.detection.season import Slot
from stream.detection.single import Alone

HISTORY_STEPS = 180  # looked back for the onset
FIRING_STEPS = 15  # looked back for calm, and the least that an episode lasts
LEAST_STEPS, MOST_STEPS = 60, 1440  # of an episode that are looked at
PEAK_MINUTES = 5


@dataclass(frozen=True)
class Case:
    """One subject at the step that begins at `start_ms`. The past is T steps, oldest first, up to and with this one.

    `row` is the detector's of before the step, (1,), and `slot` the step's. `wide`: a topic or a market, which one company alone does
    not make surge. `episode`: open, or resolved lately. `cards`: the negative originals of the T steps.
    """

    subject: str
    wide: bool
    drill: bool  # told, not learned
    settings: surge.Settings
    ln_h: float
    lateness_ms: int
    start_ms: int
    at_ms: int  # shown as the moment of the decision: a row's arrival, or the step's close
    early: bool
    row: surge.State
    slot: Slot
    mentions: float
    episode: Episode | None
    slots: Slot  # (T,)
    counts: Floats  # (T,) negatives
    heard: Floats  # (T,) mentions
    reach: Floats  # (T,)
    cards: Sequence[DocumentCard]
    alone: Alone | None = None  # asked about one text, not about the step
    announced: Callable[[int], str] = lambda _since_ms: ""  # the scheduled event since then, in a word

    @property
    def step_ms(self) -> int:
        return self.settings.step_s * 1000

    @property
    def end_ms(self) -> int:
        return self.start_ms + self.step_ms

    @property
    def closes_ms(self) -> int:
        """When the step closes: the "now" that is decided by, at an early look too, so that no order of arrival decides."""
        return self.end_ms + self.lateness_ms

    @property
    def first_ms(self) -> int:
        return self.start_ms - (len(self.counts) - 1) * self.step_ms

    @property
    def in_episode(self) -> bool:
        return self.episode is not None and self.episode.state != "resolved"

    def step(self, at_ms: int) -> int:
        """The index of the step that holds `at_ms`; of the first for what lies before it."""
        return max(0, (at_ms - self.first_ms) // self.step_ms)

    def said(self, since_ms: int) -> list[DocumentCard]:
        """The negative originals from then to the end of the step. What came in of a later step says nothing of this one: it
        would depend on how the stream was cut."""
        return [one for one in self.cards if since_ms <= one.published_at < self.end_ms]


@dataclass(frozen=True)
class Weighed:
    """What the step says of a case: evidence, and the T steps against what was expected of them."""

    ln_m: float
    verdict: surge.Verdict | None  # none at an early look
    learning: bool
    steps: Steps
    ratio: float  # of the fast channel
    phi15: float
    phi60: float


def weigh(case: Case) -> Weighed:
    """Let the step count. Expectations come from one call of `tick` over as many copies of the subject as there are steps: the level
    is robust, so what is known now serves for the hours before."""
    y, n, now = case.counts[-1:], np.array([case.mentions]), case.settings
    if case.early:
        known, verdict = case.row, None
        ln_m = float(surge.early(case.row, case.slot, y, now)[0])
    else:
        known, verdict = surge.tick(case.row, case.slot, y, n, np.array([case.in_episode]), now)
        ln_m = float(verdict.ln_m[0])
    count = len(case.counts)
    zeros = np.zeros(count)
    _, past = surge.tick(known.take([0] * count), case.slots, zeros, case.heard, zeros.astype(bool), now)
    steps = Steps(
        case.first_ms,
        case.step_ms,
        case.counts,
        past.expected,
        past.fast_expected,
        past.r_fast,
        past.r_slow,
        now.coarse,
        None if case.early else past.share_expected,  # the open step's mentions are not all there
        None if case.early else past.r_share,
    )
    return Weighed(
        ln_m, verdict, bool(surge.learning(case.row, now)[0]), steps,
        float(past.fast_expected[-1] / past.expected[-1]), float(past.phi15[-1]), float(past.phi60[-1]),
    )  # fmt: skip


def measure(case: Case, weighed: Weighed, onset_ms: int, ratio: float) -> Measured:
    """From the onset to now."""
    begin = case.step(onset_ms)
    since = weighed.steps.since(begin)
    expected = float(since.mu.sum() * ratio)
    low, high = (int(edge[0]) for edge in surge_reading.band([expected], [weighed.phi15]))
    effect, effect_low, effect_high = surge_reading.effect(
        since.y, since.mu * ratio, weighed.phi15, step_s=case.settings.step_s
    )
    negatives, cards = int(since.y.sum()), case.said(onset_ms)
    return Measured(
        mentions=int(case.heard[begin:].sum()), negatives=negatives, reach=int(case.reach[begin:].sum()),
        expected=expected, expected_low=low, expected_high=high,
        effect=effect, effect_low=effect_low, effect_high=effect_high, ln_m=weighed.ln_m, ln_h=case.ln_h,
        severity=_severity(case, effect, cards, onset_ms, negatives), peak=peak(since), trend=trend(since),
        during=case.announced(onset_ms),
    )  # fmt: skip


def _severity(case: Case, effect: float, cards: Sequence[DocumentCard], onset_ms: int, negatives: int) -> Severity:
    minutes = (case.end_ms - onset_ms) / MINUTE_MS
    now = severity.level(effect, voices(cards), minutes, negatives)
    # An episode's level does not fall: who was told "critical" is not told "warning" of the same thing. That it fades is its trend.
    before = case.episode
    return severity.higher(now, before.told_level) if before is not None and before.state != "resolved" else now


def peak(since: Steps) -> Peak | None:
    """The five minutes (a step, where that is longer) with the most negatives, the first among equals; None without any."""
    width = max(1, PEAK_MINUTES * MINUTE_MS // since.step_ms)
    summed = np.convolve(since.y, np.ones(width))[width - 1 :]
    # The fullest stretch can be moved to begin with a step that holds one.
    sums = np.where(since.y > 0, summed, 0.0)
    at = int(np.argmax(sums))
    if not sums[at]:
        return None
    return Peak(
        at=times.rfc3339(since.first_ms + at * since.step_ms),
        negatives=round(sums[at]),
        window_s=width * since.step_ms // 1000,
    )


def trend(since: Steps) -> Trend:
    """The last quarter of an hour against the one before: growing or fading when they differ by more than chance would."""
    width = max(1, FIRING_STEPS * MINUTE_MS // since.step_ms)
    last, before = float(since.y[-width:].sum()), float(since.y[-2 * width : -width].sum())
    apart = (last - before) / max(last + before, 1.0) ** 0.5
    return "growing" if apart > 1 else "fading" if apart < -1 else "steady"
