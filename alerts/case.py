"""What is asked of the pipeline: one episode's newest event for one endpoint, now, and what that endpoint was told last.

Read pipeline.py next, which answers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec import Struct

from alerts.say import Say
from groundswell.decisions import Delivery
from groundswell.records import Acknowledgement, AlertEvent, Endpoint

SKEW_MS = 300_000  # clocks of two machines may differ by this much
CLOSES = frozenset({"alert.resolved", "endpoint.recovered"})
OPENS = frozenset({"alert.firing", "endpoint.disabled", "system.watchdog", "system.drill_missed"})
ONCE = frozenset({"system.watchdog", "system.drill_missed"})  # said and done: nothing comes after it


class Told(Struct, frozen=True, array_like=True):
    """What one endpoint was told last of one episode. `sequence` -1: nothing; `acked` is `at` of the acknowledgement."""

    sequence: int = -1
    say: str = ""
    at_ms: int = 0
    acked: int = 0
    count: int = 0  # of repeats
    severe: bool = False  # it was critical

    @property
    def nothing(self) -> bool:
        """It knows of no open alert: it heard nothing, or heard it end and does not know that it began again."""
        return self.sequence < 0 or self.say in (Say.RESOLVED, Say.RECOVERED)


class Head(Struct, frozen=True, kw_only=True):
    """What is kept of an episode beside its newest event. Times are epoch ms."""

    written_ms: int  # when the newest event got to its topic
    fired_ms: int  # when it last began to fire
    began_anew: bool = False  # it had ended before: an older acknowledgement was of that
    over: bool = False  # the newest event is its end


@dataclass(frozen=True, kw_only=True)
class Case:
    """The newest event of one episode for one endpoint, now. Times are epoch milliseconds."""

    event: AlertEvent
    head: Head
    endpoint: Endpoint
    now: int
    told: Told
    ack: Acknowledgement | None = None
    silent_until: int = 0  # the last silence on this alert ends then
    inhibited: int | None = (
        None  # a wider alert that this endpoint was told says it already: until then, 0 while it is open
    )
    keep_alive_s: int = 0  # the channel forgets what is not said again so often
    late: bool = False  # read from its topic days after it was written
    gone: bool = False  # its address does not exist any more, or never answered for days


@dataclass(frozen=True)
class Decision:
    """Say it, or the reason why not; and when to ask again (0: when something changes)."""

    say: Say | None
    why: Delivery | None = None
    again_ms: int = 0


Objection = tuple[Delivery, int]
Stage = Callable[[Case, Say | None], Objection | None]


def acknowledged(case: Case) -> Acknowledgement | None:
    """The acknowledgement, unless the episode has ended since and begun anew."""
    ack = case.ack
    return None if ack is None or (case.head.began_anew and ack.at < case.head.fired_ms) else ack
