"""Decides a case: whether evidence over the line begins an episode, opens the last one again, or is held back, and by which floor.

Pure: the same case, the same judgement, live and in a replay. An open episode's next state is course.py's.
"""

from dataclasses import dataclass

import msgspec
import numpy as np

from groundswell.decisions import Detected
from stream.detection import course, episodes, floors, single, surge, surge_reading
from stream.detection.case import HISTORY_STEPS, Case, Weighed, measure, weigh
from stream.detection.course import Judgement
from stream.detection.episodes import REOPEN_MS, Episode
from stream.detection.single import Alone

__all__ = ["Judgement", "judge"]


def judge(case: Case) -> Judgement:
    """What follows from a step for its subject."""
    weighed = weigh(case)
    if case.alone is not None:
        return _single(case, weighed, case.alone)
    if case.in_episode:
        return course.go_on(case, weighed)
    if weighed.ln_m < case.ln_h:
        return Judgement(Detected.BELOW_THRESHOLD, weighed)
    return _crossing(case, weighed)


@dataclass(frozen=True)
class _Begun:
    onset_ms: int
    ratio: float


def _onset(case: Case, weighed: Weighed) -> _Begun:
    steps, last = HISTORY_STEPS, case.episode
    if last is not None and last.resolved_ms:
        # Not back over the end of the episode before: the same onset would be the same id, told long ago.
        since_end = (case.start_ms - last.resolved_ms + case.lateness_ms) // case.step_ms + 1
        steps = min(max(since_end, 1), steps)
    past = weighed.steps
    at = surge_reading.onset(past.y, past.fast, past.r_fast, steps=steps)
    ratio = 1.0 if case.settings.coarse else float(np.clip(weighed.ratio, 0.2, 5.0))
    return _Begun(case.first_ms + at * case.step_ms, ratio)


def _crossing(case: Case, weighed: Weighed) -> Judgement:
    last, begun = case.episode, _onset(case, weighed)
    since = weighed.steps.since(case.step(begun.onset_ms))
    cards = case.said(begun.onset_ms)
    left = floors.leave_out(since, cards, wide=case.wide)
    usual = float(since.mu.sum()) * begun.ratio
    held = Detected.HELD_LEARNING if weighed.learning and not case.drill else floors.gate(usual, cards, left, case.ln_h)
    reopened = last is not None and last.state == "resolved" and case.closes_ms - last.resolved_ms <= REOPEN_MS
    if last is not None and reopened and held is None:
        # The episode goes on: its event counts from its own onset, as it says it does.
        begun = _Begun(last.onset_ms, last.ratio)
    measured = msgspec.structs.replace(
        measure(case, weighed, begun.onset_ms, begun.ratio),
        leave_out=left.ln_m, fires_up_to=0.0 if held else floors.fires_up_to(since, case.ln_h),
    )  # fmt: skip
    if held is not None:
        return Judgement(held, weighed, measured, onset_ms=begun.onset_ms)
    if last is not None and reopened:
        decision = Detected.REOPENED
        episode = msgspec.structs.replace(
            last, previous="resolved", state="firing", sequence=last.sequence + 1, resolved_ms=0, calm_steps=0, ended=""
        )
    else:
        decision = Detected.FIRED
        episode = Episode(
            id=episodes.identity(case.subject, begun.onset_ms), subject=case.subject, state="firing", onset_ms=begun.onset_ms,
            fired_ms=case.at_ms, changed_ms=case.at_ms, kind=_kind(case, weighed), ratio=begun.ratio,  # type: ignore[arg-type]
        )  # fmt: skip
    episode.steps = 0 if case.early else 1  # at an early look the step is still to close
    return course.told(Judgement(decision, weighed, measured, episode, "alert.firing", begun.onset_ms), case)


def _single(case: Case, weighed: Weighed, alone: Alone) -> Judgement:
    """One text alone. The severity is its topic's: size, breadth and persistence say nothing of one text."""
    decision = Detected.SINGLE_DOCUMENT if single.within_budget(alone) else Detected.HELD_SINGLE_BUDGET
    begun_ms = alone.at_ms // case.step_ms * case.step_ms
    measured = msgspec.structs.replace(
        measure(case, weighed, begun_ms, 1.0), severity=single.SEVERITY[alone.topic], trend="steady"
    )
    if decision is Detected.HELD_SINGLE_BUDGET:
        return Judgement(decision, weighed, measured, onset_ms=begun_ms)
    episode = Episode(
        id=episodes.identity(f"{case.subject}|{alone.document}", alone.at_ms, single.SINGLE), subject=case.subject, state="firing",
        onset_ms=alone.at_ms, fired_ms=case.at_ms, changed_ms=case.at_ms, kind="document", ratio=1.0,
        told_level=measured.severity, told_story=alone.document, told_topic=alone.topic,
    )  # fmt: skip
    return Judgement(decision, weighed, measured, episode, "alert.firing", begun_ms)


def _kind(case: Case, weighed: Weighed) -> str:
    said = weighed.verdict
    if said is None:
        return "count"
    return surge.kind(float(said.ln_fast[0]), float(said.ln_slow[0]), float(said.ln_share[0]), case.ln_h, case.settings)
