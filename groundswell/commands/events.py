"""`groundswell events check FILE`: whether a file of scheduled events can be used, and what it says."""

from pathlib import Path

import click
from rich.table import Table

from groundswell.commands.processes import the_settings
from groundswell.terminal import out
from groundswell.text import safe
from groundswell.times import rfc3339

SHOWN = 20


@click.group()
def events() -> None:
    """Scheduled events: when more talk than usual is announced."""


@events.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.pass_context
def check(ctx: click.Context, file: Path) -> int:
    """Read FILE (CSV: subject,start,end,kind,factor) as aggregate would. Exit status 1 when a row is wrong.

    It is put in force by the setting `events` when aggregate starts.
    """
    from stream.detection import scheduled
    from stream.names import entities
    from stream.names.directory import Directory
    from stream.names.pack_answers import Packs
    from stream.names.packs import packs_of

    settings = the_settings(ctx)
    directory = Directory(entities.load_for(settings), Packs(packs_of(settings)).topics)
    found, wrong = scheduled.check(file, directory.resolve)
    for sentence in wrong:
        click.echo(f"NO  {safe(sentence, 300)}")
    table = Table("subject", "from", "until", "kind", "factor", box=None)
    for one in sorted(found, key=lambda one: (one.start_ms, one.subject))[:SHOWN]:
        table.add_row(one.subject, rfc3339(one.start_ms), rfc3339(one.end_ms), one.kind, f"{one.factor:g}")
    if found:
        out().print(table, markup=False)
    more = f", the first {SHOWN} are shown" if len(found) > SHOWN else ""
    click.echo(f"{len(found)} events can be used{more}; {len(wrong)} rows are wrong.")
    return 1 if wrong else 0
