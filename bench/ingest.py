"""What the way in costs: `groundswell bench ingest [--json]`, on a Kafka and a Redis of its own.

The same documents wait on the input topic, once as messages of one, once in arrays of 100; `groundswell ingest` reads them. Beside
it a plain aiokafka loop, in a process of its own too, that decodes each message of one, encodes it again, sends it on and commits: no
cleaning, no linking, no language, no ids. Timed from the first documents that came out to the last, by the books of ingest (by the broker's
end offsets for the plain loop) and by the processor's time of the process.

JSON keys:
  asked          documents {single, arrays, bare}, cores, load
  documents_a_second {single, arrays, bare}, documents_a_cpu_second {...}
  ratios         {single_to_bare, arrays_to_single}: by the processor's time; by_clock: the same by the clock
  us_a_document  {decode, normalise, language, link, encode, other, all}: what is done for each, in an array too (ingest_split.py)
  us_a_message   what a message of one costs beyond its document: the road there and on, as measured
  promises       [{name, value, required, met}]; passed. `bound` of arrays/single: what it could be if a message cost nothing
"""

import argparse
import asyncio
import json
import logging
import os
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bench.chaos_services import OwnKafka, OwnRedis, services
from bench.ingest_split import split
from groundswell import settings as all_settings
from groundswell.clients.connect import acknowledged, close_producer, open_consumer, open_producer, open_redis
from groundswell.demo import script
from groundswell.errors import Fatal, GroundswellError
from groundswell.keys import Keys
from groundswell.running import books
from groundswell.settings import Settings
from groundswell.text import safe
from stream import create
from stream.topology import DOCUMENTS, NEWS, Topology

ARRAY, LOOK_S, DONE_S = 100, 0.05, 300.0
SPLIT = 5_000  # documents for the parts of the time of one
REQUIRED_SINGLE, REQUIRED_ARRAYS = 0.12, 15.0
Told = Callable[[str], None]


class TooSlow(Fatal):
    """What is measured did not come to its end."""

    reason = "too_slow"


@dataclass(frozen=True)
class Asked:
    """Documents of each row."""

    single: int = 60_000
    arrays: int = 60_000
    bare: int = 60_000


def documents(count: int, seed: int = 1) -> list[dict[str, Any]]:
    """Short posts, some of which name a company of the demo."""
    chance = random.Random(seed)
    names = ("Blue Whale Biotech", "Staranchor Shipping", "Tallarn Semiconductor", "nobody in particular")
    return [
        {
            "id": f"{seed}-{number}", "source": f"forum{number % 7}", "author": f"reader{number % 9_973}",
            "published_at": 1_700_000_000_000 + number,
            "text": f"{chance.choice(names)}: {' '.join(f'{chance.getrandbits(30):x}' for _ in range(14))}, said one who knows.",
        }
        for number in range(count)
    ]  # fmt: skip


async def run(asked: Asked, told: Told = lambda _: None) -> dict[str, Any]:
    """All figures. Raises NoServices, TooSlow."""
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        async with services(Path(name)) as (kafka, redis):
            for row, count, many in (
                ("single", asked.single, 1),
                ("arrays", asked.arrays, ARRAY),
                ("bare", asked.bare, 1),
            ):
                told(f"{row}: {count:,} documents")
                found[row] = await _row(row, kafka, redis, Path(name), documents(count), many)
    clock = {row: one["a_second"] for row, one in found.items()}
    cpu = {row: one["a_cpu_second"] for row, one in found.items()}
    single, arrays = cpu["single"] / cpu["bare"], cpu["arrays"] / cpu["single"]
    told("where the time of a document goes")
    parts = await asyncio.to_thread(split, documents(SPLIT))
    promises = [
        {
            "name": "single / plain loop",
            "value": round(single, 3),
            "required": REQUIRED_SINGLE,
            "met": single >= REQUIRED_SINGLE,
        },
        {
            "name": "arrays of 100 / single",
            "value": round(arrays, 1),
            "required": REQUIRED_ARRAYS,
            "met": arrays >= REQUIRED_ARRAYS,
            "bound": round(1e6 / cpu["single"] / parts["all"], 1),
        },
    ]
    return {
        "asked": {"single": asked.single, "arrays": asked.arrays, "bare": asked.bare, "cores": os.cpu_count(),
                  "load": round(os.getloadavg()[0], 1)},
        "documents_a_second": {row: round(one) for row, one in clock.items()},
        "documents_a_cpu_second": {row: round(one) for row, one in cpu.items()},
        "ratios": {"single_to_bare": round(single, 3), "arrays_to_single": round(arrays, 1)},
        "by_clock": {"single_to_bare": round(clock["single"] / clock["bare"], 3),
                     "arrays_to_single": round(clock["arrays"] / clock["single"], 1)},
        "us_a_document": parts, "us_a_message": round(1e6 / cpu["single"] - parts["all"], 1),
        "promises": promises, "passed": all(one["met"] for one in promises),
    }  # fmt: skip


async def _row(
    row: str, kafka: OwnKafka, redis: OwnRedis, folder: Path, made: list[dict[str, Any]], many: int
) -> dict[str, float]:
    """Fill the input, start the process, and watch its output grow."""
    topology = Topology(f"in{secrets.token_hex(3)}")
    settings = Settings(
        kafka=kafka.address, redis=redis.address, prefix=topology.prefix, state_dir=str(folder / topology.prefix), log="json",
        log_level="warning", catalogues=[str(script.catalogue())],
    )  # fmt: skip
    await asyncio.to_thread(Path(settings.state_dir).mkdir)
    await create.create(settings, topology)
    producer = await open_producer(settings)
    for start in range(0, len(made), 5_000):
        some = made[start : start + 5_000]
        values = [json.dumps(some[i : i + many] if many > 1 else some[i]).encode() for i in range(0, len(some), many)]
        await acknowledged(
            [await producer.send(topology.name(NEWS), value, partition=i % 12) for i, value in enumerate(values)]
        )
    await close_producer(producer)
    command = ["-m", "bench.ingest", "--loop"] if row == "bare" else ["-m", "groundswell", "ingest"]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(all_settings.PREFIX)}
    log = folder / f"{row}.log"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, env=clean | all_settings.environment(settings), stdin=asyncio.subprocess.DEVNULL,
            stdout=said, stderr=said,
        )  # fmt: skip
    try:
        return await _watched(process, settings, topology, len(made), bare=row == "bare")
    except TooSlow as error:
        error.remedy = safe(log.read_text("utf-8", "replace")[-300:], 300)
        raise
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _watched(
    process: asyncio.subprocess.Process, settings: Settings, topology: Topology, total: int, *, bare: bool
) -> dict[str, float]:
    """Rates between the first look that sees something and the one that sees all."""
    redis = await open_redis(settings)
    consumer = await open_consumer(settings, None, [topology.name(DOCUMENTS)])
    end_s, first, seen = time.monotonic() + DONE_S, (0.0, 0.0, 0), 0
    try:
        while seen < total:
            if time.monotonic() > end_s or process.returncode is not None:
                raise TooSlow(f"{seen} of {total} documents came through.")
            if bare:  # a record a document
                seen = sum((await consumer.end_offsets(list(consumer.assignment()))).values())
            else:
                seen = (await books.total(redis, Keys(topology.prefix), "ingest")).applied
            if seen and not first[2]:
                first = (time.monotonic(), cpu_s(process.pid), seen)
            await asyncio.sleep(LOOK_S)
        last = (time.monotonic(), cpu_s(process.pid))
    finally:
        await consumer.stop()
        await redis.aclose()
    some = total - first[2]
    return {"a_second": some / (last[0] - first[0]), "a_cpu_second": some / max(last[1] - first[1], 0.01)}


def cpu_s(pid: int) -> float:
    """Processor seconds of a process so far; Linux only."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def loop() -> None:
    """The plain loop: decode, encode, send on, wait, commit. Until it is killed."""
    settings = all_settings.load(dict(os.environ))
    topology = Topology(settings.prefix)
    producer, consumer = (
        await open_producer(settings),
        await open_consumer(settings, f"{topology.prefix}-plain", [topology.name(NEWS)]),
    )
    while True:
        batches = await consumer.getmany(timeout_ms=200)
        sends = [
            await producer.send(
                topology.name(DOCUMENTS), msgspec.json.encode([msgspec.json.decode(record.value)]), key=record.key
            )
            for records in batches.values()
            for record in records
        ]
        await acknowledged(sends)
        if sends:
            await consumer.commit()


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the promises hold, 1 when one does not (with --assert), 2 when it could not be measured."""
    default = Asked()
    parser = argparse.ArgumentParser(prog="groundswell bench ingest", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--single", type=int, default=default.single, help="documents (%(default)s)")
    parser.add_argument("--arrays", type=int, default=default.arrays)
    parser.add_argument("--bare", type=int, default=default.bare)
    parser.add_argument("--picture", type=Path, help="draw the bars there: .svg or .png")
    parser.add_argument("--assert", dest="strict", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    if given.loop:
        asyncio.run(loop())
        return 0
    from bench import counting_view

    try:
        report = asyncio.run(
            run(Asked(given.single, given.arrays, given.bare), lambda what: print(f"… {what}", file=sys.stderr))
        )
    except GroundswellError as error:
        print(error.line, file=sys.stderr)
        return 2
    if given.picture:
        counting_view.draw(report["documents_a_cpu_second"], "documents a CPU second", given.picture)
    print(json.dumps(report) if given.json else counting_view.table(report))
    return 1 if given.strict and not report["passed"] else 0


if __name__ == "__main__":
    sys.exit(main())
