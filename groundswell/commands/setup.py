"""Commands that set things up, and say what is missing: endpoints, topology, settings, schema, secret-key, doctor."""

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table
from rich.text import Text

from groundswell import records, runfile, times
from groundswell import settings as all_settings
from groundswell.commands.processes import the_settings, topology_of
from groundswell.errors import GroundswellError, Misconfigured
from groundswell.settings import Settings
from groundswell.terminal import out
from groundswell.text import safe
from stream.topology import TOPICS

SCHEMAS: dict[str, Any] = {
    "inbound-document": records.InboundDocument, "document": records.Document, "tagged": records.Tagged, "scored": records.ScoredBatch,
    "alert": records.AlertEvent, "dead-letter": records.DeadLetter, "delivery": records.DeliveryOutcome, "control": records.ControlObject,
    "live-row": records.LiveRow, "alert-view": records.AlertView,
}  # fmt: skip


@click.group()
def endpoints() -> None:
    """The places that alerts go to."""


@endpoints.command()
@click.argument("url")
@click.option("--name", required=True, help="What people call it.")
@click.option("--subject", "subjects", multiple=True, help="Only alerts about this subject; may be repeated.")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def add(ctx: click.Context, url: str, name: str, subjects: tuple[str, ...], as_json: bool) -> None:
    """Send alerts to URL, signed. The signing secret is shown this once."""
    from alerts import endpoints as known

    settings = runfile.joined(the_settings(ctx))
    endpoint, secret = asyncio.run(known.add(settings, topology_of(settings), url, name, subjects=subjects))
    if as_json:
        click.echo(msgspec.json.encode({"id": endpoint.id, "name": endpoint.name, "secret": secret}).decode())
        return
    click.echo(f"Added {endpoint.name} ({endpoint.shown}) as {endpoint.id}.\nSigning secret, shown this once: {secret}")
    click.echo("Verify requests with any Standard Webhooks library: docs/webhooks.md.")


@endpoints.command(name="list")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """All endpoints, oldest first."""
    from alerts import endpoints as known

    settings = runfile.joined(the_settings(ctx))
    found = known.listing(asyncio.run(_view(settings)))
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
        return
    table = Table("id", "name", "address", "since", "subjects", box=None)
    for one in found:
        table.add_row(
            one.id, safe(one.name, 80), one.shown, times.rfc3339(one.created_at), ", ".join(one.subjects) or "all"
        )
    nothing = "No endpoints. Add one: groundswell endpoints add URL --name NAME"
    out().print(table if found else nothing, markup=False)


@endpoints.command()
@click.argument("endpoint")
@click.pass_context
def remove(ctx: click.Context, endpoint: str) -> None:
    """Forget ENDPOINT (its id); what waits for it is dropped."""
    from alerts import endpoints as known

    settings = runfile.joined(the_settings(ctx))
    if endpoint not in asyncio.run(_view(settings)).endpoints:
        raise Misconfigured(f"There is no endpoint {endpoint}.", remedy="`groundswell endpoints list` shows the ids.")
    asyncio.run(known.remove(settings, topology_of(settings), endpoint))
    click.echo(f"Removed {endpoint}.")


async def _view(settings: Settings) -> Any:
    from groundswell import control

    view, stop, ready = control.ControlView(), asyncio.Event(), asyncio.Event()
    following = asyncio.create_task(control.follow(settings, topology_of(settings), view, stop, ready))
    reading = asyncio.create_task(ready.wait())
    await asyncio.wait({following, reading}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    reading.cancel()
    await following
    return view


@click.command()
@click.option("--create", "make", is_flag=True, help="Make the topics that are missing.")
@click.option("--replication", default=1, show_default=True, help="Replication factor of new topics.")
@click.option("--json", "as_json", is_flag=True)
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
        table.add_row(
            row["topic"], str(row["partitions"]), row["key"], row["value"], kept, row["writers"], row["readers"]
        )
    out().print(table)


def structs_of(topic: Any) -> dict[str, Any]:
    """What a topic's row says beyond its name."""
    return {name: getattr(topic, name) for name in ("key", "value", "retention_ms", "writers", "readers")}


@click.command()
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def settings(ctx: click.Context, as_json: bool) -> None:
    """The settings in force, secrets masked."""
    found = the_settings(ctx)
    shown = all_settings.masked(found)
    if as_json:
        click.echo(msgspec.json.encode(shown).decode())
        return
    default, notes = Settings(), _notes()
    table = Table("setting", "value", "variable", "what it is", box=None)
    for name, value in shown.items():
        changed = getattr(found, name) != getattr(default, name)
        table.add_row(
            name,
            Text(str(value), style="bold" if changed else ""),
            all_settings.PREFIX + name.upper(),
            notes.get(name, ""),
        )
    out().print(table, markup=False)


def _notes() -> dict[str, str]:
    """The sentence beside each field in settings.py: one source for code, command and documents."""
    notes = {}
    for line in Path(all_settings.__file__).read_text(encoding="utf-8").splitlines():
        name, colon, rest = line.strip().partition(":")
        if colon and "  # " in rest and name.isidentifier():
            notes[name] = rest.partition("  # ")[2]
    return notes


@click.command()
@click.argument("record", type=click.Choice(sorted(SCHEMAS)), required=False)
def schema(record: str | None) -> None:
    """Print the JSON Schema of RECORD, or of all."""
    chosen = {record: SCHEMAS[record]} if record else SCHEMAS
    made = {
        name: {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(kind)}
        for name, kind in chosen.items()
    }
    click.echo(msgspec.json.format(msgspec.json.encode(made[record] if record else made), indent=2).decode())


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

    return {"python": python, "cores": cores, "model": model, "redis-server": redis_server,
            "services": services, "secret key": key}  # fmt: skip


async def _answer(settings: Settings) -> None:
    """Raises what is wrong with Kafka, its topics or Redis."""
    from groundswell.connect import open_redis
    from stream import create

    await create.check(settings, topology_of(settings))
    redis = await open_redis(settings)
    await redis.aclose()
