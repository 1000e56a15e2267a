"""Holds the detector to its promises: `groundswell bench detect [--gate NAME] [--seed N] [--key-days N] [--json]`.

A gate simulates, runs and scores (`surge_gates.py`, `surge_road_gates.py`, `surge_compare.py`); here is what is required of it.
One line a gate; exit status 1 when one fails. Nothing is tuned per seed. Small forms of the gates are the tests in
`tests/acceptance/test_surge_gates.py`.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from bench import calibration, surge_compare, surge_gates, surge_market, surge_road_gates

Result = dict[str, Any]


class Gate(NamedTuple):
    """What measures, and what is required: each name is a path into what was measured; a dictionary there is held entry by
    entry. `at_most` and `at_least` are bounds."""

    measure: Callable[..., Result]
    at_most: dict[str, float] = {}  # noqa: RUF012
    at_least: dict[str, float] = {}  # noqa: RUF012


GATES: dict[str, Gate] = {
    "null": Gate(surge_gates.null, {"fa_at_ln_14400": 0.1, "fa_at_ln_1440": 1}),
    "null-tail": Gate(surge_gates.null_tail, {"fa_at_11.88": 0.01}),
    "recall": Gate(
        surge_gates.recall, {"delay_min": 8}, {"recall": 0.46, "precision": 0.8, "recall_by_factor/5.0": 0.75}
    ),
    "recall-strict": Gate(surge_gates.recall_strict, {}, {"recall": 0.37}),
    "baselines": Gate(surge_compare.baselines, {}, {"recall_more": 0}),
    "misfit": Gate(surge_gates.misfit, {"fa_at_ln_14400": 0.1}),
    "share": Gate(surge_gates.share, {"decoys": 0.02, "fa_at_ln_14400": 0.1}, {"recall": 0.28}),
    "storm": Gate(
        surge_road_gates.storm, {"fa_more_when_folded": 0.01, "fired/folded": 0.02, "fired/one_in_ten_missed": 0.03}
    ),
    "drift": Gate(
        surge_gates.drift,
        {
            "episodes_a_day_while_doubling": 0.4,
            "episodes_on_day_one/2": 1.5,
            "episodes_on_day_one/5": 3,
            "episodes_a_day_from_day_5": 0.1,
        },
    ),
    "cold-start": Gate(surge_gates.cold_start, {"fa_day_1": 0.02, "fa_days_2_3": 0.1}),
    "timezone": Gate(surge_gates.timezone, {"fa_more": 0.01}),
    "holiday": Gate(surge_gates.holiday, {"fa_more": 0.02, "recall_less": 0.1}),
    "early": Gate(surge_gates.early_look, {"violations": 0}, {"crossed": 1}),
    "cut": Gate(
        surge_road_gates.cut,
        {},
        {
            "transitions": 1,
            "cuts_with_the_same_alerts_and_evidence": 1,
            "orders_with_the_same_alerts": 1,
            "orders_with_the_same_evidence_at_closes": 1,
            "evidence_decided_again": 1,
        },
    ),
    "budget": Gate(calibration.budget, {"guaranteed": 1, "calibrated": 1}, {"calibrated": 1 / 3}),
    "tick": Gate(
        surge_gates.tick_time,
        {"median_us/10000": 50_000, "p99_us/10000": 100_000, "median_us/20": 250, "bytes_a_subject": 1024},
    ),
    "onset": Gate(surge_gates.onset_and_effect, {}, {"onset_within_5_min": 0.85, "coverage": 0.78}),
    "resolve": Gate(
        surge_gates.resolve, {"minutes_after_the_end": 35, "premature": 0.03, "fired_again_within_60_min": 0.08}
    ),
    "market": Gate(surge_market.market, {"parents_told": 1, "companies_told": 5}, {"parents_told": 1}),
    "nan": Gate(surge_gates.nan, {"not_finite": 0}),
    "coarse": Gate(surge_gates.coarse, {"fa_at_one_in_ten_days": 0.1}),
    "road": Gate(surge_road_gates.road, {"storms_told": 0.02}),
    "series": Gate(surge_compare.series, {}, {"better_than_best_baseline": 0}),
}


def found_at(measured: Result, path: str) -> list[float]:
    """The number at a path, or all numbers of the dictionary there."""
    place: Any = measured
    for name in path.split("/"):
        place = place[name]
    return list(place.values()) if isinstance(place, dict) else [place]


def ask(name: str, seed: int, **given: Any) -> Result:
    """One gate's line: gate, seed, what was measured, what is required, passed (None where it is not built), seconds."""
    gate, begin = GATES[name], time.perf_counter()
    measured = gate.measure(seed, **given)
    passed = None if "not_built" in measured else (
        all(one <= bound for path, bound in gate.at_most.items() for one in found_at(measured, path))
        and all(one >= bound for path, bound in gate.at_least.items() for one in found_at(measured, path))
    )  # fmt: skip
    required = {path: f"<= {bound:g}" for path, bound in gate.at_most.items()}
    required |= {path: f">= {bound:g}" for path, bound in gate.at_least.items()}
    return {
        "gate": name, "seed": seed, **measured, "required": required, "passed": passed,
        "seconds": round(time.perf_counter() - begin, 1),
    }  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run one gate, or all; 0 if they hold, 1 if not."""
    parser = argparse.ArgumentParser(
        prog="groundswell bench detect", description="Hold the surge detector to its promises."
    )
    parser.add_argument("--gate", choices=sorted(GATES), action="append", help="this one; again for more; default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--key-days", type=int, help="how much to simulate; each gate has a default")
    parser.add_argument(
        "--picture", type=Path, help="draw recall against false alarms there (.svg, .png); gate baselines"
    )
    parser.add_argument("--json", action="store_true", help="one JSON line a gate, numbers unrounded")
    asked = parser.parse_args(argv)
    size = {} if asked.key_days is None else {"key_days": asked.key_days}
    failed = 0
    for name in asked.gate or GATES:
        drawn = {"picture": asked.picture} if name == "baselines" and asked.picture else {}
        result = ask(name, asked.seed, **size, **drawn)
        failed += result["passed"] is False
        print(json.dumps(result) if asked.json else told(result), flush=True)
    return 1 if failed else 0


def told(result: Result) -> str:
    """The same for people: one line, and one a method where there are several."""
    word = {True: "holds", False: "FAILS", None: "not built"}[result["passed"]]
    methods = result.get("methods", {})
    facts = [f"{name} {_short(value)}" for name, value in result.items() if name not in ("gate", "passed", "methods")]
    lines = [f"{word:<9} {result['gate']:<14} " + ", ".join(facts)]
    lines += [
        f"{'':24} {name:<22} " + ", ".join(f"{k} {_short(v)}" for k, v in row.items()) for name, row in methods.items()
    ]
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, dict):
        return "(" + ", ".join(f"{name} {_short(one)}" for name, one in value.items()) + ")"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
