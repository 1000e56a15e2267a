"""Where a model's time goes: seconds by stage, told with each answer and summed in the metrics."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")


class Stages:
    """Sums the seconds spent in named stages. One thread at a time."""

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """The block belongs to a stage. Blocks do not nest."""
        begun_s = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] += time.perf_counter() - begun_s

    def within(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """`items`; what it takes to make each of them belongs to the stage, what the caller does with it does not."""
        source = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(source)
                except StopIteration:
                    return
            yield item

    def taken(self) -> dict[str, float]:
        """The sums since the last call."""
        taken = dict(self._seconds)
        self._seconds.clear()
        return taken
