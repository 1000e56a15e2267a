"""`groundswell ack` and `unack`: say that somebody has seen an episode, or take it back."""

import click

from groundswell.asked import AskedAcknowledgement
from groundswell.commands.desk import at_desk, by_option, json_option, print_json, whoever
from groundswell.text import safe


@click.command()
@click.argument("episode")
@by_option
@click.option("--note", default="", help="What others should know.")
@click.option("--assign", "assigned", default="", help="Who looks into it.")
@json_option
@click.pass_context
def ack(ctx: click.Context, episode: str, by: str, note: str, assigned: str, as_json: bool) -> None:
    """Say that EPISODE was seen: no more repeats, no escalation; who heard it fire is told."""
    asked = AskedAcknowledgement(by=by, note=note, assigned=assigned)
    made = at_desk(ctx, lambda desk: desk.acknowledge(episode, asked, by=whoever(ctx, by)))
    if as_json:
        print_json(made)
        return
    rest = f", assigned to {safe(made.assigned)}" if made.assigned else ""
    click.echo(f"{episode} is acknowledged by {safe(made.by)}{rest}.")


@click.command()
@click.argument("episode")
@json_option
@click.pass_context
def unack(ctx: click.Context, episode: str, as_json: bool) -> None:
    """Take the acknowledgement of EPISODE back: repeats and escalation go on."""
    at_desk(ctx, lambda desk: desk.unacknowledge(episode))
    if as_json:
        print_json({"episode": episode, "acknowledged": False})
    else:
        click.echo(f"{safe(episode)} is open again: nobody has acknowledged it.")
