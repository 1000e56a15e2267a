"""How long a document is on its way at a steady pace, from the broker's acknowledgement to its count in Redis, through three processes.

Documents of now go through ingest, tag with the recorded tagger, and aggregate; the two curves, pushed and counted by the market's buckets,
are compared at equal heights: the n-th counted came so long after the n-th pushed.
"""

import asyncio
import json
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import AIOKafkaProducer

from bench.chaos_file import COMPANIES, HOUR_MS, MARKET, MINUTE_MS, bucket
from bench.chaos_road import Road, road
from bench.chaos_services import OwnKafka, OwnRedis
from groundswell.connect import close_producer, open_producer
from stream.topology import NEWS

LOOK_S, TICK_S = 0.005, 0.02
WARM_S, LATE_S = 5.0, 60.0
A_MESSAGE = 5


async def latency(kafka: OwnKafka, redis: OwnRedis, folder: Path, a_second: int, seconds: float) -> dict[str, Any]:
    """p50 and p99 over all documents but those of the first seconds, which meet cold processes."""
    async with road("latency", kafka, redis, folder, stages=("ingest", "tag", "aggregate")) as found:
        await found.ready()
        producer = await open_producer(found.settings)
        before = await _first(found, producer)
        counted: list[tuple[float, int]] = []
        looking = asyncio.create_task(_look(found, counted))
        try:
            pushed = await _push(found, producer, a_second, WARM_S + seconds)
            for _ in range(round(LATE_S)):
                await asyncio.sleep(1.0)
                if counted and counted[-1][1] >= before + len(pushed):
                    break
        finally:
            looking.cancel()
            await close_producer(producer)
    skipped = round(WARM_S * a_second)
    heights = np.array([height - before for _, height in counted])
    at_s = np.array([at for at, _ in counted])
    reached = np.searchsorted(heights, np.arange(1, len(pushed) + 1))
    missing = int((reached >= len(at_s)).sum())
    whole = reached[reached < len(at_s)]
    late_ms = 1e3 * (at_s[whole] - np.sort(np.array(pushed))[: len(whole)])[skipped:]
    return {
        "a_second": a_second, "documents": len(late_ms), "not_counted": missing, "messages_of": A_MESSAGE,
        "p50_ms": round(float(np.percentile(late_ms, 50)), 1), "p99_ms": round(float(np.percentile(late_ms, 99)), 1),
        "max_ms": round(float(late_ms.max()), 1),
    }  # fmt: skip


async def _first(found: Road, producer: AIOKafkaProducer) -> int:
    """One document for each company goes the whole way: all have joined their groups. The height of the curve then."""
    chance, goal = random.Random(0), len(COMPANIES)
    for number, company in enumerate(COMPANIES):
        value = json.dumps(_document(chance, company[1], -1 - number)).encode()
        await producer.send_and_wait(found.topology.name(NEWS), value, key=company[1].encode())
    counted: list[tuple[float, int]] = []
    looking = asyncio.create_task(_look(found, counted))
    for _ in range(round(LATE_S)):
        await asyncio.sleep(1.0)
        if counted and counted[-1][1] >= goal:
            break
    looking.cancel()
    return goal


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


async def _push(found: Road, producer: AIOKafkaProducer, a_second: int, seconds: float) -> list[float]:
    """When each document was acknowledged, in order."""
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
    await asyncio.gather(*waiting)
    await asyncio.sleep(0)
    return pushed


def _document(chance: random.Random, symbol: str, number: int) -> dict[str, Any]:
    words = " ".join(f"{chance.getrandbits(40):x}" for _ in range(16))
    return {
        "id": f"{symbol}-{number}", "text": words, "source": "forum", "author": f"reader{number % 9_973}", "symbols": [symbol],
        "published_at": time.time_ns() // 1_000_000 // MINUTE_MS * MINUTE_MS,
    }  # fmt: skip
