"""How fast delivery is, and whether bad endpoints cost the good ones anything: `python -m bench.deliver [--alerts N] [--json]`.

Five runs, each on a broker, a Redis, receivers and a `groundswell deliver` of its own (deliver_road.py): one endpoint at once and
at a pace, all endpoints at once, and then at a pace first the healthy ones alone, then the same with the bad ones among them.
The broker in memory answers a waiting reader only every half second: give `--kafka` one of your own for latencies that mean
something. Short by default; the full form is `--alerts 10000 --endpoints 200` and takes hours on two cores. What was run is in the answer.

JSON keys:
  asked         alerts, endpoints, bad, pace, seconds, seed as asked for; broker, cores and machine
  one           one healthy endpoint: deliveries, missing, doubled, out_of_order, seconds, deliveries_a_second (all written
                at once), cpu_ms_a_delivery (of deliver), start_s, latency {p50_ms, p99_ms, max_ms, n} from written to
                received at `pace` alerts a second, bare {deliveries_a_second, cpu_ms_a_delivery} of an aiohttp client
                that only posts, share_of_bare
  all           the same for `endpoints` healthy ones, without latency
  calm, bad     at `pace` alerts a second to the healthy ones alone, and with the bad ones: endpoints, healthy, deliveries
                (to healthy ones), latency, missing, doubled, out_of_order (of the healthy), written_s, seconds,
                resident_mb {start, peak, end}, cpu_ms_a_delivery, endpoints_by_kind {kind: {count, tried, accepted}}
  added_p99_ms  p99 of `bad` less p99 of `calm`: what the bad ones cost the healthy ones
  held          exactly_once_in_order, added_p99 (at most ADDED_MOST_MS); passed: both
"""

import argparse
import asyncio
import json
import logging
import os
import platform
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import deliver_view
from bench.deliver_events import Alert, alerts
from bench.deliver_receivers import BROKEN, DEAD, FLAPS, HEALTHY, SLOW, Arrival
from bench.deliver_road import Deliver, Road, bare_loop, road
from groundswell.errors import GroundswellError

ADDED_MOST_MS = 1_000.0
BAD = (DEAD, SLOW, FLAPS, BROKEN)
TOGETHER = 4  # tries that deliver may have under way at one healthy endpoint
SHARE = 0.5  # of what deliver can do to all endpoints: the pace, unless one is given
PACE_ONE = 20.0
LOOK_S = 0.2

Told = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """What to run. `bad` of each kind are among `endpoints`; `pace` 0: half of what was measured."""

    alerts: int = 200
    endpoints: int = 200
    bad: int = 10
    pace: float = 0.0
    seconds: float = 600.0  # the longest that one run may take
    seed: int = 1
    kafka: str = ""  # empty: in memory


def run(asked: Asked, told: Told = lambda _: None) -> dict[str, Any]:
    """All figures. Raises DeliverSlow, NoEmbeddedBroker."""
    return asyncio.run(_run(asked, told))


async def _run(asked: Asked, told: Told) -> dict[str, Any]:
    told("one endpoint")
    one = await _at_once([HEALTHY], asked, bare_together=TOGETHER)
    one |= {"latency": (await _at_a_pace([HEALTHY], PACE_ONE, asked))["latency"], "pace": PACE_ONE}
    told(f"{asked.endpoints} endpoints at once")
    every = await _at_once([HEALTHY] * asked.endpoints, asked, bare_together=1)
    pace = asked.pace or round(SHARE * every["deliveries_a_second"] / asked.endpoints, 2)
    bad = [kind for kind in BAD for _ in range(asked.bad)]
    healthy = [HEALTHY] * (asked.endpoints - len(bad))
    told(f"{len(healthy)} healthy endpoints at {pace:g} alerts a second")
    calm = await _at_a_pace(healthy, pace, asked)
    told(f"the same with {len(bad)} bad ones")
    among = await _at_a_pace([*healthy, *bad], pace, asked)
    added = round(among["latency"]["p99_ms"] - calm["latency"]["p99_ms"], 1)
    whole = not any(
        each[fault] for each in (one, every, calm, among) for fault in ("missing", "doubled", "out_of_order")
    )
    held = {"exactly_once_in_order": whole, "added_p99": added <= ADDED_MOST_MS}
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    return {
        "asked": {"alerts": asked.alerts, "endpoints": asked.endpoints, "bad": asked.bad, "pace": pace,
                  "seconds": asked.seconds, "seed": asked.seed, "broker": asked.kafka or "in memory", **machine},
        "one": one, "all": every, "calm": calm, "bad": among, "added_p99_ms": added, "held": held,
        "passed": all(held.values()),
    }  # fmt: skip


async def _at_once(behaviours: Sequence[str], asked: Asked, *, bare_together: int) -> dict[str, Any]:
    """All alerts written as fast as the broker takes them: what deliver can do, beside what a bare client can."""
    async with road(behaviours, asked.kafka) as found:
        made = _made(asked)
        async with found.deliver() as deliver:
            cpu_s, written = deliver.cpu_s(), await found.tell(made)
            await _received(found, deliver, len(made), asked.seconds)
            came, cpu_s = await found.receivers.arrivals(), deliver.cpu_s() - cpu_s
        arrived = [one for one in came if one.id in written]
        seconds = max(one.at_s for one in arrived) - min(written.values())
        bare_s, bare_cpu_s = await bare_loop(found.receivers, made, bare_together)
    wanted = len(made) * len(behaviours)
    return {
        "endpoints": len(behaviours),
        "deliveries": len(arrived),
        **check(came, made, range(len(behaviours))),
        "seconds": round(seconds, 2),
        "deliveries_a_second": round(len(arrived) / seconds, 1),
        "cpu_ms_a_delivery": round(1e3 * cpu_s / len(arrived), 3),
        "start_s": round(deliver.start_s, 2),
        "bare": {
            "deliveries_a_second": round(wanted / bare_s, 1),
            "cpu_ms_a_delivery": round(1e3 * bare_cpu_s / wanted, 3),
        },
        "share_of_bare": round(len(arrived) / seconds * bare_s / wanted, 3),
    }


async def _at_a_pace(behaviours: Sequence[str], pace: float, asked: Asked) -> dict[str, Any]:
    """Alerts one after another: how long each is on its way to the healthy endpoints, and what the process needs for it."""
    async with road(behaviours, asked.kafka) as found:
        made = _made(asked)
        async with found.deliver() as deliver:
            cpu_s, begun_s = deliver.cpu_s(), time.monotonic()
            written = await found.tell(made, pace)
            written_s = time.monotonic() - begun_s
            await _received(found, deliver, len(made), asked.seconds)
            seconds = time.monotonic() - begun_s
            came, cpu_s = await found.receivers.arrivals(), deliver.cpu_s() - cpu_s
    healthy = [number for number, kind in enumerate(behaviours) if kind == HEALTHY]
    checked = check(came, made, healthy)
    memory = [size / 1e6 for at_s, size in deliver.resident if at_s >= deliver.start_s] or [0.0]
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for kind in behaviours:
        by_kind[kind]["count"] += 1
    for one in came:
        by_kind[behaviours[one.endpoint]].update(tried=1, accepted=int(one.status < 300))
    reached = [one for one in came if behaviours[one.endpoint] == HEALTHY and one.id in written]
    latencies_ms = [1e3 * (one.at_s - written[one.id]) for one in reached]
    return {
        "endpoints": len(behaviours),
        "healthy": len(healthy),
        "deliveries": len(reached),
        "written_s": round(written_s, 1),
        "seconds": round(seconds, 1),
        "latency": deliver_view.spread(latencies_ms),
        **checked,
        "resident_mb": {"start": round(memory[0]), "peak": round(max(memory)), "end": round(memory[-1])},
        "cpu_ms_a_delivery": round(1e3 * cpu_s / max(len(reached), 1), 3),
        "endpoints_by_kind": {kind: dict(counts) for kind, counts in by_kind.items()},
        "_latencies_ms": latencies_ms,
        "_resident": deliver.resident,
    }


def check(came: Sequence[Arrival], made: Sequence[Alert], endpoints: Sequence[int]) -> dict[str, int]:
    """Of these endpoints: events that one never accepted, accepted twice, or first saw after a later one of the episode."""
    wanted, faults = {alert.id for alert in made}, Counter[str](missing=0, doubled=0, out_of_order=0)
    accepted: dict[int, Counter[str]] = {number: Counter() for number in endpoints}
    newest: dict[tuple[int, str], int] = {}
    for one in came:
        if one.endpoint not in accepted or one.status >= 300 or one.id not in wanted:
            continue
        accepted[one.endpoint][one.id] += 1
        if accepted[one.endpoint][one.id] == 1:
            faults["out_of_order"] += one.sequence < newest.get((one.endpoint, one.episode), 0)
            newest[one.endpoint, one.episode] = one.sequence
    for counts in accepted.values():
        faults["missing"] += len(wanted - counts.keys())
        faults["doubled"] += sum(count - 1 for count in counts.values())
    return dict(faults)


def _made(asked: Asked) -> list[Alert]:
    return alerts(asked.alerts, time.time_ns() // 1_000_000, asked.seed)


async def _received(found: Road, deliver: Deliver, each: int, seconds: float) -> None:
    """Until every healthy endpoint accepted as many; when the time is over the figures say what is missing."""
    healthy = [number for number, kind in enumerate(found.receivers.behaviours) if kind == HEALTHY]
    end_s = time.monotonic() + seconds
    while time.monotonic() < end_s and deliver.process.returncode is None:
        accepted = await found.receivers.accepted()
        if all(accepted[number] >= each for number in healthy):
            await asyncio.sleep(2 * LOOK_S)  # what is delivered twice comes now
            return
        await asyncio.sleep(LOOK_S)


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the promises hold, 1 when one does not, 2 when it could not be measured."""
    parser = argparse.ArgumentParser(prog="python -m bench.deliver", description=(__doc__ or "").splitlines()[0])
    default = Asked()
    parser.add_argument("--alerts", type=int, default=default.alerts, help="in each run (%(default)s)")
    parser.add_argument("--endpoints", type=int, default=default.endpoints, help="with the bad ones (%(default)s)")
    parser.add_argument(
        "--bad", type=int, default=default.bad, help="dead, slow, flapping and broken, of each (%(default)s)"
    )
    parser.add_argument("--pace", type=float, default=default.pace, help="alerts a second (half of what was measured)")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="the longest of one run (%(default)s)")
    parser.add_argument("--seed", type=int, default=default.seed)
    parser.add_argument("--kafka", default="", help="host:port of a broker; one in memory otherwise")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--picture", type=Path, help="draw latencies and memory into this PNG")
    given = parser.parse_args(arguments)
    if given.endpoints <= len(BAD) * given.bad:
        parser.error(f"--endpoints must be more than the {len(BAD) * given.bad} bad ones")
    asked = Asked(given.alerts, given.endpoints, given.bad, given.pace, given.seconds, given.seed, given.kafka)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # topics made a moment ago; what lasts raises
    try:
        found = run(asked, lambda what: print(f"… {what}", file=sys.stderr))
    except GroundswellError as error:
        print(error.line, file=sys.stderr)
        return 2
    if given.picture:
        deliver_view.draw(found, given.picture)
    shown = deliver_view.shown(found)
    print(json.dumps(shown) if given.json else deliver_view.table(shown))
    return 0 if found["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
