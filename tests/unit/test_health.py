"""How an endpoint fares: what degrades it, what disables it, and that one success heals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.health import FAILURES, HOUR_MS, TELL_MS, TIMEOUTS, Health, State, failed, missed, sent, worth_telling
from groundswell.decisions import Delivery

NOW = 1_700_000_000_000


def after(*reasons: str, step_ms: int = 1_000, health: Health | None = None, probe: bool = False) -> Health:
    found = health or Health()
    for number, reason in enumerate(reasons):
        found = failed(found, Delivery.RETRY, reason, f"ep_{number}", NOW + number * step_ms, probe=probe)
    return found


def test_five_failures_in_a_row_or_three_time_outs_leave_one_probe():
    assert after(*["http_500"] * (FAILURES - 1)).state is State.HEALTHY
    fifth = after(*["http_500"] * FAILURES)
    assert (fifth.state, fifth.lane, fifth.since_ms, fifth.probes) == (State.DEGRADED, "ep_4", NOW + 4_000, 0)
    assert after(*["timed_out"] * TIMEOUTS).state is State.DEGRADED
    assert after("timed_out", "timed_out", "http_500").state is State.HEALTHY


def test_only_the_probe_counts_as_one_and_names_its_lane():
    degraded = after(*["http_500"] * FAILURES)
    straggler = failed(degraded, Delivery.RETRY, "http_500", "ep_late", NOW, probe=False)
    assert (straggler.probes, straggler.lane) == (0, "ep_4")
    probe = failed(degraded, Delivery.RETRY, "http_500", "ep_next", NOW, probe=True)
    assert (probe.probes, probe.lane) == (1, "ep_next")


def test_gone_is_gone_at_once():
    assert failed(Health(), Delivery.REFUSED, "endpoint_gone", "ep", NOW, probe=False).state is State.DISABLED


@pytest.mark.parametrize(
    ("hours", "state"),
    [
        ([0, 1, 119], State.HEALTHY),
        ([0, 13, 120], State.DISABLED),
        ([0, 120], State.HEALTHY),  # two tries prove nothing
        ([0, 1, 121], State.HEALTHY),
        ([0, 1, 121, 122], State.DISABLED),
    ],
)
def test_five_days_of_nothing_but_failures_that_lie_apart_disable(hours, state):
    found = Health()
    for hour in hours:
        found = failed(found, Delivery.RETRY, "http_500", "ep", NOW + hour * HOUR_MS, probe=False)
    assert found.state is state


@given(st.lists(st.sampled_from(["http_500", "timed_out", "unreachable"]), max_size=12))
def test_one_success_heals_and_keeps_what_was_missed(reasons):
    before = missed(after(*reasons), 3, NOW)
    healed = sent(before, NOW + 99)
    assert (healed.state, healed.failures, healed.timeouts, healed.first_failure_ms) == (State.HEALTHY, 0, 0, 0)
    assert (healed.missed, healed.missed_since_ms, healed.last_sent_ms) == (3, NOW, NOW + 99)


def test_a_missing_key_is_a_state_of_its_own_and_no_failure_of_the_endpoint():
    found = failed(Health(), Delivery.SECRET_UNREADABLE, "sealed_with_another_key", "ep", NOW, probe=False)
    assert (found.state, found.failures, found.reachable) == (State.UNREADABLE, 0, False)


def test_others_hear_of_it_when_it_is_off_or_fails_for_an_hour():
    degraded = after(*["http_500"] * FAILURES)
    assert not worth_telling(degraded, degraded.since_ms + TELL_MS - 1)
    assert worth_telling(degraded, degraded.since_ms + TELL_MS)
    assert worth_telling(Health(state=State.DISABLED), NOW)
    assert not worth_telling(Health(), NOW)


def test_what_was_missed_is_counted_with_its_span():
    found = missed(missed(Health(), 1, NOW), 2, NOW + 5)
    assert (found.missed, found.missed_since_ms, found.missed_until_ms) == (3, NOW, NOW + 5)
