"""`groundswell rebuild`: what Redis shows, counted again from Kafka by the aggregates that run; see stream/rebuild.py."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import click
import msgspec

from groundswell.clients.connect import RedisClient, open_redis
from groundswell.commands.backtest import moment
from groundswell.commands.processes import the_settings, topology_of
from groundswell.decisions import Stage
from groundswell.keys import Keys
from groundswell.running import beat, runfile
from groundswell.settings import Settings
from stream.topology import SCORED

LOOK_S = 0.25
NOTICED_S = 10.0  # an aggregate that lives has begun by then


@dataclass
class Progress:
    """How far the scored partitions are; `share` of the messages that were to be read again."""

    partitions: int
    begun: int = 0
    done: int = 0
    share: float = 0.0
    seconds: float = 0.0


Show = Callable[[Progress], None]


@click.command()
@click.option(
    "--from",
    "since",
    metavar="TIME",
    help="Read from then on only, 2026-11-21T18:00:00+08:00: sooner done, and no chart before.",
)
@click.option("--no-wait", is_flag=True, help="Return once it is asked for.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def rebuild(ctx: click.Context, since: str | None, no_wait: bool, as_json: bool) -> int:
    """Count everything that Redis shows again from Kafka; alerts wait meanwhile, and none is told twice."""
    from_ms, settings = moment(since), runfile.joined(the_settings(ctx))
    quiet: AbstractContextManager[Show] = nullcontext(lambda _: None)
    with quiet if as_json or no_wait else bar() as show:
        found, alive = asyncio.run(ask(settings, from_ms, show, wait=not no_wait))
    complete = found.done == found.partitions
    if as_json:
        click.echo(msgspec.json.encode({**vars(found), "complete": complete, "aggregates": alive}).decode())
    elif not alive:
        click.echo("No aggregate runs: it is done when one is started.")
    elif no_wait:
        click.echo("Asked for: `groundswell health` says how far it is.")
    elif complete:
        click.echo(f"{found.partitions} partitions are counted again, in {found.seconds:.0f} s.")
    else:
        click.echo(f"{found.begun} of {found.partitions} partitions have begun; see `groundswell health`.", err=True)
    return 0 if complete or no_wait or not alive else 1


async def ask(settings: Settings, from_ms: int, show: Show, *, wait: bool) -> tuple[Progress, int]:
    """Ask for it, and wait for it; how far it came, and how many aggregates run. Raises RedisAway."""
    from stream import generation

    topology = topology_of(settings)
    keys, redis = Keys(topology.prefix), await open_redis(settings)
    try:
        alive = sum(one.stage == Stage.AGGREGATE for one in await beat.beats(redis, keys))
        began_s, asked = time.monotonic(), await generation.begin(redis, keys, from_ms)
        found = Progress(topology.partitions(SCORED))
        while wait and alive and found.done < found.partitions:
            found = await progress(redis, keys, asked.id, found.partitions)
            found.seconds = round(time.monotonic() - began_s, 1)
            show(found)
            if found.seconds > NOTICED_S and found.begun < found.partitions:
                break  # partitions that nobody holds, or an aggregate that does not answer
            await asyncio.sleep(LOOK_S)
        return found, alive
    finally:
        await redis.aclose()


async def progress(redis: RedisClient, keys: Keys, generation: str, partitions: int) -> Progress:
    """How many partitions are in this generation, and how far those are that are still counted."""
    from stream.rebuild import Rebuild

    pipeline = redis.pipeline(transaction=False)
    for number in range(partitions):
        pipeline.hmget(keys.state(number), "gen", "ck", "off", "warm")
    found, read, whole = Progress(partitions), 0, 0
    for of, looked_at, offset, warm in await pipeline.execute():
        if of is None or of.decode() != generation or looked_at is None:
            continue
        found.begun += 1
        if not warm:
            found.done += 1
            continue
        plan = msgspec.json.decode(warm, type=Rebuild)
        read += int(offset or plan.start) - plan.start
        whole += plan.until - plan.start
    found.share = (found.done + (read / whole if whole else 0.0) * (found.begun - found.done)) / partitions
    return found


@contextmanager
def bar() -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (BarColumn(32), TaskProgressColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda found: bar.update(
            task, completed=found.share, description=f"{found.done} of {found.partitions} partitions"
        )
