"""A scored partition in memory, what one batch changes of it, and how the partitions of a process stand.

aggregate.py works on it; live.py shows it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from groundswell.records import DeadLetter
from groundswell.running import beat
from stream.baselines import Closed
from stream.detection.detect import Detector, Transition
from stream.generation import Generation
from stream.rebuild import Plan
from stream.rulebook.rule_watch import RuleWatch
from stream.windows import Applied, Window


@dataclass
class Part:
    """One scored partition in memory: equal to what Redis holds whenever no batch is in work."""

    partition: int
    owner: str
    revision: int
    offset: int
    window: Window
    detector: Detector
    last_row_s: float
    rules: RuleWatch = field(default_factory=RuleWatch)
    drawn: tuple[int, int] = (0, 0)  # quarter hour up to which bands are written, for how many subjects
    dirty: bool = True  # something for the live view
    outbox: bool = True  # something may wait for the relay
    plan: Plan | None = None  # a rebuild is under way: nothing is told, pages show `warming`
    generation: Generation = field(default_factory=lambda: Generation(""))
    checkpointed_ms: int = 0
    closed: Closed | None = None  # the silence that the clock closed last
    half_done: bool = False  # a batch is in work: memory is ahead of Redis

    @property
    def warming(self) -> bool:
        return self.plan is not None

    @property
    def counting(self) -> bool:
        """Before a checkpoint that is still to be installed: rows are counted, nothing is learned."""
        return self.plan is not None and self.plan.checkpoint is not None


@dataclass
class Change:
    """What a batch adds beyond the buckets."""

    applied: list[Applied] = field(default_factory=list)
    told: list[Transition] = field(default_factory=list)
    steps: int = 0
    quarters: set[int] = field(default_factory=set)
    letters: list[DeadLetter] = field(default_factory=list)
    closed: Closed | None = None  # by the clock
    installed: bool = False  # a checkpoint: all its rows are to be written
    released: list[bytes] | None = None  # a rebuild ends: what nobody was told before


def standing(parts: Mapping[int, Part], slow: str = "") -> dict[str, Any]:
    """State and note of a beat: how many partitions are held, which one is slow, and how far a rebuild is."""
    plans = [(part.offset, part.plan.rebuild) for part in list(parts.values()) if part.plan is not None]
    if not plans:
        return beat.fares(f"{len(parts)} partitions", slow)
    done = sum(offset - rebuild.start for offset, rebuild in plans)
    share = done / (sum(rebuild.until - rebuild.start for _, rebuild in plans) or 1)
    note = f"{len(plans)} of {len(parts)} partitions are counted again, {share:.0%} of them read; alerts wait"
    return {"state": "warming", "note": note, "warming": len(plans), "warmed": round(share, 3)}
