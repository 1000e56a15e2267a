"""Reads what aggregate shows in Redis, for the page's hub and for `groundswell watch`. Read records.py (LiveRow) first.

One pipelined read a look; a second one only when an alert has changed since.
"""

from dataclasses import dataclass, field

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from groundswell import alert_views
from groundswell.errors import RedisAway
from groundswell.keys import MINUTE_MS, Keys
from groundswell.records import AlertView, LiveRow
from groundswell.telemetry import log

MAX_ALERTS = 200  # the newest; older ones are found by their address

_rows = msgspec.json.Decoder(list[LiveRow])


def minute_ms(minute: int) -> int:
    """Epoch milliseconds of a minute, whether it is given in milliseconds or as a count of minutes."""
    return minute * MINUTE_MS if minute < 100_000_000_000 else minute


@dataclass
class Look:
    """What one look found that the one before had not."""

    rows: list[LiveRow] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    alerts: list[AlertView] = field(default_factory=list)


class Shown:
    """All subjects and the newest alerts as last read. `rows` by subject, `alerts` by episode."""

    def __init__(self, redis: Redis, keys: Keys, partitions: int) -> None:
        self.rows: dict[str, LiveRow] = {}
        self.alerts: dict[str, AlertView] = {}
        self._redis = redis
        self._keys = keys
        self._raw: list[bytes | None] = [None] * partitions
        self._held: list[set[str]] = [set() for _ in range(partitions)]
        self._scores: dict[str, float] = {}

    @property
    def at(self) -> int:
        """The newest minute that any count ends at, in milliseconds; 0 when nothing is shown."""
        return max((minute_ms(row.at) for row in self.rows.values()), default=0)

    async def look(self) -> Look:
        """Read once. Raises RedisAway."""
        try:
            pipeline = self._redis.pipeline(transaction=False)
            for partition in range(len(self._raw)):
                pipeline.get(self._keys.live(partition))
            pipeline.zrevrange(self._keys.alerts, 0, MAX_ALERTS - 1, withscores=True)
            *raw, scores = await pipeline.execute()
            found = Look()
            # Alerts first: their second read may fail, and what is found must not be half taken then.
            await self._take_alerts({_text(name): score for name, score in scores}, found)
            self._take_rows(raw, found)
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
        return found

    def _take_rows(self, raw: list[bytes | None], found: Look) -> None:
        if raw == self._raw:
            return
        for partition, (now, before) in enumerate(zip(raw, self._raw, strict=True)):
            if now == before:
                continue
            rows = _decoded_rows(now)
            for row in rows:
                if self.rows.get(row.subject) != row:
                    self.rows[row.subject] = row
                    found.rows.append(row)
            held = {row.subject for row in rows}
            for subject in self._held[partition] - held:
                self.rows.pop(subject, None)
                found.gone.append(subject)
            self._raw[partition], self._held[partition] = now, held

    async def _take_alerts(self, scores: dict[str, float], found: Look) -> None:
        if scores == self._scores:
            return
        changed = [episode for episode, score in scores.items() if self._scores.get(episode) != score]
        for view in await alert_views.several(self._redis, self._keys, changed):
            self.alerts[view.episode] = view
            found.alerts.append(view)
        for episode in self.alerts.keys() - scores.keys():
            del self.alerts[episode]
        self._scores = scores


def _decoded_rows(raw: bytes | None) -> list[LiveRow]:
    if raw is None:
        return []
    try:
        return _rows.decode(raw)
    except msgspec.DecodeError as error:
        log().warning("live_rows_unreadable", error=str(error)[:200])
        return []


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
