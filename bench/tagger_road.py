"""The tagger as it really runs: from start to ready, one document's wait, memory, and from Kafka to Kafka; next: tagger.py.

A broker, a Redis and a `groundswell tag` of its own, as `groundswell up` would start them; and beside it the model's
process alone, asked by this one. Times are those of the wall, since waiting is what they are about: on a busy machine
read the processor seconds beside them. Reads /proc, so it runs on Linux only.
"""

import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.paired import ratio
from groundswell import settings as all_settings
from groundswell.clients.connect import RedisClient, acknowledged, close_producer, open_producer, open_redis
from groundswell.errors import Misconfigured
from groundswell.keys import Keys
from groundswell.records import Document, Mention
from groundswell.running import beat, books, embedded
from groundswell.settings import Settings
from groundswell.tagging import Text
from models.batcher import Batcher
from models.tagger import ModelProcess
from stream import create
from stream.topology import DOCUMENTS, Topology

Deal = Callable[[int], list[Text]]

SUBJECTS = ("XNAS:AAPL", "XNYS:JPM", "XHKG:0700", "XSHG:600519", "XSHE:300750")
WAIT_S = 120.0
LOOK_S = 0.01
# Texts that the model alone is asked together, and how many callers at a time: as many as keep its queue filled.
CHUNK, TOGETHER = 64, 8


class TagSlow(Misconfigured):
    """The tag process did not do what the benchmark waits for."""

    reason = "tag_slow"
    remedy = "Its log follows."


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    starts: int = 3
    rounds: int = 7
    documents: int = 1_500  # each round
    singles: int = 500  # asked one by one of an idle model
    load_s: float = 8.0  # under each load


@dataclass
class Used:
    """A process and its children: processor seconds and resident bytes, by process, the first one itself."""

    cpu_s: list[float] = field(default_factory=list)
    bytes: list[int] = field(default_factory=list)


async def measure(model: str, deal: Deal, size: Size, told: Callable[[str, float], None]) -> dict[str, Any]:
    """All figures of this file. Raises TagSlow with the end of the log, and what `deal` raises."""
    told("starting the broker", 0.0)
    async with services(model) as (settings, topology, redis):
        starts = []
        for n in range(size.starts - 1):
            told("tag from start to ready", n / size.starts)
            async with tag(settings, topology, redis) as (started, _):
                starts.append(started)
        device = ModelProcess(model)
        alone = Batcher([device])
        await alone.start()
        try:
            told("single documents", 0.0)
            waits = await latencies(alone, device, deal, size, told)
            async with tag(settings, topology, redis) as (started, process):
                starts.append(started)
                road = await kafka_to_kafka(settings, topology, redis, process, alone, device, deal, size, told)
        finally:
            await alone.stop()
    return {
        "start": {name: round(float(np.median([each[name] for each in starts])), 2) for name in starts[0]},
        "latency": waits,
        **road,
    }


@asynccontextmanager
async def services(model: str) -> AsyncIterator[tuple[Settings, Topology, RedisClient]]:
    topology = Topology("groundswell")
    own = await embedded.start(topology.wanted())
    try:
        with tempfile.TemporaryDirectory() as folder:
            settings = Settings(
                kafka=own.services.kafka, redis=own.services.redis, model=model, state_dir=folder, log_level="warning"
            )
            await create.mark_incarnation(settings, topology)
            redis = await open_redis(settings)
            try:
                yield settings, topology, redis
            finally:
                await redis.aclose()
    finally:
        await own.stop()


@asynccontextmanager
async def tag(
    settings: Settings, topology: Topology, redis: RedisClient
) -> AsyncIterator[tuple[dict[str, float], asyncio.subprocess.Process]]:
    """A running `groundswell tag`, ready, with what its start cost."""
    keys = Keys(topology.prefix)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(all_settings.PREFIX)}
    log = Path(settings.state_dir) / "tag.log"
    with log.open("wb") as out:
        began = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "groundswell", "tag"),
            env=clean | all_settings.environment(settings),
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:

        async def beats() -> bool:
            return any(one.pid == process.pid for one in await beat.beats(redis, keys))

        await until(beats, process, log)
        wall_s, cost = time.monotonic() - began, used(process.pid)
        yield {"wall_s": wall_s, "cpu_s": sum(cost.cpu_s), "parent_cpu_s": cost.cpu_s[0]}, process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), 15)
            except TimeoutError:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


async def until(true: Callable[[], Any], process: asyncio.subprocess.Process, log: Path) -> None:
    end_s = time.monotonic() + WAIT_S
    while not await true():
        if process.returncode is not None or time.monotonic() > end_s:
            last = await asyncio.to_thread(lambda: log.read_text("utf-8", "replace")[-2_000:])
            raise TagSlow(
                f"groundswell tag {'ended' if process.returncode is not None else 'took too long'}", remedy=last
            )
        await asyncio.sleep(LOOK_S)


async def latencies(
    model: Batcher, device: ModelProcess, deal: Deal, size: Size, told: Callable[[str, float], None]
) -> dict[str, Any]:
    """Milliseconds from asking to the answer for one document: of an idle model, and while others come by chance at a
    share of what it can do. A wait counts from when the document came, not from when it was its turn."""
    await asked_in_chunks(model, deal(size.documents // 2))
    documents = max(size.documents, CHUNK)
    began = time.perf_counter()
    await asked_in_chunks(model, deal(documents))
    a_second = documents / (time.perf_counter() - began)
    found: dict[str, Any] = {"documents_a_second_at_full_load": round(a_second)}
    waits, before = [], used(device.pid or 0)
    for text in deal(size.singles):
        began = time.perf_counter()
        await model.tag([text])
        waits.append(time.perf_counter() - began)
        await asyncio.sleep(0.005)
    cpu_s = sum(used(device.pid or 0).cpu_s) - sum(before.cpu_s)
    found["idle"] = in_ms(waits) | {"child_cpu_ms": round(1e3 * cpu_s / size.singles, 1)}
    for n, share in enumerate((0.1, 0.5)):
        told(f"single documents at {share:.0%} load", (n + 1) / 3)
        found[f"load_{share:.0%}".rstrip("%")] = in_ms(await loaded(model, deal, share * a_second, size.load_s))
    return found


async def loaded(model: Batcher, deal: Deal, a_second: float, seconds: float) -> list[float]:
    rng = random.Random(1)
    due, waits = 0.0, list[float]()
    texts = deal(max(int(a_second * seconds), 20))

    async def one(text: Text, came: float) -> None:
        await model.tag([text])
        waits.append(time.perf_counter() - came)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for text in texts:
            due += rng.expovariate(a_second)
            await asyncio.sleep(max(began + due - time.perf_counter(), 0))
            group.create_task(one(text, began + due))
    return waits


async def asked_in_chunks(model: Batcher, texts: Sequence[Text]) -> None:
    chunks = iter([texts[n : n + CHUNK] for n in range(0, len(texts), CHUNK)])

    async def ask() -> None:
        for chunk in chunks:
            await model.tag(chunk)

    await asyncio.gather(*(ask() for _ in range(TOGETHER)))


async def kafka_to_kafka(
    settings: Settings, topology: Topology, redis: RedisClient, process: asyncio.subprocess.Process,
    alone: Batcher, device: ModelProcess, deal: Deal, size: Size, told: Callable[[str, float], None],
) -> dict[str, Any]:  # fmt: skip
    """Documents on Kafka until all are tagged on Kafka, against the same number asked of the model alone, in turns."""
    producer = await open_producer(settings)
    numbers, rng = count(), random.Random(1)
    whole_s, alone_s = list[float](), list[float]()
    whole_cpu_s, parent_cpu_s, alone_cpu_s = list[float](), list[float](), list[float]()
    done = 0

    async def through_tag() -> float:
        nonlocal done
        messages = [message(text, next(numbers)) for text in deal(size.documents)]
        done += len(messages)
        before, began = used(process.pid), time.perf_counter()
        name = topology.name(DOCUMENTS)
        await acknowledged([await producer.send(name, value) for value in messages])

        async def all_tagged() -> bool:
            return (await books.total(redis, Keys(topology.prefix), "tag")).applied >= done

        await until(all_tagged, process, Path(settings.state_dir) / "tag.log")
        took = time.perf_counter() - began
        after = used(process.pid)
        parent_cpu_s.append(after.cpu_s[0] - before.cpu_s[0])
        whole_cpu_s.append(sum(after.cpu_s) - sum(before.cpu_s))
        return took

    async def asked_alone() -> float:
        texts = deal(size.documents)
        before, began = used(device.pid or 0), time.perf_counter()
        await asked_in_chunks(alone, texts)
        took = time.perf_counter() - began
        alone_cpu_s.append(sum(used(device.pid or 0).cpu_s) - sum(before.cpu_s))
        return took

    try:
        await through_tag()
        await asked_alone()
        for warm in (parent_cpu_s, whole_cpu_s, alone_cpu_s):
            warm.clear()
        for n in range(size.rounds):
            told("tag from Kafka to Kafka", n / size.rounds)
            for turn in rng.sample((through_tag, asked_alone), 2):
                (whole_s if turn is through_tag else alone_s).append(await turn())
    finally:
        await close_producer(producer)
    memory = used(process.pid)
    documents = size.documents
    children = [whole - parent for whole, parent in zip(whole_cpu_s, parent_cpu_s, strict=True)]
    return {
        "memory_mb": {
            "total": round(sum(memory.bytes) / 1e6),
            "parent": round(memory.bytes[0] / 1e6),
            "child": round(sum(memory.bytes[1:]) / 1e6),
        },
        "tag": {
            "share_of_model_alone": rounded(alone_s, whole_s),
            "cpu_share_of_model_alone": rounded(alone_cpu_s, children),
            "documents_a_second": round(documents / float(np.median(whole_s))),
            "model_alone_documents_a_second": round(documents / float(np.median(alone_s))),
            "parent_cpu_ms_a_document": round(1e3 * float(np.median(parent_cpu_s)) / documents, 3),
            "child_cpu_ms_a_document": round(1e3 * float(np.median(children)) / documents, 3),
            "model_alone_cpu_ms_a_document": round(1e3 * float(np.median(alone_cpu_s)) / documents, 3),
            "rounds": len(whole_s),
        },
    }


def rounded(above: Sequence[float], below: Sequence[float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in ratio(above, below)._asdict().items()}


def message(text: Text, number: int) -> bytes:
    """A record of one document, as a live feed's are."""
    now_ms = time.time_ns() // 1_000_000
    mentions = [Mention(SUBJECTS[n % len(SUBJECTS)], *span) for n, span in enumerate(text.spans)]
    document = Document(
        id=f"bench-{number}", text=text.text, source="bench", author=f"a{number}", lang=text.lang,  # type: ignore[arg-type]
        published_at=now_ms, ingested_at=now_ms, mentions=mentions,
    )  # fmt: skip
    return msgspec.json.encode([document])


def in_ms(waits_s: Sequence[float]) -> dict[str, float]:
    p50, p99 = np.percentile(np.array(waits_s) * 1e3, (50, 99))
    return {"p50_ms": round(float(p50), 1), "p99_ms": round(float(p99), 1), "n": len(waits_s)}


def used(pid: int) -> Used:
    """Of a process and all below it; what has ended counts with its parent's children."""
    found, waiting = Used(), [pid]
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    while waiting:
        at = Path("/proc") / str(waiting.pop(0))
        try:
            fields = (at / "stat").read_text("ascii", "replace").rpartition(")")[2].split()
            waiting += [
                int(child) for task in (at / "task").iterdir() for child in (task / "children").read_text().split()
            ]
        except OSError:
            continue
        found.cpu_s.append((int(fields[11]) + int(fields[12])) / ticks)
        found.bytes.append(int(fields[21]) * page)
    return found
