"""How long a document is on its way at a steady pace, from the broker's acknowledgement to its count in Redis, through three processes.

Documents of now go through ingest, tag with the recorded tagger, and aggregate; the two curves, pushed and counted by the market's buckets,
are compared at equal heights: the n-th counted came so long after the n-th pushed. A road that cannot carry the pace is told as such
instead of a figure.
"""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer

from bench.chaos_file import COMPANIES, HOUR_MS, MARKET, MINUTE_MS, bucket
from bench.chaos_road import Road, road
from bench.chaos_services import OwnKafka, OwnRedis
from bench.ingest import cpu_s
from groundswell.clients.connect import close_producer, open_producer
from groundswell.errors import Fatal
from stream.topology import NEWS

LOOK_S, TICK_S = 0.005, 0.02
WARM_S, LATE_S = 5.0, 60.0
PACE = 0.98  # of what was asked; a pusher that falls behind measures something else
KEPT_UP = 0.9  # are counted when the last is pushed; else what is measured is the length of a queue
A_MESSAGE = 5


class TooSlow(Fatal):
    """The road does not carry so many documents a second here: a latency would be the length of a queue."""

    reason = "too_slow"
    remedy = "Run it on a machine that does nothing else, or with fewer --a-second."


async def latency(kafka: OwnKafka, redis: OwnRedis, folder: Path, a_second: int, seconds: float) -> dict[str, Any]:
    """p50 and p99 over all documents but those of the first seconds, which meet cold processes. Where the road does not keep up, `valid` is
    false, `why` says so, and there is no figure, or that of a queue. Raises NotReady."""
    try:
        return await _measured(kafka, redis, folder, a_second, seconds)
    except TooSlow as error:
        return {"a_second": a_second, "valid": False, "why": error.line, "p50_ms": None, "p99_ms": None}


async def _measured(kafka: OwnKafka, redis: OwnRedis, folder: Path, a_second: int, seconds: float) -> dict[str, Any]:
    async with road("latency", kafka, redis, folder, stages=("ingest", "tag", "aggregate")) as found:
        await found.ready()
        producer = await open_producer(found.settings)
        counted: list[tuple[float, int]] = []
        looking = asyncio.create_task(_look(found, counted))
        try:
            before = await _first(found, producer, counted)
            began_cpu_s = _cpu_s(found)
            pushed, took_s = await _push(found, producer, a_second, WARM_S + seconds)
            kept_up = counted[-1][1] - before
            await _until(counted, before + len(pushed), looking)
            cpu_s = {stage: after - began_cpu_s[stage] for stage, after in _cpu_s(found).items()}
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)
            await close_producer(producer)
    late_ms, gaps_ms = late(counted, before, pushed)
    late_ms = late_ms[round(WARM_S * a_second) :]
    pace, share = len(pushed) / took_s, kept_up / len(pushed)
    if pace < PACE * a_second:
        raise TooSlow(f"Only {pace:.0f} of {a_second} documents a second could be pushed.")
    why = "" if share >= KEPT_UP else f"Only {share:.0%} were counted when the last was pushed. {TooSlow.remedy}"
    return {
        "a_second": a_second, "valid": not why, "why": why, "documents": len(late_ms), "pushed_a_second": round(pace),
        "messages_of": A_MESSAGE,
        "p50_ms": round(float(np.percentile(late_ms, 50)), 1), "p99_ms": round(float(np.percentile(late_ms, 99)), 1),
        "max_ms": round(float(late_ms.max()), 1), "look_p99_ms": round(float(np.percentile(gaps_ms, 99)), 1),
        "cores": {stage: round(spent_s / took_s, 2) for stage, spent_s in cpu_s.items()},
    }  # fmt: skip


def late(
    counted: Sequence[tuple[float, int]], before: int, pushed: Sequence[float]
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    """ms from the n-th push to the n-th count (an upper bound: seen at the next look), and between two looks. `counted`: when, and the
    height of the curve then; `pushed`: when, in any order. Raises TooSlow when the curve does not reach all."""
    at_s, heights = np.array([at for at, _ in counted]), np.array([height - before for _, height in counted])
    reached = np.searchsorted(np.maximum.accumulate(heights), np.arange(1, len(pushed) + 1))
    missing = int((reached >= len(at_s)).sum())
    if missing:
        raise TooSlow(f"{missing} of {len(pushed)} documents were not counted in time.")
    return 1e3 * (at_s[reached] - np.sort(np.array(pushed))), 1e3 * np.diff(at_s)


async def _first(found: Road, producer: AIOKafkaProducer, counted: list[tuple[float, int]]) -> int:
    """One document for each company goes the whole way: all have joined their groups. The height of the curve then."""
    chance = random.Random(0)
    for number, company in enumerate(COMPANIES):
        value = json.dumps(_document(chance, company[1], -1 - number)).encode()
        await producer.send_and_wait(found.topology.name(NEWS), value, key=company[1].encode())
    await _until(counted, len(COMPANIES))
    return len(COMPANIES)


async def _until(counted: list[tuple[float, int]], height: int, looking: "asyncio.Task[None] | None" = None) -> None:
    """Raises TooSlow after LATE_S, and what ended the looking."""
    end_s = time.monotonic() + LATE_S
    while not counted or counted[-1][1] < height:
        if looking is not None and looking.done():
            looking.result()
        if time.monotonic() > end_s:
            raise TooSlow(f"{counted[-1][1] if counted else 0} of {height} documents were counted in time.")
        await asyncio.sleep(TICK_S)


def _cpu_s(found: Road) -> dict[str, float]:
    """Processor seconds so far, by stage."""
    return {one.stage: cpu_s(one.process.pid) for one in found.workers if one.process is not None}


async def _look(found: Road, counted: list[tuple[float, int]]) -> None:
    """The height of the counted curve, two hundred times a second."""
    home, first = found.topology.scored_partition(MARKET), time.time_ns() // 1_000_000 // HOUR_MS
    names = [found.keys.buckets(home, MARKET, hour) for hour in (first, first + 1)]
    while True:
        pipeline = found.redis.pipeline(transaction=False)
        for name in names:
            pipeline.hvals(name)
        height = sum(sum(bucket(one)) for packed in await pipeline.execute() for one in packed)
        counted.append((time.monotonic(), height))
        await asyncio.sleep(LOOK_S)


async def _push(found: Road, producer: AIOKafkaProducer, a_second: int, seconds: float) -> tuple[list[float], float]:
    """When each document was acknowledged, and how long pushing took."""
    chance, pushed, waiting = random.Random(1), list[float](), set[asyncio.Future[Any]]()
    topic, began_s, sent = found.topology.name(NEWS), time.monotonic(), 0

    def acknowledged(done: asyncio.Future[Any]) -> None:
        pushed.extend([time.monotonic()] * A_MESSAGE)
        waiting.discard(done)

    while (now_s := time.monotonic() - began_s) < seconds:
        while sent < now_s * a_second:
            company = COMPANIES[sent // A_MESSAGE % len(COMPANIES)]
            documents = [_document(chance, company[1], sent + i) for i in range(A_MESSAGE)]
            future = await producer.send(topic, json.dumps(documents).encode(), key=company[1].encode())
            waiting.add(future)
            future.add_done_callback(acknowledged)
            sent += A_MESSAGE
        await asyncio.sleep(TICK_S)
    took_s = time.monotonic() - began_s
    await asyncio.gather(*waiting)
    await asyncio.sleep(0)
    return pushed, took_s


def _document(chance: random.Random, symbol: str, number: int) -> dict[str, Any]:
    words = " ".join(f"{chance.getrandbits(40):x}" for _ in range(16))
    return {
        "id": f"{symbol}-{number}", "text": words, "source": "forum", "author": f"reader{number % 9_973}", "symbols": [symbol],
        "published_at": time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS,
    }  # fmt: skip
