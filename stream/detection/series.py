"""Finds what is unusual in any one series of numbers: rows in, one verdict a row out, each from the rows up to it alone.

The bets are those of `bets.py`, on numbers that are made to look like counts: less the running 1 % quantile, scaled so that
the median is 10 (surge.md 7.3). The same on the mirrored numbers, less the 99 % quantile, sees what falls. Two channels a
direction, averaged, and the two directions averaged, so that it stays one test:

    block   dispersion of sums over 60 rows: what lasts. Long memory
    row     dispersion of single rows: a spike that is gone before a block knows of it. Short memory

The level and the hours of the day are kept in the series' own unit and added, so that shifting or scaling the series changes
nothing. A missing row is no bet and teaches nothing. Pure: no clock, no files; `groundswell/commands/series.py` reads them.
"""

from bisect import insort
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import isfinite, isnan, log
from typing import Literal

import numpy as np

from groundswell.errors import BadSetting, Refused
from stream.detection.bets import COUNT_EFFECTS, Floats, log_ratio
from stream.detection.surge_reading import gamma_quantile

Direction = Literal["up", "down", "both"]
Pair = tuple[float, float]

SENSITIVITY_LN_H: dict[str, float] = {"fewer": 7.0, "balanced": 5.0, "more": 4.0}
"""Evidence (ln) at which a row alerts. These are operating points, far under the line of the bound (ln of the rows between two
false alarms): on invented series of 18 fields (`bench/surge_series.py`) the score is flat from 4 to 6.5."""

LARGEST = 1e100
"""No value may be larger: sums of squares stay finite."""

ONSET_ROWS = 180
"""An onset is looked for in this many rows."""

_BLOCK_ROWS = 60
_GAMMA = np.array([0.97, 0.8])[None, :, None]  # block, row
_WEIGHTS = np.array([0.8, 0.2])
_ROWS = np.array([60.0, 1.0])
_CEILING, _REST = 40.0, -50.0
_MEDIAN = 10.0
_LEAST_MEAN, _LARGEST_COUNT = 1.0, 1e6
_LEAST_PHI = 0.01
_PRIOR_PHI, _PRIOR_WEIGHT = 0.3, 20.0
_LEVEL_DAYS, _HOUR_DAYS, _PHI_DAYS = 8.0, 8.0, 5.0
_LEAST_LEVEL_ROWS = 100.0  # a half-life holds at least so many rows, however wide the step
_SHRINK_HOURS = 1.5
_ADOPT_AFTER_S, _ADOPT_HALF_LIFE_S = 43_200.0, 43_200.0
_STEP_ROWS, _VALUES = 101, 20_000
_FIRST_ROWS, _FIRST_S = 10, 3600.0
_TURNED_BACK_S = 3600.0
_TAUGHT_SD = 6.0  # a value teaches level and hours at most so far from expected; the dispersion learns all of it
_Z95 = 1.6448536269514722
_LN_EFFECTS = np.log(COUNT_EFFECTS)


class NotInOrder(Refused):
    """A row is older than the rows before it."""

    reason = "not_in_order"
    remedy = "Sort the rows by time, oldest first. Up to an hour back is taken for a clock change."


@dataclass(frozen=True)
class SeriesSettings:
    """`ln_h` is the evidence at which a row alerts; no second alert within `refractory_s`. `direction`: what rises, what
    falls, or both, since most series are sick either way."""

    ln_h: float = SENSITIVITY_LN_H["balanced"]
    refractory_s: float = 86_400.0
    direction: Direction = "both"

    def __post_init__(self) -> None:
        if not 0 < self.ln_h < _CEILING:
            raise BadSetting(f"The threshold is {self.ln_h:g}.", remedy="Choose one above 0 and under 40.")
        if not 0 <= self.refractory_s < float("inf"):
            raise BadSetting("The refractory time is no length of time.", remedy="Write it like 90m, 24h or 7d.")


@dataclass(frozen=True)
class Seen:
    """What a row is, by the rows up to it. `expected` and its 90 % band `lo` to `hi` are in the unit of the series, from the
    rows before; `raw_score` is 0 to 1 and has no memory of alerts; `score` is at least .5 exactly where `alert`; `onset`
    says, for an alert, how many rows ago it began."""

    expected: float
    lo: float
    hi: float
    ln_m: float
    raw_score: float
    score: float
    alert: bool
    onset: int | None


def detect(rows: Iterable[tuple[float, float]], settings: SeriesSettings | None = None) -> Iterator[Seen]:
    """One `Seen` for each (epoch seconds, value), at once. NaN is a missing value; a hole in time is missing rows.

    Any step from a second to an hour, found by the median of the last 101 differences. The first hour, or ten rows, only
    teaches. Raises NotInOrder, and ValueError for a value that is infinite or beyond `LARGEST`.
    """
    watch = _Watch(settings or SeriesSettings())
    for at_s, value in rows:
        yield watch.see(at_s, value)


class _Watch:
    """All that is remembered of a series: some 20,000 numbers at most, however long it is."""

    def __init__(self, settings: SeriesSettings) -> None:
        self.settings = settings
        self.share = np.array({"up": (1.0, 0.0), "down": (0.0, 1.0), "both": (0.5, 0.5)}[settings.direction])
        self.weights = self.share[:, None] * _WEIGHTS
        self.clock = _Clock()
        self.values: list[float] = []  # sorted
        self.rows = 0
        self.level, self.mass = 0.0, 0.1
        self.hour_sum, self.hour_mass = [0.0] * 24, [0.0] * 24
        self.evidence: Floats = np.full((2, 2, len(COUNT_EFFECTS)), _REST)
        self.ln_m = _REST
        self.bets: deque[Floats] = deque(maxlen=ONSET_ROWS)
        self.ring: Floats = np.zeros((2, 2, _BLOCK_ROWS))  # (count or mean, direction, row)
        self.sums: Floats = np.zeros((2, 2, 2))  # (count or mean, direction, channel), of the last 60 rows and of one
        self.bet_rows = 0
        self.up: Floats = np.full((2, 2), _PRIOR_PHI * _PRIOR_WEIGHT)  # (direction, channel)
        self.down: Floats = np.full((2, 2), _PRIOR_WEIGHT)
        self.high_s = 0.0
        self.alerted_s = -float("inf")

    def see(self, at_s: float, value: float) -> Seen:
        passed_s = self.clock.passed(at_s)
        missing = isnan(value)
        if not missing and not abs(value) <= LARGEST:
            raise ValueError(f"the value {value} is beyond {LARGEST:g}")
        if passed_s > _BLOCK_ROWS * self.clock.step_s:
            # After a long hole nothing is left of what was suspected, and no block reaches over it.
            self.evidence[:] = self.ln_m = _REST
            self.bets.clear()
            self.bet_rows = 0
        hour = int(at_s // 3600 % 24)
        learned = self.rows >= _FIRST_ROWS and self.clock.since_start_s >= _FIRST_S
        offset = self._offset(hour) if learned else 0.0
        expected = self.level + offset
        if not learned:
            if missing:
                return Seen(expected, expected, expected, 0.0, 0.0, 0.0, False, None)
            self.level += (value - self.level) / (self.rows + 1)
            self._remember(value)
            return Seen(self.level, self.level, self.level, 0.0, 0.0, 0.0, False, None)
        bases, scales = self._frame(value if not missing else expected)
        phi = np.maximum(self.up / self.down, _LEAST_PHI)
        means = _counts(expected, bases, scales, _LEAST_MEAN)
        hi = max(expected, bases[0] + self._reach(means[0], float(phi[0, 1])) / scales[0])
        lo = bases[1] - self._reach(means[1], float(phi[1, 1])) / scales[1]
        lo = min(expected, lo if self.values[0] < 0 else max(lo, 0.0))
        if not missing:
            self._bet(np.array(_counts(value, bases, scales, 0.0)), np.array(means), phi)
            width = max(_sd(means[i], float(phi[i, 1])) / scales[i] for i in (0, 1))
            self._learn(value, hour, offset, passed_s, expected, width)
        return self._verdict(at_s, expected, lo, hi, max(0.0, self.ln_m), missing=missing)

    # -- what is expected ---------------------------------------------------------------------------------------------

    def _offset(self, hour: int) -> float:
        """What this hour of the day adds to the level, from it and its neighbours, shrunk to nothing."""
        shrink = _SHRINK_HOURS * max(1.0, 3600 / self.clock.step_s)
        total = 0.0
        for at, weight in ((hour - 1, 0.25), (hour, 0.5), ((hour + 1) % 24, 0.25)):
            total += weight * self.hour_sum[at] / (self.hour_mass[at] + shrink)
        return total

    def _frame(self, value: float) -> tuple[Pair, Pair]:
        """(bases, scales) for what rises and what falls: (x - base) · scale has median 10."""
        last = len(self.values) - 1
        edge, median = int(0.01 * last), self.values[last // 2 + last % 2]
        bases = (self.values[edge], self.values[last - edge])
        return bases, (self._scale(median - bases[0], self.level - bases[0], median, value),
                       self._scale(bases[1] - median, bases[1] - self.level, median, value))  # fmt: skip

    @staticmethod
    def _scale(half: float, mean: float, median: float, value: float) -> float:
        # A flat line has no width: then its mean distance, its own size, or the first value that differs, is the unit.
        least = 1e-9 * abs(median)
        width = half if half > least else mean if mean > least else abs(median) or abs(value) or 1.0
        return min(_MEDIAN / width, 1e150)

    @staticmethod
    def _reach(mean: float, phi: float) -> float:
        shape = 1 / (1 / mean + phi)
        return mean * gamma_quantile(shape, _Z95) / shape

    # -- evidence -----------------------------------------------------------------------------------------------------

    def _bet(self, counts: Floats, means: Floats, phi: Floats) -> None:
        size = 1 / (phi * _ROWS + 1 / (1 + _MEDIAN * self.mass))
        slope, constant = log_ratio(means[:, None, None], size[:, :, None], COUNT_EFFECTS, _LN_EFFECTS)
        bet = slope * counts[:, None, None] + constant
        self.evidence = np.minimum(_GAMMA * np.logaddexp(0.0, self.evidence) + bet, _CEILING)
        self.bets.append(bet)
        at = self.bet_rows % _BLOCK_ROWS
        self.ring[0, :, at], self.ring[1, :, at] = counts, means
        self.bet_rows += 1
        each = np.exp(self.evidence).sum(axis=2) * self.weights
        self.ln_m = log(max(float(each.sum()), 1e-300) / len(COUNT_EFFECTS))
        seen, mean = self.sums
        self.sums[:, :, 0], self.sums[:, :, 1] = self.ring.sum(axis=2), self.ring[:, :, at]
        weight = mean / (1 + mean)
        if self.bet_rows < _BLOCK_ROWS:
            weight[:, 0] = 0.0
        keep = self.clock.keep_phi
        self.up = keep * self.up + weight * ((seen - mean) ** 2 - mean) / (mean * mean)
        self.down = keep * self.down + weight

    def _learn(self, value: float, hour: int, offset: float, passed_s: float, expected: float, width: float) -> None:
        # A new level: what has been unusual for half a day is the usual from now on.
        self.high_s = self.high_s + passed_s if self.ln_m >= self.settings.ln_h else 0.0
        keep = self.clock.keep_adopting if self.high_s > _ADOPT_AFTER_S else self.clock.keep_level
        self._remember(value)
        if self.high_s <= _ADOPT_AFTER_S and self.rows > _BLOCK_ROWS:
            # Else the same hour of the next day would expect the anomaly of today.
            value = min(max(value, expected - _TAUGHT_SD * width), expected + _TAUGHT_SD * width)
        self.mass = keep * self.mass + 1
        self.level += (value - offset - self.level) / self.mass
        self.hour_sum[hour] = self.clock.keep_hour * self.hour_sum[hour] + value - self.level
        self.hour_mass[hour] = self.clock.keep_hour * self.hour_mass[hour] + 1

    def _remember(self, value: float) -> None:
        self.rows += 1
        insort(self.values, value)
        if len(self.values) >= _VALUES:
            # Every other one keeps the quantiles, and lets the past weigh half.
            del self.values[::2]

    # -- the answer ---------------------------------------------------------------------------------------------------

    def _verdict(self, at_s: float, expected: float, lo: float, hi: float, ln_m: float, *, missing: bool) -> Seen:
        raw = 1 - float(np.exp(-ln_m / 8))
        alert = not missing and ln_m >= self.settings.ln_h and at_s - self.alerted_s >= self.settings.refractory_s
        if not alert:
            return Seen(expected, lo, hi, ln_m, raw, min(0.499, 0.5 * raw), False, None)
        self.alerted_s = at_s
        return Seen(expected, lo, hi, ln_m, raw, 0.5 + 0.5 * raw, True, self._onset())

    def _onset(self) -> int:
        """Rows since the start from which some effect size, of the direction and channel that says most, explains best."""
        each = np.exp(self.evidence).sum(axis=2) * self.weights
        direction, channel = np.unravel_index(int(np.argmax(each)), each.shape)
        own = np.stack(self.bets)[:, direction, channel]
        return int(np.argmax(np.cumsum(own[::-1], axis=0).max(axis=1)))


class _Clock:
    """The step of the series, as far as it has been seen, and how much of the past each row keeps at that step."""

    def __init__(self) -> None:
        self.first_s = self.newest_s = self.last_s = float("nan")
        self.since_start_s = 0.0
        self.step_s = 60.0
        self.steps: deque[float] = deque(maxlen=_STEP_ROWS)
        self.ranked: list[float] = []
        self._rates()

    def passed(self, at_s: float) -> float:
        """Seconds since the row before; raises NotInOrder."""
        if not isfinite(at_s):
            raise ValueError("a time must be a number")
        if isnan(self.first_s):
            self.first_s = self.newest_s = self.last_s = at_s
            return 0.0
        if at_s < self.newest_s - _TURNED_BACK_S:
            raise NotInOrder(f"A row is {self.newest_s - at_s:,.0f} s older than one before it.")
        passed_s, self.last_s = at_s - self.last_s, at_s
        self.newest_s = max(self.newest_s, at_s)
        self.since_start_s = self.newest_s - self.first_s
        if passed_s <= 0:  # the same time again, or a clock that was turned back: the next row all the same
            return self.step_s
        if len(self.steps) == _STEP_ROWS:
            self.ranked.remove(self.steps[0])
        self.steps.append(passed_s)
        insort(self.ranked, passed_s)
        step_s = max(self.ranked[len(self.ranked) // 2], 1e-3)
        if step_s != self.step_s:
            self.step_s = step_s
            self._rates()
        return passed_s

    def _rates(self) -> None:
        least_s = _LEAST_LEVEL_ROWS * self.step_s
        self.keep_level = 2 ** (-self.step_s / max(_LEVEL_DAYS * 86_400, least_s))
        self.keep_adopting = 2 ** (-self.step_s / max(_ADOPT_HALF_LIFE_S, least_s / 5))
        self.keep_phi = 2 ** (-self.step_s / max(_PHI_DAYS * 86_400, least_s))
        self.keep_hour = 2 ** (-min(self.step_s, 3600) / 3600 / _HOUR_DAYS)


def _sd(mean: float, phi: float) -> float:
    return float((mean + phi * mean * mean) ** 0.5)


def _counts(value: float, bases: Pair, scales: Pair, least: float) -> Pair:
    """The value as a count for what rises, and for what falls."""
    up, down = (value - bases[0]) * scales[0], (bases[1] - value) * scales[1]
    return min(max(up, least), _LARGEST_COUNT), min(max(down, least), _LARGEST_COUNT)
