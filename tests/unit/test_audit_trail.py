"""The audit trail loses nothing to a broker that is away, holds nobody up, and cannot be filled by knocking."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from dashboard.entry import audit
from dashboard.entry.audit import Trail
from groundswell.clock import ManualClock
from groundswell.errors import BrokerAway
from groundswell.records import AuditEntry
from groundswell.telemetry import AUDIT
from tests.pages import NOW


def entry(number: int = 0, what: str = "write", **changes: Any) -> AuditEntry:
    return AuditEntry(id=f"aud_{number}", at=NOW, what=what, action="POST /x", status=202, who="lin", **changes)


class Broker:
    """Takes what is sent unless it is away."""

    def __init__(self) -> None:
        self.taken: list[AuditEntry] = []
        self.tries, self.away = 0, False

    async def send(self, one: AuditEntry) -> None:
        self.tries += 1
        if self.away:
            raise BrokerAway
        self.taken.append(one)


def unsent() -> float:
    return float(AUDIT.labels("unsent")._value.get())


async def until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(NOW)


async def test_what_is_noted_is_logged_at_once_and_written_in_order(clock: ManualClock) -> None:
    trail, broker = Trail(clock), Broker()
    with capture_logs() as lines:
        for number in range(3):
            trail.note(entry(number, object="ep_1"))
    assert [(line["event"], line["id"], line["object"]) for line in lines] == [
        ("audit", f"aud_{n}", "ep_1") for n in range(3)
    ]
    assert all("reason" not in line for line in lines), "what is empty is not said"
    writing = asyncio.create_task(trail.run(broker.send))
    await until(lambda: len(broker.taken) == 3)
    trail.note(entry(3))
    await until(lambda: len(broker.taken) == 4)
    assert [one.id for one in broker.taken] == ["aud_0", "aud_1", "aud_2", "aud_3"]
    writing.cancel()


async def test_a_broker_that_was_away_gets_all_of_it_once_in_order(clock: ManualClock) -> None:
    trail, broker = Trail(clock), Broker()
    broker.away = True
    writing = asyncio.create_task(trail.run(broker.send))
    for number in range(5):
        trail.note(entry(number))
    await until(lambda: broker.tries >= 3)
    assert len(trail.waiting) == 5
    broker.away = False
    await until(lambda: len(broker.taken) == 5)
    assert [one.id for one in broker.taken] == [f"aud_{number}" for number in range(5)]
    assert not trail.waiting
    writing.cancel()


async def test_a_full_queue_keeps_what_it_has_logs_the_rest_and_counts_it(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "WAITING_MOST", 3)
    trail, before = Trail(clock), unsent()
    with capture_logs() as lines:
        for number in range(5):
            trail.note(entry(number))
    assert [one.id for one in trail.waiting] == ["aud_0", "aud_1", "aud_2"]
    assert [line["id"] for line in lines] == [f"aud_{number}" for number in range(5)]
    assert unsent() - before == 2


async def test_at_the_end_what_waits_is_written_and_what_cannot_be_is_said(clock: ManualClock) -> None:
    trail, broker, before = Trail(clock), Broker(), unsent()
    trail.note(entry(0))
    trail.note(entry(1, what="push"))
    await trail.close(broker.send)
    assert [one.id for one in broker.taken] == ["aud_0", "aud_1"]
    broker.away = True
    trail.note(entry(2))
    with capture_logs() as lines:
        await trail.close(broker.send)
    assert unsent() - before == 1
    assert [line["event"] for line in lines][-1] == "audit_unsent"


async def test_an_end_does_not_wait_for_a_broker_that_never_answers(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "CLOSE_S", 0.05)

    async def hangs(_: AuditEntry) -> None:
        await asyncio.Event().wait()

    trail = Trail(clock)
    trail.note(entry())
    async with asyncio.timeout(2):
        await trail.close(hangs)
    assert len(trail.waiting) == 1


@pytest.mark.parametrize("what", ["push", "refused", "login_refused"])
async def test_what_repeats_within_a_minute_is_one_record_and_two_lines(clock: ManualClock, what: str) -> None:
    trail, broker = Trail(clock), Broker()
    with capture_logs() as lines:
        for number in range(1_000):
            trail.note(entry(number, what=what))
        assert len(lines) == 1
        assert not trail.waiting
        clock.advance(audit.GATHER_S)
        writing = asyncio.create_task(trail.run(broker.send))
        await until(lambda: broker.taken)
    assert [(one.id, one.times) for one in broker.taken] == [("aud_0", 1_000)]
    assert [line["times"] for line in lines] == [1, 1_000]
    writing.cancel()


async def test_many_different_refusals_are_let_go_before_they_fill_the_memory(clock: ManualClock) -> None:
    trail = Trail(clock)
    for number in range(audit.GATHERED_MOST + 1):
        trail.note(entry(number, what="refused", address=f"192.0.2.{number}"))
    assert len(trail.waiting) == audit.GATHERED_MOST


def test_a_record_says_no_more_than_it_may() -> None:
    fields = set(AuditEntry.__struct_fields__)
    assert fields.isdisjoint({"body", "token", "secret", "cookie", "headers", "query"})
