"""Reads a surge that `stream/detection/surge.py` found: when it began, how strong it is, whether it has calmed, what it would
be without one family.

All functions work on the stored steps of one subject, oldest first: `y` counted negatives, `m` their expectations,
both (T,).
"""

from math import sqrt

import numpy as np
import numpy.typing as npt

from stream.detection.bets import COUNT_EFFECTS, SHARE_EFFECTS, Floats, log_ratio

_Z95 = 1.6448536269514722
_EXACT_BELOW = 64.0
# The ratio before the onset is itself known from a window of 30 / ln 2 minutes only, so with the noise of such a one.
_RATIO_NOISE = 15 * 0.6931 / 30


def onset(y: npt.ArrayLike, m: npt.ArrayLike, r: npt.ArrayLike, *, steps: int = 180) -> int:
    """Index into `y` of the step at which the surge seen at the last step began (surge.md 3.8).

    The start, within the last `steps`, from which some effect size explains the counts best: the argmax over s and θ
    of the summed bets from s to the end. `r` is the size of a step, a float or (T,) (`Verdict.r_fast`); `m` is best
    `Verdict.fast_expected`.
    """
    counts, mean, size = _series(y, m, r)
    first = max(0, len(counts) - steps)
    slope, constant = log_ratio(mean[first:], size[first:], COUNT_EFFECTS[:, None], np.log(COUNT_EFFECTS)[:, None])
    gain = np.cumsum((slope * counts[first:] + constant)[:, ::-1], axis=1).max(axis=0)
    # From the end backwards: the first maximum is the latest start.
    return len(counts) - 1 - int(np.argmax(gain))


def effect(y: npt.ArrayLike, m: npt.ArrayLike, phi15: float, *, step_s: int = 60) -> tuple[float, float, float]:
    """(θ, 5 %, 95 %): how many times the expected, with a 90 % interval, from onset to now.

    `m` is the expectation with the ratio frozen before the onset. θ·Gamma(κ)/κ with
    κ = 1/(1/Σy + φ15·(min(1, 15 min/length) + .35)), quantiles by Wilson and Hilferty (1931), within 2 % for κ >= 3 and
    .02 below. At firing it covers the truth in 84 of 100 cases, and θ is some 15 % high, since the high ones fire.
    """
    counts, mean, _ = _series(y, m, 1.0)
    theta = float(counts.sum() / max(float(mean.sum()), 1e-9))
    minutes = max(len(counts) * step_s / 60, 1.0)
    kappa = 1 / (1 / max(float(counts.sum()), 1.0) + phi15 * (min(1.0, 15 / minutes) + _RATIO_NOISE))
    return theta, theta * gamma_quantile(kappa, -_Z95) / kappa, theta * gamma_quantile(kappa, _Z95) / kappa


def gamma_quantile(shape: float, z: float) -> float:
    """Quantile of Gamma(`shape`, 1) at the normal deviate `z`, by Wilson and Hilferty: shape·(1 - 1/(9·shape) +
    z/(3·√shape))³."""
    return shape * max(0.0, 1 - 1 / (9 * shape) + z / (3 * sqrt(shape))) ** 3


def band(mean: npt.ArrayLike, phi: npt.ArrayLike) -> tuple[Floats, Floats]:
    """5 % and 95 % quantiles of the negative binomial with `mean` >= 0 and variance mean + φ·mean², elementwise: the
    band of a chart.

    Exact below a mean of 64, above it by Wilson and Hilferty on the gamma of the same mean and variance.
    """
    means, phis = np.broadcast_arrays(np.asarray(mean, np.float64), np.asarray(phi, np.float64))
    means, phis = np.maximum(means, 0.0), np.maximum(phis, 1e-6)
    shape = 1 / (1 / np.maximum(means, _EXACT_BELOW) + phis)
    low, high = (
        np.rint(means * np.maximum(0.0, 1 - 1 / (9 * shape) + z / (3 * np.sqrt(shape))) ** 3) for z in (-_Z95, _Z95)
    )
    small = means < _EXACT_BELOW
    if small.any():
        low[small], high[small] = _quantiles(means[small], 1 / phis[small])
    return low, high


def _quantiles(m: Floats, r: Floats) -> tuple[Floats, Floats]:
    odds = m / (r + m)
    p = np.exp(-r * np.log1p(m / r))
    below = p.copy()
    low, high = np.zeros_like(m), np.zeros_like(m)
    count = 0
    # The 95 % point of the widest law that is drawn lies far below this; the bound only keeps a loop over bad input
    # finite.
    while count < 100_000:
        short_low, short_high = below < 0.05, below < 0.95
        if not short_high.any():
            break
        low += short_low
        high += short_high
        p *= (count + r) / (count + 1) * odds
        below += p
        count += 1
    return low, high


def calm(y15: npt.ArrayLike, m15: npt.ArrayLike, phi: npt.ArrayLike) -> Floats:
    """z15: how far the last 15 minutes lie above their expectation, in deviations; at most 1 means recovering
    (surge.md 3.9).

    `y15` and `m15` are the sums of negatives and of expectations, with the ratio frozen before the onset; `phi` is
    `Verdict.phi15`.
    """
    seen, mean, width = np.asarray(y15, np.float64), np.asarray(m15, np.float64), np.asarray(phi, np.float64)
    return np.asarray((seen - mean) / np.sqrt(mean + width * mean * mean + 0.25), np.float64)


def recompute(
    y: npt.ArrayLike,
    m_fast: npt.ArrayLike,
    m_slow: npt.ArrayLike,
    r_fast: npt.ArrayLike,
    r_slow: npt.ArrayLike,
    *,
    m_share: npt.ArrayLike | None = None,
    r_share: npt.ArrayLike = 1.0,
    coarse: bool = False,
) -> float:
    """Combined ln M at the last step if the stream had begun, at rest, with the first step and counted `y`: the
    leave-largest-out test.

    Give `y` without the family in question over [onset, now], and the expectations and sizes that `tick` reported
    ((T,), sizes also floats). For the share channel give `m_share` scaled by the mentions that remain, n without / n;
    without it that channel is left out, which lowers the result. `coarse` is `Settings.coarse`. Calls for `y` as
    counted, too: compare both against ln h.
    """
    counts, fast, size_fast = _series(y, m_fast, r_fast)
    _, slow, size_slow = _series(y, m_slow, r_slow)
    channels = [
        (0.0 if coarse else 0.6, 0.98, fast, size_fast, COUNT_EFFECTS),
        (0.8 if coarse else 0.2, 0.97 if coarse else 0.99, slow, size_slow, COUNT_EFFECTS),
    ]
    if m_share is not None:
        _, share, size_share = _series(y, m_share, r_share)
        channels.append((0.2, 0.98, share, size_share, SHARE_EFFECTS))
    total = 0.0
    for weight, gamma, mean, size, effects in channels:
        slope, constant = log_ratio(mean, size, effects[:, None], np.log(effects)[:, None])
        bets = slope * counts + constant
        held = np.full(len(effects), -50.0)
        for bet in bets.T:
            held = np.minimum(gamma * np.logaddexp(0.0, held) + bet, 40.0)
        total += weight * float(np.exp(held).mean())
    return float(np.log(total))


def _series(y: npt.ArrayLike, m: npt.ArrayLike, r: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    counts = np.asarray(y, np.float64)
    if counts.ndim != 1 or not counts.size:
        raise ValueError("a surge is read from at least one step, given as a one-dimensional series")
    mean, size = np.broadcast_to(np.asarray(m, np.float64), counts.shape), np.asarray(r, np.float64)
    return counts, np.asarray(mean, np.float64), np.asarray(np.broadcast_to(size, counts.shape), np.float64)
