"""Delivery under kill -9, SIGSTOP, a restart and a lost Redis: real processes, real sockets; nothing undelivered, nothing out of order.

A second process always stands by, as in operation. One endpoint in three refuses half of all tries. Six kills by default; the long form:
GROUNDSWELL_TEST_KILLS=50. What an endpoint gets twice has the same id, and there is no more of it than was under way when deliver died.
A killed process is only replaced when its lease has run out (10 s): six of them are more than a minute.
"""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from alerts.deliver import LEASE_MS
from alerts.lanes import Addressed, Finish, Lanes, Wait
from alerts.slot import UNWRITTEN_MOST
from bench.deliver import check
from bench.deliver_events import Alert, alerts
from bench.deliver_receivers import BROKEN, HALF, HEALTHY, Arrival
from bench.deliver_road import Deliver, Road, road
from groundswell.records import DeliveryOutcome

KILLS = int(os.environ.get("GROUNDSWELL_TEST_KILLS", "4"))
SEED = int(os.environ.get("GROUNDSWELL_TEST_SEED", "8"))
QUICK = (str(Path(__file__).with_name("deliver_process.py")),)
BEHAVIOURS = (HEALTHY, HEALTHY, HALF)
PACE = 12.0
ALIVE_S = 3.0  # the most that a process leads before it is killed
TAKEN_OVER_S = LEASE_MS / 1000 + 3
SETTLED_S = 90.0
PENDING = 5_000
WATCHED_MS = 6_000
EPOCH_MS = time.time_ns() / 1e6 - 1e3 * time.monotonic()  # of the clock that arrivals are told by
RETRY_STEPS_S = (0.5, 10.0, 12.0, *(600.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0) * 8)


class Pair:
    """One process that leads and one that stands by; `next` starts another where one was lost."""

    def __init__(self, found: Road, stack: AsyncExitStack) -> None:
        self._road, self._stack = found, stack
        self.running: list[Deliver] = []

    async def fill(self) -> None:
        while len(self.running) < 2:
            self.running.append(await self._stack.enter_async_context(self._road.deliver(QUICK)))

    async def leader(self) -> Deliver:
        found: list[Deliver] = []

        async def one() -> bool:
            found[:] = [each for each in self.running if await each.leads()]
            return len(found) == 1

        await self._road.until(one, "one process to lead", TAKEN_OVER_S)
        return found[0]

    async def lose(self, gone: Deliver, number: signal.Signals) -> float:
        """End the leading process, and the seconds until the next alert arrives."""
        before, began_s = await newest_s(self._road), time.monotonic()
        self.running.remove(gone)
        await (gone.killed() if number == signal.SIGKILL else gone.terminated())
        ended_s = time.monotonic()

        async def again() -> bool:
            return await newest_s(self._road) > max(before, ended_s)

        await self._road.until(again, "the other process to send", TAKEN_OVER_S)
        return await first_after(self._road, ended_s) - began_s


async def newest_s(found: Road) -> float:
    return max((one.at_s for one in await found.receivers.arrivals()), default=0.0)


async def first_after(found: Road, at_s: float) -> float:
    return min(one.at_s for one in await found.receivers.arrivals() if one.at_s > at_s)


async def taken(found: Road, each: int, seconds: float = SETTLED_S) -> None:
    """Wait until every endpoint took so many."""

    async def all_of_them() -> bool:
        return all(count >= each for count in await found.receivers.accepted())

    await found.until(all_of_them, f"{each} alerts at each endpoint", seconds)
    await asyncio.sleep(1.0)  # what is delivered twice comes now


def made(count: int, seed: int = SEED) -> list[Alert]:
    return alerts(count, time.time_ns() // 1_000_000, seed)


def first_tries_out_of_order(came: Sequence[Arrival]) -> int:
    """Events whose first try came after the first try of a later one of the same episode, at the same endpoint."""
    newest: dict[tuple[int, str], int] = {}
    seen: set[tuple[int, str]] = set()
    wrong = 0
    for one in came:
        if (one.endpoint, one.id) not in seen:
            seen.add((one.endpoint, one.id))
            wrong += one.sequence < newest.get((one.endpoint, one.episode), 0)
            newest[one.endpoint, one.episode] = one.sequence
    return wrong


async def test_killed_at_random_moments_nothing_is_lost_and_nothing_is_out_of_order(record_property: Any) -> None:
    chance = random.Random(SEED)
    async with road(BEHAVIOURS) as found, AsyncExitStack() as stack:
        pair = Pair(found, stack)
        await pair.fill()
        written: list[Alert] = []
        done = asyncio.Event()

        async def write() -> None:
            for alert in made(100_000):
                if done.is_set():
                    return
                await found.tell([alert])
                written.append(alert)
                await asyncio.sleep(chance.expovariate(PACE))

        writing = asyncio.create_task(write())
        without_s = []
        for _ in range(KILLS):
            leader = await pair.leader()
            await pair.fill()
            await asyncio.sleep(chance.uniform(0, ALIVE_S))
            without_s.append(await pair.lose(leader, signal.SIGKILL))
        done.set()
        await writing
        await taken(found, len(written))
        came = await found.receivers.arrivals()
    faults = check(came, written, range(len(BEHAVIOURS)))
    figures = {
        "kills": KILLS, "seed": SEED, "alerts": len(written), "requests": len(came), **faults,
        "longest_without_a_delivery_s": round(max(without_s), 1), "median_s": round(sorted(without_s)[KILLS // 2], 1),
    }  # fmt: skip
    record_property("figures", figures)
    print(figures)
    assert faults["missing"] == 0
    assert faults["out_of_order"] == first_tries_out_of_order(came) == 0
    assert {one.id for one in came} == {alert.id for alert in written}, "an id that nobody wrote"
    assert faults["doubled"] <= KILLS * UNWRITTEN_MOST * len(BEHAVIOURS)
    assert max(without_s) < TAKEN_OVER_S


async def test_a_process_that_slept_past_its_lease_changes_nothing_when_it_wakes(record_property: Any) -> None:
    before, meanwhile, after = made(120), made(60, SEED + 1), made(60, SEED + 2)
    async with road(BEHAVIOURS) as found, AsyncExitStack() as stack:
        pair = Pair(found, stack)
        await pair.fill()
        zombie = await pair.leader()
        await found.tell(before)  # at once: it is stopped in the middle of them
        await asyncio.sleep(0.4)
        zombie.process.send_signal(signal.SIGSTOP)
        pair.running.remove(zombie)
        await found.tell(meanwhile, PACE)
        await pair.leader()
        await taken(found, len(before) + len(meanwhile))
        zombie.process.send_signal(signal.SIGCONT)
        await found.tell(after, PACE)
        await taken(found, len(before) + len(meanwhile) + len(after))
        pair.running.append(zombie)
        leads = await pair.leader()  # exactly one of them
        came = await found.receivers.arrivals()
    faults = check(came, [*before, *meanwhile, *after], range(len(BEHAVIOURS)))
    record_property("figures", faults)
    print(faults)
    assert (faults["missing"], faults["out_of_order"]) == (0, 0)
    assert first_tries_out_of_order(came) == 0
    assert faults["doubled"] <= UNWRITTEN_MOST * len(BEHAVIOURS)
    assert leads is not zombie


async def test_a_process_that_is_asked_to_end_hands_over_at_once(record_property: Any) -> None:
    async with road([HEALTHY]) as found, AsyncExitStack() as stack:
        pair = Pair(found, stack)
        await pair.fill()
        leader = await pair.leader()
        sent = made(60)
        telling = asyncio.create_task(found.tell(sent, PACE))
        await asyncio.sleep(1.5)
        without_s = await pair.lose(leader, signal.SIGTERM)
        await telling
        await taken(found, len(sent))
        faults = check(await found.receivers.arrivals(), sent, [0])
    record_property("figures", {"without_a_delivery_s": round(without_s, 2)})
    print(without_s)
    assert leader.process.returncode == 0
    assert not any(faults.values())
    assert without_s < 5.0


async def test_a_lost_redis_makes_it_send_nothing_again_and_forget_nothing(record_property: Any) -> None:
    old, new = made(80), made(40, SEED + 1)
    async with road([HEALTHY, HEALTHY, BROKEN]) as found, found.deliver(QUICK) as process:
        await found.tell(old)

        async def old_ones() -> bool:
            return (await found.receivers.accepted())[:2] == [len(old), len(old)]

        await found.until(old_ones, "the old alerts", SETTLED_S, process.process)
        await asyncio.sleep(1.0)  # their outcomes are written
        await found.redis.flushall()
        await found.receivers.behave([HEALTHY, HEALTHY, HEALTHY])
        await found.tell(new, PACE)
        await taken(found, len(old) + len(new))
        came = await found.receivers.arrivals()
    faults = check(came, [*old, *new], range(3))
    at_each = Counter((one.endpoint, one.id) for one in came if one.endpoint < 2)
    record_property("figures", faults)
    assert not any(faults.values())
    assert {count for (_, name), count in at_each.items() if name in {alert.id for alert in old}} == {1}


@pytest.mark.usefixtures("long_form")
async def test_a_restart_with_5000_pending_retries_is_quick_and_keeps_each_ones_time(record_property: Any) -> None:
    async with road([HEALTHY]) as found:
        (endpoint,) = found.endpoints
        await found.tell(made(1))
        async with found.deliver(QUICK) as process:
            empty_s = await first_after(found, 0.0) - process.began_s
            await process.terminated()
        sent = [alert for alert in made(4 * PENDING, SEED + 1) if alert.sequence == 1][:PENDING]
        due_ms = await refused_once(found, endpoint, sent)
        async with found.deliver(QUICK) as process:
            await found.until(lambda: took(found, 2), "a first retry", SETTLED_S, process.process)
            start_s = await first_after(found, process.began_s) - process.began_s
            end_ms = time.time_ns() // 1_000_000 + WATCHED_MS
            soon = {alert.id: due_ms[alert.episode] for alert in sent if due_ms[alert.episode] < end_ms}
            await found.until(lambda: took(found, 1 + len(soon)), f"{len(soon)} retries", SETTLED_S, process.process)
            came = await found.receivers.arrivals()
            left = await found.redis.zrange(f"{found.keys.delivery}:due:{endpoint}", 0, -1, withscores=True)
    up_ms = 1e3 * (process.began_s + start_s) + EPOCH_MS
    late_ms = [1e3 * one.at_s + EPOCH_MS - max(soon[one.id], up_ms) for one in came if one.id in soon]
    figures = {
        "pending": len(sent), "start_s": round(start_s, 2), "start_with_none_s": round(empty_s, 2), "tried": len(late_ms),
        "latest_ms": round(max(late_ms)),
    }  # fmt: skip
    record_property("figures", figures)
    print(figures)
    assert len(sent) == PENDING
    assert start_s <= max(5.0, 2 * empty_s), "on a machine too busy for five seconds, as quick as with nothing pending"
    assert 20 < len(late_ms) < PENDING / 5
    assert min(late_ms) > -100
    assert max(late_ms) < 2_000
    arrived = {one.episode for one in came}  # one of them may not be noted as done yet
    kept = {lane.decode(): score for lane, score in left if lane.decode() not in arrived}
    assert kept == {lane: due for lane, due in due_ms.items() if lane not in arrived}


async def refused_once(found: Road, endpoint: str, sent: Sequence[Alert]) -> dict[str, int]:
    """As if each had been refused a while ago: what a deliver process leaves in Redis. Answers when each lane is due."""
    chance, due_ms = random.Random(SEED), dict[str, int]()
    lanes, now = Lanes(found.redis, found.keys, token="before"), time.time_ns() // 1_000_000
    for start in range(0, len(sent), 500):
        some = sent[start : start + 500]
        assert await lanes.hold(LEASE_MS)
        for alert in some:
            telling = Addressed(endpoint=endpoint, told=None, event=alert.id, lane=alert.episode)
            await lanes.push(alert.episode, now, {alert.id: alert.body}, [telling])
        claims = await lanes.claim(endpoint, now, 60_000, lanes=len(some))
        assert not isinstance(claims, Wait)
        ended = []
        for claim in claims:
            step_s = chance.choice(RETRY_STEPS_S)
            due_ms[claim.lane] = now + round(1e3 * step_s * chance.uniform(0.8, 1.2))
            row = DeliveryOutcome(
                event=claim.items[0].event,
                episode=claim.lane,
                endpoint=endpoint,
                attempt=1,
                outcome="retry",
                status=503,
                at=now,
            )
            ended.append(Finish(endpoint=endpoint, claim=claim, rows=[row], pop=0, again_ms=due_ms[claim.lane]))
        assert all(await lanes.finish(ended))
    await lanes.let_go()
    return due_ms


async def took(found: Road, count: int) -> bool:
    return (await found.receivers.accepted())[0] >= count
