"""The deliver process. Read it first: `run` waits for the lease, then plans (intake.py) and sends (slots.py).

One process plans and sends, since silences and limits span partitions; others stand by and take over within seconds.
What waits lies in Redis (lanes.py), so a killed process goes on where it was.
"""

import asyncio
import random
import uuid
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aiokafka import AIOKafkaProducer
from redis.exceptions import RedisError

from alerts.attempt import GROUP_S, Pace
from alerts.canary import Canary
from alerts.channels import channel_of
from alerts.channels.contract import ChannelSpec, Limits
from alerts.chores import Chores
from alerts.guard import Allowed, LookUps
from alerts.intake import Intake
from alerts.lanes import Lanes
from alerts.mail import MailServer
from alerts.people.drill import Drills
from alerts.rebuild import rebuild
from alerts.record import Recorder
from alerts.retry import STEPS_S
from alerts.send import Sender
from alerts.slot import CLAIM_SPARE_S, Shared
from alerts.slots import Slots
from groundswell.clients.connect import RedisClient, close_producer, open_consumer, open_producer, open_redis
from groundswell.clock import Clock
from groundswell.control import ControlView, follow
from groundswell.decisions import Stage
from groundswell.errors import Fenced
from groundswell.keys import Keys
from groundswell.records import AlertEvent, Channel
from groundswell.running.beat import keep_beating
from groundswell.secrets import SecretBox
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream.topology import Topology

LEASE_MS = 10_000
RENEW_S = 2.5
STAND_BY_S = 1.0


async def run(
    settings: Settings,
    topology: Topology,
    clock: Clock,
    stop: asyncio.Event,
    *,
    steps_s: Sequence[float] = STEPS_S,
    group_s: float = GROUP_S,
    rng: random.Random | None = None,
    look_ups: LookUps | None = None,
) -> None:
    """Deliver alerts until `stop`; then finish the tries under way within `drain_s`.

    `steps_s`, `group_s`, `rng` and `look_ups` (retry schedule, rest of a chat, jitter, names) are for tests. Raises
    Misconfigured and Retryable at the start (NoSecretKey, BadSetting, BrokerAway, RedisAway), Fatal later: then the
    process must end with status 1.
    """
    box, allowed = SecretBox(settings.secret_key), Allowed.of(settings)
    async with AsyncExitStack() as stack:
        redis = await open_redis(settings)
        stack.push_async_callback(redis.aclose)
        producer = await open_producer(settings)
        stack.push_async_callback(close_producer, producer)
        mail = MailServer.of(settings)
        if mail is not None:
            stack.callback(mail.close)
        sender = Sender(allowed, clock, settings.deliver_timeout_s, look_ups, None if mail is None else mail.send)
        stack.push_async_callback(sender.close)
        pace = Pace(rng or random.Random(), steps_s, group_s)  # noqa: S311 - spreads retries, guards nothing
        process = _Process(settings, topology, clock, redis, producer, sender, box, pace)
        await _plainly(process.run(stop))


@dataclass
class _Process:
    """What lives as long as the process; the view and the beat go on while it stands by."""

    settings: Settings
    topology: Topology
    clock: Clock
    redis: RedisClient
    producer: AIOKafkaProducer
    sender: Sender
    box: SecretBox
    pace: Pace
    view: ControlView = field(default_factory=ControlView)
    state: str = "starting"
    note: str = "reads the control topic"
    intake: Intake | None = None
    slots: Slots | None = None
    canary: Canary | None = None
    drills: Drills | None = None

    @property
    def keys(self) -> Keys:
        return Keys(self.topology.prefix)

    async def run(self, stop: asyncio.Event) -> None:
        ready, leave = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            control = tasks.create_task(follow(self.settings, self.topology, self.view, leave, ready))
            beat = tasks.create_task(keep_beating(self.redis, self.keys, self.clock, Stage.DELIVER, self._look))
            await _first_of(ready, stop)
            lanes = Lanes(self.redis, self.keys, token=uuid.uuid4().hex)
            while not stop.is_set():
                try:
                    if await lanes.hold(LEASE_MS):
                        await _plainly(self._lead(lanes, stop))
                        await lanes.let_go()
                        continue
                    self.state, self.note = "running", "stands by: another deliver process plans and sends"
                except (Fenced, RedisError) as error:
                    self.note = f"stands by: {error}"
                    log().warning("lost_the_lead", error=str(error)[:200], hint="It is taken up again by itself.")
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), STAND_BY_S)
            leave.set()
            beat.cancel()
            await control

    async def _lead(self, lanes: Lanes, stop: asyncio.Event) -> None:
        """Plan and send until `stop`. Raises Fenced when the lease is lost."""
        log().info("leads", endpoints=len(self.view.endpoints), allow=self.settings.deliver_allow)
        if await lanes.incarnation() != self.view.incarnation:
            await self._begin(lanes)
        shared = Shared(
            lanes=lanes,
            view=self.view,
            sender=self.sender,
            box=self.box,
            recorder=Recorder(lanes, self.producer, self.topology),
            clock=self.clock,
            channel_of=_channel,
            pace=self.pace,
            claim_ms=round((self.settings.deliver_timeout_s + CLAIM_SPARE_S) * 1000),
        )
        slots = Slots(shared, await lanes.health())
        canary = Canary(self.producer, self.topology, self.clock, self.settings.watch_url, self.settings.canary_s)
        consumer = await open_consumer(self.settings, group=f"{self.topology.prefix}-deliver")

        def heard(event: AlertEvent) -> None:
            canary.heard(event)
            drills.heard(event)

        # The lead is over for all parts when it is for one. Told by an event besides the cancellation, which a library may
        # swallow (asyncio.wait_for in 3.11): a part that went on would leave the process leading nothing, for ever.
        over = asyncio.Event()

        async def until_over(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
            try:
                await run(over)
            except BaseException:
                over.set()
                raise

        try:
            async with asyncio.TaskGroup() as tasks:
                aside = [tasks.create_task(until_over(lambda _: self._renew(lanes)))]
                intake = Intake(
                    consumer=consumer,
                    producer=self.producer,
                    lanes=lanes,
                    view=self.view,
                    topology=self.topology,
                    clock=self.clock,
                    wake=slots.wake,
                    fares=slots.health,
                    limits_of=_limits,
                    heard=heard,
                )
                drills = Drills(self.producer, self.topology, self.clock, self.settings.drill_s, intake.tell)
                chores = Chores(
                    settings=self.settings,
                    topology=self.topology,
                    clock=self.clock,
                    lanes=lanes,
                    view=self.view,
                    slots=slots,
                    producer=self.producer,
                    limits_of=_limits,
                )
                self.intake, self.slots, self.state, self.note = intake, slots, "running", ""
                self.canary, self.drills = canary, drills
                aside += [tasks.create_task(until_over(part.run)) for part in (canary, drills)]
                working = [tasks.create_task(until_over(part.run)) for part in (intake, slots, chores)]
                try:
                    await stop.wait()
                finally:
                    over.set()
                self.state = "draining"
                _, left = await asyncio.wait(working, timeout=self.settings.drain_s)
                for task in left:
                    task.cancel()  # its delivery stays in its lane and is sent again
                await asyncio.wait(working)
                for task in aside:
                    task.cancel()
        finally:
            self.intake = None
            await consumer.stop()

    async def _begin(self, lanes: Lanes) -> None:
        """Offsets of other topics, or none: Redis is new or was lost."""
        lost = await lanes.incarnation() is None
        ended = await rebuild(self.settings, self.topology, lanes, self.view, self.clock) if lost else 0
        log().info("begins_anew", delivered_before=ended, redis_was_empty=lost)
        await lanes.begin(self.view.incarnation)

    async def _renew(self, lanes: Lanes) -> None:
        """Also while the parts drain: until cancelled."""
        task = asyncio.current_task()
        while task is not None and not task.cancelling():
            await asyncio.sleep(RENEW_S)
            if not await lanes.keep(LEASE_MS):
                raise Fenced("The lease is gone: another process has it, or Redis lost it.", remedy="Nothing to do.")

    def _look(self) -> dict[str, Any]:
        if self.intake is None or self.slots is None or self.canary is None or self.drills is None:
            return {"state": self.state, "note": self.note}
        drill, drill_at = self.drills.last
        unwell = sum(1 for _ in self.slots.unwell())
        note = f"{len(self.view.endpoints)} endpoints, {self.slots.waiting} deliveries wait"
        note += f", {unwell} cannot be reached" if unwell else ""
        return {
            "state": self.state,
            "in_flight": self.slots.waiting,
            "lag": self.intake.lag,
            "note": note,
            "canary_at": self.canary.newest_ms,
            "drill": drill,
            "drill_at": drill_at,
        }


@cache
def _channel(name: Channel) -> ChannelSpec:
    return channel_of(name)


@cache
def _limits(name: Channel) -> Limits:
    return _channel(name).limits


async def _first_of(*events: asyncio.Event) -> None:
    waiting = {asyncio.ensure_future(event.wait()) for event in events}
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


async def _plainly(doing: Any) -> None:
    """Await it; of a group of errors raise the first, as callers tell them apart by class."""
    try:
        await doing
    except BaseExceptionGroup as group:
        first: BaseException = group
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from group
