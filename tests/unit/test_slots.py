"""Who serves an endpoint and dies must not die unnoticed: a process that plans and sends nothing looks well."""

import asyncio
import contextlib
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from alerts import slots
from alerts.slots import Slots
from groundswell.clock import ManualClock
from groundswell.control import ControlView
from groundswell.records import Endpoint, Secret

SEALED = Secret(kid="k", nonce="", ct="")


class Lanes:
    """Swallows the cancellation that comes while its second answer is awaited, as a Redis call may do."""

    def __init__(self) -> None:
        self.asked = 0

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
