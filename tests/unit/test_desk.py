"""What people do at the desk becomes one object on the control topic, or a refusal that says what to do."""

import asyncio
from typing import Any

import fakeredis
import msgspec
import pytest

from alerts.guard import LookUps
from alerts.people.desk import Desk
from alerts.pipeline import derived
from groundswell.asked import (
    AskedAcknowledgement,
    AskedEndpoint,
    AskedReplay,
    AskedRotation,
    AskedSilence,
    EndpointChange,
)
from groundswell.clock import ManualClock
from groundswell.control import ControlView
from groundswell.errors import NoAcknowledgement, NoSuchEndpoint, NoSuchEpisode, NoSuchSilence, WrongShape
from groundswell.keys import Keys
from groundswell.records import Acknowledgement, ControlObject, DeliveryOutcome, Endpoint, Errand, Silence
from groundswell.running import beat
from groundswell.secrets import SecretBox, new_key
from groundswell.settings import Settings
from tests.pages import public

NOW, KEYS = 1_795_300_020_000, Keys()
OLD, NEW = new_key(), new_key()


class Pen:
    """The control topic, as written; `answer` is what deliver does about an errand."""

    def __init__(self) -> None:
        self.view, self.written = ControlView(), list[ControlObject | str]()
        self.answer: Any = None

    async def write(self, thing: ControlObject) -> None:
        self.written.append(thing)
        self.view.apply(thing.id, msgspec.json.encode(thing))
        if isinstance(thing, Errand) and self.answer is not None:
            await self.answer(thing)

    async def erase(self, object_id: str) -> None:
        self.written.append(object_id)
        self.view.apply(object_id, None)


class Room:
    """A desk, its pen and its Redis; time stands still but for waiting."""

    def __init__(self, key: str = OLD) -> None:
        self.pen, self.clock, self.redis = Pen(), ManualClock(NOW), fakeredis.FakeAsyncRedis()
        self.sit(key)

    def sit(self, key: str) -> None:
        settings = Settings(secret_key=key, deliver_allow=["hooks.bank:9000"])
        self.desk = Desk(settings, self.clock, self.pen.view, self.pen, self.redis, KEYS, look_ups=LookUps(public))

    async def endpoint(self, name: str = "risk", **asked: Any) -> Endpoint:
        found, _ = await self.desk.add(AskedEndpoint(url="https://hooks.bank:9000/in", name=name, **asked))
        return self.pen.view.endpoints[found.id]

    async def tried(self, endpoint: str, *, event: str = "gw_1", attempt: int = 1, **more: Any) -> None:
        told = {"outcome": "sent", "status": 204, "at": self.clock.now_ms(), "episode": "ep_1"} | more
        row = DeliveryOutcome(event=event, endpoint=endpoint, attempt=attempt, **told)
        await self.redis.lpush(f"{KEYS.delivery}:log:{endpoint}", msgspec.json.encode(row))


@pytest.fixture
async def room():
    one = Room()
    yield one
    await one.redis.aclose()


async def test_an_acknowledgement_names_who_and_whose_it_is_now(room):
    await room.redis.set(KEYS.alert("ep_1"), b"{}")
    ack = await room.desk.acknowledge(
        "ep_1", AskedAcknowledgement(note="calling\x1b[31m them", assigned="Ana"), by="lin"
    )
    assert room.pen.written == [ack]
    assert ack == Acknowledgement(id="ep_1", by="lin", at=NOW, note="calling[31m them", assigned="Ana")
    await room.desk.unacknowledge("ep_1")
    assert room.pen.view.acks == {}


async def test_what_is_not_there_cannot_be_acknowledged_taken_back_or_ended(room):
    kept = await room.endpoint()
    for doing, why in (
        (room.desk.acknowledge("ep_none", AskedAcknowledgement(), by="lin"), NoSuchEpisode),
        (room.desk.unacknowledge(kept.id), NoAcknowledgement),
        (room.desk.end_silence(kept.id), NoSuchSilence),
        (room.desk.remove("hook_none"), NoSuchEndpoint),
    ):
        with pytest.raises(why) as refused:
            await doing
        assert refused.value.remedy
    assert room.pen.written == [kept], "an id of another kind erases nothing"


async def test_a_silence_holds_its_conditions_and_ends_by_itself_or_by_hand(room):
    asked = AskedSilence(subjects=["XNAS:AAPL"], matchers=["topic in fraud,default"], span="2h", reason="known")
    made = await room.desk.silence(asked, by="lin")
    assert isinstance(made, Silence)
    assert (made.until, made.by, made.reason) == (NOW + 7_200_000, "lin", "known")
    assert room.desk.silences() == [made]
    room.clock.advance(7_200.0)
    assert room.desk.silences() == []
    assert room.desk.silences(over_too=True) == [made]
    await room.desk.end_silence(made.id)
    assert room.pen.view.silences == {}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (AskedSilence(span="2h"), "--all"),
        (AskedSilence(span="2h", subjects=["", " "]), "--all"),
        (AskedSilence(span="2h", matchers=["topic fraud"]), "FIELD"),
        (AskedSilence(all=True), "--for"),
    ],
)
async def test_a_silence_of_everything_by_mistake_is_refused(room, asked, says):
    with pytest.raises(WrongShape) as refused:
        await room.desk.silence(asked, by="lin")
    assert says in refused.value.remedy
    assert room.pen.written == []


async def test_everything_can_be_silenced_when_it_is_said(room):
    made = await room.desk.silence(AskedSilence(all=True, span="10m"), by="lin")
    assert (made.subjects, made.matchers) == ([], [])


async def test_an_endpoint_is_found_by_its_id_or_a_name_that_only_it_has(room):
    one, _ = await room.endpoint("risk"), await room.endpoint("desk")
    assert room.desk.find("risk") == room.desk.find(one.id) == one
    await room.endpoint("risk")
    with pytest.raises(NoSuchEndpoint, match="2 endpoints"):
        room.desk.find("risk")


async def test_lists_show_nothing_secret(room):
    made, secret = await room.desk.add(AskedEndpoint(url="https://hooks.bank:9000/t0ken", name="risk"))
    await room.desk.rotate(made.id, AskedRotation())
    shown = msgspec.json.encode(await room.desk.endpoints()).decode()
    assert secret not in shown
    assert "t0ken" not in shown
    assert (await room.desk.endpoint("risk")).old_secret_until == NOW + 86_400_000


async def test_two_changes_at_once_both_hold(room):
    made = await room.endpoint()
    await asyncio.gather(
        room.desk.change(made.id, EndpointChange(lang="zh")), room.desk.change(made.id, EndpointChange(drills=True))
    )
    found = room.pen.view.endpoints[made.id]
    assert (found.lang, found.drills) == ("zh", True)


async def test_a_test_says_what_the_receiver_answered_and_leaves_no_errand_behind(room):
    made = await room.endpoint()
    await room.tried(made.id, event="of another test", test=True)

    async def answer(errand: Errand) -> None:
        assert (errand.task, errand.endpoint, errand.by) == ("test", made.id, "lin")
        await room.tried(
            made.id, event=derived("endpoint.test", errand.id), outcome="retry", status=401, reason="http_401"
        )

    room.pen.answer = answer
    result = await room.desk.test("risk", by="lin", wait_s=30)
    assert (result.done, result.well, len(result.tries)) == (True, False, 1)
    assert "401" in result.says
    assert room.pen.view.errands == {}


async def test_a_test_that_nobody_does_says_so_and_stays_to_be_done(room):
    made = await room.endpoint()
    result = await room.desk.test(made.id, by="lin", wait_s=5)
    assert (result.done, result.well) == (False, False)
    assert "groundswell deliver" in result.says
    assert list(room.pen.view.errands) == [result.errand]
    await beat.say(room.redis, KEYS, beat.Beat(stage="deliver", instance="1", pid=1, at=NOW))
    assert "health" in (await room.desk.test(made.id, by="lin", wait_s=5)).says


async def test_what_was_said_of_alerts_that_are_long_gone_is_taken_away(room):
    for name in ("ep_1", "ep_2", "ep_3"):
        await room.redis.set(KEYS.alert(name), b"{}")
    await room.desk.acknowledge("ep_1", AskedAcknowledgement(), by="lin")
    old = await room.desk.silence(AskedSilence(subjects=["XNAS:AAPL"], span="2h"), by="lin")
    long = await room.desk.silence(AskedSilence(subjects=["XNAS:TSLA"], span="2d"), by="lin")
    room.clock.advance(90 * 86_400)
    await room.desk.acknowledge("ep_2", AskedAcknowledgement(), by="lin")
    assert set(room.pen.view.acks) == {"ep_1", "ep_2"}, "to the millisecond, it is 90 days old"
    room.clock.advance(86_400)
    await room.desk.acknowledge("ep_3", AskedAcknowledgement(), by="lin")
    assert set(room.pen.view.acks) == {"ep_2", "ep_3"}
    assert old.id not in room.pen.view.silences
    assert long.id in room.pen.view.silences


async def test_errands_that_are_too_old_to_be_done_are_taken_away(room):
    made = await room.endpoint()
    old = await room.desk.test(made.id, by="lin", wait_s=0)
    room.clock.advance(3_601.0)
    new = await room.desk.test(made.id, by="lin", wait_s=0)
    assert old.errand not in room.pen.view.errands
    assert new.errand in room.pen.view.errands


async def test_with_an_endpoint_goes_what_was_asked_of_it_and_nothing_else(room):
    gone, stays = await room.endpoint("gone"), await room.endpoint("stays")
    asked = [await room.desk.test(one.id, by="lin", wait_s=0) for one in (gone, stays)]
    await room.desk.replay(gone.id, AskedReplay(since="2h"), by="lin", wait_s=0)
    assert await room.desk.remove("gone") == gone.id
    assert list(room.pen.view.errands) == [asked[1].errand]
    assert list(room.pen.view.endpoints) == [stays.id]


async def test_a_replay_counts_what_came_of_it_also_under_known_ids(room):
    made = await room.endpoint()
    await room.tried(made.id, event="gw_1")

    async def answer(errand: Errand) -> None:
        assert (errand.task, errand.since, errand.all) == ("replay", NOW - 7_200_000, True)
        room.clock.advance(1.0)
        await room.tried(made.id, event="gw_1")
        await room.tried(made.id, event="gw_2", outcome="retry", status=500)
        await room.redis.set(f"{KEYS.delivery}:errand:{errand.id}", 1)

    room.pen.answer = answer
    result = await room.desk.replay(made.id, AskedReplay(since="2h", all=True), by="lin", wait_s=30)
    assert (result.done, result.well, result.says) == (True, False, "1 sent, 1 not.")


async def test_a_replay_of_nothing_says_so(room):
    made = await room.endpoint()

    async def answer(errand: Errand) -> None:
        await room.redis.set(f"{KEYS.delivery}:errand:{errand.id}", 1)

    room.pen.answer = answer
    result = await room.desk.replay(made.id, AskedReplay(since="2h"), by="lin", wait_s=30)
    assert (result.done, result.well) == (True, True)
    assert "--all" in result.says


async def test_an_endpoint_switched_off_by_hand_is_switched_on_by_enable(room):
    made = await room.endpoint()
    assert (await room.desk.disable(made.id)).state == "disabled"

    async def answer(errand: Errand) -> None:
        await room.redis.set(f"{KEYS.delivery}:errand:{errand.id}", 1)

    room.pen.answer = answer
    result = await room.desk.enable(made.id, by="lin", wait_s=30)
    assert (result.done, result.well) == (True, True)
    assert (await room.desk.endpoint(made.id)).state == "healthy"


async def test_resealing_rewrites_what_the_old_key_sealed_and_names_what_no_key_opens(room):
    one = await room.endpoint("one")
    room.sit(new_key())
    lost = await room.endpoint("lost")
    room.sit(f"{NEW},{OLD}")
    assert await room.desk.reseal() == ([one.id], [lost.id])
    assert SecretBox(NEW).open(room.pen.view.endpoints[one.id].url, one.id, "url") == "https://hooks.bank:9000/in"
    assert await room.desk.reseal() == ([], [lost.id])
