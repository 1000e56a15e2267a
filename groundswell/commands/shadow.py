"""`groundswell shadow`: another sensitivity beside the live one, and where the two differ; stream/past/shadow.py runs it."""

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from groundswell import times
from groundswell.clients.connect import open_redis
from groundswell.clock import SystemClock
from groundswell.commands.backtest import in_force, rules_of, setting
from groundswell.commands.processes import the_settings, topology_of
from groundswell.commands.series import span_s
from groundswell.running import runfile
from groundswell.settings import Settings
from groundswell.text import safe

if TYPE_CHECKING:
    from stream.past.shadow import Ledger, Surge


@click.command()
@click.option(
    "--sensitivity",
    required=True,
    metavar="WORD|N",
    help="fewer, balanced, more, or false alarms a day over all subjects.",
)
@click.option(
    "--rules", "rule_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="R.toml",
    help="Rules of your own, against all that is told live.",
)  # fmt: skip
@click.option("--for", "span", metavar="SPAN", help="Stop after so long: 90m, 24h, 7d. Default: until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each difference, and one at the end.")
@click.pass_context
def shadow(ctx: click.Context, sensitivity: str | None, rule_file: Path | None, span: str | None, as_json: bool) -> int:
    """Run another sensitivity, or new rules, beside what is live, on the live stream, and list where the two differ.

    Nothing is written and nobody is alerted. It begins with what the running installation knows now.
    """
    if sensitivity is None and rule_file is None:
        raise click.UsageError("Give --sensitivity, or --rules.")
    settings = runfile.joined(the_settings(ctx))
    seconds = span_s(span, "--for") if span else None
    found = asyncio.run(_shadow(settings, sensitivity, rule_file, seconds, as_json=as_json))
    if as_json:
        click.echo(msgspec.json.encode({"at_the_end": found}).decode())
    else:
        click.echo(summary(found))
    return 0


async def _shadow(
    settings: Settings, sensitivity: str | None, rule_file: Path | None, seconds: float | None, *, as_json: bool
) -> dict[str, Any]:
    from stream.names.directory import directory_of
    from stream.past.shadow import Ledger, Shadow, run

    topology, clock, directory = topology_of(settings), SystemClock(), directory_of(settings)
    view = await in_force(settings, topology)
    policy = setting(sensitivity, settings, directory, view)
    force = rules_of(rule_file, settings, view) if rule_file else None
    name = rule_file.name if rule_file else str(sensitivity)
    ledger, stop = Ledger(clock.now_ms(), by_rules=rule_file is not None), asyncio.Event()
    beside = Shadow(
        policy, directory, lambda event: ledger.hear("shadow", event, clock.monotonic_s()), settings.idle_s, force
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    timer = loop.call_later(seconds, stop.set) if seconds else None
    began_s, redis = time.monotonic(), await open_redis(settings)
    try:
        await run(
            settings,
            topology,
            clock,
            redis,
            beside,
            ledger,
            stop,
            lambda news: _tell(news, name, as_json=as_json),
            lambda: click.echo(
                f"{name} runs beside {settings.sensitivity}. Differences appear here; Ctrl-C ends it.", err=True
            ),
        )
    finally:
        if timer is not None:
            timer.cancel()
        await redis.aclose()
    return _found(ledger, str(settings.sensitivity), name, time.monotonic() - began_s)


def _found(ledger: "Ledger", live: str, beside: str, seconds: float) -> dict[str, Any]:
    return {"live": live, "shadow": beside, "hours": round(seconds / 3600, 3), **ledger.summary()}


def _tell(news: "Sequence[Surge]", name: str, *, as_json: bool) -> None:
    for one in news:
        click.echo(msgspec.json.encode(one).decode() if as_json else line(one, name))


def line(one: "Surge", name: str) -> str:
    """A difference, in a sentence."""
    at = (one.shadow if one.live is None else one.live) or one.onset
    said = f"{at[:16]}  {safe(one.name.get('en') or one.subject, 40)} ({safe(one.subject, 40)}): "
    if one.live is None:
        said += f"{name} would fire, the live setting has not"
    elif one.shadow is None:
        said += f"the live setting fired, {name} would not"
    else:
        minutes = one.earlier_min or 0.0
        said += f"both now, {name} {abs(minutes):g} min {'earlier' if minutes >= 0 else 'later'}"
    return f"{said}; {one.negatives} negatives, {one.expected:.1f} expected."


def summary(found: dict[str, Any]) -> str:
    """What there was to see, at the end."""
    earlier = found["shadow_earlier_min"]
    lines = [
        f"{found['hours']:.1f} h: both fired {found['both']} times"
        + (f", {found['shadow']} {abs(earlier):g} min {'earlier' if earlier > 0 else 'later'}" if earlier else "")
        + f"; only {found['shadow']} {len(found['only_shadow'])} times, "
        + f"only the live setting ({found['live']}) {len(found['only_live'])} times."
    ]
    for kind in ("only_shadow", "only_live"):
        who = f"only {found['shadow']}" if kind == "only_shadow" else "only live"
        for one in found[kind]:
            at = times.rfc3339(times.parse_ms(one["shadow"] or one["live"]))[:16]
            lines.append(
                f"  {who:<16} {at}  {safe(one['subject'], 40)}  {one['negatives']} negatives, {one['expected']:.1f} expected"
            )
    return "\n".join(lines)
