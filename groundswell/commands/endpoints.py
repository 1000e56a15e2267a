"""`groundswell endpoints`: the places that alerts go to. alerts/people/desk.py does what these commands ask for."""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click
import msgspec
from msgspec import UNSET

from groundswell.asked import AskedEndpoint, AskedRotation, EndpointChange, Listed, Result
from groundswell.commands.desk import at_desk, by_option, json_option, print_json, wait_option, whoever
from groundswell.records import Channel, QuietHours
from groundswell.text import safe
from groundswell.times import rfc3339

F = TypeVar("F", bound=Callable[..., Any])
SEVERITIES = click.Choice(["notice", "warning", "critical"])


@click.group()
def endpoints() -> None:
    """The places that alerts go to."""


def _wishes(command: F) -> F:
    """What an endpoint wants to hear, and how: the same options for `add` and `change`."""
    options = (
        click.option("--lang", type=click.Choice(["en", "zh"]), help="Language of the messages; en by default."),
        click.option("--subject", "subjects", multiple=True, help="Only alerts about this subject; may be repeated."),
        click.option(
            "--topic", "topics", multiple=True, help="Only alerts about this topic, such as fraud; may be repeated."
        ),
        click.option(
            "--language", "languages", multiple=True, help="Only alerts that show a document in this language."
        ),
        click.option("--severity", type=SEVERITIES, help="The least that is told; warning by default."),
        click.option("--quiet", help="Not in these hours, as 22:00-07:00; `off` for none."),
        click.option("--zone", help="Time zone of the quiet hours, as Asia/Shanghai."),
        click.option("--unless", type=SEVERITIES, help="What breaks quiet hours; critical by default."),
        click.option(
            "--repeat", help="Say it again so often while it fires unacknowledged: minutes, or 1h; 0 for never."
        ),
        click.option("--escalate-after", help="Hear only what nobody acknowledged for so long: minutes, or 1h."),
        click.option("--drills/--no-drills", default=None, help="Take part in fire drills."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@endpoints.command()
@click.argument("url")
@click.option("--name", required=True, help="What people call it.")
@click.option("--channel", type=click.Choice(get_args(Channel)), help="By default what the address says, else webhook.")
@click.option("--secret", default="", help="A chat robot's signing secret or a routing key; webhooks get a new one.")
@_wishes
@click.option("--v1a", is_flag=True, help="Sign with Ed25519: the receiver holds a public key only.")
@json_option
@click.pass_context
def add(
    ctx: click.Context,
    /,
    url: str,
    name: str,
    channel: str | None,
    secret: str,
    v1a: bool,
    as_json: bool,
    **wishes: Any,
) -> None:
    """Send alerts to URL (https://…, or mailto: and up to twenty addresses by comma). The signing secret is shown this once."""
    asked = msgspec.convert(
        {"url": url, "name": name, "channel": channel or "", "secret": secret, "v1a": v1a, **_wished(wishes)},
        AskedEndpoint,
    )
    made, told = at_desk(ctx, lambda desk: desk.add(asked))
    if as_json:
        print_json({**msgspec.to_builtins(made), "secret": told})
        return
    click.echo(f"Added {safe(made.name)} ({made.shown}, {made.channel}) as {made.id}.")
    _tell_secret(made, told)
    click.echo(f"Try it: groundswell endpoints test {made.id}")


@endpoints.command()
@click.argument("endpoint")
@click.option("--name", help="What people call it.")
@click.option("--url", help="Its new address.")
@_wishes
@json_option
@click.pass_context
def change(
    ctx: click.Context, /, endpoint: str, as_json: bool, name: str | None, url: str | None, **wishes: Any
) -> None:
    """Change what ENDPOINT (its id or name) hears and how. --subject '' hears all subjects again."""
    given = {name: value for name, value in {"name": name, "url": url}.items() if value is not None}
    asked = msgspec.convert({**given, **_wished(wishes)}, EndpointChange)
    if all(getattr(asked, field) is UNSET for field in asked.__struct_fields__):
        raise click.UsageError("Nothing to change was given.")
    _show(at_desk(ctx, lambda desk: desk.change(endpoint, asked)), as_json=as_json)


@endpoints.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """All endpoints, oldest first, and how they fare."""
    from rich.table import Table

    from groundswell.terminal import out

    found = at_desk(ctx, lambda desk: desk.endpoints())
    if as_json:
        print_json(found)
        return
    table = Table("id", "name", "channel", "address", "state", "waiting", "hears", "since", box=None)
    for one in found:
        table.add_row(
            one.id, safe(one.name, 80), one.channel, one.shown, one.state, str(one.waiting), hears(one), rfc3339(one.created_at)
        )  # fmt: skip
    nothing = "No endpoints. Add one: groundswell endpoints add URL --name NAME"
    out().print(table if found else nothing, markup=False)


@endpoints.command()
@click.argument("endpoint")
@json_option
@click.pass_context
def show(ctx: click.Context, endpoint: str, as_json: bool) -> None:
    """All that is known of ENDPOINT (its id or name) but its address and secret."""
    _show(at_desk(ctx, lambda desk: desk.endpoint(endpoint)), as_json=as_json)


@endpoints.command()
@click.argument("endpoint")
@by_option
@wait_option
@json_option
@click.pass_context
def test(ctx: click.Context, endpoint: str, by: str, wait_s: float, as_json: bool) -> int:
    """Send ENDPOINT a test event and say what it answered. Exit status 1 when it was not delivered."""
    return told(at_desk(ctx, lambda desk: desk.test(endpoint, by=whoever(ctx, by), wait_s=wait_s)), as_json=as_json)


@endpoints.command()
@click.argument("endpoint")
@click.option("--hours", default=24.0, show_default=True, help="The old secret signs too for so long; 0: never again.")
@click.option("--secret", default="", help="The new secret, where its service makes it.")
@click.option("--v1a", is_flag=True, help="Go over to Ed25519: the receiver holds a public key only.")
@json_option
@click.pass_context
def rotate(ctx: click.Context, endpoint: str, hours: float, secret: str, v1a: bool, as_json: bool) -> None:
    """Give ENDPOINT a new signing secret, shown this once; for --hours requests carry both signatures."""
    asked = AskedRotation(secret=secret, v1a=v1a, hours=hours)
    found, told_once = at_desk(ctx, lambda desk: desk.rotate(endpoint, asked))
    if as_json:
        print_json({**msgspec.to_builtins(found), "secret": told_once})
        return
    click.echo(f"{safe(found.name)} ({found.id}) has a new secret.")
    _tell_secret(found, told_once)
    if found.old_secret_until:
        click.echo(f"The old one signs too until {rfc3339(found.old_secret_until)}: change the receiver before.")


@endpoints.command()
@click.argument("endpoint")
@json_option
@click.pass_context
def disable(ctx: click.Context, endpoint: str, as_json: bool) -> None:
    """Send nothing to ENDPOINT until it is enabled."""
    found = at_desk(ctx, lambda desk: desk.disable(endpoint))
    if as_json:
        print_json(found)
        return
    click.echo(f"{safe(found.name)} ({found.id}) gets nothing until: groundswell endpoints enable {found.id}")


@endpoints.command()
@click.argument("endpoint")
@by_option
@wait_option
@json_option
@click.pass_context
def enable(ctx: click.Context, endpoint: str, by: str, wait_s: float, as_json: bool) -> int:
    """Try ENDPOINT again, whether people switched it off or its failures did."""
    result = at_desk(ctx, lambda desk: desk.enable(endpoint, by=whoever(ctx, by), wait_s=wait_s))
    status = told(result, as_json=as_json)
    if not as_json:
        click.echo(f"Send what it missed: groundswell deliveries replay {result.endpoint} --since 24h")
    return status


@endpoints.command()
@click.argument("endpoint")
@json_option
@click.pass_context
def remove(ctx: click.Context, endpoint: str, as_json: bool) -> None:
    """Forget ENDPOINT (its id or name); what waits for it is dropped."""
    removed = at_desk(ctx, lambda desk: desk.remove(endpoint))
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo(f"Removed {removed}.")


def told(result: Result, *, as_json: bool) -> int:
    """Say what came of an errand; the exit status."""
    if as_json:
        print_json(result)
    else:
        click.echo(f"{result.endpoint}: {safe(result.says, 400)}")
    return 0 if result.well else 1


def hears(one: Listed) -> str:
    """What an endpoint hears, in a few words."""
    parts = [
        *one.subjects,
        *(f"topic {topic}" for topic in one.topics),
        *(f"language {lang}" for lang in one.languages),
    ]
    if one.severity != "warning":
        parts.append(one.severity)
    if one.escalates_after_s:
        parts.append(f"unacknowledged for {one.escalates_after_s // 60} min")
    return ", ".join(parts) or "all"


def _show(one: Listed, *, as_json: bool) -> None:
    if as_json:
        print_json(one)
        return
    quiet = f"{one.quiet.start}-{one.quiet.end} {one.quiet.zone}, unless {one.quiet.unless}" if one.quiet else "none"
    lines = {
        "id": one.id, "name": safe(one.name, 80), "channel": f"{one.channel}, messages in {one.lang}", "address": one.shown,
        "state": _fares(one), "waiting": one.waiting, "hears": hears(one), "quiet hours": quiet,
        "repeats": f"every {one.repeat_s // 60} min" if one.repeat_s else "never", "drills": "yes" if one.drills else "no",
        "since": rfc3339(one.created_at),
    }  # fmt: skip
    if one.public_key:
        lines["public key"] = one.public_key
    if one.old_secret_until:
        lines["old secret"] = f"signs too until {rfc3339(one.old_secret_until)}"
    click.echo("\n".join(f"{label:<12} {value}" for label, value in lines.items()))


def _fares(one: Listed) -> str:
    since = f" since {rfc3339(one.state_since)}" if one.state_since and one.reason else ""
    return f"{one.state}{since}: {safe(one.reason, 60)}, {one.failures} failures in a row" if one.reason else one.state


def _tell_secret(one: Listed, secret: str) -> None:
    if secret:
        click.echo(f"Signing secret, shown this once: {secret}")
    elif one.public_key:
        click.echo(f"Public key for the receiver: {one.public_key}")
    if one.channel == "webhook":
        click.echo("Verify requests with any Standard Webhooks library: docs/webhooks.md.")


def _wished(options: dict[str, Any]) -> dict[str, Any]:
    """Options as fields of AskedEndpoint and EndpointChange; what was not given is left out. Raises WrongShape."""
    fields: dict[str, Any] = {
        name: list(options[name]) if isinstance(options[name], tuple) else options[name]
        for name in ("lang", "subjects", "topics", "languages", "severity", "drills")
        if options[name] not in (None, ())
    }
    if options["quiet"] is not None or options["zone"] or options["unless"]:
        fields["quiet"] = _quiet(options["quiet"], options["zone"], options["unless"])
    if options["repeat"] is not None:
        fields["repeat_s"] = _minutes(options["repeat"])
    if options["escalate_after"] is not None:
        fields["escalates_after_s"] = _minutes(options["escalate_after"])
    return fields


def _quiet(hours: str | None, zone: str | None, unless: Any) -> QuietHours | None:
    from alerts.people import wants

    if hours == "off":
        return None
    if hours is None or not zone:
        raise click.UsageError("Quiet hours need both: --quiet 22:00-07:00 --zone Asia/Shanghai.")
    return wants.quiet_hours(hours, zone, unless or "critical")


def _minutes(text: str) -> int:
    """Seconds of "30" (minutes) or of a span such as "1h"."""
    from alerts.people import wants

    return 60 * int(text) if text.isascii() and text.isdigit() and len(text) < 6 else wants.span_s(text)
