"""Stands for `groundswell backtest --json --progress` where a test only looks at the page: says how far it is, then what it found."""

import json
import sys
import time
from itertools import pairwise
from typing import Any

from groundswell import times

DAY_MS = 86_400_000
FIRED = {"fewer": 1, "balanced": 7, "more": 26, "rules.toml": 14}
SUBJECTS = (
    ("XTST:HLVN", "Halvorn Motors", "霍尔文汽车"),
    ("XTST:QILN", "<img src=x onerror=alert(7)>", "</script><script>alert(8)</script>"),
    ("topic:fraud", "Fraud", "欺诈"),
)


def setting(name: str, from_ms: int, until_ms: int) -> dict[str, Any]:
    count = FIRED.get(name, 2)
    episodes = [episode(number, until_ms - 60_000 - number * 20_000_000) for number in range(count)]
    days = {times.rfc3339(at)[:10]: 0 for at in range(from_ms - from_ms % DAY_MS, until_ms, DAY_MS)}
    for one in episodes:
        day = str(one["fired"])[:10]
        days[day] = days.get(day, 0) + 1
    return {
        "name": name, "budget_a_day": 5.0, "fired": count, "fired_a_day": 1.0, "by_day": days, "minutes_to_fire": 6.0, "minutes": 41.0,
        "severity": {}, "held": {}, "episodes": episodes,
    }  # fmt: skip


def episode(number: int, at_ms: int) -> dict[str, Any]:
    subject, en, zh = SUBJECTS[number % len(SUBJECTS)]
    return {
        "id": f"e{number}", "subject": subject, "name": {"en": en, "zh": zh}, "fired": times.rfc3339(at_ms), "minutes": 41.0,
        "severity": "warning", "effect": 3.0 + number, "negatives": 20 + number, "expected": 3.4, "rule": "loud",
        "said": "<svg onload=alert(9)> " + "W" * 180,
    }  # fmt: skip


def main(arguments: list[str]) -> None:
    after = dict(pairwise(arguments))
    from_ms, until_ms = times.parse_ms(after["--from"]), times.parse_ms(after["--until"])
    print(json.dumps({"share": 0.4}), file=sys.stderr, flush=True)
    if until_ms - from_ms > 20 * DAY_MS:
        time.sleep(60)
    values = [value for name, value in pairwise(arguments) if name in ("--sensitivity", "--against")]
    names = [*(values or ["balanced"]), *(["rules.toml"] if "--rules" in arguments else [])]
    from_ms = max(from_ms, until_ms - round(6.9 * DAY_MS))
    print(json.dumps({
        "from": times.rfc3339(from_ms), "until": times.rfc3339(until_ms), "days": 6.9, "warm_up_days": 0.0, "warm_up_enough": False,
        "documents": 48_210, "subjects": 212, "seconds": 3.1, "settings": [setting(name, from_ms, until_ms) for name in names],
    }))  # fmt: skip


main(sys.argv[1:])
