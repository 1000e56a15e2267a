"""What the detector expects of a subject over the last minutes or hours: the same expectation that its alerts are held against. Pure."""

from dataclasses import dataclass

import numpy as np

from stream.detection import surge
from stream.detection.detect import Detector

QUARTER_S = 900


@dataclass(frozen=True)
class Usual:
    """Negatives expected over a whole stretch (never 0), and how they are dispersed."""

    negatives: float
    phi15: float


def usual(detector: Detector, subject: str, end_ms: int, window_s: int) -> Usual:
    """For the `window_s` seconds before `end_ms`, by what is known now: the level is robust, so it serves for the hours before."""
    step_s, end_s = detector.policy.settings.step_s, end_ms // 1000
    if detector.state is None or subject not in detector.subjects:
        return Usual(detector.directory[subject].prior_per_min * window_s / 60, 0.3)
    # The season stands still for a quarter of an hour, so one step serves for its quarter; a longer step for itself.
    pace_s = max(step_s, QUARTER_S)
    edges = np.unique(
        np.r_[end_s - window_s, np.arange(-(-(end_s - window_s) // pace_s), end_s // pace_s + 1) * pace_s, end_s]
    )
    starts, steps = edges[:-1], np.diff(edges) / step_s
    count = len(starts)
    zeros = np.zeros(count)
    rows = detector.state.take([detector.subjects.index(subject)] * count)
    slots = detector.directory.slots(subject, starts * 1000)
    _, verdict = surge.tick(rows, slots, zeros, zeros, zeros.astype(bool), detector.policy.settings)
    return Usual(float((verdict.expected * steps).sum()), float(verdict.phi15[-1]))
