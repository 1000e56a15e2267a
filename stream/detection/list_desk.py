"""What people do with watchlists and sensitivities: who is looked at first, and how much it takes to alert. For command line and pages.

naming.py says who is meant, lines.py what follows; aggregate judges the steps that begin after a change by it, without a restart.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from typing import cast, get_args

import msgspec

from groundswell.asked_tuning import (
    EVERYTHING,
    OF_LIST,
    Added,
    AskedList,
    Entry,
    Found,
    ListRow,
    Lists,
    Sensitivities,
    SensitivityRow,
    Sharing,
    Word,
)
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.errors import Refused
from groundswell.records import Sensitivity, Watchlist
from groundswell.settings import Settings
from groundswell.text import safe
from stream.detection import lines, surge
from stream.detection.episodes import RULE
from stream.detection.policy import Policy
from stream.names.directory import Directory
from stream.names.naming import is_pattern, members, no_such, resolved, search, strictly
from stream.rulebook.rule_desk import Pen

MOST_ENTRIES = 5_000  # of one list: a control object is one message
MOST_LISTS = 200
MOST_FOUND = 20
WORDS = get_args(Word)

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}", re.ASCII)


class NoSuchList(Refused):
    """There is no watchlist of this name."""

    reason = "no_such_list"
    remedy = "`groundswell watchlist list` shows all; GET /api/v1/watchlists does."


class BadList(Refused):
    """A list cannot be called so, or not hold so much."""

    reason = "bad_list"
    remedy = "Use small letters, digits, - and _."


class BadSensitivity(Refused):
    """It is neither a word nor a number of false alarms."""

    reason = "bad_sensitivity"
    remedy = "Write fewer, balanced, more, or how many false alarms a day: 0.5."


class NothingSet(Refused):
    """Nothing is set of whom it is asked."""

    reason = "nothing_set"
    remedy = "`groundswell sensitivity list` shows all; GET /api/v1/sensitivities does."


class ListDesk:
    """`view` is the control topic as read so far; `directory` loads what can be counted, in a thread, when it is first needed."""

    def __init__(
        self, settings: Settings, clock: Clock, view: ControlView, pen: Pen, directory: Callable[[], Directory]
    ) -> None:
        self._settings, self._clock, self._view, self._pen, self._load = settings, clock, view, pen, directory
        self._one_by_one = asyncio.Lock()  # a change is read, made and written; two at once would lose one

    # -- lists --------------------------------------------------------------------------------------------------------

    async def lists(self) -> Lists:
        """All, by name."""
        directory = await self._directory()
        policy = self._policy(directory)
        found = sorted(self._view.watchlists.values(), key=lambda one: one.name)
        return Lists(
            items=[self._row(one, directory, policy) for one in found], sharing=self._sharing(directory, policy)
        )

    async def one(self, name: str) -> ListRow:
        """One. Raises NoSuchList."""
        directory = await self._directory()
        return self._row(self._known(name), directory, self._policy(directory))

    async def put(self, name: str, asked: AskedList, *, by: str) -> ListRow:
        """Make it, say what is on it, or call it something else. Raises BadList, NoSuchList, NoSuchSubject, BrokerAway."""
        directory = await self._directory()
        async with self._one_by_one:
            before = self._view.watchlists.get(list_id(name))
            if asked.subjects is None and before is None:
                raise NoSuchList(f"There is no list {safe(name, 60)!r}.")
            given = before.subjects if asked.subjects is None and before else asked.subjects or []
            entries = given if asked.subjects is None else strictly(directory, given)
            new = asked.name or name
            if new != name:
                self._may_be_called(name, new)
            made = self._made(new, entries, safe(asked.by, 60) or by)
            await self._write(made)
            if new != name and before is not None:
                await self._follow_rename(name, new)
                await self._erase(before.id)
        return await self.one(new)

    async def add(self, name: str, asked: Sequence[str], *, by: str, strict: bool = False) -> Added:
        """Put them on a list; the first makes it. What nobody knows is told, and with `strict` refuses the whole: NoSuchSubject. Raises
        BadList, BrokerAway."""
        directory = await self._directory()
        entries, unknown = resolved(directory, asked)
        if unknown and (strict or not (entries or list_id(name) in self._view.watchlists)):
            raise no_such(unknown[0])
        async with self._one_by_one:
            before = self._view.watchlists.get(list_id(name))
            had = set(before.subjects) if before else set()
            new = [one for one in entries if one not in had]
            if new or before is None:
                await self._write(self._made(name, [*had, *new], by))
        known = [one for one in entries if one in had]
        return Added(watchlist=await self.one(name), added=new, known=known, not_found=list(unknown))

    async def take(self, name: str, asked: Iterable[str], *, by: str) -> ListRow:
        """Take entries off; an empty list stays until it is removed. Raises NoSuchList, BrokerAway."""
        directory, asked = await self._directory(), list(asked)
        gone = {*asked, *resolved(directory, asked)[0]}
        async with self._one_by_one:
            known = self._known(name)
            await self._write(self._made(name, [one for one in known.subjects if one not in gone], by))
        return await self.one(name)

    async def remove(self, name: str) -> None:
        """The whole list, and its sensitivity. Raises NoSuchList, BrokerAway."""
        async with self._one_by_one:
            known = self._known(name)
            await self._erase(known.id)
            if (own := sensitivity_id(OF_LIST + name)) in self._view.sensitivities:
                await self._erase(own)

    async def find(self, asked: str, limit: int = MOST_FOUND) -> list[Found]:
        """Subjects whose id or a name begins with, else holds, what is asked."""
        directory = await self._directory()
        return await asyncio.to_thread(search, directory, asked, limit)

    # -- sensitivities ------------------------------------------------------------------------------------------------

    async def sensitivities(self) -> Sensitivities:
        """That of all subjects first, then lists, then subjects."""
        directory = await self._directory()
        policy = self._policy(directory)
        set_now = self._view.sensitivities.values()
        whole = next((one for one in set_now if one.rule == RULE.id), None)
        items = [
            SensitivityRow(
                about=EVERYTHING, kind="all", names={}, value=whole.value if whole else self._settings.sensitivity,
                by=whole.by if whole else "", at=whole.at if whole else 0, subjects=len(directory), a_day=policy.budget,
            )
        ]  # fmt: skip
        for one in sorted(set_now, key=lambda one: (not one.watchlist, one.id)):
            if one.rule:
                continue
            about = OF_LIST + one.watchlist if one.watchlist else one.subject
            matched = self._about(about, directory)
            items.append(
                SensitivityRow(
                    about=about, kind="watchlist" if one.watchlist else "subject", value=one.value, by=one.by, at=one.at,
                    names={} if one.watchlist else directory[one.subject].names, subjects=len(matched),
                    a_day=_a_day(policy, matched, len(directory)),
                )
            )  # fmt: skip
        return Sensitivities(mode=policy.mode, words=dict(surge.SENSITIVITY_BUDGET), items=items)

    async def adjust(self, about: str, value: float | str, *, by: str) -> Sensitivity:
        """Set it for all, a list or a subject. Raises BadSensitivity, NoSuchList, NoSuchSubject, BrokerAway."""
        directory = await self._directory()
        made = self.meant(directory, about, value, by)
        await self._write(made)
        return made

    def meant(self, directory: Directory, about: str, value: float | str, by: str) -> Sensitivity:
        """The object that says so. Raises as `adjust`."""
        return sensitivity(self._view, directory, about, value, by, self._clock.now_ms())

    async def clear(self, about: str) -> str:
        """Forget what was set; returns whose it was. Raises NothingSet, BrokerAway."""
        directory = await self._directory()
        for one in (about, *resolved(directory, (about,))[0]):
            if sensitivity_id(one) in self._view.sensitivities:
                await self._erase(sensitivity_id(one))
                return one
        raise NothingSet(f"Nothing is set for {safe(about, 80)!r}.")

    async def asked(self, about: str, values: Sequence[float | str]) -> tuple[str, frozenset[str], Sequence[str]]:
        """Whom a preview is about, by id, the subjects that this is, and the values as words. Raises as `adjust`; writes nothing."""
        directory = await self._directory()
        made = [self.meant(directory, about, value, "") for value in values]
        about = made[0].subject or about
        words = [one.value if isinstance(one.value, str) else f"{one.value:g}" for one in made]
        return about, frozenset(self._about(about, directory)), words

    async def policy(self) -> Policy:
        """What follows from all of it. Raises BadSetting."""
        return self._policy(await self._directory())

    # -- small things -------------------------------------------------------------------------------------------------

    async def _directory(self) -> Directory:
        return await asyncio.to_thread(self._load)

    def _policy(self, directory: Directory) -> Policy:
        return lines.policy(
            self._settings, directory, self._view.watchlists.values(), self._view.sensitivities.values()
        )

    def _known(self, name: str) -> Watchlist:
        known = self._view.watchlists.get(list_id(name))
        if known is None:
            raise NoSuchList(f"There is no list {safe(name, 60)!r}.")
        return known

    def _made(self, name: str, entries: Iterable[str], by: str) -> Watchlist:
        if not _NAME.fullmatch(name):
            raise BadList(f"{safe(name, 60)!r} is no name of a list.")
        whole = sorted(set(entries))
        if len(whole) > MOST_ENTRIES:
            raise BadList(
                f"The list {name} would have {len(whole)} entries.",
                remedy=f"Keep to {MOST_ENTRIES}; use a pattern such as XNAS:*.",
            )
        if list_id(name) not in self._view.watchlists and len(self._view.watchlists) >= MOST_LISTS:
            raise BadList(f"There are {MOST_LISTS} lists.", remedy="Remove one first.")
        return Watchlist(id=list_id(name), name=name, subjects=whole, by=by, at=self._clock.now_ms())

    def _may_be_called(self, name: str, new: str) -> None:
        if list_id(new) in self._view.watchlists:
            raise BadList(f"There is a list {safe(new, 60)!r} already.", remedy="Choose another name.")
        naming = self._rules_of(name)
        if naming:
            raise BadList(
                f"The rule {naming[0]} names this list.", remedy="Change the rule first, or keep the name of the list."
            )

    async def _follow_rename(self, name: str, new: str) -> None:
        own = self._view.sensitivities.get(sensitivity_id(OF_LIST + name))
        if own is not None:
            await self._write(msgspec.structs.replace(own, id=sensitivity_id(OF_LIST + new), watchlist=new))
            await self._erase(own.id)

    def _rules_of(self, name: str) -> Sequence[str]:
        """Rules that name a list."""
        return sorted(
            str(each.get("id"))
            for one in self._view.rules.values()
            for each in one.rules
            if each.get("watchlist") == name
        )

    def _about(self, about: str, directory: Directory) -> Sequence[str]:
        if not about.startswith(OF_LIST):
            return [about] if about in directory.ids else []
        known = self._view.watchlists.get(list_id(about.removeprefix(OF_LIST)))
        return members(directory, known.subjects) if known else []

    def _row(self, one: Watchlist, directory: Directory, policy: Policy) -> ListRow:
        matched = members(directory, one.subjects)
        own = self._view.sensitivities.get(sensitivity_id(OF_LIST + one.name))
        return ListRow(
            name=one.name, by=one.by, at=one.at, entries=[_entry(directory, entry) for entry in one.subjects], matched=len(matched),
            rules=list(self._rules_of(one.name)), sensitivity=own.value if own else None,
            a_day=_a_day(policy, matched, len(directory)),
        )  # fmt: skip

    def _sharing(self, directory: Directory, policy: Policy) -> Sharing:
        watched = members(directory, [entry for one in self._view.watchlists.values() for entry in one.subjects])
        given = _a_day(policy, watched, len(directory))
        return Sharing(
            mode=policy.mode, budget=policy.budget, subjects=len(directory), watched=len(watched),
            half=0 < len(watched) < len(directory) / 2, a_day=given,
            times=round(given / len(watched) / (policy.budget / len(directory) * policy.weight), 1) if watched else 1.0,
        )  # fmt: skip

    async def _write(self, thing: Watchlist | Sensitivity) -> None:
        await self._pen.write(thing)
        # Who asks next shall see what was written; the topic says the same a moment later.
        self._view.apply(thing.id, msgspec.json.encode(thing))

    async def _erase(self, object_id: str) -> None:
        await self._pen.erase(object_id)
        self._view.apply(object_id, None)


def list_id(name: str) -> str:
    """The id of a list on the control topic."""
    return f"watchlist_{name}"


def sensitivity_id(about: str) -> str:
    """The id on the control topic of what is set for all, a list or a subject."""
    return f"sensitivity_{RULE.id if about == EVERYTHING else about}"


def sensitivity(
    view: ControlView, directory: Directory, about: str, value: float | str, by: str, at_ms: int
) -> Sensitivity:
    """What says that `about` has this sensitivity. Raises BadSensitivity, NoSuchList, NoSuchSubject."""
    meant = a_value(value)
    if about == EVERYTHING:
        return Sensitivity(id=sensitivity_id(about), value=meant, rule=RULE.id, by=by, at=at_ms)
    if about.startswith(OF_LIST):
        name = about.removeprefix(OF_LIST)
        if list_id(name) not in view.watchlists:
            raise NoSuchList(f"There is no list {safe(name, 60)!r}.")
        return Sensitivity(id=sensitivity_id(about), value=meant, watchlist=name, by=by, at=at_ms)
    if is_pattern(about):
        raise BadSensitivity(
            f"{safe(about, 80)!r} is a pattern.", remedy="Name one subject, or put the pattern on a watchlist."
        )
    (subject,) = strictly(directory, (about,))
    return Sensitivity(id=sensitivity_id(subject), value=meant, subject=subject, by=by, at=at_ms)


def a_value(given: float | str) -> Word | float:
    """A word, or a number of false alarms a day; a number may be written as text. Raises BadSensitivity."""
    if given in WORDS:
        return cast("Word", given)
    if isinstance(given, str) and not re.fullmatch(r"\d{1,4}(\.\d{1,6})?", given, re.ASCII):
        raise BadSensitivity(f"{safe(given, 20)!r} is no sensitivity.")
    if not 0 < float(given) <= 1_000:  # a NaN is neither
        raise BadSensitivity(
            f"{float(given):g} is no sensitivity.", remedy="Write more than 0, and at most 1,000 a day."
        )
    return float(given)


def _entry(directory: Directory, entry: str) -> Entry:
    pattern = is_pattern(entry)
    about = directory[entry]
    return Entry(
        entry=entry, pattern=pattern, names={} if pattern else about.names, kind="" if pattern else about.kind,
        subjects=list(members(directory, (entry,))),
    )  # fmt: skip


def _a_day(policy: Policy, subjects: Sequence[str], count: int) -> float:
    """False alarms a day that these are allowed together."""
    return round(sum(policy.weight_of(subject) for subject in subjects) * policy.budget / count, 4)
