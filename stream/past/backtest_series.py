"""What a picture of a back-test shows: negatives and what was expected of them, by subject, in bins of a quarter of an hour or more."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from groundswell.keys import QUARTER_MS
from stream.detection import surge_reading
from stream.past.backtest import Play
from stream.windows import Applied

MOST_BINS = 720
BIN_QUARTERS = (1, 2, 4, 8, 12, 24, 48, 96)

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Line:
    """One subject: each array is (bins,); NaN where nothing was expected of it yet."""

    subject: str
    negatives: Floats
    expected: Floats
    low: Floats
    high: Floats


class Series:
    """Listens to a play from `from_ms` to `until_ms`; its expectations are those of the first setting."""

    def __init__(self, play: Play, from_ms: int, until_ms: int) -> None:
        quarters = -(-(until_ms - from_ms) // QUARTER_MS)
        wanted = -(-quarters // MOST_BINS)
        self.bin_ms = QUARTER_MS * next((one for one in BIN_QUARTERS if one >= wanted), wanted)
        self.from_ms = from_ms - from_ms % self.bin_ms
        self.bins = max(-(-(until_ms - self.from_ms) // self.bin_ms), 1)
        self._play = play
        self._negatives: dict[str, Floats] = defaultdict(lambda: np.zeros(self.bins))
        self._expected: dict[str, Floats] = defaultdict(lambda: np.full(self.bins, np.nan))
        self._phi: dict[str, float] = {}
        self._quarter = 0
        play.seen, play.step = self._seen, self._step

    @property
    def times_ms(self) -> npt.NDArray[np.int64]:
        """(bins,) where each begins."""
        return self.from_ms + self.bin_ms * np.arange(self.bins, dtype=np.int64)

    def line(self, subject: str) -> Line:
        expected = self._expected[subject]
        known = np.nan_to_num(expected)
        low, high = surge_reading.band(known, self._phi.get(subject, 0.3))
        nothing = np.isnan(expected)
        return Line(
            subject, self._negatives[subject], expected, np.where(nothing, np.nan, low), np.where(nothing, np.nan, high)
        )

    def busiest(self, first: Sequence[str], most: int) -> list[str]:
        """`first` in its order, then those with the most negatives."""
        rest = sorted(self._negatives, key=lambda subject: (-float(self._negatives[subject].sum()), subject))
        return list(dict.fromkeys([*first, *rest]))[:most]

    def _bin(self, at_ms: int) -> int:
        place = (at_ms - self.from_ms) // self.bin_ms
        return place if 0 <= place < self.bins else -1

    def _seen(self, applied: list[Applied]) -> None:
        for one in applied:
            place = self._bin(one.minute_ms)
            if place < 0 or one.document.echo:
                continue
            for row in one.rows:
                if row.sure_negative:
                    self._negatives[row.subject][place] += 1

    def _step(self, start_ms: int) -> None:
        quarter, place = start_ms // QUARTER_MS, self._bin(start_ms)
        if quarter == self._quarter or place < 0:
            return
        self._quarter = quarter
        for subject, (per_min, _phi15, phi60) in self._play.detectors[0].expectations(start_ms).items():
            bins = self._expected[subject]
            bins[place] = np.nan_to_num(bins[place]) + per_min * QUARTER_MS / 60_000
            self._phi[subject] = phi60
