"""What one try says, and what its end means for lane, log and endpoint."""

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.attempt import ITEMS_MOST, Batch, Pace, batch_of, ending, spacing_s
from alerts.channels.contract import Limits, Verdict
from alerts.health import Health, State
from alerts.lanes import Claim, Item
from alerts.retry import STEPS_S
from alerts.say import Say
from alerts.send import Outcome
from groundswell.decisions import Delivery
from tests.alert_events import alert_event

NOW = 1_700_000_000_000
HOOK = Limits(many=False, spacing_s=0, per_minute=None, gives_up_s=76 * 3600, body_bytes=20_000)
CHAT = Limits(many=True, spacing_s=1, per_minute=18, gives_up_s=7_200, body_bytes=20_000)
PACE = Pace(random.Random(1))


def item(say: Say, episode: str = "ep_a", sequence: int = 1, age_s: float = 0, **more) -> Item:
    kind = {Say.UPDATED: "alert.updated", Say.RESOLVED: "alert.resolved"}.get(say, "alert.firing")
    event = alert_event(kind, sequence, episode=episode)
    given = {"body": msgspec.json.encode(event), "replayed": False} | more
    return Item(event=event.id, say=say, episode=episode, planned_ms=NOW - round(age_s * 1000), **given)


def claim(*items: Item, attempt: int = 1) -> Claim:
    return Claim(lane="all", fence="1", attempt=attempt, items=list(items))


def end(one: Claim, limits: Limits, found: Delivery, reason: str = "", health: Health | None = None, **more):
    batch = batch_of(one, limits, NOW)
    outcome = Outcome(Verdict(found, reason, more.pop("asked_s", None)), 200, 5, more.pop("head", b""))
    return ending("hook", one, batch, outcome, health or Health(), limits, PACE, NOW, probe=more.pop("probe", False))


def said(*items: Item) -> list[tuple[Say, str, int]]:
    batch = batch_of(claim(*items), CHAT, NOW)
    return [(one.say, one.event.data.episode_id, one.event.data.sequence) for one in batch.tellings]


def test_a_message_says_the_newest_of_each_episode_and_both_its_beginning_and_its_end():
    assert said(item(Say.FIRING), item(Say.FIRING, "ep_b")) == [(Say.FIRING, "ep_a", 1), (Say.FIRING, "ep_b", 1)]
    assert said(item(Say.UPDATED), item(Say.UPDATED, sequence=2)) == [(Say.UPDATED, "ep_a", 2)]
    assert said(item(Say.FIRING), item(Say.UPDATED, sequence=2)) == [(Say.FIRING, "ep_a", 2)]
    assert said(item(Say.FIRING), item(Say.UPDATED, sequence=2), item(Say.RESOLVED, sequence=3)) == [
        (Say.FIRING, "ep_a", 2),
        (Say.RESOLVED, "ep_a", 3),
    ]
    assert said(item(Say.UPDATED), item(Say.ACKNOWLEDGED, sequence=2)) == [(Say.ACKNOWLEDGED, "ep_a", 2)]
    assert said(item(Say.REPEAT), item(Say.RESOLVED, sequence=2)) == [(Say.RESOLVED, "ep_a", 2)]
    assert said(item(Say.FIRING), item(Say.RESOLVED, sequence=2), item(Say.FIRING, sequence=3)) == [
        (Say.FIRING, "ep_a", 1),
        (Say.RESOLVED, "ep_a", 2),
        (Say.FIRING, "ep_a", 3),
    ]


SAYS = st.sampled_from([Say.FIRING, Say.UPDATED, Say.RESOLVED, Say.REPEAT, Say.ACKNOWLEDGED])


@given(st.lists(st.tuples(SAYS, st.sampled_from(["ep_a", "ep_b"])), min_size=1, max_size=20))
def test_whatever_waits_the_last_word_on_each_episode_is_said_in_order_and_no_end_is_lost(words):
    items = [item(say, episode, number) for number, (say, episode) in enumerate(words)]
    told = said(*items)
    assert [sequence for _, _, sequence in told] == sorted(sequence for _, _, sequence in told)
    for episode in {episode for _, episode in words}:
        newest = max(number for number, (_, other) in enumerate(words) if other == episode)
        assert [sequence for _, other, sequence in told if other == episode][-1] == newest
    ends = [number for number, (say, _) in enumerate(words) if say is Say.RESOLVED]
    assert [sequence for say, _, sequence in told if say is Say.RESOLVED] == ends


def test_every_item_has_its_row_and_what_a_newer_one_said_is_grouped():
    found = end(claim(item(Say.UPDATED), item(Say.UPDATED, sequence=2)), CHAT, Delivery.SENT, head=b"ok\x1b[31m")
    assert [(row.event, row.outcome) for row in found.finish.rows] == [("gw_a_1", "grouped"), ("gw_a_2", "sent")]
    assert (found.finish.pop, found.finish.again_ms) == (2, None)
    assert found.finish.rows[0].type == "alert.updated"
    assert "\x1b" not in found.finish.rows[1].answer


def test_a_chat_rests_after_a_message_and_goes_on_at_once_when_one_did_not_hold_all():
    assert spacing_s(CHAT) == pytest.approx(60 / 18)
    found = end(claim(item(Say.FIRING)), CHAT, Delivery.SENT).finish
    assert (found.rest_ms, found.spaced_ms, found.following_ms) == (NOW + 60_000, NOW + 3_333, NOW + 60_000)
    full = claim(*(item(Say.FIRING, f"ep_{number}") for number in range(ITEMS_MOST)))
    assert end(full, CHAT, Delivery.SENT).finish.following_ms == NOW + 3_333


def test_what_waited_too_long_is_given_up_without_a_try_and_counted():
    old, fresh = item(Say.FIRING, age_s=7_201), item(Say.FIRING, "ep_b", age_s=7_199)
    batch = batch_of(claim(old, fresh), CHAT, NOW)
    assert (batch.over, batch.live) == ([old], [fresh])
    found = end(claim(old, fresh), CHAT, Delivery.RETRY, "http_500")
    assert [row.outcome for row in found.finish.rows] == ["given_up", "retry"]
    assert (found.finish.pop, found.health.missed) == (1, 1)
    gone = item(Say.FIRING, body=b"")
    only = ending("hook", claim(gone), batch_of(claim(gone), HOOK, NOW), None, Health(), HOOK, PACE, NOW, probe=False)
    assert [row.outcome for row in only.finish.rows] == ["expired"]
    assert (only.finish.pop, only.finish.again_ms) == (1, None)


def test_the_next_message_that_gets_through_says_what_was_missed_and_a_webhook_does_not():
    before = Health(missed=3, missed_since_ms=1, missed_until_ms=2)
    assert end(claim(item(Say.FIRING)), CHAT, Delivery.SENT, health=before).health.missed == 0
    assert end(claim(item(Say.FIRING)), HOOK, Delivery.SENT, health=before).health.missed == 3
    assert end(claim(item(Say.FIRING)), CHAT, Delivery.RETRY, "http_500", health=before).health.missed == 3


@pytest.mark.parametrize("attempt", range(1, 13))
def test_a_webhook_is_tried_twelve_times_and_a_chat_until_it_is_too_old(attempt):
    hook = end(claim(item(Say.FIRING), attempt=attempt), HOOK, Delivery.RETRY, "http_500")
    if attempt == len(STEPS_S):
        assert (hook.outcome, hook.finish.again_ms, hook.health.missed) == (Delivery.GIVEN_UP, None, 1)
    else:
        assert hook.finish.again_ms - NOW == pytest.approx(STEPS_S[attempt] * 1000, rel=0.21)
    chat = end(claim(item(Say.FIRING), attempt=attempt), CHAT, Delivery.RETRY, "http_500")
    assert chat.finish.again_ms - NOW == pytest.approx(STEPS_S[min(attempt, 5)] * 1000, rel=0.21)


def test_a_degraded_endpoint_is_probed_later_and_later_and_its_lane_with_it():
    health, waits = Health(failures=4, last_sent_ms=1), []
    for number in range(4):
        found = end(
            claim(item(Say.FIRING), attempt=9), HOOK, Delivery.RETRY, "unreachable", health=health, probe=number > 0
        )
        health = found.health
        assert health.state is State.DEGRADED
        assert health.probe_ms == found.finish.again_ms
        waits.append((health.probe_ms - NOW) / 1000)
    assert waits == pytest.approx(STEPS_S[1:5], rel=0.21)


def test_a_success_heals_all_lanes_and_a_refusal_of_one_message_is_done_with():
    degraded = Health(state=State.DEGRADED, failures=9, lane="ep_a")
    healed = end(claim(item(Say.FIRING)), HOOK, Delivery.SENT, health=degraded, probe=True)
    assert (healed.finish.heal, healed.health.state) == (True, State.HEALTHY)
    refused = end(claim(item(Say.FIRING)), HOOK, Delivery.REFUSED, "aborted_by_receiver")
    assert (refused.finish.pop, refused.finish.again_ms, refused.health.failures) == (1, None, 0)


def test_a_receiver_that_asks_for_fewer_is_left_alone_and_is_not_unwell():
    found = end(claim(item(Say.FIRING)), HOOK, Delivery.RETRY, "rate_limited", asked_s=120)
    assert (found.not_before_ms, found.health.failures) == (NOW + 120_000, 0)


def test_gone_writes_a_row_of_its_own_that_outlives_redis():
    found = end(claim(item(Say.FIRING)), HOOK, Delivery.REFUSED, "endpoint_gone")
    assert [(row.event, row.outcome) for row in found.finish.rows] == [("gw_a_1", "refused"), ("", "disabled")]
    assert found.health.state is State.DISABLED


def test_a_missing_key_burns_no_try():
    found = end(claim(item(Say.FIRING), attempt=12), HOOK, Delivery.SECRET_UNREADABLE, "sealed_with_another_key")
    assert (found.outcome, found.finish.again_ms) == (Delivery.SECRET_UNREADABLE, NOW)


def test_one_event_goes_under_its_own_id_and_several_under_one_that_does_not_depend_on_their_order():
    one, two = item(Say.FIRING), item(Say.FIRING, "ep_b")
    assert batch_of(claim(one), CHAT, NOW).message_id("hook") == "gw_a_1"
    ids = {batch_of(claim(*items), CHAT, NOW).message_id("hook") for items in ((one, two), (two, one))}
    assert len(ids) == 1
    assert ids.isdisjoint({Batch([], [], batch_of(claim(one, two), CHAT, NOW).tellings).message_id("other")})
