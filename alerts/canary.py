"""A test document each minute, and a ping to the operator's watch address only while they come the whole road.

The ping is a dead man's switch: when it stays away, whatever watches that address raises the alarm, though nothing here
can. The road is ingest, tag, aggregate and the alerts topic; stream/canary.py answers at its far end.
"""

import asyncio
from contextlib import suppress

import aiohttp
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from groundswell import times
from groundswell.clients.connect import acknowledged
from groundswell.clock import Clock
from groundswell.errors import ProduceFailed
from groundswell.records import AlertEvent, InboundDocument
from groundswell.reserved import CANARY
from groundswell.telemetry import CANARY as NEWEST
from groundswell.telemetry import log
from stream.topology import NEWS, Topology

FRESH_S = 180.0
PING_S = 60.0
PING_TIMEOUT_S = 5.0
LOOK_S = 1.0
SOURCE = "groundswell-canary"


class Canary:
    """The canary of one leading process: sends, hears, pings. Without a watch address it does nothing."""

    def __init__(
        self, producer: AIOKafkaProducer, topology: Topology, clock: Clock, watch_url: str, every_s: float
    ) -> None:
        self._producer, self._topology, self._clock = producer, topology, clock
        self._watch_url, self._every_s = watch_url, every_s
        self._newest_ms = 0
        self._warned = False

    @property
    def newest_ms(self) -> int:
        """When the newest one that came through was written; 0 before the first."""
        return self._newest_ms

    @property
    def fresh(self) -> bool:
        """Whether a canary came through lately."""
        return self._clock.now_ms() - self._newest_ms < FRESH_S * 1000

    def heard(self, event: AlertEvent) -> None:
        """A canary came the whole road."""
        if event.type == "system.watchdog":
            self._newest_ms = max(self._newest_ms, times.parse_ms(event.timestamp))
            NEWEST.set(self._newest_ms / 1000)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. A broker or an address that is away costs a log line; the silence is the message."""
        if not self._watch_url:
            return
        send_s = ping_s = self._clock.monotonic_s()
        # The first ping waits for the first canary: one that was sent before this process began proves little.
        while not stop.is_set():
            now_s = self._clock.monotonic_s()
            if now_s >= send_s:
                send_s = now_s + self._every_s
                await self._send()
            if now_s >= ping_s and self.fresh:
                ping_s = now_s + PING_S
                await self._ping()
            if not self.fresh and self._newest_ms and not self._warned:
                log().error("canary_lost", since=times.rfc3339(self._newest_ms), hint="See `groundswell health`.")
            self._warned = bool(self._newest_ms) and not self.fresh
            await self._clock.sleep(LOOK_S)

    async def _send(self) -> None:
        now = self._clock.now_ms()
        document = InboundDocument(
            text="This is a test of the installation. 这是一条巡检文本。",
            id=f"canary-{now}",
            source=SOURCE,
            symbols=[CANARY],
            published_at=times.rfc3339(now),
        )
        try:
            sending = await self._producer.send(
                self._topology.name(NEWS), msgspec.json.encode(document), key=SOURCE.encode()
            )
            await acknowledged([sending])
        except (KafkaError, ProduceFailed) as error:
            log().warning("canary_not_sent", error=repr(error)[:200])

    async def _ping(self) -> None:
        timeout = aiohttp.ClientTimeout(total=PING_TIMEOUT_S)
        with suppress(TimeoutError):
            try:
                async with (
                    aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()) as session,
                    session.get(self._watch_url, allow_redirects=False) as response,
                ):
                    if response.status < 300:
                        return
                    log().warning("watch_refused", status=response.status)
            except aiohttp.ClientError as error:
                log().warning("watch_away", error=type(error).__name__)
