"""`groundswell ingest | tag | aggregate | deliver | dashboard`, each alone, and `up`, which runs them all."""

import asyncio
import faulthandler
import os
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

import click
from msgspec import structs

from groundswell import settings as all_settings
from groundswell import telemetry
from groundswell.clock import Clock, SystemClock
from groundswell.errors import Stuck
from groundswell.running import orphan, probe, runfile
from groundswell.settings import Settings
from groundswell.tagging import Model
from stream.topology import Topology

Run = Callable[[Settings, Topology, Clock, asyncio.Event], Coroutine[Any, Any, None]]


def the_settings(ctx: click.Context, **changes: Any) -> Settings:
    """Settings of this command: file, environment, then what was given on the command line."""
    found = all_settings.load(ctx.obj["environment"], ctx.obj["config"])
    return all_settings.from_values(
        {**structs.asdict(found), **{name: value for name, value in changes.items() if value}}
    )


def topology_of(settings: Settings) -> Topology:
    return Topology(settings.prefix, single=settings.single_partition)


def the_model(settings: Settings) -> Model:
    """The model that the settings name, not yet started."""
    from models.batcher import Batcher
    from models.scripted import ScriptedModel
    from models.tagger import ModelProcess

    if settings.model == "scripted":
        return ScriptedModel()
    return Batcher(
        [
            ModelProcess(
                settings.model,
                download=settings.model_download,
                device=device,
                threads=settings.model_threads,
                deadline_s=settings.model_timeout_s,
            )
            for device in settings.model_devices or ["auto"]
        ]
    )


@click.command()
@click.pass_context
def ingest(ctx: click.Context) -> None:
    """Read the input topics; clean, time and link each document."""
    from stream import create, intake

    settings = runfile.joined(the_settings(ctx))
    telemetry.configure(settings.log, settings.log_level, stage="ingest")
    orphan.end_with(ctx.obj["environment"].get(orphan.VARIABLE))
    asyncio.run(create.check(settings, topology_of(settings), "ingest"))
    intake.main(settings, topology_of(settings), SystemClock())


@click.command()
@click.pass_context
def tag(ctx: click.Context) -> None:
    """Find each document's story, topics and polarity."""
    from stream import tag as stage

    async def run(settings: Settings, topology: Topology, clock: Clock, stop: asyncio.Event) -> None:
        await stage.run(settings, topology, clock, the_model(settings), stop)

    _process(ctx, "tag", run)


@click.command()
@click.pass_context
def aggregate(ctx: click.Context) -> None:
    """Count rows into windows, detect surges, open and close episodes."""
    from stream import aggregate_process as stage

    _process(ctx, "aggregate", stage.run)


@click.command()
@click.pass_context
def deliver(ctx: click.Context) -> None:
    """Hand alerts to their endpoints, signed and retried."""
    from alerts import deliver as stage

    _process(ctx, "deliver", stage.run)


@click.command()
@click.pass_context
def dashboard(ctx: click.Context) -> None:
    """Serve the live page and the HTTP interface."""
    from alerts.people.desk import Desk
    from dashboard import app as stage
    from groundswell.commands.installation import Installation
    from groundswell.commands.tuning import tuning

    async def run(settings: Settings, topology: Topology, clock: Clock, stop: asyncio.Event) -> None:
        make_desk = partial(Desk, settings, clock)  # the pages import nothing of alerts
        look = partial(Installation, settings, topology, clock)
        tune = partial(tuning, settings, topology, clock)
        await stage.run(settings, topology, clock, stop, make_desk=make_desk, make_installation=look, make_tuning=tune)

    _process(ctx, "dashboard", run)


@click.command()
@click.pass_context
def up(ctx: click.Context) -> None:
    """Run all five processes here; without addresses, with a broker and a Redis of their own (memory only)."""
    from groundswell.commands.stack import stay_up

    asyncio.run(stay_up(the_settings(ctx)))


def _process(ctx: click.Context, stage: str, run: Run) -> None:
    settings = runfile.joined(the_settings(ctx))
    telemetry.configure(settings.log, settings.log_level, stage=stage)
    telemetry.at_zero(stage)
    orphan.end_with(ctx.obj["environment"].get(orphan.VARIABLE))
    asyncio.run(_until_told(settings, stage, run))


async def _until_told(settings: Settings, stage: str, run: Run) -> None:
    """SIGTERM or Ctrl-C ask the stage to drain; it gets `drain_s`, and a little to close its connections."""
    from stream import create

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    topology = topology_of(settings)
    await create.check(settings, topology, stage)
    working = asyncio.create_task(run(settings, topology, SystemClock(), stop))
    server = await probe.serve(
        settings.metrics_host, settings.metrics_port, lambda: not working.done() and not stop.is_set()
    )
    asked = asyncio.create_task(stop.wait())
    turning = asyncio.create_task(_turn(settings.stuck_s))
    await asyncio.wait({working, asked}, return_when=asyncio.FIRST_COMPLETED)
    if not working.done():
        await asyncio.wait({working}, timeout=settings.drain_s + 3)
    asked.cancel()
    turning.cancel()
    faulthandler.cancel_dump_traceback_later()
    server.close()
    if not working.done():
        # What is not finished is read again by the next process: nothing below it was committed.
        telemetry.log().warning("drain_too_slow", drain_s=settings.drain_s)
        os._exit(0)
    try:
        with suppress(asyncio.CancelledError):
            await working
    except Stuck as error:
        # At once: what is stuck may not even listen when it is told to end.
        click.echo(f"groundswell: {error.line}", err=True)
        os._exit(1)


async def _turn(stuck_s: float) -> None:
    """A loop that has not turned for so long is stuck in one call: the process ends, all its stacks on standard error."""
    while True:
        faulthandler.dump_traceback_later(stuck_s, exit=True)
        await asyncio.sleep(stuck_s / 4)
