"""`groundswell deliveries`: every try to hand an alert over and its answer; and to send again what was missed."""

from typing import TYPE_CHECKING

import click

from groundswell.asked import AskedReplay
from groundswell.commands.desk import at_desk, by_option, json_option, print_json, wait_option, whoever
from groundswell.records import DeliveryOutcome
from groundswell.text import safe
from groundswell.times import rfc3339

if TYPE_CHECKING:
    from alerts.people.desk import Desk

limit_option = click.option(
    "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="The newest so many."
)


@click.group(invoke_without_command=True)
@json_option
@limit_option
@click.pass_context
def deliveries(ctx: click.Context, as_json: bool, limit: int) -> None:
    """Every try to hand an alert over. Without a further word: list."""
    if ctx.invoked_subcommand is None:
        _list(ctx, "", "", limit, as_json=as_json)


@deliveries.command(name="list")
@click.option("--endpoint", default="", help="Only at this one (its id or name).")
@click.option("--cursor", default="", help="Go on after a page: its `next`.")
@limit_option
@json_option
@click.pass_context
def list_(ctx: click.Context, endpoint: str, cursor: str, limit: int, as_json: bool) -> None:
    """Tries, newest first."""
    _list(ctx, endpoint, cursor, limit, as_json=as_json)


@deliveries.command()
@click.argument("event")
@click.option(
    "--lang", type=click.Choice(["en", "zh"]), default="en", show_default=True, help="Language of the answer."
)
@json_option
@click.pass_context
def show(ctx: click.Context, event: str, lang: str, as_json: bool) -> int:
    """All tries of EVENT (its id, or an episode's), oldest first, each with its answer."""
    from alerts.people.delivery_log import in_words

    rows = at_desk(ctx, lambda desk: desk.tries(event))
    if as_json:
        print_json(rows)
        return 0 if rows else 1
    for row in rows:
        click.echo(
            f"{rfc3339(row.at)}  {row.endpoint}  {row.type or row.event}  try {row.attempt}: {safe(in_words(row, lang), 400)}"
        )
    if not rows:
        click.echo("No try of it is in the log: it was not planned for any endpoint, or the log no longer holds it.")
    return 0 if rows else 1


@deliveries.command()
@click.argument("endpoint")
@click.option(
    "--since", required=True, help="Events written since: 2h for two hours ago, or 2026-11-21T18:00:00+08:00."
)
@click.option("--all", "everything", is_flag=True, help="Those that were delivered, too.")
@by_option
@wait_option
@json_option
@click.pass_context
def replay(
    ctx: click.Context, endpoint: str, since: str, everything: bool, by: str, wait_s: float, as_json: bool
) -> int:
    """Send ENDPOINT (its id or name) again what it missed, under the same ids."""
    from groundswell.commands.endpoints import told

    asked = AskedReplay(since=since, all=everything, by=by)
    return told(
        at_desk(ctx, lambda desk: desk.replay(endpoint, asked, by=whoever(ctx, by), wait_s=wait_s)), as_json=as_json
    )


def _list(ctx: click.Context, endpoint: str, cursor: str, limit: int, *, as_json: bool) -> None:
    from rich.table import Table

    from groundswell.terminal import out

    async def look(desk: "Desk") -> tuple[list[DeliveryOutcome], str]:
        return await desk.deliveries(endpoint, cursor=cursor, limit=limit)

    rows, following = at_desk(ctx, look)
    if as_json:
        print_json(rows)
        return
    table = Table("at", "endpoint", "event", "attempt", "outcome", "status", "ms", "why", box=None)
    for row in rows:
        table.add_row(rfc3339(row.at), row.endpoint, row.event, str(row.attempt), row.outcome, str(row.status or ""),
                      str(row.latency_ms), safe(row.reason, 80))  # fmt: skip
    out().print(table if rows else "No deliveries.", markup=False)
    if following:
        click.echo(f"More: --cursor {following}", err=True)
