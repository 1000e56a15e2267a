#!/usr/bin/env python3
"""Counts the `documents` log anew and compares with what Redis holds. Standard library, aiokafka and redis; nothing of Groundswell.

    scripts/recount.py --kafka HOST:PORT --redis redis://HOST:PORT/0 [--prefix groundswell]

A document counts once, by source and id, in the minute it was published, for each company it mentions and for all talk (`market`). What
the product knows or a model says (markets, polarity, topics) cannot be recounted; the sum of a bucket's five counters can. Rows that came
more than a day late are in the log and not in Redis: `groundswell accounting` counts them. Prints JSON; exit status 1 when a bucket
differs. The log keeps seven days and Redis eight, so it is for an installation younger than seven days, as in a test.
"""

import argparse
import asyncio
import json
import struct
import sys
from collections import Counter
from typing import Any

from aiokafka import AIOKafkaConsumer
from redis.asyncio import Redis

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
Buckets = Counter[tuple[str, int]]  # (subject, minute) -> documents


async def of_the_log(kafka: str, prefix: str) -> tuple[Buckets, int, int]:
    """Buckets, documents and how many of them were pushed again."""
    counts, seen, read = Buckets(), set[tuple[str, str]](), 0
    async with AIOKafkaConsumer(
        f"{prefix}.documents.v1", bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="earliest"
    ) as consumer:
        for _ in range(300):  # a busy broker does not know its topics at once, and no partition would be no document
            if consumer.assignment():
                break
            await asyncio.sleep(0.1)
        ends = await consumer.end_offsets(consumer.assignment())
        while any([await consumer.position(partition) < end for partition, end in ends.items()]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                for document in (one for record in records for one in json.loads(record.value)):
                    read += 1
                    name = (document.get("source", "unknown"), document["id"])
                    if name in seen:
                        continue
                    seen.add(name)
                    named = {mention[0] for mention in document.get("mentions", ())}
                    about = named if any(subject.startswith("TEST:") for subject in named) else named | {"market"}
                    for subject in about:
                        counts[subject, document["published_at"] // MINUTE_MS * MINUTE_MS] += 1
    return counts, read, read - len(seen)


async def of_redis(url: str, prefix: str) -> Buckets:
    """Documents by bucket, whatever their polarity: negative, neutral, positive, unsure and echoes together. Without topics and the
    markets of exchanges: which company is of which is the product's knowledge."""
    counts = Buckets()
    async with Redis.from_url(url) as redis:
        async for key in redis.scan_iter(match=f"{prefix}:{{s*}}:b:*", count=1_000):
            subject, _, hour = key.decode().partition("}:b:")[2].rpartition(":")
            if not subject.startswith(("topic:", "market:")):
                minutes: dict[Any, Any] = await redis.hgetall(key)
                for minute, packed in minutes.items():
                    counters = struct.unpack("<5" + "BHI"[len(packed) // 10], packed)  # of 1, 2 or 4 bytes each
                    counts[subject, int(hour) * HOUR_MS + minute[0] * MINUTE_MS] = sum(counters)
    return counts


async def main() -> int:
    parser = argparse.ArgumentParser(description="Count the documents log anew and compare with Redis.")
    for name, default in (
        ("--kafka", "127.0.0.1:9092"),
        ("--redis", "redis://127.0.0.1:6379/0"),
        ("--prefix", "groundswell"),
    ):
        parser.add_argument(name, default=default)
    asked = parser.parse_args()
    (log, read, again), found = await of_the_log(asked.kafka, asked.prefix), await of_redis(asked.redis, asked.prefix)
    differ = [
        [*where, log[where], found[where]] for where in sorted(log.keys() | found.keys()) if log[where] != found[where]
    ]
    told = {
        "documents": read, "duplicate": again, "rows": log.total(), "in_redis": found.total(), "buckets": len(log),
        "differ": len(differ), "first": differ[:20],
    }  # fmt: skip
    sys.stdout.write(json.dumps(told) + "\n")
    return 1 if differ else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
