"""The deliver process on real Kafka and Redis: signed, retried, resumed after a kill; no endpoint delays another."""

import asyncio

import msgspec
import pytest

from alerts import deliver
from alerts.lanes import books
from groundswell.clock import SystemClock
from groundswell.errors import NoSecretKey, TopicsMissing
from groundswell.records import DeadLetter, DeliveryOutcome, Silence
from stream.topology import DEAD_LETTERS, DELIVERIES, Topology
from tests.alert_events import event_bytes
from tests.delivery_road import STEPS_S


async def test_a_receiver_that_fails_twice_gets_the_same_signed_event_until_it_accepts(road):
    receiver = await road.subscribe(503, 500)
    sent = event_bytes()
    road.start()
    await road.push(sent)
    await road.until(lambda: len(receiver.received) == 3)
    assert {got.id for got in receiver.received} == {"gw_harbour_1"}
    assert all(got.verified for got in receiver.received)
    assert receiver.received[-1].event == msgspec.json.decode(sent)

    rows = [
        msgspec.json.decode(raw, type=DeliveryOutcome) for raw in await road.read(road.topology.name(DELIVERIES), 3)
    ]
    assert [(row.attempt, row.outcome, row.status) for row in rows] == [
        (1, "retry", 503),
        (2, "retry", 500),
        (3, "sent", 204),
    ]
    log = await road.log()
    assert sorted(row.attempt for row in log) == [1, 2, 3]
    await road.end()
    assert len(receiver.received) == 3


async def test_a_killed_process_goes_on_where_it_was(road):
    receiver = await road.subscribe(500)
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.kill()
    await road.push(event_bytes("alert.updated", 2), event_bytes("alert.resolved", 3))
    road.start()
    await road.until(lambda: len(receiver.received) >= 4)
    await road.end()
    arrived = [got.event["data"]["sequence"] for got in receiver.received]
    assert arrived == [1, 1, 2, 3]
    counts = await books(road.redis, road.keys)
    assert (counts.read, counts.applied, counts.duplicate, counts.balanced) == (3, 3, 0, True)


async def test_a_dead_endpoint_does_not_delay_the_other(road):
    dead = await road.subscribe(name="dead", listening=False)
    hanging = await road.subscribe(name="hanging")
    hanging.hang_s = 30.0
    alive = await road.subscribe(name="alive")
    road.start()
    await road.until(road.leads)
    begun = asyncio.get_running_loop().time()
    await road.push(*(event_bytes(episode=f"ep_{number}") for number in range(10)))
    await road.until(lambda: len(alive.received) == 10, seconds=5.0)
    assert asyncio.get_running_loop().time() - begun < 2.0
    assert dead.received == []


async def test_no_two_processes_send_and_the_standby_takes_over(road):
    receiver = await road.subscribe()
    road.start()
    await road.until(road.leads)
    stop = asyncio.Event()
    standby = asyncio.create_task(deliver.run(road.settings, road.topology, SystemClock(), stop, steps_s=STEPS_S))
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.end()
    await road.push(event_bytes("alert.resolved", 2))
    await road.until(lambda: len(receiver.received) == 2)
    stop.set()
    await standby
    assert [got.event["type"] for got in receiver.received] == ["alert.firing", "alert.resolved"]


async def test_a_lost_redis_sends_nothing_again(road):
    receiver = await road.subscribe()
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.read(road.topology.name(DELIVERIES), 1)
    await road.end()
    await road.redis.flushdb()
    await road.push(event_bytes(episode="ep_new"))
    road.start()
    await road.until(lambda: len(receiver.received) == 2)
    await road.end()
    assert [got.id for got in receiver.received] == ["gw_harbour_1", "gw_new_1"]


async def test_what_a_silence_held_back_is_told_when_it_is_lifted(road):
    receiver = await road.subscribe()
    now = SystemClock().now_ms()
    quiet = Silence(id="quiet", subjects=["XSHG:600001"], until=now + 3_600_000, by="ana", at=now)
    await road.people(quiet)
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: road.has_read(1))
    assert receiver.received == []
    await road.people(forget=("quiet",))
    await road.until(lambda: len(receiver.received) == 1)
    await road.end()


async def test_an_endpoint_that_is_gone_is_not_asked_again(road):
    receiver = await road.subscribe(410)
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: len(receiver.received) == 1)
    await road.push(event_bytes(episode="ep_later"))
    await road.until(lambda: road.has_read(2))
    await road.end()
    assert len(receiver.received) == 1
    tried, told = sorted(await road.log(), key=lambda row: row.outcome, reverse=True)
    assert (tried.outcome, tried.reason, tried.status) == ("refused", "endpoint_gone", 410)
    assert (told.outcome, told.reason, told.event) == ("disabled", "endpoint_gone", "")
    assert (await road.fares("risk")).state == "disabled"


async def test_a_record_that_is_no_alert_is_a_dead_letter_and_its_neighbours_arrive(road):
    receiver = await road.subscribe()
    road.start()
    await road.push(b"\xff not json", event_bytes(), event_bytes(episode="ep_a.b"))
    await road.until(lambda: road.has_read(3))
    await road.until(lambda: len(receiver.received) == 1)
    letters = [
        msgspec.json.decode(raw, type=DeadLetter) for raw in await road.read(road.topology.name(DEAD_LETTERS), 2)
    ]
    assert {letter.reason for letter in letters} == {"not_json", "wrong_shape"}
    assert {(letter.src.partition, letter.src.offset) for letter in letters} == {(3, 0), (3, 2)}
    counts = await books(road.redis, road.keys)
    assert (counts.read, counts.applied, counts.dead_lettered, counts.balanced) == (3, 1, 2, True)
    await road.end()


async def test_without_a_key_it_does_not_start(road):
    settings = msgspec.structs.replace(road.settings, secret_key="")
    with pytest.raises(NoSecretKey):
        await deliver.run(settings, road.topology, SystemClock(), asyncio.Event())


async def test_without_topics_it_stops_and_says_how_to_make_them(road):
    with pytest.raises(TopicsMissing) as caught:
        await deliver.run(road.settings, Topology(f"{road.settings.prefix}-none"), SystemClock(), asyncio.Event())
    assert "topology --create" in caught.value.line
