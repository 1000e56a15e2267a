"""The live stream: one publisher looks at Redis each second, writes frames into one ring; a browser is a cursor on it.

No client has a queue, so memory is bounded whatever clients do: one that falls off the ring is told `reset` and
reads the JSON again. Cursors are `<boot>-<sequence>`: a number from before a restart is never taken for one of ours.
Read groundswell/shown.py for what is looked at, api.py for the snapshots that these frames are deltas to.
"""

import asyncio
import secrets
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from typing import Any, NamedTuple

import msgspec

from dashboard.health.counting import Counting
from dashboard.rows import alert_row, pulse, subject_row
from groundswell.clock import Clock
from groundswell.decisions import Unwell
from groundswell.errors import RedisAway
from groundswell.records import Acknowledgement, AlertView, LiveRow
from groundswell.shown import Look, Shown, minute_ms
from groundswell.telemetry import STREAMS, log

EVERY_S = 1.0
LOOK_S = 3.0  # a Redis that takes longer is away: the page says so within five seconds
RING_TICKS = 120
MAX_FRAMES = 20_000  # about 20 MB at most, whatever a tick holds
MAX_FRAME_BYTES = 65_536
MAX_STREAMS = 500
MAX_TOPICS = 20
STALE_MS = 180_000  # counts end a minute or two behind; three mean that nobody counts

_encode = msgspec.json.encode


class Frame(NamedTuple):
    """One event as it goes to every browser that listens to `topic` ("" is for all)."""

    sequence: int
    topic: str
    wire: bytes


class Full(Exception):
    """There are as many streams as are allowed."""


class _Seat:
    """One stream's place among the allowed ones; a stream that never began gives it back when it is dropped."""


class Hub:
    """Looks, frames, and lets watchers wait. `acks` gives who has seen which episode."""

    def __init__(
        self,
        shown: Shown,
        clock: Clock,
        acks: Callable[[], dict[str, Acknowledgement]] = dict,
        counting: Counting | None = None,
    ) -> None:
        self.shown = shown
        self._counting = counting
        self.boot = secrets.token_hex(3)
        self.away = ""  # the reason while Redis does not answer
        self.looked_at = 0
        self._clock = clock
        self._acks = acks
        self._acked: dict[str, Acknowledgement] = {}
        self._touched: set[str] = set()
        self._ring: deque[Frame] = deque(maxlen=MAX_FRAMES)
        self._ticks: deque[int] = deque(maxlen=RING_TICKS)
        self._sequence = 0
        self._news = asyncio.Event()
        self._closed = False
        self._seats: weakref.WeakSet[_Seat] = weakref.WeakSet()

    @property
    def cursor(self) -> str:
        return f"{self.boot}-{self._sequence}"

    @property
    def acknowledged(self) -> dict[str, Acknowledgement]:
        """By episode, as last looked."""
        return self._acked

    def state(self) -> dict[str, Any]:
        """Whether the figures are of now: ok, uncounted, stale, empty or redis_away; where they end, how far back that lies."""
        now, at = self._clock.now_ms(), self.shown.at
        if self.away:
            word = Unwell.REDIS_AWAY.value
        elif not self.shown.rows:
            word = "empty"
        else:
            word = "stale" if now - at > STALE_MS else "ok"
        if word in ("ok", "stale") and self._counting is not None and self._counting.silent:
            word = "uncounted"
        counted_at = self._counting.heard_at if self._counting is not None else 0
        return {"state": word, "at": at, "lag_s": round((now - at) / 1000) if at else None, "counted_at": counted_at}

    async def run(self) -> None:
        """Look every second until cancelled. Redis may go and come; nothing here ends by it."""
        while not self._closed:
            started = self._clock.monotonic_s()
            await self.tick()
            await asyncio.sleep(max(0.05, EVERY_S - (self._clock.monotonic_s() - started)))

    async def tick(self) -> None:
        """One look, its frames, and a `tick` frame that says how fresh all is."""
        try:
            async with asyncio.timeout(LOOK_S):
                look = await self.shown.look()
                if self._counting is not None:
                    await self._counting.look()
            self.away = ""
        except (RedisAway, TimeoutError) as error:
            if not self.away:
                log().warning("redis_away", error=str(error) or f"no answer within {LOOK_S:g} s")
            self.away, look = Unwell.REDIS_AWAY, Look()
        self.looked_at = self._clock.now_ms()
        self._publish(look)
        self._append("", "tick", self.state())
        self._ticks.append(self._sequence)
        STREAMS.set(self.streams)
        self._news.set()
        self._news = asyncio.Event()

    def _publish(self, look: Look) -> None:
        if look.rows or look.gone:
            at = self.shown.at
            for start in range(0, max(1, len(look.rows)), 100):
                changed = [subject_row(row) for row in look.rows[start : start + 100]]
                # The first one says how the whole market stands: no page could sum it up from the rows it was told of.
                whole = {"gone": look.gone, "market": pulse(self.shown.rows)} if start == 0 else {"gone": []}
                self._append("overview", "rows", {"at": at, "rows": changed, **whole})
            for row in look.rows:
                self._append(f"subject:{row.subject}", "series", _series(row))
        acks = self._acks()
        for view in self._changed_alerts(look.alerts, acks):
            self._append("alerts", "alert", alert_row(view, acks.get(view.episode)))
        self._acked = dict(acks)

    def _changed_alerts(self, alerts: list[AlertView], acks: dict[str, Acknowledgement]) -> list[AlertView]:
        changed = {view.episode: view for view in alerts}
        for episode in acks.keys() | self._acked.keys():
            if self._acked.get(episode) != acks.get(episode) and episode in self.shown.alerts:
                changed[episode] = self.shown.alerts[episode]
        changed |= {one: view for one in self._touched if (view := self.shown.alerts.get(one)) is not None}
        self._touched.clear()
        return list(changed.values())

    def _append(self, topic: str, event: str, data: dict[str, Any]) -> None:
        body = _encode(data)
        if len(body) > MAX_FRAME_BYTES:
            log().warning("frame_too_large", topic=topic, bytes=len(body))
            event, body = "reset", b"{}"
        self._sequence += 1
        wire = b"id: %s\nevent: %s\ndata: %s\n\n" % (self.cursor.encode(), event.encode(), body)
        self._ring.append(Frame(self._sequence, topic, wire))
        oldest = self._ticks[0] if len(self._ticks) == RING_TICKS else 0
        while self._ring and self._ring[0].sequence <= oldest:
            self._ring.popleft()

    def again(self, episode: str) -> None:
        """Something was said of this alert: who looks at it shall read it anew. Of those that are not shown nobody is told."""
        if episode in self.shown.alerts:
            self._touched.add(episode)

    def since(self, cursor: str) -> int | None:
        """The sequence a watcher goes on after; None when what follows it is no longer, or never was, here."""
        boot, _, number = cursor.rpartition("-")
        if boot != self.boot or not number.isascii() or not number.isdigit() or len(number) > 15:
            return None
        sequence = int(number)
        first = self._ring[0].sequence if self._ring else self._sequence + 1
        return sequence if first - 1 <= sequence <= self._sequence else None

    def watch(self, topics: Collection[str], cursor: str) -> AsyncIterator[bytes]:
        """Frames of these topics after the cursor, until the hub closes. Raises Full."""
        if self.streams >= MAX_STREAMS or self._closed:
            raise Full
        seat = _Seat()
        self._seats.add(seat)
        return self._frames(seat, frozenset(topics) | {""}, cursor)

    async def _frames(self, seat: "_Seat", topics: frozenset[str], cursor: str) -> AsyncIterator[bytes]:
        try:
            sequence = self.since(cursor) if cursor else self._sequence
            yield b"retry: 2000\n\n"
            while not self._closed:
                news = self._news
                if sequence is None or self.since(f"{self.boot}-{sequence}") is None:
                    sequence = self._sequence
                    yield b"id: %s\nevent: reset\ndata: {}\n\n" % self.cursor.encode()
                start = sequence
                sequence = self._sequence
                batch = b"".join(frame.wire for frame in self._after(start) if frame.topic in topics)
                if batch:
                    yield batch
                await news.wait()
        finally:
            self._seats.discard(seat)

    def _after(self, sequence: int) -> list[Frame]:
        # The ring has no gaps, so a frame's place follows from its number.
        first = self._ring[0].sequence if self._ring else 0
        start = max(0, sequence + 1 - first)
        return [self._ring[place] for place in range(start, len(self._ring))]

    @property
    def streams(self) -> int:
        return len(self._seats)

    def close(self) -> None:
        """Let every stream end now."""
        self._closed = True
        self._news.set()


def _series(row: LiveRow) -> dict[str, Any]:
    minutes = [[minute_ms(minute), *counts] for minute, *counts in row.minutes]
    return {"subject": row.subject, "at": minute_ms(row.at), "minutes": minutes}
