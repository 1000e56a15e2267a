"""How long Redis is without its view after a loss: `python -m bench.rebuild --kafka HOST:PORT --redis URL [--hours 24] [--subjects 1000]`.

Writes so many hours of scored rows to topics of its own, empties its database, and lets one aggregate process count them again: first
without a checkpoint (every step is detected anew), then with the one that the first left at the end (rows are only counted). The
database is emptied: name one of its own.

JSON keys:
  asked        hours, subjects, documents_a_minute, seed; documents, rows, records as written; cores
  detected     without a checkpoint: seconds, times_real_time, documents_a_second, cpu_s, resident_mb
  counted      the same with one
  checkpoint   records, bytes, bytes_a_subject, seconds (to write all, one after the other)
  noticed_s    from the emptying to the first partition taken up, of a quiet aggregate: median, max, tries
  held         at_least_20_times_real_time (both), noticed_within_5_s; passed: both
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from confluent_kafka.admin import AdminClient

from groundswell.clients.connect import RedisClient, acknowledged, close_producer, open_producer, open_redis
from groundswell.commands.rebuild import progress
from groundswell.errors import BrokerAway
from groundswell.keys import Keys
from groundswell.records import Row, ScoredBatch, ScoredDocument
from groundswell.settings import Settings
from stream import baselines, create, readback
from stream.topology import BASELINES, SCORED, Topology

TRIES = 3
WAIT_S = 3_000.0
Label = Literal["negative", "neutral", "positive"]
LABELS: tuple[Label, ...] = ("negative", "neutral", "positive")
TOPICS = ("fraud", "default", "litigation", "macro", "earnings", "product")


@dataclass(frozen=True)
class Asked:
    """What to write. The busiest subjects have most of the talk (Zipf)."""

    hours: float = 24.0
    subjects: int = 1_000
    documents_a_minute: float = 200.0
    seed: int = 1


def records(asked: Asked, topology: Topology, end_ms: int) -> list[tuple[int, bytes, int]]:
    """(scored partition, value, time) of all records, in order: each document under a company, the market and half of them a topic."""
    chance = np.random.default_rng(asked.seed)
    names = [f"XBEN:S{number:05d}" for number in range(asked.subjects)]
    weights = 1 / np.arange(1, asked.subjects + 1)
    homes = {name: topology.scored_partition(name) for name in (*names, "market", *(f"topic:{one}" for one in TOPICS))}
    made = []
    for minute in range(round(asked.hours * 60)):
        start_ms = end_ms - round(asked.hours * 3_600_000) + minute * 60_000
        count = int(chance.poisson(asked.documents_a_minute))
        about = chance.choice(asked.subjects, count, p=weights / weights.sum())
        parts: dict[int, list[ScoredDocument]] = defaultdict(list)
        for index, subject in enumerate(about):
            label: Label = LABELS[chance.choice(3, p=(0.2, 0.5, 0.3))]
            subjects = [names[subject], "market", *([f"topic:{TOPICS[index % len(TOPICS)]}"] if index % 2 else [])]
            rows: dict[int, list[Row]] = defaultdict(list)
            for one in subjects:
                rows[homes[one]].append(Row(one, label, 0.9 if label == "negative" else 0.1))
            at_ms = start_ms + 60_000 * index // max(count, 1)
            for home, own in rows.items():
                parts[home].append(
                    ScoredDocument(
                        index=index, id=f"{minute}-{index}", story=f"{minute}-{index}", published_at=at_ms, ingested_at=at_ms,
                        source=f"w{index % 9}", author=f"a{int(chance.integers(5_000))}", title=f"What was said in {minute} {index}",
                        excerpt="A sentence of the usual length, such as a card on the page shows to its reader.",
                        about=(names[subject],), rows=tuple(own),
                    )
                )  # fmt: skip
        for home, documents in parts.items():
            batch = ScoredBatch(partition=0, offset=minute, documents=documents, model="bench")
            made.append((home, msgspec.json.encode(batch), start_ms))
    return made


async def run(asked: Asked, settings: Settings) -> dict[str, Any]:
    """All figures. Raises BrokerAway, RedisAway."""
    topology = Topology(settings.prefix)
    await create.create(settings, topology)
    written = records(asked, topology, time.time_ns() // 60_000_000_000 * 60_000 - 300_000)
    producer = await open_producer(settings)
    for at in range(0, len(written), 5_000):
        await acknowledged(
            [
                await producer.send(topology.name(SCORED), value, partition=home, timestamp_ms=at_ms)
                for home, value, at_ms in written[at : at + 5_000]
            ]
        )
    await close_producer(producer)
    documents = round(asked.hours * 60 * asked.documents_a_minute)
    redis = await open_redis(settings)
    try:
        detected = await _once(settings, topology, redis, asked, documents)
        kept = await _kept(settings, topology)
        counted = await _once(settings, topology, redis, asked, documents, notices=True)
    finally:
        await redis.aclose()
    noticed = counted.pop("noticed_s")
    held = {
        "at_least_20_times_real_time": min(detected["times_real_time"], counted["times_real_time"]) >= 20,
        "noticed_within_5_s": max(noticed) <= 5.0,
    }
    return {
        "asked": vars(asked) | {"documents": documents, "records": len(written), "cores": os.cpu_count()},
        "detected": detected,
        "counted": counted,
        "checkpoint": kept,
        "noticed_s": {"median": statistics.median(noticed), "max": max(noticed), "tries": len(noticed)},
        "held": held,
        "passed": all(held.values()),
    }


async def _once(
    settings: Settings, topology: Topology, redis: RedisClient, asked: Asked, documents: int, *, notices: bool = False
) -> dict[str, Any]:
    """One process on an empty database; with `notices` it is emptied again when all is quiet, some times."""
    await redis.flushdb()
    began_s = time.monotonic()
    environment = os.environ | {
        f"GROUNDSWELL_{name.upper()}": getattr(settings, name) for name in ("kafka", "redis", "prefix")
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "groundswell", "aggregate", env=environment, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await _whole(topology, redis)
        seconds = time.monotonic() - began_s
        resident_mb, cpu_s = _of(process.pid)
        found: dict[str, Any] = {
            "seconds": round(seconds, 1), "times_real_time": round(asked.hours * 3_600 / seconds), "cpu_s": round(cpu_s, 1),
            "documents_a_second": round(documents / seconds), "resident_mb": resident_mb,
        }  # fmt: skip
        if notices:
            found["noticed_s"] = [await _noticed(topology, redis) for _ in range(TRIES)]
    finally:
        process.terminate()
        await process.wait()
    return found


async def _whole(topology: Topology, redis: RedisClient) -> None:
    """Wait until no partition is counted any more."""
    keys, partitions = Keys(topology.prefix), topology.partitions(SCORED)
    async with asyncio.timeout(WAIT_S):
        while True:
            now = (await redis.get(keys.generation) or b"").decode().partition(":")[0]
            if now and (await progress(redis, keys, now, partitions)).done == partitions:
                return
            await asyncio.sleep(0.1)


async def _noticed(topology: Topology, redis: RedisClient) -> float:
    await asyncio.sleep(np.random.default_rng().uniform(2, 4))
    await redis.flushdb()
    keys, began_s = Keys(topology.prefix), time.monotonic()
    states = [keys.state(number) for number in range(topology.partitions(SCORED))]
    async with asyncio.timeout(WAIT_S):
        while await redis.exists(*states) < len(states):  # noqa: ASYNC110 - another process writes them
            await asyncio.sleep(0.02)
    seconds = round(time.monotonic() - began_s, 2)
    await _whole(topology, redis)
    return seconds


async def _kept(settings: Settings, topology: Topology) -> dict[str, Any]:
    values: list[bytes] = []

    async def take(more: list[bytes]) -> None:
        values.extend(more)

    async with readback.reader(settings, topology, BASELINES) as consumer:
        await readback.read(consumer, *await readback.bounds(consumer), take)
    found = [(value, one) for value in values if isinstance(one := baselines.decode(value), baselines.Checkpoint)]
    newest = {(one.partition, one.part): (value, one) for value, one in found}.values()
    subjects, size = sum(len(one.subjects) for _, one in newest), sum(len(value) for value, _ in newest)
    producer = await open_producer(settings)
    began_s = time.perf_counter()
    for _, one in newest:
        await baselines.write(producer, topology, [one])
    ended_s = time.perf_counter()
    await close_producer(producer)
    return {
        "records": len(newest), "bytes": size, "bytes_a_subject": round(size / max(subjects, 1)), "seconds": round(ended_s - began_s, 2)
    }  # fmt: skip


def _of(pid: int) -> tuple[int, float]:
    """Resident megabytes and processor seconds of a process."""
    about = Path("/proc") / str(pid)
    pages = int((about / "statm").read_text(encoding="ascii").split()[1])
    fields = (about / "stat").read_text(encoding="ascii").rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return round(pages * resource.getpagesize() / 1_048_576), ticks / os.sysconf("SC_CLK_TCK")


def _delete(settings: Settings) -> None:
    """The topics of this run."""
    client = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    wanted = Topology(settings.prefix).wanted()
    for deleted in client.delete_topics(
        [name for name in client.list_topics(timeout=10).topics if name in wanted]
    ).values():
        deleted.result(timeout=10)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.rebuild", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--redis", required=True, help="a database that may be emptied")
    parser.add_argument("--hours", type=float, default=Asked.hours)
    parser.add_argument("--subjects", type=int, default=Asked.subjects)
    parser.add_argument("--documents-a-minute", type=float, default=Asked.documents_a_minute)
    parser.add_argument("--seed", type=int, default=Asked.seed)
    parser.add_argument("--prefix", default="")
    found = parser.parse_args(arguments)
    asked = Asked(found.hours, found.subjects, found.documents_a_minute, found.seed)
    settings = Settings(kafka=found.kafka, redis=found.redis, prefix=found.prefix or f"rebuild{os.getpid()}")
    try:
        report = asyncio.run(run(asked, settings))
    except BrokerAway as error:
        sys.stderr.write(f"{error.line}\n")
        return 2
    finally:
        _delete(settings)
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
