"""`groundswell silences`: no messages about something for a time; what still fires at the end is told then."""

from typing import TYPE_CHECKING

import click

from groundswell.asked import AskedSilence
from groundswell.commands.desk import at_desk, by_option, json_option, print_json, whoever
from groundswell.records import Silence
from groundswell.text import safe
from groundswell.times import rfc3339

if TYPE_CHECKING:
    from alerts.people.desk import Desk


@click.group()
def silences() -> None:
    """No messages about something for a time."""


@silences.command()
@click.option("--subject", "subjects", multiple=True, help="About this subject; may be repeated.")
@click.option(
    "--match",
    "conditions",
    multiple=True,
    help='Where this holds: "topic in fraud,default", "severity=warning"; all must.',
)
@click.option("--all", "everything", is_flag=True, help="About everything.")
@click.option("--until", default="", help="Its end: 2026-11-21T18:00:00+08:00.")
@click.option("--for", "span", default="", help="Or how long: 30m, 2h, 3d.")
@click.option("--reason", required=True, help="Why, for those who wonder.")
@by_option
@json_option
@click.pass_context
def add(
    ctx: click.Context, subjects: tuple[str, ...], conditions: tuple[str, ...], everything: bool, until: str, span: str,
    reason: str, by: str, as_json: bool,
) -> None:  # fmt: skip
    """Keep messages back for a time."""
    asked = AskedSilence(
        subjects=list(subjects), matchers=list(conditions), all=everything, until=until, span=span, reason=reason, by=by
    )
    made = at_desk(ctx, lambda desk: desk.silence(asked, by=whoever(ctx, by)))
    if as_json:
        print_json(made)
        return
    click.echo(f"Silence {made.id} until {rfc3339(made.until)}: {about(made)}.")
    click.echo(f"What still fires then is told then. End it now: groundswell silences end {made.id}")


@silences.command(name="list")
@click.option("--all", "over_too", is_flag=True, help="Those that are over, too.")
@json_option
@click.pass_context
def list_(ctx: click.Context, over_too: bool, as_json: bool) -> None:
    """Silences that hold now; the one that ends first before the others."""
    from rich.table import Table

    from groundswell.terminal import out

    async def look(desk: "Desk") -> list[Silence]:
        return desk.silences(over_too=over_too)

    found = at_desk(ctx, look)
    if as_json:
        print_json(found)
        return
    table = Table("id", "until", "about", "by", "reason", box=None)
    for one in found:
        table.add_row(one.id, rfc3339(one.until), about(one), safe(one.by, 40), safe(one.reason, 120))
    out().print(table if found else "No silences.", markup=False)


@silences.command()
@click.argument("silence")
@json_option
@click.pass_context
def end(ctx: click.Context, silence: str, as_json: bool) -> None:
    """End SILENCE (its id) now: what still fires is told."""
    at_desk(ctx, lambda desk: desk.end_silence(silence))
    if as_json:
        print_json({"ended": silence})
    else:
        click.echo(f"Ended {silence}.")


def about(one: Silence) -> str:
    """What is silenced, in a few words."""
    return " and ".join(part for part in (" or ".join(one.subjects), *one.matchers) if part) or "everything"
