"""How an endpoint fares: healthy, degraded (one probe, the others wait), disabled, unreadable. Pure; lanes.py keeps it.

One success heals. A degraded endpoint is probed on the retry schedule, counted from the moment it became degraded, not
from its failures in a row: four tries under way fail together when a receiver restarts, and that is one reason to wait.
"""

from enum import StrEnum

from msgspec import Struct, structs

from groundswell.decisions import Delivery

FAILURES = 5  # in a row
TIMEOUTS = 3
HOUR_MS = 3_600_000
HOPELESS_MS = 120 * HOUR_MS  # nothing but failures for so long
SPREAD_MS = 12 * HOUR_MS  # and the earlier ones at least so far apart: two tries a week apart prove nothing
TELL_MS = HOUR_MS  # degraded for so long, the other endpoints hear of it


class State(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DISABLED = "disabled"
    UNREADABLE = "unreadable"  # its address or secret was sealed with a key that is not here


class Health(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One endpoint now. Times are epoch ms, 0 for never; `reason` is one word and perhaps a name."""

    state: State = State.HEALTHY
    since_ms: int = 0  # in this state
    reason: str = ""
    failures: int = 0  # in a row
    timeouts: int = 0  # in a row
    first_failure_ms: int = 0  # of this row
    last_failure_ms: int = 0
    last_sent_ms: int = 0
    probes: int = 0
    probe_ms: int = 0  # degraded: when one delivery is tried
    lane: str = ""  # degraded: whose
    missed: int = 0  # given up, and not yet said to it
    missed_since_ms: int = 0
    missed_until_ms: int = 0
    skew_s: int = 0  # its clock less ours, by its `Date`; 0 within a minute

    @property
    def reachable(self) -> bool:
        """Something may be sent: all that is due, or a probe."""
        return self.state in (State.HEALTHY, State.DEGRADED)


def sent(health: Health, now: int) -> Health:
    """A delivery arrived: all is well, whatever was before."""
    since = health.since_ms if health.state is State.HEALTHY else now
    return Health(since_ms=since, last_sent_ms=now, missed=health.missed, missed_since_ms=health.missed_since_ms,
                  missed_until_ms=health.missed_until_ms, skew_s=health.skew_s)  # fmt: skip


def failed(health: Health, why: Delivery, reason: str, lane: str, now: int, *, probe: bool) -> Health:
    """A try did not arrive. `reason` as in the verdict; `probe`: it began while degraded, so `lane` probes from now on."""
    if why is Delivery.SECRET_UNREADABLE:
        since = health.since_ms if health.state is State.UNREADABLE else now
        return structs.replace(health, state=State.UNREADABLE, since_ms=since, reason=reason)
    failures, timeouts = health.failures + 1, health.timeouts + 1 if reason == "timed_out" else 0
    first = health.first_failure_ms or now
    hopeless = now - first >= HOPELESS_MS and health.last_failure_ms - first >= SPREAD_MS
    state = health.state
    if reason == "endpoint_gone" or hopeless:
        state = State.DISABLED
    elif state is State.HEALTHY and (failures >= FAILURES or timeouts >= TIMEOUTS):
        state = State.DEGRADED
    begins = state is State.DEGRADED and health.state is not State.DEGRADED
    return structs.replace(
        health,
        state=state,
        since_ms=health.since_ms if state is health.state else now,
        reason=reason,
        failures=failures,
        timeouts=timeouts,
        first_failure_ms=first,
        last_failure_ms=now,
        probes=0 if begins else health.probes + probe,
        lane=lane if begins or probe else health.lane,
    )


def missed(health: Health, count: int, now: int) -> Health:
    """So many were given up: the next message that gets through says it."""
    return structs.replace(
        health,
        missed=health.missed + count,
        missed_since_ms=health.missed_since_ms or now,
        missed_until_ms=now,
    )


def told_missed(health: Health) -> Health:
    """It was said."""
    return structs.replace(health, missed=0, missed_since_ms=0, missed_until_ms=0)


def worth_telling(health: Health, now: int) -> bool:
    """Whether people at the other endpoints should know that this one hears nothing."""
    if health.state is State.DEGRADED:
        return now - health.since_ms >= TELL_MS
    return not health.reachable
