"""`groundswell audit`: who wrote what through the pages and the interface, who logged in, who was refused. Read from its topic."""

import asyncio
from typing import Any

import click
import msgspec

from groundswell.commands.desk import json_option, print_json
from groundswell.commands.processes import the_settings, topology_of
from groundswell.decisions import Audited
from groundswell.records import AuditEntry
from groundswell.running import runfile
from groundswell.settings import Settings
from groundswell.text import safe
from groundswell.times import rfc3339

READ_MOST = 200_000


@click.command()
@click.option("--since", default="7d", show_default=True, help="A moment with a zone, or how long ago: 2h, 7d, 52w.")
@click.option("--who", default="", help="Only this person.")
@click.option("--what", type=click.Choice([one.value for one in Audited]), help="Only this.")
@click.option("--limit", type=click.IntRange(1), default=200, show_default=True, help="The newest so many.")
@json_option
@click.pass_context
def audit(ctx: click.Context, since: str, who: str, what: str | None, limit: int, as_json: bool) -> None:
    """Writes, logins, refusals and exports, oldest first. A record is kept for 400 days."""
    from rich.table import Table

    from alerts.people.wants import past_ms
    from groundswell.clock import SystemClock
    from groundswell.terminal import out

    settings = runfile.joined(the_settings(ctx))
    at = past_ms(since, SystemClock().now_ms())
    known = [one for one in asyncio.run(entries(settings)) if one.at >= at]
    found = [one for one in known if who in ("", one.who) and what in (None, one.what)][-limit:]
    if as_json:
        print_json(found)
        return
    table = Table("at", "who", "role", "from", "what", "action", "object", "status", box=None)
    for one in found:
        times = f" ({one.times} times)" if one.times > 1 else ""
        action = safe(one.action, 90) + (f": {safe(one.reason, 40)}" if one.reason else "") + times
        status = str(one.status) if one.status else ""
        shown = (safe(one.who, 30) or one.how, one.role, safe(one.address, 40), one.what, action, safe(one.object, 60))
        table.add_row(rfc3339(one.at), *shown, status)
    out().print(table if found else "Nothing was written down.", markup=False)


async def entries(settings: Settings) -> list[AuditEntry]:
    """All records, oldest first, each once; at most the newest READ_MOST. Raises BrokerAway, TopicsMissing."""
    from stream import readback
    from stream.topology import AUDIT

    found: dict[str, AuditEntry] = {}
    decode = msgspec.json.Decoder(AuditEntry).decode

    async def take(values: list[bytes]) -> None:
        for value in values:
            try:
                one = decode(value)
            except (msgspec.MsgspecError, UnicodeDecodeError):  # of a version to come, or none of ours
                continue
            found[one.id] = one

    async with readback.reader(settings, topology_of(settings), AUDIT) as consumer:
        begins, ends = await readback.bounds(consumer)
        starts: dict[Any, int] = {one: max(begins[one], ends[one] - READ_MOST) for one in ends}
        await readback.read(consumer, starts, ends, take)
    return sorted(found.values(), key=lambda one: (one.at, one.id))
