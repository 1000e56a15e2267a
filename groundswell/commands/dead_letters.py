"""`groundswell dead-letters`: what was refused and why, its bytes, and sending it again once the cause is mended."""

import asyncio
import base64
import sys
from typing import Any

import click
import msgspec
from rich.table import Table

from groundswell import times
from groundswell.clock import SystemClock
from groundswell.commands.bench import progress
from groundswell.commands.processes import the_settings, topology_of
from groundswell.errors import NoSuchLetter
from groundswell.records import DeadLetter
from groundswell.running import runfile
from groundswell.settings import Settings
from groundswell.terminal import out
from groundswell.text import safe
from stream.dead_letters import place, read, send_again

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
limit_option = click.option(
    "--limit", type=click.IntRange(1), default=50, show_default=True, help="The newest so many."
)
reason_option = click.option("--reason", help="Only this reason.")


@click.group(name="dead-letters", invoke_without_command=True)
@json_option
@limit_option
@reason_option
@click.pass_context
def dead_letters(ctx: click.Context, as_json: bool, limit: int, reason: str | None) -> None:
    """Inputs that were refused: list them, show one, send them again."""
    if ctx.invoked_subcommand is None:
        _list(ctx, as_json, limit, reason)


@dead_letters.command(name="list")
@json_option
@limit_option
@reason_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool, limit: int, reason: str | None) -> None:
    """List inputs that were refused: why, and where they came from."""
    _list(ctx, as_json, limit, reason)


def _list(ctx: click.Context, as_json: bool, limit: int, reason: str | None) -> None:
    letters = [letter for letter in _read(_settings(ctx)) if reason in (None, letter.reason)][-limit:]
    if as_json:
        click.echo(msgspec.json.encode([_printed(letter) for letter in letters]).decode())
        return
    table = Table("at", "stage", "reason", "topic/partition/offset/index", "what", "what to do", box=None)
    for letter in letters:
        to_do = f"sent again at {times.rfc3339(letter.replayed_at)}" if letter.replayed_at else letter.remedy
        table.add_row(
            times.rfc3339(letter.at), letter.stage, letter.reason, place(letter), safe(letter.message, 120), to_do
        )
    out().print(table if letters else "No dead letters.", markup=False)


@dead_letters.command()
@click.argument("where", metavar="TOPIC/PARTITION/OFFSET/INDEX")
@json_option
@click.option("--raw", is_flag=True, help="Write the original bytes to standard output, and nothing else.")
@click.pass_context
def show(ctx: click.Context, where: str, as_json: bool, raw: bool) -> None:
    """Show one with its bytes, as `list` names it."""
    (letter,) = _named(_read(_settings(ctx)), [where])
    if raw:
        sys.stdout.buffer.write(letter.payload)
        return
    if as_json:
        click.echo(msgspec.json.encode(_printed(letter)).decode())
        return
    lines = [
        f"{letter.reason} in {letter.stage}, {times.rfc3339(letter.at)}", safe(letter.message, 500), letter.remedy,
        f"key: {safe((letter.key or b'').decode('utf-8', 'replace'), 200) or 'none'}",
        f"sent again: {times.rfc3339(letter.replayed_at) if letter.replayed_at else 'no'}",
        f"{len(letter.payload):,} bytes{', the beginning only' if letter.truncated else ''}:",
        safe(letter.payload.decode("utf-8", "replace"), 4_000),
    ]  # fmt: skip
    out().print("\n".join(lines), markup=False)


@dead_letters.command()
@click.argument("where", metavar="[TOPIC/PARTITION/OFFSET/INDEX]...", nargs=-1)
@reason_option
@click.option(
    "--again", is_flag=True, help="Those too that were sent again before; what has counted does not count twice."
)
@json_option
@click.pass_context
def replay(ctx: click.Context, where: tuple[str, ...], reason: str | None, again: bool, as_json: bool) -> int:
    """Send the original bytes to the topic they came from: those named, of a reason, or all. Mend the cause before."""
    settings = _settings(ctx)
    letters = _read(settings)
    chosen = [
        letter
        for letter in (_named(letters, where) if where else letters)
        if reason in (None, letter.reason) and (again or not letter.replayed_at)
    ]
    with progress() as told:

        def hear(done: int) -> None:
            told("sending again", done / max(1, len(chosen)))

        result = asyncio.run(send_again(settings, topology_of(settings), SystemClock(), chosen, hear))
    if as_json:
        failed = [{"where": place(letter), "why": error.line} for letter, error in result.not_sent]
        click.echo(msgspec.json.encode({"sent": [place(one) for one in result.sent], "not_sent": failed}).decode())
    else:
        click.echo(f"{len(result.sent)} sent again.")
        for letter, error in result.not_sent:
            click.echo(f"{safe(place(letter), 300)}: not sent. {error.line}")
    return 1 if result.not_sent else 0


def _settings(ctx: click.Context) -> Settings:
    return runfile.joined(the_settings(ctx))


def _read(settings: Settings) -> list[DeadLetter]:
    return asyncio.run(read(settings, topology_of(settings)))


def _named(letters: list[DeadLetter], names: "list[str] | tuple[str, ...]") -> list[DeadLetter]:
    by_name = {place(letter): letter for letter in letters}
    for name in names:
        if name not in by_name:
            raise NoSuchLetter(f"No dead letter came from {safe(name, 200)}.")
    return [by_name[name] for name in names]


def _printed(letter: DeadLetter) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(letter)
    plain["payload"] = base64.b64encode(letter.payload).decode()
    plain["where"] = place(letter)
    return plain
