"""Now and sleep, as a parameter. Only this file reads the machine's clock; replay and tests bring their own time."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What every stage knows of time."""

    def now_ms(self) -> int:
        """Epoch milliseconds, UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back; for durations and deadlines only."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait; a fake one moves on at once."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that stands until it is moved: for tests, and for a replay driven by its events."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._monotonic_s = 0.0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._monotonic_s

    async def sleep(self, seconds: float) -> None:
        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Move both times forward."""
        self._now_ms += round(seconds * 1000)
        self._monotonic_s += seconds
