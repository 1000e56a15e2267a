"""Commands that look and change nothing: watch, alerts, accounting, health."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

import click
import msgspec
from rich.table import Table

from alerts import lanes
from groundswell import alert_views
from groundswell.clients.connect import RedisClient, open_redis
from groundswell.clock import SystemClock
from groundswell.commands.processes import the_settings, topology_of
from groundswell.effect import times_usual
from groundswell.keys import Keys
from groundswell.records import AlertView
from groundswell.running import accounting as the_books
from groundswell.running import beat, runfile
from groundswell.running import health as the_health
from groundswell.running.books import Counts
from groundswell.running.health import SETTLE_S, STAGES, Finding
from groundswell.running.storage import storage
from groundswell.settings import Settings
from groundswell.terminal import out
from stream import create
from stream.topology import SCORED, Topology

T = TypeVar("T")
Look = Callable[[Settings, Topology, RedisClient, Keys], Awaitable[T]]
LOOKS = 3  # after the first

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
limit_option = click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many."
)


def _with_redis(ctx: click.Context, look: "Look[T]") -> T:
    settings = runfile.joined(the_settings(ctx))

    async def run() -> T:
        redis = await open_redis(settings)
        try:
            topology = topology_of(settings)
            return await look(settings, topology, redis, Keys(topology.prefix))
        finally:
            await redis.aclose()

    return asyncio.run(run())


@click.command()
@click.pass_context
def watch(ctx: click.Context) -> None:
    """Subjects by negative mentions now against expected, and alerts as they fire; Ctrl-C ends it."""
    from groundswell.running import watch as view

    settings = runfile.joined(the_settings(ctx))

    async def run() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await view.watch(settings, topology_of(settings), SystemClock(), stop)

    asyncio.run(run())


@click.command()
@json_option
@limit_option
@click.pass_context
def alerts(ctx: click.Context, as_json: bool, limit: int) -> None:
    """List alerts, newest first."""

    async def look(_settings: Settings, _topology: Topology, redis: RedisClient, keys: Keys) -> list[AlertView]:
        return await alert_views.newest(redis, keys, limit)

    views = _with_redis(ctx, look)
    if as_json:
        click.echo(msgspec.json.encode(views).decode())
        return
    table = Table("since", "subject", "state", "negatives", "expected", "effect", "episode", box=None)
    for view in views:
        data = view.event.data
        table.add_row(
            data.started_at, f"{data.subject.names.get('en', '')} {data.subject.names.get('zh', '')} {data.subject.id}".strip(),
            f"{data.state} (test)" if data.test else data.state, str(data.observed.negatives),
            f"{data.expected.low}-{data.expected.high}", times_usual(data.effect), view.episode,
        )  # fmt: skip
    out().print(table if views else "No alerts.", markup=False)


@click.command()
@json_option
@click.option(
    "--assert", "must_hold", is_flag=True, help="Exit status 1 when the books do not balance, looked at four times."
)
@click.pass_context
def accounting(ctx: click.Context, as_json: bool, must_hold: bool) -> int:
    """What became of every input: read = applied + duplicate + late + dead-lettered + in flight, stage by stage."""

    async def look(_settings: Settings, topology: Topology, redis: RedisClient, keys: Keys) -> the_books.Accounting:
        found = await _account(topology, redis, keys)
        for _ in range(LOOKS if must_hold else 0):
            if found.balanced:
                break
            await asyncio.sleep(SETTLE_S)  # it may have been on its way from one stage to the next
            found = await _account(topology, redis, keys)
        return found

    found = _with_redis(ctx, look)
    if as_json:
        click.echo(
            msgspec.json.encode({"stages": found.as_json(), "balanced": found.balanced, "wrong": found.wrong}).decode()
        )
    else:
        out().print(books_table(found.stages))
        click.echo("Balanced." if found.balanced else "\n".join(found.wrong))
    return 1 if must_hold and not found.balanced else 0


def books_table(stages: dict[str, Counts]) -> Table:
    """One line a stage: what it read, what became of it, what it wrote."""
    columns = ("read", "applied", "duplicate", "late", "dead_lettered", "in_flight", "emitted")
    table = Table("stage", *(column.replace("_", " ") for column in columns), box=None)
    for name, counts in stages.items():
        table.add_row(name, *(f"{getattr(counts, column):,}" for column in columns))
    return table


@click.command()
@json_option
@click.option("--process", "only", type=click.Choice(STAGES), help="Only this process: exit status 0 when it beats.")
@click.pass_context
def health(ctx: click.Context, as_json: bool, only: str | None) -> int:
    """Each part in words. Exit status 0: all well; 1: something is not."""

    async def look(
        settings: Settings, topology: Topology, redis: RedisClient, keys: Keys
    ) -> tuple[list[beat.Beat], list[Finding], list[Finding]]:
        if only:
            return await beat.beats(redis, keys), [], []
        found = await create.found(settings)
        services = the_health.bad_topics(topology.missing(found), found, topology.wanted())
        services += the_health.filling((await storage(redis)).fullest)
        gaps = (await _account(topology, redis, keys)).gaps
        if not gaps:
            return await beat.beats(redis, keys), services, []
        await asyncio.sleep(SETTLE_S)  # seen twice, or it was on its way from one stage to the next
        again, beats = (await _account(topology, redis, keys)).gaps, await beat.beats(redis, keys)
        return beats, services, the_health.lasting(again, gaps, beats)

    beats, services, gaps = _with_redis(ctx, look)
    wanted = (only,) if only else STAGES
    sentences = [one.sentence for one in the_health.findings(beats, services, wanted)]
    sentences += [f"accounting: {gap.sentence}" for gap in gaps]
    if as_json:
        click.echo(msgspec.json.encode({"healthy": not sentences, "wrong": sentences, "processes": beats}).decode())
    else:
        click.echo("\n".join(sentences) if sentences else "All well.")
        for one in (beat for beat in beats if only in (None, beat.stage)):
            note = f", {one.note}" if one.note else ""
            click.echo(
                f"{one.stage}: {one.state} (process {one.pid}), {one.in_flight} in flight, {one.lag} messages behind{note}."
            )
    return 1 if sentences else 0


async def _account(topology: Topology, redis: RedisClient, keys: Keys) -> the_books.Accounting:
    return await the_books.account(redis, keys, topology.partitions(SCORED), await lanes.books(redis, keys))
