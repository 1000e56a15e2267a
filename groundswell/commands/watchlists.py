"""`groundswell watchlist` and `groundswell sensitivity`: who is looked at first, and how much it takes to alert.

stream/detection/list_desk.py does it, for the pages too; aggregate judges the steps that begin after a change by it, without a restart.
"""

from typing import TYPE_CHECKING, Any

import click

from groundswell.commands.desk import by_option, json_option, print_json, whoever
from groundswell.commands.tuning import at_lists
from groundswell.errors import BadSetting
from groundswell.text import safe

if TYPE_CHECKING:
    from groundswell.asked_tuning import Added, ListRow, Lists, Sensitivities
    from groundswell.records import Sensitivity
    from stream.detection.list_desk import ListDesk
    from stream.detection.policy import Policy

DEFAULT = "watched"
RULES = ("negative-surge", "all")

to_option = click.option("--list", "name", default=DEFAULT, show_default=True, help="Which list.")


@click.group()
def watchlist() -> None:
    """Subjects to look at first: together they get two fifths of the false-alarm budget."""


@watchlist.command()
@click.argument("subjects", nargs=-1, required=True)
@to_option
@by_option
@json_option
@click.pass_context
def add(ctx: click.Context, subjects: tuple[str, ...], name: str, by: str, as_json: bool) -> None:
    """Put SUBJECTS (ids, symbols, names or patterns: XNAS:AAPL, topic:*) on a list; the first makes the list."""

    async def do(desk: "ListDesk") -> "Added":
        return await desk.add(name, subjects, by=whoever(ctx, by), strict=True)

    made = at_lists(ctx, do).watchlist
    print_json(_as_written(made)) if as_json else click.echo(f"{name}: {_many(len(made.entries), 'entry', 'entries')}.")


@watchlist.command()
@click.argument("subjects", nargs=-1)
@to_option
@click.option("--all", "everything", is_flag=True, help="The whole list.")
@by_option
@json_option
@click.pass_context
def remove(ctx: click.Context, subjects: tuple[str, ...], name: str, everything: bool, by: str, as_json: bool) -> None:
    """Take SUBJECTS off a list; without any left it is gone."""
    if bool(subjects) == everything:
        raise BadSetting(
            "It is not said what to remove.", remedy="Name the subjects, or write --all for the whole list."
        )

    async def do(desk: "ListDesk") -> list[str]:
        left = (
            []
            if everything
            else [each.entry for each in (await desk.take(name, subjects, by=whoever(ctx, by))).entries]
        )
        if not left:
            await desk.remove(name)
        return left

    left = at_lists(ctx, do)
    print_json({"list": name, "subjects": left}) if as_json else click.echo(
        f"{name}: {_many(len(left), 'entry', 'entries')} left." if left else f"{name} is gone."
    )


@watchlist.command()
@click.argument("name")
@click.argument("new")
@by_option
@json_option
@click.pass_context
def rename(ctx: click.Context, name: str, new: str, by: str, as_json: bool) -> None:
    """Call the list NAME something else; its sensitivity goes with it."""
    from groundswell.asked_tuning import AskedList

    async def do(desk: "ListDesk") -> "ListRow":
        return await desk.put(name, AskedList(name=new), by=whoever(ctx, by))

    made = at_lists(ctx, do)
    print_json(_as_written(made)) if as_json else click.echo(f"{safe(name, 60)} is called {made.name} now.")


@watchlist.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """All lists, what they match, and at which evidence their subjects fire."""

    async def do(desk: "ListDesk") -> "tuple[Lists, Policy]":
        return await desk.lists(), await desk.policy()

    lists, policy = at_lists(ctx, do)
    if as_json:
        print_json({"lists": [_as_written(one) | {"matched": one.matched} for one in lists.items], **_as_set(policy)})
        return
    for one in lists.items:
        whom = safe(", ".join(each.entry for each in one.entries), 200)
        click.echo(f"{one.name}: {_many(one.matched, 'subject', 'subjects')} by {whom}")
    click.echo(_in_words(policy) if lists.items else "No watchlist: all subjects have an equal part of the budget.")


@click.group()
def sensitivity() -> None:
    """How much it takes to alert: for all subjects, for a watchlist, or for one subject."""


@sensitivity.command(name="set")
@click.argument("about")
@click.argument("value")
@by_option
@json_option
@click.pass_context
def set_(ctx: click.Context, about: str, value: str, by: str, as_json: bool) -> None:
    """Set it for ABOUT, a subject, watchlist:NAME, or all (the rule negative-surge), to VALUE: fewer, balanced, more, or false alarms
    a day."""

    async def do(desk: "ListDesk") -> "Sensitivity":
        return await desk.adjust(_whom(about), value, by=whoever(ctx, by))

    made = at_lists(ctx, do)
    whose = made.rule or made.subject or f"watchlist {made.watchlist}"
    print_json(made) if as_json else click.echo(f"{safe(whose, 80)}: {made.value}.")


@sensitivity.command()
@click.argument("about")
@json_option
@click.pass_context
def clear(ctx: click.Context, about: str, as_json: bool) -> None:
    """Forget what was set for ABOUT: it is as all others again."""

    async def do(desk: "ListDesk") -> str:
        return await desk.clear(_whom(about))

    gone = at_lists(ctx, do)
    print_json({"cleared": gone}) if as_json else click.echo(f"Cleared {safe(gone, 80)}.")


@sensitivity.command(name="list")
@json_option
@click.pass_context
def list_set(ctx: click.Context, as_json: bool) -> None:
    """What is set, for whom, and what follows."""

    async def do(desk: "ListDesk") -> "tuple[Sensitivities, Policy]":
        return await desk.sensitivities(), await desk.policy()

    found, policy = at_lists(ctx, do)
    said = [one for one in found.items if one.at]
    if as_json:
        print_json({"set": said, **_as_set(policy)})
        return
    for one in said:
        click.echo(f"{safe(one.about, 80)}: {one.value} (by {safe(one.by, 40)})")
    click.echo(_in_words(policy))


# -- small things -----------------------------------------------------------------------------------------------------


def _whom(about: str) -> str:
    return "all" if about in RULES else about


def _as_written(one: "ListRow") -> dict[str, Any]:
    return {"list": one.name, "subjects": [each.entry for each in one.entries], "by": one.by, "at": one.at}


def _as_set(policy: "Policy") -> dict[str, Any]:
    return {
        "budget": policy.budget, "mode": policy.mode, "ln_h": round(policy.ln_h, 4), "weight": round(policy.weight, 4),
        "revision": policy.revision, "lines": {subject: round(line, 4) for subject, line in policy.lines.items()},
    }  # fmt: skip


def _in_words(policy: "Policy") -> str:
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


def _many(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"
