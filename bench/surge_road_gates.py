"""The gates that need stories, copies and authors: storms of copies, cuts of the stream, and a road through realistic talk.
`detect.py` lists them with the others.
"""

import random
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np

from bench import surge_road, traffic, traffic_texts
from bench.surge_gates import Result, sized
from bench.surge_scoring import COOLDOWN_MIN, GRACE_MIN, Trace, run
from bench.surge_simulator import DAY, Counts, Stream, simulate
from groundswell import times
from stream.detection import evidence
from stream.detection.case import HISTORY_STEPS
from stream.detection.floors import EXCESS, MARGIN
from stream.detection.surge_reading import onset, recompute
from stream.names import subjects

STORM_LINE = 8.1
REOPEN_S = 3600


def storm(seed: int, key_days: int = 1400, missed: float = 0.1) -> Result:
    """Copies that are folded change nothing; where one in ten is missed, leaving out the largest story holds the rest."""
    world = sized(key_days)
    start = world.warm_up_days * DAY
    quiet = simulate(world, seed)
    copies, storms = _storms(np.random.default_rng([seed, 5]), quiet, start, key_days // 2)
    first = np.minimum(copies, 1)
    first[:] = 0
    for key, begin, _ in storms:
        first[begin, key] = 1
    missed_copies = np.random.default_rng([seed, 6]).binomial(copies.astype(np.int64), missed).astype(np.float32)
    kinds = {"none": np.zeros_like(first), "folded": first, "one_in_ten_missed": first + missed_copies}
    fa, fired = {}, {}
    for name, extra in kinds.items():
        stream = replace(quiet, y=quiet.y + extra, n=quiet.n + extra)
        trace = run(stream)
        found = _fired(stream, trace, extra, start) if name == "one_in_ten_missed" else _crossed(trace, start)
        inside = {
            (key, begin)
            for key, begin, end in storms
            if any(begin <= at <= end + GRACE_MIN for at in found.get(key, ()))
        }
        all_alarms = sum(len(ats) for ats in found.values())
        fa[name] = (all_alarms - (len(inside) if name != "none" else 0)) / (
            world.keys * (world.days - world.warm_up_days)
        )
        fired[name] = len(inside) / len(storms)
        if name == "one_in_ten_missed":
            crossed = _crossed(trace, start)
            fired["missed_without_leaving_out"] = sum(
                any(begin <= at <= end + GRACE_MIN for at in crossed.get(key, ())) for key, begin, end in storms
            ) / len(storms)
    return {"storms": len(storms), "fa": fa, "fired": fired, "fa_more_when_folded": fa["folded"] - fa["none"]}


def _storms(
    rng: np.random.Generator, stream: Stream, start: int, number: int
) -> tuple[Counts, list[tuple[int, int, int]]]:
    """Copies (T, K) by minute, and (key, first minute, last minute) of each storm: 10 to 300 copies, half in 15 minutes."""
    minutes, keys = stream.y.shape
    copies = np.zeros((minutes, keys), np.float32)
    found = []
    for _ in range(number):
        key, begin = int(rng.integers(keys)), int(rng.integers(start, minutes - 180))
        delays = np.minimum(rng.lognormal(np.log(15), 0.9, int(np.exp(rng.uniform(np.log(10), np.log(300))))), 170)
        np.add.at(copies[:, key], begin + delays.astype(np.int64), 1)
        found.append((key, begin, begin + int(delays.max())))
    return copies, found


def _crossed(trace: Trace, start: int) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for at, key in np.argwhere(trace.ln_m[start:] >= STORM_LINE).tolist():
        own = found.setdefault(key, [])
        if not own or start + at >= own[-1] + COOLDOWN_MIN:
            own.append(start + at)
    return found


def _fired(stream: Stream, trace: Trace, family: Counts, start: int) -> dict[int, list[int]]:
    """Crossings that still hold without the largest family, as `stream/detection/detect.py` asks. A held one is asked again each minute."""
    found: dict[int, list[int]] = {}
    for at, key in np.argwhere(trace.ln_m[start:] >= STORM_LINE).tolist():
        own = found.setdefault(key, [])
        if (not own or start + at >= own[-1] + COOLDOWN_MIN) and _holds(stream, trace, family, start + at, key):
            own.append(start + at)
    return found


def _holds(stream: Stream, trace: Trace, family: Counts, at: int, key: int) -> bool:
    window = slice(max(0, at - HISTORY_STEPS + 1), at + 1)
    begun = window.start + onset(stream.y[window, key], trace.fast_expected[window, key], trace.r_fast[at, key])
    since = slice(begun, at + 1)
    y = stream.y[since, key].astype(np.float64)
    without = np.maximum(y - family[since, key], 0)
    usual = float(trace.expected[since, key].sum() * trace.ratio[max(begun - 1, 0), key])

    def evidence(counts: Any) -> float:
        return recompute(
            counts, trace.fast_expected[since, key], trace.expected[since, key], trace.r_fast[since, key], trace.r_slow[since, key]
        )  # fmt: skip

    line = min(STORM_LINE, evidence(y)) - MARGIN
    return y.sum() - usual >= EXCESS and evidence(without) >= line and without.sum() - usual >= EXCESS / 2


def _asked(seed: int, days: int, number: int, surges: int, storms: int) -> traffic.Asked:
    named = traffic_texts.nameable(list(subjects.load().subjects.values()))
    chosen = sorted(random.Random(seed).sample(named, number), key=lambda entry: entry.id)
    return traffic.Asked(days=days, subjects=chosen, surges=surges, storms=storms, seed=seed)


def cut(seed: int, key_days: int = 24) -> Result:
    """The same stream gives the same alerts, buckets and evidence however it is cut, stopped and started; and, in any order
    that the lateness allows, the same alerts at the same buckets, with the same evidence where a closed bucket decided. An early
    look decides by the text that fills the measure, and holds the level from there on: which text that is, and whether the bucket
    closes first, hangs on the order. Each evidence record decides the same once more."""
    number = max(4, key_days // 3)
    asked = _asked(seed, 3, number, surges=number, storms=number // 2)
    known = surge_road.directory()
    documents = surge_road.scored(traffic.simulate(asked), list(asked.subjects))

    replayed: list[bool] = []
    episodes: dict[str, str] = {}  # by alert
    looked_early: set[str] = set()

    def played(given: list[Any], pieces: int, *, stopped: bool) -> list[tuple[str, str, str]]:
        road = surge_road.Road(known)
        for piece in surge_road.records(given, pieces):
            for record in piece:
                road.take(record)
            if stopped:
                road.reload()
        replayed.extend(
            evidence.replay(msgspec.json.decode(msgspec.json.encode(one.evidence))) is None for one in road.told
        )
        episodes.update((one.event.id, one.event.data.episode_id) for one in road.told)
        looked_early.update(one.event.data.episode_id for one in road.told if one.evidence["bucket_open"])
        return road.alerts()

    whole = played(documents, 1, stopped=False)
    cuts = [played(documents, pieces, stopped=True) for pieces in (10, 1000)]
    mixed = [played(surge_road.shuffled(documents, seed + i), 100, stopped=False) for i in range(3)]

    def same(others: Sequence[list[tuple[str, str, str]]], parts: int, but: Collection[str] = ()) -> float:
        def seen(alerts: list[tuple[str, str, str]]) -> list[tuple[str, ...]]:
            return [one[:parts] for one in alerts if episodes[one[0]] not in but]

        return sum(seen(other) == seen(whole) for other in others) / len(others)

    return {
        "transitions": len(whole),
        "cuts_with_the_same_alerts_and_evidence": same(cuts, 3),
        "orders_with_the_same_alerts": same(mixed, 2),
        "orders_with_the_same_evidence_at_closes": same(mixed, 3, but=looked_early),
        "evidence_decided_again": sum(replayed) / max(len(replayed), 1),
    }


def road(seed: int, key_days: int = 280, missed: float = 0.0) -> Result:
    """Realistic talk (`groundswell simulate`) with true labels, at `balanced`: what of the planted is told, and what else."""
    number = max(4, key_days // 14)
    asked = _asked(seed, 14, number, surges=2 * number, storms=2 * number)
    made = traffic.simulate(asked)
    player = surge_road.Road(surge_road.directory())
    for piece in surge_road.records(surge_road.scored(made, list(asked.subjects), missed=missed, seed=seed), 1):
        for record in piece:
            player.take(record)
    fired = [
        (one.subject, times.parse_ms(one.event.data.detected_at))
        for one in player.told
        if one.event.type == "alert.firing"
    ]
    planted = {kind: [one for one in made.truth if one["kind"] == kind] for kind in ("surge", "storm", "loud_author")}

    def during(one: dict[str, Any]) -> list[int]:
        first, last = times.parse_ms(one["start"]), times.parse_ms(one["end"]) + REOPEN_S * 1000
        return [at_ms for subject, at_ms in fired if subject == one["subject"] and first <= at_ms <= last]

    found = [during(one) for one in planted["surge"]]
    surge_alerts = {(one["subject"], at) for one, ats in zip(planted["surge"], found, strict=True) for at in ats}
    decoyed = {
        kind: sum(any((one["subject"], at) not in surge_alerts for at in during(one)) for one in planted[kind])
        / max(len(planted[kind]), 1)
        for kind in ("storm", "loud_author")
    }
    strong = [
        ats for one, ats in zip(planted["surge"], found, strict=True) if one["factor"] >= 5 and one["of"] == "count"
    ]
    delays = [
        (min(ats) - times.parse_ms(one["start"])) / 60_000
        for one, ats in zip(planted["surge"], found, strict=True)
        if ats
    ]
    return {
        "subject_days": number * 14,
        "alerts": len(fired),
        "surges": len(found),
        "surges_told": sum(map(bool, found)) / max(len(found), 1),
        "surges_of_5_times_told": sum(map(bool, strong)) / max(len(strong), 1),
        "delay_min": float(np.median(delays)) if delays else None,
        "storms_told": decoyed["storm"],
        "loud_authors_told": decoyed["loud_author"],
        "alerts_for_nothing_planted": sum(
            not any(
                (subject, at) in {(one["subject"], t) for t in during(one)} for kind in planted.values() for one in kind
            )
            for subject, at in fired
        ),
    }
