"""After Redis was lost: where a scored partition begins again, what it installs on the way, and which alerts were told before.

Everything in Redis is a view of Kafka. A rebuild reads `scored` from its beginning, or from when an operator says: up to the offset of
the newest checkpoint it only counts, there it installs the checkpoint, and from there it detects and closes as the first run did. Until the
end that it saw at its start the partition is `warming`: what it finds waits, and then only what is not on the alerts topic is told.
aggregate.py drives it; `Past` is what it asks of Kafka.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
from aiokafka import TopicPartition
from msgspec import Struct

from groundswell.clock import Clock
from groundswell.errors import Refused
from groundswell.records import AlertEvent
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream import baselines, readback
from stream.baselines import Checkpoint, Closed, History, Kept
from stream.detection import surge
from stream.generation import Generation
from stream.past import history
from stream.relay import Outgoing
from stream.topology import ALERTS, BASELINES, SCORED, Topology

BEFORE_CHECKPOINT_MS = 25 * 3_600_000  # read at least so far before it, for the cards and echoes of an alert
TOLD_S = 5.0  # partitions that are ready within so long share one look at the alerts topic

_event = msgspec.json.Decoder(AlertEvent).decode

Listed = Callable[[Outgoing], Awaitable[None]]


class Rebuild(Struct, kw_only=True, frozen=True):
    """A rebuild under way, kept beside the offset so that another process goes on with it."""

    start: int
    until: int  # the end of the partition when it began
    install: int = -1  # offset of the checkpoint that is still to be installed
    silent_before_ms: int = 0  # where the past is not known exactly, what is older than this is not told


@dataclass
class Plan:
    """What a warming partition has before it. `closed` in order of offset; `histories` are laid beneath what it knows where it
    begins to learn."""

    rebuild: Rebuild
    checkpoint: Checkpoint | None = None  # to be installed at its offset
    closed: deque[Closed] = field(default_factory=deque)
    histories: dict[str, History] = field(default_factory=dict)


class Past(Protocol):
    """What Kafka remembers. All raise BrokerAway."""

    async def plan(self, partition: int, generation: Generation, at: int | None, begun: Rebuild | None) -> Plan | None:
        """How to build a partition whose stored offset is `at`; `begun`: go on with that. None: there is nothing before now."""
        ...

    async def told(self) -> frozenset[str]:
        """Ids of the events that are on the alerts topic now."""
        ...

    def forget(self) -> None:
        """Nothing that is held is rebuilt any more: let go of what was read, but not of what was told. A partition that was being taken
        up meanwhile has its plan and asks at its end."""
        ...


def plan(
    kept: Kept, partition: int, begin: int, end: int, start: int, now_ms: int, at: int | None, begun: Rebuild | None
) -> Plan | None:
    """The plan for a partition whose log reaches from `begin` to `end` and is to be read from `start`. Raises LookupError when what
    was begun cannot be gone on with, since its checkpoint is gone."""
    checkpoint = _usable(kept.checkpoints.get(partition), end)
    histories = kept.histories.get(partition, {})
    if begun is not None and at is not None:
        install = checkpoint if begun.install >= 0 else None
        if begun.install >= 0 and (install is None or install.offset != begun.install):
            raise LookupError(f"the checkpoint at {begun.install} is gone")
        found = Plan(begun, install)
    else:
        if checkpoint is None and start >= end and not histories:
            return None
        whole = checkpoint.offset >= begin if checkpoint else start == 0
        if history.unknown(histories, checkpoint.subjects if checkpoint else ()):
            whole = False  # what is known now would have found other alerts: they are of the past
        found = Plan(
            Rebuild(
                start=start,
                until=end,
                install=checkpoint.offset if checkpoint else -1,
                silent_before_ms=0 if whole else now_ms,
            ),
            checkpoint,
        )
    found.histories = histories
    first = at if begun is not None and at is not None else start
    found.closed.extend(one for one in kept.closed.get(partition, ()) if one.offset >= first)
    return found


def _usable(checkpoint: Checkpoint | None, end: int) -> Checkpoint | None:
    """None also for one of another detector, or ahead of its log."""
    if checkpoint is None or checkpoint.offset > end:
        return None
    try:
        for known in checkpoint.subjects:
            surge.row_from_bytes(known.row)
    except Refused as error:
        log().warning("baseline_skipped", partition=checkpoint.partition, error=str(error)[:200])
        return None
    return checkpoint


class KafkaPast:
    """The `Past` of a running aggregate: each topic is read once a generation, and nothing while nothing is lost."""

    def __init__(self, settings: Settings, topology: Topology, incarnation: str, clock: Clock, listed: Listed) -> None:
        self._settings, self._topology, self._incarnation, self._clock = settings, topology, incarnation, clock
        self._listed = listed
        self._one_at_a_time = asyncio.Lock()
        self._of = ""  # the generation that the rest belongs to
        self._kept = Kept()
        self._bounds: dict[int, tuple[int, int, int]] = {}
        self._told: set[str] = set()
        self._told_at_s = float("-inf")
        self._read_to: dict[TopicPartition, int] = {}

    async def plan(self, partition: int, generation: Generation, at: int | None, begun: Rebuild | None) -> Plan | None:
        async with self._one_at_a_time:
            if self._of != generation.id:
                await self._begin(generation)
            # Bounds of any moment after the loss will do: what came later, nobody has worked on.
            begin, end, start = self._bounds[partition]
        return plan(self._kept, partition, begin, end, start, self._clock.now_ms(), at, begun)

    async def told(self) -> frozenset[str]:
        """Reads on from where it stopped; each event is also `listed` again, for the pages."""

        async def take(values: list[bytes]) -> None:
            for value in values:
                try:
                    event = _event(value)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue  # not ours, or of a later version: nobody waits for it here
                self._told.add(event.id)
                await self._listed(Outgoing(event=event, evidence=self._kept.evidence.get(event.id, {})))

        asked_s = self._clock.monotonic_s()
        async with self._one_at_a_time:
            if asked_s - self._told_at_s > TOLD_S:  # also while one waits for another's look
                now_s = self._clock.monotonic_s()
                async with readback.reader(self._settings, self._topology, ALERTS) as consumer:
                    starts, ends = await readback.bounds(consumer)
                    starts = {one: max(at, self._read_to.get(one, 0)) for one, at in starts.items()}
                    await readback.read(consumer, starts, ends, take)
                self._told_at_s, self._read_to = now_s, ends
            return frozenset(self._told)

    def forget(self) -> None:
        self._of, self._kept = "", Kept()

    async def _begin(self, generation: Generation) -> None:
        values: list[bytes] = []

        async def take(more: list[bytes]) -> None:
            values.extend(more)

        async with readback.reader(self._settings, self._topology, BASELINES) as consumer:
            await readback.read(consumer, *await readback.bounds(consumer), take)
        self._kept = baselines.gather(values, self._incarnation)
        async with readback.reader(self._settings, self._topology, SCORED) as consumer:
            begins, ends = await readback.bounds(consumer)
            starts = dict(begins)
            if generation.from_ms:
                wanted = {one: self._from_ms(one.partition, generation) for one in begins}
                found = await readback.since(consumer, wanted, ends)
                starts = {one: max(at, begins[one]) for one, at in found.items()}
        self._bounds = {one.partition: (begins[one], ends[one], starts[one]) for one in begins}
        self._of, self._told, self._told_at_s, self._read_to = generation.id, set(), float("-inf"), {}

    def _from_ms(self, partition: int, generation: Generation) -> int:
        checkpoint = self._kept.checkpoints.get(partition)
        return min(generation.from_ms, checkpoint.at - BEFORE_CHECKPOINT_MS if checkpoint else generation.from_ms)
