"""The course of an open episode: firing, recovering, resolved, and whether a step is worth another word to people. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from groundswell.decisions import Detected
from groundswell.records import DocumentCard
from stream.detection import floors, severity, surge_reading
from stream.detection.cards import family
from stream.detection.case import FIRING_STEPS, Case, Weighed, measure
from stream.detection.episodes import AlertType, Episode, Measured

CALM_Z, CALM_STEPS = 1.0, 10
UPDATE_MS = 900_000  # people who hear a thing twice stop listening
DOUBLING = 2.0
CAUSE_LEAST, CAUSE_SHARE = 5, 0.5  # a cause carries half of at least so many


@dataclass(frozen=True)
class Judgement:
    """What follows from a case: the `decision`, the episode as it is after it, and what to tell, if anything."""

    decision: Detected
    weighed: Weighed
    measured: Measured | None = None
    episode: Episode | None = None
    tells: AlertType | None = None
    onset_ms: int = 0
    z15: float | None = None


@dataclass(frozen=True)
class Cause:
    """What carries half of some texts: a story's family, a topic; empty where none does."""

    story: str = ""
    topic: str = ""


def cause(cards: Sequence[DocumentCard]) -> Cause:
    """The cause of at least CAUSE_LEAST texts."""
    if len(cards) < CAUSE_LEAST:
        return Cause()
    stories, topics = Counter(map(family, cards)), Counter(topic for one in cards for topic in one.topics)
    return Cause(_leading(stories, len(cards)), _leading(topics, len(cards)))


def _leading(counted: Counter[str], of: int) -> str:
    name = min(counted, key=lambda one: (-counted[one], one), default="")
    return name if counted[name] >= CAUSE_SHARE * of else ""


def go_on(case: Case, weighed: Weighed) -> Judgement:
    """The next state of the episode after a closed step."""
    assert case.episode is not None
    episode = msgspec.structs.replace(case.episode)
    last = weighed.steps.since(max(0, len(weighed.steps.y) - FIRING_STEPS))
    z15 = float(surge_reading.calm(last.y.sum(), (last.mu * episode.ratio).sum(), weighed.phi15))
    calm = z15 <= CALM_Z
    episode.steps += 1
    episode.calm_steps = episode.calm_steps + 1 if calm else 0
    nothing = Judgement(Detected.IN_EPISODE, weighed, None, episode, None, episode.onset_ms, z15)
    if episode.calm_steps >= CALM_STEPS and episode.steps >= FIRING_STEPS:
        return _resolve(case, nothing)
    state = "firing" if weighed.ln_m >= case.ln_h or not calm else "recovering"
    if state != episode.state:
        episode.previous, episode.state, episode.changed_ms = episode.state, state, case.at_ms  # type: ignore[assignment]
    return _update(case, nothing) if state == "firing" else nothing


def _resolve(case: Case, so_far: Judgement) -> Judgement:
    episode = so_far.episode
    assert episode is not None
    episode.previous, episode.state = episode.state, "resolved"
    episode.resolved_ms = episode.changed_ms = case.closes_ms
    episode.sequence += 1
    # The detector has learned the surge as the usual: it did not end, it stopped being one.
    new_level = episode.steps * case.settings.step_s >= case.settings.adopt_after_s
    episode.ended = "new_level" if new_level else "calm"
    decision = Detected.NEW_LEVEL if new_level else Detected.RESOLVED
    measured = measure(case, so_far.weighed, episode.onset_ms, episode.ratio)
    return told(replace(so_far, decision=decision, measured=measured, tells="alert.resolved"), case)


def _update(case: Case, so_far: Judgement) -> Judgement:
    """Speak again at once when it became critical; else, a quarter of an hour later, when its level rose, its cause changed or its
    size doubled."""
    episode = so_far.episode
    assert episode is not None
    measured = measure(case, so_far.weighed, episode.onset_ms, episode.ratio)
    so_far = replace(so_far, measured=measured)
    rose = severity.RANK[measured.severity] > severity.RANK[episode.told_level]
    if not (rose and measured.severity == "critical") and (
        case.closes_ms - episode.told_ms < UPDATE_MS
        or not (rose or measured.effect >= DOUBLING * episode.told_effect or _other_cause(case, episode))
    ):
        return so_far
    episode.sequence += 1
    since = so_far.weighed.steps.since(case.step(episode.onset_ms))
    up_to = floors.fires_up_to(since, case.ln_h)
    return told(
        replace(
            so_far, decision=Detected.UPDATED, measured=msgspec.structs.replace(measured, fires_up_to=up_to), tells="alert.updated",
        ),
        case,
    )  # fmt: skip


def _other_cause(case: Case, episode: Episode) -> bool:
    now = cause(case.said(episode.told_until_ms))
    return bool((now.story and now.story != episode.told_story) or (now.topic and now.topic != episode.told_topic))


def told(judgement: Judgement, case: Case) -> Judgement:
    """The same, and the episode remembers what people now know."""
    episode, measured = judgement.episode, judgement.measured
    assert episode is not None
    assert measured is not None
    episode.told_effect, episode.told_ms, episode.told_level = measured.effect, case.closes_ms, measured.severity
    known = cause(case.said(episode.told_until_ms or episode.onset_ms))
    episode.told_story, episode.told_topic = known.story or episode.told_story, known.topic or episode.told_topic
    episode.told_until_ms = case.end_ms
    return judgement
