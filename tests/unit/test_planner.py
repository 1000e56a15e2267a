"""The planner as a life: events, people and time in any order, and what each endpoint has heard at every moment."""

import math

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alerts.case import Head, Told
from alerts.channels.contract import Limits
from alerts.lanes import ALL, Known
from alerts.planner import NEVER, Facts, head_of, planned
from alerts.say import Say
from groundswell.control import ControlView
from groundswell.decisions import Delivery
from groundswell.records import Acknowledgement, AlertEvent, Endpoint, QuietHours, Silence
from tests.alert_events import alert_event
from tests.unit.test_pipeline import HOUR, MINUTE, NOW, endpoint

PLAIN = Limits(many=False, spacing_s=0, per_minute=None, gives_up_s=1e9, body_bytes=20_000)
CHAT = Limits(many=True, spacing_s=3, per_minute=18, gives_up_s=7200, body_bytes=20_000)
KEPT_ALIVE = Limits(many=False, spacing_s=0, per_minute=None, gives_up_s=1e9, body_bytes=20_000, repeat_s=60)
OPEN_WORDS = {Say.FIRING, Say.ESCALATED}
ENDPOINTS = [
    endpoint("plain"),
    endpoint("chat", channel="feishu", repeat_s=1800),
    endpoint("night", quiet=QuietHours(zone="UTC", start="22:00", end="06:00")),
    endpoint("severe", severity="critical"),
    endpoint("second", escalates_after_s=900),
    endpoint("forgets", channel="alertmanager"),
]


def limits_of(channel: str) -> Limits:
    return {"feishu": CHAT, "alertmanager": KEPT_ALIVE}.get(channel, PLAIN)


class Life(RuleBasedStateMachine):
    """One episode (which may end and begin anew), six endpoints; plans whenever the real planner would."""

    def __init__(self) -> None:
        super().__init__()
        self.now, self.sequence, self.view = NOW, 0, ControlView()
        self.known, self.look, self.event = Known(), None, None
        self.heard: dict[str, list[tuple[Say, str, int]]] = {one.id: [] for one in ENDPOINTS}
        self.gone: set[str] = set()
        self.inhibited: set[str] = set()
        self.kept: dict[str, Delivery] = {}

    @initialize()
    def begin(self) -> None:
        self.view.endpoints = {one.id: one for one in ENDPOINTS}

    def plan(self, event: AlertEvent, *, again: bool) -> None:
        head = self.known.head if again else head_of(event, self.known, self.now, self.now)
        facts = Facts(
            event=event, body=b"{}", head=head, told=self.known.told, now=self.now,
            inhibited=dict.fromkeys(self.inhibited, 0), gone=frozenset(self.gone),
        )  # fmt: skip
        made = planned(facts, self.view, limits_of)
        told = dict(self.known.told)
        for one in made.tellings:
            told[one.endpoint] = one.told
            assert one.event in made.bodies
            assert (one.lane == ALL) == (one.endpoint == "chat")
            self.heard[one.endpoint].append((one.say, one.event, event.data.sequence))
        self.look, self.event, self.kept = made.look_ms, event, made.kept
        self.known = (
            Known(event.data.sequence) if made.look_ms is None else Known(event.data.sequence, head, b"{}", told)
        )
        # Planned once more at the same moment it says nothing: all was said.
        if self.known.head is not None:
            once_more = msgspec.structs.replace(self.known)
            assert not planned(
                Facts(event=event, body=b"{}", head=head, told=once_more.told, now=self.now,
                      inhibited=dict.fromkeys(self.inhibited, 0), gone=frozenset(self.gone)), self.view, limits_of,
            ).tellings  # fmt: skip

    def new(self, kind: str, severity: str) -> None:
        self.sequence += 1
        self.plan(alert_event(kind, self.sequence, severity=severity), again=False)

    def fires(self) -> bool:
        return self.event is not None and self.event.type != "alert.resolved"

    @precondition(lambda self: not self.fires())
    @rule(severity=st.sampled_from(["warning", "critical"]))
    def fire(self, severity: str) -> None:
        self.new("alert.firing", severity)

    @precondition(lambda self: self.fires())
    @rule(severity=st.sampled_from(["warning", "critical"]))
    def update(self, severity: str) -> None:
        self.new("alert.updated", severity)

    @precondition(lambda self: self.fires())
    @rule()
    def resolve(self) -> None:
        self.new("alert.resolved", "warning")

    @rule(minutes=st.sampled_from([1, 7, 20, 90, 500]))
    def time_passes(self, minutes: int) -> None:
        end = self.now + minutes * MINUTE
        while self.look is not None and self.look <= end:
            before = self.look
            self.now = max(self.now, round(self.look))
            self.plan(self.event, again=True)
            assert self.look is None or self.look > self.now or self.look > before, "a look that is due again at once"
        self.now = end

    def change(self) -> None:
        if self.known.head is not None:
            self.plan(self.event, again=True)

    @rule(minutes=st.integers(1, 300))
    def silence(self, minutes: int) -> None:
        until = self.now + minutes * MINUTE
        self.view.silences["s"] = Silence(id="s", subjects=[], until=until, by="ana", at=self.now)
        self.change()

    @rule()
    def end_silence(self) -> None:
        self.view.silences.clear()
        self.change()

    @rule()
    def acknowledge(self) -> None:
        self.view.acks["ep_harbour"] = Acknowledgement(id="ep_harbour", by="ana", at=self.now)
        self.change()

    @rule()
    def take_back(self) -> None:
        self.view.acks.clear()
        self.change()

    @rule(which=st.sampled_from([one.id for one in ENDPOINTS]))
    def lose_or_gain(self, which: str) -> None:
        self.gone ^= {which}
        self.change()

    @rule(which=st.sampled_from([one.id for one in ENDPOINTS]))
    def a_wider_alert(self, which: str) -> None:
        self.inhibited ^= {which}
        self.change()

    @invariant()
    def nobody_hears_an_end_before_a_beginning(self) -> None:
        for name, words in self.heard.items():
            fires = ended = False
            for say, _, _ in words:
                assert fires or say in OPEN_WORDS or (ended and name == "forgets" and say is Say.REPEAT), words
                if fires or say is not Say.REPEAT:  # else an end that is said again
                    fires, ended = say is not Say.RESOLVED, say is Say.RESOLVED

    @invariant()
    def nothing_is_said_twice(self) -> None:
        for words in self.heard.values():
            assert len({(say, event) for say, event, _ in words}) == len(words)
            ids = [event for _, event, _ in words]
            assert len(set(ids)) == len(ids), words

    @invariant()
    def words_about_an_episode_are_in_order(self) -> None:
        for words in self.heard.values():
            sequences = [sequence for _, _, sequence in words]
            assert sequences == sorted(sequences)

    @invariant()
    def whatever_holds_something_back_for_a_time_is_looked_at_again(self) -> None:
        timed = {Delivery.SILENCED, Delivery.QUIET_HOURS, Delivery.NOT_YET}
        if timed & set(self.kept.values()) and self.known.head is not None:
            assert self.look is not None
            assert math.isfinite(self.look)

    @invariant()
    def what_fires_is_known_to_all_who_have_no_objection(self) -> None:
        if self.fires():
            for name in self.heard:
                assert self.known.told.get(name, Told()).sequence == self.sequence or name in self.kept

    @invariant()
    def an_acknowledged_alert_is_not_said_again_nor_escalated(self) -> None:
        for name in ("chat", "second"):
            words = [say for say, _, _ in self.heard[name]]
            if "ep_harbour" in self.view.acks and words and words[-1] is Say.ACKNOWLEDGED:
                assert self.known.head is None or self.known.told[name].acked

    def teardown(self) -> None:
        """When people and machines are at peace again, everybody who heard it fire hears that it ended."""
        self.gone.clear()
        self.inhibited.clear()
        self.change()
        if self.fires():
            self.resolve()
        self.time_passes(100_000)
        assert self.look is None
        for name, words in self.heard.items():
            news = [say for say, _, _ in words if name != "forgets" or say is not Say.REPEAT]
            assert not news or news[-1] is Say.RESOLVED


Life.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestLife = Life.TestCase


def plan_once(event: AlertEvent, who: list[Endpoint], told: dict[str, Told] | None = None, **facts):
    view = ControlView()
    view.endpoints = {one.id: one for one in who}
    for ack in facts.pop("acks", ()):
        view.acks[ack.id] = ack
    given = {"now": NOW, "head": Head(written_ms=NOW, fired_ms=NOW)} | facts
    return planned(Facts(event=event, body=b"bytes", told=told or {}, **given), view, limits_of)


def test_an_event_goes_out_with_its_own_bytes_into_the_lane_of_its_episode_or_of_the_chat():
    made = plan_once(alert_event(), [endpoint("plain"), endpoint("chat", channel="feishu")])
    assert made.bodies == {"gw_harbour_1": b"bytes"}
    assert [(one.endpoint, one.lane, one.urgent) for one in made.tellings] == [
        ("plain", "ep_harbour", False),
        ("chat", ALL, False),
    ]
    assert made.look_ms == NEVER


def test_only_what_is_or_becomes_critical_is_urgent():
    critical = alert_event("alert.updated", 2, severity="critical")
    assert plan_once(critical, [endpoint()]).tellings[0].urgent
    assert plan_once(critical, [endpoint()], {"risk": Told(1, Say.FIRING)}).tellings[0].urgent
    assert not plan_once(critical, [endpoint()], {"risk": Told(1, Say.FIRING, severe=True)}).tellings[0].urgent


def test_an_end_that_an_endpoint_cannot_hear_now_is_kept_until_it_can():
    ended = alert_event("alert.resolved", 2)
    made = plan_once(ended, [endpoint()], {"risk": Told(1, Say.FIRING)}, gone=frozenset({"risk"}))
    assert (made.tellings, made.look_ms) == ([], NEVER)
    assert plan_once(ended, [endpoint()], gone=frozenset({"risk"})).look_ms is None


def test_what_was_told_before_a_loss_is_noted_and_not_sent_whatever_would_be_decided_now():
    done = {"gw_harbour_1": {"risk": NOW - HOUR}}
    made = plan_once(alert_event(), [endpoint(disabled=True)], done=done, late=True)
    assert [(one.event, one.told.sequence, one.told.at_ms) for one in made.tellings] == [("", 1, NOW - HOUR)]
    assert made.bodies == {}


@given(st.integers(1, 50))
def test_repeats_of_before_a_loss_are_not_said_again(count):
    who, event = endpoint(repeat_s=600), alert_event()
    told, ids = Told(), {event.id: {"risk": NOW - HOUR}}
    first = plan_once(event, [who], now=NOW - HOUR)
    told = first.tellings[-1].told
    for number in range(count):
        at = NOW - HOUR + (number + 1) * 600_000
        said = plan_once(event, [who], {"risk": told}, now=at).tellings[-1]
        told, ids = said.told, ids | {said.event: {"risk": at}}
    rebuilt = plan_once(event, [who], now=told.at_ms + 1, done=ids)
    assert [one.event for one in rebuilt.tellings if one.lane] == []
    assert rebuilt.tellings[-1].told == told
    assert rebuilt.look_ms == told.at_ms + 600_000


def test_an_acknowledgement_follows_at_once_when_an_alert_is_told_that_somebody_has_seen():
    seen = Acknowledgement(id="ep_harbour", by="ana", at=NOW - 1)
    made = plan_once(alert_event(), [endpoint()], acks=[seen])
    assert [one.say for one in made.tellings] == [Say.FIRING, Say.ACKNOWLEDGED]
