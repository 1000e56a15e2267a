"""Decides whether a subject's negatives surge: one pure step over K subjects, arrays in, arrays out. See `season.py`.

No clock, no I/O. Three channels test "more than expected" step by step and are averaged, .6, .2 and .2 (an average of
such tests is one again, under any dependence; their maximum is not):

    fast   the season times the last half hour's ratio, five steps late so that a surge does not hide itself
    slow   the season alone: build-ups of hours, rare subjects
    share  the mentions times the usual negative share: a change of mood at any volume

Each channel holds one discounted e-process per effect size, L <- min(40, γ·log(1 + e^L) + bet). With a restart at each
alarm the number of alarms in T steps is at most T / h in expectation, for any dependence between subjects, as far as
the null holds.

Two decisions. A subject's decision depends on its own rows alone, so that it is the same however partitions, processes
and cuts fall: hence fixed prior profiles and no profile pooled over live subjects; what a subject knows of its own week
are 24 hours × {weekday, weekend}, shrunk to that prior. And e-BH is left out, because it needs all subjects at once:
the plain line `threshold` is the guarantee.

Longer than most files here because state, step and learning share one table of rows; the season, the bet and the
reading of a found surge live in `season.py`, `bets.py` and `surge_reading.py`, and can be imported from here.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log

import numpy as np
import numpy.typing as npt

from groundswell.errors import BadSetting, Refused
from stream.detection.bets import COUNT_EFFECTS, SHARE_EFFECTS, log_ratio
from stream.detection.season import GROUP_ZONES, GROUPS, PROFILES, Bools, Floats, Ints, Slot, local_slots
from stream.detection.surge_reading import band, calm, effect, onset, recompute

__all__ = [
    "GROUPS",
    "GROUP_ZONES",
    "NEVER",
    "REST",
    "SENSITIVITY_BUDGET",
    "Settings",
    "Slot",
    "State",
    "StateFormatError",
    "Verdict",
    "at_rest",
    "band",
    "beneath",
    "calm",
    "crossing",
    "early",
    "effect",
    "gap",
    "kind",
    "learning",
    "level",
    "local_slots",
    "onset",
    "recompute",
    "rest",
    "row_from_bytes",
    "rows_to_bytes",
    "seen",
    "threshold",
    "tick",
    "usual",
]

SENSITIVITY_BUDGET: dict[str, float] = {"fewer": 1.0, "balanced": 5.0, "more": 20.0}
"""False alarms a day over all enabled subjects, by the word a person chooses."""

NEVER = 2**31 - 1
"""What `crossing` answers where no count would fire."""

REST = -50.0
"""Evidence (ln) of a channel that has seen nothing yet."""

_CEILING = 40.0
_DAY_S = 86_400.0
_EFFECTS = np.stack([COUNT_EFFECTS, COUNT_EFFECTS, SHARE_EFFECTS])[:, :, None]
_LN_EFFECTS = np.log(_EFFECTS)
_EFFECT_COUNT = _EFFECTS.shape[1]
_FAST, _SLOW, _SHARE = range(3)


@dataclass(frozen=True)
class Settings:
    """What the detector is told; the defaults are those the gates of `bench/detect.py` are measured with.

    `step_s` is the width of a bucket, 60 to 3600 s. From 300 s on the fast channel is off (half an hour is then too
    few steps to learn from without hiding the surge), the level learns uncapped, evidence is forgotten faster, and
    blocks keep their 15 and 60 steps.

    `least_dispersion`: no talk is taken to be steadier than this, unless there is very much of it. Sparse subjects show
    too little to estimate it; with it false alarms fall threefold at the same line and recall at equal false alarms
    rises from .51 to .55.
    """

    step_s: int = 60
    learning_negatives: int = 20
    learning_s: int = 86_400
    share_mentions: int = 50
    prior_share: float = 0.2
    prior_share_mentions: float = 50.0
    prior_dispersion: float = 0.3
    prior_dispersion_weight: float = 20.0
    least_dispersion: float = 0.05
    level_half_life_s: float = 7 * _DAY_S
    dispersion_half_life_s: float = 14 * _DAY_S
    hour_half_life_days: tuple[float, float] = (10.0, 4.0)
    adopt_after_s: float = 12 * 3600.0

    def __post_init__(self) -> None:
        if not 60 <= self.step_s <= 3600:
            raise BadSetting(f"step_s is {self.step_s}.", remedy="Choose a bucket width from 60 to 3600 seconds.")

    @property
    def coarse(self) -> bool:
        """Whether the step is too wide for the fast channel."""
        return self.step_s >= 300

    @property
    def weights(self) -> tuple[float, float, float]:
        """Weights of the fast, slow and share channel; they sum to 1."""
        return (0.0, 0.8, 0.2) if self.coarse else (0.6, 0.2, 0.2)

    @cached_property
    def rates(self) -> "Rates":
        """The numbers of a step that follow from these settings."""
        return Rates(self)


class Rates:
    """The numbers of a step that follow from the settings, computed once."""

    def __init__(self, s: Settings) -> None:
        self.minutes = s.step_s / 60
        self.keep_level = _keep(s.step_s, s.level_half_life_s)
        self.keep_adopting = _keep(s.step_s, s.adopt_after_s)
        self.keep_ratio = np.array([[_keep(s.step_s, 30 * 60)], [_keep(s.step_s, 120 * 60)]])
        self.ratio_rest = (1 - self.keep_ratio) * _RATIO_MASS
        self.keep_hour = np.array([_keep(s.step_s, days * 3600) for days in s.hour_half_life_days])
        self.keep_block = np.array([[_keep(s.step_s * steps, s.dispersion_half_life_s)] for steps in _BLOCK_STEPS])
        self.gamma = np.array([0.98, 0.97 if s.coarse else 0.99, 0.98])[:, None, None]
        self.shrink_steps = 60 / self.minutes
        self.least_level = 0.05 * self.minutes
        # A block of as many wide steps averages the same wander over a longer time, so it varies less.
        self.dispersion_scale = 1 / self.minutes if s.coarse else 1.0
        self.least_dispersion = s.least_dispersion * self.dispersion_scale
        self.least_mean = 1e-4 * self.minutes


def _keep(step_s: float, half_life_s: float) -> float:
    return float(2.0 ** (-step_s / half_life_s))


# One column a subject, one row a quantity. Blocks are, in this order: 15 steps against the fast mean, 15 and 60 steps
# against the slow mean, 15 steps of share. Pairs are (counts, share).
_LAG = 5
_RATIO_MASS = 8.0
_BLOCK_STEPS = (15, 15, 60, 15)
# With more negatives than this in 15 steps (a market, not a company) the dispersion that is seen is known well enough to
# go below the least of others, down to this part of it: many subjects' talk together is steadier than each one's.
_BUSY_BLOCK, _LEAST_OF_BUSY = 500.0, 0.02
_LEVEL, _EXPOSURE = 0, 1
_NEGATIVES, _MENTIONS = 2, 3
_RATIO_UP, _RATIO_DOWN = slice(4, 6), slice(6, 8)
_RING = slice(8, 8 + 2 * _LAG)
_PHI_UP, _PHI_DOWN, _BLOCK_SEEN, _BLOCK_MEAN = slice(18, 22), slice(22, 26), slice(26, 30), slice(30, 34)
_POSITION = 34
_EVIDENCE = slice(35, 50)
_SEEN_NEGATIVES, _SEEN_MENTIONS, _SEEN_S, _EPISODE_S = 50, 51, 52, 53
_ROWS = 54
_CELLS = 48


class StateFormatError(Refused):
    """Stored detector state is of another version or damaged."""

    reason = "detector_state"
    remedy = "Discard it and warm the subject again from its buckets."


_MAGIC = b"GSsurge1"
_ROW_BYTES = _ROWS * 8 + 2 * _CELLS * 4


@dataclass(frozen=True)
class State:
    """What the detector knows of K subjects; never changed in place. 816 bytes a subject.

    `core` (54, K) float64, rows as named above; `hours` (2, 48, K) float32: negatives and expectation by hour of
    weekday and weekend.
    """

    core: Floats
    hours: npt.NDArray[np.float32] = field(repr=False)

    def __len__(self) -> int:
        return int(self.core.shape[1])

    @classmethod
    def new(cls, k: int, prior_per_min: "float | npt.ArrayLike", settings: Settings) -> "State":
        """K subjects that have seen nothing. `prior_per_min` > 0, negatives a minute, a float or (K,).

        Take it high (75th percentile of the tier): too high dulls the first day, too low raises false alarms on it.
        """
        prior = np.asarray(prior_per_min, np.float64)
        if np.any(prior <= 0) or not np.all(np.isfinite(prior)):
            raise ValueError("prior_per_min must be a positive number of negatives a minute")
        core = np.zeros((_ROWS, k))
        core[_LEVEL] = 1.0
        core[_EXPOSURE] = 1.0 / (prior * settings.rates.minutes)
        core[_RATIO_UP] = core[_RATIO_DOWN] = _RATIO_MASS
        core[_RING] = 1.0
        phi = settings.prior_dispersion * settings.rates.dispersion_scale
        core[_PHI_UP] = phi * settings.prior_dispersion_weight
        core[_PHI_DOWN] = settings.prior_dispersion_weight
        core[_EVIDENCE] = REST
        return cls(core, np.zeros((2, _CELLS, k), np.float32))

    def take(self, indices: npt.ArrayLike) -> "State":
        """Some of the subjects, in the order given."""
        at = np.asarray(indices, np.intp)
        return State(np.ascontiguousarray(self.core[:, at]), np.ascontiguousarray(self.hours[:, :, at]))

    @classmethod
    def concat(cls, parts: Sequence["State"]) -> "State":
        """Several states behind one another."""
        return cls(
            np.concatenate([part.core for part in parts], axis=1),
            np.concatenate([part.hours for part in parts], axis=2),
        )

    def to_bytes(self) -> bytes:
        """All subjects: 8 bytes of version, then 816 bytes each, little-endian. Exact to the bit both ways."""
        k = len(self)
        core = np.ascontiguousarray(self.core.T, "<f8").view(np.uint8).reshape(k, _ROWS * 8)
        hours = (
            np.ascontiguousarray(self.hours.reshape(2 * _CELLS, k).T, "<f4").view(np.uint8).reshape(k, 2 * _CELLS * 4)
        )
        return _MAGIC + np.concatenate([core, hours], axis=1).tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> "State":
        """What `to_bytes` gave. Raises `StateFormatError` for another version or a wrong length."""
        if data[: len(_MAGIC)] != _MAGIC:
            raise StateFormatError(f"detector state starts with {data[: len(_MAGIC)]!r}, expected {_MAGIC!r}")
        if (len(data) - len(_MAGIC)) % _ROW_BYTES:
            raise StateFormatError(f"detector state of {len(data)} bytes is not whole rows of {_ROW_BYTES}")
        rows = np.frombuffer(data, np.uint8, offset=len(_MAGIC)).reshape(-1, _ROW_BYTES)
        core = np.ascontiguousarray(rows[:, : _ROWS * 8]).view("<f8").reshape(len(rows), _ROWS)
        hours = np.ascontiguousarray(rows[:, _ROWS * 8 :]).view("<f4").reshape(len(rows), 2, _CELLS)
        return cls(
            np.ascontiguousarray(core.T, np.float64),
            np.ascontiguousarray(hours.transpose(1, 2, 0), np.float32),
        )


def rows_to_bytes(state: State, i: int) -> bytes:
    """One subject as a blob of 824 bytes of its own; `row_from_bytes` reads it, `State.concat` joins many."""
    return state.take([i]).to_bytes()


def row_from_bytes(data: bytes) -> State:
    """The state of the one subject in a blob of `rows_to_bytes`. Raises `StateFormatError`."""
    state = State.from_bytes(data)
    if len(state) != 1:
        raise StateFormatError(f"expected the state of one subject, found {len(state)}")
    return state


@dataclass(frozen=True)
class Verdict:
    """What one step says of K subjects; all (K,). Evidence is natural log, counts are per step.

    `ln_m` combined evidence, to be held against `threshold`; `ln_fast`, `ln_slow`, `ln_share` before weighting.
    `expected`, `fast_expected`, `share_expected`: the means the channels tested against. `r_fast`, `r_slow`,
    `r_share`: their sizes (variance m + m²/r). `ratio`: R including this step. `phi15`, `phi60`: dispersion of a
    block of 15 steps against the fast mean and of 60 against the slow. `learning`: too little was seen before this
    step to alert.
    """

    ln_m: Floats
    ln_fast: Floats
    ln_slow: Floats
    ln_share: Floats
    expected: Floats
    fast_expected: Floats
    share_expected: Floats
    r_fast: Floats
    r_slow: Floats
    r_share: Floats
    ratio: Floats
    phi15: Floats
    phi60: Floats
    learning: Bools


@dataclass(frozen=True)
class _Null:
    """The predictable part of a step: everything the counts of the step cannot change."""

    prior: Floats  # P, (K,)
    hour_cell: tuple[Ints, Ints]
    hour: npt.NDArray[np.float32]  # (2, K)
    shape: Floats  # P·S, (K,)
    level: Floats  # λ, (K,)
    mu: Floats  # what a usual step has, (K,); m has the factor of a scheduled event in it
    share: Floats  # p, (K,)
    m: Floats  # (3, K)
    r: Floats  # (3, K)
    phi: Floats  # (4, K)


def _null(state: State, slot: Slot, n: Floats, s: Settings) -> _Null:
    core, rates = state.core, s.rates
    prior = PROFILES[slot.group, slot.quarter]
    cell = (slot.hour + 24 * slot.weekend, np.arange(len(state)))
    hour = state.hours[:, cell[0], cell[1]]
    level = core[_LEVEL] / core[_EXPOSURE]
    shrink = rates.shrink_steps * np.maximum(level, rates.least_level)
    shape = prior * ((hour[0] + shrink) / (hour[1] + shrink))
    mu = np.maximum(level * shape, rates.least_mean)

    share_mass = core[_NEGATIVES] + s.prior_share * s.prior_share_mentions
    share = share_mass / (core[_MENTIONS] + s.prior_share_mentions)
    m = np.empty((3, len(state)))
    m[_SLOW] = mu if slot.factor is None else mu * slot.factor
    if s.coarse:
        m[_FAST] = m[_SLOW]
        m[_SHARE] = n * share
    else:
        np.multiply(m[_SLOW], core[_RING.start], out=m[_FAST])
        np.multiply(n * share, core[_RING.start + 1], out=m[_SHARE])
    np.minimum(m[_SHARE], 0.95 * n, out=m[_SHARE])

    # Shares are often less dispersed than Poisson: without the clamp a negative moment would reach a square root.
    least = rates.least_dispersion * np.minimum(1.0, np.maximum(_BUSY_BLOCK / (15 * level), _LEAST_OF_BUSY))
    phi = np.maximum(core[_PHI_UP] / np.maximum(core[_PHI_DOWN], 1e-9), least)
    r = np.empty((3, len(state)))
    unsure = 1 / np.maximum(core[_LEVEL], 0.01)
    r[_FAST] = 15 * phi[0] + unsure
    r[_SLOW] = 60 * np.maximum(phi[2], phi[1] / 4) + unsure
    # A mood wanders for hours, over many blocks: by twice its blocks' width, or busy subjects' shares break the bound
    # in the far tail, and raise nearly all false alarms there.
    r[_SHARE] = 30 * phi[3] + 1 / share_mass
    np.reciprocal(r, out=r)
    return _Null(prior, cell, hour, shape, level, mu, share, m, r, phi)


def _bets(state: State, null: _Null, s: Settings) -> tuple[Floats, Floats]:
    # Evidence after the step is min(ceiling, base + slope · count), (3, 5, K) each.
    slope, constant = log_ratio(null.m[:, None], null.r[:, None], _EFFECTS, _LN_EFFECTS)
    held = np.logaddexp(0.0, state.core[_EVIDENCE].reshape(3, _EFFECT_COUNT, len(state)))
    return slope, np.asarray(s.rates.gamma * held + constant, np.float64)


def _mix(each: Floats, s: Settings) -> Floats:
    # Adding the share last keeps the early look, which drops it, a lower bound in floating point too.
    fast, slow, share = s.weights
    counts = fast * each[_FAST] + slow * each[_SLOW]
    return np.asarray(counts if len(each) == _SHARE else counts + share * each[_SHARE], np.float64)


def tick(
    state: State,
    slot: Slot,
    y: npt.ArrayLike,
    n: npt.ArrayLike,
    in_episode: npt.ArrayLike,
    settings: Settings,
) -> tuple[State, Verdict]:
    """One closed step of K subjects: the evidence after it, and what was learned from it.

    `y` (K,) negative stories and `n` (K,) mentions of the step, finite and >= 0; `in_episode` (K,) bool: the subject
    has an alert in the air, so its surge must not teach the level. A step of a scheduled event (`Slot.factor`) is tested
    against the usual times its factor and teaches nothing of counts. Returns a new state; the given one is unchanged.
    """
    y, n = np.asarray(y, np.float64), np.asarray(n, np.float64)
    frozen = np.asarray(in_episode, np.bool_)
    scheduled = np.zeros(len(state), np.bool_) if slot.factor is None else slot.factor != 1
    null = _null(state, slot, n, settings)
    m, r, phi = null.m, null.r, null.phi

    counts = np.empty((3, len(state)))
    counts[:2] = y
    np.minimum(y, n, out=counts[_SHARE])
    slope, base = _bets(state, null, settings)
    evidence = np.minimum(base + slope * counts[:, None], _CEILING)
    evidence[_SHARE][:, state.core[_SEEN_MENTIONS] < settings.share_mentions] = REST

    core = state.core.copy()
    hours = state.hours.copy()
    core[_EVIDENCE] = evidence.reshape(3 * _EFFECT_COUNT, len(state))
    core[_SEEN_NEGATIVES] += y
    core[_SEEN_MENTIONS] += n
    core[_SEEN_S] += settings.step_s
    _learn(core, hours, null, counts, n, frozen, scheduled, settings)

    # Linear, since the ceiling keeps e^L far from overflow; a sum in fixed order, so that slices and wholes give the
    # same bits.
    each = np.exp(evidence).sum(axis=1) / _EFFECT_COUNT
    ln_each = np.log(each)
    verdict = Verdict(
        ln_m=np.log(_mix(each, settings)),
        ln_fast=ln_each[_FAST],
        ln_slow=ln_each[_SLOW],
        ln_share=ln_each[_SHARE],
        expected=m[_SLOW],
        fast_expected=m[_FAST],
        share_expected=m[_SHARE],
        r_fast=r[_FAST],
        r_slow=r[_SLOW],
        r_share=r[_SHARE],
        ratio=core[_RATIO_UP.start] / core[_RATIO_DOWN.start],
        phi15=phi[0],
        phi60=phi[2],
        learning=learning(state, settings),
    )
    return State(core, hours), verdict


_CAP_WIDTH = np.array([[5.0], [5.0], [4.0], [4.0]])


def _learn(
    core: Floats, hours: npt.NDArray[np.float32], null: _Null, counts: Floats, n: Floats, frozen: Bools,
    scheduled: Bools, s: Settings,
) -> None:  # fmt: skip
    # Updates the copies made by `tick`, in place, from the null before the step and the counts of the step.
    rates, mu, k = s.rates, null.mu, len(n)
    usual_share = n * null.share

    # A count teaches at most "a few deviations above expected": a surge must not become the new normal while it lasts.
    means, phis, seen = np.empty((4, k)), np.full((4, k), 0.3), np.empty((4, k))
    means[0], means[1], means[2], means[3] = mu, null.m[_SHARE], null.m[_FAST], null.m[_SHARE]
    seen[0] = seen[2] = counts[_SLOW]
    seen[1] = seen[3] = counts[_SHARE]
    phis[0] = 4.5 * np.maximum(null.phi[1], 0.05)
    capped = np.minimum(seen, means + _CAP_WIDTH * np.sqrt(means + phis * means * means) + 1)
    if s.coarse:
        capped[:2] = seen[:2]

    keep: float | Floats = rates.keep_level
    if frozen.any():
        core[_EPISODE_S] = np.where(frozen, core[_EPISODE_S] + s.step_s, 0.0)
        adopting = core[_EPISODE_S] > s.adopt_after_s
        capped[0] = np.where(frozen, np.where(adopting, counts[_SLOW], mu), capped[0])
        capped[1] = np.where(frozen, np.where(adopting, counts[_SHARE], usual_share), capped[1])
        keep = np.where(adopting, rates.keep_adopting, rates.keep_level)
    else:
        core[_EPISODE_S] = 0.0
    if scheduled.any():
        # Half or twice the talk that was announced says nothing of usual days, nor of the hour after.
        capped[0], capped[2] = (np.where(scheduled, mu, capped[row]) for row in (0, 2))
    core[_LEVEL] = keep * core[_LEVEL] + capped[0]
    core[_EXPOSURE] = keep * core[_EXPOSURE] + null.shape
    core[_NEGATIVES] = keep * core[_NEGATIVES] + capped[1]
    core[_MENTIONS] = keep * core[_MENTIONS] + n

    keep_hour = rates.keep_hour[null.hour_cell[0] // 24]
    hours[0, null.hour_cell[0], null.hour_cell[1]] = keep_hour * null.hour[0] + capped[0] / null.prior
    hours[1, null.hour_cell[0], null.hour_cell[1]] = keep_hour * null.hour[1] + null.level

    core[_RATIO_UP] = rates.keep_ratio * core[_RATIO_UP] + rates.ratio_rest + capped[2:]
    means[0], means[1] = mu, usual_share
    core[_RATIO_DOWN] = rates.keep_ratio * core[_RATIO_DOWN] + rates.ratio_rest + means[:2]
    core[_RING.start : _RING.stop - 2] = core[_RING.start + 2 : _RING.stop]
    core[_RING.stop - 2 : _RING.stop] = core[_RATIO_UP] / core[_RATIO_DOWN]

    seen[1] = seen[2] = counts[_SLOW]
    seen[0], seen[3] = counts[_FAST], counts[_SHARE]
    means[0], means[1], means[2], means[3] = null.m[_FAST], mu, mu, null.m[_SHARE]
    _learn_dispersion(core, null, seen, means, frozen | scheduled, s)


def _learn_dispersion(core: Floats, null: _Null, seen: Floats, means: Floats, frozen: Bools, s: Settings) -> None:
    core[_BLOCK_SEEN] += seen
    core[_BLOCK_MEAN] += means
    core[_POSITION] += 1
    if frozen.any():
        # A block that meets an episode starts over: a surge says nothing about usual dispersion.
        core[_BLOCK_SEEN.start : _POSITION + 1, frozen] = 0.0
    position = core[_POSITION]
    due = np.flatnonzero((position % 15 == 0) & (position > 0))
    if not due.size:
        return
    x, mean, phi = core[_BLOCK_SEEN, due], core[_BLOCK_MEAN, due], null.phi[:, due]
    up, down = core[_PHI_UP, due], core[_PHI_DOWN, due]
    full = position[due] == 60
    use = mean > 1e-9
    use[2] &= full
    safe = np.where(use, mean, 1.0)
    x = np.minimum(x, safe + 6 * np.sqrt(safe + phi * safe * safe) + 1)
    weight = safe / (1 + safe)
    keep = s.rates.keep_block
    core[_PHI_UP, due] = np.where(use, keep * up + weight * ((x - safe) ** 2 - safe) / (safe * safe), up)
    core[_PHI_DOWN, due] = np.where(use, keep * down + weight, down)
    done = np.ones((4, len(due)), np.bool_)
    done[2] = full
    core[_BLOCK_SEEN, due] = np.where(done, 0.0, core[_BLOCK_SEEN, due])
    core[_BLOCK_MEAN, due] = np.where(done, 0.0, mean)
    core[_POSITION, due] = np.where(full, 0.0, position[due])


def learning(state: State, settings: Settings) -> Bools:
    """Which subjects (K,) have been seen too little to alert on at the next step: few negatives, and less than a day."""
    few = state.core[_SEEN_NEGATIVES] < settings.learning_negatives
    return np.asarray(few & (state.core[_SEEN_S] < settings.learning_s), np.bool_)


def seen(state: State) -> tuple[Floats, Floats]:
    """(negatives, seconds) that each subject (K,) has been seen for: what `learning` goes by."""
    return state.core[_SEEN_NEGATIVES].copy(), state.core[_SEEN_S].copy()


def level(state: State, settings: Settings) -> Floats:
    """Negatives a minute (K,) that are usual, over the whole week."""
    return np.asarray(state.core[_LEVEL] / state.core[_EXPOSURE] / settings.rates.minutes, np.float64)


def beneath(own: State, past: State, prior_per_min: "float | npt.ArrayLike", settings: Settings) -> State:
    """`own` (K,) as it would be had it begun with what `past` (K,) knows instead of with `prior_per_min`.

    What is learned are sums that fade, so the older part is the past's, faded by the steps that `own` has seen, in place
    of its prior, faded alike. Ratio, evidence and open blocks are of now and stay its own.
    """
    s, prior = settings, State.new(len(own), prior_per_min, settings).core
    steps = own.core[_SEEN_S] / s.step_s
    core = own.core.copy()
    sums = slice(_LEVEL, _MENTIONS + 1)
    core[sums] += s.rates.keep_level**steps * (past.core[sums] - prior[sums])
    blocks = steps / np.array(_BLOCK_STEPS)[:, None]
    for phi in (_PHI_UP, _PHI_DOWN):
        core[phi] += s.rates.keep_block**blocks * (past.core[phi] - prior[phi])
    core[_SEEN_NEGATIVES : _SEEN_S + 1] += past.core[_SEEN_NEGATIVES : _SEEN_S + 1]
    kept = np.repeat(s.rates.keep_hour[:, None] ** (steps * np.array([[5 / 168], [2 / 168]])), 24, axis=0)
    return State(core, np.asarray(own.hours + kept * past.hours, np.float32))


def at_rest(state: State, settings: Settings, *, hourly: bool = False) -> State:
    """What has been learned without what is of the moment. `hourly`: it was learned from counts of whole hours, which say
    nothing of how they vary within one: that stays as it was before anything was known."""
    found = gap(state, 1_000_000, settings)
    if not hourly:
        return found
    core, blank = found.core.copy(), State.new(len(state), 1.0, settings).core
    for block, steps in enumerate(_BLOCK_STEPS):
        if steps * settings.step_s < 3600:
            core[[_PHI_UP.start + block, _PHI_DOWN.start + block]] = blank[
                [_PHI_UP.start + block, _PHI_DOWN.start + block]
            ]
    return State(core, found.hours)


def rest(state: State, where: npt.ArrayLike) -> State:
    """Evidence of the subjects `where` (K,) bool back to rest: call it when their episode resolves."""
    core = state.core.copy()
    core[_EVIDENCE] = np.where(np.asarray(where, np.bool_), REST, core[_EVIDENCE])
    return State(core, state.hours)


def gap(state: State, steps: npt.ArrayLike, settings: Settings) -> State:
    """The state after `steps` missing steps (an int or (K,)): no bet, nothing learned, evidence at rest, the fast
    ratio faded towards 1."""
    core = state.core.copy()
    missing = np.broadcast_to(np.asarray(steps, np.float64), (len(state),))
    hit = missing > 0
    fade = settings.rates.keep_ratio**missing
    core[_RATIO_UP] = fade * core[_RATIO_UP] + (1 - fade) * _RATIO_MASS
    core[_RATIO_DOWN] = fade * core[_RATIO_DOWN] + (1 - fade) * _RATIO_MASS
    ratio = np.tile(core[_RATIO_UP] / core[_RATIO_DOWN], (_LAG, 1))
    core[_RING] = np.where(hit, ratio, core[_RING])
    core[_EVIDENCE] = np.where(hit, REST, core[_EVIDENCE])
    core[_BLOCK_SEEN.start : _POSITION + 1, hit] = 0.0
    return State(core, state.hours)


def _counts_only(state: State, slot: Slot, s: Settings) -> tuple[Floats, Floats]:
    slope, base = _bets(state, _null(state, slot, np.zeros(len(state)), s), s)
    return slope[:_SHARE], base[:_SHARE]


def _early(slope: Floats, base: Floats, y: Floats, s: Settings) -> Floats:
    evidence = np.minimum(base + slope * y, _CEILING)
    return np.asarray(np.log(_mix(np.exp(evidence).sum(axis=1) / _EFFECT_COUNT, s)), np.float64)


def early(state: State, slot: Slot, y: npt.ArrayLike, settings: Settings) -> Floats:
    """A lower bound (K,) of the `ln_m` that `tick` will give for this step, from the `y` (K,) counted so far in the
    open bucket.

    Count evidence only grows with the count, so what crosses here crosses at the close. The share term is left out,
    because a later positive would lower it.
    """
    slope, base = _counts_only(state, slot, settings)
    return _early(slope, base, np.asarray(y, np.float64), settings)


def crossing(state: State, slot: Slot, ln_h: npt.ArrayLike, settings: Settings) -> Ints:
    """(K,) the smallest count y* of the open bucket whose `early` reaches `ln_h` (a float or (K,)); `NEVER` where
    none up to 2^20 does."""
    slope, base = _counts_only(state, slot, settings)
    line = np.broadcast_to(np.asarray(ln_h, np.float64), (len(state),))
    low = np.full(len(state), -1, np.int64)
    high = np.full(len(state), 1 << 20, np.int64)
    never = _early(slope, base, high.astype(np.float64), settings) < line
    while np.any(high - low > 1):
        middle = (low + high) // 2
        over = _early(slope, base, middle.astype(np.float64), settings) >= line
        high = np.where(over, middle, high)
        low = np.where(over, low, middle)
    return np.where(never, NEVER, high)


def usual(state: State, slot: Slot, settings: Settings) -> tuple[Floats, Floats, Floats]:
    """What a step is held against, (K,) each: the level in negatives a minute, the profile of its slot (mean 1 over the
    week), the usual share of negatives."""
    null = _null(state, slot, np.zeros(len(state)), settings)
    return null.level / settings.rates.minutes, null.shape, null.share


def threshold(budget_per_day: float, k_enabled: int, weight: float = 1.0, step_s: int = 60) -> float:
    """ln h of one subject, so that K enabled subjects together raise at most `budget_per_day` false alarms a day in
    expectation.

    `weight` is the subject's part of the budget against an equal part (1): the mean of all weights must not exceed 1
    for the bound to hold.
    """
    if budget_per_day <= 0 or k_enabled < 1 or weight <= 0:
        raise ValueError("threshold needs a positive budget and weight and at least one subject")
    return log(_DAY_S / step_s * k_enabled / budget_per_day / weight)


def kind(ln_fast: float, ln_slow: float, ln_share: float, ln_h: float, settings: Settings) -> str:
    """Which evidence carries an alarm of one subject: `count`, `share` or `both` (those within 1 of the line after
    weighting)."""
    fast, slow, share = settings.weights
    by_count = (fast > 0 and ln_fast + log(fast) >= ln_h - 1) or ln_slow + log(slow) >= ln_h - 1
    by_share = ln_share + log(share) >= ln_h - 1
    return "share" if by_share and not by_count else "both" if by_share else "count"
