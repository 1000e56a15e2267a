"""The books of the whole road: each stage's own sum, and what one stage wrote against what the next one read."""

from typing import Any

import msgspec
from msgspec import Struct

from groundswell.clients.connect import RedisClient
from groundswell.decisions import Stage, Unwell
from groundswell.keys import Keys
from groundswell.running import beat, books
from groundswell.running.books import Counts
from groundswell.running.health import Finding


class Accounting(Struct, kw_only=True):
    """`stages` by name; `gaps` is what does not add up."""

    stages: dict[str, Counts]
    gaps: list[Finding]

    @property
    def balanced(self) -> bool:
        return not self.gaps

    @property
    def wrong(self) -> list[str]:
        """The gaps in sentences."""
        return [gap.sentence for gap in self.gaps]

    @property
    def in_flight(self) -> int:
        return sum(counts.in_flight for counts in self.stages.values())

    def as_json(self) -> dict[str, Any]:
        """Stage -> its books, as printed."""
        return {name: msgspec.to_builtins(counts) for name, counts in self.stages.items()}


async def account(redis: RedisClient, keys: Keys, scored_partitions: int, delivered: Counts) -> Accounting:
    """Read all books. `delivered` is what the delivery lanes say of themselves."""
    stages = {
        Stage.INGEST.value: await books.total(redis, keys, Stage.INGEST),
        Stage.TAG.value: await books.total(redis, keys, Stage.TAG),
        Stage.AGGREGATE.value: await _aggregate(redis, keys, scored_partitions),
        Stage.DELIVER.value: delivered,
    }
    for one in await beat.beats(redis, keys):
        if one.stage in stages and one.stage != Stage.DELIVER.value and one.in_flight:
            # Read but not yet committed: in the books of neither side, so it is added to both.
            stages[one.stage].in_flight += one.in_flight
            stages[one.stage].read += one.in_flight
    return Accounting(stages=stages, gaps=_gaps(stages))


async def _aggregate(redis: RedisClient, keys: Keys, scored_partitions: int) -> Counts:
    pipeline = redis.pipeline(transaction=False)
    for partition in range(scored_partitions):
        pipeline.hget(keys.state(partition), "books")
    whole = Counts()
    for raw in await pipeline.execute():
        if raw:
            whole += msgspec.json.decode(raw, type=Counts)
    return whole


def _gaps(stages: dict[str, Counts]) -> list[Finding]:
    gaps = [
        Finding(what=Unwell.NOT_BALANCED, stage=name, values=msgspec.to_builtins(counts))
        for name, counts in stages.items()
        if not counts.balanced
    ]
    ingest, tag, aggregate = stages[Stage.INGEST], stages[Stage.TAG], stages[Stage.AGGREGATE]
    # A killed process writes again what it had not committed: the next stage may read more, as duplicates, never less.
    if not (ingest.in_flight or tag.in_flight) and tag.read < ingest.emitted:
        gaps.append(_unread(Stage.TAG, tag.read, ingest.emitted, "documents", Stage.INGEST))
    if not (tag.in_flight or aggregate.in_flight) and aggregate.read < tag.emitted:
        gaps.append(_unread(Stage.AGGREGATE, aggregate.read, tag.emitted, "rows", Stage.TAG))
    return gaps


def _unread(stage: Stage, read: int, written: int, things: str, before: Stage) -> Finding:
    values: dict[str, int | str] = {"read": read, "written": written, "things": things, "before": before}
    return Finding(what=Unwell.NOT_READ, stage=stage, values=values)
