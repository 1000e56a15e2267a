"""The gates of the bare detector: each simulates (`surge_simulator.py`), runs and scores (`surge_scoring.py`), and gives what
it measured. `detect.py` holds that against what is required; the tests in tests/acceptance ask the same in small forms.

Long because it is a list: one promise a function, read any of them alone. What needs stories, authors and copies is in
`surge_road_gates.py`.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from math import log
from typing import Any

import numpy as np

from bench.surge_episodes import follow
from bench.surge_scoring import GRACE_MIN, Evidence, Trace, alarms_per_key_day, run, score, tuned_line, widen
from bench.surge_simulator import DAY, World, local_slots_of_week, simulate
from stream.detection.surge import GROUP_ZONES, Settings, Slot, State, crossing, early, effect, local_slots, onset, tick

Result = dict[str, Any]
_CHUNK_KEYS = 100


def sized(key_days: int, world: World | None = None) -> World:
    """As many subjects as make `key_days` after the warm-up."""
    base = world or World()
    if key_days <= 700:
        # A small form warms up as long, and then looks at one week of more subjects: a step costs little more for them.
        base = replace(base, days=base.warm_up_days + 7)
    return replace(base, keys=max(5, round(key_days / (base.days - base.warm_up_days))))


def _chunks(world: World, seed: int) -> list[tuple[World, int]]:
    # In pieces of a hundred subjects, so that a long run needs no more memory than a short one.
    whole, rest = divmod(world.keys, _CHUNK_KEYS)
    sizes = [_CHUNK_KEYS] * whole + ([rest] if rest else [])
    return [(replace(world, keys=size), seed * 1000 + i) for i, size in enumerate(sizes)]


def _false_alarms(world: World, seed: int, lines: list[float], channel: Callable[[Trace], Evidence]) -> list[float]:
    start = world.warm_up_days * DAY
    total = np.zeros(len(lines))
    for part, part_seed in _chunks(world, seed):
        ln_m = channel(run(simulate(part, part_seed)))
        total += [alarms_per_key_day(ln_m, line, start=start) * part.keys for line in lines]
    return [float(x) for x in total / world.keys]


def null(seed: int, key_days: int = 2100) -> Result:
    """Without surges the false alarms keep the bound T / h."""
    at_10_days, at_1_day = _false_alarms(sized(key_days), seed, [log(14_400), log(1440)], lambda trace: trace.ln_m)
    return {"fa_at_ln_14400": at_10_days, "fa_at_ln_1440": at_1_day}


def null_tail(seed: int, key_days: int = 5000) -> Result:
    """Far out in the tail the null still holds."""
    (tail,) = _false_alarms(sized(key_days), seed, [11.88], lambda trace: trace.ln_m)
    return {"fa_at_11.88": tail}


def tuned_recall(seed: int, key_days: int, target: float, runs: int) -> Result:
    """Recall where a world without surges raises at most `target` false alarms a key-day."""
    found = []
    for i in range(runs):
        world = sized(key_days)
        start = world.warm_up_days * DAY
        line = tuned_line(run(simulate(world, seed * 100 + 2 * i)).ln_m, target, start=start)
        stream = simulate(replace(world, surges=True), seed * 100 + 2 * i + 1)
        found.append((line, score(run(stream).ln_m, stream.events, line, start=start)))
    return {
        "runs": runs,
        "ln_h": [round(line, 2) for line, _ in found],
        "recall": float(np.mean([one.recall for _, one in found])),
        "precision": float(np.mean([one.precision for _, one in found])),
        "delay_min": float(np.mean([one.delay_min for _, one in found])),
        "recall_by_factor": {
            str(factor): float(np.mean([one.by_factor.get(factor, 0.0) for _, one in found]))
            for factor in (2.0, 3.0, 5.0)
        },
    }


def recall(seed: int, key_days: int = 2100, runs: int = 3) -> Result:
    """Tuned to one false alarm in ten days of a subject, half of the surges are found, in minutes."""
    return tuned_recall(seed, key_days, 0.1, runs)


def recall_strict(seed: int, key_days: int = 2100, runs: int = 3) -> Result:
    """The same at one false alarm in fifty days."""
    return tuned_recall(seed, key_days, 0.02, runs)


def misfit(seed: int, key_days: int = 1000) -> Result:
    """The bound survives talk that is burstier, wanders more or drifts faster than the null was made for."""
    worlds = {
        "bursts": World(burst_shape=1.5),
        "wander": World(wander_sd=0.4),
        "walk": World(walk_sd_per_day=0.13),
    }
    measured = {
        name: _false_alarms(sized(key_days, world), seed, [log(14_400)], lambda trace: trace.ln_m)[0]
        for name, world in worlds.items()
    }
    return {"fa_at_ln_14400": measured}


def share(seed: int, key_days: int = 2100) -> Result:
    """The share channel alone finds turns of mood and lets mere volume pass."""
    world = sized(key_days)
    start = world.warm_up_days * DAY
    still = run(simulate(replace(world, rates=(0.2, 1.0, 5.0, 20.0)), seed)).ln_share
    line = tuned_line(still, 0.1, start=start)
    stream = simulate(replace(world, share_events=True, rates=(0.2, 1.0, 5.0, 20.0)), seed + 1)
    got = score(run(stream).ln_share, stream.events, line, start=start)
    bound = alarms_per_key_day(still, log(14_400), start=start)
    return {
        "ln_h": round(line, 2),
        "recall": got.recall,
        "decoys": got.decoys,
        "delay_min": got.delay_min,
        "fa_at_ln_14400": bound,
    }


def cold_start(seed: int, key_days: int = 300, prior_per_min: float = 0.2) -> Result:
    """Subjects nobody has seen before do not cry wolf on their first days."""
    world = World(days=3, keys=key_days, warm_up_days=0, rates=(0.01, 0.05, 0.2, 1.0, 5.0))
    ln_m = run(simulate(world, seed), prior_per_min=prior_per_min).ln_m
    first = alarms_per_key_day(ln_m[:DAY], log(14_400), start=0)
    later = alarms_per_key_day(ln_m, log(14_400), start=DAY)
    return {"fa_day_1": first, "fa_days_2_3": later}


def timezone(seed: int, key_days: int = 4200) -> Result:
    """The week after the clocks change is like any other, because the season follows local time."""
    # Monday 16 February 2026 00:00 in New York; the clocks change on Sunday 8 March at 02:00, day 20 of the world.
    begins, changes = 1_771_218_000, 20 + 2 / 24
    world = sized(key_days, World(shift_after_day=changes, shift_minutes=60))
    counts = np.zeros(2)
    for part, part_seed in _chunks(world, seed):
        zone = GROUP_ZONES["XNYS"]
        slots = [
            _everyone(local_slots(zone, begins + 900 * quarter, group="XNYS"), part.keys)
            for quarter in range(part.days * 96)
        ]
        ln_m = run(simulate(part, part_seed), slots=slots).ln_m
        after = int(changes * DAY)
        counts += [
            alarms_per_key_day(ln_m[:after], 8.1, start=part.warm_up_days * DAY) * part.keys,
            alarms_per_key_day(ln_m, 8.1, start=after) * part.keys,
        ]
    before, since = (float(x) for x in counts / world.keys)
    return {"fa_before": before, "fa_after": since, "fa_more": since - before}


def holiday(seed: int, key_days: int = 2100) -> Result:
    """Weekdays without a session, on which talk is as on a weekend: no more false alarms on them and on the days after than on
    others, and surges are found as on weekends. `seen_to_expected` says what not knowing them would do."""
    # Monday 8 September 2025 00:00 in Shanghai; no sessions from 1 to 8 October.
    begins, days, warm_up = 1_757_260_800, 35, 14
    holidays, after = (23, 24, 25, 28, 29, 30), (31, 32)
    world = sized(key_days, World(days=days, warm_up_days=warm_up, holidays=holidays))
    world = replace(world, days=days, keys=max(5, key_days // (days - warm_up)))
    weekends = tuple(day for day in range(warm_up, days) if day % 7 >= 5)
    usual = tuple(day for day in range(warm_up, holidays[0]) if day % 7 < 5)
    known = [local_slots(GROUP_ZONES["XSHG"], begins + 900 * quarter, group="XSHG") for quarter in range(days * 96)]
    slots = [_everyone(slot, world.keys) for slot in known]
    quiet, surging = simulate(world, seed), simulate(replace(world, surges=True), seed + 1)
    trace, unaware = run(quiet, slots=slots), run(quiet, group="XSHG")
    fa = {
        name: _on(trace.ln_m, own, lambda ln_m: alarms_per_key_day(ln_m, 8.1, start=0))
        for name, own in (("usual_days", usual), ("holidays", holidays), ("days_after", after))
    }
    found = run(surging, slots=slots).ln_m

    def recall_on(own: tuple[int, ...]) -> float:
        events = [event for event in surging.events if event.onset // DAY in own]
        hit = score(found, events, 8.1, start=warm_up * DAY).hits
        return len(hit) / max(len(events), 1)

    def seen_to_expected(one: Trace, own: tuple[int, ...]) -> float:
        return _on(quiet.y, own, lambda y: float(y.sum())) / _on(one.expected, own, lambda mean: float(mean.sum()))

    recall = {"holidays": recall_on(holidays), "weekends": recall_on(weekends)}
    return {
        "fa": fa, "fa_more": max(fa["holidays"], fa["days_after"]) - fa["usual_days"],
        "recall": recall, "recall_less": recall["weekends"] - recall["holidays"],
        "seen_to_expected": {"holidays": seen_to_expected(trace, holidays), "days_after": seen_to_expected(trace, after),
                             "holidays_unknown": seen_to_expected(unaware, holidays)},
    }  # fmt: skip


def _on(series: Any, days: tuple[int, ...], measure: Callable[[Any], float]) -> float:
    """The mean of a measure over single days."""
    return float(np.mean([measure(series[day * DAY : (day + 1) * DAY]) for day in days]))


def _everyone(slot: Slot, keys: int) -> Slot:
    return slot.take(np.zeros(keys, np.int64))


def early_look(seed: int, key_days: int = 100, subjects: int = 1000) -> Result:
    """What crosses on a part of the bucket crosses at its close, and y* is the smallest count that crosses."""
    rng = np.random.default_rng(seed)
    settings = Settings()
    rate = np.exp(rng.uniform(np.log(0.01), np.log(30), subjects))
    state = State.new(subjects, rng.uniform(0.02, 2, subjects), settings)
    week = local_slots_of_week(subjects)
    never = np.zeros(subjects, np.bool_)
    cases = broken = crossed = 0
    for step in range(key_days):
        slot = week[step // 15 % len(week)]
        surge = np.where(rng.random(subjects) < 0.2, rng.choice([2, 5, 20, 200], subjects), 1)
        y = rng.poisson(rate * surge).astype(np.float64)
        n = y + rng.poisson(4 * rate)
        line = rng.uniform(2, 12, subjects)
        part = early(state, slot, np.floor(y * rng.random(subjects)), settings)
        at = crossing(state, slot, line, settings)
        reachable = at < 1 << 20
        exact = (early(state, slot, at, settings) >= line) & ((at == 0) | (early(state, slot, at - 1, settings) < line))
        state, said = tick(state, slot, y, n, never, settings)
        broken += int(np.sum(part > said.ln_m)) + int(np.sum(reachable & ~exact))
        broken += int(np.sum((y >= at) & (said.ln_m < line)))
        crossed += int(np.sum(y >= at))
        cases += subjects
    return {"cases": cases, "crossed": crossed, "violations": broken}


def nan(seed: int, key_days: int = 30) -> Result:
    """No input, however odd, makes a number that is none."""
    settings = Settings()
    odd = 10**6
    checked = broken = 0
    with np.errstate(all="raise", under="ignore"):
        for keys in (0, 1, 5):
            week = local_slots_of_week(keys)
            state = State.new(keys, 0.2, settings)
            rng = np.random.default_rng(seed)
            for step in range(key_days * DAY if keys == 5 else 3 * DAY):
                # Subject 0 is silent, 1 gets one huge count, 2 is all negative, 3 never, 4 has gaps and an endless
                # episode.
                y = np.array([0, odd if step == 2 * DAY else 0, rng.poisson(1), 0, rng.poisson(3)], np.float64)[:keys]
                n = np.array([0, odd if step == 2 * DAY else 0, y[2] if keys > 2 else 0, 7, 9], np.float64)[:keys]
                held = np.array([False, False, False, False, step > DAY])[:keys]
                state, said = tick(state, week[step // 15 % len(week)], y, n, held, settings)
                if step % 60 == 0:
                    values = [*vars(said).values(), state.core, state.hours]
                    checked += len(values)
                    broken += sum(not np.isfinite(value).all() for value in values)
    return {"checked": checked, "not_finite": broken}


def onset_and_effect(seed: int, key_days: int = 2100) -> Result:
    """At firing, the onset and the interval of the effect are near the truth."""
    world = sized(key_days, World(surges=True))
    stream = simulate(world, seed)
    trace = run(stream)
    hits = score(trace.ln_m, stream.events, 8.03, start=world.warm_up_days * DAY).hits
    late, covered, ratio = [], 0, []
    for event, at in hits:
        key, window = event.key, slice(max(0, at - 179), at + 1)
        begun = window.start + onset(stream.y[window, key], trace.fast_expected[window, key], trace.r_fast[at, key])
        late.append(begun - event.onset)
        usual = trace.expected[begun : at + 1, key] * trace.ratio[begun - 1, key]
        theta, low, high = effect(stream.y[begun : at + 1, key], usual, float(trace.phi15[at, key]))
        covered += low <= event.factor <= high
        ratio.append(theta / event.factor)
    near = float(np.mean(np.abs(late) <= 5))
    return {
        "fired": len(hits),
        "onset_error_min": float(np.median(late)),
        "onset_within_5_min": near,
        "coverage": covered / max(len(hits), 1),
        "effect_over_truth": float(np.median(ratio)),
    }


def coarse(seed: int, key_days: int = 2100) -> Result:
    """Steps of a quarter of an hour and of an hour keep the bound, too."""
    world = sized(key_days)
    stream = simulate(world, seed)
    measured = {}
    for minutes in (15, 60):
        a_day = DAY // minutes
        line = log(a_day * 10)
        trace = run(widen(stream, minutes), Settings(step_s=60 * minutes), restart_at=line)
        measured[f"{minutes}_min"] = alarms_per_key_day(
            trace.ln_m, line, start=world.warm_up_days * a_day, steps_a_day=a_day, cooldown=1
        )
    return {"fa_at_one_in_ten_days": measured}


def drift(seed: int, key_days: int = 2100) -> Result:
    """A level that rises for good alarms for a while, and then is the new level."""
    line, first = 8.1, 7
    base = replace(sized(key_days), rates=(0.2, 1.0, 5.0, 20.0))

    def episodes(world: World, spans: list[tuple[int, int]]) -> list[float]:
        # A key-day, for each span of days.
        days = [episode.fired // DAY for episode in follow(simulate(world, seed), line)]
        return [sum(begin <= day < end for day in days) / (end - begin) / world.keys for begin, end in spans]

    (rising,) = episodes(replace(base, doubling_days=7, days=first + 7), [(first, first + 7)])
    spans = [(first, first + 1), (first + 5, first + 9)]
    day_one_2, late_2 = episodes(replace(base, step_factor=2.0, days=first + 9), spans)
    day_one_5, late_5 = episodes(replace(base, step_factor=5.0, days=first + 9), spans)
    return {
        "episodes_a_day_while_doubling": rising,
        "episodes_on_day_one": {"2": day_one_2, "5": day_one_5},
        "episodes_a_day_from_day_5": {"2": late_2, "5": late_5},
    }


def resolve(seed: int, key_days: int = 2100, line: float = 8.03) -> Result:
    """An episode ends soon after its surge, and not before."""
    stream = simulate(sized(key_days, World(surges=True)), seed)
    episodes = follow(stream, line)
    after, again = [], 0
    for episode in episodes:
        surge = next(
            (e for e in stream.events if e.key == episode.key and e.onset <= episode.fired <= e.end + GRACE_MIN), None
        )
        if surge is None or episode.resolved is None:
            continue
        after.append(episode.resolved - surge.end)
        again += any(
            other.key == episode.key and episode.resolved <= other.fired <= episode.resolved + 60 for other in episodes
        )
    median, premature = float(np.median(after)), float(np.mean(np.array(after) < 0))
    refired = again / len(after)
    return {
        "episodes": len(after),
        "minutes_after_the_end": median,
        "premature": premature,
        "fired_again_within_60_min": refired,
    }


def tick_time(seed: int, key_days: int = 0) -> Result:  # noqa: ARG001
    """One step costs little: for one subject, because that is asked often, and for ten thousand."""
    settings = Settings()
    rng = np.random.default_rng(seed)
    median_us, p99_us = {}, {}
    for keys in (1, 20, 1000, 10_000):
        rate = np.resize(np.array([0.05, 0.2, 1.0, 5.0, 20.0]), keys)
        state, week = State.new(keys, 0.2, settings), local_slots_of_week(keys)
        quiet, took = np.zeros(keys, np.bool_), []
        for step in range(300):
            y = rng.poisson(rate).astype(np.float64)
            n = y + rng.poisson(4 * rate)
            begin = time.perf_counter()
            state, _ = tick(state, week[step // 15], y, n, quiet, settings)
            took.append((time.perf_counter() - begin) * 1e6)
        median_us[str(keys)], p99_us[str(keys)] = float(np.median(took)), float(np.percentile(took, 99))
    size = len(State.new(1, 0.2, settings).to_bytes())
    return {"median_us": median_us, "p99_us": p99_us, "bytes_a_subject": size}
