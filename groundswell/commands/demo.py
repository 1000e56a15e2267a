"""`groundswell demo`: the whole road on a small invented world, from an empty machine to a verified webhook and a live page."""

import asyncio
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import click
from msgspec import structs
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.text import Text

from alerts import lanes
from alerts.people import endpoints
from alerts.receiver import Received, Receiver
from groundswell import times
from groundswell.clients.connect import close_producer, open_producer
from groundswell.commands.processes import the_settings
from groundswell.commands.stack import STAGES, Stack, on_end, only_one, running, stack
from groundswell.demo import script
from groundswell.errors import GroundswellError
from groundswell.keys import Keys
from groundswell.pusher import Pusher
from groundswell.running import runfile
from groundswell.running.accounting import Accounting, account
from groundswell.settings import Settings
from groundswell.text import safe
from stream.topology import COMMENTS, SCORED

ALERT_S = 90.0
DRAIN_S = 60.0
LATER_EVERY_S, REPOST_EVERY_S = 2.5, 4.0


class DemoFailed(GroundswellError):
    """The demo did not come to its end."""

    reason = "demo_failed"


@click.command()
@click.option("--once", is_flag=True, help="End by itself after the alert, with exit status 0 if all went as it must.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object (implies --once).")
@click.option("--kafka", help="Use this broker instead of the built-in one.")
@click.option("--redis", help="Use this Redis instead of a built-in one.")
@click.option("--port", type=int, help="Port of the page; a free one with --once.")
@click.pass_context
def demo(ctx: click.Context, once: bool, as_json: bool, kafka: str | None, redis: str | None, port: int | None) -> int:
    """Play a small world of invented companies: a quiet day, a storm of copies, one surge."""
    # Runs of their own on a shared broker: yesterday's counts would be today's history.
    prefix = f"groundswell-demo-{int(time.time())}" if kafka else None
    settings = the_settings(ctx, kafka=kafka, redis=redis, prefix=prefix, port=port)
    settings = structs.replace(settings, catalogues=[*settings.catalogues, str(script.catalogue())], deliver_http=True)
    return asyncio.run(_demo(settings, once=once or as_json, as_json=as_json, port_given=bool(port)))


async def _demo(settings: Settings, *, once: bool, as_json: bool, port_given: bool) -> int:
    console = Console(stderr=True)
    if once and not port_given:
        settings = structs.replace(settings, port=_free_port())
    receiver = Receiver()
    url = await receiver.start()
    settings = structs.replace(settings, deliver_allow=[*settings.deliver_allow, url.split("/")[2]])
    started_s = time.monotonic()
    stop = asyncio.Event()
    on_end(stop)
    with _scratch() as scratch:
        if once and not settings.state_dir:
            settings = structs.replace(settings, state_dir=scratch)
        try:
            only_one(settings)
            async with AsyncExitStack() as cleaning, stack(settings) as found:
                note = runfile.write(found.settings, running(found))
                cleaning.callback(note.unlink, missing_ok=True)
                playing = asyncio.create_task(_play(found, receiver, url, console, started_s, once=once))
                asked = asyncio.create_task(stop.wait())
                await asyncio.wait({playing, asked}, return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    playing.cancel()
                    await asyncio.gather(playing, return_exceptions=True)
                    return 0 if receiver.received else 130
                result = await playing
        finally:
            await receiver.stop()
    if as_json:
        import json

        click.echo(json.dumps(result, ensure_ascii=False, indent=2))
    return 0 if result["passed"] else 1


@contextmanager
def _scratch() -> Iterator[str]:
    """A folder for logs and notes that stays when the demo fails: its logs say why."""
    folder = tempfile.mkdtemp(prefix="groundswell-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


async def _play(
    found: Stack, receiver: Receiver, url: str, console: Console, started_s: float, *, once: bool
) -> dict[str, Any]:
    progress = Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=console,
    )  # fmt: skip
    with progress:
        starting = progress.add_task("processes", total=len(STAGES))
        await found.ready(STAGES)
        progress.update(starting, completed=len(STAGES))
        _, receiver.secret = await endpoints.add(found.settings, found.topology, url, "demo receiver")
        lines = script.opening(time.time_ns() // 1_000_000)
        pushing, tagging = progress.add_task("pushed", total=len(lines)), progress.add_task("tagged", total=len(lines))
        producer = await open_producer(found.settings)
        try:
            pusher = Pusher(producer, found.topology.name(COMMENTS), b"demo", batch=25)
            for line in lines:
                await pusher.add(line)
                progress.update(pushing, completed=pusher.sent)
            await pusher.settle()
            progress.update(pushing, completed=len(lines))
            end_s = time.monotonic() + ALERT_S
            books = await _books(found)
            while time.monotonic() < end_s and not receiver.received:
                books = await _books(found)
                progress.update(tagging, completed=books.stages["tag"].read)
                await asyncio.sleep(0.2)
        finally:
            await close_producer(producer)
    if not receiver.received:
        restarted = "".join(
            f" {stage} ended {count} times and was started again." for stage, count in found.ended.items()
        )
        raise DemoFailed(
            f"No alert within {ALERT_S:.0f} s; tag has read {books.stages['tag'].read} of {len(lines)} documents.{restarted}",
            remedy=f"The logs are in {found.logs}.",
        )
    first = receiver.received[0]
    seconds = time.monotonic() - started_s
    console.print(_panel(first, seconds))
    console.print(f"The page: http://{found.settings.host}:{found.settings.port}/")
    if not once:
        console.print(found.services)
        console.print(
            "Stays up until Ctrl-C. In another terminal: groundswell watch, groundswell alerts, groundswell push FILE --topic news"
        )
        await _go_on(found)
    books = await _drained(found, len(lines))
    return _result(receiver, books, len(lines), seconds)


async def _books(found: Stack) -> Accounting:
    keys = Keys(found.topology.prefix)
    delivered = await lanes.books(found.redis, keys)
    return await account(found.redis, keys, found.topology.partitions(SCORED), delivered)


async def _drained(found: Stack, pushed: int) -> Accounting:
    """Wait until every stage has read what the one before it wrote."""
    end_s = time.monotonic() + DRAIN_S
    while True:
        books = await _books(found)
        stages = books.stages
        done = (
            stages["ingest"].read >= pushed
            and stages["tag"].read >= stages["ingest"].emitted
            and stages["aggregate"].read >= stages["tag"].emitted
            and not books.in_flight
        )
        if (done and books.balanced) or time.monotonic() > end_s:
            return books
        await asyncio.sleep(0.2)


async def _go_on(found: Stack) -> None:
    """The rest of the surge while people watch, then everyday reposts, until cancelled."""
    producer = await open_producer(found.settings)
    try:
        pusher = Pusher(producer, found.topology.name(COMMENTS), b"demo", batch=1)
        for line in script.rest_of_surge():
            await pusher.add(line)
            await pusher.settle()
            await asyncio.sleep(LATER_EVERY_S)
        for line in script.reposts(seed=int(time.time())):
            await pusher.add(line)
            await pusher.settle()
            await asyncio.sleep(REPOST_EVERY_S)
    finally:
        await close_producer(producer)


def _panel(first: Received, seconds: float) -> Panel:
    data = first.event["data"]
    lines = [
        f"{first.event['type']}  {data['subject']['id']}  {data['severity']}",
        safe(data["summary"]["en"], 300),
        safe(data["summary"]["zh"], 300),
        *(
            f"  · {safe(one['source'], 30)}: {safe(one['excerpt'] or one['title'], 110)}"
            for one in data["documents"][:3]
        ),
        f"signature {'verified' if first.verified else 'NOT VERIFIED'}, webhook-id {first.id}",
    ]
    return Panel(Text("\n".join(lines)), title=f"The alert, as its receiver saw it after {seconds:.0f} s")


def _result(receiver: Receiver, books: Accounting, pushed: int, seconds: float) -> dict[str, Any]:
    alerts = []
    for one in receiver.received:
        data = one.event["data"]
        onset_ms = times.parse_ms(data["started_at"])
        alerts.append(
            {
                "id": one.event["id"], "subject": data["subject"]["id"], "state": data["state"], "onset": data["started_at"],
                "onset_text": times.rfc3339(onset_ms).replace("T", " ")[:16] + " UTC",
                "negatives": data["observed"]["negatives"], "expected": data["expected"], "delivered_at": times.rfc3339(one.received_at),
            }
        )  # fmt: skip
    verified = sum(one.verified for one in receiver.received)
    fired = {alert["subject"] for alert in alerts}
    planted_only = fired == {script.PLANTED}
    return {
        "documents": pushed,
        "tagged": books.stages["tag"].applied,
        "scored_rows": books.stages["aggregate"].applied,
        "alerts": alerts,
        "webhook": {"received": len(receiver.received), "verified": verified},
        "seconds_to_first_alert": round(seconds, 1),
        "accounting": books.as_json(),
        "balanced": books.balanced,
        "wrong": books.wrong,
        "planted_only": planted_only,
        "passed": bool(alerts)
        and verified == len(alerts)
        and books.balanced
        and planted_only
        and books.stages["ingest"].read == pushed,
    }


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
