"""One episode for all endpoints: what goes into which lane, what is noted as told, and when to look again. Pure.

pipeline.py decides each endpoint; intake.py brings the facts and makes the result lasting.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from alerts.case import CLOSES, ONCE, OPENS, Case, Decision, Head, Told
from alerts.channels.contract import Limits
from alerts.lanes import ALL, Addressed, Known
from alerts.pipeline import after, decide, news, spoken
from alerts.say import Say
from alerts.stages import silent_until
from groundswell.control import ControlView
from groundswell.decisions import Delivery
from groundswell.records import Acknowledgement, AlertEvent, Channel, Endpoint

NEVER = float("inf")
ROUNDS_MOST = 6_000  # words about one episode in one look: after a loss, repeats of days are noted one by one

_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known as an episode is planned. `done`: event -> endpoint -> when it was finished before Redis was lost."""

    event: AlertEvent
    body: bytes
    head: Head
    told: Mapping[str, Told]
    now: int
    inhibited: Mapping[str, int] = field(
        default_factory=dict
    )  # endpoints that were told a wider alert: see Case.inhibited
    gone: frozenset[str] = frozenset()  # endpoints that are disabled because they cannot be reached
    late: bool = False
    done: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass
class Planned:
    """The result. `look_ms`: when to plan it again (inf: when something changes), None: nobody needs more of it."""

    tellings: list[Addressed] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)
    kept: dict[str, Delivery] = field(default_factory=dict)
    look_ms: float | None = None


def head_of(event: AlertEvent, known: Known, written_at: int, now: int) -> Head:
    """What is kept of an episode as this event becomes its newest."""
    written = written_at or now
    before = known.head
    begins = before is None or (before.over and event.type in OPENS)
    return Head(
        written_ms=written,
        fired_ms=written if begins or before is None else before.fired_ms,
        began_anew=known.sequence >= 0 if begins or before is None else before.began_anew,
        over=event.type in CLOSES,
    )


def planned(facts: Facts, view: ControlView, limits_of: Callable[[Channel], Limits]) -> Planned:
    """Plan one episode for all endpoints."""
    made = Planned()
    ack = view.acks.get(facts.event.data.episode_id)
    silent = silent_until(facts.event.data, view.silences.values(), facts.now)  # the same for all endpoints
    looks: list[int] = []
    owed = False
    for name, endpoint in view.endpoints.items():
        limits = limits_of(endpoint.channel)
        case = Case(
            event=facts.event,
            head=facts.head,
            endpoint=endpoint,
            now=facts.now,
            told=facts.told.get(name, Told()),
            ack=ack,
            silent_until=silent,
            inhibited=facts.inhibited.get(name),
            keep_alive_s=limits.repeat_s,
            late=facts.late,
            gone=name in facts.gone,
        )
        decision, told = _endpoint(case, facts, limits, ack, made)
        if decision.why is not None:
            made.kept[name] = decision.why
        if decision.again_ms:
            looks.append(decision.again_ms)
        owed = owed or (
            decision.why is Delivery.DISABLED and not told.nothing and told.sequence < facts.event.data.sequence
        )
    over = facts.event.type in CLOSES or facts.event.type in ONCE
    made.look_ms = min(looks) if looks else NEVER if owed or not over else None
    return made


def _endpoint(
    case: Case, facts: Facts, limits: Limits, ack: Acknowledgement | None, made: Planned
) -> tuple[Decision, Told]:
    """All that one endpoint is to hear now, one word after the other, until there is an objection."""
    endpoint = case.endpoint
    heard = facts.done.get(facts.event.id, {}).get(endpoint.id)
    say, _ = news(case)
    if heard is not None and say is not None and say not in (Say.ACKNOWLEDGED, Say.REPEAT):
        # It was told before Redis was lost: a fact, whatever would be decided now.
        told = after(case.told, facts.event, say, heard, None)
        made.tellings.append(Addressed(endpoint=endpoint.id, told=told))
        case = replace(case, told=told)
    decision = decide(case)
    for _ in range(ROUNDS_MOST):
        if decision.say is None:
            break
        said = spoken(facts.event, decision.say, case.told, ack)
        heard = facts.done.get(said.id, {}).get(endpoint.id)
        told = after(case.told, facts.event, decision.say, facts.now if heard is None else heard, ack)
        if heard is None:
            made.bodies[said.id] = facts.body if said is facts.event else _encode(said)
        made.tellings.append(_telling(endpoint, case, decision.say, said, told, limits, known=heard is not None))
        case = replace(case, told=told)
        decision = decide(case)
    return decision, case.told


def _telling(
    endpoint: Endpoint, case: Case, say: Say, said: AlertEvent, told: Told, limits: Limits, *, known: bool
) -> Addressed:
    if known:
        return Addressed(endpoint=endpoint.id, told=told)
    severe = said.data.severity == "critical"
    urgent = severe and (say in (Say.FIRING, Say.ESCALATED) or (say is Say.UPDATED and not case.told.severe))
    return Addressed(
        endpoint=endpoint.id,
        told=told,
        event=said.id,
        say=say,
        lane=ALL if limits.many else said.data.episode_id,
        urgent=urgent,
    )
