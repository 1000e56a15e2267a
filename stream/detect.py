"""From counts to decisions: runs surge.py over the subjects of one scored partition and turns what crosses the line into episodes.

Pure: no clock, no Redis. "Now" is the time of the data (a step's end, a row's arrival), so the same rows give the same alerts however
they were cut. Evidence that crosses the line must also pass the gates of `_gate`; each that says no has a name. Read surge.py before.

Long, because crossing, gates, episode and measuring read the same state: top to bottom it is the life of one surge.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from groundswell.decisions import Detected, SubjectState
from groundswell.keys import MINUTE_MS, QUARTER_MS
from groundswell.records import NEGATIVE, AlertEvent, DocumentCard, Expectation
from groundswell.reserved import DRILLS
from stream import episodes, surge, surge_reading
from stream.directory import Directory
from stream.episodes import REOPEN_MS, AlertType, Episode, Measured, ranked
from stream.season import Slot, local_slots
from stream.windows import Applied, Window

HISTORY_STEPS = 180  # looked back for the onset
CARDS = 500  # newest negative originals kept a subject
STORIES, AUTHORS, PUBLISHERS, EXCESS = 5, 3, 2, 4.0  # floors: the least an alert stands on
MARGIN = 2.0  # ln: without its largest part a surge may be this much weaker
CALM_Z, CALM_STEPS, FIRING_STEPS = 1.0, 10, 15
UPDATE_MS, UPDATE_CHANGE = 900_000, 1.5
FAMILY_WORDS = 8

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Transition:
    """One change of one episode, ready to be told."""

    subject: str
    decision: Detected
    event: AlertEvent
    evidence: dict[str, Any]


@dataclass(frozen=True)
class Policy:
    """How the detector is set: `ln_h` is the evidence (natural log) at which the false-alarm budget lets it fire."""

    settings: surge.Settings
    ln_h: float
    lateness_ms: int
    page_url: str = ""
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def step_ms(self) -> int:
        return self.settings.step_s * 1000


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
    _gone: list[str] = field(default_factory=list)

    # -- what comes in ------------------------------------------------------------------------------------------------

    def restore(self, subjects: Sequence[str], state: surge.State | None) -> None:
        """Take up stored detector rows."""
        self.subjects, self.state = list(subjects), state
        self._index = {subject: i for i, subject in enumerate(self.subjects)}

    def note(self, applied: Iterable[Applied]) -> set[str]:
        """Remember who said what; returns the subjects whose open bucket gained a negative."""
        gained = set()
        for one in applied:
            for row in one.rows:
                self._add(row.subject)
                if one.document.echo:
                    self.echoes.setdefault(row.subject, Counter())[one.document.story] += 1
                elif row.label == NEGATIVE and not row.unsure:
                    self.cards.setdefault(row.subject, deque(maxlen=CARDS)).append(card(one, row.subject))
                    if one.open:
                        gained.add(row.subject)
        return gained

    def _add(self, subject: str) -> None:
        if subject in self._index:
            return
        self._index[subject] = len(self.subjects)
        self.subjects.append(subject)
        prior = self.directory[subject].prior_per_min
        settings = self.policy.settings
        self.state = (
            self.state.grow(1, prior, settings) if self.state is not None else surge.State.new(1, prior, settings)
        )

    def gone(self) -> list[str]:
        """Subjects whose resolved episode has been forgotten since the last call."""
        gone, self._gone = self._gone, []
        return gone

    # -- steps --------------------------------------------------------------------------------------------------------

    def close(self, window: Window, start_ms: int) -> list[Transition]:
        """Close the step that begins at `start_ms`: evidence, learning, and every episode's next state."""
        if self.state is None:
            return []
        y, n = self._counts(window, start_ms)
        now = self.policy
        slot = self._slots(start_ms)
        in_episode = np.array([self._is_open(subject) for subject in self.subjects])
        self.state, self.verdict = surge.tick(self.state, slot, y, n, in_episode, now.settings)
        at_ms = start_ms + now.step_ms + now.lateness_ms
        told = []
        for i in np.flatnonzero((self.verdict.ln_m >= now.ln_h) & ~in_episode):
            told += self._consider(window, self.subjects[i], start_ms, at_ms, float(self.verdict.ln_m[i]), early=False)
        for subject in list(self.open_episodes):
            told += self._progress(window, subject, start_ms, at_ms)
        for subject in [s for s in self.held if self.verdict.ln_m[self._index[s]] < now.ln_h]:
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
        # By the state, not by the last verdict: a detector that was just reloaded has none, and must say the same.
        wanted = sorted(subject for subject in subjects if not self._is_open(subject) and not self._learning(subject))
        if not wanted:
            return []
        at = np.array([self._index[subject] for subject in wanted])
        y = np.array([self._sum(window, subject, start_ms)[0] for subject in wanted], np.float64)
        evidence = surge.early(self.state.take(at), self._slots(start_ms).take(at), y, y, self.policy.settings)
        told = []
        for subject, ln_m in zip(wanted, evidence, strict=True):
            if ln_m >= self.policy.ln_h:
                told += self._consider(window, subject, start_ms, window.newest_ms, float(ln_m), early=True)
        return told

    # -- a crossing ---------------------------------------------------------------------------------------------------

    def _consider(
        self, window: Window, subject: str, start_ms: int, at_ms: int, ln_m: float, *, early: bool
    ) -> list[Transition]:
        look = self._look(window, subject, start_ms)
        last, steps = self.open_episodes.get(subject), HISTORY_STEPS
        if last is not None and last.resolved_ms:
            # Not back over the end of the episode before: the same onset would be the same id, told long ago.
            since_end = (start_ms - last.resolved_ms + self.policy.lateness_ms) // self.policy.step_ms + 1
            steps = min(max(since_end, 1), steps)
        onset = surge_reading.onset(look.y, look.fast, look.r_fast, steps=steps)
        onset_ms = look.first_ms + onset * self.policy.step_ms
        since = look.since(onset)
        cards = self._said(subject, onset_ms, start_ms)
        ratio = 1.0 if self.policy.settings.coarse else float(np.clip(look.ratio, 0.2, 5.0))
        leave_out, left = self._leave_out(since, onset_ms, cards)
        usual = float(since.mu.sum()) * ratio
        verdict = None if early else self.verdict
        seen_before = self._learning(subject) if verdict is None else bool(verdict.learning[self._index[subject]])
        learning = seen_before and subject not in DRILLS
        held = Detected.HELD_LEARNING if learning else self._gate(subject, usual, cards, leave_out, left)
        reopened = last is not None and last.state == "resolved" and at_ms - last.resolved_ms <= REOPEN_MS
        if last is not None and reopened and held is None:
            # The episode goes on: its event counts from its own onset, as it says it does.
            onset_ms, ratio = last.onset_ms, last.ratio
            cards = self._said(subject, onset_ms, start_ms)
        measured = self._measure(window, subject, onset_ms, start_ms, ratio, ln_m, leave_out, since.phi15, verdict)
        if held is not None:
            if self.held.get(subject) != held:
                self.held[subject] = held
                self.tell(
                    held,
                    subject,
                    {"negatives": measured.negatives, "expected": round(measured.expected, 2), "ln_m": round(ln_m, 2)},
                )
            return []
        self.held.pop(subject, None)
        if last is not None and reopened:
            episode, decision = last, Detected.REOPENED
            episode.previous, episode.state, episode.sequence, episode.resolved_ms = (
                "resolved",
                "firing",
                last.sequence + 1,
                0,
            )
        else:
            i = self._index[subject]
            kind = "count" if verdict is None else surge.kind(
                float(verdict.ln_fast[i]), float(verdict.ln_slow[i]), float(verdict.ln_share[i]),
                self.policy.ln_h, self.policy.settings,
            )  # fmt: skip
            decision = Detected.FIRED
            episode = Episode(
                id=episodes.identity(subject, onset_ms), subject=subject, state="firing", onset_ms=onset_ms, fired_ms=at_ms,
                changed_ms=at_ms, kind=kind, ratio=ratio,  # type: ignore[arg-type]
            )  # fmt: skip
        episode.calm_steps = episode.steps = 0
        self.open_episodes[subject] = episode
        return [self._transition("alert.firing", decision, episode, measured, cards, at_ms)]

    def _gate(
        self, subject: str, usual: float, cards: list[DocumentCard], leave_out: dict[str, float], left: dict[str, float]
    ) -> Detected | None:
        """The first floor that holds a crossing back, or None. `left`: the counts behind each value of `leave_out`."""
        if len({one.story for one in cards}) < STORIES:
            return Detected.HELD_FEW_STORIES
        authors = {one.author for one in cards if one.author}
        publishers = {one.source for one in cards if one.feed == "news"}
        if len(authors) < AUTHORS and len(publishers) < PUBLISHERS:
            return Detected.HELD_FEW_VOICES
        if left["all"] - usual < EXCESS:
            return Detected.HELD_SMALL_EXCESS
        # Both sides are recomputed from rest at the onset, so "still fires" is measured against that, not the full ln M.
        line = min(self.policy.ln_h, leave_out["all"]) - MARGIN
        for part, reason in (
            ("story", Detected.HELD_ONE_STORY),
            ("author", Detected.HELD_ONE_AUTHOR),
            ("publisher", Detected.HELD_ONE_PUBLISHER),
        ):
            if leave_out[part] < line or left[part] - usual < EXCESS / 2:
                return reason
        one_company = leave_out["company"] < line or left["company"] - usual < EXCESS / 2
        if self.directory[subject].kind in ("topic", "market") and one_company:
            return Detected.HELD_ONE_COMPANY
        return None

    def _leave_out(
        self, since: "_Look", onset_ms: int, cards: list[DocumentCard]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """ln M from the onset with all counts, and without the largest story family, author, publisher and company; and
        the counts themselves: when a held surge has become the level, ln M from rest is low with and without anybody."""

        def without(keep: Callable[[DocumentCard], list[str]]) -> Floats:
            sizes = Counter(name for one in cards for name in keep(one))
            if not sizes:
                return since.y
            largest = max(sorted(sizes), key=sizes.__getitem__)
            y = since.y.copy()
            for one in cards:
                if largest in keep(one):
                    step = (one.published_at - onset_ms) // self.policy.step_ms
                    if step < len(y):
                        y[step] -= 1
            return np.maximum(y, 0)

        def evidence(y: Floats) -> float:
            return surge_reading.recompute(
                y, since.fast, since.mu, since.r_fast, since.r_slow, coarse=self.policy.settings.coarse
            )  # fmt: skip

        counts = {
            "all": since.y,
            "story": without(lambda one: [family(one)]),
            "author": without(lambda one: [one.author] if one.author else []),
            "publisher": without(lambda one: [one.source] if one.feed == "news" else []),
            "company": without(lambda one: one.about),
        }
        return {part: evidence(y) for part, y in counts.items()}, {part: float(y.sum()) for part, y in counts.items()}

    # -- an open episode ----------------------------------------------------------------------------------------------

    def _progress(self, window: Window, subject: str, start_ms: int, at_ms: int) -> list[Transition]:
        episode = self.open_episodes[subject]
        if episode.state == "resolved":
            ended_ms = at_ms - episode.resolved_ms
            episode.over = ended_ms > REOPEN_MS
            if ended_ms > max(REOPEN_MS, HISTORY_STEPS * self.policy.step_ms):
                del self.open_episodes[subject]
                self._gone.append(subject)
            return []
        assert self.verdict is not None
        i = self._index[subject]
        look = self._look(window, subject, start_ms, steps=FIRING_STEPS)
        mean = look.mu * episode.ratio
        z15 = float(surge_reading.calm(look.y.sum(), mean.sum(), look.phi15))
        episode.steps += 1
        calm = z15 <= CALM_Z
        episode.calm_steps = episode.calm_steps + 1 if calm else 0
        if episode.calm_steps >= CALM_STEPS and episode.steps >= FIRING_STEPS:
            return self._resolve(window, episode, start_ms, at_ms, look)
        crosses = bool(self.verdict.ln_m[i] >= self.policy.ln_h)
        state = "firing" if crosses or not calm else "recovering"
        if state != episode.state:
            episode.previous, episode.state, episode.changed_ms = episode.state, state, at_ms  # type: ignore[assignment]
        if state == "firing":
            return self._update(window, episode, start_ms, at_ms, look)
        return []

    def _resolve(self, window: Window, episode: Episode, start_ms: int, at_ms: int, look: "_Look") -> list[Transition]:
        episode.previous, episode.state, episode.resolved_ms, episode.changed_ms = (
            episode.state,
            "resolved",
            at_ms,
            at_ms,
        )
        episode.sequence += 1
        assert self.state is not None
        mask = np.zeros(len(self.subjects), bool)
        mask[self._index[episode.subject]] = True
        self.state = surge.rest(self.state, mask)
        measured, cards = self._since_onset(window, episode, start_ms, look)
        return [self._transition("alert.resolved", Detected.RESOLVED, episode, measured, cards, at_ms)]

    def _update(self, window: Window, episode: Episode, start_ms: int, at_ms: int, look: "_Look") -> list[Transition]:
        """Speak again at once when it became critical, else only after a while and when the size changed by half: people
        who hear a thing twice stop listening."""
        measured, cards = self._since_onset(window, episode, start_ms, look)
        worse = episodes.severe(measured) and not episode.told_severe
        changed = not 1 / UPDATE_CHANGE < measured.effect / max(episode.told_effect, 1e-9) < UPDATE_CHANGE
        if not worse and not (changed and at_ms - episode.told_ms >= UPDATE_MS):
            return []
        episode.sequence += 1
        return [self._transition("alert.updated", Detected.UPDATED, episode, measured, cards, at_ms)]

    def _since_onset(
        self, window: Window, episode: Episode, start_ms: int, look: "_Look"
    ) -> tuple[Measured, list[DocumentCard]]:
        cards = self._said(episode.subject, episode.onset_ms, start_ms)
        assert self.verdict is not None
        ln_m = float(self.verdict.ln_m[self._index[episode.subject]])
        measured = self._measure(
            window, episode.subject, episode.onset_ms, start_ms, episode.ratio, ln_m, None, look.phi15, self.verdict
        )
        return measured, cards

    # -- measuring ----------------------------------------------------------------------------------------------------

    def _look(self, window: Window, subject: str, start_ms: int, steps: int = HISTORY_STEPS) -> "_Look":
        """The last `steps` steps up to and with the one at `start_ms`, and what is expected of each by what is known now.

        Expectations come from one call of `tick` over as many copies of the subject as there are steps: the level is
        robust, so what is known now serves for the hours before.
        """
        assert self.state is not None
        step_ms = self.policy.step_ms
        first_ms = start_ms - (steps - 1) * step_ms
        starts = np.arange(steps, dtype=np.int64) * step_ms + first_ms
        about = self.directory[subject]
        slots = local_slots(about.zone, starts // 1000, group=about.group)
        many = self.state.take([self._index[subject]] * steps)
        zeros = np.zeros(steps)
        _, verdict = surge.tick(many, slots, zeros, zeros, np.zeros(steps, bool), self.policy.settings)
        y = np.array([self._sum(window, subject, int(ms))[0] for ms in starts], np.float64)
        return _Look(
            first_ms, y, verdict.expected, verdict.fast_expected, verdict.r_fast, verdict.r_slow,
            ratio=float(verdict.fast_expected[-1] / verdict.expected[-1]), phi15=float(verdict.phi15[-1]),
        )  # fmt: skip

    def _measure(
        self, window: Window, subject: str, onset_ms: int, start_ms: int, ratio: float, ln_m: float,
        leave_out: dict[str, float] | None, phi15: float, verdict: surge.Verdict | None,
    ) -> Measured:  # fmt: skip
        policy = self.policy
        steps = int((start_ms - onset_ms) // policy.step_ms) + 1
        look = self._look(window, subject, start_ms, steps=min(max(steps, 1), 1440))
        expected = float(look.mu.sum() * ratio)
        low, high = (int(edge[0]) for edge in surge_reading.band([expected], [phi15]))
        effect, effect_low, effect_high = surge_reading.effect(
            look.y, look.mu * ratio, phi15, step_s=policy.settings.step_s
        )
        minutes = window.minutes.get(subject, {})
        end_ms = start_ms + policy.step_ms
        since = [counters for minute_ms, counters in minutes.items() if onset_ms <= minute_ms < end_ms]
        mentions = sum(sum(counters[:4]) for counters in since)
        reach = mentions + sum(counters[4] for counters in since)
        cards = self._said(subject, onset_ms, start_ms)
        i = self._index[subject]
        evidence: dict[str, Any] = {
            "subject": subject,
            "bucket": start_ms,
            "step_s": policy.settings.step_s,
            "ln_m": {
                "combined": round(ln_m, 6),
                **({name: round(float(getattr(verdict, f"ln_{name}")[i]), 6) for name in ("fast", "slow", "share")}
                   if verdict is not None else {}),
            },
            "ln_h": round(policy.ln_h, 6),
            "mode": "guaranteed",
            "expected_per_step": round(float(look.mu[-1]), 6),
            "ratio": round(ratio, 6),
            "phi15": round(phi15, 6),
            "floors": {
                "stories": len({one.story for one in cards}),
                "authors": len({one.author for one in cards if one.author}),
                "publishers": len({one.source for one in cards if one.feed == "news"}),
            },
            "leave_out": {name: round(value, 6) for name, value in (leave_out or {}).items()},
            "by_source": ranked(Counter(one.source for one in cards))[:8],
            "by_language": ranked(Counter(one.lang for one in cards))[:3],
            "steps": [int(count) for count in look.y[-60:]],
            "versions": self._versions(),
        }  # fmt: skip
        return Measured(
            mentions=mentions, negatives=int(look.y.sum()), reach=reach, expected=expected, expected_low=low, expected_high=high,
            effect=effect, effect_low=effect_low, effect_high=effect_high, ln_m=ln_m, ln_h=policy.ln_h,
            without_story=(leave_out or {}).get("story", policy.ln_h), evidence=evidence,
        )  # fmt: skip

    def _transition(
        self,
        kind: AlertType,
        decision: Detected,
        episode: Episode,
        measured: Measured,
        cards: list[DocumentCard],
        at_ms: int,
    ) -> Transition:
        episode.told_effect, episode.told_ms, episode.told_severe = measured.effect, at_ms, episodes.severe(measured)
        echoes = self.echoes.get(episode.subject, Counter())
        # The surest first; among equals the earliest, whom the others followed.
        best = sorted(cards, key=lambda one: (-one.negative, one.published_at, one.id))
        documents = [(one, echoes[one.story]) for one in best]
        event = episodes.event(
            kind, episode, self.directory[episode.subject], measured, documents, at_ms, self.policy.page_url,
            self._versions(),
        )  # fmt: skip
        return Transition(
            episode.subject, decision, event, {**measured.evidence, "episode": episode.id, "transition": kind}
        )

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
        return float(self.verdict.ln_m[i]) - self.policy.ln_h

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

    # -- small things -------------------------------------------------------------------------------------------------

    def _versions(self) -> dict[str, str]:
        return {**self.policy.versions, "model": self.model}

    def _said(self, subject: str, onset_ms: int, start_ms: int) -> list[DocumentCard]:
        """The negative originals from the onset to the end of the step at `start_ms`. What came in of a later step says
        nothing of this one: it would depend on how the stream was cut."""
        end_ms = start_ms + self.policy.step_ms
        return [one for one in self.cards.get(subject, ()) if onset_ms <= one.published_at < end_ms]

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
        return self._slot[2]


@dataclass(frozen=True)
class _Look:
    """Some steps of one subject, oldest first; arrays (T,)."""

    first_ms: int
    y: Floats
    mu: Floats
    fast: Floats
    r_fast: Floats
    r_slow: Floats
    ratio: float
    phi15: float

    def since(self, step: int) -> "_Look":
        return _Look(
            self.first_ms,
            self.y[step:],
            self.mu[step:],
            self.fast[step:],
            self.r_fast[step:],
            self.r_slow[step:],
            self.ratio,
            self.phi15,
        )


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


def expectation(mean_per_min: float, phi15: float, phi60: float) -> Expectation:
    """The chart's band for one quarter hour."""
    means = np.array([mean_per_min, mean_per_min * 5, mean_per_min * 60])
    low, high = surge_reading.band(means, np.array([phi15, phi15, phi60]))
    return Expectation(round(mean_per_min, 5), *(int(edge) for pair in zip(low, high, strict=True) for edge in pair))
