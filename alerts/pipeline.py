"""What an endpoint is to hear of an episode now, and why it hears nothing: what it was told last against what is true.

Pure. `decide` runs on every event, when its time comes (`again_ms`) and when people change something; it first asks what
there would be to say (`news`), then STAGES from top to bottom, of which the first objection wins. stages.py has them,
intake.py asks, lanes.py remembers.
"""

import hashlib

import msgspec

from alerts.case import CLOSES, OPENS, Case, Decision, Told, acknowledged
from alerts.say import Say
from alerts.stages import STAGES
from groundswell.records import Acknowledged, Acknowledgement, AlertEvent
from groundswell.times import rfc3339

END_AGAIN_MS = 300_000
SAYS = {"endpoint.disabled": Say.DISABLED, "endpoint.recovered": Say.RECOVERED, "endpoint.test": Say.TEST}


def news(case: Case) -> tuple[Say | None, int]:
    """What there is to say, and when a repeat would be due (0: never). Objections are not looked at."""
    event, told = case.event, case.told
    if event.type in CLOSES:
        if not told.nothing and told.sequence < event.data.sequence:
            return SAYS.get(event.type, Say.RESOLVED), 0
        return _end_again(case)
    if told.nothing:
        return SAYS.get(event.type, Say.ESCALATED if case.endpoint.escalates_after_s else Say.FIRING), 0
    if told.sequence < event.data.sequence:
        return SAYS.get(event.type, Say.FIRING if event.type in OPENS else Say.UPDATED), 0
    ack = acknowledged(case)
    if ack is not None and ack.at != told.acked:
        return Say.ACKNOWLEDGED, 0
    # An acknowledgement ends what people asked to hear again, not what a service must hear to believe it still fires.
    every = [case.keep_alive_s] if ack is not None else [case.keep_alive_s, case.endpoint.repeat_s]
    if not event.type.startswith("alert."):  # of the installation: said once to people
        every = [case.keep_alive_s] if event.type == "endpoint.disabled" else []
    wanted = [seconds for seconds in every if seconds > 0]
    return _repeat(case, min(wanted)) if wanted else (None, 0)


def _end_again(case: Case) -> tuple[Say | None, int]:
    """A service that keeps alerts alive may be away when their end is told: it is told again for some minutes."""
    told, ended_ms = case.told, case.head.written_ms
    if case.keep_alive_s <= 0 or told.sequence < case.event.data.sequence or case.now >= ended_ms + END_AGAIN_MS:
        return None, 0
    return _repeat(case, case.keep_alive_s)


def _repeat(case: Case, every_s: int) -> tuple[Say | None, int]:
    due = case.told.at_ms + every_s * 1000
    return (Say.REPEAT, 0) if case.now >= due else (None, due)


def decide(case: Case) -> Decision:
    """The whole answer for one endpoint."""
    say, due = news(case)
    for stage in STAGES:
        objection = stage(case, say)
        if objection is not None:
            return Decision(None, objection[0], max(objection[1], due if say is None else 0))
    assert say is not None, "the stage `unchanged` objects where there is nothing to say"
    return Decision(say)


def after(told: Told, event: AlertEvent, say: Say, now: int, ack: Acknowledgement | None) -> Told:
    """What it was told last, once this is said."""
    return Told(
        sequence=max(event.data.sequence, told.sequence),
        say=say if say not in (Say.ACKNOWLEDGED, Say.REPEAT) else told.say,
        at_ms=now,
        acked=ack.at if say is Say.ACKNOWLEDGED and ack is not None else told.acked,
        # Counted for each event, as the ids of repeats are: a lost Redis is asked for them from the first on.
        count=told.count + 1 if say is Say.REPEAT else told.count if say is Say.ACKNOWLEDGED else 0,
        severe=event.data.severity == "critical",
    )


def spoken(event: AlertEvent, say: Say, told: Told, ack: Acknowledgement | None) -> AlertEvent:
    """The event that is sent. News goes out under its own id; what is said of old news gets an id of its own, always the same."""
    if say is Say.REPEAT:
        return msgspec.structs.replace(event, id=derived(event.id, say, str(told.count + 1)))
    if say is not Say.ACKNOWLEDGED or ack is None:
        return event
    seen = Acknowledged(by=ack.by, at=rfc3339(ack.at), note=ack.note, assigned=ack.assigned)
    return msgspec.structs.replace(
        event,
        id=derived(event.id, say, str(ack.at)),
        type="alert.acknowledged",
        timestamp=seen.at,
        data=msgspec.structs.replace(event.data, acknowledged=seen),
    )


def derived(*parts: str) -> str:
    """An event id that is the same whenever it is made of the same parts."""
    return "gw_" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]
