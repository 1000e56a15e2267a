"""How the installation fares now: beats, books, lag, speed, services. One reading for all browsers; system.py shows it.

A reading is kept for KEPT_S. Speed is the difference of two readings of the books and nothing else: with one there is none.
"""

import asyncio
from collections import deque
from typing import Any

import msgspec
from msgspec import Struct
from redis.exceptions import RedisError

from dashboard.health.installation import Broker, Installation, ModelCard
from groundswell.clients.connect import RedisClient
from groundswell.clock import Clock
from groundswell.decisions import Unwell
from groundswell.errors import GroundswellError
from groundswell.keys import Keys
from groundswell.running import accounting, health
from groundswell.running.beat import Beat, beats
from groundswell.running.books import Counts
from groundswell.running.health import SETTLE_S, STAGES, Finding
from groundswell.running.storage import Storage, storage

KEPT_S = 2.0
OVER_S = 60.0  # speed is over up to so long
READ_S = 5.0
BROKER_KEPT_S = 30.0
BROKER_WAIT_S = 2.0  # for the first answer; later ones are not waited for


class Reading(Struct, kw_only=True, frozen=True):
    """One look at what Redis holds. `at_s` is of a clock that only counts on."""

    at_s: float
    beats: list[Beat]
    stages: dict[str, Counts]
    gaps: list[Finding]
    storage: Storage


class Speed(Struct, kw_only=True, frozen=True):
    """Finished inputs a second of each stage, over so many seconds."""

    over_s: float
    per_s: dict[str, float]


class Readings:
    """All that a process of the pages knows of how the rest fares."""

    def __init__(
        self, redis: RedisClient, keys: Keys, clock: Clock, scored_partitions: int, installation: Installation
    ) -> None:
        self._redis, self._keys, self._clock = redis, keys, clock
        self._scored_partitions, self._installation = scored_partitions, installation
        self._past: deque[Reading] = deque(maxlen=round(OVER_S / KEPT_S) + 2)
        self._reading = asyncio.Lock()
        self._tells_nothing = False  # a Redis without INFO, which closes the connection that asks
        self._asking: asyncio.Task[None] | None = None
        self._asked_s = -BROKER_KEPT_S
        self._broker: Broker | None = None
        self._away = ""  # why the broker is not there
        self._card: ModelCard | None = None

    async def newest(self) -> Reading:
        """Raises RedisError, TimeoutError."""
        async with self._reading:
            if not self._past or self._clock.monotonic_s() - self._past[-1].at_s >= KEPT_S:
                async with asyncio.timeout(READ_S):
                    self._past.append(await self._read())
            return self._past[-1]

    def speed(self) -> Speed | None:
        """None with one reading, or where the books began anew in between."""
        if not self._past:
            return None
        newest = self._past[-1]
        oldest = next((one for one in self._past if newest.at_s - one.at_s <= OVER_S), newest)
        over_s = newest.at_s - oldest.at_s
        if over_s < KEPT_S:
            return None
        done = {name: _done(counts) - _done(oldest.stages[name]) for name, counts in newest.stages.items()}
        if any(count < 0 for count in done.values()):
            return None
        return Speed(over_s=over_s, per_s={name: count / over_s for name, count in done.items()})

    def gaps(self) -> list[Finding]:
        """What does not add up, and did not SETTLE_S ago either."""
        if not self._past:
            return []
        newest = self._past[-1]
        earlier = next((one for one in reversed(self._past) if newest.at_s - one.at_s >= SETTLE_S), None)
        return health.lasting(newest.gaps, earlier.gaps, newest.beats) if earlier else []

    async def broker(self) -> tuple[Broker | None, str]:
        """The broker as it last answered, or why it does not; (None, "") while nothing is known."""
        stale = self._clock.monotonic_s() - self._asked_s >= BROKER_KEPT_S
        if stale and (self._asking is None or self._asking.done()):
            self._asked_s = self._clock.monotonic_s()
            self._asking = asyncio.create_task(self._ask(), name="broker")
        if self._asking is not None and self._broker is None and not self._away:
            await asyncio.wait({self._asking}, timeout=BROKER_WAIT_S)
        return self._broker, self._away

    def model(self) -> ModelCard:
        """Read once: a model is loaded once, too."""
        if self._card is None:
            self._card = self._installation.model()
        return self._card

    async def _ask(self) -> None:
        try:
            self._broker, self._away = await self._installation.broker(), ""
        except GroundswellError as error:
            self._broker, self._away = None, str(error)
        except Exception as error:  # noqa: BLE001 - whatever a client raises, the page says that nothing is known of the broker
            self._broker, self._away = None, f"{type(error).__name__}."

    async def _stored(self) -> Storage:
        """Asked once of a Redis that does not tell: the connection that asks is lost."""
        if self._tells_nothing:
            return Storage()
        found = await storage(self._redis)
        self._tells_nothing = found.used_bytes is None
        return found

    async def _read(self) -> Reading:
        books = await accounting.account(
            self._redis, self._keys, self._scored_partitions, await self._installation.delivered()
        )
        return Reading(
            at_s=self._clock.monotonic_s(),
            beats=await beats(self._redis, self._keys),
            stages=books.stages,
            gaps=books.gaps,
            storage=await self._stored(),
        )


async def told(readings: Readings, wanted: tuple[str, ...] = STAGES) -> dict[str, Any]:
    """The body of GET /api/v1/system, less what is not of the installation: stages, services, findings. Holds no time of its own, so that
    nothing changed is nothing sent."""
    broker, away = await readings.broker()
    found = [Finding(what=Unwell.BROKER_AWAY, values={"what": away})] if away else []
    try:
        newest = await readings.newest()
    except (RedisError, OSError, TimeoutError):
        found.insert(0, Finding(what=Unwell.REDIS_AWAY))
        return {"findings": _printed(found), "stages": [], "redis": None, "kafka": _kafka(broker, away)}
    found += health.filling(newest.storage.fullest)
    found += health.findings(newest.beats, broker.wrong if broker else [], wanted) + readings.gaps()
    speed = readings.speed()
    return {
        "findings": _printed(found),
        "stages": [_stage(name, newest, speed) for name in STAGES],
        "speed_over_s": round(speed.over_s) if speed else None,
        "warming": _warming(newest.beats),
        "redis": newest.storage,
        "kafka": _kafka(broker, away),
        "model": {
            **msgspec.to_builtins(readings.model()),
            "running": sorted({one.model for one in newest.beats} - {""}),
        },
        "canary_at": max((one.canary_at for one in newest.beats), default=0),
        "drill": max(((one.drill_at, one.drill) for one in newest.beats), default=(0, "")),
    }


def _stage(name: str, reading: Reading, speed: Speed | None) -> dict[str, Any]:
    processes = [one for one in reading.beats if one.stage == name]
    counts = reading.stages.get(name)
    return {
        "stage": name,
        "processes": [
            {"pid": one.pid, "instance": one.instance, "state": one.state, "note": one.note} for one in processes
        ],
        "books": {**msgspec.to_builtins(counts), "balanced": counts.balanced} if counts else None,
        "lag": sum(one.lag for one in processes),
        "per_s": round(speed.per_s[name], 2) if speed and name in speed.per_s else None,
    }


def _warming(found: list[Beat]) -> dict[str, Any]:
    partitions = sum(one.warming for one in found)
    share = sum(one.warming * one.warmed for one in found) / partitions if partitions else 1.0
    return {"partitions": partitions, "share": round(share, 3)}


def _kafka(broker: Broker | None, away: str) -> dict[str, Any] | None:
    if broker is None:
        return {"reachable": False, "why": away} if away else None
    return {"reachable": True, "brokers": broker.brokers, "cluster": broker.cluster}


def _printed(found: list[Finding]) -> list[dict[str, Any]]:
    return [
        {"what": one.what.value, "stage": one.stage, "values": one.values, "sentence": one.sentence} for one in found
    ]


def _done(counts: Counts) -> int:
    return counts.read - counts.in_flight
