"""The rules that others use to see a surge, in short re-implementations; `bench/detect.py` runs them beside ours.

Each takes negatives y (T, K) by local minute from a Monday 00:00 and gives a score (T, K): higher means more alarming, and
each is tuned to the same false-alarm rate as ours before recall is compared. `USUAL_LINE` is where it stands by default.
Nothing is told of the planted surges to any of them; the season is learned from earlier days of the same kind.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bench.surge_simulator import DAY, Counts

Scores = npt.NDArray[np.float32]
_WEEKDAYS = 5
_LEAST = 1e-3


def moving_sum(y: npt.NDArray[np.floating], minutes: int) -> Scores:
    """Sums of the last `minutes` minutes, this one included; shorter at the beginning."""
    total = np.cumsum(y, axis=0, dtype=np.float64)
    total[minutes:] = total[minutes:] - total[:-minutes]
    return total.astype(np.float32)


def _before(x: Scores, minutes: int) -> Scores:
    """The same, `minutes` minutes late."""
    late = np.zeros_like(x)
    late[minutes:] = x[:-minutes]
    return late


def _trailing(x: Scores, minutes: int) -> tuple[Scores, Scores]:
    """Mean and standard deviation of the last `minutes` minutes."""
    rows = np.minimum(np.arange(1, len(x) + 1), minutes)[:, None]
    mean = moving_sum(x, minutes) / rows
    square = moving_sum(x.astype(np.float64) ** 2, minutes) / rows
    return mean.astype(np.float32), np.sqrt(np.maximum(square - mean.astype(np.float64) ** 2, _LEAST)).astype(
        np.float32
    )


def z_score(y: Counts) -> Scores:
    """The last 5 minutes against the mean and deviation of 24 hours, as a PromQL rule has it."""
    recent = moving_sum(y, 5)
    mean, deviation = _trailing(_before(recent, 5), DAY)
    return np.asarray((recent - mean) / deviation, np.float32)


def poisson(y: Counts) -> Scores:
    """The last 5 minutes against a Poisson law with the mean of 24 hours: signed root of the deviance, which ranks as the
    tail probability does."""
    recent = moving_sum(y, 5)
    mean = np.maximum(_trailing(_before(recent, 5), DAY)[0], _LEAST)
    return _signed_deviance(recent, mean)


def _signed_deviance(x: Scores, mean: Scores) -> Scores:
    deviance = 2 * (x * np.log(np.maximum(x, _LEAST) / mean) - (x - mean))
    return np.asarray(np.sign(x - mean) * np.sqrt(np.maximum(deviance, 0)), np.float32)


def keyword_spike(y: Counts) -> Scores:
    """Two hours' count against the usual one of the week before, if it is at least 5: how trending words are found."""
    recent = moving_sum(y, 120)
    usual = np.maximum(_trailing(_before(recent, 120), 7 * DAY)[0], 0.5)
    return np.where(recent >= 5, recent / usual, 0).astype(np.float32)


def seasonal_mean(y: npt.NDArray[np.floating], days: int = 14, half_width: int = 30) -> Scores:
    """The mean of the same hour (± half_width minutes) on earlier days of the same kind, at most `days` back."""
    smooth = moving_sum(y, 2 * half_width + 1) / (2 * half_width + 1)
    # Whole days ahead of the past one, so that centring looks at nothing that has not been.
    smooth = np.concatenate([smooth[half_width:], np.repeat(smooth[-1:], half_width, axis=0)])
    by_day = smooth.reshape(-1, DAY, y.shape[1])
    usual = np.empty_like(by_day)
    for day in range(len(by_day)):
        kind = day % 7 >= _WEEKDAYS
        earlier = [d for d in range(max(0, day - days), day) if (d % 7 >= _WEEKDAYS) == kind]
        usual[day] = by_day[earlier].mean(axis=0) if earlier else by_day[max(day - 1, 0)]
    return np.asarray(usual.reshape(smooth.shape), np.float32)


def seasonal_ewma(y: Counts, weight: float = 0.1) -> Scores:
    """A control chart on what the season leaves: the exponentially weighted residual over its own deviation."""
    residual = y - seasonal_mean(y)
    deviation = _before(_trailing(residual.astype(np.float32), DAY)[1], 5)
    level = np.zeros_like(residual)
    for t in range(1, len(residual)):
        level[t] = (1 - weight) * level[t - 1] + weight * residual[t]
    return np.asarray(level / np.maximum(deviation * (weight / (2 - weight)) ** 0.5, 0.02), np.float32)


def farrington(y: Counts, days: int = 14) -> Scores:
    """15-minute sums against those of the same time (± 30 minutes) in the last 14 days of the same kind: reweighted, on the
    2/3 power, with their own dispersion, after the method public health uses for outbreaks."""
    recent = moving_sum(y, 15)
    by_day = recent.reshape(-1, DAY, y.shape[1])
    shifts = (-30, -15, 0, 15, 30)
    score = np.zeros_like(by_day)
    for day in range(1, len(by_day)):
        kind = day % 7 >= _WEEKDAYS
        earlier = [d for d in range(max(0, day - days), day) if (d % 7 >= _WEEKDAYS) == kind]
        if not earlier:
            continue
        seen = np.stack([np.roll(by_day[d], shift, axis=0) for d in earlier for shift in shifts])
        mean = seen.mean(axis=0)
        weight = np.minimum(1, (2.58 / np.maximum((seen - mean) / np.sqrt(mean + 0.1), 0.1)) ** 2)
        mean = np.maximum((weight * seen).sum(axis=0) / weight.sum(axis=0), 0.05)
        phi = np.maximum((weight * (seen - mean) ** 2).sum(axis=0) / weight.sum(axis=0) / mean, 1)
        score[day] = (by_day[day] ** (2 / 3) - mean ** (2 / 3)) / np.sqrt(4 / 9 * phi * mean ** (1 / 3))
    return score.reshape(recent.shape)


def scan(y: Counts, expected: Scores, phi: Scores) -> Scores:
    """Likelihood ratio of the best factor over the last 5, 15 and 60 minutes, negative binomial on **our** expectation."""
    best = np.zeros(y.shape, np.float32)
    for minutes in (5, 15, 60):
        x, mean = moving_sum(y, minutes), np.maximum(moving_sum(expected, minutes), 1e-4)
        size = 1 / np.maximum(phi, 0.05)
        gain = x * np.log(np.maximum(x, _LEAST) / mean) - (x + size) * np.log((size + x) / (size + mean))
        best = np.maximum(best, np.where(x > mean, gain, 0))
    return np.asarray(best, np.float32)


BASELINES: dict[str, Callable[[Counts], Scores]] = {
    "z-score, 5 min": z_score,
    "Poisson, 5 min": poisson,
    "keyword spike, 2 h": keyword_spike,
    "EWMA on the season": seasonal_ewma,
    "Farrington-like": farrington,
}
"""Those that bring a mean of their own; `scan` needs ours."""

USUAL_LINE = {
    "z-score, 5 min": 3.0, "Poisson, 5 min": 3.09, "keyword spike, 2 h": 3.0, "EWMA on the season": 3.0, "Farrington-like": 2.58,
}  # fmt: skip
"""Where the rule stands as published; p < .001 is 3.09 deviations."""
