"""`groundswell backtest`: how often it would have fired, on what, how early, how long; stream/past/backtest.py plays the past."""

import asyncio
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec import structs

from groundswell import times
from groundswell.asked_tuning import EVERYTHING, OF_LIST
from groundswell.commands.backtest_progress import Show, bar, said_as_json
from groundswell.commands.processes import the_settings, topology_of
from groundswell.effect import times_usual
from groundswell.errors import BadSetting, Misconfigured, WrongShape
from groundswell.running import orphan, runfile
from groundswell.settings import Settings, from_values
from groundswell.terminal import out
from groundswell.text import safe

if TYPE_CHECKING:
    from groundswell.control import ControlView
    from stream.detection.policy import Policy
    from stream.names.directory import Directory
    from stream.past.backtest import Play
    from stream.past.backtest_report import Findings
    from stream.past.backtest_series import Series
    from stream.rulebook.rules_in_force import InForce
    from stream.topology import Topology

WARM_MS = 28 * 86_400_000
SHOWN = 40
COLUMNS = ("fired", "after", "for", "subject", "negatives", "expected", "effect", "severity", "rule, or a text")
NICE = 10
NEWEST_MS = 2**52  # newer than anything that people have set


class NothingToTest(Misconfigured):
    """Nothing was counted in that time."""

    reason = "nothing_to_test"
    remedy = "Check --from, --until and --subject; `scored` keeps seven days unless the broker was told otherwise."


@click.command()
@click.argument("file", required=False, metavar="[FILE]")
@click.option("--from", "since", metavar="TIME", help="Count what fires from then on; what lies before only teaches.")
@click.option("--until", metavar="TIME", help="Up to then; default: the end.")
@click.option("--sensitivity", metavar="WORD|N", help="fewer, balanced, more, or false alarms a day. Default: as set.")
@click.option(
    "--against", multiple=True, metavar="WORD|N", help="Another setting on the same talk, side by side; repeat it."
)
@click.option(
    "--about", default="all", show_default=True, metavar="WHOM",
    help="Whose sensitivity that is: all, watchlist:NAME, or a subject. Only they are counted then.",
)  # fmt: skip
@click.option(
    "--rules", "rule_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="R.toml",
    help="Rules of your own, beside the detector's.",
)  # fmt: skip
@click.option(
    "--subject", "subjects", multiple=True, metavar="ID", help="Only these, XNAS:AAPL or topic:fraud; repeat it."
)
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), metavar="P.svg|png", help="Draw timelines.")
@click.option("--skip-bad", is_flag=True, help="Leave lines out that cannot be read, and count them.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--progress", is_flag=True, hidden=True, help="For programs: how far it is, as JSON lines on standard error."
)
@click.pass_context
def backtest(
    ctx: click.Context, file: str | None, since: str | None, until: str | None, sensitivity: str | None, against: tuple[str, ...],
    about: str, rule_file: Path | None, subjects: tuple[str, ...], picture: Path | None, skip_bad: bool, as_json: bool, progress: bool,
) -> int:  # fmt: skip
    """Play the past through the detector: how often it would have fired, on what, how early, how long.

    FILE holds records of the topics scored or tagged, one a line, or counts as CSV: subject,minute,negative,mentions[,reach].
    Without FILE the running installation's own past is read, from --from on. Nothing is written anywhere.
    """
    if picture is not None:
        from groundswell.commands import backtest_picture

        backtest_picture.ready(picture)
    if file is None and since is None:
        raise click.UsageError("Give a FILE, or --from TIME for the past of the running installation.")
    if progress:  # a process of its own for somebody who waits: out of the way of what is live, and gone with who asked
        os.nice(NICE)
        orphan.end_with(ctx.obj["environment"].get(orphan.VARIABLE))
    settings = the_settings(ctx) if file else runfile.joined(the_settings(ctx))
    test = Test(settings, [sensitivity, *against], frozenset(subjects), rule_file, about)
    from_ms, until_ms = moment(since), moment(until)
    began_s = time.monotonic()
    with said_as_json() if progress else bar(quiet=as_json) as show:
        if file:
            test.of_file(file, from_ms, until_ms, show, drawn=picture is not None, skip_bad=skip_bad)
        else:
            asyncio.run(test.of_installation(from_ms, until_ms, show, drawn=picture is not None))
    found = test.found | {"seconds": round(time.monotonic() - began_s, 1)}
    if picture is not None and test.series is not None:
        backtest_picture.draw(picture, test.series, found)
        found["picture"] = str(picture)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        _print(found)
    return 0


class Test:
    """One back-test: what is asked, and, once played, what was found."""

    def __init__(
        self, settings: Settings, sensitivities: list[str | None], subjects: frozenset[str], rule_file: Path | None, about: str = "all"
    ) -> None:  # fmt: skip
        from stream.names.directory import directory_of

        self.settings, self.topology, self.subjects = settings, topology_of(settings), subjects
        self.directory = directory_of(settings)
        self.sensitivities, self.about = sensitivities, about
        self.policies = [setting(word, settings, self.directory) for word in sensitivities]  # also: are they any
        self.rule_file = rule_file
        self.force = rules_of(rule_file, settings, None) if rule_file else None
        self.found: dict[str, Any] = {}
        self.series: Series | None = None

    def of_file(self, file: str, from_ms: int, until_ms: int, show: Show, *, drawn: bool, skip_bad: bool) -> None:
        """Raises BadPast, NothingToTest."""
        from stream.past import past_file

        past = past_file.read(file, self.topology, skip_bad=skip_bad)
        from_ms, until_ms = from_ms or past.first_ms, until_ms or past.last_ms + 60_000
        self._only(None)
        play, heard = self._play(from_ms, until_ms, drawn=drawn)
        play.stop_ms = until_ms
        for number, items in past.lanes.items():
            lane = play.lane(number)
            lane.put(items)
            lane.over = True
        _watched(play, show, min(past.last_ms, until_ms))
        play.turn()
        self._end(play, heard, from_ms, until_ms, past.documents)
        self.found |= {"file": file, "form": past.form, "skipped": past.skipped}

    async def of_installation(self, from_ms: int, until_ms: int, show: Show, *, drawn: bool) -> None:
        """Raises BrokerAway, TopicsMissing, NothingToTest."""
        from stream.past import past_scored

        view = await in_force(self.settings, self.topology)
        self._only(view)
        self.force = rules_of(self.rule_file, self.settings, view) if self.rule_file else None
        until_ms = until_ms or time.time_ns() // 1_000_000
        play, heard = self._play(from_ms, until_ms, drawn=drawn)
        play.stop_ms = until_ms
        _watched(play, show, until_ms)
        read = await past_scored.play(
            self.settings,
            self.topology,
            play,
            since_ms=from_ms - WARM_MS,
            subjects=self.subjects,
        )
        self._end(play, heard, from_ms, until_ms, read.documents)
        if read.unreadable:
            self.found["skipped"] = read.unreadable

    def _only(self, view: "ControlView | None") -> None:
        """The settings as they are now, and of one list or subject the subjects that they are about."""
        from stream.detection.list_desk import list_id
        from stream.names.naming import members

        self.policies = [setting(word, self.settings, self.directory, view, self.about) for word in self.sensitivities]
        if self.about != EVERYTHING:
            one = view.watchlists.get(list_id(self.about.removeprefix(OF_LIST))) if view else None
            entries = one.subjects if one and self.about.startswith(OF_LIST) else [self.about]
            self.subjects = frozenset(members(self.directory, entries))

    def _play(self, from_ms: int, until_ms: int, *, drawn: bool) -> "tuple[Play, list[Findings]]":
        from stream.past.backtest import Play
        from stream.past.backtest_report import Findings
        from stream.past.backtest_series import Series

        if until_ms <= from_ms:
            raise NothingToTest("--until lies before --from.")
        heard = [
            Findings(
                policy.versions["sensitivity"] if word is None or self.about == EVERYTHING else word, self.directory,
                from_ms, until_ms, policy.budget, policy.ln_h, policy.mode,
            )
            for word, policy in zip(self.sensitivities, self.policies, strict=True)
        ]  # fmt: skip
        if self.rule_file is not None:
            heard.append(Findings(self.rule_file.name, self.directory, from_ms, until_ms, 0.0, 0.0))
        play = Play(
            self.policies, self.directory, lambda number, one: heard[number].hear(one),
            subjects=self.subjects, force=self.force,
        )  # fmt: skip
        play.listening_from_ms = from_ms
        self.series = Series(play, from_ms, until_ms) if drawn else None
        return play, heard

    def _end(self, play: "Play", heard: "list[Findings]", from_ms: int, until_ms: int, documents: int) -> None:
        from stream.past.backtest_report import report

        if not play.detectors[0].subjects:
            raise NothingToTest
        play.close_until(min(until_ms, play.newest_ms + play.policy.step_ms))
        self.found = report(play, heard, from_ms=max(from_ms, play.first_ms), until_ms=until_ms, documents=documents)


def _watched(play: "Play", show: Show, end_ms: int) -> None:
    """Show the progress of each step beside what listens already."""
    before = play.step

    def step(start_ms: int) -> None:
        before(start_ms)
        show(start_ms, (start_ms - play.first_ms) / max(end_ms - play.first_ms, 1))

    play.step = step


def setting(
    word: str | None, settings: Settings, directory: "Directory", view: "ControlView | None" = None, about: str = "all"
) -> "Policy":
    """The policy that follows from a sensitivity, of all or of whom it is `about`, beside what people set while it runs; None: from the
    one in force. The line is the settings': guaranteed or calibrated. Raises BadSetting for what is neither a word nor a number,
    NoSuchList, NoSuchSubject."""
    from groundswell.control import ControlView
    from stream.detection import lines
    from stream.detection.episodes import RULE

    watchlists = list(view.watchlists.values()) if view else []
    own = list(view.sensitivities.values()) if view else []
    if word is not None and about != EVERYTHING:
        from stream.detection.list_desk import sensitivity

        made = sensitivity(view or ControlView(), directory, about, word, "", NEWEST_MS)
        own = [*(one for one in own if one.id != made.id), made]
    elif word is not None:
        try:
            settings = from_values(
                {**structs.asdict(settings), "sensitivity": float(word) if word[:1].isdecimal() else word}
            )
        except (ValueError, BadSetting) as error:
            raise BadSetting(
                f"{safe(word, 20)!r} is no sensitivity.",
                remedy="Write fewer, balanced, more, or how many false alarms a day it may raise over all subjects: 2.5.",
            ) from error
        own = [one for one in own if one.rule != RULE.id]
    return lines.policy(settings, directory, watchlists, own)


def rules_of(file: Path, settings: Settings, view: "ControlView | None") -> "InForce":
    """The rules of a file, as if they had been applied long ago; other rules are not looked at. Raises BadRule."""
    from groundswell.commands.rules import checked
    from groundswell.records import RuleSet
    from stream.rulebook import rules_in_force

    definitions, _, _ = checked(settings, file, view)
    lists = rules_in_force.watchlists_of(view) if view is not None else {}
    return rules_in_force.of([RuleSet(id=file.name, rules=definitions, by="", at=0)], lists)


async def in_force(settings: Settings, topology: "Topology") -> "ControlView":
    """What people have set while the installation runs. Raises BrokerAway, TopicsMissing."""
    from groundswell import control

    view, stop = control.ControlView(), asyncio.Event()
    following = await control.followed(settings, topology, view, stop)
    stop.set()
    await following
    return view


def moment(text: str | None) -> int:
    """Epoch milliseconds of a time, or of `2h`, two hours ago; 0 for None. Raises BadSetting."""
    from alerts.people.wants import span_s

    if text is None:
        return 0
    try:
        return times.parse_ms(text)
    except ValueError as error:
        try:
            return time.time_ns() // 1_000_000 - span_s(text) * 1_000
        except WrongShape:
            raise BadSetting(
                f"{safe(text, 40)!r} is no time: {error}.",
                remedy="Write 2h for two hours ago, or a time with its zone: 2026-11-21T18:00:00+08:00.",
            ) from error


def _print(found: dict[str, Any]) -> None:
    from rich import box
    from rich.table import Table

    console = out()
    for number, one in enumerate(found["settings"]):
        table = Table(*COLUMNS, box=box.SIMPLE_HEAD)
        for each in one["episodes"][:SHOWN]:
            lasted = "open" if each["minutes"] is None else f"{each['minutes']:.0f} min"
            table.add_row(
                each["fired"][:16], f"{each['minutes_to_fire']:.0f} min", lasted, safe(each["subject"], 40), str(each["negatives"]),
                f"{each['expected']:.1f}", times_usual(each["effect"]), each["severity"], safe(each["rule"] or each["said"], 50),
            )  # fmt: skip
        other = found["settings"][1 - number] if len(found["settings"]) == 2 else None
        console.print(headline(found, one, other), markup=False, highlight=False, soft_wrap=True)
        if one["episodes"]:
            console.print(table, markup=False)
        if len(one["episodes"]) > SHOWN:
            console.print(f"... and {len(one['episodes']) - SHOWN} more: --json shows all.", markup=False)
        if one["held"]:
            held = ", ".join(
                f"{count} {reason.removeprefix('held_').replace('_', ' ')}" for reason, count in one["held"].items()
            )
            console.print(f"Over the line but held back: {held}.", markup=False, highlight=False, soft_wrap=True)
    if "difference" in found:
        console.print(_difference(found), markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"{found['documents']:,} documents, {found['subjects']} subjects, {found['steps']:,} steps in {found['seconds']} s. "
        + warmed(found["warm_up_days"], enough=found["warm_up_enough"])
        + (f" {found['skipped']} lines could not be read." if found.get("skipped") else ""),
        markup=False, highlight=False, soft_wrap=True,
    )  # fmt: skip


def headline(found: dict[str, Any], one: dict[str, Any], other: dict[str, Any] | None) -> str:
    """The answer in a sentence."""
    beside = f" ({other['name']}: {other['fired']})" if other else ""
    times_fired = "once" if one["fired"] == 1 else f"{one['fired']} times"
    line = " (calibrated)" if one["line"] == "calibrated" else ""
    said = f"{one['name']}{line}: would have fired {times_fired} in {found['days']:g} days{beside}"
    if one["outside_office_hours"] is not None:
        said += f", {one['outside_office_hours']:.0%} outside office hours of the subject; {one['minutes_to_fire']:g} min after the onset"
    if one["minutes"] is not None:
        said += f", over after {one['minutes']:g} min (medians)"
    return said + "."


def warmed(days: float, *, enough: bool) -> str:
    """How much the detector knew when the test began."""
    if days < 0.05:
        return "No warm-up: it began without knowing anything; --from leaves a stretch to learn from."
    return f"Warmed up on {days:g} days before." + ("" if enough else " 28 are better.")


def _difference(found: dict[str, Any]) -> str:
    first, second = (one["name"] for one in found["settings"][:2])
    what = found["difference"]
    earlier = what["first_earlier_min"]
    said = f"Both: {what['both']}. Only {first}: {len(what['only_first'])}. Only {second}: {len(what['only_second'])}."
    if earlier:
        said += f" Where both fire, {first} is {abs(earlier):g} min {'earlier' if earlier > 0 else 'later'} (median)."
    return said
