"""The rules that hold now: all sets of the control topic, held against the catalogue and the watchlists. Pure; rule_watch.py evaluates.

Every aggregate makes the same of the same sets, and names it by `revision`; so `groundswell rules list` can say that they all run it.
"""

import difflib
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import msgspec

from groundswell.control import ControlView
from groundswell.errors import BadRule
from groundswell.records import RuleSet
from groundswell.reserved import is_test
from groundswell.telemetry import log
from groundswell.text import safe
from stream.rulebook.rule_grammar import MOST_RULES, define
from stream.rulebook.rules import Rule, glob, spoken

MOST_SUBJECTS = 20_000  # that one rule may match
MOST_PAIRS = (
    200_000  # of rules and subjects, over all sets: a fifth of a second of each minute, on all partitions together
)

Watchlists = Mapping[str, Sequence[str]]  # name -> ids and patterns


@dataclass(frozen=True)
class InForce:
    """Enabled rules by id, and since when (epoch ms by the clock of who applied them)."""

    revision: str = ""
    rules: tuple[Rule, ...] = ()
    applied_ms: Mapping[str, int] = field(default_factory=dict)
    watchlists: Watchlists = field(default_factory=dict)

    @cached_property
    def by_id(self) -> dict[str, Rule]:
        return {rule.id: rule for rule in self.rules}

    def selects(self, rule: Rule, subject: str) -> bool:
        """Whether the rule is about this subject. What only tests the installation no rule is about."""
        ids, patterns = self._selected[rule.id]
        return not is_test(subject) and (subject in ids or any(pattern.fullmatch(subject) for pattern in patterns))

    @cached_property
    def _selected(self) -> dict[str, tuple[frozenset[str], tuple[re.Pattern[str], ...]]]:
        found = {}
        for rule in self.rules:
            entries = wanted(rule, self.watchlists)
            patterns = tuple(glob(one) for one in entries if "*" in one)
            found[rule.id] = frozenset(one for one in entries if "*" not in one), patterns
        return found


def watchlists_of(view: ControlView) -> Watchlists:
    """By name, as people have set them until now."""
    return {one.name: tuple(one.subjects) for one in view.watchlists.values()}


def of(sets: Iterable[RuleSet], watchlists: Watchlists) -> InForce:
    """What cannot be read, or comes twice, is left out with a line in the log: whoever applies a file is told at once."""
    ordered = sorted(sets, key=lambda one: (one.at, one.id))
    found: dict[str, Rule] = {}
    applied: dict[str, int] = {}
    for one in ordered:
        for number, definition in enumerate(one.rules, start=1):
            try:
                rule = define(definition, one.id, number)
            except BadRule as error:
                log().warning("rule_left_out", error=safe(error.line, 300))
                continue
            if rule.id in found or len(found) >= MOST_RULES:
                log().warning(
                    "rule_left_out", rule=rule.id, set=safe(one.id, 80), error="its id is taken, or there are too many"
                )
                continue
            found[rule.id] = rule
            applied[rule.id] = one.at
    named = {name: sorted(entries) for name, entries in sorted(watchlists.items())}
    used = {rule.watchlist: named.get(rule.watchlist, []) for rule in found.values() if rule.watchlist}
    return InForce(
        revision=_revision(ordered, used),
        rules=tuple(sorted((rule for rule in found.values() if rule.enabled), key=lambda rule: rule.id)),
        applied_ms=applied,
        watchlists=used,
    )


def wanted(rule: Rule, watchlists: Watchlists) -> list[str]:
    """Ids and patterns of the subjects of a rule."""
    return sorted({*rule.subjects, *(watchlists.get(rule.watchlist, ()) if rule.watchlist else ())})


def check(
    rules: Sequence[Rule],
    file: str,
    subjects: Sequence[str],
    topics: Sequence[str],
    watchlists: Watchlists | None,
    step_s: int,
) -> dict[str, int]:
    """How many of the catalogue's `subjects` each rule matches, by rule. `watchlists` None: not known here, so not looked at. Raises
    BadRule for what would never match, would match too much, or does not fit the steps that buckets are closed in."""
    matched: dict[str, int] = {}
    for rule in rules:
        place = f"{file}, rule {rule.id}"
        for one in rule.conditions:
            if one.metric != "episodes" and one.window_s % step_s:
                raise BadRule(place, "window", f"{spoken(one.window_s)} is no multiple of the step, {step_s} s.",
                              f"Write a multiple of {spoken(max(step_s, 60))}.")  # fmt: skip
        if rule.holds_s % step_s:
            raise BadRule(place, "for", f"{spoken(rule.holds_s)} is no multiple of the step, {step_s} s.",
                          f"Write a multiple of {spoken(max(step_s, 60))}.")  # fmt: skip
        for topic in rule.sieve.topics:
            if topic not in topics:
                raise BadRule(place, "topics", f"there is no topic {topic}.", _near(topic, topics, "topics"))
        if watchlists is not None and rule.watchlist and rule.watchlist not in watchlists:
            raise BadRule(place, "watchlist", f"there is no watchlist {rule.watchlist}.",
                          _near(rule.watchlist, sorted(watchlists), "watchlists"))  # fmt: skip
        found: set[str] = set()
        for entry in rule.subjects:
            pattern = glob(entry)
            here = [subject for subject in subjects if pattern.fullmatch(subject) and not is_test(subject)]
            if not here:
                raise BadRule(place, "subjects", f"{entry} matches no subject.", _near(entry, subjects, "subjects"))
            found.update(here)
        listed = [glob(entry) for entry in (watchlists or {}).get(rule.watchlist, ())]
        found.update(subject for subject in subjects if any(pattern.fullmatch(subject) for pattern in listed))
        if watchlists is not None and not found:
            raise BadRule(place, "watchlist", f"{rule.watchlist} is empty.", "Put subjects into it first.")
        if len(found) > MOST_SUBJECTS:
            raise BadRule(
                place, "subjects", f"{len(found)} subjects are too many.", f"Keep to {MOST_SUBJECTS}: choose fewer."
            )
        matched[rule.id] = len(found)
    if sum(matched.values()) > MOST_PAIRS:
        what = f"over all rules {sum(matched.values())} subjects are matched."
        raise BadRule(file, "subjects", what, f"Keep to {MOST_PAIRS}: choose fewer.")
    return matched


def _near(name: str, known: Sequence[str], what: str) -> str:
    close = difflib.get_close_matches(name, known, 3)
    some = (
        f"Near: {', '.join(close)}."
        if close
        else f"For example: {', '.join(list(known)[:3])}."
        if known
        else f"There are no {what} yet."
    )
    return f"{some} * stands for any text." if what == "subjects" else some


def _revision(sets: Sequence[RuleSet], used: Watchlists) -> str:
    whole = msgspec.json.encode([[[one.id, one.at, one.rules] for one in sets], used], order="sorted")
    return hashlib.blake2b(whole, digest_size=4).hexdigest()
