"""How many rows a second one process counts, and what a count costs: `groundswell bench aggregate [--json]`, on a real Redis.

The same encoded records go, in turns, through decode + fold + one compare-and-set a batch (what aggregate does to count), through its whole
`process` with the detector, and through what others would do: a Lua script for each row with the same guarantee, pipelined HINCRBY with
none, and a Faust table (aggregate_faust.py; its rows cross a broker, as they must). Every contender's counts are compared at the end.
The Redis is of the run's own, with an append-only file. bench/claims.py measures claims, bench/rebuild.py the time to count again.

JSON keys:
  asked        records, rows, documents_a_record, rows_a_document, batch_bytes, rounds, cores, load, redis
  rows_a_second {ours, stage, lua_a_row, hincrby, faust}   by the clock, the median of the rounds; stage: with detector and lists
  rows_a_cpu_second        likewise by the processor's time of this process: without Redis, and without Faust's, which is another
  ratios       {lua_a_row, hincrby, faust}: ours over each, paired in rounds: median, low, high (by the clock; faust of one run)
  counts_equal all hold the same counts (a Faust table: the same sum)
  bytes_a_subject_minute   of Redis at 6 live minutes an hour, keys and expiry included
  memory       {subjects, resident_mb, before_mb, bytes_a_subject}: window and detector of so many subjects, three hours of 6 minutes each
  latency      {valid, why, p50_ms, p99_ms, documents, a_second, cores}: acknowledged by the broker to counted in Redis, through
               ingest, tag with the recorded tagger, and aggregate
  promises     [{name, value, required, met}]; passed: all of them that are required
"""

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import msgspec
from redis.asyncio import Redis

from bench.chaos_services import OwnRedis, services
from bench.paired import ratio
from bench.surge_road import directory, policy
from groundswell import telemetry
from groundswell.clients.connect import RedisClient
from groundswell.clock import SystemClock
from groundswell.errors import GroundswellError
from groundswell.keys import HOUR_MS, MINUTE_MS, Keys, unpack_bucket
from groundswell.records import Row, ScoredBatch, ScoredDocument
from stream.aggregate import AggregateWork
from stream.detection.case import HISTORY_STEPS
from stream.partition_loop import Bounds
from stream.store import Store, Writes
from stream.topology import Topology
from stream.windows import Window, advance, closes_ms, cold, mark, stretch

SUBJECTS, START_MS = 47, 1_700_000_000_000 // HOUR_MS * HOUR_MS
LATENESS_MS = 30_000
REQUIRED_ROWS, GOAL_ROWS, REQUIRED_TIMES, REQUIRED_BYTES, GOAL_P99_MS = 300_000, 600_000, 2.0, 50, 500.0
LABELS: tuple[Literal["negative", "neutral", "positive"], ...] = ("negative", "neutral", "positive")
# What a careful program does without a fold: the mark and the counter of one row, at once.
LUA_A_ROW = """
if tonumber(ARGV[1]) <= tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or '-1') then return 0 end
redis.call('HINCRBY', KEYS[2], ARGV[3], 1)
if ARGV[4] == '1' then redis.call('HSET', KEYS[1], ARGV[2], ARGV[1]) end
return 1
"""
Counts = dict[tuple[str, int], tuple[int, ...]]
Told = Callable[[str], None]


@dataclass(frozen=True)
class Asked:
    """How much. `rows_a_document`: of one scored partition; a company, the market or a topic is one each."""

    records: int = 3_000
    documents_a_record: int = 50
    rows_a_document: int = 1
    batch_bytes: int = Bounds().batch_bytes  # of records, as PartitionLoop hands them over
    rounds: int = 5
    subjects: int = 10_000  # of the memory
    latency_s: float = 20.0
    a_second: int = 1_000
    faust: bool = True
    latency: bool = True


def made(asked: Asked) -> list[bytes]:
    """Encoded records in order; what stands in a document beside its rows is as long as it is in earnest."""
    found = []
    for offset in range(asked.records):
        documents = []
        for index in range(asked.documents_a_record):
            number = offset * asked.documents_a_record + index
            at_ms = START_MS + number * 40
            rows = [
                Row(f"XBEN:S{(number * 7 + i) % SUBJECTS:03d}", LABELS[(number + i) % 3], 0.4)
                for i in range(asked.rows_a_document)
            ]
            documents.append(
                ScoredDocument(
                    index=index, id=f"d{number}", story=f"{number:024x}", published_at=at_ms, ingested_at=at_ms + 300, source="forum",
                    author=f"{number:016x}", feed="comments", excerpt="A sentence of the usual length, such as a card shows to its reader.",
                    about=(rows[0].subject,), rows=tuple(rows),
                )
            )  # fmt: skip
        found.append(msgspec.json.encode(ScoredBatch(partition=3, offset=offset, documents=documents, model="bench")))
    return found


async def run(asked: Asked, told: Told = lambda _: None) -> dict[str, Any]:
    """All figures. Raises NoServices."""
    records = made(asked)
    rows = asked.records * asked.documents_a_record * asked.rows_a_document
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        own = OwnRedis(folder / "own")
        await own.start()
        redis: RedisClient = Redis.from_url(own.address)
        try:
            took, per_cpu, same = await _in_turns(asked, records, redis, told)
            told("bytes")
            size = await bytes_a_subject_minute(redis)
            version = (await redis.info("server"))["redis_version"]
        finally:
            await redis.aclose()
            await own.stop()
        told("memory")
        memory = await asyncio.to_thread(_memory, asked.subjects)
        faust, latency = None, None
        if asked.faust or asked.latency:
            async with services(folder / "both") as (kafka, second):
                if asked.faust:
                    told("a Faust table")
                    faust = await _faust(kafka.address, records, rows)
                if asked.latency:
                    told(f"latency at {asked.a_second:,} documents a second")
                    from bench.aggregate_latency import latency as measured

                    latency = await measured(kafka, second, folder / "road", asked.a_second, asked.latency_s)
    return _report(asked, rows, took, per_cpu, same, size, memory, faust, latency, version)


async def _in_turns(
    asked: Asked, records: Sequence[bytes], redis: RedisClient, told: Told
) -> tuple[dict[str, list[float]], dict[str, list[float]], bool]:
    """Seconds by the clock and of this process's processor, per contender and round; whether all counted alike."""
    ways: dict[str, Callable[[], Awaitable[Counts]]] = {
        "ours": lambda: ours(records, redis, asked.batch_bytes),
        "stage": lambda: stage(records, redis, asked.batch_bytes),
        "lua_a_row": lambda: lua_a_row(records, redis),
        "hincrby": lambda: hincrby(records, redis),
    }
    took: dict[str, list[float]] = defaultdict(list)
    cpu: dict[str, list[float]] = defaultdict(list)
    counts: list[Counts] = []
    for number in range(asked.rounds):
        for name, way in list(ways.items())[:: 1 if number % 2 else -1]:
            told(f"{name}, round {number + 1} of {asked.rounds}")
            await redis.flushall()
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            counts.append(await way())
            took[name].append(time.perf_counter() - wall_s)
            cpu[name].append(time.process_time() - cpu_s)
    return took, cpu, all(one == counts[0] for one in counts)


def batches(records: Sequence[bytes], batch_bytes: int) -> Iterator[tuple[int, Sequence[bytes]]]:
    """(offset of the first, records) of each batch; a larger record goes alone."""
    start = size = 0
    for end, value in enumerate(records):
        size += len(value)
        if end > start and (size > batch_bytes or end - start >= Bounds().batch_records):
            yield start, records[start:end]
            start, size = end, len(value)
    yield start, records[start:]


async def ours(records: Sequence[bytes], redis: RedisClient, batch_bytes: int) -> Counts:
    """As stream/aggregate.py counts: decode, read what memory lacks, fold, one compare-and-set a batch. No detector."""
    store, window, decode = Store(redis, Keys("bench"), "bench"), Window(), msgspec.json.Decoder(ScoredBatch).decode
    loaded = await store.take_up(0, 0)
    revision = loaded.revision
    for offset, values in batches(records, batch_bytes):
        for value in values:
            batch, at = decode(value), 0
            await store.fetch(0, window, cold(window, batch))
            while at < len(batch.documents):
                advance(window, batch.documents[at : at + 1], LATENESS_MS)
                window.closed_ms = max(window.closed_ms, window.watermark_ms // MINUTE_MS * MINUTE_MS)
                until_ms = closes_ms(window, MINUTE_MS, LATENESS_MS)
                _, at = stretch(window, batch, at, lateness_ms=LATENESS_MS, until_ms=until_ms)
        writes = Writes()
        store.write_window(0, window, offset + len(values), writes)
        revision = await store.commit(0, loaded.owner, revision, writes)
        window.touched.clear()
        window.forget(window.closed_ms - (HISTORY_STEPS + 1) * MINUTE_MS)
    return await _buckets(redis)


async def stage(records: Sequence[bytes], redis: RedisClient, batch_bytes: int) -> Counts:
    """All that stream/aggregate.py does with a batch: also the detector, the documents that pages list, and what it tells."""
    known = directory()
    store = Store(redis, Keys("bench"), "bench")
    work = AggregateWork(
        Topology("bench"), store, cast(Any, None), known, policy(known), SystemClock(), idle_s=60.0, event_time=True
    )
    await work.assigned(0)
    for offset, values in batches(records, batch_bytes):
        await work.process(0, [_Record(offset + i, value) for i, value in enumerate(values)])
    return await _buckets(redis)


class _Record(NamedTuple):
    offset: int
    value: bytes
    partition: int = 0


async def _buckets(redis: RedisClient) -> Counts:
    found: Counts = {}
    async for key in redis.scan_iter(match="bench:{s0}:b:*", count=1_000):
        subject, _, hour = key.decode().partition("}:b:")[2].rpartition(":")
        for minute, packed in (await redis.hgetall(key)).items():
            bucket = unpack_bucket(packed)
            at_ms = int(hour) * HOUR_MS + minute[0] * MINUTE_MS
            found[subject, at_ms] = (bucket.negative, bucket.neutral, bucket.positive)
    return found


async def lua_a_row(records: Sequence[bytes], redis: RedisClient) -> Counts:
    """The same guarantee the plain way: a script for each row, a record's scripts in one round trip."""
    decode, script = msgspec.json.Decoder(ScoredBatch).decode, await redis.script_load(LUA_A_ROW)
    for value in records:
        batch = decode(value)
        pipeline = redis.pipeline(transaction=False)
        for document in batch.documents:
            minute = document.published_at // MINUTE_MS * MINUTE_MS
            last, here = len(document.rows) - 1, mark(batch.offset, document.index)
            for i, row in enumerate(document.rows):
                pipeline.evalsha(
                    script,
                    2,
                    "marks",
                    f"b:{row.subject}",
                    here,
                    batch.partition,
                    f"{minute}:{row.label}",
                    int(i == last),
                )
        await pipeline.execute()
    return await _hashes(redis)


async def hincrby(records: Sequence[bytes], redis: RedisClient) -> Counts:
    """No guarantee at all: what is read twice counts twice. A record's rows are summed first."""
    decode = msgspec.json.Decoder(ScoredBatch).decode
    for value in records:
        batch = decode(value)
        pipeline = redis.pipeline(transaction=False)
        for document in batch.documents:
            minute = document.published_at // MINUTE_MS * MINUTE_MS
            for row in document.rows:
                pipeline.hincrby(f"b:{row.subject}", f"{minute}:{row.label}", 1)
        await pipeline.execute()
    return await _hashes(redis)


async def _hashes(redis: RedisClient) -> Counts:
    counts: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0, 0, 0])
    async for key in redis.scan_iter(match="b:*"):
        for field, count in (await redis.hgetall(key)).items():
            minute, _, label = field.decode().partition(":")
            counts[key.decode()[2:], int(minute)][LABELS.index(label)] = int(count)
    return {where: tuple(counters) for where, counters in counts.items()}


async def bytes_a_subject_minute(redis: RedisClient, subjects: int = 500, hours: int = 24) -> float:
    """Written as aggregate writes; all that Redis holds more of afterwards, by live minute."""
    await redis.flushall()
    store, before = Store(redis, Keys("bench"), "bench"), int((await redis.info("memory"))["used_memory"])
    loaded, minutes = await store.take_up(0, 0), 0
    revision = loaded.revision
    for hour in range(hours):
        window, writes = Window(), Writes()
        for subject in range(subjects):
            for minute in range(0, 60, 10):
                at_ms = START_MS + hour * HOUR_MS + minute * MINUTE_MS
                window.touch(f"XBEN:S{subject:05d}", at_ms)[:] = [1, 2, 1, 0, 3]
                minutes += 1
        store.write_window(0, window, hour, writes)
        revision = await store.commit(0, loaded.owner, revision, writes)
    await asyncio.sleep(1.0)  # buffers of the connection go
    return round((int((await redis.info("memory"))["used_memory"]) - before) / minutes, 1)


def _memory(subjects: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.aggregate_memory", str(subjects)]
    found: dict[str, Any] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


async def _faust(kafka: str, records: Sequence[bytes], rows: int) -> dict[str, Any]:
    from bench import aggregate_faust

    return await aggregate_faust.measure(kafka, records, rows)


def _report(
    asked: Asked, rows: int, took: dict[str, list[float]], cpu: dict[str, list[float]], same: bool, size: float,
    memory: dict[str, Any], faust: dict[str, Any] | None, latency: dict[str, Any] | None, version: str,
) -> dict[str, Any]:  # fmt: skip
    pace = {name: round(rows / statistics.median(each)) for name, each in took.items()}
    ratios: dict[str, Any] = {
        name: dict(zip(("median", "low", "high"), (round(one, 2) for one in ratio(took[name], took["ours"])), strict=True))
        for name in took if name not in ("ours", "stage")
    }  # fmt: skip
    if faust is not None:
        pace["faust"] = faust["rows_a_second"]
        ratios["faust"] = {"median": round(pace["ours"] / faust["rows_a_second"], 2)}
        same = same and faust["rows"] == rows
    best = min(one["median"] for one in ratios.values())
    promises = [
        {"name": "rows a second", "value": pace["ours"], "required": REQUIRED_ROWS, "goal": GOAL_ROWS,
         "met": pace["ours"] >= REQUIRED_ROWS},
        {"name": "times the best other", "value": best, "required": REQUIRED_TIMES, "met": best >= REQUIRED_TIMES},
        {"name": "bytes a live subject-minute", "value": size, "required": REQUIRED_BYTES, "met": size <= REQUIRED_BYTES},
        {"name": "all count alike", "value": same, "required": True, "met": same},
    ]  # fmt: skip
    if latency is not None:
        promises.append(
            {"name": "p99 from broker to Redis, ms", "value": latency["p99_ms"], "goal": GOAL_P99_MS, "met": None}
        )
    return {
        "asked": {"records": asked.records, "rows": rows, "documents_a_record": asked.documents_a_record,
                  "rows_a_document": asked.rows_a_document, "batch_bytes": asked.batch_bytes, "rounds": asked.rounds,
                  "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "redis": version},
        "rows_a_second": pace, "rows_a_cpu_second": {name: round(rows / statistics.median(each)) for name, each in cpu.items()},
        "ratios": ratios, "counts_equal": same, "bytes_a_subject_minute": size, "memory": memory, "faust": faust, "latency": latency,
        "promises": promises, "passed": all(one["met"] is not False for one in promises),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the promises hold, 1 when one does not (with --assert), 2 when it could not be measured."""
    from bench import counting_view

    default = Asked()
    parser = argparse.ArgumentParser(prog="groundswell bench aggregate", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--records", type=int, default=default.records)
    parser.add_argument("--rows-a-document", type=int, default=default.rows_a_document)
    parser.add_argument("--rounds", type=int, default=default.rounds)
    parser.add_argument("--subjects", type=int, default=default.subjects, help="for the memory (%(default)s)")
    parser.add_argument(
        "--a-second", type=int, default=default.a_second, help="documents, for the latency (%(default)s)"
    )
    parser.add_argument("--latency-s", type=float, default=default.latency_s)
    parser.add_argument("--no-faust", action="store_true")
    parser.add_argument("--no-latency", action="store_true")
    parser.add_argument("--picture", type=Path, help="draw the bars there: .svg or .png")
    parser.add_argument("--assert", dest="strict", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    asked = Asked(
        records=given.records, rows_a_document=given.rows_a_document, rounds=given.rounds, subjects=given.subjects,
        a_second=given.a_second, latency_s=given.latency_s, faust=not given.no_faust, latency=not given.no_latency,
    )  # fmt: skip
    telemetry.configure("console", "warning", stage="bench")
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        report = asyncio.run(run(asked, lambda what: print(f"… {what}", file=sys.stderr)))
    except GroundswellError as error:
        print(error.line, file=sys.stderr)
        return 2
    if given.picture:
        counting_view.draw(report["rows_a_second"], "rows a second", given.picture)
    print(json.dumps(report) if given.json else counting_view.table(report))
    return 1 if given.strict and not report["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
