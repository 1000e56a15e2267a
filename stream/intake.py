"""The Faust app that feeds ingest.py: the one shape of Faust that loses nothing.

Only `stream.noack().events()`; the body never raises; each event is acked in order after the broker acknowledged what came of it, by one
task; a produce failure ends the process. Faust's `take`, tables, windows, `exactly_once` and `concurrency` lose or double documents
(tests/unit/test_banned_calls.py keeps them out).
"""

import asyncio
import os
import sys
from collections import defaultdict
from contextlib import suppress
from typing import Any, Literal

import faust
import msgspec
from faust.types import EventT, StreamT
from redis.exceptions import RedisError

from groundswell import beat, books, probe, runfile
from groundswell.books import Counts
from groundswell.clock import Clock
from groundswell.connect import METADATA_MS, acknowledged, close_producer, kafka_options, open_producer, open_redis
from groundswell.errors import GroundswellError
from groundswell.keys import Keys
from groundswell.records import Document
from groundswell.settings import Settings
from groundswell.telemetry import DEAD_LETTERS, EVENT_LAG, IN_FLIGHT, RECORDS, log
from stream import entities, generation
from stream.generation import Generation
from stream.ingest import Rules, take
from stream.topology import COMMENTS, DOCUMENTS, INPUTS, NEWS, Topology
from stream.topology import DEAD_LETTERS as DEAD_LETTERS_TOPIC

PENDING = 500  # messages between reading and acknowledgement; when full the body waits, and Faust stops fetching
GROUP = 200  # messages acked together: one note in the books for all
KEY_BYTES = 1_000  # kept of a feed's key: a longer one could make the record too large to send
RECORD_BYTES = 900_000  # of one documents record; an array that grew past it is split between documents

_encode = msgspec.json.Encoder().encode

Pending = tuple[EventT[Any], "list[asyncio.Future[Any]]", Counts]


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
        stream_buffer_maxsize=512,
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

    @app.on_partitions_revoked.connect
    async def forget(_app: Any, revoked: Any, **_: Any) -> None:
        shell.forget(revoked)

    faust.Worker(app, loglevel="warning", quiet=True, override_logging=False).execute_from_commandline()


class Shell:
    """The body and its acker, with the bounded queue between them."""

    def __init__(self, settings: Settings, topology: Topology, clock: Clock) -> None:
        catalogue = entities.load_for(settings)
        self._settings, self._topology, self._clock = settings, topology, clock
        self._keys = Keys(topology.prefix)
        self._rules = Rules(
            link=lambda words, symbols: entities.link(catalogue, words, symbols),
            clock=clock,
            future_s=settings.future_s,
            event_time=settings.clock == "event",
            pepper=settings.author_pepper,
        )
        self._feeds: dict[str, Literal["news", "comments"]] = {
            topology.name(NEWS): "news",
            topology.name(COMMENTS): "comments",
        }
        self._pending: asyncio.Queue[Pending] = asyncio.Queue(maxsize=PENDING)
        self._ready = asyncio.Event()
        self._counts: dict[Any, Counts] = {}
        self._ends: dict[Any, int] = {}  # the offset that they belong to
        self._held = 0
        self._busy, self._leaving = False, False

    async def body(self, event: EventT[Any]) -> None:
        """Turn one message into sends. Never raises: an error here would make Faust commit past the message."""
        await self._ready.wait()
        if self._leaving:  # the next process reads it
            await asyncio.Event().wait()
        self._busy = True
        try:
            message = event.message
            intake = take(
                event.value, message.topic, self._feeds[message.topic], message.partition, message.offset, self._rules
            )
            sends = [
                await self._producer.send(
                    self._topology.name(DOCUMENTS),
                    chunk,
                    key=(message.key or intake.documents[0].id.encode())[:KEY_BYTES],
                )
                for chunk in _chunks(intake.documents)
            ]
            for letter in intake.dead:
                value = _encode(msgspec.structs.replace(letter, key=message.key and message.key[:KEY_BYTES]))
                sends.append(
                    await self._producer.send(
                        self._topology.name(DEAD_LETTERS_TOPIC), value, key=letter.reason.encode()
                    )
                )
                DEAD_LETTERS.labels("ingest", letter.reason).inc()
                log().warning("dead_letter", reason=letter.reason, topic=letter.topic, partition=letter.src.partition,
                              offset=letter.src.offset, index=letter.src.index, error=letter.message, hint=letter.remedy)  # fmt: skip
            counts = Counts(
                read=intake.read,
                applied=len(intake.documents),
                dead_lettered=len(intake.dead),
                emitted=len(intake.documents),
            )
            self._held += counts.read
            if intake.documents:
                EVENT_LAG.labels("ingest").set((self._clock.now_ms() - intake.documents[-1].published_at) / 1000)
            await self._pending.put((event, sends, counts))
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                raise
            self._die(error)
        finally:
            self._busy = False

    async def drain(self) -> None:
        """Faust takes nothing new and will commit once more: until then what was sent is acknowledged and acked, so that the
        next process does not send it again. What takes longer than `drain_s` is."""
        self._leaving = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s):
                while self._busy or self._held:  # noqa: ASYNC110 - once, for seconds
                    await asyncio.sleep(0.01)

    async def acknowledge(self) -> None:
        """The only place that acks: in order, after the broker acknowledged, after the books are kept."""
        try:
            self._producer = await open_producer(self._settings)
            self._redis = await open_redis(self._settings)
        except GroundswellError as error:
            self._die(error)
        self._ready.set()
        server = await probe.serve(self._settings.metrics_host, self._settings.metrics_port, self._ready.is_set)
        beating = asyncio.create_task(
            beat.keep_beating(
                self._redis, self._keys, self._clock, "ingest", str(os.getpid()), lambda: {"in_flight": self._held}
            )
        )
        watching = asyncio.create_task(generation.watch(self._redis, self._keys, self._lost))
        try:
            while True:  # until Faust cancels it, after its last commit
                await self._acknowledge_group()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - as above
            self._die(error)
        finally:
            beating.cancel()
            watching.cancel()
            server.close()
            await close_producer(self._producer)
            await self._redis.aclose()

    async def _acknowledge_group(self) -> None:
        try:
            async with asyncio.timeout(1.0):
                group = [await self._pending.get()]
        except TimeoutError:
            return
        while len(group) < GROUP and not self._pending.empty():
            group.append(self._pending.get_nowait())
        await acknowledged([send for _, sends, _ in group for send in sends])
        for tp, offset in (await self._keep_books(group)).items():
            log().debug("ingested", topic=tp.topic, partition=tp.partition, offset=offset)
        # In one breath, so that a commit falls on the end of a group: the books know only those offsets.
        for event, _, _ in group:
            event.ack()
        self._held -= sum(counts.read for _, _, counts in group)
        IN_FLIGHT.labels("ingest").set(self._held)

    async def _keep_books(self, group: list[Pending]) -> dict[Any, int]:
        by_partition: dict[Any, list[Pending]] = defaultdict(list)
        for item in group:
            by_partition[item[0].message.tp].append(item)
        ends = {}
        for tp, items in by_partition.items():
            key = self._keys.books("ingest", tp.topic, tp.partition)
            ends[tp] = items[-1][0].message.offset + 1
            while True:
                try:
                    if tp not in self._counts:
                        self._counts[tp] = await books.resume(self._redis, key, items[0][0].message.offset)
                    added = Counts()
                    for _, _, counts in items:
                        added += counts
                    grown = msgspec.structs.replace(self._counts[tp])
                    grown += added
                    await books.keep(self._redis, key, ends[tp], grown)
                except RedisError as error:
                    log().warning("redis_away", error=repr(error), hint="Ingest waits; nothing is lost.")
                    await self._clock.sleep(1.0)
                    continue
                self._counts[tp], self._ends[tp] = grown, ends[tp]
                RECORDS.labels("ingest", "applied").inc(added.applied)
                RECORDS.labels("ingest", "dead_lettered").inc(added.dead_lettered)
                break
        return ends

    async def _lost(self, _generation: Generation) -> None:
        """Redis forgot the books: they are written again from memory. Raises RedisError."""
        for tp in list(self._counts):
            while (counts := self._counts.get(tp)) is not None and tp in self._ends:
                await books.keep(
                    self._redis, self._keys.books("ingest", tp.topic, tp.partition), self._ends[tp], counts
                )
                if self._counts.get(tp) in (counts, None):  # else a group has come between: once more
                    break

    def forget(self, revoked: Any) -> None:
        """Another process may have these partitions next; their counts are read anew when they come back."""
        for tp in revoked:
            self._counts.pop(tp, None)
            self._ends.pop(tp, None)

    def _die(self, error: BaseException) -> None:
        line = error.line if isinstance(error, GroundswellError) else repr(error)
        log().error("ingest_ends", error=line, exc_info=not isinstance(error, GroundswellError) and error)
        sys.stderr.flush()
        # Not an exception: Faust would catch it, commit and go on.
        os._exit(1)


async def _redis_answers(settings: Settings) -> None:
    """Before Faust starts: once it runs, its own lines would drown the one that says what is wrong."""
    await (await open_redis(settings)).aclose()


def _chunks(documents: list[Document]) -> list[bytes]:
    """Encoded arrays of at most RECORD_BYTES each, in order."""
    chunks: list[bytes] = []
    held: list[bytes] = []
    size = 2
    for document in documents:
        raw = _encode(document)
        if held and size + len(raw) + 1 > RECORD_BYTES:
            chunks.append(b"[" + b",".join(held) + b"]")
            held, size = [], 2
        held.append(raw)
        size += len(raw) + 1
    if held:
        chunks.append(b"[" + b",".join(held) + b"]")
    return chunks


def _credentials(settings: Settings) -> Any:
    """Faust's own form of the connection options; None: plain text. Raises BadSetting, PlainText."""
    options = kafka_options(settings)
    context = options.get("ssl_context")
    if "sasl_mechanism" in options:
        return faust.SASLCredentials(
            username=settings.kafka_user, password=settings.kafka_password, mechanism=settings.kafka_mechanism, ssl_context=context,
        )  # fmt: skip
    return faust.SSLCredentials(context=context) if context is not None else None
