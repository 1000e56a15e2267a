"""The objections, top to bottom: each looks at one case and what there is to say, and keeps it back for a named reason.

An objection is (reason, when to ask again in epoch ms; 0: when something changes). pipeline.py runs them.
"""

from collections.abc import Iterable

from alerts.case import SKEW_MS, Case, Objection, Stage, acknowledged
from alerts.matchers import labels, main_topics, parse
from alerts.quiet import quiet_until
from alerts.say import Say
from groundswell.decisions import Delivery
from groundswell.errors import WrongShape
from groundswell.records import AlertData, Endpoint, Silence
from groundswell.reserved import CANARY

RANK = {"notice": 0, "warning": 1, "critical": 2}


def expired(case: Case, say: Say | None) -> Objection | None:
    """Nobody needs a warning three days late: it is read again only because a Redis was lost. An end is never too late."""
    return (Delivery.EXPIRED, 0) if case.late and say not in (None, Say.RESOLVED, Say.RECOVERED) else None


def disabled(case: Case, _say: Say | None) -> Objection | None:
    """The operator switched the endpoint off, or it cannot be reached any more."""
    return (Delivery.DISABLED, 0) if case.endpoint.disabled or case.gone else None


def not_routed(case: Case, _say: Say | None) -> Objection | None:
    """The endpoint wants other things, or did not exist yet. Who heard an alert begin hears how it goes on and ends."""
    event, told = case.event, case.told
    heard = not told.nothing or told.sequence >= event.data.sequence
    if heard or wants(case.endpoint, event.type, event.data, case.head.written_ms):
        return None
    return (Delivery.NOT_ROUTED, 0)


def unchanged(_case: Case, say: Say | None) -> Objection | None:
    """It was told; and nobody hears the end of what he never heard the beginning of."""
    return (Delivery.UNCHANGED, 0) if say is None else None


def seen(case: Case, say: Say | None) -> Objection | None:
    """Somebody looks after it: nobody else is called."""
    called = say is Say.ESCALATED and acknowledged(case) is not None
    return (Delivery.ACKNOWLEDGED, 0) if called else None


def not_yet(case: Case, say: Say | None) -> Objection | None:
    """Others may still acknowledge it."""
    due = case.head.fired_ms + case.endpoint.escalates_after_s * 1000
    return (Delivery.NOT_YET, due) if say is Say.ESCALATED and case.now < due else None


def quiet_hours(case: Case, _say: Say | None) -> Objection | None:
    """It is night there, and this is not severe enough to wake somebody."""
    quiet = case.endpoint.quiet
    if quiet is None or RANK[case.event.data.severity] >= RANK[quiet.unless]:
        return None
    ends = quiet_until(quiet, case.now)
    return (Delivery.QUIET_HOURS, ends) if ends else None


def silenced(case: Case, _say: Say | None) -> Objection | None:
    """Somebody asked for quiet about this; what is still true afterwards is told when the silence ends."""
    return (Delivery.SILENCED, case.silent_until) if case.silent_until else None


def inhibited(case: Case, _say: Say | None) -> Objection | None:
    """A wider alert that this endpoint was told says it already. What it has heard begin goes on."""
    if case.inhibited is None or not case.told.nothing:
        return None
    return (Delivery.INHIBITED, case.inhibited)


STAGES: tuple[Stage, ...] = (
    expired, disabled, not_routed, unchanged, seen, not_yet, quiet_hours, silenced, inhibited,
)  # fmt: skip


def wants(endpoint: Endpoint, kind: str, data: AlertData, written_ms: int) -> bool:
    """Whether an endpoint is to hear of such an alert at all. News about other endpoints and drills has no subject to choose."""
    if kind == "endpoint.test":
        return False
    if data.subject.id == CANARY:  # an alert that always fires is what Alertmanager's own dead man's switches watch
        return endpoint.channel == "alertmanager"
    if data.test:
        return endpoint.drills
    if kind.startswith(("endpoint.", "system.")):
        return data.subject.id != f"endpoint:{endpoint.id}"
    return (
        not 0 < written_ms < endpoint.created_at - SKEW_MS
        and RANK[data.severity] >= RANK[endpoint.severity]
        and (not endpoint.subjects or any(covers(wanted, data.subject.id) for wanted in endpoint.subjects))
        and (not endpoint.topics or not topics_of(data).isdisjoint(endpoint.topics))
        and (not endpoint.languages or any(document.lang in endpoint.languages for document in data.documents))
    )


def topics_of(data: AlertData) -> set[str]:
    """With and without `topic:`, as people write both."""
    subject, _, pair = data.subject.id.partition("|")
    own = {name.removeprefix("topic:") for name in (subject, pair) if name.startswith("topic:")}
    names = own | main_topics(data)
    return names | {f"topic:{name}" for name in names}


def covers(wanted: str, subject: str) -> bool:
    """A subject covers itself and its pairs with topics: XSHG:600519 covers XSHG:600519|topic:fraud."""
    return wanted == subject or subject.startswith(f"{wanted}|")


def silent_until(data: AlertData, silences: Iterable[Silence], now: int) -> int:
    """When the last silence on this alert ends; 0 when there is none."""
    return max((silence.until for silence in silences if silence.until > now and covered(silence, data)), default=0)


def covered(silence: Silence, data: AlertData) -> bool:
    """All of its conditions hold. One that cannot be read holds for nothing: an alert too many, never one too few."""
    if silence.subjects and not any(covers(wanted, data.subject.id) for wanted in silence.subjects):
        return False
    try:
        conditions = [parse(text) for text in silence.matchers]
    except WrongShape:
        return False
    known = labels(data) if conditions else {}
    return all(condition.holds(known) for condition in conditions)
