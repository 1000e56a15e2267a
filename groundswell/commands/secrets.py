"""`groundswell secrets rotate`: seal every endpoint anew with the first key of GROUNDSWELL_SECRET_KEY."""

import click

from groundswell.commands.desk import at_desk, json_option, print_json


@click.group()
def secrets() -> None:
    """The keys that endpoint addresses and secrets are sealed with."""


@secrets.command()
@json_option
@click.pass_context
def rotate(ctx: click.Context, as_json: bool) -> int:
    """Seal all endpoints anew with the first key of the ring.

    Set GROUNDSWELL_SECRET_KEY="new,old" for every process and here, run this, then take the old key away. Exit status 1 when an
    endpoint could not be opened by any key.
    """
    rewritten, unreadable = at_desk(ctx, lambda desk: desk.reseal())
    if as_json:
        print_json({"rewritten": rewritten, "unreadable": unreadable})
    else:
        click.echo(
            f"{len(rewritten)} endpoints sealed anew."
            if rewritten
            else "All that can be read is sealed with the first key."
        )
        for one in unreadable:
            click.echo(f"{one} opens with none of the keys: add its old key to the ring, or add the endpoint anew.")
        if rewritten and not unreadable:
            click.echo("The old key is needed no more, once every process has read this.")
    return 1 if unreadable else 0
