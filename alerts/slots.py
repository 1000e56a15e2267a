"""Sends what waits: every endpoint has a slot of its own, so one that is dead or slow delays nobody else. Read slot.py next."""

import asyncio
from collections.abc import Iterator

from alerts.health import Health
from alerts.slot import Shared, Slot
from groundswell.telemetry import WAITING, log

LOOK_S = 0.5  # how soon a new or changed endpoint is noticed
ENDPOINTS_MOST = 200


class Slots:
    """One slot an endpoint, at most 200; `waiting` is how much waits in all, `health` how each one fares."""

    def __init__(self, shared: Shared, health: dict[str, Health]) -> None:
        self._shared, self._known = shared, dict(health)
        self._slots: dict[str, Slot] = {}
        self.waiting = 0

    def wake(self, endpoint: str, probe: str = "") -> None:
        """Something waits for this endpoint now; a lane named `probe` is tried though the endpoint be degraded."""
        if endpoint in self._slots:
            self._slots[endpoint].wake(probe)

    def health(self, endpoint: str) -> Health:
        """How an endpoint fares."""
        slot = self._slots.get(endpoint)
        return self._known.get(endpoint, Health()) if slot is None else slot.health

    async def enable(self, endpoint: str) -> None:
        """Try an endpoint again that was disabled."""
        if endpoint in self._slots:
            await self._slots[endpoint].enable()

    def unwell(self) -> Iterator[tuple[str, Health]]:
        """The endpoints that cannot be reached, or only perhaps."""
        return ((name, slot.health) for name, slot in self._slots.items() if slot.health.state != "healthy")

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, then until each try under way has ended. Raises Fenced, ProduceFailed and errors of Redis."""
        async with asyncio.TaskGroup() as tasks:
            recording = tasks.create_task(self._shared.recorder.run())
            serving: dict[str, asyncio.Task[None]] = {}
            revision = -1
            while not stop.is_set():
                _still_alive(recording, *serving.values())
                if revision != self._shared.view.revision:
                    revision = self._shared.view.revision
                    await self._change(serving, tasks, stop)
                await self._look_at_queues()
                await self._shared.clock.sleep(LOOK_S) if not stop.is_set() else None
            for slot in self._slots.values():
                slot.wake()
            await asyncio.gather(*serving.values())
            recording.cancel()

    async def _change(
        self, serving: dict[str, asyncio.Task[None]], tasks: asyncio.TaskGroup, stop: asyncio.Event
    ) -> None:
        """Begin to serve who is new, stop to serve who is switched off, drop all of who was removed."""
        shared = self._shared
        wanted = [name for name, found in shared.view.endpoints.items() if not found.disabled]
        if len(wanted) > ENDPOINTS_MOST:
            log().error("too_many_endpoints", endpoints=len(wanted), served=ENDPOINTS_MOST, hint="Remove some.")
        for name in serving.keys() - wanted:
            serving.pop(name).cancel()
            self._known[name] = self._slots.pop(name).health
            await shared.sender.forget(name)
        for name in await shared.lanes.kept() - shared.view.endpoints.keys():
            await shared.lanes.drop(name)
            self._known.pop(name, None)
        for name in wanted[:ENDPOINTS_MOST]:
            if name in serving:
                self._slots[name].wake()
                continue
            self._slots[name] = Slot(name, shared, self._known.get(name, Health()))
            serving[name] = tasks.create_task(self._slots[name].run(stop), name=f"slot-{name}")

    async def _look_at_queues(self) -> None:
        waiting = await self._shared.lanes.waiting()
        for name, count in waiting.items():
            WAITING.labels(name).set(count)
        self.waiting = sum(waiting.values())


def _still_alive(*tasks: asyncio.Task[None]) -> None:
    """Raises what ended one of them, or that we are to end: a cancellation is lost now and then on its way through a Redis call, since
    `asyncio.wait_for` of Python 3.11 drops one that comes as the call returns."""
    for task in tasks:
        if task.done():
            task.result()
    this = asyncio.current_task()
    if this is not None and this.cancelling():
        raise asyncio.CancelledError
