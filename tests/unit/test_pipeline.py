"""What an endpoint hears of an episode, and the reason when it hears nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.case import Case, Decision, Head, Told
from alerts.pipeline import after, decide, spoken
from alerts.say import Say
from alerts.stages import silent_until
from groundswell.decisions import Delivery
from groundswell.records import Acknowledgement, CauseCount, Endpoint, QuietHours, Secret, Silence
from groundswell.reserved import CANARY, DRILLS
from tests.alert_events import alert_event

NOW = 1_700_000_000_000  # Tue, 14 Nov 2023 22:13:20 UTC
MINUTE = 60_000
HOUR = 60 * MINUTE
SECRET = Secret(kid="k", nonce="n", ct="c")
TOLD = Told(1, Say.FIRING, NOW - HOUR)


def endpoint(name: str = "risk", **more) -> Endpoint:
    given = {"created_at": NOW - 200 * HOUR} | more
    return Endpoint(id=name, name=name, url=SECRET, secret=SECRET, shown="https://x", **given)


def silence(subjects: list[str] = [], until: int = NOW + HOUR, **more) -> Silence:  # noqa: B006
    return Silence(id="quiet", subjects=subjects, until=until, by="ana", at=NOW, **more)


def case(kind: str = "alert.firing", sequence: int = 1, **more) -> Case:
    ours = {"endpoint", "now", "told", "ack", "inhibited", "keep_alive_s", "late", "gone", "head"}
    silences = more.pop("silences", ())
    given = {
        "head": Head(written_ms=NOW, fired_ms=NOW), "endpoint": endpoint(), "now": NOW, "told": Told(),
        **{name: value for name, value in more.items() if name in ours},
    }  # fmt: skip
    fields = {name: value for name, value in more.items() if name not in ours}
    event = alert_event(kind, sequence, **fields)
    return Case(event=event, silent_until=silent_until(event.data, silences, given["now"]), **given)


def ack(at: int = NOW) -> Acknowledgement:
    return Acknowledgement(id="ep_harbour", by="ana", at=at, note="on it", assigned="li")


def test_a_new_alert_is_sent():
    assert decide(case()) == Decision(Say.FIRING)


def test_an_update_is_a_beginning_for_whom_nothing_was_told():
    assert decide(case("alert.updated", 2)).say is Say.FIRING
    assert decide(case("alert.updated", 2, told=TOLD)).say is Say.UPDATED


def test_resolved_is_told_to_those_who_heard_it_fire_and_to_nobody_else():
    assert decide(case("alert.resolved", 2)).why is Delivery.UNCHANGED
    assert decide(case("alert.resolved", 2, told=TOLD)).say is Say.RESOLVED
    assert decide(case("alert.resolved", 2, told=Told(2, Say.RESOLVED))).why is Delivery.UNCHANGED


def test_a_service_that_forgets_hears_the_end_each_minute_for_five_and_then_no_more():
    told, heard = Told(1, Say.FIRING, NOW - HOUR), []
    for at in range(NOW, NOW + 20 * MINUTE, MINUTE // 4):
        now = case("alert.resolved", 2, told=told, now=at, keep_alive_s=60, endpoint=endpoint(severity="critical"))
        decision = decide(now)
        if decision.say is not None:
            heard.append((at - NOW, spoken(now.event, decision.say, told, None).id))
            told = after(told, now.event, decision.say, at, None)
        else:
            assert bool(decision.again_ms) == (at - NOW < 5 * MINUTE)
    assert [at for at, _ in heard] == [minute * MINUTE for minute in range(5)]
    assert len({name for _, name in heard}) == 5
    assert decide(case("alert.firing", 3, told=told, keep_alive_s=60)).say is Say.FIRING


def test_an_end_that_was_never_told_is_not_said_again():
    assert decide(case("alert.resolved", 2, keep_alive_s=60)) == Decision(None, Delivery.UNCHANGED)


def test_an_endpoint_that_is_down_stays_an_alert_where_alerts_are_forgotten_and_people_hear_it_once():
    told = Told(1, Say.DISABLED, NOW - HOUR)
    assert decide(case("endpoint.disabled", told=told, keep_alive_s=60)).say is Say.REPEAT
    assert decide(case("endpoint.disabled", told=told, endpoint=endpoint(repeat_s=600))).say is None


def test_what_fires_again_after_its_end_is_a_beginning():
    assert decide(case("alert.firing", 3, told=Told(2, Say.RESOLVED))).say is Say.FIRING
    assert decide(case("alert.updated", 4, told=Told(2, Say.RESOLVED))).say is Say.FIRING


@given(st.integers(0, 9), st.integers(-1, 9))
def test_nobody_hears_the_same_or_something_older_again(sequence, told):
    decision = decide(case(sequence=sequence, told=Told(told, Say.FIRING if told >= 0 else "", NOW)))
    assert (decision.why is Delivery.UNCHANGED) == (told >= sequence)


@pytest.mark.parametrize(
    ("wanted", "subject", "objection"),
    [
        ([], "XSHG:600001", None),
        (["XSHG:600001"], "XSHG:600001", None),
        (["XSHG:600001"], "XSHG:600001|topic:fraud", None),
        (["XSHG:600001"], "XSHG:6000019", Delivery.NOT_ROUTED),
        (["topic:fraud"], "XSHG:600001|topic:fraud", Delivery.NOT_ROUTED),
        (["XNAS:A", "market"], "market", None),
    ],
)
def test_an_endpoint_hears_of_the_subjects_it_wants(wanted, subject, objection):
    assert decide(case(subject=subject, endpoint=endpoint(subjects=wanted))).why is objection


@pytest.mark.parametrize(
    ("filters", "alert", "heard"),
    [
        ({"severity": "critical"}, {}, False),
        ({"severity": "critical"}, {"severity": "critical"}, True),
        ({"topics": ["fraud"]}, {"subject": "topic:fraud"}, True),
        ({"topics": ["topic:fraud"]}, {"subject": "XSHG:600001|topic:fraud"}, True),
        ({"topics": ["fraud"]}, {"topics": [CauseCount(id="topic:fraud", negatives=30)]}, True),
        ({"topics": ["fraud"]}, {"topics": [CauseCount(id="topic:fraud", negatives=20)]}, False),
        ({"topics": ["fraud"]}, {}, False),
        ({"languages": ["zh"]}, {}, True),
        ({"languages": ["en"]}, {}, False),
        ({}, {"test": True, "subject": DRILLS[0]}, False),
        ({"drills": True}, {"test": True, "subject": DRILLS[0]}, True),
        ({"drills": True}, {"test": True, "subject": CANARY}, False),
    ],
)
def test_filters_choose_by_severity_topic_language_and_drill(filters, alert, heard):
    assert (decide(case(endpoint=endpoint(**filters), **alert)).say is Say.FIRING) == heard


def test_who_heard_it_begin_hears_how_it_ends_whatever_the_filters_say():
    only_critical = endpoint(severity="critical", languages=["en"])
    assert decide(case("alert.resolved", 2, endpoint=only_critical, told=TOLD)).say is Say.RESOLVED


def test_an_endpoint_hears_nothing_from_before_it_was_added():
    late = Head(written_ms=NOW - 300 * HOUR, fired_ms=NOW)
    assert decide(case(head=late)).why is Delivery.NOT_ROUTED


def test_old_alerts_are_not_sent_after_a_loss_and_an_end_is():
    assert decide(case(late=True)).why is Delivery.EXPIRED
    assert decide(case("alert.resolved", 2, late=True, told=TOLD)).say is Say.RESOLVED


@pytest.mark.parametrize("off", [{"endpoint": endpoint(disabled=True)}, {"gone": True}])
def test_an_endpoint_that_is_off_or_gone_is_left_alone(off):
    assert decide(case(**off)).why is Delivery.DISABLED


def test_a_silence_holds_its_subject_back_and_says_when_to_look_again():
    quiet = (silence(["XSHG:600001"]),)
    assert decide(case(silences=quiet)) == Decision(None, Delivery.SILENCED, NOW + HOUR)
    assert decide(case(subject="XNAS:B", silences=quiet)).say is Say.FIRING
    assert decide(case(silences=(silence(["XSHG:600001"], until=NOW),))).say is Say.FIRING
    longer = (*quiet, silence(until=NOW + 2 * HOUR))
    assert decide(case(silences=longer)).again_ms == NOW + 2 * HOUR


@pytest.mark.parametrize(
    ("conditions", "held"),
    [
        ([], True),
        (["severity=warning"], True),
        (["severity=warning", "lang=en"], False),
        (["subject=XSHG:*"], True),
        (["subject!=XSHG:*"], False),
        (["no such condition"], False),
    ],
)
def test_all_conditions_of_a_silence_must_hold_and_an_unreadable_one_holds_nothing_back(conditions, held):
    assert (decide(case(silences=(silence(matchers=conditions),))).why is Delivery.SILENCED) == held


def test_quiet_hours_hold_a_warning_back_until_they_end_and_what_becomes_critical_breaks_them():
    night = endpoint(quiet=QuietHours(zone="Asia/Shanghai", start="22:00", end="07:00"))  # 06:13 there
    held = decide(case(endpoint=night))
    assert (held.why, held.again_ms) == (Delivery.QUIET_HOURS, NOW + 46 * MINUTE + 40_000)
    assert decide(case("alert.updated", 2, endpoint=night, severity="critical")).say is Say.FIRING


def test_a_wider_alert_holds_back_a_beginning_and_never_what_goes_on():
    assert decide(case(inhibited=0)) == Decision(None, Delivery.INHIBITED, 0)
    assert decide(case(inhibited=NOW + MINUTE)) == Decision(None, Delivery.INHIBITED, NOW + MINUTE)
    assert decide(case("alert.updated", 2, inhibited=0, told=TOLD)).say is Say.UPDATED


def test_an_escalation_waits_for_an_acknowledgement_and_then_calls():
    second = endpoint(escalates_after_s=600)
    assert decide(case(endpoint=second)) == Decision(None, Delivery.NOT_YET, NOW + 600_000)
    assert decide(case(endpoint=second, now=NOW + 600_000)).say is Say.ESCALATED
    assert decide(case(endpoint=second, now=NOW + 600_000, ack=ack())).why is Delivery.ACKNOWLEDGED
    assert decide(case("alert.resolved", 2, endpoint=second)).why is Delivery.UNCHANGED


def test_an_acknowledgement_is_told_once_to_those_who_heard_it_fire():
    assert decide(case(told=TOLD, ack=ack())).say is Say.ACKNOWLEDGED
    told = after(TOLD, alert_event(), Say.ACKNOWLEDGED, NOW, ack())
    assert decide(case(told=told, ack=ack())).why is Delivery.UNCHANGED
    assert decide(case(told=told, ack=ack(NOW + 1))).say is Say.ACKNOWLEDGED
    assert decide(case("alert.resolved", 2, told=told, ack=ack())).say is Say.RESOLVED


def test_an_acknowledgement_of_what_ended_since_counts_for_nothing():
    anew = Head(written_ms=NOW, fired_ms=NOW, began_anew=True)
    assert decide(case(told=TOLD, head=anew, ack=ack(NOW - 1))).why is Delivery.UNCHANGED
    assert decide(case(told=TOLD, head=anew, ack=ack(NOW))).say is Say.ACKNOWLEDGED


def test_what_fires_on_is_said_again_until_somebody_acknowledges():
    again = endpoint(repeat_s=1800)
    just = Told(1, Say.FIRING, NOW)
    assert decide(case(endpoint=again, told=just)) == Decision(None, Delivery.UNCHANGED, NOW + 1_800_000)
    assert decide(case(endpoint=again, told=TOLD)).say is Say.REPEAT
    seen = after(TOLD, alert_event(), Say.ACKNOWLEDGED, NOW - HOUR, ack())
    assert decide(case(endpoint=again, told=seen, ack=ack())) == Decision(None, Delivery.UNCHANGED, 0)


def test_a_service_that_forgets_is_kept_alive_also_after_an_acknowledgement():
    seen = after(Told(1, Say.FIRING, 0), alert_event(), Say.ACKNOWLEDGED, NOW - MINUTE, ack())
    assert decide(case(told=seen, ack=ack(), keep_alive_s=60)).say is Say.REPEAT


def test_news_keeps_its_id_and_what_is_said_again_gets_one_of_its_own_always_the_same():
    event = alert_event()
    assert spoken(event, Say.FIRING, Told(), None) is event
    assert spoken(event, Say.ESCALATED, Told(), None) is event
    first, again = (spoken(event, Say.REPEAT, Told(1, Say.FIRING, at), None) for at in (0, 9))
    second = spoken(event, Say.REPEAT, Told(1, Say.FIRING, 0, count=1), None)
    assert first.id == again.id
    assert len({event.id, first.id, second.id}) == 3
    seen = spoken(event, Say.ACKNOWLEDGED, TOLD, ack())
    assert (seen.type, seen.data.acknowledged.by, seen.data.acknowledged.assigned) == (
        "alert.acknowledged",
        "ana",
        "li",
    )
    assert seen.id not in (event.id, first.id)
