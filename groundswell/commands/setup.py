"""Commands that set things up, and say what is missing: topology, settings, schema, asyncapi, secret-key, doctor."""

import asyncio
import os
import shutil
import sys
from contextlib import suppress
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from groundswell import beside
from groundswell import settings as all_settings
from groundswell.commands.processes import the_settings, topology_of
from groundswell.errors import GroundswellError, Misconfigured, NothingRuns
from groundswell.running import runfile
from groundswell.schemas import SCHEMAS
from groundswell.schemas import asyncapi as described
from groundswell.schemas import schema as schema_of
from groundswell.settings import Settings
from groundswell.terminal import out
from stream.topology import TOPICS


@click.command()
@click.option("--create", "make", is_flag=True, help="Make the topics that are missing.")
@click.option("--replication", default=1, show_default=True, help="Replication factor of new topics.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def topology(ctx: click.Context, make: bool, replication: int, as_json: bool) -> None:
    """The Kafka topics: who writes, who reads, how many partitions."""
    from stream import create

    settings = the_settings(ctx)
    found = topology_of(settings)
    if make:
        made = asyncio.run(create.create(runfile.joined(settings), found, replication))
        click.echo(f"Made {len(made)} topics." if made else "All topics are there.", err=as_json)
    rows = [
        {"topic": found.name(topic), "partitions": found.partitions(topic), **structs_of(topic)} for topic in TOPICS
    ]
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return
    table = Table("topic", "partitions", "key", "value", "kept", "writers", "readers", box=None)
    for row in rows:
        kept = "compacted" if row["retention_ms"] is None else f"{row['retention_ms'] // 86_400_000} d"
        kept = f"newest, {kept}" if row["newest_only"] else kept
        table.add_row(
            row["topic"], str(row["partitions"]), row["key"], row["value"], kept, row["writers"], row["readers"]
        )
    out().print(table)


def structs_of(topic: Any) -> dict[str, Any]:
    """What a topic's row says beyond its name."""
    return {
        name: getattr(topic, name) for name in ("key", "value", "retention_ms", "newest_only", "writers", "readers")
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def settings(ctx: click.Context, as_json: bool) -> None:
    """The settings in force, secrets masked."""
    found = the_settings(ctx)
    shown = all_settings.masked(found)
    if as_json:
        click.echo(msgspec.json.encode(shown).decode())
        return
    default, notes = Settings(), {field.name: field.sentence for field in beside.fields(Settings)}
    table = Table("setting", "value", "variable", "what it is", box=None)
    for name, value in shown.items():
        changed = getattr(found, name) != getattr(default, name)
        table.add_row(
            name,
            Text(str(value), style="bold" if changed else ""),
            all_settings.PREFIX + name.upper(),
            notes[name],
        )
    out().print(table, markup=False)


@click.command()
@click.argument("record", type=click.Choice(sorted(SCHEMAS)), required=False)
def schema(record: str | None) -> None:
    """Print the JSON Schema of RECORD, or of all."""
    made = schema_of(record) if record else {name: schema_of(name) for name in SCHEMAS}
    click.echo(msgspec.json.format(msgspec.json.encode(made), indent=2).decode())


@click.command()
@click.pass_context
def asyncapi(ctx: click.Context) -> None:
    """Print the AsyncAPI 3 description of the topics that others may read or write."""
    found = the_settings(ctx)
    with suppress(NothingRuns):
        found = runfile.joined(found)
    click.echo(msgspec.json.format(msgspec.json.encode(described(found, topology_of(found))), indent=2).decode())


@click.command(name="secret-key")
def secret_key() -> None:
    """Make a key for GROUNDSWELL_SECRET_KEY. Keep it: endpoints added with it cannot be read without it."""
    from groundswell.secrets import new_key

    click.echo(new_key())


@click.command()
@click.pass_context
def doctor(ctx: click.Context) -> int:
    """What is missing or wrong in this set-up, and what to do. Exit status 1 when something must be set right."""
    try:
        found = the_settings(ctx)
    except GroundswellError as error:  # nothing else can be judged without them
        click.echo(f"NO  settings: {error.line}")
        return 1
    click.echo("ok  settings: all known and within their bounds")
    problems = 0
    for name, check in _checks(found).items():
        try:
            said, well = check(), True
        except GroundswellError as error:
            said, well = error.line, False
        problems += not well
        click.echo(f"{'ok ' if well else 'NO '} {name}: {said}")
    return 1 if problems else 0


def _checks(found: Settings) -> dict[str, Any]:
    def python() -> str:
        return sys.version.split()[0]

    def cores() -> str:
        return f"{os.cpu_count()} cores; the model uses {found.model_threads}"

    def model() -> str:
        from models import catalog

        if found.model == "scripted":
            return "scripted: word lists for tests, not for earnest"
        return f"{catalog.locate(found.model)}: complete"

    def kernels() -> str:
        from models import kernels as own

        return own.describe()

    def redis_server() -> str:
        return shutil.which("redis-server") or "not installed; `up` and `demo` use fakeredis (slower, memory only)"

    def services() -> str:
        try:
            settings = runfile.joined(found)
        except Misconfigured:
            return "none configured: `groundswell up` and `demo` bring their own, in memory"
        asyncio.run(_answer(settings))
        return f"Kafka {settings.kafka} answers and has all topics; Redis answers and forgets nothing"

    def key() -> str:
        from groundswell.secrets import SecretBox

        if not found.secret_key:
            return "not set: `up` makes one that lives as long as it does"
        SecretBox(found.secret_key)
        return "set"

    def calendars() -> str:
        from stream.detection import calendars as known

        return known.describe(known.FIRST.today())

    return {"python": python, "cores": cores, "model": model, "model kernels": kernels, "redis-server": redis_server,
            "calendars": calendars, "services": services, "secret key": key}  # fmt: skip


async def _answer(settings: Settings) -> None:
    """Raises what is wrong with Kafka, its topics or Redis."""
    from groundswell.clients.connect import open_redis
    from stream import create

    await create.check(settings, topology_of(settings))
    redis = await open_redis(settings)
    await redis.aclose()
