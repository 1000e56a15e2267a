"""`groundswell push`: documents from a file or standard input to an input topic, in the order of the file."""

import asyncio
import time
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from groundswell import feed, times
from groundswell.clients.connect import close_producer, open_producer, open_redis
from groundswell.commands.processes import the_settings, topology_of
from groundswell.errors import MessageTooLarge, Misconfigured
from groundswell.keys import Keys
from groundswell.pusher import Pusher
from groundswell.running import books, runfile
from groundswell.settings import Settings
from stream import create
from stream.topology import COMMENTS, NEWS

VERDICT_S = 10.0


@click.command()
@click.argument("file")
@click.option("--topic", type=click.Choice(["news", "comments"]), required=True, help="Which feed this is.")
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="OURS=THEIRS",
    help="Another column name: --map text=body --map published_at=ts",
)
@click.option("--speed", type=float, help="Documents a second; as fast as it goes without it.")
@click.option("--shift-to-now", is_flag=True, help="Move all times so that the last document is said now.")
@click.option(
    "--batch", type=click.IntRange(1, 500), default=100, show_default=True, help="Documents in one Kafka message."
)
@click.option("--spread", is_flag=True, help="Use all partitions; gives up the order of the file.")
@click.option("--kafka", help="Broker address.")
@click.option("--redis", help="Redis address, to tell what was accepted.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def push(
    ctx: click.Context, file: str, topic: str, columns: tuple[str, ...], speed: float | None, shift_to_now: bool, batch: int,
    spread: bool, kafka: str | None, redis: str | None, as_json: bool,
) -> int:  # fmt: skip
    """Send FILE (JSONL, JSONL.gz, CSV, or one text a line; - reads standard input) to an input topic."""
    settings = runfile.joined(the_settings(ctx, kafka=kafka, redis=redis))
    if shift_to_now and file == "-":
        raise Misconfigured(
            "Standard input cannot be shifted: its last time is not known.",
            remedy="Give a file, or leave out --shift-to-now.",
        )
    mapping = feed.parse_map(columns)
    shift_ms = _shift_ms(file, mapping) if shift_to_now else 0
    summary = asyncio.run(_push(settings, file, topic, mapping, shift_ms, speed, batch, spread=spread))
    if as_json:
        click.echo(msgspec.json.encode(summary).decode())
    else:
        click.echo(_sentence(summary))
    return 0


def _shift_ms(file: str, mapping: dict[str, str]) -> int:
    stamps = (feed.published_ms(line.fields) for line in feed.read(file, mapping) if line.fields)
    newest = max((stamp for stamp in stamps if stamp is not None), default=None)
    return 0 if newest is None else time.time_ns() // 1_000_000 - newest


async def _push(
    settings: Settings,
    file: str,
    topic: str,
    mapping: dict[str, str],
    shift_ms: int,
    speed: float | None,
    batch: int,
    *,
    spread: bool,
) -> dict[str, Any]:
    total = feed.size(file)
    topology = topology_of(settings)
    await create.check(settings, topology, f"push to {topic}")
    redis = await open_redis(settings)
    keys = Keys(topology.prefix)
    before = await books.total(redis, keys, "ingest")
    producer = await open_producer(settings)
    started_s, too_large = time.monotonic(), 0
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    try:
        key = None if spread else f"push:{file}".encode()
        pusher = Pusher(
            producer,
            topology.name(NEWS if topic == "news" else COMMENTS),
            key,
            batch=1 if speed and speed <= batch else batch,
        )
        with Progress(*columns, console=Console(stderr=True), transient=False) as progress:
            task = progress.add_task(f"push {topic}", total=total, rate="")
            for line in feed.read(file, mapping):
                try:
                    if line.as_it_is and not shift_ms:
                        await pusher.add_json(line.raw)
                    else:
                        await pusher.add(_document(line, shift_ms))
                except MessageTooLarge as error:
                    too_large += 1
                    progress.console.print(f"Not sent: {error.line}")
                seconds = max(time.monotonic() - started_s, 1e-3)
                if speed and pusher.sent > speed * seconds:
                    await asyncio.sleep(pusher.sent / speed - seconds)
                if pusher.sent % 50 == 0:
                    progress.update(
                        task, completed=line.position, rate=f"{pusher.sent:,} documents, {pusher.sent / seconds:,.0f}/s"
                    )
            await pusher.settle()
            seconds = max(time.monotonic() - started_s, 1e-3)
            progress.update(
                task,
                completed=total or 1,
                total=total or 1,
                rate=f"{pusher.sent:,} documents, {pusher.sent / seconds:,.0f}/s",
            )
        seen = await _seen(redis, keys, before, pusher.sent)
    finally:
        await close_producer(producer)
        await redis.aclose()
    return {
        "sent": pusher.sent, "seconds": round(seconds, 2), "per_second": round(pusher.sent / seconds, 1),
        "accepted": seen.applied, "refused": seen.dead_lettered + too_large, "not_yet_read": max(0, pusher.sent - seen.read),
    }  # fmt: skip


def _document(line: feed.Line, shift_ms: int) -> dict[str, Any] | bytes:
    if line.fields is None:
        return line.raw  # ingest says what is wrong with it
    if shift_ms:
        stamp = feed.published_ms(line.fields)
        if stamp is not None:
            return {**line.fields, "published_at": times.rfc3339(stamp + shift_ms)}
    return line.fields


async def _seen(redis: Any, keys: Keys, before: books.Counts, sent: int) -> books.Counts:
    """What ingest has made of it, waited for a little; others may push at the same time, so this is the road's growth."""
    end_s = time.monotonic() + VERDICT_S
    while True:
        now = await books.total(redis, keys, "ingest")
        grown = books.Counts(
            read=now.read - before.read,
            applied=now.applied - before.applied,
            dead_lettered=now.dead_lettered - before.dead_lettered,
        )
        if grown.read >= sent or time.monotonic() > end_s:
            return grown
        await asyncio.sleep(0.2)


def _sentence(summary: dict[str, Any]) -> str:
    words = f"{summary['sent']:,} sent in {summary['seconds']} s; {summary['accepted']:,} accepted, {summary['refused']:,} refused"
    if summary["refused"]:
        words += " (groundswell dead-letters says why)"
    if summary["not_yet_read"]:
        words += f"; {summary['not_yet_read']:,} wait to be read by ingest (groundswell health)"
    return words + "."
