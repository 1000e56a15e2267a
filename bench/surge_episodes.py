"""Closes the loop that `bench/surge_scoring.py` leaves open: fire, hold the level, see calm, resolve.

The same rules as the product's episodes in their barest form: no floors, no folding, no delivery.
"""

from dataclasses import dataclass

import numpy as np

from bench.surge_simulator import Stream, local_slots_of_week
from stream.detection.surge import Settings, State, calm, onset, rest, tick

CALM_MIN = 10
LEAST_MIN = 15


@dataclass
class Episode:
    """One surge of `key`: the minutes at which it fired and resolved (None where the world ended first)."""

    key: int
    fired: int
    ratio: float
    resolved: int | None = None
    quiet: int = 0


def follow(stream: Stream, line: float) -> list[Episode]:
    """All episodes of a world, by the order in which they fired."""
    settings = Settings()
    minutes, keys = stream.y.shape
    week = local_slots_of_week(keys)
    state = State.new(keys, 1.0, settings)
    expected, fast, ratio = (np.empty((minutes, keys), np.float32) for _ in range(3))
    held = np.zeros(keys, np.bool_)
    open_episodes: dict[int, Episode] = {}
    found: list[Episode] = []
    for t in range(minutes):
        state, said = tick(state, week[t // 15 % len(week)], stream.y[t], stream.n[t], held, settings)
        expected[t], fast[t], ratio[t] = said.expected, said.fast_expected, said.ratio
        over = (said.ln_m >= line) & ~said.learning
        resolved = np.zeros(keys, np.bool_)
        for key, episode in list(open_episodes.items()):
            last = slice(max(0, t - 14), t + 1)
            z15 = calm(
                stream.y[last, key].sum(dtype=np.float64),
                expected[last, key].sum(dtype=np.float64) * episode.ratio,
                said.phi15[key],
            )
            episode.quiet = 0 if over[key] or z15 > 1 else episode.quiet + 1
            if episode.quiet >= CALM_MIN and t - episode.fired >= LEAST_MIN:
                episode.resolved = t
                resolved[key] = True
                del open_episodes[key]
        for key in np.flatnonzero(over & ~held).tolist():
            window = slice(max(0, t - 179), t + 1)
            begun = window.start + onset(stream.y[window, key], fast[window, key], float(said.r_fast[key]))
            episode = Episode(key, t, float(ratio[max(begun - 1, 0), key]))
            open_episodes[key] = episode
            found.append(episode)
            held[key] = True
        if resolved.any():
            held &= ~resolved
            state = rest(state, resolved)
    return found
