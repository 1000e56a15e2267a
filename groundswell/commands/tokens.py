"""`groundswell tokens`: who may use the pages and the interface, and as what. groundswell/tokens.py has the rules.

It writes to the control topic, and what it did to the audit trail; every dashboard knows within a second.
"""

import asyncio
from typing import TYPE_CHECKING, Any

import click

from groundswell.commands.desk import by_option, control_view, json_option, print_json, whoever
from groundswell.commands.processes import the_settings, topology_of
from groundswell.records import AuditEntry, Token
from groundswell.running import runfile
from groundswell.settings import Settings
from groundswell.text import safe
from groundswell.times import rfc3339
from groundswell.tokens import ROLES, is_over, made, named, printed

if TYPE_CHECKING:
    from groundswell.control import ControlView


@click.group()
def tokens() -> None:
    """Who may use the pages and the interface, and as what."""


@tokens.command()
@click.option("--name", required=True, help="Whose it is: she is named in acknowledgements and in the audit trail.")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    required=True,
    help="viewer looks; analyst acknowledges and silences too; operator does everything; feeder only pushes documents.",
)
@click.option("--days", type=click.FloatRange(0), default=0, help="It ends after so many; 0: when it is removed.")
@by_option
@json_option
@click.pass_context
def add(ctx: click.Context, name: str, role: Any, days: float, by: str, as_json: bool) -> None:
    """Make a token. It is shown this once; nothing that is kept can be turned back into it."""
    settings = _settings(ctx)
    now = _now_ms()
    author = whoever(ctx, by)
    token, text = made(_view(settings).tokens, name, role, days, author, now)
    asyncio.run(_write(settings, token, None, _entry("tokens add", token, author, now)))
    if as_json:
        print_json({**printed(token, now), "token": text})
        return
    click.echo(text)
    until = f" until {rfc3339(token.until)}" if token.until else ""
    click.echo(
        f"For {token.name}, {token.role}{until}. It is not shown again; take it away: groundswell tokens remove {token.id}",
        err=True,
    )
    if settings.access == "loopback":
        click.echo("Nobody is asked for it yet: set GROUNDSWELL_ACCESS=token for the dashboard.", err=True)


@tokens.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """All tokens, oldest first: whose, as what, until when."""
    from rich.table import Table

    from groundswell.terminal import out

    now = _now_ms()
    found = sorted(_view(_settings(ctx)).tokens.values(), key=lambda one: (one.at, one.id))
    if as_json:
        print_json([printed(one, now) for one in found])
        return
    table = Table("id", "name", "role", "until", "made", "by", box=None)
    for one in found:
        until = "removed" if not one.until else f"{rfc3339(one.until)}{' (over)' if is_over(one, now) else ''}"
        table.add_row(one.id, safe(one.name, 60), one.role, until, rfc3339(one.at), safe(one.by, 40))
    out().print(table if found else "No tokens.", markup=False)


@tokens.command()
@click.argument("token")
@by_option
@json_option
@click.pass_context
def remove(ctx: click.Context, token: str, by: str, as_json: bool) -> None:
    """Take TOKEN (its id, or a name that only one has) away: its sessions and streams end."""
    settings = _settings(ctx)
    gone = named(_view(settings).tokens, token)
    asyncio.run(_write(settings, None, gone.id, _entry("tokens remove", gone, whoever(ctx, by), _now_ms())))
    if as_json:
        print_json({"removed": gone.id})
    else:
        click.echo(f"Removed the token of {gone.name} ({gone.id}).")


def _entry(action: str, token: Token, by: str, now_ms: int) -> AuditEntry:
    from groundswell.decisions import Audited

    what = Audited.SECRET if action == "tokens add" else Audited.WRITE
    return AuditEntry(
        id=f"aud_{token.id}_{now_ms:x}", at=now_ms, what=what.value, action=f"groundswell {action}", who=safe(by, 80),
        how="command line", object=token.id,
    )  # fmt: skip


async def _write(settings: Settings, token: Token | None, gone: str | None, entry: AuditEntry) -> None:
    """The object, or that it is gone, then what was done. Raises BrokerAway, ProduceFailed."""
    import msgspec

    from groundswell import control
    from groundswell.clients.connect import acknowledged, close_producer, open_producer
    from stream.topology import AUDIT

    topology = topology_of(settings)
    producer = await open_producer(settings)
    try:
        if token is not None:
            await control.write(producer, topology, token)
        if gone is not None:
            await control.erase(producer, topology, gone)
        noted = await producer.send(topology.name(AUDIT), msgspec.json.encode(entry), key=entry.who.encode())
        await acknowledged([noted])
    finally:
        await close_producer(producer)


def _view(settings: Settings) -> "ControlView":
    return asyncio.run(control_view(settings, topology_of(settings)))


def _settings(ctx: click.Context) -> Settings:
    return runfile.joined(the_settings(ctx))


def _now_ms() -> int:
    from groundswell.clock import SystemClock

    return SystemClock().now_ms()
