"""The course of one alert: began, fired, was told again and why, was held back, was delivered, was seen, spoken of, ended. Pure.

A step says what happened in the reader's language; `text` is what a person wrote, `until` and `link` complete the sentence. Read
alert.py for where the parts come from.
"""

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from dashboard.alerts.evidence import Frozen, Tongue, frozen, visible
from dashboard.rows import NOBODY, at_ms
from groundswell.decisions import Delivery, Detected, SubjectState
from groundswell.evidence_words import gate
from groundswell.records import Acknowledgement, AlertData, AlertView, DeliveryOutcome, Feedback, Silence

STEPS_MOST = 400  # the newest; an episode of days with many endpoints must not make a page of megabytes
SELF_EXPLAINED = ("", Detected.FIRED, Detected.RESOLVED, Detected.RULE_MATCHED, Detected.RULE_RESOLVED)

Say = Callable[..., str]


class Known(Struct, kw_only=True, frozen=True):
    """All that a course is made of. `endpoints`: names by id; `markets`: alerts that explain this one."""

    view: AlertView
    ack: Acknowledgement | None
    words: Sequence[Feedback] = ()
    tries: Sequence[DeliveryOutcome] = ()
    silences: Sequence[Silence] = ()
    markets: Sequence[AlertData] = ()
    endpoints: Mapping[str, str] = {}


class Step(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """`state`: whose mark it has; `says`: what happened; `who` did it; `text`: in that person's words."""

    at: int
    state: str
    says: str
    who: str = ""
    text: str = ""
    until: int = 0
    link: str = ""


def steps(known: Known, language: Tongue, t: Say, word: Say, name_of: Callable[[str], str]) -> list[Step]:
    """Oldest first. `t` and `word` are Words.say and Words.name in the language."""
    found = [
        *_transitions(known.view, language, t, word),
        *_held(known, t, name_of),
        *_people(known, t, word, name_of),
        *_deliveries(known, t, word),
    ]
    return sorted(found, key=lambda step: step.at)[-STEPS_MOST:]


def _transitions(view: AlertView, language: Tongue, t: Say, word: Say) -> list[Step]:
    """What was told, with what was counted then and why it was told."""
    data, found, before = view.event.data, [], 0
    if all(one.get("what") != "onset" for one in view.timeline) and (onset := at_ms(data.started_at)) is not None:
        found.append(Step(at=onset, state="onset", says=word("state", "onset")))
    for one in view.timeline:
        # The times of a transition are found under several names: the list is older than the record.
        at = next((at for name in ("at", "timestamp", "detected_at") if (at := at_ms(one.get(name))) is not None), None)
        what = "updated" if one.get("type") == "alert.updated" else str(one.get("what") or one.get("state") or "")
        if at is None or not what:
            continue
        # An early firing has the time of the clock, what follows the end of its step: what was told later stands later.
        at = before = max(at, before)
        then = frozen(view, str(one["id"])) if one.get("id") else Frozen()
        said = [word("state", visible(what)[:40])]
        if then.severity:
            said.append(word("severity", then.severity))
        if then.negatives or then.expected_since_onset:
            said.append(t("step.counted", negatives=then.negatives, expected=f"{then.expected_since_onset:.1f}"))
        if then.decision not in SELF_EXPLAINED:
            said.append(gate(then.decision, language))
        found.append(Step(at=at, state=visible(what)[:40], says=t("step.and").join(said)))
    if not view.timeline and (detected := at_ms(data.detected_at)) is not None:
        found.append(Step(at=detected, state=SubjectState.FIRING, says=word("state", SubjectState.FIRING)))
    return found


def _held(known: Known, t: Say, name_of: Callable[[str], str]) -> list[Step]:
    """Silences, and the markets whose surge says it already."""
    data = known.view.event.data
    detected = at_ms(data.detected_at) or 0
    found = [
        Step(
            at=one.at,
            state=Delivery.SILENCED,
            says=t("step.silenced"),
            who=_name(one.by),
            text=visible(one.reason),
            until=one.until,
        )
        for one in known.silences
    ]
    for market in known.markets:
        at = max(detected, at_ms(market.detected_at) or 0)
        says = t("step.inhibited", name=visible(name_of(market.subject.id))[:80], effect=f"{market.effect:.1f}")
        found.append(Step(at=at, state=Delivery.SILENCED, says=says, link=market.episode_id))
    return found


def _people(known: Known, t: Say, word: Say, name_of: Callable[[str], str]) -> list[Step]:
    ack, found = known.ack, []
    if ack is not None:
        says = word("state", Delivery.ACKNOWLEDGED)
        if ack.assigned:
            says = t("step.assigned", name=visible(ack.assigned)[:80])
        found.append(Step(at=ack.at, state=Delivery.ACKNOWLEDGED, says=says, who=_name(ack.by), text=visible(ack.note)))
    for one in known.words:
        says = word("step.said", one.kind)
        if one.kind == "wrong_label":
            about = visible(name_of(one.subject))[:80] if one.subject else t("label.whole")
            says = t("step.label", label=word("polarity", one.label), name=about)
        text = one.text or (one.title or one.excerpt)[:120] if one.kind == "wrong_label" else one.text
        found.append(Step(at=one.at, state="said", says=says, who=_name(one.by), text=visible(text)))
    return found


def _deliveries(known: Known, t: Say, word: Say) -> list[Step]:
    """One line an endpoint and event: how it ended, or how it stands."""
    last: dict[tuple[str, str], DeliveryOutcome] = {}
    tries: dict[tuple[str, str], int] = {}
    for one in known.tries:
        last[one.endpoint, one.event] = one
        tries[one.endpoint, one.event] = max(one.attempt, tries.get((one.endpoint, one.event), 0))
    found = []
    for (endpoint, event), one in last.items():
        parts = [word("step.outcome", one.outcome)]
        if one.status:
            parts.append(str(one.status))
        if (count := tries[endpoint, event]) > 1:
            parts.append(t("step.tries", count=count))
        state = "ok" if one.outcome == Delivery.SENT else "waiting" if one.outcome == Delivery.RETRY else "no_data"
        name = visible(known.endpoints.get(endpoint, endpoint))[:80]
        found.append(
            Step(at=one.at, state=state, says=t("step.delivery", endpoint=name, how=t("step.and").join(parts)))
        )
    return found


def _name(by: str) -> str:
    return "" if by == NOBODY else visible(by)[:80]
