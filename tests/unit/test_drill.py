"""Canaries and fire drills: they go the whole road, count for nothing else, and their absence is noticed."""

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from aiohttp import web

from alerts.canary import FRESH_S, Canary
from alerts.people.drill import LATE_S, Drills, documents, free, missed
from alerts.stages import wants
from groundswell import times
from groundswell.clock import ManualClock
from groundswell.keys import MINUTE_MS
from groundswell.markets import MARKETS
from groundswell.records import NEGATIVE, AlertEvent, Endpoint, InboundDocument, Secret
from groundswell.reserved import CANARY, DRILLS
from stream.canary import watchdogs
from stream.names import entities
from stream.names.directory import Directory
from stream.topology import Topology
from stream.windows import Applied
from tests.unit.test_detect import MONDAY_MS, SUBJECT, Player, Stream, one_each

NOON_MS = MONDAY_MS + 720 * MINUTE_MS
EVERY_S = 3_600.0


class Broker:
    """Keeps what is sent and acknowledges it at once."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    async def send(self, topic: str, value: bytes, **_: Any) -> "asyncio.Future[None]":
        self.sent.append((topic, value))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def firing(subject: str) -> AlertEvent:
    """The alert that a drill on `subject` brings about."""
    stream = Stream()
    for i in range(32):
        stream.say(NOON_MS + i, subjects=(subject,))
    told = Player().play(one_each(stream.tick(NOON_MS + 5 * MINUTE_MS, start_ms=NOON_MS + MINUTE_MS).in_order())).told
    assert told, "a drill fired nothing"
    return told[0].event


def test_a_drill_fires_without_any_history_and_is_marked_as_a_test():
    event = firing(DRILLS[0])
    assert (event.type, event.data.subject.id, event.data.test) == ("alert.firing", DRILLS[0], True)


def test_another_subject_without_history_is_learned_first():
    stream = Stream()
    for i in range(19):
        stream.say(NOON_MS + i)
    player = Player().play(one_each(stream.tick(NOON_MS + 5 * MINUTE_MS, start_ms=NOON_MS + MINUTE_MS).in_order()))
    assert player.told == []


def test_a_document_about_a_reserved_subject_is_about_nothing_else():
    catalogue = entities.load()
    assert [one.subject for one in entities.link(catalogue, "Apple Inc falls $AAPL", [CANARY, "AAPL"])] == [CANARY]
    assert [one.subject for one in entities.link(catalogue, "Fire drill at TEST:DRILL1", [])] == []


def test_reserved_subjects_have_names_and_take_no_part_of_the_budget():
    catalogue = entities.load()
    directory = Directory(catalogue)
    assert directory[DRILLS[0]].names["zh"] == "演练"
    assert len(directory) == len(catalogue) + 22 + 1 + len(MARKETS)


def test_the_texts_of_a_drill_differ_and_name_no_company():
    drill = documents(DRILLS[0], "one", NOON_MS)
    catalogue = entities.load()
    assert (
        len({one.text for one in drill}) == len({one.id for one in drill}) == len({one.author for one in drill}) == 32
    )
    assert [one.text for one in drill if entities.link(catalogue, one.text)] == []


def test_a_canary_is_told_once_a_document_and_others_are_not():
    stream = Stream()
    stream.say(NOON_MS, subjects=(CANARY,))
    stream.say(NOON_MS, subjects=(SUBJECT,))
    applied = [Applied(document=one, rows=one.rows, minute_ms=NOON_MS, open=True) for one in stream.in_order()]
    told = list(watchdogs(applied, "http://page"))
    assert [(one.event.type, one.event.timestamp) for one in told] == [("system.watchdog", times.rfc3339(NOON_MS))]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOON_MS)


async def test_a_drill_that_brings_no_alert_is_told_once_by_another_path(clock: ManualClock):
    said: list[AlertEvent] = []

    broker = Broker()
    drills = Drills(broker, Topology(), clock, EVERY_S, said.append)  # type: ignore[arg-type]
    await drills.look()
    assert broker.sent == []  # the round that runs now belongs to whoever led before
    clock.advance(EVERY_S)
    await drills.look()
    (topic, value), *more = broker.sent
    assert not more
    assert topic == "groundswell.comments.v1"
    assert len(msgspec.json.decode(value, type=list[InboundDocument])) == 32
    clock.advance(LATE_S + 1)
    for _ in range(3):
        await drills.look()
    assert [event.type for event in said] == ["system.drill_missed"]
    assert said[0].data.test


async def test_drills_and_their_absence_are_told_to_who_takes_part_and_a_watchdog_to_alertmanager_alone():
    sealed = Secret(kid="k", nonce="", ct="")
    endpoints = {
        name: Endpoint(id=name, name=name, url=sealed, secret=sealed, shown=name, created_at=0, **more)
        for name, more in {
            "takes part": {"drills": True, "subjects": ["XNAS:AAPL"], "severity": "critical"},
            "does not": {},
            "alertmanager": {"channel": "alertmanager"},
        }.items()
    }
    stream = Stream()
    stream.say(NOON_MS, subjects=(CANARY,))
    applied = [Applied(document=one, rows=one.rows, minute_ms=NOON_MS, open=True) for one in stream.in_order()]
    (canary,) = watchdogs(applied, "http://page")

    def told(event: AlertEvent) -> set[str]:
        return {name for name, one in endpoints.items() if wants(one, event.type, event.data, NOON_MS)}

    assert told(firing(DRILLS[0])) == {"takes part"}
    assert told(missed(DRILLS[0], NOON_MS, NOON_MS)) == {"takes part"}
    assert told(canary.event) == {"alertmanager"}


async def test_a_drill_that_brings_its_alert_is_not_missed(clock: ManualClock):
    said: list[AlertEvent] = []

    broker = Broker()
    drills = Drills(broker, Topology(), clock, EVERY_S, said.append)  # type: ignore[arg-type]
    clock.advance(EVERY_S)
    await drills.look()
    subject = (msgspec.json.decode(broker.sent[0][1], type=list[InboundDocument])[0].symbols or [""])[0]
    drills.heard(firing(subject))
    clock.advance(LATE_S + 1)
    await drills.look()
    assert said == []


async def test_the_canary_goes_stale_when_none_comes_through(clock: ManualClock):
    canary = Canary(Broker(), Topology(), clock, "http://watch", 60.0)  # type: ignore[arg-type]
    assert not canary.fresh
    stream = Stream()
    stream.say(NOON_MS, subjects=(CANARY,), label=NEGATIVE)
    document = stream.in_order()[0]
    (told,) = watchdogs([Applied(document=document, rows=document.rows, minute_ms=NOON_MS, open=True)], "http://page")
    canary.heard(told.event)
    assert canary.fresh
    clock.advance(FRESH_S + 1)
    assert not canary.fresh


class Road(Broker):
    """A broker behind which everything works, while `works`: each canary comes back as its event."""

    def __init__(self) -> None:
        super().__init__()
        self.works = True
        self.canary: Canary | None = None

    async def send(self, topic: str, value: bytes, **more: Any) -> "asyncio.Future[None]":
        if self.works and self.canary is not None:
            said = msgspec.json.decode(value, type=InboundDocument)
            stream = Stream()
            stream.say(times.parse_ms(str(said.published_at)), subjects=(CANARY,))
            applied = [Applied(document=one, rows=one.rows, minute_ms=NOON_MS, open=True) for one in stream.in_order()]
            for told in watchdogs(applied, ""):
                self.canary.heard(told.event)
        return await super().send(topic, value, **more)


async def test_the_watch_address_is_pinged_each_minute_until_canaries_stop_to_come(clock: ManualClock):
    pings: list[float] = []
    stop = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        pings.append(clock.monotonic_s())
        return web.Response()

    app = web.Application()
    app.router.add_get("/watch", take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    road = Road()
    road.canary = Canary(road, Topology(), clock, f"http://127.0.0.1:{runner.addresses[0][1]}/watch", 60.0)  # type: ignore[arg-type]
    running = asyncio.create_task(road.canary.run(stop))
    try:
        async with asyncio.timeout(20):
            while len(pings) < 5:
                await asyncio.sleep(0)
            road.works = False
            broken_s = clock.monotonic_s()
            while clock.monotonic_s() < broken_s + 3_600:
                await asyncio.sleep(0)
    finally:
        stop.set()
        await running
        await runner.cleanup()
    assert all(59 <= later - before <= 62 for before, later in pairwise(pings))
    assert broken_s < pings[-1] + 60
    assert pings[-1] <= broken_s + FRESH_S
    assert len(road.sent) >= 60, "canaries go on being sent"


def test_a_drill_by_hand_takes_a_subject_that_has_no_open_episode():
    assert free([]) == DRILLS[0]
    assert free(DRILLS[:2]) == DRILLS[2]
    assert free(DRILLS) is None
