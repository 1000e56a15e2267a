"""Invented subjects whose surges are known, to measure the detector with. `bench/detect.py` holds the gates that use
it.

Intensity of negatives = rate × season × exp(wander) × exp(walk) × event, times a gamma burst each minute, then
Poisson. The season is not the detector's prior: it has the same rough hours, because markets do, but its own heights
and widths.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stream.detection.season import QUARTERS_A_WEEK
from stream.detection.surge import GROUPS, Slot

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float32]

DAY = 1440
WEEK = 7 * DAY
RATES = (0.05, 0.2, 1.0, 5.0, 20.0)
_HUMPS = ((11.5, 3.6, 0.9), (9.5, 0.5, 0.5), (16.0, 0.5, 0.35), (4.0, 1.5, 0.25))


@dataclass(frozen=True)
class Planted:
    """One planted event: minutes [onset, end) of `key`, `factor` times the usual; a decoy raises the volume and not
    the share.
    """

    key: int
    onset: int
    end: int
    factor: float
    decoy: bool = False


@dataclass(frozen=True)
class Stream:
    """`y` negatives and `n` mentions, (T, K) by local minute from a Monday 00:00; `rate` (K,) negatives a minute; the
    events by onset.
    """

    y: Counts
    n: Counts
    rate: Floats
    events: tuple[Planted, ...]


@dataclass(frozen=True)
class World:
    """How the subjects behave. Standard deviations are of logs; the wander forgets within `wander_minutes`. `planted`: these events,
    not those that `surges` would plant by chance. `holidays`: days of the world on which talk is as on a weekend."""

    days: int = 28
    keys: int = 100
    warm_up_days: int = 7
    rates: tuple[float, ...] = RATES
    burst_shape: float = 4.0
    wander_sd: float = 0.25
    wander_minutes: float = 90.0
    walk_sd_per_day: float = 0.05
    share_wander_sd: float = 0.3
    surges: bool = False
    share_events: bool = False
    doubling_days: float = 0.0
    step_factor: float = 1.0
    shift_after_day: float = 0.0
    shift_minutes: int = 0
    planted: tuple[Planted, ...] = ()
    holidays: tuple[int, ...] = ()


def season() -> Floats:
    """(10080,) the true season of every subject by minute of its local week, mean 1."""
    hour = np.arange(DAY) / 60
    day = np.full(DAY, 0.45)
    for centre, width, height in _HUMPS:
        apart = np.abs(hour - centre)
        day += height * np.exp(-((np.minimum(apart, 24 - apart) / width) ** 2))
    week = np.concatenate([np.tile(day, 5), np.tile(0.35 * day, 2)])
    return np.asarray(week / week.mean(), np.float64)


def wander(rng: np.random.Generator, minutes: int, keys: int, sd: float, memory: float) -> Floats:
    """(minutes, keys) a path that forgets within `memory` minutes and has standard deviation `sd` at any."""
    keep = float(np.exp(-1 / memory))
    path = rng.normal(0, sd * np.sqrt(1 - keep * keep), (minutes, keys))
    path[0] = rng.normal(0, sd, keys)
    for t in range(1, minutes):
        path[t] += keep * path[t - 1]
    return path


def _plant(rng: np.random.Generator, world: World) -> tuple[Planted, ...]:
    events = []
    for key in range(world.keys):
        at = world.warm_up_days * DAY
        while True:
            at += int(max(420, rng.exponential(1.5 * DAY)))
            length = int(rng.choice((15, 30, 60)))
            factor = float(rng.choice((2.0, 3.0, 5.0)))
            decoy = world.share_events and bool(rng.random() < 0.4)
            if at + length + 60 >= world.days * DAY:
                break
            events.append(Planted(key, at, at + length, 5.0 if decoy else factor, decoy))
            at += length
    return tuple(events)


def simulate(world: World, seed: int) -> Stream:
    """One world; the same seed gives the same counts."""
    rng = np.random.default_rng(seed)
    minutes, keys = world.days * DAY, world.keys
    rate = np.resize(np.array(world.rates), keys)
    events = world.planted or (_plant(rng, world) if world.surges or world.share_events else ())
    week = season()
    at = np.arange(minutes)
    at = np.where(at >= world.shift_after_day * DAY, at + world.shift_minutes, at) if world.shift_minutes else at
    common = wander(rng, minutes, keys, world.wander_sd, world.wander_minutes)
    common += np.cumsum(rng.normal(0, world.walk_sd_per_day / np.sqrt(DAY), (minutes, keys)), axis=0)
    if world.doubling_days:
        common += np.log(2) * np.clip((at / DAY - world.warm_up_days) / world.doubling_days, 0, 1)[:, None]
    if world.step_factor != 1.0:
        common[world.warm_up_days * DAY :] += np.log(world.step_factor)
    np.exp(common, out=common)
    resting = np.isin(at // DAY, world.holidays)
    common *= np.where(resting, week[5 * DAY + at % DAY], week[at % WEEK])[:, None] * rate
    common *= rng.gamma(world.burst_shape, 1 / world.burst_shape, (minutes, keys))

    share = rng.beta(8, 32, keys)
    odds = share / (1 - share) * np.exp(wander(rng, minutes, keys, world.share_wander_sd, 120.0))
    if world.share_events:
        # Volume and share move apart: the common intensity is that of the mentions, and each event moves one of the
        # two.
        common /= share
        for event in events:
            (common if event.decoy else odds)[event.onset : event.end, event.key] *= event.factor
        p = odds / (1 + odds)
        y = _poisson(rng, common * p)
        return Stream(y, y + _poisson(rng, common * (1 - p)), rate, events)
    rest = common / odds
    for event in events:
        common[event.onset : event.end, event.key] *= event.factor
    y = _poisson(rng, common)
    return Stream(y, y + _poisson(rng, rest), rate, events)


def _poisson(rng: np.random.Generator, mean: Floats) -> Counts:
    return rng.poisson(mean).astype(np.float32)


def local_slots_of_week(keys: int, group: str = "XNYS") -> list[Slot]:
    """The slots of `keys` subjects for each of the 672 quarter hours of their local week."""
    return [
        Slot(
            quarter=np.full(keys, quarter, np.int64),
            hour=np.full(keys, quarter // 4 % 24, np.int64),
            weekend=np.full(keys, quarter >= 480, np.bool_),
            group=np.full(keys, GROUPS.index(group), np.int64),
        )
        for quarter in range(QUARTERS_A_WEEK)
    ]
