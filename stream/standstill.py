"""Ends a process that stands still: a partition was read and nothing of it gets finished, or not even the event loop turns.

The first is seen by what was read and what was finished; the second by a thread that needs no turn of the loop and no lock of the
interpreter, so that a search that never ends is seen too. Who is started next finds the note of `crashes.py`.
"""

import asyncio
import faulthandler
import sys
from collections.abc import Iterable

from aiokafka import TopicPartition

from groundswell.clock import Clock
from groundswell.errors import Stuck
from groundswell.telemetry import BUSY_SECONDS

WATCH_S = 1.0


class Standstill:
    """What each partition has open, and since when. All calls come from one event loop."""

    def __init__(self, stage: str, clock: Clock, stuck_s: float) -> None:
        self._stage, self._clock, self._stuck_s = stage, clock, stuck_s
        self._open: dict[TopicPartition, tuple[int, float]] = {}  # read to there; nothing was finished since then

    def read(self, partition: TopicPartition, end: int) -> None:
        """Everything below `end` was read."""
        _, since_s = self._open.get(partition, (0, self._clock.monotonic_s()))
        self._open[partition] = (end, since_s)

    def finished(self, partition: TopicPartition, end: int) -> None:
        """Everything below `end` is lasting."""
        read_to, _ = self._open.pop(partition, (0, 0.0))
        if read_to > end:
            self._open[partition] = (read_to, self._clock.monotonic_s())

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """They are another's, or begin anew."""
        for partition in partitions:
            self._open.pop(partition, None)

    def excuse(self) -> None:
        """We wait for somebody else: that is no standstill."""
        now_s = self._clock.monotonic_s()
        self._open = {partition: (end, now_s) for partition, (end, _) in self._open.items()}

    @property
    def longest(self) -> tuple[float, TopicPartition | None]:
        """Seconds without anything finished, and where."""
        if not self._open:
            return 0.0, None
        partition, (_, since_s) = min(self._open.items(), key=lambda item: item[1][1])
        return self._clock.monotonic_s() - since_s, partition

    @property
    def slow(self) -> str:
        """A sentence for people while a partition has used up a quarter of its time; else empty."""
        still_s, partition = self.longest
        if partition is None or still_s < self._stuck_s / 4:
            return ""
        return f"{shown(partition)} has not moved for {still_s:.0f} s and may for {self._stuck_s:.0f} s"

    def look(self) -> None:
        """Raises Stuck."""
        still_s, partition = self.longest
        BUSY_SECONDS.labels(self._stage).set(still_s)
        if partition is not None and still_s >= self._stuck_s:
            raise Stuck(f"{shown(partition)} has not moved for {still_s:.0f} s.")

    async def watch(self) -> None:
        """Until cancelled. Raises Stuck; a loop that stands still ends the process with status 1 and says where it stood."""
        try:
            while True:
                faulthandler.dump_traceback_later(self._stuck_s, exit=True, file=sys.__stderr__ or 2)
                await asyncio.sleep(min(WATCH_S, self._stuck_s / 4))
                self.look()
        finally:
            faulthandler.cancel_dump_traceback_later()


def shown(partition: TopicPartition) -> str:
    return f"Partition {partition.partition} of {partition.topic}"
