"""Whether anybody counts: the beats of aggregate, looked at each second, so that figures that stand still are not taken for calm."""

from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from groundswell.clock import Clock
from groundswell.keys import Keys
from groundswell.running.beat import EVERY_S, Beat

SILENT_S = EVERY_S + 1.5  # a beat may be late by that much; with a look a second, who is gone is missed within five

_beat = msgspec.json.Decoder(Beat)


class Counting:
    """What was heard of aggregate last. Its own clock is not compared with ours: what counts is that its beats change."""

    def __init__(self, redis: Redis, keys: Keys, clock: Clock) -> None:
        self._redis, self._keys, self._clock = redis, keys, clock
        self._names: list[bytes] = []
        self._beats: dict[str, int] = {}
        self._heard_s: float | None = None
        self.heard_at = 0

    @property
    def silent(self) -> bool:
        """True where one counted since this process began, and none has said anything for SILENT_S."""
        return self._heard_s is not None and self._clock.monotonic_s() - self._heard_s > SILENT_S

    async def look(self) -> None:
        """One read. A Redis that is away says nothing about who counts: that is another state."""
        try:
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.smembers(self._keys.beats)
            for name in self._names:
                pipeline.get(name)
            names, *raw = await pipeline.execute()
        except (RedisError, OSError, TimeoutError):
            if self._heard_s is not None:
                self._heard_s = self._clock.monotonic_s()
            return
        # Who is new is read at the next look: one round trip is enough.
        self._names = sorted(name for name in names if b":beat:aggregate:" in _bytes(name))
        beats = {one.instance: one.at for one in map(_decoded, raw) if one is not None}
        if any(self._beats.get(instance) != at for instance, at in beats.items()):
            self._heard_s, self.heard_at = self._clock.monotonic_s(), self._clock.now_ms()
        self._beats = beats


def _bytes(name: Any) -> bytes:
    return name if isinstance(name, bytes) else str(name).encode()


def _decoded(raw: bytes | None) -> Beat | None:
    if raw is None:
        return None
    try:
        return _beat.decode(raw)
    except msgspec.DecodeError:
        return None
