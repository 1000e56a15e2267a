"""Invented series of many fields with labelled anomalies, and a score for alerts on them. `stream/detection/series.py` is measured
here: `groundswell bench detect --gate series`.

The score follows the public streaming benchmarks: each anomaly has a window of its own around it, a tenth of the file in
all; the first alert in a window earns up to 1, less the later it comes; an alert outside costs `false`, a window without
an alert costs `missed`; the first 15 % of the rows are for learning. 0 is silence, 100 is every anomaly at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Rng = np.random.Generator
Span = tuple[int, int]

PROFILES = {"standard": (0.11, 1.0), "false alarms cost double": (0.22, 1.0), "misses cost double": (0.11, 2.0)}
"""What a false alarm and a missed window cost."""


@dataclass(frozen=True)
class Series:
    """`at_s` and `value`, (T,); `windows` are row spans [first, last] that hold an anomaly each."""

    name: str
    at_s: Floats
    value: Floats
    windows: tuple[Span, ...]

    @property
    def learning_rows(self) -> int:
        return min(int(0.15 * len(self.value)), 750)


def _ar(rng: Rng, rows: int, sd: float, memory: float) -> Floats:
    keep = exp(-1 / memory)
    path = rng.normal(0, sd * (1 - keep * keep) ** 0.5, rows)
    for t in range(1, rows):
        path[t] += keep * path[t - 1]
    return path


def _day(at_s: Floats, centre_h: float, width_h: float) -> Floats:
    apart = np.abs(at_s / 3600 % 24 - centre_h)
    return np.asarray(np.exp(-((np.minimum(apart, 24 - apart) / width_h) ** 2)))


def _weekend(at_s: Floats) -> npt.NDArray[np.bool_]:
    return np.asarray((at_s // 86_400 + 3) % 7 >= 5)


def _clock(rng: Rng, rows: int, step_s: int) -> Floats:
    return 1_400_000_000 + int(rng.integers(0, 14)) * 86_400 + step_s * np.arange(rows, dtype=np.float64)


def _starts(rng: Rng, rows: int, count: int) -> list[int]:
    first, spread = int(0.22 * rows), int(0.7 * rows / max(count, 1))
    return [first + i * spread + int(rng.integers(0, max(spread // 2, 1))) for i in range(count)]


def _burst(rows: int, start: int, length: int, factor: float) -> Floats:
    """1, and from `start` a jump to `factor` that fades over `length` rows."""
    after = np.arange(rows) - start
    return np.where(after >= 0, 1 + (factor - 1) * np.exp(-np.maximum(after, 0) / length), 1.0)


Made = tuple[Floats, Floats, list[int]]


def tweets(rng: Rng) -> Made:
    at = _clock(rng, 9000, 300)
    usual = rng.choice([3, 20, 80]) * (0.3 + _day(at, 16, 5)) * np.exp(_ar(rng, len(at), 0.25, 20))
    for start in rng.integers(0, len(at), 12):
        usual = usual * _burst(len(at), int(start), 3, float(rng.uniform(1.5, 3)))
    anomalies = _starts(rng, len(at), int(rng.integers(2, 5)))
    for start in anomalies:
        usual = usual * _burst(len(at), start, int(rng.integers(6, 40)), float(rng.uniform(4, 15)))
    return at, rng.poisson(usual * rng.gamma(3, 1 / 3, len(at))).astype(float), anomalies


def web_traffic(rng: Rng) -> Made:
    at = _clock(rng, 4032, 300)
    usual = 1000 * (0.2 + _day(at, 14, 5)) * np.where(_weekend(at), 0.6, 1.0) * np.exp(_ar(rng, len(at), 0.08, 50))
    anomalies = _starts(rng, len(at), 2)
    usual = usual * _burst(len(at), anomalies[0], 30, 3.0)
    usual[anomalies[1] : anomalies[1] + 40] *= 0.1
    return at, rng.poisson(usual).astype(float), anomalies


def demand(rng: Rng) -> Made:
    at = _clock(rng, 8000, 1800)
    usual = 15_000 * (0.25 + _day(at, 19, 4) + 0.7 * _day(at, 9, 3)) * np.exp(_ar(rng, len(at), 0.05, 20))
    usual *= np.where(_weekend(at), 0.85 + 0.5 * _day(at, 1, 3), 1.0)
    anomalies = _starts(rng, len(at), 5)
    for i, start in enumerate(anomalies):
        usual[start : start + int(rng.integers(20, 48))] *= (0.45, 1.5, 0.3, 0.55, 1.6)[i]
    return at, np.round(usual), anomalies


def processor(rng: Rng) -> Made:
    at = _clock(rng, 4032, 300)
    value = rng.uniform(5, 60) + _ar(rng, len(at), rng.uniform(0.3, 3), 5) + rng.normal(0, 0.5, len(at))
    period = int(rng.choice([12, 72, 288]))
    value[np.arange(len(at)) % period == 3] += rng.uniform(5, 15)
    anomalies = _starts(rng, len(at), 2)
    value[anomalies[0] :] += rng.choice([-1, 1]) * rng.uniform(8, 20)
    value[anomalies[1] : anomalies[1] + int(rng.integers(2, 60))] += rng.uniform(20, 40)
    return at, np.clip(value, 0, 100), anomalies


def network(rng: Rng) -> Made:
    at = _clock(rng, 4032, 300)
    value = rng.lognormal(12, 0.5, len(at)) * np.exp(_ar(rng, len(at), 0.3, 10))
    value[rng.random(len(at)) < 0.01] *= 12
    anomalies = _starts(rng, len(at), 2)
    value[anomalies[0] : anomalies[0] + 50] *= 6
    value[anomalies[1] : anomalies[1] + 3] *= 60
    return at, value, anomalies


def idle(rng: Rng) -> Made:
    at = _clock(rng, 4032, 300)
    value = np.where(rng.random(len(at)) < 0.02, rng.uniform(0.1, 1, len(at)), 0.0)
    anomalies = _starts(rng, len(at), 2)
    for start in anomalies:
        value[start : start + int(rng.integers(3, 20))] += rng.uniform(2, 30)
    return at, value, anomalies


def temperature(rng: Rng) -> Made:
    at = _clock(rng, 12_000, 300)
    value = 85 + _ar(rng, len(at), 6, 500) + _ar(rng, len(at), 1, 3)
    anomalies = _starts(rng, len(at), 3)
    for start in anomalies:
        length = int(rng.integers(40, 200))
        value[start : start + length] -= np.linspace(10, rng.uniform(35, 70), length)
    return at, value, anomalies


def office_temperature(rng: Rng) -> Made:
    at = _clock(rng, 7000, 3600)
    value = 70 + 3 * _day(at, 15, 5) + _ar(rng, len(at), 1.5, 60) + rng.normal(0, 0.5, len(at))
    anomalies = _starts(rng, len(at), 2)
    value[anomalies[0] : anomalies[0] + 40] -= 9
    value[anomalies[1] : anomalies[1] + 60] += 8
    return at, value, anomalies


def prices(rng: Rng) -> Made:
    at = _clock(rng, 1600, 3600)
    value = 0.1 * np.exp(_ar(rng, len(at), 0.25, 6)) * (0.8 + 0.4 * _day(at, 13, 6))
    value[rng.random(len(at)) < 0.006] *= 3
    anomalies = _starts(rng, len(at), 3)
    for start in anomalies:
        value[start : start + int(rng.integers(1, 5))] *= rng.uniform(6, 14)
    return at, value, anomalies


def road_speed(rng: Rng) -> Made:
    rows = 2300
    at = 1_440_000_000 + np.cumsum(rng.choice([300, 600, 900, 300, 3600], rows)).astype(np.float64)
    value = 78 - 8 * _day(at, 8, 1.5) - 10 * _day(at, 17, 1.5) + rng.normal(0, 4, rows) + _ar(rng, rows, 3, 8)
    anomalies = _starts(rng, rows, 2)
    for start in anomalies:
        value[start : start + int(rng.integers(4, 14))] -= rng.uniform(30, 50)
    return at, np.asarray(np.round(np.clip(value, 0, 100)), np.float64), anomalies


def travel_time(rng: Rng) -> Made:
    rows = 2300
    at = 1_440_000_000 + np.cumsum(rng.choice([300, 600, 900, 300, 3600], rows)).astype(np.float64)
    value = (150 + 90 * _day(at, 8, 1.5) + 160 * _day(at, 17, 1.5)) * np.exp(_ar(rng, rows, 0.2, 4))
    value[rng.random(rows) < 0.01] *= 2
    anomalies = _starts(rng, rows, 3)
    for start in anomalies:
        value[start : start + int(rng.integers(2, 12))] *= rng.uniform(3, 8)
    return at, np.round(value), anomalies


def latency(rng: Rng) -> Made:
    at = _clock(rng, 4032, 300)
    value = 45 + rng.normal(0, 2, len(at)) + np.where(rng.random(len(at)) < 0.015, rng.exponential(8, len(at)), 0)
    anomalies = _starts(rng, len(at), 3)
    for start in anomalies:
        value[start : start + int(rng.integers(1, 8))] += rng.uniform(25, 60)
    return at, value, anomalies


def square_day(rng: Rng) -> Made:
    at = _clock(rng, 4032, 300)
    high = (at / 3600 % 24 >= 9) & (at / 3600 % 24 < 18)
    value = np.where(high, 80.0, 20.0) + rng.uniform(-3, 3, len(at))
    anomalies = _starts(rng, len(at), 1)
    start = anomalies[0] // 288 * 288 + 110
    kind = int(rng.integers(0, 4))
    value[start : start + 80] = [
        value[start : start + 80] + 60,
        np.full(80, 20.0),
        np.full(80, 45.0),
        np.full(80, -20.0),
    ][kind]
    return at, value, [start]


def quiet(rng: Rng) -> Made:
    at = _clock(rng, 4032, 300)
    flat, noise = np.full(len(at), 45.0), 20 + rng.normal(0, 2, len(at))
    wave = 50 + 30 * np.sin(at / 86_400 * 2 * np.pi) + rng.normal(0, rng.uniform(0.01, 4), len(at))
    return at, (flat, noise, wave)[int(rng.integers(0, 3))], []


def new_level(rng: Rng) -> Made:
    at = _clock(rng, 12_000, 300)
    value = 20 + 12 * _day(at, 14, 5) + _ar(rng, len(at), 3, 12) + rng.normal(0, 1.5, len(at))
    anomalies = [int(rng.integers(7000, 10_500))]
    value[anomalies[0] :] += rng.uniform(20, 35)
    return at, value, anomalies


def noise_change(rng: Rng) -> Made:
    at = _clock(rng, 4032, 300)
    anomalies = _starts(rng, len(at), 1)
    sd = np.ones(len(at))
    sd[anomalies[0] : anomalies[0] + 200] = 5
    return at, np.asarray(rng.normal(0, 1, len(at)) * sd, np.float64), anomalies


def holds(rng: Rng) -> Made:
    rows = 1900
    at = 1_400_000_000 + np.cumsum(rng.choice([300, 300, 300, 3600, 14_400], rows)).astype(np.float64)
    value = rng.lognormal(-2.5, 0.5, rows)
    anomalies = _starts(rng, rows, 2)
    for start in anomalies:
        value[start : start + int(rng.integers(2, 15))] *= rng.uniform(3, 8)
    return at, value, anomalies


FAMILIES: tuple[Callable[[Rng], Made], ...] = (
    tweets, tweets, tweets, web_traffic, demand, processor, processor, network, network, idle, temperature,
    office_temperature, prices, prices, road_speed, travel_time, latency, square_day, quiet, new_level, noise_change, holds,
)  # fmt: skip


def corpus(seed: int, each: int = 1) -> list[Series]:
    """`each` series of every field; the same for the same seed."""
    rng = np.random.default_rng(seed)
    made = []
    for family in FAMILIES * each:
        at, value, anomalies = family(rng)
        if rng.random() < 0.5:
            # Half of the world's sensors flicker, and nobody calls that an anomaly.
            flickers = rng.random(len(value)) < 0.002
            spread = np.percentile(value, 90) - np.percentile(value, 10)
            value[flickers] += spread * rng.uniform(0.5, 1.5, int(flickers.sum())) * rng.choice([-1, 1, 1])
        half = int(0.05 * len(value) / max(len(anomalies), 1))
        # An observer marks the window around what he sees, not from its first row.
        windows = [(max(0, a - int(0.6 * half)), min(len(value) - 1, a + int(1.4 * half))) for a in anomalies]
        made.append(Series(family.__name__, at, value, tuple(windows)))
    return made


def _earned(place: float) -> float:
    """Credit at `place`: -1 is the start of a window, 0 its end, 1 as far again behind it."""
    return 2 / (1 + exp(5 * min(place, 3.0))) - 1


def points(series: Series, alerts: Sequence[int], *, false: float, missed: float) -> float:
    """What a file's alerts (rows, in order) earn; silence gives -`missed` a window."""
    total, caught = 0.0, set[int]()
    windows = [w for w in series.windows if w[1] >= series.learning_rows]
    for row in alerts:
        if row < series.learning_rows:
            continue
        inside = next((i for i, (first, last) in enumerate(windows) if first <= row <= last), None)
        if inside is None:
            before = [w for w in windows if w[1] < row]
            width = before[-1][1] - before[-1][0] if before else 1
            total += false * (_earned((row - before[-1][1]) / width) if before else -1.0)
        elif inside not in caught:
            caught.add(inside)
            first, last = windows[inside]
            total += _earned((row - last - 1) / (last - first + 1)) / _earned(-1)
    return total - missed * (len(windows) - len(caught))


def out_of_100(found: Sequence[tuple[Series, Sequence[int]]], *, false: float, missed: float) -> float:
    """The score of many files together: 0 is silence, 100 every window at its first row and nothing else."""
    windows = sum(sum(w[1] >= s.learning_rows for w in s.windows) for s, _ in found)
    total = sum(points(s, alerts, false=false, missed=missed) for s, alerts in found)
    return 100 * (total + missed * windows) / ((1 + missed) * windows)
