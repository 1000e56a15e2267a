"""Stages with one guarantee taken out each, as processes: `python mutants.py MUTANT STAGE`; see test_chaos_sees.py."""

import asyncio
import builtins
import sys
from typing import Any

from bench import chaos_stage


def healthy() -> None:
    """Nothing is changed: the same road must come through."""


def unmarked() -> None:
    """Aggregate applies what it reads, whether it lies above the mark or not."""
    from stream import aggregate

    fold = aggregate.fold

    def every_time(window: Any, batch: Any) -> Any:
        window.marks.pop(batch.partition, None)
        return fold(window, batch)

    aggregate.fold = every_time


def hasty() -> None:
    """Tag commits what it has read, then writes it."""
    from stream.lane import Lane

    work_on = Lane._work_on

    async def commit_first(self: Any, records: list[Any]) -> None:
        await self._consumer.commit({self.partition: records[-1].offset + 1})
        await asyncio.sleep(0.4)
        await work_on(self, records)

    Lane._work_on = commit_first


def disorderly() -> None:
    """Tag writes the records of a batch in another order than it read them."""
    from stream import tag

    def backwards(found: Any, **options: Any) -> list[Any]:
        return builtins.sorted(found, **options)[::-1]

    tag.sorted = backwards


def credulous() -> None:
    """Aggregate believes whatever state it finds in Redis, of whichever topics."""
    from stream.store import Store

    async def keep(self: Any, partition: int) -> None:
        pass

    Store._drop = keep


MUTANTS = {one.__name__: one for one in (healthy, unmarked, hasty, disorderly, credulous)}

if __name__ == "__main__":
    MUTANTS[sys.argv[1]]()
    chaos_stage.main(sys.argv[2])
