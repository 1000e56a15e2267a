"""`groundswell replay`: the whole road over a historical file, as fast as it goes, each document scored as of its own time.

A namespace of its own with one partition a topic, so that the file has one order from end to end; buckets close by the documents' times
alone. So the same file gives the same alerts with the same ids, however fast the machine was.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import msgspec
from msgspec import structs
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from alerts import lanes
from groundswell import alert_views, feed, times
from groundswell.clients.connect import close_producer, open_producer
from groundswell.commands.look import books_table
from groundswell.commands.processes import the_settings
from groundswell.commands.stack import Stack, stack
from groundswell.effect import times_usual
from groundswell.errors import Misconfigured
from groundswell.keys import Keys
from groundswell.pusher import Pusher
from groundswell.records import AlertView
from groundswell.running.accounting import Accounting, account
from groundswell.running.books import Counts
from groundswell.settings import Settings
from groundswell.terminal import out
from stream.topology import COMMENTS, NEWS, SCORED

STAGES = ("ingest", "tag", "aggregate")
UNDER_WAY_DOCUMENTS, UNDER_WAY_ROWS = 4_000, 12_000  # the embedded broker keeps 5 MiB a partition: pushing waits
STILL_S = 180.0  # without any progress the replay gives up
ALL_ALERTS = 100_000


class ReplayStuck(Misconfigured):
    """The stages stopped making progress."""

    reason = "replay_stuck"
    remedy = "Run it again with --keep-logs FOLDER and read the logs there."


@click.command()
@click.argument("file")
@click.option(
    "--topic",
    type=click.Choice(["news", "comments"]),
    default="comments",
    show_default=True,
    help="Which feed this is.",
)
@click.option(
    "--map", "columns", multiple=True, metavar="OURS=THEIRS", help="Another column name: --map published_at=ts"
)
@click.option("--from", "first", type=click.DateTime(["%Y-%m-%d"]), help="First day, UTC.")
@click.option("--to", "last", type=click.DateTime(["%Y-%m-%d"]), help="Last day, UTC, included.")
@click.option(
    "--step-min",
    type=click.Choice(["1", "5", "15", "30", "60"]),
    default="60",
    show_default=True,
    help="The detector's step in minutes; sparse histories want 15 to 60.",
)
@click.option("--sensitivity", type=click.Choice(["fewer", "balanced", "more"]), help="False-alarm budget.")
@click.option("--keep-logs", "state_dir", help="Folder for the logs of the stages.")
@click.option("--kafka", help="Use this broker instead of the built-in one.")
@click.option("--redis", help="Use this Redis instead of a built-in one.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def replay(
    ctx: click.Context, file: str, topic: str, columns: tuple[str, ...], first: datetime | None, last: datetime | None, step_min: str,
    sensitivity: str | None, state_dir: str | None, kafka: str | None, redis: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Score FILE as if it were happening; print the alerts and the accounting."""
    documents = _documents(file, feed.parse_map(columns), first, last)
    if not documents:
        raise Misconfigured(
            "No document of the file has a time in this span.",
            remedy="Check --from, --to and --map published_at=COLUMN.",
        )
    # A namespace of its own each time: a replay starts from nothing.
    name = secrets.token_hex(5)
    settings = the_settings(
        ctx, kafka=kafka, redis=redis, sensitivity=sensitivity, state_dir=state_dir, prefix=f"replay-{name}"
    )
    settings = structs.replace(settings, clock="event", step_s=int(step_min) * 60)
    with tempfile.TemporaryDirectory(prefix="groundswell-") as scratch:
        result = asyncio.run(
            _replay(structs.replace(settings, state_dir=settings.state_dir or scratch), documents, topic)
        )
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(result), indent=2).decode())
    else:
        _print(result)
    return 0 if result["balanced"] else 1


def _documents(
    file: str, columns: dict[str, str], first: datetime | None, last: datetime | None
) -> list[dict[str, Any]]:
    """All documents with a time within the span, oldest first; equal times keep the order of the file."""
    from_ms = round(first.replace(tzinfo=UTC).timestamp() * 1000) if first else -(1 << 62)
    to_ms = round(last.replace(tzinfo=UTC).timestamp() * 1000) + 86_400_000 if last else 1 << 62
    found = []
    for line in feed.read(file, columns):
        if (
            line.fields is not None
            and (at_ms := feed.published_ms(line.fields)) is not None
            and from_ms <= at_ms < to_ms
        ):
            found.append((at_ms, line.fields))
    return [fields for _, fields in sorted(found, key=lambda one: one[0])]


async def _replay(settings: Settings, documents: list[dict[str, Any]], topic: str) -> dict[str, Any]:
    started_s = time.monotonic()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    async with stack(settings, stages=STAGES, single=True) as found:
        await found.ready(STAGES)
        producer = await open_producer(found.settings)
        pusher = Pusher(producer, found.topology.name(NEWS if topic == "news" else COMMENTS), b"replay", batch=100)
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task("scored", total=len(documents))
            try:
                for at in range(0, len(documents), 500):
                    for document in documents[at : at + 500]:
                        await pusher.add(document)
                    await pusher.settle()
                    await _room(found, pusher.sent, progress, task)
                books = await _finished(found, len(documents), progress, task)
            finally:
                await close_producer(producer)
        views = await _alerts(found)
    return {
        "documents": len(documents), "first": _time_of(documents[0]), "last": _time_of(documents[-1]),
        "tagged": books.stages["tag"].applied, "scored_rows": books.stages["aggregate"].applied, "step_s": settings.step_s,
        "sensitivity": settings.sensitivity, "alerts": [_alert(view) for view in views], "accounting": books.as_json(),
        "balanced": books.balanced, "wrong": books.wrong, "seconds": round(time.monotonic() - started_s, 1),
    }  # fmt: skip


def _time_of(document: dict[str, Any]) -> str:
    return times.rfc3339(feed.published_ms(document) or 0)


async def _books(found: Stack) -> Accounting:
    keys = Keys(found.topology.prefix)
    return await account(found.redis, keys, found.topology.partitions(SCORED), await lanes.books(found.redis, keys))


async def _room(found: Stack, sent: int, progress: Progress, task: Any) -> None:
    """Wait until little enough is under way that the broker's memory holds it."""

    def little(books: Accounting) -> bool:
        stages = books.stages
        rows_under_way = stages["tag"].emitted - stages["aggregate"].read
        return sent - stages["tag"].read <= UNDER_WAY_DOCUMENTS and rows_under_way <= UNDER_WAY_ROWS

    await _until(found, progress, task, little)


async def _finished(found: Stack, sent: int, progress: Progress, task: Any) -> Accounting:
    """Wait until every stage has read what the one before it wrote, and holds nothing."""

    def done(books: Accounting) -> bool:
        stages = books.stages
        return (
            not books.in_flight
            and stages["ingest"].read >= sent
            and stages["tag"].read >= stages["ingest"].emitted
            and stages["aggregate"].read >= stages["tag"].emitted
        )

    books = await _until(found, progress, task, done)
    await asyncio.sleep(1.0)  # the relay empties the outbox every tenth of a second
    return books


async def _until(found: Stack, progress: Progress, task: Any, enough: Callable[[Accounting], bool]) -> Accounting:
    last, still_since_s = -1, time.monotonic()
    while True:
        books = await _books(found)
        progress.update(task, completed=books.stages["tag"].read - books.stages["tag"].in_flight)
        if enough(books):
            return books
        moved = sum(books.stages[stage].read for stage in STAGES)
        if moved != last:
            last, still_since_s = moved, time.monotonic()
        if found.failed.done() or time.monotonic() - still_since_s > STILL_S:
            raise ReplayStuck(f"No progress for {STILL_S:.0f} s." if not found.failed.done() else found.failed.result())
        await asyncio.sleep(0.1)


async def _alerts(found: Stack) -> list[AlertView]:
    views = await alert_views.newest(found.redis, Keys(found.topology.prefix), ALL_ALERTS)
    return sorted(views, key=lambda view: (view.event.data.detected_at, view.subject))


def _alert(view: AlertView) -> dict[str, Any]:
    data = view.event.data
    return {
        "episode": view.episode, "ids": [line["id"] for line in view.timeline if "id" in line], "subject": view.subject,
        "name": data.subject.names, "state": view.state, "kind": data.kind, "onset": data.started_at, "detected_at": data.detected_at,
        "resolved_at": data.resolved_at, "negatives": data.observed.negatives, "mentions": data.observed.mentions,
        "reach": data.observed.reach, "expected": data.expected.negatives, "effect": data.effect,
        "log10_e_value": data.log10_e_value, "documents": [one.excerpt for one in data.documents],
    }  # fmt: skip


def _print(result: dict[str, Any]) -> None:
    table = Table("onset", "detected", "subject", "negatives", "expected", "effect", "one of them", box=None)
    for alert in result["alerts"]:
        table.add_row(
            alert["onset"][:16], alert["detected_at"][:16], f"{alert['name'].get('en', '')} {alert['subject']}", str(alert["negatives"]),
            f"{alert['expected']:.1f}", times_usual(alert["effect"]), (alert["documents"] or [""])[0][:60],
        )  # fmt: skip
    console = out()
    console.print(table if result["alerts"] else "No alerts.", markup=False)
    console.print(books_table({name: Counts(**books) for name, books in result["accounting"].items()}), markup=False)
    console.print(
        f"{result['documents']:,} documents, {result['scored_rows']:,} rows, {len(result['alerts'])} episodes in {result['seconds']} s; "
        + ("the books balance." if result["balanced"] else " ".join(result["wrong"]))
    )
