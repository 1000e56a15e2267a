"""The aggregate process: the work on rows (aggregate.py), and what goes on beside it: the relay, the live rows, the beat, the looks at
Redis and at what people set. The first of them that ends, ends all."""

import asyncio
from functools import partial

from groundswell import control
from groundswell.clients.connect import close_producer, open_consumer, open_producer, open_redis
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.decisions import Stage
from groundswell.errors import TopicsMissing
from groundswell.keys import Keys
from groundswell.running import beat
from groundswell.settings import Settings
from groundswell.telemetry import log
from stream import create, generation
from stream.aggregate import AggregateWork
from stream.crashes import RedisCrashes
from stream.detection import calendars, lines
from stream.live import show
from stream.names.directory import directory_of
from stream.part import standing
from stream.partition_loop import Bounds, PartitionLoop
from stream.rebuild import KafkaPast
from stream.relay import enlist, relay
from stream.store import Store
from stream.topology import SCORED, Topology


async def run(settings: Settings, topology: Topology, clock: Clock, stop: asyncio.Event) -> None:
    """The aggregate process: until `stop`. Raises Misconfigured at start, Fatal when it must begin anew."""
    directory = directory_of(settings)
    calendars.load()  # before the first rows, not while they wait
    incarnation = await create.incarnation(settings, topology)
    if not incarnation:
        raise TopicsMissing("The control topic names no incarnation of the topics.")
    redis = await open_redis(settings)
    producer = await open_producer(settings)
    consumer = await open_consumer(settings, f"{topology.prefix}-aggregate")
    keys = Keys(topology.prefix)
    event_time = settings.clock == "event"
    # A replay is alone with its memory-only services and has nothing to be rebuilt from.
    past = None if event_time else KafkaPast(settings, topology, incarnation, clock, partial(enlist, redis, keys))
    view = ControlView()
    work = AggregateWork(
        topology, Store(redis, keys, incarnation), producer, directory, lines.policy(settings, directory), clock,
        idle_s=settings.idle_s, event_time=event_time, past=past, view=view,
        judged_by=partial(lines.policy_by, settings, directory),
    )  # fmt: skip
    name, bounds = topology.name(SCORED), Bounds(drain_s=settings.drain_s, stuck_s=settings.stuck_s)
    loop = PartitionLoop(
        consumer, name, work, clock, bounds, stage=Stage.AGGREGATE, crashes=RedisCrashes(redis, keys, name)
    )
    side = [
        asyncio.create_task(relay(redis, keys, topology, producer, work.parts, stop, incarnation)),
        asyncio.create_task(
            beat.keep_beating(redis, keys, clock, Stage.AGGREGATE,
                              lambda: {"lag": loop.lag, "rules": work.in_force().revision} | standing(work.parts, loop.slow))
        ),
    ]  # fmt: skip
    if not event_time:
        side.append(await control.followed(settings, topology, view, stop))
        side.append(asyncio.create_task(show(redis, keys, directory, work.parts)))
        side.append(asyncio.create_task(generation.watch(redis, keys, work.lost)))

    async def stopped() -> None:
        await stop.wait()
        work.ending = True

    stopping = asyncio.create_task(stopped())
    for task in (stopping, *side):
        task.add_done_callback(lambda _: loop.stop())
    try:
        await loop.run()
    finally:
        for task in (stopping, *side):
            task.cancel()
        ended = await asyncio.gather(*side, return_exceptions=True)
        await consumer.stop()
        await close_producer(producer)
        await redis.aclose()
    for failure in ended:
        if isinstance(failure, Exception):
            log().error("aggregate_ends", error=repr(failure))
            raise failure
