"""Compares what was measured round by round: the median of paired ratios, and how sure it is; next: tagger.py.

Two runners that read the same texts in the same round share the machine's mood. So the ratio is taken inside a round,
and rounds, not texts, are what the bootstrap draws.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 4_000
SURE = (2.5, 97.5)


class Ratio(NamedTuple):
    """A median over rounds, and the 2.5 % and 97.5 % points of that median if the rounds were drawn again."""

    median: float
    low: float
    high: float


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Median of `above[n] / below[n]`. Raises ValueError when the rounds do not pair up."""
    each = np.array(above, np.float64) / np.array(below, np.float64)
    return spread(each.tolist())


def spread(each: Sequence[float], seed: int = 1) -> Ratio:
    """Median of the rounds, and its interval by the bootstrap."""
    values = np.array(each, np.float64)
    if not len(values):
        raise ValueError("no rounds")
    drawn = np.random.default_rng(seed).integers(0, len(values), (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(values[drawn], axis=1), SURE)
    return Ratio(float(np.median(values)), float(low), float(high))
