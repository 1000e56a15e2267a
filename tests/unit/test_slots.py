"""Who serves an endpoint must not die unnoticed, and must not send faster than what was sent is written down."""

import asyncio
import contextlib
import random
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from alerts import slots
from alerts.attempt import Pace
from alerts.channels import channel_of
from alerts.channels.contract import Verdict
from alerts.health import Health
from alerts.lanes import Claim, Item
from alerts.say import Say
from alerts.send import Outcome
from alerts.slot import BEHIND, UNWRITTEN_BEHIND, UNWRITTEN_MOST, Slot
from alerts.slots import Slots
from groundswell.clock import ManualClock
from groundswell.control import ControlView
from groundswell.decisions import Delivery
from groundswell.records import Endpoint, Secret
from groundswell.secrets import SecretBox, new_key, new_signing_secret
from tests.alert_events import event_bytes

SEALED = Secret(kid="k", nonce="", ct="")


class Lanes:
    """Swallows the cancellation that comes while its second answer is awaited, as a Redis call may do."""

    def __init__(self) -> None:
        self.asked = 0

    async def kept(self) -> set[str]:
        self.asked += 1
        return set()

    async def waiting(self) -> dict[str, int]:
        self.asked += 1
        if self.asked == 2:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return {}


class Shared:
    def __init__(self) -> None:
        self.lanes, self.clock, self.view, self.recorder = Lanes(), ManualClock(), ControlView(), self
        self.view.endpoints["one"] = Endpoint(id="one", name="one", url=SEALED, secret=SEALED, shown="", created_at=0)

    async def run(self) -> None:
        await asyncio.Event().wait()


class Dies:
    def __init__(self, *_: Any) -> None: ...

    async def run(self, _stop: asyncio.Event) -> None:
        raise RedisConnectionError("Too many connections")


async def test_a_slot_that_dies_ends_the_sending_though_its_cancellation_is_lost(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(slots, "Slot", Dies)
    shared = Shared()
    with pytest.raises(BaseExceptionGroup) as caught:
        async with asyncio.timeout(5):
            await Slots(shared, {}).run(asyncio.Event())  # type: ignore[arg-type]
    assert caught.value.subgroup(RedisConnectionError) is not None
    assert shared.lanes.asked == 2, "it went on"


class Always:
    """Lanes in which something is always due, a receiver that takes everything, and a recorder that stands still when told to."""

    def __init__(self) -> None:
        self.sent, self.extra, self.claim_ms, self.fence, self.unwritten = 0, 64, 75_000, 0, 0
        self.lanes = self.sender = self.recorder = self
        self.clock, self.view, self.box, self.channel_of = (
            ManualClock(1),
            ControlView(),
            SecretBox(new_key()),
            channel_of,
        )
        self.pace, self.standing = Pace(random.Random(1)), asyncio.Event()
        sealed = {field: self.box.seal(text, "one", field) for field, text in
                  (("url", "https://receiver.example/hook"), ("secret", new_signing_secret()))}  # fmt: skip
        self.view.endpoints["one"] = Endpoint(id="one", name="one", shown="", created_at=0, **sealed)

    def changed(self, _endpoint: str) -> None: ...

    async def claim(self, *_: Any, lanes: int, **_more: Any) -> list[Claim]:
        await asyncio.sleep(0)
        self.fence += lanes
        item = Item(
            event="gw_harbour_1", say=Say.FIRING, episode="ep", planned_ms=1, replayed=False, body=event_bytes()
        )
        return [Claim(lane=f"ep{n}", fence=f"{self.fence}-{n}", attempt=1, items=[item]) for n in range(lanes)]

    async def send(self, *_: Any) -> Outcome:
        self.sent += 1
        return Outcome(Verdict(Delivery.SENT), 204)

    async def note(self, _ended: Any) -> bool:
        if self.sent > 100:
            self.standing.set()
            await asyncio.Event().wait()
        return True


@pytest.mark.parametrize(("others", "most"), [(0, UNWRITTEN_MOST), (BEHIND, UNWRITTEN_BEHIND)])
async def test_no_more_is_sent_than_can_be_written_down(others: int, most: int):
    always = Always()
    always.unwritten = others
    running = asyncio.create_task(Slot("one", always, Health()).run(asyncio.Event()))  # type: ignore[arg-type]
    async with asyncio.timeout(10):
        await always.standing.wait()
        for _ in range(1_000):
            await asyncio.sleep(0)
    running.cancel()
    assert 100 < always.sent <= 101 + most
