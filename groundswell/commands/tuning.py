"""Puts together what decides when it alerts: desks for rules, watchlists and sensitivities, and previews. For commands and pages."""

import functools
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from groundswell import settings as all_settings
from groundswell.clock import Clock
from groundswell.running import orphan
from groundswell.settings import Settings
from stream.topology import Topology

if TYPE_CHECKING:
    import click

    from dashboard.parts import Tuning
    from groundswell.clients.connect import RedisClient
    from groundswell.control import ControlView
    from groundswell.keys import Keys
    from stream.detection.list_desk import ListDesk
    from stream.names.directory import Directory
    from stream.rulebook.rule_desk import Pen, RuleDesk

T = TypeVar("T")


def directory_of(settings: Settings) -> "Callable[[], Directory]":
    """Loads what can be counted, when it is first asked for."""

    @functools.cache
    def load() -> "Directory":
        from stream.names import directory

        return directory.directory_of(settings)

    return load


def tuning(
    settings: Settings,
    topology: Topology,
    clock: Clock,
    view: "ControlView",
    pen: "Pen",
    redis: "RedisClient",
    keys: "Keys",
) -> "Tuning":
    """For the pages' process. A preview is a `groundswell backtest` with these settings, and ends with this process."""
    from dashboard.parts import Tuning
    from stream.detection.list_desk import ListDesk
    from stream.past.previews import Previews
    from stream.rulebook.rule_desk import RuleDesk

    directory = directory_of(settings)
    rules = RuleDesk(settings, topology, clock, view, pen, redis, keys, directory)
    lists = ListDesk(settings, clock, view, pen, directory)
    environment = {**os.environ, **all_settings.environment(settings), orphan.VARIABLE: str(os.getpid())}
    command = (sys.executable, "-m", "groundswell")
    return Tuning(rules, lists, Previews(clock, redis, keys, rules, lists, command=command, environment=environment))


def at_rules(ctx: "click.Context", do: "Callable[[RuleDesk], Awaitable[T]]") -> T:
    """Run one piece of work at a desk of rules. Raises what the work raises, NothingRuns, BrokerAway, RedisAway."""
    import asyncio

    from groundswell.clients.connect import open_redis
    from groundswell.clock import SystemClock
    from groundswell.commands.desk import Pen, control_view
    from groundswell.commands.processes import the_settings, topology_of
    from groundswell.keys import Keys
    from groundswell.running import runfile
    from stream.rulebook.rule_desk import RuleDesk

    settings = runfile.joined(the_settings(ctx))
    topology = topology_of(settings)

    async def run() -> T:
        view, redis, pen = await control_view(settings, topology), await open_redis(settings), Pen(settings, topology)
        keys = Keys(settings.prefix)
        try:
            return await do(RuleDesk(settings, topology, SystemClock(), view, pen, redis, keys, directory_of(settings)))
        finally:
            await pen.close()
            await redis.aclose()

    return asyncio.run(run())


def at_lists(ctx: "click.Context", do: "Callable[[ListDesk], Awaitable[T]]") -> T:
    """Run one piece of work at a desk of watchlists and sensitivities. Raises what the work raises, NothingRuns, BrokerAway."""
    import asyncio

    from groundswell.clock import SystemClock
    from groundswell.commands.desk import Pen, control_view
    from groundswell.commands.processes import the_settings, topology_of
    from groundswell.running import runfile
    from stream.detection.list_desk import ListDesk

    settings = runfile.joined(the_settings(ctx))
    topology = topology_of(settings)

    async def run() -> T:
        view, pen = await control_view(settings, topology), Pen(settings, topology)
        try:
            return await do(ListDesk(settings, SystemClock(), view, pen, directory_of(settings)))
        finally:
            await pen.close()

    return asyncio.run(run())
