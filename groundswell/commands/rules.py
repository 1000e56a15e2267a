"""`groundswell rules check | apply | list | remove`: rules of a user's own, from a TOML file to what is in force; docs/rules.md.

stream/rulebook/rule_desk.py does it, for the pages too.
"""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundswell.commands.desk import by_option, json_option, print_json, whoever
from groundswell.commands.processes import the_settings
from groundswell.commands.tuning import at_rules
from groundswell.errors import BadRule, NothingRuns
from groundswell.running import runfile
from groundswell.settings import Settings
from groundswell.text import safe
from groundswell.times import rfc3339

if TYPE_CHECKING:
    from groundswell.asked_tuning import Board, Meaning, RuleRow
    from groundswell.control import ControlView
    from groundswell.running.beat import Beat
    from stream.rulebook.rule_desk import RuleDesk
    from stream.rulebook.rules import Rule

LANGUAGES = ("en", "zh")

wait_option = click.option(
    "--wait", "wait_s", type=click.FloatRange(0, 600), default=10.0, show_default=True,
    help="Seconds to wait until every aggregate process has it.",
)  # fmt: skip


@click.group()
def rules() -> None:
    """Alerts by rules of your own, beside the detector's. No bound on false alarms holds for them."""


@rules.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Validate FILE and say in words what each of its rules means. Needs no broker; watchlists are looked at by `apply`."""
    from stream.rulebook.rule_check import said

    settings = the_settings(ctx)
    with suppress(NothingRuns):
        settings = runfile.joined(settings)  # the companies and packs that `apply` would be judged by
    _, made, matched = checked(settings, file, None)
    _show([said(rule, matched[rule.id]) for rule in made], as_json=as_json)


@rules.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@wait_option
@by_option
@json_option
@click.pass_context
def apply(ctx: click.Context, file: Path, wait_s: float, by: str, as_json: bool) -> None:
    """Put the rules of FILE in force, in place of those that came of a file of this name before."""
    from groundswell.asked_tuning import AskedRules

    text = _read(file)

    async def put(desk: "RuleDesk") -> "tuple[list[RuleRow], list[Meaning], str, list[Beat] | None]":
        rows = await desk.apply(AskedRules(text=text, name=file.name), by=whoever(ctx, by))
        meant = (await desk.check(text, file.name)).rules
        return rows, meant, desk.revision, await desk.until_in_force(wait_s)

    rows, meant, revision, running = at_rules(ctx, put)
    object_id = rows[0].set
    if as_json:
        print_json(
            {"id": object_id, "rules": [one.id for one in meant], "revision": revision, "in_force": running is not None}
        )
        return
    _show(meant, as_json=False)
    click.echo(f"Applied as {object_id}, revision {revision}. {_in_force(running)}")


@rules.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """The rules as in force, which processes run them, and how often each matched."""

    async def look(desk: "RuleDesk") -> "Board":
        return await desk.board()

    board = at_rules(ctx, look)
    if as_json:
        print_json({
            "revision": board.revision, "processes": board.processes, "in_force_in": board.in_force_in,
            "rules": [_row(one) for one in board.items],
        })  # fmt: skip
        return
    from rich.table import Table

    from groundswell.terminal import out

    table = Table("rule", "name", "of", "severity", "version", "matched in 24 h", "last", box=None)
    for one in board.items:
        last = f"{rfc3339(one.last[0].at)} {one.last[0].subject}" if one.last else "never"
        table.add_row(one.id, safe(f"{one.names['en']} {one.names['zh']}", 60), safe(one.set, 40),
                      one.severity if one.enabled else "off", str(one.version), _times(one.matched_24h), safe(last, 60))  # fmt: skip
    out().print(table if board.items else "No rules.", markup=False)
    click.echo(f"Revision {board.revision}: in force in {board.in_force_in} of {board.processes} aggregate processes.")


@rules.command()
@click.argument("name")
@wait_option
@by_option
@json_option
@click.pass_context
def remove(ctx: click.Context, name: str, wait_s: float, by: str, as_json: bool) -> None:
    """Remove the rule NAME, or all rules of the file that `list` names so. What fires by it ends."""

    async def take(desk: "RuleDesk") -> "tuple[str, list[Beat] | None]":
        await desk.remove(name, by=whoever(ctx, by))
        return desk.revision, await desk.until_in_force(wait_s)

    revision, running = at_rules(ctx, take)
    if as_json:
        print_json({"removed": name, "revision": revision, "in_force": running is not None})
    else:
        click.echo(f"Removed {safe(name, 60)}. {_in_force(running)}")


def checked(
    settings: Settings, file: Path, view: "ControlView | None"
) -> "tuple[list[dict[str, Any]], list[Rule], dict[str, int]]":
    """The rules of a file as they are written, read, and how many subjects each matches. Raises BadRule. Without a view, watchlists are
    taken on trust."""
    from stream.names.directory import directory_of
    from stream.rulebook import rule_check, rules_in_force

    lists = None if view is None else rules_in_force.watchlists_of(view)
    return rule_check.checked(_read(file), file.name, directory_of(settings), lists, settings.step_s)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise BadRule(file.name, "rule", f"the file cannot be read: {error}.", "Save it as UTF-8.") from error


def _show(meant: "list[Meaning]", *, as_json: bool) -> None:
    from stream.rulebook.rule_words import UNBOUNDED

    if as_json:
        print_json([
            {"id": one.id, "version": one.version, "enabled": one.enabled, "severity": one.severity, "bounded": False,
             "subjects": one.subjects, "means": one.means}
            for one in meant
        ])  # fmt: skip
        return
    for one in meant:
        click.echo(f"{one.id}  {one.names['en']} / {one.names['zh']}")
        for language in LANGUAGES:
            click.echo(f"  {safe(one.means[language], 1_000)}")
    click.echo("  ".join(UNBOUNDED[language] for language in LANGUAGES))


def _row(one: "RuleRow") -> dict[str, Any]:
    return {
        "id": one.id, "name": one.names, "set": one.set, "by": one.by, "applied_at": rfc3339(one.applied_at), "version": one.version,
        "enabled": one.enabled, "severity": one.severity, "bounded": False, "means": one.means, "matched_24h": one.matched_24h,
        "last": [{"at": rfc3339(each.at), "subject": each.subject, "episode": each.episode} for each in reversed(one.last)],
    }  # fmt: skip


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _in_force(running: "list[Beat] | None") -> str:
    if running is None:
        return "No aggregate process has confirmed it yet: `groundswell rules list` says when one does."
    return f"In force in {len(running)} of {len(running)} aggregate processes."
