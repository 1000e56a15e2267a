"""Who hears of an alert, and the reason for each who does not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.channels.webhook import verdict
from alerts.pipeline import Case, cases, decide, plan
from groundswell.decisions import Delivery
from groundswell.records import Endpoint, Secret, Silence
from tests.alert_events import alert_event

NOW = 1_700_000_000_000
HOUR = 3_600_000
SECRET = Secret(kid="k", nonce="n", ct="c")


def endpoint(name: str = "risk", **more) -> Endpoint:
    return Endpoint(id=name, name=name, url=SECRET, secret=SECRET, shown="https://x", created_at=NOW - HOUR, **more)


def silence(subjects: list[str], until: int = NOW + HOUR) -> Silence:
    return Silence(id="quiet", subjects=subjects, until=until, by="ana", at=NOW)


def case(kind: str = "alert.firing", sequence: int = 1, *, subject: str = "XSHG:600001", **more) -> Case:
    given = {"endpoint": endpoint(), "written_at": NOW, "now": NOW}
    return Case(event=alert_event(kind, sequence, subject=subject), **(given | more))


def test_a_new_alert_is_sent():
    assert decide(case()) is None


def test_resolved_is_never_told_to_whom_firing_was_not():
    assert decide(case("alert.resolved", 2)) is Delivery.UNCHANGED
    assert decide(case("alert.resolved", 2, told=1)) is None


@given(st.integers(0, 9), st.integers(-1, 9))
def test_nobody_hears_the_same_or_something_older_again(sequence, told):
    assert (decide(case(sequence=sequence, told=told)) is Delivery.UNCHANGED) == (told >= sequence)


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
    assert decide(case(subject=subject, endpoint=endpoint(subjects=wanted))) is objection


def test_an_endpoint_hears_nothing_from_before_it_was_added():
    assert decide(case(written_at=NOW - 2 * HOUR)) is Delivery.NOT_ROUTED


def test_old_alerts_are_not_sent_after_a_loss_and_a_record_without_time_is():
    assert decide(case(written_at=NOW - 77 * HOUR)) is Delivery.EXPIRED
    assert decide(case(written_at=0)) is None


@pytest.mark.parametrize("off", [{"endpoint": endpoint(disabled=True)}, {"gone": True}])
def test_an_endpoint_that_is_off_or_gone_is_left_alone(off):
    assert decide(case(**off)) is Delivery.DISABLED


def test_a_silence_holds_its_subject_back_until_it_ends():
    quiet = (silence(["XSHG:600001"]),)
    assert decide(case(silences=quiet)) is Delivery.SILENCED
    assert decide(case(subject="XNAS:B", silences=quiet)) is None
    assert decide(case(silences=(silence(["XSHG:600001"], until=NOW),))) is None


def test_a_silence_without_subjects_is_for_all():
    assert decide(case(silences=(silence([]),))) is Delivery.SILENCED


def test_the_plan_names_who_gets_it_the_reasons_and_when_to_look_again():
    endpoints = {"risk": endpoint(), "off": endpoint("off", disabled=True), "told": endpoint("told")}
    made = plan(
        cases(alert_event(), endpoints, {}, written_at=NOW, now=NOW, told={"told": 1}),
    )
    assert made.send == ["risk"]
    assert made.kept == {"off": Delivery.DISABLED, "told": Delivery.UNCHANGED}
    assert made.held_until == 0
    held = plan(
        cases(alert_event(), endpoints, {"q": silence([])}, written_at=NOW, now=NOW, told={"told": 1}),
    )
    assert (held.send, held.held_until) == ([], NOW + HOUR)


@pytest.mark.parametrize(
    ("status", "answer", "outcome", "reason"),
    [
        (200, {}, Delivery.SENT, ""),
        (204, {}, Delivery.SENT, ""),
        (301, {"location": "http://127.0.0.1/x"}, Delivery.RETRY, "redirected 127.0.0.1"),
        (307, {"location": "http://[bad"}, Delivery.RETRY, "redirected"),
        (401, {}, Delivery.RETRY, "http_401"),
        (404, {}, Delivery.RETRY, "http_404"),
        (410, {}, Delivery.REFUSED, "endpoint_gone"),
        (429, {"retry-after": "7"}, Delivery.RETRY, "rate_limited"),
        (500, {"webhook-delivery": "abort-message"}, Delivery.REFUSED, "aborted_by_receiver"),
        (503, {}, Delivery.RETRY, "http_503"),
    ],
)
def test_what_an_answer_means(status, answer, outcome, reason):
    found = verdict(status, answer, b"", NOW)
    assert (found.outcome, found.reason) == (outcome, reason)
