"""Ours and the rules that others use, on the same worlds at the same false-alarm rate, and a picture of it.

Also the comparison on series of any field. `detect.py` lists both with the gates.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bench.surge_baselines import BASELINES, USUAL_LINE, scan
from bench.surge_gates import Result, sized
from bench.surge_scoring import Evidence, alarms_per_key_day, run, score, tuned_among
from bench.surge_series import PROFILES, Series, corpus, out_of_100
from bench.surge_simulator import DAY, Stream, simulate
from stream.detection.series import SENSITIVITY_LN_H, SeriesSettings, detect

OURS = "ours"
SCAN = "scan on our mean"
TARGET = 0.1
RARE = np.geomspace(3e-6, 0.05, 45)  # how often a minute without surge is above a line: where lines are tried
COLOURS = dict(
    zip(
        (OURS, SCAN, *BASELINES),
        ("#b03a2e", "#1f5f8b", "#7f8c8d", "#1e8449", "#b7950b", "#6c3483", "#5d4037"),
        strict=True,
    )
)
MOST_DRAWN = 3.0  # false alarms a key-day


def baselines(seed: int, key_days: int = 2100, picture: Path | None = None) -> Result:
    """Every method tuned to .1 false alarms a key-day on a world without surges, then asked to find those of another."""
    world = sized(key_days)
    start = world.warm_up_days * DAY
    still, busy = simulate(world, seed * 100), simulate(type(world)(**{**vars(world), "surges": True}), seed * 100 + 1)
    table, curves = {}, {}
    for name, quiet, alive in _methods(still, busy):
        lines = sorted({float(line) for line in np.quantile(quiet[start:][np.isfinite(quiet[start:])], 1 - RARE)})
        line = tuned_among(quiet, lines, TARGET, start=start)
        got = score(alive, busy.events, line, start=start)
        table[name] = {
            "line": round(line, 2), "recall": got.recall, "precision": got.precision, "delay_min": got.delay_min,
            "fa": alarms_per_key_day(quiet, line, start=start),
        }  # fmt: skip
        if name in USUAL_LINE:
            table[name]["fa_as_published"] = alarms_per_key_day(quiet, USUAL_LINE[name], start=start)
        if picture is not None:
            curves[name] = _curve(quiet, alive, busy, lines[::3], start)
    if picture is not None:
        draw(curves, picture, key_days)
    theirs = {name: row for name, row in table.items() if name != OURS}
    best = max(theirs, key=lambda name: theirs[name]["recall"])
    return {
        "methods": table,
        "best_baseline": best,
        "recall_more": table[OURS]["recall"] - theirs[best]["recall"],
        "precision_more": table[OURS]["precision"] - theirs[best]["precision"],
    }


def _methods(still: Stream, busy: Stream) -> Sequence[tuple[str, Evidence, Evidence]]:
    ours = [run(stream) for stream in (still, busy)]
    scans = [
        scan(stream.y, trace.fast_expected, trace.phi15) for stream, trace in zip((still, busy), ours, strict=True)
    ]
    made = [(OURS, ours[0].ln_m, ours[1].ln_m), (SCAN, scans[0], scans[1])]
    return made + [(name, method(still.y), method(busy.y)) for name, method in BASELINES.items()]


def _curve(
    quiet: Evidence, alive: Evidence, busy: Stream, lines: Sequence[float], start: int
) -> list[tuple[float, float]]:
    every = (
        (alarms_per_key_day(quiet, line, start=start), score(alive, busy.events, line, start=start).recall)
        for line in lines
    )
    return sorted(point for point in every if point[0] <= MOST_DRAWN)


def draw(curves: dict[str, list[tuple[float, float]]], path: Path, key_days: int) -> None:
    """Recall against false alarms, a line a method; a dot where each is at .1."""
    from models.measure.pictures import plotter

    pyplot = plotter()
    pyplot.rcParams["svg.hashsalt"], pyplot.rcParams["svg.fonttype"] = "groundswell", "none"
    figure, axis = pyplot.subplots(figsize=(7.5, 4.6))
    for name, points in curves.items():
        fa, recall = zip(*points, strict=True) if points else ((), ())
        axis.plot([max(one, 1e-3) for one in fa], recall, label=name, linewidth=2.6 if name == OURS else 1.3,
                  color=COLOURS[name], zorder=3 if name == OURS else 2)  # fmt: skip
    axis.axvline(TARGET, color="#888888", linewidth=0.8, linestyle=":")
    axis.set_xscale("log")
    axis.set_xlim(1e-3, MOST_DRAWN)
    axis.set_ylim(0, 1)
    axis.set_xlabel("false alarms a subject and day, without any surge")
    axis.set_ylabel("surges found (2, 3 and 5 times the usual, 15 to 60 min)")
    axis.set_title(f"Surges found against false alarms, {key_days:,} invented subject-days", fontsize=10)
    axis.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axis.spines[side].set_visible(False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    pyplot.close(figure)


Rows = npt.NDArray[np.float64]


def deviations(series: Series) -> Rows:
    """|x - median| over the deviation of the last day's rows (300 at most), both ways."""
    return _trailing(series, lambda past: float(np.median(past)))


def ewma(series: Series) -> Rows:
    """|x - a moving mean| over its deviation: the control chart, both ways."""
    level, spread, found = float(series.value[0]), 0.0, np.zeros(len(series.value))
    for t, x in enumerate(series.value.tolist()):
        found[t] = abs(x - level) / max(spread**0.5, 1e-9 * abs(level), 1e-12) if t > 20 else 0.0
        spread = 0.99 * spread + 0.01 * (x - level) ** 2
        level += 0.05 * (x - level)
    return found


def same_hour(series: Series) -> Rows:
    """|x - mean of this hour on earlier days| over the deviation of such differences."""
    sums, counts, spread = np.zeros(24), np.zeros(24), 0.0
    found = np.zeros(len(series.value))
    for t, (at_s, x) in enumerate(zip(series.at_s.tolist(), series.value.tolist(), strict=True)):
        hour = int(at_s // 3600 % 24)
        if counts[hour] > 5:
            apart = x - sums[hour] / counts[hour]
            found[t] = abs(apart) / max(spread**0.5, 1e-12) if t > 100 else 0.0
            spread = 0.998 * spread + 0.002 * apart * apart
        sums[hour], counts[hour] = 0.999 * sums[hour] + x, 0.999 * counts[hour] + 1
    return found


def _trailing(series: Series, centre: Callable[[Rows], float], most: int = 300) -> Rows:
    found = np.zeros(len(series.value))
    for t in range(20, len(found)):
        past = series.value[max(0, t - most) : t]
        found[t] = abs(series.value[t] - centre(past)) / max(float(past.std()), 1e-12)
    return found


SERIES_BASELINES: dict[str, Callable[[Series], Rows]] = {
    "deviations": deviations,
    "EWMA": ewma,
    "same hour": same_hour,
}
SERIES_LINES = (2.5, 3, 3.5, 4, 5, 6, 7, 8, 10, 12, 15)


def series(seed: int, key_days: int = 2) -> Result:
    """`groundswell detect-series` on `key_days` × 22 series of many fields, at its default and tuned, with the same refractory
    day for all; the others tuned on the answers."""
    files = corpus(seed, key_days)
    default = SENSITIVITY_LN_H["balanced"]
    ours = [_evidence(one) for one in files]
    tuned = {OURS: _best(files, ours, np.arange(3, 12, 0.5).tolist())}
    for name, method in SERIES_BASELINES.items():
        tuned[name] = _best(files, [method(one) for one in files], SERIES_LINES)
    theirs = max(score["standard"] for name, score in tuned.items() if name != OURS)
    at_default = _scores(files, ours, default)
    windows = [_inside(one, _alerts(one, found, default)) for one, found in zip(files, ours, strict=True)]
    return {
        "series": len(files),
        "at_default": at_default,
        "anomalies_found": sum(hit for hit, _, _ in windows) / sum(all_ for _, all_, _ in windows),
        "alerts_outside_a_1000_rows": 1000
        * sum(false for _, _, false in windows)
        / sum(len(one.value) for one in files),
        "tuned": tuned,
        "better_than_best_baseline": at_default["standard"] - theirs,
    }


def _evidence(one: Series) -> Rows:
    rows = zip(one.at_s.tolist(), one.value.tolist(), strict=True)
    return np.array([seen.ln_m for seen in detect(rows, SeriesSettings())])


def _alerts(one: Series, found: Rows, line: float) -> list[int]:
    rows: list[int] = []
    for row in np.flatnonzero(found >= line).tolist():
        if not rows or one.at_s[row] - one.at_s[rows[-1]] >= 86_400:
            rows.append(row)
    return rows


def _inside(one: Series, alerts: Sequence[int]) -> tuple[int, int, int]:
    spans = [span for span in one.windows if span[1] >= one.learning_rows]
    late = [row for row in alerts if row >= one.learning_rows]
    hit = sum(any(first <= row <= last for row in late) for first, last in spans)
    return hit, len(spans), sum(not any(first <= row <= last for first, last in spans) for row in late)


def _scores(files: Sequence[Series], found: Sequence[Rows], line: float) -> dict[str, float]:
    told = [(one, _alerts(one, rows, line)) for one, rows in zip(files, found, strict=True)]
    return {name: out_of_100(told, false=false, missed=missed) for name, (false, missed) in PROFILES.items()}


def _best(files: Sequence[Series], found: Sequence[Rows], lines: Sequence[float]) -> dict[str, Any]:
    line = max(lines, key=lambda one: _scores(files, found, one)["standard"])
    return {"line": float(line), **_scores(files, found, line)}
