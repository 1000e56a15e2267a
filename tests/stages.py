"""Real stage processes on real services, for tests: topics of their own, records in, records out, signals, exit status."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from groundswell import settings as all_settings
from groundswell.clients.connect import acknowledged, close_producer, open_consumer, open_producer, open_redis
from groundswell.keys import Keys
from groundswell.running.accounting import Accounting, account
from groundswell.running.books import Counts
from groundswell.settings import Settings
from stream import create
from stream.topology import SCORED, Topic, Topology

ROOT = Path(__file__).parents[1]
WAIT_S = 60.0


class Site:
    """One installation under test: its settings, and what is on its topics."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        self.settings, self.logs = settings, logs
        self.topology = Topology(settings.prefix, single=settings.single_partition)

    async def push(self, topic: Topic, values: Sequence[bytes | None], *, key: bytes | None = None) -> None:
        """Records on one topic, acknowledged, in order where `key` is given or there is one partition."""
        producer = await open_producer(self.settings)
        try:
            name = self.topology.name(topic)
            await acknowledged([await producer.send(name, value, key=key) for value in values])
        finally:
            await close_producer(producer)

    async def read(self, topic: Topic) -> list[Any]:
        """All records that are on a topic now, each partition in order."""
        consumer = await open_consumer(self.settings, None, [self.topology.name(topic)])
        try:
            found: list[Any] = []
            ends = await consumer.end_offsets(list(consumer.assignment()))
            await consumer.seek_to_beginning()
            while any([await consumer.position(partition) < end for partition, end in ends.items()]):
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    found.extend(records)
            return found
        finally:
            await consumer.stop()

    async def values(self, topic: Topic, kind: Any) -> list[Any]:
        """All records of a topic, decoded."""
        return [msgspec.json.decode(record.value, type=kind) for record in await self.read(topic)]

    async def books(self) -> Accounting:
        client = await open_redis(self.settings)
        try:
            return await account(client, Keys(self.settings.prefix), self.topology.partitions(SCORED), Counts())
        finally:
            await client.aclose()

    async def until_read(self, stage: str, documents: int) -> Counts:
        """Wait until the books of a stage hold so many documents and nothing is in flight."""
        counts = Counts()

        async def enough() -> bool:
            nonlocal counts
            counts = (await self.books()).stages[stage]
            return counts.read >= documents and not counts.in_flight

        await until(enough, f"{stage} to read {documents}", lambda: counts)
        return counts

    @asynccontextmanager
    async def stage(self, name: str, **environment: str) -> AsyncIterator["Stage"]:
        """`groundswell NAME` while the block runs; killed at its end if it still runs."""
        log = self.logs / f"{name}.log"
        with log.open("ab") as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "groundswell", name, cwd=self.logs, stdin=asyncio.subprocess.DEVNULL,
                stdout=output, stderr=output, env=self.environment() | environment,
            )  # fmt: skip
        try:
            yield Stage(process, log)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    def environment(self) -> dict[str, str]:
        return clean_environment() | all_settings.environment(self.settings)


class Stage:
    """One process that runs."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self.process, self.log = process, log

    async def terminated(self) -> tuple[int, float]:
        """Exit status and seconds after SIGTERM."""
        started_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(self.process.wait(), 30)
        return status, time.monotonic() - started_s

    async def killed(self) -> None:
        """As the machine's power would do it."""
        self.process.kill()
        await self.process.wait()

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


async def until(true: Callable[[], Awaitable[bool]], what: str, shown: Callable[[], object] = str) -> None:
    """Wait for something to become true; fails with what was seen last."""
    end_s = time.monotonic() + WAIT_S
    while not await true():
        if time.monotonic() > end_s:
            raise AssertionError(f"waited {WAIT_S:.0f} s for {what}; last seen: {shown()}")
        await asyncio.sleep(0.1)


async def site(kafka: str, redis_url: str, prefix: str, logs: Path, **changes: Any) -> Site:
    """An installation with its topics made, one partition each unless `single_partition` says otherwise."""
    wanted = {"single_partition": True, "state_dir": str(logs), "log": "json", "model": "scripted"} | changes
    settings = Settings(kafka=kafka, redis=redis_url, prefix=prefix, **wanted)
    found = Site(settings, logs)
    await create.create(settings, found.topology)
    return found


def clean_environment() -> dict[str, str]:
    """This environment without anything of ours in it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("GROUNDSWELL_")}
