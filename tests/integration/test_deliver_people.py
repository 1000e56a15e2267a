"""What people set, on a running deliver: silences, acknowledgements, escalation, repeats, errands; time runs faster.

Ten minutes pass in a second. Faster, and Kafka itself would seem to take an hour; so three hours of trying,
or of a market's calm, are 20 s.
"""

import msgspec
from aiohttp import web

from alerts.market_day import AFTER_CRITICAL_MS
from alerts.people.errands import new
from groundswell.records import Acknowledgement, AlertEvent, Silence
from tests.alert_events import event_bytes
from tests.delivery_road import FastClock, Road, said
from tests.services_chat import ChatServices


def ack(road: Road, episode: str = "ep_harbour") -> Acknowledgement:
    return Acknowledgement(id=episode, by="ana", at=road.clock.now_ms(), note="on it", assigned="li")


async def test_a_silence_that_ends_while_it_fires_is_told_then_and_one_that_outlasts_it_is_not(road):
    road.clock = FastClock(600)
    receiver = await road.subscribe()
    now = road.clock.now_ms()
    short = Silence(id="short", subjects=["XSHG:600001"], until=now + 5_400_000, by="ana", at=now)
    long = Silence(id="long", subjects=[], matchers=["subject=XNAS:*"], until=now + 90_000_000, by="ana", at=now)
    await road.people(short, long)
    road.start()
    await road.push(event_bytes(), event_bytes("alert.updated", 2), event_bytes(subject="XNAS:B", episode="ep_b"))
    await road.until(lambda: road.has_read(3))
    assert receiver.received == []
    await road.until(lambda: len(receiver.received) == 1, seconds=25)
    assert said(receiver) == [("alert.updated", 2)]
    assert receiver.received[0].id == "gw_harbour_2"
    await road.push(
        event_bytes("alert.resolved", 2, subject="XNAS:B", episode="ep_b"), event_bytes("alert.resolved", 3)
    )
    await road.until(lambda: len(receiver.received) == 2)
    await road.end()
    assert said(receiver) == [("alert.updated", 2), ("alert.resolved", 3)]


async def test_an_acknowledgement_stops_repeats_is_told_and_spares_the_second_line(road):
    road.clock = FastClock(600)
    first = await road.subscribe(name="first", repeat_s=600)
    second = await road.subscribe(name="second", escalates_after_s=3_600)
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(first.received) == 3)
    await road.people(ack(road))
    await road.until(lambda: first.received[-1].event["type"] == "alert.acknowledged")
    told = len(first.received)
    later = road.clock.now_ms() + 2 * 3_600_000
    await road.until(lambda: road.clock.now_ms() > later, seconds=20)
    assert len(first.received) == told
    await road.push(event_bytes("alert.resolved", 2))
    await road.until(lambda: len(first.received) == told + 1)
    await road.end()
    assert len({got.id for got in first.received}) == len(first.received)
    assert first.received[-2].event["data"]["acknowledged"]["assigned"] == "li"
    assert first.received[-1].event["type"] == "alert.resolved"
    assert second.received == []


async def test_what_nobody_acknowledges_reaches_the_second_line_under_its_own_id(road):
    road.clock = FastClock(600)
    first = await road.subscribe(name="first")
    second = await road.subscribe(name="second", escalates_after_s=900)
    road.start()
    pushed = road.clock.now_ms()
    await road.push(event_bytes())
    await road.until(lambda: len(second.received) == 1)
    await road.push(event_bytes("alert.resolved", 2))
    await road.until(lambda: len(second.received) == 2)
    await road.end()
    assert [got.id for got in second.received] == [got.id for got in first.received] == ["gw_harbour_1", "gw_harbour_2"]
    (called,) = [row.at for row in await road.log("second") if row.event == "gw_harbour_1"]
    assert called >= pushed + 900_000


async def test_a_market_alert_speaks_for_what_it_explains_and_for_hours_after_it_ended(road):
    road.clock = FastClock(600)
    receiver = await road.subscribe()

    def heard():
        return {got.id for got in receiver.received}

    road.start()
    await road.push(
        event_bytes(episode="ep_market", subject="market:XSHG", effect=1.6),
        event_bytes(episode="ep_with", fires_up_to=1.6, severity="critical"),
        event_bytes(episode="ep_worse", fires_up_to=1.65),
        event_bytes(episode="ep_abroad", subject="XNAS:AAPL", fires_up_to=1.1),
    )
    await road.until(lambda: road.has_read(4))
    await road.until(lambda: len(heard()) == 3)
    assert heard() == {"gw_market_1", "gw_worse_1", "gw_abroad_1"}
    ended = road.clock.now_ms()
    await road.push(event_bytes("alert.resolved", 2, episode="ep_market", subject="market:XSHG"))
    await road.until(lambda: "gw_market_2" in heard())
    assert "gw_with_1" not in heard()
    await road.until(lambda: "gw_with_1" in heard(), seconds=30)
    assert road.clock.now_ms() - ended >= AFTER_CRITICAL_MS
    await road.end()


async def test_a_test_is_delivered_once_to_the_one_it_is_for(road):
    receiver, other = await road.subscribe(name="risk"), await road.subscribe(name="ops")
    road.start()
    await road.people(new("test", "risk", "ana", road.clock.now_ms()))
    await road.until(lambda: len(receiver.received) == 1)
    await road.end()
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(other.received) == 1 and len(receiver.received) == 2)
    await road.end()
    found = receiver.received[0]
    assert (found.event["type"], found.event["data"]["test"], found.verified) == ("endpoint.test", True, True)
    rows = await road.log("risk")
    assert [(row.type, row.test, row.outcome) for row in rows] == [
        ("endpoint.test", True, "sent"),
        ("alert.firing", False, "sent"),
    ]


async def test_an_old_errand_is_not_begun(road):
    receiver = await road.subscribe()
    await road.people(new("test", "risk", "ana", road.clock.now_ms() - 3_700_000))
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.end()
    assert [got.event["type"] for got in receiver.received] == ["alert.firing"]


async def test_a_disabled_endpoint_is_told_of_tried_again_when_enabled_and_sent_what_it_missed(road):
    receiver, other = await road.subscribe(410, name="risk"), await road.subscribe(name="ops")
    road.start()
    begun = road.clock.now_ms() - 1_000
    await road.push(event_bytes())
    await road.until(lambda: any(got.event["type"] == "endpoint.disabled" for got in other.received))

    async def shown_as_disabled() -> bool:
        return (await road.fares("risk")).state == "disabled"

    # The notice may arrive before the state that it tells of is written for the pages.
    await road.until(shown_as_disabled)
    await road.push(event_bytes("alert.updated", 2), event_bytes(episode="ep_b"))
    await road.until(lambda: road.has_read(3))
    asked = new("test", "risk", "ana", road.clock.now_ms())
    await road.people(asked)
    await road.until(lambda: road.redis.exists(f"{road.keys.delivery}:errand:{asked.id}"))
    assert len(receiver.received) == 1
    assert (await road.log("risk"))[-1].outcome == "disabled"
    await road.people(new("enable", "risk", "ana", road.clock.now_ms()))
    # What is true now is told: the newest of each open episode.
    await road.until(lambda: len(receiver.received) == 3)
    await road.until(lambda: other.received[-1].event["type"] == "endpoint.recovered")
    assert {got.id for got in receiver.received[1:]} == {"gw_harbour_2", "gw_b_1"}
    await road.people(new("replay", "risk", "ana", road.clock.now_ms(), since=begun))
    await road.until(lambda: len(receiver.received) == 4)
    await road.end()
    assert receiver.received[-1].id == "gw_harbour_1"
    events = [msgspec.convert(got.event, AlertEvent) for got in other.received]
    assert [event.data.subject.id for event in events if event.type.startswith("endpoint.")] == ["endpoint:risk"] * 2


async def test_a_replay_sends_the_same_ids_once_more_and_says_that_it_is_one(road):
    receiver = await road.subscribe()
    begun = road.clock.now_ms() - 1_000
    road.start()
    await road.push(event_bytes(), event_bytes("alert.resolved", 2))
    await road.until(lambda: len(receiver.received) == 2)
    await road.people(new("replay", "risk", "ana", road.clock.now_ms(), since=begun))
    await road.people(new("replay", "risk", "ana", road.clock.now_ms(), since=begun, everything=True))
    await road.until(lambda: len(receiver.received) == 4)
    await road.end()
    assert [got.id for got in receiver.received] == ["gw_harbour_1", "gw_harbour_2"] * 2
    assert all(got.verified for got in receiver.received)
    assert [got.headers.get("groundswell-replay") for got in receiver.received] == [None, None, "1", "1"]


async def test_two_secrets_sign_while_they_change_and_one_afterwards(road):
    road.clock = FastClock(600)
    receiver = await road.subscribe()
    old, now = receiver.secret, road.clock.now_ms()
    changed = road.endpoint(road.urls["risk"], "risk", receiver)
    rotated = msgspec.structs.replace(changed, old_secret=road.seal(old, "risk"), old_until=now + 3_600_000)
    await road.people(rotated)
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.until(lambda: road.clock.now_ms() > now + 3_600_000)
    await road.push(event_bytes("alert.updated", 2))
    await road.until(lambda: len(receiver.received) == 2)
    await road.end()
    assert [len(got.headers["webhook-signature"].split()) for got in receiver.received] == [2, 1]


class Chat:
    """A chat service (Slack's rules: 200 and `ok`) that keeps what was posted, or fails while `fails`."""

    def __init__(self) -> None:
        self.posted: list[str] = []
        self.fails = False

    async def start(self, road: Road) -> None:
        app = web.Application()
        app.router.add_post("/services/x", self._take)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        allowed = [*road.settings.deliver_allow, f"127.0.0.1:{port}"]
        road.settings = msgspec.structs.replace(road.settings, deliver_allow=allowed)
        await road.people(road.endpoint(f"http://127.0.0.1:{port}/services/x", "chat", channel="slack"))
        road.closing.append(runner.cleanup)

    async def _take(self, request: web.Request) -> web.Response:
        if self.fails:
            return web.Response(status=503)
        self.posted.append(await request.text())
        return web.Response(text="ok")


async def test_a_chat_gets_the_first_at_once_and_what_follows_in_one_message_with_what_was_missed(road):
    road.clock, road.options = FastClock(600), {"group_s": 1_800.0}
    chat = Chat()
    await chat.start(road)
    road.start()
    await road.until(road.leads)
    await road.push(event_bytes(episode="ep_0"))
    await road.until(lambda: len(chat.posted) == 1)
    await road.push(*(event_bytes(episode=f"ep_{number}", subject=f"XSHG:60000{number}") for number in range(1, 6)))
    await road.until(lambda: len(chat.posted) == 2)
    assert all(f"XSHG:60000{number}" in chat.posted[1] or "Harbour" in chat.posted[1] for number in range(1, 6))
    chat.fails = True
    await road.push(*(event_bytes("alert.updated", 2, episode=f"ep_{number}") for number in range(3)))
    lost = road.clock.now_ms() + 3 * 3_600_000
    await road.until(lambda: road.clock.now_ms() > lost, seconds=30)
    await road.until(lambda: _missed(road, 3))
    chat.fails = False
    await road.push(event_bytes("alert.resolved", 3, episode="ep_0"))
    await road.until(lambda: len(chat.posted) == 3, seconds=20)
    await road.end()
    assert "3 alerts could not be delivered" in chat.posted[2]
    outcomes = [row.outcome for row in await road.log("chat")]
    assert outcomes.count("sent") == 7
    assert outcomes.count("given_up") == 3


async def _missed(road: Road, count: int) -> bool:
    return (await road.fares("chat")).missed == count


async def test_a_removed_endpoint_leaves_no_trace_in_redis_and_the_other_goes_on(road):
    risk, other = await road.subscribe(500, 500, 500, name="risk"), await road.subscribe(name="other")
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(risk.received) >= 1 and len(other.received) == 1)
    await road.until(lambda: _logged(road, "risk"))
    await road.people(forget=("risk",))
    await road.until(lambda: _forgotten(road, "risk"))
    await road.push(event_bytes("alert.resolved", 2))
    await road.until(lambda: len(other.received) == 2)
    await road.end()
    assert await _forgotten(road, "risk")
    assert [row.endpoint for row in await road.log()] == ["other", "other"]


async def test_alertmanager_hears_each_minute_that_it_fires_and_for_five_minutes_that_it_is_over(road):
    road.clock = FastClock(60)
    services = ChatServices(lambda: road.clock.now_ms() / 1000)
    place = (await services.start()).removeprefix("http://")
    road.closing.append(services.stop)
    road.settings = msgspec.structs.replace(road.settings, deliver_allow=[place])
    await road.people(road.endpoint(services.url("alertmanager"), "ops", channel="alertmanager"))
    posted = services.posted["alertmanager"]
    road.start()
    await road.push(event_bytes(started_at="2020-01-01T00:00:00Z"))
    await road.until(lambda: len(posted) >= 3)
    assert all(alert["endsAt"] > alert["startsAt"] for (alert,) in posted)
    await road.push(event_bytes("alert.resolved", 2, started_at="2020-01-01T00:00:00Z"))
    await road.until(lambda: len([one for one in posted if len(one) > 1]) == 5, seconds=20)
    over = road.clock.now_ms() + 240_000
    await road.until(lambda: road.clock.now_ms() > over)
    await road.end()
    fires, ends = [one for one in posted if len(one) == 1], [one for one in posted if len(one) > 1]
    assert posted == fires + ends
    assert len(ends) == 5
    assert {alert["labels"]["severity"] for one in ends for alert in one} == {"notice", "warning", "critical"}
    assert len({row.event for row in await road.log("ops")}) == len(posted), "each under an id of its own"


async def _logged(road: Road, endpoint: str) -> bool:
    return bool(await road.log(endpoint))


async def _forgotten(road: Road, endpoint: str) -> bool:
    """No key and no field of a hash that is kept for endpoints holds its name."""
    names = ("waiting", "health", "resting", "spaced")
    fields = [await road.redis.hexists(f"{road.keys.delivery}:{name}", endpoint) for name in names]
    return (
        not any(fields)
        and [key async for key in road.redis.scan_iter(match=f"{road.keys.delivery}:*:{endpoint}*")] == []
    )
