"""Why a subject did not fire: what was counted at a step, what was expected, the first gate that said no, and how much more it would
have taken. Pure; `groundswell why` prints it.
"""

from typing import Any

import numpy as np
from msgspec import Struct

from groundswell.decisions import Detected
from stream.detection import surge, surge_reading
from stream.detection.detect import Detector
from stream.detection.judge import judge
from stream.windows import Window


class Why(Struct, kw_only=True, frozen=True):
    """One subject at the step that begins at `start_ms`. `decision` is the first gate that said no, or what was decided.

    `exact`: the step is the next to close, so the detector knows what it knew then; else it judges by what it knows now.
    `more`: how many more negatives in this step would have crossed the line; 0: it was crossed; None: no number would have, or it is
    not asked (an open episode). Crossing is not firing: `floors` come after.
    """

    subject: str
    start_ms: int
    step_s: int
    exact: bool
    decision: str
    negatives: int
    mentions: int
    expected: float
    low: int
    high: int
    negatives_15m: int
    expected_15m: float
    ln_m: float
    ln_h: float
    more: int | None
    learning: bool
    onset_ms: int = 0
    floors: dict[str, int] = {}
    leave_out: dict[str, float] = {}
    episode: str = ""


def why(detector: Detector, window: Window, subject: str, start_ms: int) -> Why | None:
    """None for a subject that was never counted (unknown, or nobody has mentioned it). `start_ms` is the beginning of a step whose
    counts are in the window."""
    if detector.state is None or subject not in detector.subjects:
        return None
    case = detector.case(window, subject, start_ms)
    judged = judge(case)
    weighed, step_s = judged.weighed, case.settings.step_s
    means = weighed.steps.mu * (judged.episode.ratio if judged.episode is not None else weighed.ratio)
    quarter = max(1, 900 // step_s)
    low, high = surge_reading.band([means[-1]], [weighed.phi15])
    negatives, more = int(case.counts[-1]), None
    if not case.in_episode:
        least = int(surge.crossing(case.row, case.slot, np.array([case.ln_h]), case.settings)[0])
        # The share channel may have carried it over the line with fewer.
        more = 0 if weighed.ln_m >= case.ln_h else None if least == surge.NEVER else max(1, least - negatives)
    stands: dict[str, Any] = {}
    if judged.measured is not None:
        from stream.detection import floors

        found = floors.standing(case.said(judged.onset_ms))
        stands = {"stories": found.stories, "authors": found.authors, "publishers": found.publishers}
    decision = judged.decision
    if decision is Detected.BELOW_THRESHOLD and weighed.learning and not case.drill:
        decision = Detected.HELD_LEARNING
    return Why(
        subject=subject, start_ms=start_ms, step_s=step_s, exact=start_ms == window.closed_ms, decision=decision.value,
        negatives=negatives, mentions=int(case.mentions), expected=round(float(means[-1]), 4), low=int(low[0]), high=int(high[0]),
        negatives_15m=int(case.counts[-quarter:].sum()), expected_15m=round(float(means[-quarter:].sum()), 4),
        ln_m=round(weighed.ln_m, 6), ln_h=round(case.ln_h, 6), more=more, learning=weighed.learning,
        onset_ms=judged.onset_ms if judged.measured is not None else 0, floors=stands,
        leave_out={part: round(value, 6) for part, value in (judged.measured.leave_out if judged.measured else {}).items()},
        episode=judged.episode.id if judged.episode is not None else "",
    )  # fmt: skip
