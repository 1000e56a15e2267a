"""Runs the detector over an invented world and scores its alarms against what was planted. `bench/detect.py` sets the
gates.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from bench.surge_simulator import DAY, Counts, Planted, Stream, local_slots_of_week
from stream.detection.surge import Settings, Slot, State, rest, tick

COOLDOWN_MIN = 60
GRACE_MIN = 5
AFTERMATH_MIN = 60

Evidence = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trace:
    """What the detector said, (T, K): combined evidence (-inf while learning), that of the share channel, and the
    null by minute.
    """

    ln_m: Evidence
    ln_share: Evidence
    expected: Evidence
    fast_expected: Evidence
    ratio: Evidence
    r_fast: Evidence
    r_slow: Evidence
    phi15: Evidence
    state: State


def run(
    stream: Stream,
    settings: Settings | None = None,
    *,
    group: str = "XNYS",
    prior_per_min: float = 1.0,
    slots: Sequence[Slot] | None = None,
    restart_at: float | None = None,
) -> Trace:
    """Feed a stream step by step, with no episodes: alarms are read from the evidence afterwards, at any line.

    `slots` (one a quarter hour of the stream) replaces the local week that begins with the stream. With
    `restart_at`, evidence goes back to rest where it reaches that line: what the bound counts.
    """
    settings = settings or Settings()
    steps, keys = stream.y.shape
    per_quarter = max(1, 900 // settings.step_s)
    week = slots or local_slots_of_week(keys, group)
    hop = max(1, settings.step_s // 900)
    state = State.new(keys, prior_per_min, settings)
    kept = np.empty((8, steps, keys), np.float32)
    calm = np.zeros(keys, np.bool_)
    for t in range(steps):
        at = t // per_quarter * hop
        state, said = tick(state, week[at % len(week)], stream.y[t], stream.n[t], calm, settings)
        kept[0, t] = np.where(said.learning, -np.inf, said.ln_m)
        if restart_at is not None and np.any(said.ln_m >= restart_at):
            state = rest(state, said.ln_m >= restart_at)
        kept[1, t], kept[2, t], kept[3, t] = said.ln_share, said.expected, said.fast_expected
        kept[4, t], kept[5, t], kept[6, t], kept[7, t] = said.ratio, said.r_fast, said.r_slow, said.phi15
    return Trace(kept[0], kept[1], kept[2], kept[3], kept[4], kept[5], kept[6], kept[7], state)


def alarms(ln_m: Evidence, line: float, *, start: int, cooldown: int = COOLDOWN_MIN) -> list[int]:
    """Steps of one subject from `start` on at which the evidence is at or above `line`, at least `cooldown` steps
    apart.
    """
    found: list[int] = []
    for at in np.flatnonzero(ln_m[start:] >= line):
        if not found or start + at >= found[-1] + cooldown:
            found.append(start + int(at))
    return found


def alarms_per_key_day(
    ln_m: Evidence, line: float, *, start: int, steps_a_day: int = DAY, cooldown: int = COOLDOWN_MIN
) -> float:
    """Alarms a subject and day where nothing was planted: all of them false."""
    steps, keys = ln_m.shape
    count: int = sum(len(alarms(ln_m[:, key], line, start=start, cooldown=cooldown)) for key in range(keys))
    return float(count * steps_a_day / ((steps - start) * keys))


def tuned_line(ln_m: Evidence, target: float, *, start: int) -> float:
    """The lowest line, in steps of .05, with at most `target` false alarms a subject and day on a world without
    surges.
    """
    return tuned_among(ln_m, [float(line) for line in np.arange(3.0, 20.0, 0.05)], target, start=start)


def tuned_among(scores: Evidence, lines: Sequence[float], target: float, *, start: int) -> float:
    """The first of these rising lines with at most `target` false alarms a subject and day; the last where none is."""
    for line in lines:
        if alarms_per_key_day(scores, line, start=start) <= target:
            return line
    return lines[-1]


@dataclass(frozen=True)
class Score:
    """Alarms against planted events. `by_factor`: recall by strength; `decoys`: part of the decoys that raised an
    alarm.
    """

    recall: float
    precision: float
    delay_min: float
    by_factor: dict[float, float]
    decoys: float
    hits: tuple[tuple[Planted, int], ...]


def score(ln_m: Evidence, events: Sequence[Planted], line: float, *, start: int) -> Score:
    """A hit is an alarm from onset to end + 5 min; until 60 min after the end an alarm is neither a hit nor false."""
    hits: list[tuple[Planted, int]] = []
    false = 0
    for key in range(ln_m.shape[1]):
        own = [event for event in events if event.key == key]
        caught: set[Planted] = set()
        for at in alarms(ln_m[:, key], line, start=start):
            near = next((event for event in own if event.onset <= at < event.end + AFTERMATH_MIN), None)
            if near is None:
                false += 1
            elif at <= near.end + GRACE_MIN and near not in caught:
                caught.add(near)
                hits.append((near, at))
    real = [event for event in events if not event.decoy]
    decoys = len(events) - len(real)
    true = [(event, at) for event, at in hits if not event.decoy]
    fooled = len(hits) - len(true)
    return Score(
        recall=len(true) / max(len(real), 1),
        precision=len(true) / max(len(true) + false + fooled, 1),
        delay_min=float(np.median([at - event.onset for event, at in true])) if true else float("inf"),
        by_factor={
            factor: sum(event.factor == factor for event, _ in true)
            / max(sum(event.factor == factor for event in real), 1)
            for factor in sorted({event.factor for event in real})
        },
        decoys=fooled / max(decoys, 1),
        hits=tuple(true),
    )


def widen(stream: Stream, minutes: int) -> Stream:
    """The same world in steps of `minutes`."""

    def summed(counts: Counts) -> Counts:
        return np.asarray(counts.reshape(-1, minutes, counts.shape[1]).sum(axis=1), np.float32)

    return Stream(summed(stream.y), summed(stream.n), stream.rate, stream.events)
