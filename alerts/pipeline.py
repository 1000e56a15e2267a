"""Which endpoints hear of an alert event, and why others do not: STAGES, top to bottom, the first that objects wins.

Pure: an event, an endpoint, what people set and what was told already. intake.py asks, lanes.py remembers.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from groundswell.decisions import Delivery
from groundswell.records import AlertEvent, Endpoint, Silence

LATEST_MS = 76 * 3_600_000  # an event older than this is news to nobody
SKEW_MS = 300_000  # clocks of two machines may differ by this much


@dataclass(frozen=True, kw_only=True)
class Case:
    """One event for one endpoint, now. Times are epoch milliseconds."""

    event: AlertEvent
    endpoint: Endpoint
    written_at: int  # when the event got to its topic; 0 when unknown
    now: int
    silences: Sequence[Silence] = ()
    told: int = -1  # newest sequence of this episode planned for this endpoint; -1: nothing was
    done: bool = False  # finished before Redis was lost
    gone: bool = False  # the endpoint answered 410


@dataclass(frozen=True)
class Plan:
    """The endpoints to send to, the reason for each other one, and when a silence ends (0: none holds it back)."""

    send: list[str] = field(default_factory=list)
    kept: dict[str, Delivery] = field(default_factory=dict)
    held_until: int = 0


def expired(case: Case) -> Delivery | None:
    """Nobody needs a warning three days late: it is read again only because a Redis was lost."""
    return Delivery.EXPIRED if 0 < case.written_at < case.now - LATEST_MS else None


def disabled(case: Case) -> Delivery | None:
    """The operator switched the endpoint off, or it said itself that it is gone."""
    return Delivery.DISABLED if case.endpoint.disabled or case.gone else None


def not_routed(case: Case) -> Delivery | None:
    """The endpoint wants other subjects, or did not exist yet."""
    subject = case.event.data.subject.id
    if case.endpoint.subjects and not any(covers(wanted, subject) for wanted in case.endpoint.subjects):
        return Delivery.NOT_ROUTED
    return Delivery.NOT_ROUTED if 0 < case.written_at < case.endpoint.created_at - SKEW_MS else None


def unchanged(case: Case) -> Delivery | None:
    """It was told this or something newer; and nobody hears the end of what he never heard the beginning of."""
    if case.done or case.told >= case.event.data.sequence:
        return Delivery.UNCHANGED
    return Delivery.UNCHANGED if case.event.type == "alert.resolved" and case.told < 0 else None


def silenced(case: Case) -> Delivery | None:
    """Somebody asked for quiet about this subject; what is still true afterwards is told when the silence ends."""
    return Delivery.SILENCED if quiet_until(case.event.data.subject.id, case.silences, case.now) else None


STAGES: tuple[Callable[[Case], Delivery | None], ...] = (expired, disabled, not_routed, unchanged, silenced)


def decide(case: Case) -> Delivery | None:
    """The first objection, or None: send it."""
    return next((objection for stage in STAGES if (objection := stage(case)) is not None), None)


def plan(cases: Iterable[Case]) -> Plan:
    """Decide all endpoints of one event."""
    made = Plan()
    held_until = 0
    for case in cases:
        objection = decide(case)
        if objection is None:
            made.send.append(case.endpoint.id)
            continue
        made.kept[case.endpoint.id] = objection
        if objection is Delivery.SILENCED:
            held_until = max(held_until, quiet_until(case.event.data.subject.id, case.silences, case.now))
    return Plan(made.send, made.kept, held_until)


def cases(
    event: AlertEvent,
    endpoints: Mapping[str, Endpoint],
    silences: Mapping[str, Silence],
    *,
    written_at: int,
    now: int,
    told: Mapping[str, int],
    done: Iterable[str] = (),
    gone: Iterable[str] = (),
) -> list[Case]:
    """One case an endpoint. `told` has the newest sequence planned, by endpoint; `done` and `gone` name endpoints."""
    done, gone = frozenset(done), frozenset(gone)
    return [
        Case(
            event=event,
            endpoint=endpoint,
            written_at=written_at,
            now=now,
            silences=tuple(silences.values()),
            told=told.get(name, -1),
            done=name in done,
            gone=name in gone,
        )
        for name, endpoint in endpoints.items()
    ]


def covers(wanted: str, subject: str) -> bool:
    """A subject covers itself and its pairs with topics: XSHG:600519 covers XSHG:600519|topic:fraud."""
    return wanted == subject or subject.startswith(f"{wanted}|")


def quiet_until(subject: str, silences: Sequence[Silence], now: int) -> int:
    """When the last silence on this subject ends; 0 when there is none. A silence without subjects covers all."""
    ends = [
        silence.until
        for silence in silences
        if silence.until > now and (not silence.subjects or any(covers(wanted, subject) for wanted in silence.subjects))
    ]
    return max(ends, default=0)
