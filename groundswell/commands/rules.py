"""`groundswell rules check | apply | list | remove`: rules of a user's own, from a TOML file to what is in force; docs/rules.md."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from groundswell.commands.desk import by_option, control_view, json_option, print_json, whoever
from groundswell.commands.processes import the_settings, topology_of
from groundswell.errors import BadRule, NoSuchRule
from groundswell.settings import Settings
from groundswell.text import safe
from groundswell.times import rfc3339

if TYPE_CHECKING:
    from groundswell.beat import Beat
    from groundswell.control import ControlView
    from groundswell.records import RuleSet
    from stream.rules import Rule

LANGUAGES = ("en", "zh")
LOOK_S = 0.25
DAY_MS = 86_400_000


@click.group()
def rules() -> None:
    """Alerts by rules of your own, beside the detector's. No bound on false alarms holds for them."""


@rules.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_context
def check(ctx: click.Context, file: Path, as_json: bool) -> None:
    """Validate FILE and say in words what each of its rules means. Needs no broker; watchlists are looked at by `apply`."""
    settings = the_settings(ctx)
    made, matched = checked(settings, file, None)
    _show(made, matched, as_json=as_json)


@rules.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 600),
    default=10.0,
    show_default=True,
    help="Seconds to wait until it is in force.",
)
@by_option
@json_option
@click.pass_context
def apply(ctx: click.Context, file: Path, wait_s: float, by: str, as_json: bool) -> None:
    """Put the rules of FILE in force, in place of those that came of a file of this name before."""
    import asyncio

    from groundswell import runfile
    from groundswell.clock import SystemClock
    from groundswell.records import RuleSet
    from stream import rule_grammar

    settings = runfile.joined(the_settings(ctx))
    topology = topology_of(settings)
    view = asyncio.run(control_view(settings, topology))
    made, matched = checked(settings, file, view)
    object_id = set_id(file.name)
    others = {rule.id: one for one in view.rules.values() if one.id != object_id for rule in _read(one)}
    for rule in made:
        if rule.id in others:
            raise BadRule(
                f"{file.name}, rule {rule.id}", "id", f"{others[rule.id].id} has a rule of this id.",
                f"Choose another id, or `groundswell rules remove {rule.id}` first.",
            )  # fmt: skip
    if len(others) + len(made) > rule_grammar.MOST_RULES:
        raise BadRule(file.name, "rule", f"with those of other files there would be {len(others) + len(made)}.",
                      f"Keep to {rule_grammar.MOST_RULES} in all.")  # fmt: skip
    definitions = rule_grammar.read(file.read_text(encoding="utf-8"), file.name)
    thing = RuleSet(id=object_id, rules=definitions, by=whoever(ctx, by), at=SystemClock().now_ms())

    async def put() -> list["Beat"] | None:
        await _write(settings, topology, [(object_id, thing)])
        view.rules[object_id] = thing
        return await _until_in_force(settings, view, wait_s)

    running = asyncio.run(put())
    if as_json:
        print_json(
            {
                "id": object_id,
                "rules": [rule.id for rule in made],
                "revision": _revision(view),
                "in_force": running is not None,
            }
        )
        return
    _show(made, matched, as_json=False)
    click.echo(f"Applied as {object_id}, revision {_revision(view)}. {_in_force(running)}")


@rules.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """The rules as in force, which processes run them, and how often each matched."""
    import asyncio

    from groundswell import runfile
    from groundswell.clock import SystemClock

    settings = runfile.joined(the_settings(ctx))
    topology = topology_of(settings)

    async def look() -> tuple["ControlView", list["Beat"], dict[str, list[Any]]]:
        view = await control_view(settings, topology)
        return view, await _aggregates(settings), await _matches(settings)

    view, running, matches = asyncio.run(look())
    wanted, now_ms = _revision(view), SystemClock().now_ms()
    same = [beat for beat in running if beat.rules == wanted]
    found = [(one, rule) for one in sorted(view.rules.values(), key=lambda one: one.id) for rule in _read(one)]
    if as_json:
        print_json({"revision": wanted, "processes": len(running), "in_force_in": len(same), "rules": [
            _row(one, rule, matches.get(rule.id, []), now_ms) for one, rule in found
        ]})  # fmt: skip
        return
    from rich.table import Table

    from groundswell.terminal import out

    table = Table("rule", "name", "of", "severity", "version", "matched in 24 h", "last", box=None)
    for one, rule in found:
        row = _row(one, rule, matches.get(rule.id, []), now_ms)
        last = row["last"][-1] if row["last"] else None
        table.add_row(rule.id, safe(f"{rule.name['en']} {rule.name['zh']}", 60), safe(one.id, 40),
                      rule.severity if rule.enabled else "off", str(rule.version), _times(row["matched_24h"]),
                      safe(f"{last['at']} {last['subject']}", 60) if last else "never")  # fmt: skip
    out().print(table if found else "No rules.", markup=False)
    click.echo(f"Revision {wanted}: in force in {len(same)} of {len(running)} aggregate processes.")


@rules.command()
@click.argument("name")
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 600),
    default=10.0,
    show_default=True,
    help="Seconds to wait until it is gone.",
)
@by_option
@json_option
@click.pass_context
def remove(ctx: click.Context, name: str, wait_s: float, by: str, as_json: bool) -> None:
    """Remove the rule NAME, or all rules of the file that `list` names so. What fires by it ends."""
    import asyncio

    import msgspec

    from groundswell import runfile
    from groundswell.clock import SystemClock

    settings = runfile.joined(the_settings(ctx))
    topology = topology_of(settings)

    async def take() -> tuple["ControlView", list["Beat"] | None]:
        view = await control_view(settings, topology)
        changed: list[tuple[str, RuleSet | None]] = []
        for one in list(view.rules.values()):
            left = [] if one.id in (name, set_id(name)) else [each for each in one.rules if each.get("id") != name]
            if len(left) < len(one.rules):
                at = SystemClock().now_ms()
                changed.append(
                    (one.id, msgspec.structs.replace(one, rules=left, by=whoever(ctx, by), at=at) if left else None)
                )
        if not changed:
            raise NoSuchRule(f"There is no rule {safe(name, 60)!r}.")
        await _write(settings, topology, changed)
        for object_id, thing in changed:
            view.rules.pop(object_id)
            if thing is not None:
                view.rules[object_id] = thing
        return view, await _until_in_force(settings, view, wait_s)

    view, running = asyncio.run(take())
    if as_json:
        print_json({"removed": name, "revision": _revision(view), "in_force": running is not None})
    else:
        click.echo(f"Removed {safe(name, 60)}. {_in_force(running)}")


def set_id(file_name: str) -> str:
    """The id of a file's rules on the control topic."""
    return f"rules_{safe(Path(file_name).stem, 60)}"


def checked(settings: Settings, file: Path, view: "ControlView | None") -> tuple[list["Rule"], dict[str, int]]:
    """Rules, and how many subjects each matches. Raises BadRule. Without a view, watchlists are taken on trust."""
    from stream import entities, rule_grammar, rules_in_force
    from stream.directory import Directory
    from stream.pack_answers import Packs
    from stream.packs import packs_of

    try:
        text = file.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise BadRule(file.name, "rule", f"the file cannot be read: {error}.", "Save it as UTF-8.") from error
    made = [
        rule_grammar.define(one, file.name, number) for number, one in enumerate(rule_grammar.read(text, file.name), 1)
    ]
    directory = Directory(entities.load_for(settings), Packs(packs_of(settings)).topics)
    subjects = list(directory.ids)
    topics = [subject.removeprefix("topic:") for subject in subjects if subject.startswith("topic:")]
    lists = None if view is None else rules_in_force.watchlists_of(view)
    return made, rules_in_force.check(made, file.name, subjects, topics, lists, settings.step_s)


def _show(made: list["Rule"], matched: dict[str, int], *, as_json: bool) -> None:
    from stream.rule_words import UNBOUNDED, means

    if as_json:
        print_json([
            {"id": rule.id, "version": rule.version, "enabled": rule.enabled, "severity": rule.severity, "bounded": False,
             "subjects": matched[rule.id], "means": means(rule, matched[rule.id])}
            for rule in made
        ])  # fmt: skip
        return
    for rule in made:
        said = means(rule, matched[rule.id])
        click.echo(f"{rule.id}  {rule.name['en']} / {rule.name['zh']}")
        for language in LANGUAGES:
            click.echo(f"  {safe(said[language], 1_000)}")
    click.echo("  ".join(UNBOUNDED[language] for language in LANGUAGES))


def _read(one: "RuleSet") -> list["Rule"]:
    """The rules of a set; what cannot be read is left out, as the aggregate does."""
    from stream.rule_grammar import define

    found = []
    for number, definition in enumerate(one.rules, start=1):
        try:
            found.append(define(definition, one.id, number))
        except BadRule:
            continue
    return found


def _revision(view: "ControlView") -> str:
    from stream import rules_in_force

    return rules_in_force.of(view.rules.values(), rules_in_force.watchlists_of(view)).revision


async def _write(settings: Settings, topology: Any, changed: "list[tuple[str, RuleSet | None]]") -> None:
    from groundswell import control
    from groundswell.connect import close_producer, open_producer

    producer = await open_producer(settings)
    try:
        for object_id, thing in changed:
            if thing is None:
                await control.erase(producer, topology, object_id)
            else:
                await control.write(producer, topology, thing)
    finally:
        await close_producer(producer)


async def _aggregates(settings: Settings) -> list["Beat"]:
    from groundswell import beat
    from groundswell.connect import open_redis
    from groundswell.keys import Keys

    redis = await open_redis(settings)
    try:
        return [one for one in await beat.beats(redis, Keys(settings.prefix)) if one.stage == "aggregate"]
    finally:
        await redis.aclose()


async def _until_in_force(settings: Settings, view: "ControlView", wait_s: float) -> list["Beat"] | None:
    """The aggregates that run, once all of them have these rules; None when they have not within `wait_s`, or none runs."""
    import asyncio

    wanted, end_s = _revision(view), time.monotonic() + wait_s
    while True:
        running = await _aggregates(settings)
        if running and all(one.rules == wanted for one in running):
            return running
        if time.monotonic() >= end_s:
            return None
        await asyncio.sleep(LOOK_S)


async def _matches(settings: Settings) -> dict[str, list[Any]]:
    """By rule, oldest first, over all partitions."""
    import msgspec

    from groundswell.connect import open_redis
    from groundswell.keys import Keys
    from stream.rule_watch import Kept
    from stream.topology import SCORED

    keys, redis = Keys(settings.prefix), await open_redis(settings)
    try:
        count = topology_of(settings).partitions(SCORED)
        stored = await redis.mget([keys.rules(partition) for partition in range(count)])
    finally:
        await redis.aclose()
    found: dict[str, list[Any]] = {}
    for raw in stored:
        if raw:
            for rule, matches in msgspec.json.decode(raw, type=Kept).matches.items():
                found.setdefault(rule, []).extend(matches)
    return {rule: sorted(matches, key=lambda one: (one.at, one.subject)) for rule, matches in found.items()}


def _row(one: "RuleSet", rule: "Rule", matches: list[Any], now_ms: int) -> dict[str, Any]:
    from stream.rule_words import means

    return {
        "id": rule.id, "name": rule.name, "set": one.id, "by": one.by, "applied_at": rfc3339(one.at), "version": rule.version,
        "enabled": rule.enabled, "severity": rule.severity, "bounded": False, "means": means(rule),
        "matched_24h": sum(match.at > now_ms - DAY_MS for match in matches),
        "last": [{"at": rfc3339(match.at), "subject": match.subject, "episode": match.episode} for match in matches[-5:]],
    }  # fmt: skip


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _in_force(running: "list[Beat] | None") -> str:
    if running is None:
        return "No aggregate process has confirmed it yet: `groundswell rules list` says when one does."
    return f"In force in {len(running)} of {len(running)} aggregate processes."
