"""Faults at the far end and here: dead, slow and lying receivers, wrong clocks, crashes, a lost Redis, many that wait.

An hour of failures at ten minutes a second, and the pauses between tries that come after it: 20 s.
"""

import asyncio
import contextlib
import socket
import threading
import time
from typing import Any

import msgspec
import pytest

from alerts import deliver
from alerts.case import Head, Told
from alerts.guard import LookUps
from alerts.lanes import Accept, Addressed, Finish, Lanes
from alerts.record import Recorder
from alerts.say import Say
from groundswell.clock import SystemClock
from groundswell.secrets import new_key
from tests.alert_events import event_bytes
from tests.delivery_road import FastClock, Road, WrongClock, said

HOUR_MS = 3_600_000


async def test_a_receiver_that_failed_for_an_hour_gets_all_of_it_in_order_under_the_same_ids(road):
    """F40."""
    road.clock, road.options = FastClock(600), {"group_s": 60.0}
    receiver = await road.subscribe(*[500] * 40)
    road.start()
    events = [event_bytes("alert.updated" if number else "alert.firing", number, episode=episode)
              for number in range(4) for episode in ("ep_a", "ep_b", "ep_c")]  # fmt: skip
    for event in events:
        await road.push(event)
    await road.until(lambda: road.has_read(12))
    hour = road.clock.now_ms() + HOUR_MS
    await road.until(lambda: road.clock.now_ms() > hour, seconds=20)
    tried = len(receiver.received)
    assert (await road.fares("risk")).state == "degraded"
    assert tried < 15, "a dead endpoint is probed, not hammered"
    receiver.answers.clear()
    await road.until(lambda: len(receiver.received) >= tried + 12, seconds=30)
    await road.until(lambda: _healthy(road, "risk"))
    await road.end()
    arrived = [got.event["data"]["sequence"] for got in receiver.received[tried:] if got.id.startswith("gw_b")]
    assert arrived == [0, 1, 2, 3]
    assert {got.id for got in receiver.received} == {f"gw_{name}_{number}" for name in "abc" for number in range(4)}


async def test_a_hundred_dead_silent_half_open_and_unresolvable_endpoints_leave_a_healthy_one_alone(road):
    """F39."""
    released = threading.Event()

    def hangs(host: str, port: int) -> list[tuple[Any, ...]]:
        if host.startswith("hangs"):
            released.wait(30)
            raise OSError("no answer")
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)

    async def half_open(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-")
        with contextlib.suppress(ConnectionError):
            while await reader.read(65_536):  # and says no more, until the other side goes
                pass
        writer.close()

    half = await asyncio.start_server(half_open, "127.0.0.1", 0)
    road.closing += [lambda: asyncio.to_thread(half.close), lambda: asyncio.to_thread(released.set)]
    halves = half.sockets[0].getsockname()[1]
    road.options["look_ups"] = LookUps(hangs)
    silent = socket.create_server(("127.0.0.1", 0), backlog=512)  # takes a connection and never says a word
    road.closing.append(lambda: asyncio.to_thread(silent.close))
    port = silent.getsockname()[1]
    allowed = [*road.settings.deliver_allow, f"127.0.0.1:{port}", f"127.0.0.1:{halves}", "127.0.0.1:9"]
    road.settings = msgspec.structs.replace(road.settings, deliver_allow=allowed)
    alive = await road.subscribe(name="alive")
    places = [f"127.0.0.1:{port}", "127.0.0.1:9", f"127.0.0.1:{halves}", "hangs{}.bank.com"]
    dead = [
        road.endpoint(f"http://{places[number % 4].format(number)}/{number}", f"dead{number}") for number in range(100)
    ]
    await road.people(*dead)
    road.start()
    await road.until(road.leads)
    sent_at: dict[str, float] = {}
    for number in range(30):
        sent_at[f"gw_{number}_1"] = time.time()
        await road.push(event_bytes(episode=f"ep_{number}"))
    await road.until(lambda: len(alive.received) == 30, seconds=20)
    delays = sorted(got.received_at / 1000 - sent_at[got.id] for got in alive.received)
    assert delays[-1] < 2.0, delays
    await road.until(lambda: _all(road, [f"dead{number}" for number in range(100)], "degraded"), seconds=40)
    reasons = {row.reason for number in range(4) for row in await road.log(f"dead{number}")}
    assert reasons == {"unreachable", "timed_out"}
    await road.end()


async def test_a_crash_after_sending_leaves_one_second_delivery_with_the_same_id(road, monkeypatch):
    """F42."""
    receiver = await road.subscribe()
    real, crashed = Recorder.note, asyncio.Event()

    async def crash(*_: object) -> bool:
        crashed.set()
        await asyncio.Event().wait()
        return False

    monkeypatch.setattr(Recorder, "note", crash)
    road.start()
    await road.push(event_bytes(), event_bytes("alert.resolved", 2))
    await crashed.wait()
    await road.kill()
    monkeypatch.setattr(Recorder, "note", real)
    road.start()
    await road.until(lambda: len(receiver.received) == 3)
    await road.end()
    assert [got.id for got in receiver.received] == ["gw_harbour_1", "gw_harbour_1", "gw_harbour_2"]


@pytest.mark.parametrize("ahead_s", [3_600, -3_600])
async def test_a_clock_that_is_an_hour_off_is_named_and_still_delivers(road, ahead_s):
    """F48."""
    receiver = await road.subscribe()
    road.clock = WrongClock(ahead_s)
    road.start()
    await road.push(event_bytes(), event_bytes("alert.resolved", 2))
    await road.until(lambda: len(receiver.received) == 2)
    await road.end()
    assert said(receiver) == [("alert.firing", 1), ("alert.resolved", 2)]
    assert (await road.fares("risk")).skew_s == pytest.approx(-ahead_s, abs=5)


class JumpingClock(SystemClock):
    """Right, until somebody sets it."""

    ahead_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


async def test_a_clock_that_is_set_five_minutes_on_or_back_ends_nothing_and_repeats_nothing(road):
    """F48. A try that is under way as the clock is set may be made twice, under its one id: here none is."""
    receiver = await road.subscribe(repeat_s=86_400)
    road.clock = JumpingClock()
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: _rows(road, 1))
    for number, minutes in enumerate((5, -5, 0), start=2):
        road.clock.ahead_ms = minutes * 60_000
        await road.push(event_bytes("alert.updated", number))
        await road.until(lambda count=number: _rows(road, count))
        skew = -minutes * 60
        await road.until(lambda wanted=skew: _skewed(road, wanted))
    await road.push(event_bytes("alert.resolved", 5))
    await road.until(lambda: len(receiver.received) == 5)
    await road.end()
    assert [sequence for _, sequence in said(receiver)] == [1, 2, 3, 4, 5]
    assert [kind for kind, _ in said(receiver)].count("alert.resolved") == 1


async def test_two_processes_whose_clocks_are_two_hours_apart_hold_one_lease(road):
    """F48: leases are counted by Redis."""
    receiver = await road.subscribe()
    stop = asyncio.Event()
    others = []
    for ahead_s in (3_600, -3_600):
        others.append(
            asyncio.create_task(deliver.run(road.settings, road.topology, WrongClock(ahead_s), stop, **road.options))
        )
        await road.until(road.leads)  # the first, before the other's beats lie over its own: here they are one process
    for number in range(1, 6):
        await road.push(event_bytes("alert.updated" if number > 1 else "alert.firing", number))
        await asyncio.sleep(0.5)  # the standby asks for the lease every second
    await road.until(lambda: len(receiver.received) >= 5)
    stop.set()
    await asyncio.gather(*others)
    assert [sequence for _, sequence in said(receiver)] == [1, 2, 3, 4, 5]


async def _skewed(road: Road, seconds: int) -> bool:
    return abs((await road.fares("risk")).skew_s - seconds) <= 5


async def test_another_key_makes_an_endpoint_unreadable_and_the_right_one_heals_it(road):
    """F49: the others go on."""
    receiver, fine = await road.subscribe(name="risk"), await road.subscribe(name="fine")
    right = road.settings
    ring = f"{new_key()},{new_key()}"
    road.settings = msgspec.structs.replace(right, secret_key=ring)
    fresh = road.endpoint(f"http://{right.deliver_allow[1]}/hook", "fine", fine)
    await road.people(fresh)
    road.start()
    await road.push(event_bytes())
    await road.until(lambda: _is(road, "risk", "unreadable"))
    await road.until(lambda: {got.event["type"] for got in fine.received} == {"alert.firing", "endpoint.disabled"})
    await road.end()
    assert receiver.received == []
    road.settings = msgspec.structs.replace(right, secret_key=f"{ring},{right.secret_key}")
    road.start()
    await road.until(lambda: any(got.id == "gw_harbour_1" for got in receiver.received))
    await road.until(lambda: fine.received[-1].event["type"] == "endpoint.recovered")
    await road.end()


async def test_a_lost_redis_repeats_nothing_and_knows_who_heard_what(road):
    gone = await road.subscribe(410, name="gone")
    first, second = await road.subscribe(name="first"), await road.subscribe(name="second", severity="critical")
    road.start()
    await road.push(event_bytes(), event_bytes(episode="ep_over"), event_bytes("alert.resolved", 2, episode="ep_over"))
    # Three alerts, and one about the endpoint that is gone.
    await road.until(lambda: len(first.received) == 4)
    await road.until(lambda: _is(road, "gone", "disabled"))
    await road.until(lambda: _rows(road, 5))
    await road.end()
    await road.redis.flushdb()
    await road.push(event_bytes("alert.resolved", 2))
    road.start()
    await road.until(lambda: len(first.received) == 5)
    await road.until(lambda: road.has_read(4))
    await road.end()
    assert [got.id for got in first.received if got.id.startswith("gw_harbour")] == ["gw_harbour_1", "gw_harbour_2"]
    assert len({got.id for got in first.received}) == 5
    assert [got.event["type"] for got in second.received] == ["endpoint.disabled"]
    assert len(gone.received) == 1


async def test_a_redis_that_loses_all_while_deliver_runs_is_rebuilt_by_itself(road):
    """F25."""
    receiver = await road.subscribe()
    road.start()
    await road.push(event_bytes(), event_bytes(episode="ep_b"))
    await road.until(lambda: len(receiver.received) == 2)
    await road.until(lambda: _rows(road, 2))
    await road.redis.flushdb()
    await road.push(event_bytes("alert.resolved", 2))
    await road.until(lambda: len(receiver.received) == 3, seconds=20)
    await road.until(lambda: road.has_read(3))
    await road.end()
    assert [got.id for got in receiver.received[2:]] == ["gw_harbour_2"]


async def test_five_thousand_that_wait_keep_their_times_through_a_restart_and_delay_it_little(road):
    receiver = await road.subscribe()
    lanes = Lanes(road.redis, road.keys, "before")
    await lanes.hold(60_000)
    now = road.clock.now_ms()
    body = event_bytes()
    for number in range(5_000):
        telling = Addressed(
            endpoint="risk", told=Told(1, Say.FIRING, now), event=f"gw_{number}", say=Say.FIRING, lane=f"ep_{number}"
        )
        await lanes.accept(Accept(
            place=None, episode=f"ep_{number}", sequence=1, head=Head(written_ms=now, fired_ms=now), body=body, now_ms=now,
            bodies={telling.event: body}, tellings=[telling], look_ms=float("inf"),
        ))  # fmt: skip
    claims = await lanes.claim("risk", now, 60_000, lanes=5_000)
    later = [
        Finish(endpoint="risk", claim=one, rows=[], pop=0, again_ms=now + HOUR_MS + number)
        for number, one in enumerate(claims)
    ]
    await lanes.finish(later)
    await lanes.begin("")
    await lanes.let_go()
    before = await road.redis.zrange(f"{road.keys.delivery}:due:risk", 0, -1, withscores=True)
    begun = time.monotonic()
    road.start()
    await road.push(event_bytes(episode="ep_new"))
    await road.until(lambda: len(receiver.received) == 1)
    took = time.monotonic() - begun
    await road.end()
    assert took < 5.0
    assert receiver.received[0].id == "gw_new_1"
    assert await road.redis.zrange(f"{road.keys.delivery}:due:risk", 0, -1, withscores=True) == before
    assert len(before) == 5_000


async def _is(road: Road, endpoint: str, state: str) -> bool:
    return (await road.fares(endpoint)).state == state


async def _all(road: Road, endpoints: list[str], state: str) -> bool:
    return all([await _is(road, name, state) for name in endpoints])


async def _healthy(road: Road, endpoint: str) -> bool:
    return await _is(road, endpoint, "healthy") and not (
        await road.redis.hget(f"{road.keys.delivery}:waiting", endpoint) or b"0"
    ).strip(b"0")


async def _rows(road: Road, count: int) -> bool:
    return len(await road.log()) >= count
