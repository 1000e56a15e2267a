"""From counts to decisions: runs surge.py over the subjects of one scored partition and turns what crosses the line into episodes.

Pure: no clock, no Redis. "Now" is the time of the data (a step's end, a row's arrival), so the same rows give the same alerts however
they were cut. Here is what a subject's decision is made of (`_case`) and what it leads to (`_apply`); the decision itself is judge.py's.
Read surge.py and judge.py before.

A little over 400 lines, since what is known of a subject is kept here and nowhere else.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from groundswell.decisions import Detected, SubjectState
from groundswell.keys import MINUTE_MS, QUARTER_MS
from groundswell.records import AlertEvent, DocumentCard, Expectation
from groundswell.reserved import DRILLS
from stream.detection import episodes, evidence, single, surge, surge_reading
from stream.detection.cards import CARDS, card
from stream.detection.case import HISTORY_STEPS, LEAST_STEPS, MOST_STEPS, Case
from stream.detection.episodes import REOPEN_MS, Episode, Measured
from stream.detection.floors import Floats
from stream.detection.judge import Judgement, judge
from stream.detection.policy import Policy
from stream.detection.season import Slot, local_slots
from stream.names.directory import Directory
from stream.windows import Applied, Window


@dataclass(frozen=True)
class Transition:
    """One change of one episode, ready to be told."""

    subject: str
    decision: Detected
    event: AlertEvent
    evidence: dict[str, Any]


@dataclass
class Detector:
    """What is known of the subjects of one scored partition. `tell` hears each held crossing once."""

    policy: Policy
    directory: Directory
    tell: Callable[[Detected, str, dict[str, Any]], None] = lambda _decision, _subject, _facts: None
    subjects: list[str] = field(default_factory=list)
    state: surge.State | None = None
    verdict: surge.Verdict | None = None
    open_episodes: dict[str, Episode] = field(default_factory=dict)
    cards: dict[str, deque[DocumentCard]] = field(default_factory=dict)
    echoes: dict[str, Counter[str]] = field(default_factory=dict)
    held: dict[str, Detected] = field(default_factory=dict)
    model: str = ""  # that read the newest rows
    _index: dict[str, int] = field(default_factory=dict)
    _slot: tuple[int, int, Slot] | None = None  # quarter, number of subjects, slot
    _lines: tuple[Policy, Floats] | None = None  # of this policy, (K,)
    _coming: tuple[int, Policy] | None = None  # in force for steps that begin then or later
    _noted: Counter[str] = field(default_factory=Counter)  # of `cards`, the newest so many
    _gone: list[str] = field(default_factory=list)
    _alone: list[tuple[DocumentCard, str, int]] = field(
        default_factory=list
    )  # texts that may alert alone: subject, arrival

    # -- what comes in ------------------------------------------------------------------------------------------------

    def restore(self, subjects: Sequence[str], state: surge.State | None) -> None:
        """Take up stored detector rows."""
        self.subjects, self.state = list(subjects), state
        self._index = {subject: i for i, subject in enumerate(self.subjects)}

    def change(self, policy: Policy, from_ms: int) -> None:
        """Judge the steps that begin at `from_ms` or later by another policy. A change is an input as a document is: where it falls
        in event time decides what it changes."""
        self._coming = from_ms, policy

    @property
    def aim(self) -> Policy:
        """The policy that was set last, in force or not yet."""
        return self._coming[1] if self._coming is not None else self.policy

    def note(self, applied: Iterable[Applied]) -> set[str]:
        """Remember who said what; returns the subjects whose open bucket gained a negative."""
        gained = set()
        self._alone.clear()
        for one in applied:
            for row in one.rows:
                self._add(row.subject)
                if one.document.echo:
                    self.echoes.setdefault(row.subject, Counter())[one.document.story] += 1
                elif row.sure_negative:
                    said = card(one, row.subject)
                    self.cards.setdefault(row.subject, deque(maxlen=CARDS)).append(said)
                    self._noted[row.subject] += 1
                    if self.policy.trusted:
                        self._alone.append((said, row.subject, one.document.ingested_at))
                    if one.open:
                        gained.add(row.subject)
        return gained

    def noted(self) -> dict[str, list[DocumentCard]]:
        """The negative originals noted since the last call, as far as they are kept: what is still to be made lasting."""
        noted, self._noted = self._noted, Counter()
        return {subject: list(self.cards[subject])[-count:] for subject, count in noted.items()}

    def _add(self, subject: str) -> None:
        if subject in self._index:
            return
        self._index[subject] = len(self.subjects)
        self.subjects.append(subject)
        fresh = self.directory[subject].fresh(self.policy.settings)
        self.state = fresh if self.state is None else surge.State.concat([self.state, fresh])

    def gone(self) -> list[str]:
        """Subjects whose resolved episode has been forgotten since the last call."""
        gone, self._gone = self._gone, []
        return gone

    # -- steps --------------------------------------------------------------------------------------------------------

    def close(self, window: Window, start_ms: int) -> list[Transition]:
        """Close the step that begins at `start_ms`: evidence, learning, and every episode's next state."""
        if self.state is None:
            return []
        self._turn_to(start_ms)
        y, n = self._counts(window, start_ms)
        now, before = self.policy, self.state
        in_episode = np.array([self._is_open(subject) for subject in self.subjects])
        self.state, self.verdict = surge.tick(before, self._slots(start_ms), y, n, in_episode, now.settings)
        at_ms = start_ms + now.step_ms + now.lateness_ms
        over = self.verdict.ln_m >= self._line_of_each()
        told = []
        for name in sorted(self.open_episodes):
            if single.is_key(name):
                told += self._end_alone(name, at_ms)
            elif not self._is_open(name):
                self._age(name, at_ms)
        for i in np.flatnonzero(over | in_episode):
            case = self._case(window, self.subjects[i], start_ms, at_ms, before, early=False)
            told += self._apply(case, judge(case))
        for subject in [one for one in self.held if not over[self._index[one]]]:
            del self.held[subject]
        return told

    def gap(self, steps: int) -> None:
        """Missing steps: no bet, nothing learned."""
        if self.state is not None:
            self.state = surge.gap(self.state, steps, self.policy.settings)

    def early(self, window: Window, subjects: Iterable[str]) -> list[Transition]:
        """Look at the first open step of subjects that just gained a negative. What fires here would fire at the close:
        count evidence only grows with the count."""
        if self.state is None:
            return []
        start_ms = window.closed_ms
        self._turn_to(start_ms)
        told = self._look_alone(window)
        # By the state, not by the last verdict: a detector that was just reloaded has none, and must say the same.
        wanted = sorted(subject for subject in subjects if not self._is_open(subject) and not self._learning(subject))
        if not wanted:
            return told
        at = np.array([self._index[subject] for subject in wanted])
        y = np.array([self._sum(window, subject, start_ms)[0] for subject in wanted], np.float64)
        found = surge.early(self.state.take(at), self._slots(start_ms).take(at), y, self.policy.settings)
        for subject, ln_m in zip(wanted, found, strict=True):
            if ln_m >= self.policy.line(subject):
                case = self._case(window, subject, start_ms, window.newest_ms, self.state, early=True)
                told += self._apply(case, judge(case))
        return told

    def _turn_to(self, start_ms: int) -> None:
        if self._coming is not None and start_ms >= self._coming[0]:
            self.policy, self._coming = self._coming[1], None

    def _line_of_each(self) -> Floats:
        if self._lines is None or self._lines[0] is not self.policy or len(self._lines[1]) != len(self.subjects):
            self._lines = self.policy, np.array([self.policy.line(subject) for subject in self.subjects])
        return self._lines[1]

    # -- one subject --------------------------------------------------------------------------------------------------

    def case(self, window: Window, subject: str, start_ms: int) -> Case:
        """What the decision on the step at `start_ms` would rest on, by what is known before it: for who asks why. The subject must
        have been counted."""
        assert self.state is not None
        at_ms = start_ms + self.policy.step_ms + self.policy.lateness_ms
        return self._case(window, subject, start_ms, at_ms, self.state, early=False)

    def _case(
        self, window: Window, subject: str, start_ms: int, at_ms: int, before: surge.State, *, early: bool
    ) -> Case:
        policy, i, last = self.policy, self._index[subject], self.open_episodes.get(subject)
        steps = HISTORY_STEPS
        if last is not None and not last.over:
            least = HISTORY_STEPS if last.state == "resolved" else LEAST_STEPS
            steps = min(max(least, (start_ms - last.onset_ms) // policy.step_ms + 1), MOST_STEPS)
        counts, heard, reach, slots = self._look(window, subject, start_ms, steps)
        first_ms, end_ms = start_ms - (steps - 1) * policy.step_ms, start_ms + policy.step_ms
        return Case(
            subject=subject, wide=self.directory[subject].kind in ("topic", "market"), drill=subject in DRILLS,
            settings=policy.settings, ln_h=policy.line(subject), lateness_ms=policy.lateness_ms, start_ms=start_ms, at_ms=at_ms,
            early=early, row=before.take([i]), slot=self._slots(start_ms).take([i]), mentions=float(heard[-1]), episode=last,
            slots=slots, counts=counts, heard=heard, reach=reach,
            cards=[one for one in self.cards.get(subject, ()) if first_ms <= one.published_at < end_ms],
            announced=lambda since_ms: self.directory.during(subject, since_ms, end_ms),
        )  # fmt: skip

    def _look(self, window: Window, subject: str, start_ms: int, steps: int) -> tuple[Floats, Floats, Floats, Slot]:
        """Of the last `steps` steps up to and with the one at `start_ms`: negatives, mentions, reach, and where each stands in the
        subject's week; all (T,)."""
        step_ms = self.policy.step_ms
        first_ms = start_ms - (steps - 1) * step_ms
        summed = np.zeros((3, steps))
        for minute_ms, counters in window.minutes.get(subject, {}).items():
            if first_ms <= minute_ms < start_ms + step_ms:
                mentions = counters[0] + counters[1] + counters[2] + counters[3]
                summed[:, (minute_ms - first_ms) // step_ms] += counters[0], mentions, mentions + counters[4]
        starts = np.arange(steps, dtype=np.int64) * step_ms + first_ms
        return summed[0], summed[1], summed[2], self.directory.slots(subject, starts)

    def _apply(self, case: Case, judged: Judgement) -> list[Transition]:
        subject, measured = case.subject, judged.measured
        if judged.episode is None:
            if measured is not None and self.held.get(subject) != judged.decision:
                self.held[subject] = judged.decision
                self.tell(
                    judged.decision,
                    subject,
                    {
                        "negatives": measured.negatives,
                        "expected": round(measured.expected, 2),
                        "ln_m": round(measured.ln_m, 2),
                    },
                )
            return []
        self.open_episodes[subject] = judged.episode
        self.held.pop(subject, None)
        if judged.tells == "alert.resolved":
            assert self.state is not None
            self.state = surge.rest(self.state, np.arange(len(self.subjects)) == self._index[subject])
        return [] if judged.tells is None else [self._transition(case, judged)]

    def _transition(self, case: Case, judged: Judgement) -> Transition:
        assert judged.episode is not None
        assert judged.measured is not None
        assert judged.tells is not None
        subject, versions = case.subject, self._versions()
        echoes = self.echoes.get(subject, Counter())
        # The surest first; among equals the earliest, whom the others followed.
        best = sorted(case.said(judged.onset_ms), key=lambda one: (-one.negative, one.published_at, one.id))
        event = episodes.event(
            judged.tells, judged.episode, self.directory[subject], judged.measured, [(one, echoes[one.story]) for one in best],
            case.at_ms, self.policy.page_url, versions,
        )  # fmt: skip
        return Transition(subject, judged.decision, event, evidence.record(case, judged, self.policy, versions))

    def _age(self, subject: str, at_ms: int) -> None:
        """A resolved episode may reopen for a while; then its end is kept, so that the next onset lies behind it."""
        episode = self.open_episodes[subject]
        ended_ms = at_ms - episode.resolved_ms
        episode.over = ended_ms > REOPEN_MS
        if ended_ms > max(REOPEN_MS, HISTORY_STEPS * self.policy.step_ms):
            del self.open_episodes[subject]
            self._gone.append(subject)

    # -- one text alone -----------------------------------------------------------------------------------------------

    def _look_alone(self, window: Window) -> list[Transition]:
        """What just came and may alert by itself, in the order of its arrival. During a surge a text is one of its own."""
        told = []
        for said, subject, at_ms in self._alone:
            topic = single.topic(said, subject, self.policy.trusted)
            fresh = at_ms - single.FRESH_MS <= said.published_at <= at_ms
            if not topic or not fresh or self._is_open(subject) or self.directory[subject].kind in ("topic", "market"):
                continue
            since_ms = at_ms - single.DAY_MS
            before = [
                name for name, one in self.open_episodes.items() if single.is_key(name) and one.fired_ms > since_ms
            ]
            alone = single.Alone(
                document=said.id, topic=topic, at_ms=said.published_at, here=len(before), most_here=self.policy.single_a_day,
                of_one=sum(single.about(name) == subject for name in before),
            )  # fmt: skip
            assert self.state is not None
            start_ms = said.published_at // self.policy.step_ms * self.policy.step_ms
            case = self._case(window, subject, start_ms, at_ms, self.state, early=True)
            case = replace(case, episode=None, cards=[said], alone=alone)
            judged = judge(case)
            if judged.episode is None:
                self.tell(judged.decision, subject, {"document": said.id, "topic": topic})
                continue
            self.open_episodes[single.key(subject, said.published_at, said.id)] = judged.episode
            told.append(self._transition(case, judged))
        self._alone.clear()
        return told

    def _end_alone(self, name: str, at_ms: int) -> list[Transition]:
        """An hour later it is over by itself; a day later its place in the budget is free again."""
        episode, subject = self.open_episodes[name], single.about(name)
        if at_ms - episode.fired_ms > single.DAY_MS:
            del self.open_episodes[name]
            self._gone.append(name)
        if episode.state == "resolved" or at_ms - episode.fired_ms < single.LASTS_MS:
            return []
        episode.previous, episode.state, episode.resolved_ms, episode.changed_ms = "firing", "resolved", at_ms, at_ms
        episode.sequence, episode.ended = episode.sequence + 1, "calm"
        counted = Measured(
            mentions=1, negatives=1, reach=1, expected=0.0, expected_low=0, expected_high=0, effect=0.0, effect_low=0.0, effect_high=0.0,
            ln_m=surge.REST, ln_h=self.policy.line(subject), severity=episode.told_level, trend="steady",
        )  # fmt: skip
        said = [(one, 0) for one in self.cards.get(subject, ()) if one.id == episode.told_story]
        event = episodes.event(
            "alert.resolved",
            episode,
            self.directory[subject],
            counted,
            said,
            at_ms,
            self.policy.page_url,
            self._versions(),
        )
        return [Transition(subject, Detected.RESOLVED, event, {})]

    # -- what others look at ------------------------------------------------------------------------------------------

    def standing(self, subject: str) -> SubjectState:
        """Where a subject stands now."""
        episode = self.open_episodes.get(subject)
        if episode is not None and not episode.over:
            return SubjectState(episode.state)
        if self._learning(subject):
            return SubjectState.LEARNING
        return SubjectState.PENDING if subject in self.held else SubjectState.INACTIVE

    def evidence(self, subject: str) -> float:
        """ln of the e-value over its threshold as of the last close."""
        i = self._index[subject]
        if self.verdict is None or i >= len(self.verdict.ln_m):
            return surge.REST
        return float(self.verdict.ln_m[i]) - self.policy.line(subject)

    def expectations(self, at_ms: int) -> dict[str, tuple[float, float, float]]:
        """Subject -> (negatives a minute, phi15, phi60) for the quarter hour that holds `at_ms`."""
        if self.state is None:
            return {}
        zeros = np.zeros(len(self.subjects))
        _, verdict = surge.tick(self.state, self._slots(at_ms), zeros, zeros, zeros.astype(bool), self.policy.settings)
        per_min = verdict.expected * 60 / self.policy.settings.step_s
        return {
            subject: (float(per_min[i]), float(verdict.phi15[i]), float(verdict.phi60[i]))
            for i, subject in enumerate(self.subjects)
        }

    # -- small things ------------------------------------------------------------------------------------------------

    def _versions(self) -> dict[str, str]:
        return {**self.policy.versions, "model": self.model}

    def _learning(self, subject: str) -> bool:
        """Whether too little is known of a subject to alert on its open step."""
        if self.state is None:
            return True
        if subject in DRILLS:  # a drill is to be told, not to be learned
            return False
        return bool(surge.learning(self.state.take([self._index[subject]]), self.policy.settings)[0])

    def _is_open(self, subject: str) -> bool:
        episode = self.open_episodes.get(subject)
        return episode is not None and episode.state != "resolved"

    def _sum(self, window: Window, subject: str, start_ms: int) -> tuple[int, int]:
        """Negatives and mentions of one step."""
        minutes = window.minutes.get(subject)
        if not minutes:
            return 0, 0
        negatives = mentions = 0
        for minute_ms in range(start_ms, start_ms + self.policy.step_ms, MINUTE_MS):
            counters = minutes.get(minute_ms)
            if counters:
                negatives += counters[0]
                mentions += counters[0] + counters[1] + counters[2] + counters[3]
        return negatives, mentions

    def _counts(self, window: Window, start_ms: int) -> tuple[Floats, Floats]:
        both = np.array([self._sum(window, subject, start_ms) for subject in self.subjects], np.float64)
        return both[:, 0], both[:, 1]

    def _slots(self, at_ms: int) -> Slot:
        quarter = at_ms // QUARTER_MS
        if self._slot is None or self._slot[:2] != (quarter, len(self.subjects)):
            # One look-up a calendar, not a subject: there are a handful.
            kinds = [(about.zone, about.group) for about in map(self.directory.__getitem__, self.subjects)]
            distinct = list(dict.fromkeys(kinds))
            slots = Slot.concat([local_slots(zone, at_ms // 1000, group=group) for zone, group in distinct])
            place = {kind: i for i, kind in enumerate(distinct)}
            self._slot = (quarter, len(self.subjects), slots.take([place[kind] for kind in kinds]))
        slot, announced = self._slot[2], self.directory.schedule.running(at_ms)
        if not announced:
            return slot
        factors = [announced[subject].factor if subject in announced else 1.0 for subject in self.subjects]
        return replace(slot, factor=np.array(factors))


def expectation(mean_per_min: float, phi15: float, phi60: float) -> Expectation:
    """The chart's band for one quarter hour."""
    means = np.array([mean_per_min, mean_per_min * 5, mean_per_min * 60])
    low, high = surge_reading.band(means, np.array([phi15, phi15, phi60]))
    return Expectation(round(mean_per_min, 5), *(int(edge) for pair in zip(low, high, strict=True) for edge in pair))
