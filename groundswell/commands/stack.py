"""All five processes on one machine, with a broker and a Redis of their own when none is configured. `up`, `demo` and `replay` stand on it.

A stage that ends by itself is started again (it goes on from its last committed place); one that is misconfigured ends everything.
"""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import structs
from rich.console import Console

from groundswell import settings as all_settings
from groundswell.clients.connect import RedisClient, open_redis
from groundswell.errors import Misconfigured
from groundswell.keys import Keys
from groundswell.running import beat, embedded, orphan, runfile
from groundswell.secrets import new_key
from groundswell.settings import Settings
from stream import create
from stream.topology import Topology

STAGES = ("ingest", "tag", "aggregate", "deliver", "dashboard")
READY_S = 120.0
AGAIN_S = (0.5, 1.0, 2.0, 5.0)  # before a stage that ended is started again
MISCONFIGURED = 2


class RunsAlready(Misconfigured):
    """Two at a time would take each other's note and logs."""

    reason = "runs_already"


class StageFailed(Misconfigured):
    """A stage cannot start."""

    reason = "stage_failed"


@dataclass
class Stack:
    """What runs, and how to reach it."""

    settings: Settings
    topology: Topology
    redis: RedisClient
    services: str  # in words
    logs: Path
    started_s: float
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    ended: Counter[str] = field(default_factory=Counter)  # stages that ended by themselves, how often
    failed: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def ready(self, stages: Sequence[str]) -> None:
        """Wait until every stage beats. Raises StageFailed with the end of its log."""
        end_s = time.monotonic() + READY_S
        while time.monotonic() < end_s:
            if self.failed.done():
                raise StageFailed(self.failed.result(), remedy=f"The whole log: {self.logs}.")
            alive = {one.stage for one in await beat.beats(self.redis, Keys(self.topology.prefix))}
            if alive >= set(stages):
                return
            await asyncio.sleep(0.1)
        raise StageFailed("Not all stages came up in time.", remedy=f"See the logs in {self.logs}.")


@asynccontextmanager
async def stack(settings: Settings, *, stages: Sequence[str] = STAGES, single: bool = False) -> AsyncIterator[Stack]:
    """Start services and stages; stop them in the order of the road."""
    topology = Topology(settings.prefix, single=single)
    own: embedded.EmbeddedProcess | None = None
    if not (settings.kafka and settings.redis):
        own = await embedded.start({} if settings.kafka else topology.wanted())
        services = own.services
        settings = structs.replace(
            settings, kafka=settings.kafka or services.kafka, redis=settings.redis or services.redis
        )
    settings = structs.replace(settings, secret_key=settings.secret_key or new_key(), single_partition=single)
    logs = runfile.folder(settings) / "log"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        if own is not None and own.services.kafka == settings.kafka:
            await create.mark_incarnation(settings, topology)
        else:
            await create.create(settings, topology)
        redis = await open_redis(settings)
        found = Stack(settings, topology, redis, _in_words(settings, own), logs, time.monotonic())
        keepers = [asyncio.create_task(_keep(found, stage)) for stage in stages]
        try:
            yield found
        finally:
            await _stop(found, keepers)
            await redis.aclose()
    finally:
        if own is not None:
            await own.stop()


def only_one(settings: Settings) -> None:
    """Raises RunsAlready where another `up` or `demo` keeps its note."""
    other = runfile.read(settings)
    if other is not None:
        note = runfile.folder(settings) / "running.json"
        raise RunsAlready(
            f"Groundswell runs already: process {other.pid}, {other.page}.",
            remedy=f"Stop that, or set GROUNDSWELL_STATE_DIR and GROUNDSWELL_PORT for this one. If it is not so, remove {note}.",
        )


def on_end(stop: asyncio.Event) -> None:
    """Ctrl-C, SIGTERM and a closed terminal ask to end; under nohup a closed terminal is ignored, as it says."""
    ends = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    for number in ends:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def stay_up(settings: Settings) -> None:
    """`groundswell up`: until Ctrl-C or SIGTERM. Raises RunsAlready, StageFailed."""
    only_one(settings)
    console = Console(stderr=True)
    stop = asyncio.Event()
    on_end(stop)
    console.print("Starting the road …")
    async with stack(settings) as found:
        runfile.write(found.settings, running(found))
        try:
            await _or_stopped(found.ready(STAGES), stop)
            if not stop.is_set():
                console.print(f"Groundswell runs: http://{found.settings.host}:{found.settings.port}/")
                console.print(found.services)
                console.print("Push:      groundswell push FILE --topic news\nWatch:     groundswell watch")
                console.print("Subscribe: groundswell endpoints add URL --name NAME\nStop:      Ctrl-C")
            await _or_stopped(asyncio.shield(found.failed), stop)
            if found.failed.done():
                raise StageFailed(found.failed.result(), remedy=f"The whole log: {found.logs}.")
        finally:
            runfile.remove(found.settings, os.getpid())


def running(found: Stack) -> runfile.Running:
    """The note by which other commands find this stack."""
    settings = found.settings
    return runfile.Running(
        pid=os.getpid(), kafka=settings.kafka, redis=settings.redis, prefix=settings.prefix, secret_key=settings.secret_key,
        page=f"http://{settings.host}:{settings.port}", catalogues=settings.catalogues, packs=settings.packs,
        connection=runfile.connection(settings),
    )  # fmt: skip


async def _or_stopped(wanted: object, stop: asyncio.Event) -> None:
    tasks = {asyncio.ensure_future(wanted), asyncio.create_task(stop.wait())}  # type: ignore[call-overload]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    for task in done:
        task.result()


async def _keep(found: Stack, stage: str) -> None:
    """Run a stage; start it again when it ends by itself."""
    environment = {
        **os.environ,
        **all_settings.environment(found.settings),
        "GROUNDSWELL_LOG": "json",
        orphan.VARIABLE: str(os.getpid()),
    }
    tries = 0
    while True:
        log = found.logs / f"{stage}.log"
        mode = "wb" if tries == 0 else "ab"
        with log.open(mode) as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "groundswell", stage, env=environment, stdin=asyncio.subprocess.DEVNULL,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        found.processes[stage] = process
        status = await process.wait()
        found.ended[stage] += 1
        # Later on status 2 is a service that went away: started again, the stage waits for it.
        if status in (0, MISCONFIGURED) and tries == 0 and not found.failed.done():
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            found.failed.set_result(f"{stage} ended with status {status}: {said[-1] if said else 'it said nothing'}")
            return
        await asyncio.sleep(AGAIN_S[min(tries, len(AGAIN_S) - 1)])
        tries += 1


async def _stop(found: Stack, keepers: "list[asyncio.Task[None]]") -> None:
    """SIGTERM to all, so that each drains what it holds; whoever is still there after the drain is killed."""
    for keeper in keepers:
        keeper.cancel()
    for process in found.processes.values():
        with suppress(ProcessLookupError):
            process.terminate()
    waiting = [asyncio.create_task(process.wait()) for process in found.processes.values()]
    if waiting:
        await asyncio.wait(waiting, timeout=found.settings.drain_s + 4)
    for process in found.processes.values():
        if process.returncode is None:
            process.kill()
            await process.wait()
    await asyncio.gather(*keepers, return_exceptions=True)


def _in_words(settings: Settings, own: embedded.EmbeddedProcess | None) -> str:
    if own is None:
        return f"Kafka {settings.kafka}, Redis {settings.redis.rpartition('@')[2]}."
    return (
        f"Broker inside this program at {settings.kafka}, Redis ({own.services.redis_kind}) at {settings.redis}: memory only, gone when "
        "it stops.\nTo keep what comes in, set GROUNDSWELL_KAFKA and GROUNDSWELL_REDIS (docs/operations.md)."
    )
