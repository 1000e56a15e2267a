"""Sends what waits: every endpoint has a slot of its own, so one that is dead or slow delays nobody else.

A slot claims, sends, writes the outcome to Kafka, and only then finishes in Redis: whoever dies in between leaves a
second delivery of the same id behind, never a missing one.
"""

import asyncio
import random
from collections.abc import Sequence

from aiokafka import AIOKafkaProducer

from alerts import write
from alerts.channels.webhook import Verdict
from alerts.lanes import Item, Lanes, Wait
from alerts.retry import STEPS_S, wait_s
from alerts.send import Outcome, Sender
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.decisions import Delivery
from groundswell.errors import NoSecretKey
from groundswell.records import DeliveryOutcome, Endpoint
from groundswell.secrets import SecretBox
from groundswell.telemetry import ATTEMPTS, WAITING, tell
from stream.topology import Topology

REST_MOST_S = 30.0
LOOK_S = 0.5  # how soon a new or changed endpoint is noticed
ENDPOINTS_MOST = 200
CLAIM_SPARE_S = 60.0


class Slots:
    """One task an endpoint, at most 200; `waiting` is how much waits in all."""

    def __init__(
        self,
        *,
        lanes: Lanes,
        view: ControlView,
        sender: Sender,
        box: SecretBox,
        producer: AIOKafkaProducer,
        topology: Topology,
        clock: Clock,
        claim_s: float,
        steps_s: Sequence[float] = STEPS_S,
        rng: random.Random | None = None,
    ) -> None:
        self._lanes, self._view, self._sender, self._box = lanes, view, sender, box
        self._producer, self._topology, self._clock = producer, topology, clock
        self._claim_ms, self._steps_s = round((claim_s + CLAIM_SPARE_S) * 1000), steps_s
        self._rng = rng or random.Random()  # noqa: S311 - spreads retries, guards nothing
        self._wakes: dict[str, asyncio.Event] = {}
        self.waiting = 0

    def wake(self, endpoint: str) -> None:
        """Something waits for this endpoint now."""
        if endpoint in self._wakes:
            self._wakes[endpoint].set()

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`, then until each try under way has ended. Raises Fenced, ProduceFailed and errors of Redis."""
        async with asyncio.TaskGroup() as tasks:
            serving: dict[str, asyncio.Task[None]] = {}
            revision = -1
            while not stop.is_set():
                if revision != self._view.revision:
                    revision = self._view.revision
                    await self._forget_removed()
                gone = await self._lanes.gone()
                wanted = [
                    name for name, found in self._view.endpoints.items() if not found.disabled and name not in gone
                ]
                for name in serving.keys() - wanted:
                    serving.pop(name).cancel()
                    self._wakes.pop(name)
                for name in wanted[:ENDPOINTS_MOST]:
                    if name not in serving:
                        self._wakes[name] = asyncio.Event()
                        serving[name] = tasks.create_task(
                            self._serve(name, self._wakes[name], stop), name=f"slot-{name}"
                        )
                await self._look_at_queues()
                await self._either(stop, LOOK_S)
            for wake in self._wakes.values():
                wake.set()

    async def _serve(self, name: str, wake: asyncio.Event, stop: asyncio.Event) -> None:
        first = True
        while not stop.is_set():
            wake.clear()
            found = await self._lanes.claim(name, self._clock.now_ms(), self._claim_ms, first=first)
            first = False
            if isinstance(found, Wait):
                rest = REST_MOST_S if found.until_ms is None else (found.until_ms - self._clock.now_ms()) / 1000
                await self._either(wake, min(max(rest, 0.0), REST_MOST_S))
            elif (endpoint := self._view.endpoints.get(name)) is not None:
                await self._try(endpoint, found)

    async def _try(self, endpoint: Endpoint, item: Item) -> None:
        outcome = await self._send(endpoint, item)
        found = outcome.verdict.outcome
        wait = None
        if found in (Delivery.RETRY, Delivery.SECRET_UNREADABLE):
            wait = wait_s(item.attempt, self._rng, outcome.verdict.asked_s, self._steps_s)
            found = found if wait is not None else Delivery.GIVEN_UP
        now = self._clock.now_ms()
        row = DeliveryOutcome(
            event=item.event,
            episode=item.episode,
            endpoint=endpoint.id,
            attempt=item.attempt,
            outcome=found.value,
            status=outcome.status,
            reason=outcome.verdict.reason,
            at=now,
            latency_ms=outcome.latency_ms,
        )
        await write.outcome(self._producer, self._topology, row)
        await self._lanes.finish(endpoint.id, item, row, now, None if wait is None else now + round(wait * 1000))
        ATTEMPTS.labels(endpoint.id, found.value).inc()
        tell(
            found,
            kind="delivery",
            event_id=item.event,
            endpoint_id=endpoint.id,
            attempt=item.attempt,
            status=outcome.status,
            why=outcome.verdict.reason,
            again_s=None if wait is None else round(wait, 1),
        )
        if outcome.verdict.reason == "endpoint_gone":
            dropped = await self._lanes.close_endpoint(endpoint.id, gone_at_ms=now)
            tell(Delivery.DISABLED, kind="delivery", endpoint_id=endpoint.id, dropped=dropped, why="endpoint_gone")

    async def _send(self, endpoint: Endpoint, item: Item) -> Outcome:
        if not item.body:
            return Outcome(Verdict(Delivery.EXPIRED, "waited_too_long"))
        try:
            url = self._box.open(endpoint.url, endpoint.id, "url")
            secret = self._box.open(endpoint.secret, endpoint.id, "secret")
        except NoSecretKey:
            return Outcome(Verdict(Delivery.SECRET_UNREADABLE, "sealed_with_another_key"))
        return await self._sender.post(url, [secret], item.event, item.body)

    async def _forget_removed(self) -> None:
        for name in (await self._lanes.waiting()).keys() - self._view.endpoints.keys():
            await self._lanes.close_endpoint(name)

    async def _look_at_queues(self) -> None:
        waiting = await self._lanes.waiting()
        for name, count in waiting.items():
            WAITING.labels(name).set(count)
        self.waiting = sum(waiting.values())

    async def _either(self, event: asyncio.Event, seconds: float) -> None:
        """Wait for the event, at most so long."""
        waiting = {asyncio.ensure_future(event.wait()), asyncio.ensure_future(self._clock.sleep(seconds))}
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
