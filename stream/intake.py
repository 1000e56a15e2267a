"""The Faust app that reads the input topics for ingest_work.py: the one shape of Faust that loses nothing, a batch an event.

Only `stream.noack().events()`; the body never raises; each event is acked in order after the broker acknowledged what came of it, by one
task; a produce failure ends the process. Faust's `take`, tables, windows, `exactly_once` and `concurrency` lose or double documents
(tests/unit/test_banned_calls.py keeps them out). Faust spends half a millisecond on an event; `Fetches` makes that one for up to
BATCH_RECORDS messages.
"""

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import faust
from faust.transport.drivers.aiokafka import Consumer
from faust.types import TP, EventT, StreamT
from faust.types.tuples import ConsumerMessage

from groundswell.clients.connect import METADATA_MS, close_producer, kafka_options, open_producer, open_redis
from groundswell.clock import Clock
from groundswell.decisions import Stage
from groundswell.errors import GroundswellError
from groundswell.keys import Keys
from groundswell.running import beat, probe, runfile
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream import generation
from stream.ingest import Terms
from stream.ingest_work import IngestWork
from stream.names import entities
from stream.topology import INPUTS, Topology

BATCH_RECORDS, BATCH_BYTES = 200, 262_144  # of one partition; a larger message goes alone
BUFFERED = 8  # batches between Faust's reader and our body


class Fetched(ConsumerMessage):  # type: ignore[misc]
    """What a fetch brought of one partition, or a part of it, as one message of Faust's; its offset is the last record's."""

    __slots__ = ("records",)
    records: Sequence[Any]


class Fetches(Consumer):  # type: ignore[misc]
    """Faust's consumer, which hands over batches. `shell` hears what was read and what was committed."""

    shell: "Shell"

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109 - Faust's signature
        found = await super()._getmany(active_partitions, timeout)
        for partition, records in found.items():
            self.shell.read(partition, records[-1].offset + 1)
        return {partition: batches(records) for partition, records in found.items()}

    def _to_message(self, tp: TP, record: Sequence[Any]) -> Fetched:
        last = record[-1]
        message = Fetched(
            last.topic, last.partition, last.offset, (last.timestamp or 0) / 1000, last.timestamp_type, (), b"", b"", None, 0, 0, tp,
            generation_id=self.app.consumer_generation_id,
        )  # fmt: skip
        message.records = record
        return message

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Between the ends of two batches lie records, not gaps."""

    def _new_offset(self, tp: TP) -> int | None:
        """Batches are acked in order: the newest stands for all before it. Faust's own search commits over a gap of one."""
        acked = self._acked[tp]
        if not acked:
            return None
        newest = int(max(acked))
        acked.clear()
        self._acked_index[tp].clear()
        return newest + 1

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        done = bool(await super()._commit(offsets))
        if done:
            self.shell.committed(offsets)
        return done


def batches(records: Sequence[Any]) -> list[Sequence[Any]]:
    """In order, each of at most BATCH_RECORDS and BATCH_BYTES."""
    found: list[Sequence[Any]] = []
    start, size = 0, 0
    for place, record in enumerate(records):
        length = len(record.value or b"")
        if place > start and (place - start >= BATCH_RECORDS or size + length > BATCH_BYTES):
            found.append(records[start:place])
            start, size = place, 0
        size += length
    return [*found, records[start:]]


def main(settings: Settings, topology: Topology, clock: Clock) -> None:
    """Run until SIGTERM; Faust drains, then raises SystemExit(0). Raises RedisAway, UnfitRedis, BrokenCatalogue at start."""
    shell = Shell(settings, topology, clock)
    asyncio.run(_redis_answers(settings))
    app = faust.App(
        f"{topology.prefix}-ingest",
        broker=[f"kafka://{address.strip()}" for address in settings.kafka.split(",")],
        broker_credentials=_credentials(settings),
        web_enabled=False,
        store="memory://",
        datadir=str(runfile.folder(settings) / "faust"),  # it makes one even for a store in memory
        topic_allow_declare=False,
        topic_disable_leader=True,
        stream_wait_empty=False,
        stream_buffer_maxsize=BUFFERED,
        broker_commit_interval=1.0,
        broker_session_timeout=10,
        broker_heartbeat_interval=1,
        broker_request_timeout=20,
        broker_rebalance_timeout=30,
        consumer_max_fetch_size=4 * 1_048_576,
        consumer_metadata_max_age_ms=METADATA_MS,
        consumer_auto_offset_reset="earliest",
        worker_redirect_stdouts=False,
    )
    app.transport.Consumer = type("Fetches", (Fetches,), {"shell": shell})
    inputs = app.topic(
        *(topology.name(topic) for topic in INPUTS),
        key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw",
    )  # fmt: skip

    @app.agent(inputs, name=f"{topology.prefix}.ingest")
    async def ingest(stream: StreamT[bytes]) -> None:
        async for event in stream.noack().events():
            await shell.body(event)

    @app.task
    async def acker() -> None:
        await shell.acknowledge()

    @app.on_before_shutdown.connect
    async def drain(_app: Any, **_: Any) -> None:
        await shell.drain()

    @app.on_partitions_assigned.connect
    async def begin(_app: Any, assigned: Any, **_: Any) -> None:
        shell.assigned(assigned)

    @app.on_partitions_revoked.connect
    async def forget(_app: Any, revoked: Any, **_: Any) -> None:
        await shell.revoked(revoked)

    faust.Worker(app, loglevel="warning", quiet=True, override_logging=False).execute_from_commandline()


class Shell:
    """Between Faust and IngestWork: the clients, the tasks beside it, and the end of the process."""

    def __init__(self, settings: Settings, topology: Topology, clock: Clock) -> None:
        catalogue = entities.load_for(settings)
        self._settings, self._topology, self._clock = settings, topology, clock
        self._terms = Terms(
            link=lambda words, symbols: entities.link(catalogue, words, symbols),
            clock=clock,
            future_s=settings.future_s,
            event_time=settings.clock == "event",
            pepper=settings.author_pepper,
        )
        self._work: IngestWork | None = None
        self._ready = asyncio.Event()
        self._leaving = False

    async def body(self, event: EventT[Any]) -> None:
        """Turn one batch into sends. Never raises: an error here would make Faust commit past it."""
        await self._ready.wait()
        if self._leaving or self._work is None:  # the next process reads it
            await asyncio.Event().wait()
            return
        try:
            await self._work.work(event.message.tp, event.message.records, event.ack)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self._die(error)

    def read(self, partition: TP, end: int) -> None:
        if self._work is not None:
            self._work.standstill.read(partition, end)

    def committed(self, offsets: Mapping[TP, int]) -> None:
        if self._work is not None:
            self._work.committed(offsets)

    def assigned(self, partitions: Iterable[TP]) -> None:
        if self._work is not None:
            self._work.assigned(partitions)

    async def revoked(self, partitions: Iterable[TP]) -> None:
        if self._work is not None:
            await self._work.revoked(partitions)

    async def drain(self) -> None:
        """Faust takes nothing new and will commit once more."""
        self._leaving = True
        if self._work is not None:
            await self._work.drain(self._settings.drain_s)

    async def acknowledge(self) -> None:
        """Everything but the reading, until Faust cancels it after its last commit."""
        try:
            producer = await open_producer(self._settings)
            redis = await open_redis(self._settings)
        except GroundswellError as error:
            self._die(error)
        keys = Keys(self._topology.prefix)
        work = self._work = IngestWork(self._settings, self._topology, self._terms, redis, producer)
        self._ready.set()
        server = await probe.serve(self._settings.metrics_host, self._settings.metrics_port, self._ready.is_set)
        side = [
            beat.keep_beating(
                redis, keys, self._clock, Stage.INGEST,
                lambda: {"in_flight": work.in_flight, **beat.fares("", work.standstill.slow)},
            ),
            generation.watch(redis, keys, work.lost),
            self._watched(work),
        ]  # fmt: skip
        tasks = [asyncio.create_task(one) for one in side]
        try:
            while True:
                await work.acknowledge_some()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self._die(error)
        finally:
            for task in tasks:
                task.cancel()
            server.close()
            await close_producer(producer)
            await redis.aclose()

    async def _watched(self, work: IngestWork) -> None:
        try:
            await work.standstill.watch()
        except GroundswellError as error:
            self._die(error)

    def _die(self, error: BaseException) -> None:
        line = error.line if isinstance(error, GroundswellError) else repr(error)
        log().error("ingest_ends", error=line, exc_info=not isinstance(error, GroundswellError) and error)
        sys.stderr.flush()
        # Not an exception: Faust would catch it, commit and go on.
        os._exit(1)


async def _redis_answers(settings: Settings) -> None:
    """Before Faust starts: once it runs, its own lines would drown the one that says what is wrong."""
    await (await open_redis(settings)).aclose()


def _credentials(settings: Settings) -> Any:
    """Faust's own form of the connection options; None: plain text. Raises BadSetting, PlainText."""
    options = kafka_options(settings)
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=settings.kafka_user, password=settings.kafka_password, mechanism=settings.kafka_mechanism, ssl_context=context,
        )  # fmt: skip
    return faust.SSLCredentials(context=context) if context is not None else None
