"""What people do with rules of their own: check, apply, list, remove. One code path for the command line and the pages.

rule_check.py looks at a text, the control topic carries it, every aggregate says in its beat which revision it runs.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec
from redis.exceptions import RedisError

from groundswell.asked_tuning import AskedRules, Board, Checked, Matched, RuleRow
from groundswell.clients.connect import RedisClient
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.decisions import Stage
from groundswell.errors import BadRule, NoSuchRule, RedisAway
from groundswell.keys import Keys
from groundswell.records import ControlObject, RuleSet
from groundswell.running import beat
from groundswell.running.beat import Beat
from groundswell.settings import Settings
from groundswell.text import safe
from stream.names.directory import Directory
from stream.rulebook import rule_check, rule_text, rules_in_force
from stream.rulebook.rule_grammar import MOST_RULES, define
from stream.rulebook.rule_watch import Kept, Match
from stream.rulebook.rule_words import means
from stream.rulebook.rules import Rule
from stream.topology import SCORED, Topology

LOOK_S = 0.25
DAY_MS = 86_400_000
LAST = 5  # matches of a rule that are listed
PAGE = "page"  # what a text without a file is called in messages

_kept = msgspec.json.Decoder(Kept)


class Pen(Protocol):
    """Writes one object to the control topic, or takes one away. Raises BrokerAway or ProduceFailed."""

    async def write(self, thing: ControlObject) -> None: ...

    async def erase(self, object_id: str) -> None: ...


class RuleDesk:
    """`view` is the control topic as read so far; `directory` loads what can be counted, in a thread, when it is first needed."""

    def __init__(
        self, settings: Settings, topology: Topology, clock: Clock, view: ControlView, pen: Pen, redis: RedisClient, keys: Keys,
        directory: Callable[[], Directory],
    ) -> None:  # fmt: skip
        self._settings, self._topology, self._clock, self._view = settings, topology, clock, view
        self._pen, self._redis, self._keys, self._directory = pen, redis, keys, directory
        self._one_by_one = asyncio.Lock()  # a change is read, made and written; two at once would lose one

    async def check(self, text: str, name: str = "") -> Checked:
        """What each rule of a text means, and what is wrong. Writes nothing."""
        directory = await asyncio.to_thread(self._directory)
        lists = rules_in_force.watchlists_of(self._view)
        return await asyncio.to_thread(
            rule_check.looked_at, text, safe(name, 60) or PAGE, directory, lists, self._settings.step_s
        )

    async def apply(self, asked: AskedRules, *, by: str) -> list[RuleRow]:
        """Write them; returns them as they are in force soon. Raises BadRule, BrokerAway."""
        definitions, made = await self._read(asked)
        by = safe(asked.by, 60) or by
        async with self._one_by_one:
            wanted = self._of_file(asked.name, definitions, by) if asked.name else self._one_each(definitions, by)
            self._fits(wanted, made, asked.name)
            for thing in wanted:
                await self._write(thing)
        ids = {rule.id for rule in made}
        return [_row(one, rule, given, ()) for one, rule, given in self._all() if rule.id in ids]

    async def remove(self, name: str, *, by: str) -> list[str]:
        """Take away the rule of this id, or all of a file; returns the ids that are gone. Raises NoSuchRule, BrokerAway."""
        gone: list[str] = []
        async with self._one_by_one:
            for one in list(self._view.rules.values()):
                left = [] if one.id in (name, set_id(name)) else [each for each in one.rules if each.get("id") != name]
                if len(left) == len(one.rules):
                    continue
                gone += [str(each.get("id")) for each in one.rules if each not in left]
                if left:
                    await self._write(msgspec.structs.replace(one, rules=left, by=by, at=self._clock.now_ms()))
                else:
                    await self._pen.erase(one.id)
                    self._view.apply(one.id, None)
        if not gone:
            raise NoSuchRule(f"There is no rule {safe(name, 60)!r}.")
        return gone

    async def board(self) -> Board:
        """All rules, the processes that run them, and how often each has matched. Raises RedisAway."""
        running, matches = await self._aggregates(), await self._matches()
        wanted, now_ms = self.revision, self._clock.now_ms()
        directory = await asyncio.to_thread(self._directory)
        return Board(
            revision=wanted, processes=len(running), in_force_in=sum(one.rules == wanted for one in running),
            items=[
                _row(one, rule, given, matches.get(rule.id, ()), now_ms, directory) for one, rule, given in self._all()
            ],
        )  # fmt: skip

    async def until_in_force(self, wait_s: float) -> list[Beat] | None:
        """The aggregates that run, once all of them have these rules; None when they have not within `wait_s`, or none runs."""
        end_s = time.monotonic() + wait_s
        while True:
            running = await self._aggregates()
            if running and all(one.rules == self.revision for one in running):
                return running
            if time.monotonic() >= end_s:
                return None
            await asyncio.sleep(LOOK_S)

    def text(self, rule_id: str) -> str:
        """A rule in force, as TOML. Raises NoSuchRule."""
        for _, rule, given in self._all():
            if rule.id == rule_id:
                return rule_text.written(given)
        raise NoSuchRule(f"There is no rule {safe(rule_id, 60)!r}.")

    @property
    def revision(self) -> str:
        """The name of all rules as they are written, by which aggregates say what they run."""
        return rules_in_force.of(self._view.rules.values(), rules_in_force.watchlists_of(self._view)).revision

    # -- a change -----------------------------------------------------------------------------------------------------

    async def _read(self, asked: AskedRules) -> tuple[list[dict[str, Any]], list[Rule]]:
        name = safe(asked.name, 60) or PAGE
        text = asked.text
        if asked.rule is not None:
            define(asked.rule, name)  # before it is written as text: that knows only what can be a rule
            text = rule_text.written(asked.rule)
        directory = await asyncio.to_thread(self._directory)
        lists = rules_in_force.watchlists_of(self._view)
        definitions, made, _ = await asyncio.to_thread(
            rule_check.checked, text, name, directory, lists, self._settings.step_s
        )
        return definitions, made

    def _of_file(self, name: str, definitions: list[dict[str, Any]], by: str) -> list[RuleSet]:
        return [RuleSet(id=set_id(name), rules=definitions, by=by, at=self._clock.now_ms())]

    def _one_each(self, definitions: list[dict[str, Any]], by: str) -> list[RuleSet]:
        """Each in its place of the set that has its id; a new one is a set of its own."""
        at, sets = self._clock.now_ms(), dict(self._view.rules)
        changed: dict[str, RuleSet] = {}
        for given in definitions:
            home = next(
                (one for one in sets.values() if any(each.get("id") == given["id"] for each in one.rules)), None
            )
            rules = [given if each.get("id") == given["id"] else each for each in home.rules] if home else [given]
            set_of = home.id if home else set_id(given["id"])
            if home is None and set_of in sets:  # a file of this name has other rules: it keeps them
                rules = [*sets[set_of].rules, given]
            sets[set_of] = changed[set_of] = RuleSet(id=set_of, rules=rules, by=by, at=at)
        return list(changed.values())

    def _fits(self, wanted: Sequence[RuleSet], made: Sequence[Rule], name: str) -> None:
        """Raises BadRule where another file has one of the ids, or there would be too many."""
        new = {one.id for one in wanted}
        others = {rule.id: one for one, rule, _ in self._all() if one.id not in new}
        named = safe(name, 60) or PAGE
        for rule in made:
            if rule.id in others:
                raise BadRule(
                    f"{named}, rule {rule.id}", "id", f"{others[rule.id].id} has a rule of this id.",
                    f"Choose another id, or `groundswell rules remove {rule.id}` first.",
                )  # fmt: skip
        count = len(others) + sum(len(one.rules) for one in wanted)
        if count > MOST_RULES:
            raise BadRule(named, "rule", f"with those of other files there would be {count}.",
                          f"Keep to {MOST_RULES} in all.")  # fmt: skip

    async def _write(self, thing: RuleSet) -> None:
        await self._pen.write(thing)
        # Who asks next shall see what was written; the topic says the same a moment later.
        self._view.apply(thing.id, msgspec.json.encode(thing))

    # -- what is there ------------------------------------------------------------------------------------------------

    def _all(self) -> list[tuple[RuleSet, Rule, dict[str, Any]]]:
        """Every rule that can be read; what cannot is left out, as aggregate does."""
        found = []
        for one in sorted(self._view.rules.values(), key=lambda one: one.id):
            for number, given in enumerate(one.rules, start=1):
                try:
                    found.append((one, define(given, one.id, number), given))
                except BadRule:
                    continue
        return found

    async def _aggregates(self) -> list[Beat]:
        try:
            return [one for one in await beat.beats(self._redis, self._keys) if one.stage == Stage.AGGREGATE]
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error

    async def _matches(self) -> dict[str, list[Match]]:
        """By rule, oldest first, over all partitions."""
        count = self._topology.partitions(SCORED)
        try:
            stored: Any = await self._redis.mget([self._keys.rules(partition) for partition in range(count)])
        except (RedisError, OSError, TimeoutError) as error:
            raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
        found: dict[str, list[Match]] = {}
        for raw in stored:
            for rule, matches in (_kept.decode(raw).matches if raw else {}).items():
                found.setdefault(rule, []).extend(matches)
        return {rule: sorted(matches, key=lambda one: (one.at, one.subject)) for rule, matches in found.items()}


def set_id(file_name: str) -> str:
    """The id of a file's rules on the control topic."""
    stem = file_name.rpartition("/")[2]
    return f"rules_{safe(stem.removesuffix('.toml'), 60)}"


def _row(
    one: RuleSet, rule: Rule, given: dict[str, Any], matches: Sequence[Match], now_ms: int = 0, directory: Directory | None = None
) -> RuleRow:  # fmt: skip
    return RuleRow(
        id=rule.id, version=rule.version, names=rule.name, severity=rule.severity, enabled=rule.enabled, set=one.id, by=one.by,
        applied_at=one.at, means=means(rule), matched_24h=sum(match.at > now_ms - DAY_MS for match in matches),
        last=[
            Matched(
                at=match.at, subject=match.subject, episode=match.episode,
                names=directory[match.subject].names if directory else {},
            )
            for match in reversed(matches[-LAST:])
        ],
        text=rule_text.written(given),
    )  # fmt: skip
