"""How commands reach alerts/people/desk.py: the control topic as it stands, a Redis to look in, a pen that writes on first use."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from groundswell.commands.processes import the_settings, topology_of
from groundswell.records import ControlObject
from groundswell.running import runfile
from groundswell.settings import Settings
from stream.topology import Topology

if TYPE_CHECKING:
    from alerts.people.desk import Desk
    from groundswell.control import ControlView

T = TypeVar("T")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
by_option = click.option("--by", default="", help="Who does this; by default whoever is logged in.")
wait_option = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 600),
    default=30.0,
    show_default=True,
    help="Seconds to wait for the outcome.",
)


def at_desk(ctx: click.Context, do: "Callable[[Desk], Awaitable[T]]") -> T:
    """Run one piece of work at a desk of its own. Raises what the work raises, NothingRuns, BrokerAway, RedisAway."""
    from alerts.people.desk import Desk
    from groundswell.clients.connect import open_redis
    from groundswell.clock import SystemClock
    from groundswell.keys import Keys

    settings = runfile.joined(the_settings(ctx))
    topology = topology_of(settings)

    async def run() -> T:
        view = await control_view(settings, topology)
        redis = await open_redis(settings)
        pen = Pen(settings, topology)
        try:
            return await do(Desk(settings, SystemClock(), view, pen, redis, Keys(topology.prefix)))
        finally:
            await pen.close()
            await redis.aclose()

    return asyncio.run(run())


def whoever(ctx: click.Context, by: str) -> str:
    """As given, else who is logged in."""
    environment = ctx.obj["environment"]
    return by or environment.get("LOGNAME") or environment.get("USER") or "command line"


def print_json(value: Any) -> None:
    click.echo(msgspec.json.encode(value).decode())


class Pen:
    """A producer that is opened when something is to be written."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        self._settings, self._topology, self._producer = settings, topology, None

    async def write(self, thing: ControlObject) -> None:
        from groundswell import control

        await control.write(await self._open(), self._topology, thing)

    async def erase(self, object_id: str) -> None:
        from groundswell import control

        await control.erase(await self._open(), self._topology, object_id)

    async def close(self) -> None:
        from groundswell.clients.connect import close_producer

        if self._producer is not None:
            await close_producer(self._producer)

    async def _open(self) -> Any:
        from groundswell.clients.connect import open_producer

        if self._producer is None:
            self._producer = await open_producer(self._settings)
        return self._producer


async def control_view(settings: Settings, topology: Topology) -> "ControlView":
    """All that was written to the control topic until now. Raises BrokerAway, TopicsMissing."""
    from groundswell import control

    view, stop, ready = control.ControlView(), asyncio.Event(), asyncio.Event()
    following = asyncio.create_task(control.follow(settings, topology, view, stop, ready))
    reading = asyncio.create_task(ready.wait())
    await asyncio.wait({following, reading}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    reading.cancel()
    await following
    return view
