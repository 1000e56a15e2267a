"""`groundswell feedback`: what people said of alerts and labels on the pages; and files of it, to learn from and to test with."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
import msgspec

from groundswell import times
from groundswell.commands.desk import json_option, print_json
from groundswell.commands.processes import the_settings, topology_of
from groundswell.errors import BadSetting
from groundswell.running import runfile
from groundswell.text import safe

if TYPE_CHECKING:
    from groundswell.feedback import LabelVote
    from groundswell.feedback_rows import Rows
    from groundswell.records import Feedback

SHOWN = 10  # of what was left out

since_option = click.option("--since", default="", help="Said since: 7d for a week ago, or 2026-11-21T18:00:00+08:00.")


@click.group(invoke_without_command=True)
@click.pass_context
def feedback(ctx: click.Context) -> None:
    """What people said of alerts and labels. Without a further word: list."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_)


@feedback.command(name="list")
@since_option
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many.")
@json_option
@click.pass_context
def list_(ctx: click.Context, since: str = "", limit: int = 50, as_json: bool = False) -> None:
    """Words of feedback, oldest first: comments, verdicts, labels."""
    found = _said(ctx, since)[-limit:]
    if as_json:
        print_json(found)
        return
    from rich.table import Table

    from groundswell.terminal import out

    table = Table("at", "who", "what", "about", "", box=None)
    for one in found:
        said = one.text or (f"{one.said or '?'} → {one.label}: {one.title or one.excerpt}" if one.label else "")
        about = one.subject or one.source
        table.add_row(times.rfc3339(one.at), safe(one.by, 30), one.kind, safe(about, 40), safe(said, 100))
    out().print(table if found else "Nobody has said anything yet: the page of an alert has the buttons.", markup=False)


@feedback.command()
@since_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="The file to write; else standard output.")
@click.option("--surges", is_flag=True, help="Not labels, but what was said of episodes: was it a surge?")
@click.pass_context
def export(ctx: click.Context, since: str, out: Path | None, surges: bool) -> None:
    """Write JSON lines: labels as rows that `finetune` and `evaluate` read, or with --surges a line an episode.

    The last word of a person counts. A label on which as many say this as that makes no row, and is named. A row holds the whole text as
    long as `tagged` keeps it (30 days), after that the deciding sentence; `from` says which. No row says who said it or who wrote it.
    """
    from groundswell import feedback_rows
    from groundswell.feedback import labels

    said = _said(ctx, since)
    if surges:
        lines: Sequence[Any] = feedback_rows.surges(said)
        _write(out, lines)
        click.echo(f"Episodes that were judged: {len(lines)}.", err=True)
        return
    settings = runfile.joined(the_settings(ctx))
    votes = labels(said)
    texts = asyncio.run(feedback_rows.texts(settings, topology_of(settings), votes))
    made = feedback_rows.rows(votes, texts)
    _write(out, made.rows)
    for line in _told(made):
        click.echo(line, err=True)


def _told(made: "Rows") -> Iterator[str]:
    whole = sum(row.taken_from == "text" for row in made.rows)
    yield f"Rows: {len(made.rows)}; {whole} of whole texts, {len(made.rows) - whole} of the deciding sentence alone."
    for votes, why in (
        (made.tied, "as many say this as that"),
        (made.unnamed, "what is left of the text does not name the company"),
        (made.textless, "nothing is left of the text"),
    ):
        if votes:
            yield f"{len(votes)} left out: {why}."
            yield from (f"  {_vote(vote)}" for vote in votes[:SHOWN])


def _vote(vote: "LabelVote") -> str:
    one = vote.newest
    counts = ", ".join(f"{label} {count}" for label, count in vote.votes.items())
    return f"{safe(one.source, 40)} {safe(one.document, 60)}  {safe(one.subject, 40)}  {counts}"


def _write(out: Path | None, lines: Sequence[Any]) -> None:
    with _opened(out) as file:
        for line in lines:
            file.write(msgspec.json.encode(line) + b"\n")


@contextlib.contextmanager
def _opened(out: Path | None) -> Iterator[IO[bytes]]:
    if out is None:
        yield click.get_binary_stream("stdout")
        return
    try:
        with out.open("wb") as file:
            yield file
    except OSError as error:
        raise BadSetting(
            f"{out} cannot be written: {error.strerror}.", remedy="Name a file in a folder of yours."
        ) from error


def _said(ctx: click.Context, since: str) -> "list[Feedback]":
    from alerts.people.wants import past_ms
    from groundswell.clock import SystemClock
    from groundswell.feedback import read

    settings = runfile.joined(the_settings(ctx))
    since_ms = past_ms(since, SystemClock().now_ms()) if since else 0
    return asyncio.run(read(settings, topology_of(settings), since_ms=since_ms))
