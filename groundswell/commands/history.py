"""`groundswell import-history`: what a file knows of subjects becomes the baseline of an installation; stream/past/history.py says how."""

import asyncio
import time
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click
import msgspec

from groundswell.clients.connect import close_producer, open_producer, open_redis
from groundswell.commands import rebuild as rebuilding
from groundswell.commands.processes import the_settings, topology_of
from groundswell.errors import TopicsMissing
from groundswell.keys import Keys
from groundswell.running import runfile
from groundswell.settings import Settings
from groundswell.terminal import out
from groundswell.text import safe

if TYPE_CHECKING:
    from stream.past.history import Learned, Own
    from stream.past.past_file import PastFile

SHOWN = 40
RECORDS_AT_ONCE = 500


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--dry-run", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--skip-bad", is_flag=True, help="Leave lines out that cannot be read, and count them.")
@click.option("--no-wait", is_flag=True, help="Return once it is asked for.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def import_history(ctx: click.Context, file: str, dry_run: bool, skip_bad: bool, no_wait: bool, as_json: bool) -> int:
    """Teach an installation what is usual, from before it saw anything: it need not start blind.

    FILE holds counts as CSV, subject,minute,negative,mentions (or hour), or records of the topic tagged, one a line. A minute that is
    not there had none. A subject that knows as much by itself is left alone, so the same file twice changes nothing. No alert is made
    of the past. Running aggregates then count anew (groundswell rebuild), and alerts wait meanwhile.
    """
    from stream.names.directory import directory_of
    from stream.past import past_file

    settings = runfile.joined(the_settings(ctx))
    directory = directory_of(settings)
    past = past_file.read(file, topology_of(settings), skip_bad=skip_bad, name=directory.resolve)
    quiet: AbstractContextManager[rebuilding.Show] = nullcontext(lambda _: None)
    with quiet if as_json or no_wait or dry_run else rebuilding.bar() as show:
        found = asyncio.run(_import(settings, past, show, dry_run=dry_run, wait=not no_wait))
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode({"file": file, **found}), indent=2).decode())
    else:
        _print(found, dry_run=dry_run)
    return 0


async def _import(
    settings: Settings, past: "PastFile", show: rebuilding.Show, *, dry_run: bool, wait: bool
) -> dict[str, Any]:
    from stream.detection import lines
    from stream.names.directory import directory_of
    from stream.past import history

    topology, directory = topology_of(settings), directory_of(settings)
    rules = lines.policy(settings, directory)
    subjects = sorted(past.subjects)
    redis = await open_redis(settings)
    try:
        known = await history.standing(redis, Keys(topology.prefix), topology, subjects)
        learned = {one.subject: one for one in history.learn(past, known, rules, directory)}
        told = [
            _told(subject, learned.get(subject), known.get(subject), rules.settings, directory) for subject in subjects
        ]
        new = [learned[one["subject"]] for one in told if one["changes"]]
        found: dict[str, Any] = {
            "form": past.form, "days": round((past.last_ms - past.first_ms) / 86_400_000, 2), "skipped": past.skipped,
            "dry_run": dry_run, "changed": len(new), "left_alone": len(told) - len(new), "subjects": told,
        }  # fmt: skip
        if dry_run or not new:
            return found
        await _write(settings, new)
        done, alive = await rebuilding.ask(settings, 0, show, wait=wait)
        found |= {"aggregates": alive, "complete": bool(alive) and done.done == done.partitions}
        if found["complete"]:
            now = await history.standing(redis, Keys(topology.prefix), topology, [one.subject for one in new])
            for one in told:
                if one["changes"]:
                    own = now.get(one["subject"])
                    one["now"] = history.in_words(own.row if own else None, rules.settings)
        return found
    finally:
        await redis.aclose()


def _told(subject: str, one: "Learned | None", own: "Own | None", settings: Any, directory: Any) -> dict[str, Any]:
    """What becomes of one subject, in words."""
    from groundswell import times
    from stream.past import history

    before = own.row if own else None
    changes = one is not None and history.says_more(one.row, before)
    after = history.laid(one.row, before, subject, directory, settings) if one is not None and changes else before
    return {
        "subject": subject, "changes": changes, "before": history.in_words(before, settings), "after": history.in_words(after, settings),
        "from": times.rfc3339(one.first_ms) if one else None, "until": times.rfc3339(one.until_ms) if one else None,
    }  # fmt: skip


async def _write(settings: Settings, new: "list[Learned]") -> None:
    """Raises TopicsMissing, ProduceFailed."""
    from stream import baselines, create
    from stream.past import history

    topology = topology_of(settings)
    incarnation = await create.incarnation(settings, topology)
    if not incarnation:
        raise TopicsMissing("The control topic names no incarnation of the topics.")
    now_ms = time.time_ns() // 1_000_000
    records = [history.record(one, topology, incarnation, settings.step_s, now_ms) for one in new]
    producer = await open_producer(settings)
    try:
        for at in range(0, len(records), RECORDS_AT_ONCE):
            await baselines.write(producer, topology, records[at : at + RECORDS_AT_ONCE])
    finally:
        await close_producer(producer)


def _print(found: dict[str, Any], *, dry_run: bool) -> None:
    from rich import box
    from rich.table import Table

    console = out()
    table = Table("subject", "before", "after" if dry_run or "complete" not in found else "now", box=box.SIMPLE_HEAD)
    changed = [one for one in found["subjects"] if one["changes"]]
    for one in [*changed, *(one for one in found["subjects"] if not one["changes"])][:SHOWN]:
        table.add_row(
            safe(one["subject"], 40), one["before"], one.get("now", one["after"]) if one["changes"] else "left alone"
        )
    console.print(table, markup=False)
    if len(found["subjects"]) > SHOWN:
        console.print(f"... and {len(found['subjects']) - SHOWN} more: --json shows all.", markup=False)
    verb = "would learn" if dry_run else "learned"
    said = f"{found['days']:g} days; {found['changed']} subjects {verb} from them, {found['left_alone']} left alone."
    if found["skipped"]:
        said += f" {found['skipped']} lines could not be read."
    if "complete" in found and not found["complete"]:
        said += " It is in force once the aggregates have counted anew: see `groundswell health`."
    console.print(said, markup=False, highlight=False, soft_wrap=True)
