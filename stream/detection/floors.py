"""What evidence over the line must stand on besides: stories, voices, an excess, and that no single part of it carries all.

Pure. judge.py asks once the line is crossed. Each floor only takes alerts away, so the bound on false alarms stands.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groundswell.decisions import Detected
from groundswell.records import DocumentCard
from stream.detection import surge_reading
from stream.detection.cards import family

STORIES, AUTHORS, PUBLISHERS, EXCESS = 5, 3, 2, 4.0  # the least an alert stands on
MARGIN = 2.0  # ln: without its largest part a surge may be this much weaker
LARGEST_FACTOR, FACTOR_STEP = 20.0, 0.05

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Steps:
    """Some steps of one subject, oldest first: counts `y`, and what was expected of them; arrays (T,)."""

    first_ms: int
    step_ms: int
    y: Floats
    mu: Floats
    fast: Floats
    r_fast: Floats
    r_slow: Floats
    coarse: bool = False
    share: Floats | None = None  # expected by the usual share of the mentions, and its size
    r_share: Floats | None = None

    def since(self, step: int) -> "Steps":
        """Those from the index `step` on."""
        return Steps(
            self.first_ms + step * self.step_ms, self.step_ms, self.y[step:], self.mu[step:], self.fast[step:],
            self.r_fast[step:], self.r_slow[step:], self.coarse,
            None if self.share is None else self.share[step:], None if self.r_share is None else self.r_share[step:],
        )  # fmt: skip

    def evidence(self, y: Floats) -> float:
        """ln M of the count channels at the last step if all had begun, at rest, with the first, and had counted `y`."""
        return surge_reading.recompute(y, self.fast, self.mu, self.r_fast, self.r_slow, coarse=self.coarse)


@dataclass(frozen=True)
class Without:
    """By part left out (`all`: none): ln M, and the negatives that remain. When a held surge has become the level, ln M from rest
    is low with and without anybody: then the counts tell."""

    ln_m: dict[str, float]
    negatives: dict[str, float]


@dataclass(frozen=True)
class Standing:
    """How many stories and voices there are."""

    stories: int
    authors: int
    publishers: int


def standing(cards: Sequence[DocumentCard]) -> Standing:
    return Standing(
        len({one.story for one in cards}),
        len({one.author for one in cards if one.author}),
        len({one.source for one in cards if one.feed == "news"}),
    )


def leave_out(since: Steps, cards: Sequence[DocumentCard], *, wide: bool) -> Without:
    """From the onset with all counts, and without the largest story family, author, publisher; of a `wide` subject (a topic, a
    market) also without the largest company."""

    def without(keep: Callable[[DocumentCard], Sequence[str]]) -> Floats:
        counted = Counter(name for one in cards for name in keep(one))
        y = since.y.copy()
        if counted:
            largest = min(counted, key=lambda name: (-counted[name], name))
            for one in cards:
                if largest in keep(one):
                    y[min((one.published_at - since.first_ms) // since.step_ms, len(y) - 1)] -= 1
        return np.maximum(y, 0)

    counts = {
        "all": since.y,
        "story": without(lambda one: [family(one)]),
        "author": without(lambda one: [one.author] if one.author else []),
        "publisher": without(lambda one: [one.source] if one.feed == "news" else []),
    }
    if wide:
        counts["company"] = without(lambda one: one.about)
    return Without(
        {part: since.evidence(y) for part, y in counts.items()}, {part: float(y.sum()) for part, y in counts.items()}
    )


def gate(usual: float, cards: Sequence[DocumentCard], left: Without, ln_h: float) -> Detected | None:
    """The first floor that holds a crossing back, or None. `usual`: the negatives expected since the onset."""
    found = standing(cards)
    if found.stories < STORIES:
        return Detected.HELD_FEW_STORIES
    if found.authors < AUTHORS and found.publishers < PUBLISHERS:
        return Detected.HELD_FEW_VOICES
    if left.negatives["all"] - usual < EXCESS:
        return Detected.HELD_SMALL_EXCESS
    # Both sides are recomputed from rest at the onset, so "still fires" is measured against that, not the full ln M.
    line = min(ln_h, left.ln_m["all"]) - MARGIN
    for part, reason in (
        ("story", Detected.HELD_ONE_STORY),
        ("author", Detected.HELD_ONE_AUTHOR),
        ("publisher", Detected.HELD_ONE_PUBLISHER),
        ("company", Detected.HELD_ONE_COMPANY),
    ):
        if part in left.ln_m and (left.ln_m[part] < line or left.negatives[part] - usual < EXCESS / 2):
            return reason
    return None


def fires_up_to(since: Steps, ln_h: float) -> float:
    """By how much, from 1 to 20 in steps of .05, all expectations could be multiplied, and it would still fire: so wrong the usual
    would have to be to explain the surge. The usual share is one of them: what fires by its mood alone must not look as if
    no count could explain it."""

    def evidence(factor: float) -> float:
        return surge_reading.recompute(
            since.y, since.fast * factor, since.mu * factor, since.r_fast, since.r_slow, coarse=since.coarse,
            m_share=None if since.share is None else since.share * factor,
            r_share=1.0 if since.r_share is None else since.r_share,
        )  # fmt: skip

    line = min(ln_h, evidence(1.0)) - MARGIN
    low, high = 0, round((LARGEST_FACTOR - 1) / FACTOR_STEP)
    while low < high:
        middle = (low + high + 1) // 2
        if evidence(1 + middle * FACTOR_STEP) >= line:
            low = middle
        else:
            high = middle - 1
    return round(1 + low * FACTOR_STEP, 2)
