"""What PartitionLoop costs: `python -m bench.loop [--records N] [--rounds N] [--kafka HOST:PORT] [--json] [--assert]`, on a real Kafka.

Each record of a topic is written to another, once by a bare `getmany` and `send`, once as `Work` of a PartitionLoop, in turns; both
wait for the acknowledgement of what they fetched, and commit each second. The figure is the ratio of records a second, by the clock and by
the processor's time (which leaves out the machine's other work), from the first batch to the last acknowledgement.
Next: claims.py, tag's other cost beside its model.
"""

import argparse
import asyncio
import secrets
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from confluent_kafka.admin import AdminClient, NewTopic

from bench.paired import ratio
from groundswell.clients.connect import acknowledged, close_producer, open_consumer, open_producer
from groundswell.clock import SystemClock
from groundswell.errors import Poison
from groundswell.settings import Settings
from stream.partition_loop import Bounds, PartitionLoop, Record

PARTITIONS = 12
RECORD_BYTES = 400  # one short text with its fields
REQUIRED = 0.7
WAIT_S = 120.0

Run = Callable[[AIOKafkaConsumer, AIOKafkaProducer, str, str, int, "Watch"], Awaitable[None]]


class Watch:
    """Processor's and wall-clock seconds from the first batch to the newest acknowledgement."""

    def __init__(self) -> None:
        self._began: tuple[float, float] | None = None
        self.seconds = (0.0, 0.0)

    def begin(self) -> None:
        self._began = self._began or (time.process_time(), time.monotonic())

    def end(self) -> None:
        assert self._began is not None
        self.seconds = (time.process_time() - self._began[0], time.monotonic() - self._began[1])


class Forward:
    """`Work` that passes each record on and does nothing else."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, wanted: int, watch: Watch) -> None:
        self._producer, self._topic, self._left, self._watch = producer, topic, wanted, watch
        self.all = asyncio.Event()

    async def assigned(self, partition: int) -> int | None:
        del partition
        return None

    async def process(self, partition: int, records: Sequence[Record]) -> int:
        del partition
        self._watch.begin()
        await acknowledged([await self._producer.send(self._topic, record.value) for record in records])
        self._watch.end()
        self._left -= len(records)
        if self._left <= 0:
            self.all.set()
        return int(records[-1].offset) + 1

    async def refuse(self, partition: int, record: Record, error: Poison) -> int:
        del partition, record
        raise error

    async def idle(self, partition: int, caught_up: bool) -> None:
        del partition, caught_up

    async def committed(self, partition: int, offset: int) -> None:
        del partition, offset

    async def revoked(self, partition: int) -> None:
        del partition


async def bare(
    consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, source: str, target: str, wanted: int, watch: Watch
) -> None:
    """The least that reads, writes, waits for the acknowledgement and commits."""
    consumer.subscribe([source])
    committed_s = time.monotonic()
    while wanted > 0:
        batches = await consumer.getmany(timeout_ms=200)
        if batches:
            watch.begin()
        sends = [await producer.send(target, record.value) for records in batches.values() for record in records]
        await acknowledged(sends)
        if sends:
            watch.end()
        wanted -= len(sends)
        if time.monotonic() - committed_s > 1.0:
            await consumer.commit()
            committed_s = time.monotonic()
    await consumer.commit()


async def looped(
    consumer: AIOKafkaConsumer, producer: AIOKafkaProducer, source: str, target: str, wanted: int, watch: Watch
) -> None:
    """The same as `Work`."""
    work = Forward(producer, target, wanted, watch)
    loop = PartitionLoop(consumer, source, work, SystemClock(), Bounds())
    running = asyncio.create_task(loop.run())
    await work.all.wait()
    loop.stop()
    await running


async def measure(settings: Settings, records: int, rounds: int) -> dict[str, Any]:
    """Both in turns. The topics are made, filled and removed."""
    source, target = (f"bench{secrets.token_hex(4)}.{name}" for name in ("in", "out"))
    admin = AdminClient({"bootstrap.servers": settings.kafka, "log_level": 0})
    made = admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in (source, target)])
    for one in made.values():
        one.result(10)
    try:
        await _fill(settings, source, records)
        took: dict[str, list[tuple[float, float]]] = {"bare": [], "loop": []}
        ways: tuple[tuple[str, Run], ...] = (("bare", bare), ("loop", looped))
        for number in range(rounds + 1):
            for name, way in ways if number % 2 else ways[::-1]:
                seconds = await _once(settings, way, source, target, records)
                if number:  # the first round warms the broker's cache
                    took[name].append(seconds)
    finally:
        for one in admin.delete_topics([source, target]).values():
            one.result(10)
    of = {name: ([cpu for cpu, _ in each], [wall for _, wall in each]) for name, each in took.items()}
    by_cpu, by_wall = (ratio(of["bare"][i], of["loop"][i]) for i in (0, 1))
    return {
        "records": records, "rounds": rounds, "record_bytes": RECORD_BYTES, "partitions": PARTITIONS,
        **{f"{name}_records_per_cpu_s": round(records * rounds / sum(of[name][0])) for name in of},
        **{f"{name}_records_per_s": round(records * rounds / sum(of[name][1])) for name in of},
        "ratio_cpu": [round(value, 3) for value in by_cpu], "ratio_wall": [round(value, 3) for value in by_wall],
        "required": REQUIRED, "met": by_cpu.median >= REQUIRED and by_wall.median >= REQUIRED,
    }  # fmt: skip


async def _fill(settings: Settings, topic: str, records: int) -> None:
    producer, value = await open_producer(settings), b"{" + b"x" * (RECORD_BYTES - 2) + b"}"
    try:
        for start in range(0, records, 5_000):
            count = min(5_000, records - start)
            await acknowledged([await producer.send(topic, value, partition=i % PARTITIONS) for i in range(count)])
    finally:
        await close_producer(producer)


async def _once(settings: Settings, way: Run, source: str, target: str, records: int) -> tuple[float, float]:
    """Seconds of the processor and of the wall clock."""
    consumer = await open_consumer(settings, f"{source}-{secrets.token_hex(4)}")
    producer = await open_producer(settings)
    watch = Watch()
    try:
        async with asyncio.timeout(WAIT_S):
            await way(consumer, producer, source, target, records, watch)
    finally:
        await close_producer(producer)
        await consumer.stop()
    return watch.seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 1 with --assert when the loop is dearer than required."""
    parser = argparse.ArgumentParser(prog="groundswell bench loop", description="What PartitionLoop costs.")
    parser.add_argument("--records", type=int, default=40_000)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--kafka", default="127.0.0.1:19092", help="A real broker; `make services` starts one there.")
    parser.add_argument("--json", action="store_true", help="Print JSON only.")
    parser.add_argument("--assert", dest="strict", action="store_true", help="Exit status 1 when the ratio is missed.")
    asked = parser.parse_args(arguments)
    found = asyncio.run(measure(Settings(kafka=asked.kafka), asked.records, asked.rounds))
    if asked.json:
        print(msgspec.json.encode(found).decode())
    else:
        print(
            f"bare getmany + send  {found['bare_records_per_s']:>9,} records/s  {found['bare_records_per_cpu_s']:>9,} a CPU second"
        )
        print(
            f"PartitionLoop        {found['loop_records_per_s']:>9,} records/s  {found['loop_records_per_cpu_s']:>9,} a CPU second"
        )
        print(
            f"loop / bare          {found['ratio_wall'][0]:>9} by the clock {found['ratio_cpu'][0]:>9} by CPU; at least {REQUIRED}"
        )
    return 1 if asked.strict and not found["met"] else 0


if __name__ == "__main__":
    sys.exit(main())
