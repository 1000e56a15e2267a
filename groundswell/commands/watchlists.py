"""`groundswell watchlist` and `groundswell sensitivity`: who is looked at first, and how much it takes to alert.

Both write to the control topic; aggregate judges the steps that begin after a change by it, without a restart.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import click

from groundswell import runfile
from groundswell.commands.desk import by_option, control_view, json_option, print_json, whoever
from groundswell.commands.processes import the_settings, topology_of
from groundswell.errors import BadSetting
from groundswell.records import Sensitivity, Watchlist
from groundswell.settings import Settings
from groundswell.text import safe

if TYPE_CHECKING:
    from groundswell.control import ControlView
    from stream.directory import Directory

DEFAULT = "watched"
MOST_ENTRIES = 5_000  # of one list: a control object is one message
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}", re.ASCII)
_NUMBER = re.compile(r"\d{1,4}(\.\d{1,6})?", re.ASCII)
RULES = ("negative-surge",)

to_option = click.option("--list", "name", default=DEFAULT, show_default=True, help="Which list.")

Write = Callable[[Watchlist | Sensitivity], Awaitable[None]]
Erase = Callable[[str], Awaitable[None]]


@click.group()
def watchlist() -> None:
    """Subjects to look at first: together they get half of the false-alarm budget."""


@watchlist.command()
@click.argument("subjects", nargs=-1, required=True)
@to_option
@by_option
@json_option
@click.pass_context
def add(ctx: click.Context, subjects: tuple[str, ...], name: str, by: str, as_json: bool) -> None:
    """Put SUBJECTS (ids, symbols or patterns: XNAS:AAPL, topic:*) on a list; the first makes the list."""
    settings = _settings(ctx)
    wanted = _known(settings, subjects)
    _checked(name)

    async def do(view: "ControlView", write: Write, _erase: Erase) -> Watchlist:
        known = view.watchlists.get(f"watchlist_{name}")
        entries = sorted({*wanted, *(known.subjects if known else ())})
        if len(entries) > MOST_ENTRIES:
            raise BadSetting(
                f"The list {name} would have {len(entries)} entries.",
                remedy=f"Keep to {MOST_ENTRIES}; use a pattern such as XNAS:*.",
            )
        made = Watchlist(id=f"watchlist_{name}", name=name, subjects=entries, by=whoever(ctx, by), at=_now_ms())
        await write(made)
        return made

    made = _at_control(settings, do)
    print_json(made) if as_json else click.echo(f"{name}: {_many(len(made.subjects), 'entry', 'entries')}.")


@watchlist.command()
@click.argument("subjects", nargs=-1)
@to_option
@click.option("--all", "everything", is_flag=True, help="The whole list.")
@by_option
@json_option
@click.pass_context
def remove(ctx: click.Context, subjects: tuple[str, ...], name: str, everything: bool, by: str, as_json: bool) -> None:
    """Take SUBJECTS off a list; without any left it is gone."""
    settings = _settings(ctx)
    if bool(subjects) == everything:
        raise BadSetting(
            "It is not said what to remove.", remedy="Name the subjects, or write --all for the whole list."
        )
    gone = {*subjects, *_known(settings, subjects, must=False)}

    async def do(view: "ControlView", write: Write, erase: Erase) -> list[str]:
        known = view.watchlists.get(f"watchlist_{name}")
        if known is None:
            raise BadSetting(f"There is no list {safe(name, 60)}.", remedy="groundswell watchlist list shows all.")
        left = [] if everything else [one for one in known.subjects if one not in gone]
        if left:
            await write(Watchlist(id=known.id, name=name, subjects=left, by=whoever(ctx, by), at=_now_ms()))
        else:
            await erase(known.id)
        return left

    left = _at_control(settings, do)
    print_json({"list": name, "subjects": left}) if as_json else click.echo(
        f"{name}: {_many(len(left), 'entry', 'entries')} left." if left else f"{name} is gone."
    )


@watchlist.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """All lists, what they match, and at which evidence their subjects fire."""
    settings = _settings(ctx)
    view, directory = asyncio.run(control_view(settings, topology_of(settings))), _directory(settings)
    from stream import lines

    policy = lines.policy(settings, directory, view.watchlists.values(), view.sensitivities.values())
    lists = sorted(view.watchlists.values(), key=lambda one: one.name)
    matched = {
        one.name: sum(any(fnmatchcase(subject, pattern) for pattern in one.subjects) for subject in directory.ids)
        for one in lists
    }
    if as_json:
        told = [
            {"list": one.name, "subjects": one.subjects, "by": one.by, "at": one.at, "matched": matched[one.name]}
            for one in lists
        ]
        print_json({"lists": told, **_as_set(policy)})
        return
    for one in lists:
        whom = safe(", ".join(one.subjects), 200)
        click.echo(f"{one.name}: {_many(matched[one.name], 'subject', 'subjects')} by {whom}")
    click.echo(_in_words(policy) if lists else "No watchlist: all subjects have an equal part of the budget.")


@click.group()
def sensitivity() -> None:
    """How much it takes to alert: for all subjects, or for one."""


@sensitivity.command(name="set")
@click.argument("about")
@click.argument("value")
@by_option
@json_option
@click.pass_context
def set_(ctx: click.Context, about: str, value: str, by: str, as_json: bool) -> None:
    """Set it for ABOUT, a subject or the rule negative-surge (all subjects), to VALUE: fewer, balanced, more, or false alarms a day."""
    settings = _settings(ctx)
    rule = about if about in RULES else ""
    subject = "" if rule else _known(settings, (about,))[0]
    if any(one in subject for one in "*?["):
        raise BadSetting(
            f"{safe(about, 80)} is a pattern.", remedy="Name one subject, or put the pattern on a watchlist."
        )
    made = Sensitivity(
        id=f"sensitivity_{rule or subject}",
        value=_value(value),
        subject=subject,
        rule=rule,
        by=whoever(ctx, by),
        at=_now_ms(),
    )

    async def do(_view: "ControlView", write: Write, _erase: Erase) -> None:
        await write(made)

    _at_control(settings, do)
    print_json(made) if as_json else click.echo(f"{safe(rule or subject, 80)}: {made.value}.")


@sensitivity.command()
@click.argument("about")
@json_option
@click.pass_context
def clear(ctx: click.Context, about: str, as_json: bool) -> None:
    """Forget what was set for ABOUT: it is as all others again."""
    settings = _settings(ctx)
    ids = {f"sensitivity_{one}" for one in (about, *_known(settings, (about,), must=False))}

    async def do(view: "ControlView", _write: Write, erase: Erase) -> str:
        there = sorted(ids & view.sensitivities.keys())
        if not there:
            raise BadSetting(f"Nothing is set for {safe(about, 80)}.", remedy="groundswell sensitivity list shows all.")
        await erase(there[0])
        return there[0]

    gone = _at_control(settings, do)
    print_json({"cleared": gone}) if as_json else click.echo(f"Cleared {safe(gone.removeprefix('sensitivity_'), 80)}.")


@sensitivity.command(name="list")
@json_option
@click.pass_context
def list_set(ctx: click.Context, as_json: bool) -> None:
    """What is set, for whom, and what follows."""
    settings = _settings(ctx)
    view, directory = asyncio.run(control_view(settings, topology_of(settings))), _directory(settings)
    from stream import lines

    policy = lines.policy(settings, directory, view.watchlists.values(), view.sensitivities.values())
    found = sorted(view.sensitivities.values(), key=lambda one: one.id)
    if as_json:
        print_json({"set": found, **_as_set(policy)})
        return
    for one in found:
        click.echo(f"{safe(one.rule or one.subject, 80)}: {one.value} (by {safe(one.by, 40)})")
    click.echo(_in_words(policy))


# -- small things -----------------------------------------------------------------------------------------------------


def _as_set(policy: Any) -> dict[str, Any]:
    return {
        "budget": policy.budget, "mode": policy.mode, "ln_h": round(policy.ln_h, 4), "weight": round(policy.weight, 4),
        "revision": policy.revision, "lines": {subject: round(line, 4) for subject, line in policy.lines.items()},
    }  # fmt: skip


def _in_words(policy: Any) -> str:
    held = "At most" if policy.mode == "guaranteed" else "About"
    text = f"{held} {policy.budget:g} false alarms a day over all subjects ({policy.mode}). An e-value of {_power(policy.ln_h)} fires"
    if policy.lines:
        low, high = _power(min(policy.lines.values())), _power(max(policy.lines.values()))
        text += f", for {_many(len(policy.lines), 'subject', 'subjects')} of their own {low}" + f" to {high}" * (
            low != high
        )
    return f"{text}."


def _power(natural: float) -> str:
    return f"10^{natural / 2.302585092994046:.1f}"


def _value(text: str) -> Any:
    if text in ("fewer", "balanced", "more"):
        return text
    if _NUMBER.fullmatch(text) and 0 < float(text) <= 1_000:
        return float(text)
    raise BadSetting(
        f"{safe(text, 20)!r} is no sensitivity.",
        remedy="Write fewer, balanced, more, or how many false alarms a day: 0.5.",
    )


def _known(settings: Settings, asked: tuple[str, ...], *, must: bool = True) -> list[str]:
    """Ids of what was named; patterns as they are. Raises BadSetting for what is not counted, unless it need not be."""
    directory, found = _directory(settings), []
    for one in asked:
        if any(sign in one for sign in "*?["):
            there = one if any(fnmatchcase(subject, one) for subject in directory.ids) else None
        else:
            there = directory.resolve(one)
        if there is not None:
            found.append(there)
        elif must:
            raise BadSetting(
                f"{safe(one, 80)!r} is no subject.",
                remedy="Write an id such as XNAS:AAPL or topic:fraud, or a pattern.",
            )
    return found


def _directory(settings: Settings) -> "Directory":
    from stream.aggregate import directory_of

    return directory_of(settings)


def _checked(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadSetting(f"{safe(name, 60)!r} is no name of a list.", remedy="Use small letters, digits, - and _.")


def _settings(ctx: click.Context) -> Settings:
    return runfile.joined(the_settings(ctx))


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def _now_ms() -> int:
    from groundswell.clock import SystemClock

    return SystemClock().now_ms()


def _at_control(settings: Settings, do: "Callable[[ControlView, Write, Erase], Awaitable[Any]]") -> Any:
    """Run `do` with the control topic as it stands, and with ways to write and erase. Raises what it raises, NothingRuns, BrokerAway."""
    from groundswell import control
    from groundswell.connect import close_producer, open_producer

    async def run() -> Any:
        topology = topology_of(settings)
        view = await control_view(settings, topology)
        producer = await open_producer(settings)
        try:
            return await do(
                view,
                lambda thing: control.write(producer, topology, thing),
                lambda known: control.erase(producer, topology, known),
            )
        finally:
            await close_producer(producer)

    return asyncio.run(run())
