"""Evaluates the rules in force for one scored partition as its steps close, and keeps their episodes. Pure: no clock, no Redis.

The same rows and rules give the same alerts, however the rows were cut: rules are looked at when a step closes, after the detector, and
know what was folded until then. A change of the rules is an input in time: it holds for the steps that close after it was seen.
rule_tally.py counts, rule_event.py writes down; aggregate.py calls, and makes `kept` lasting.
"""

from bisect import insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec
from msgspec import Struct

from groundswell import times
from groundswell.keys import MINUTE_MS
from stream.detection.detect import Detector, Transition
from stream.detection.episodes import RULE
from stream.rulebook.rule_step import Standing, Step, spans_of
from stream.rulebook.rule_tally import Counts, Span, Tally
from stream.rulebook.rules import Rule
from stream.rulebook.rules_in_force import InForce
from stream.windows import Applied, Window

HISTORY_MS = 30 * 86_400_000
MOST_SURGES = 100  # of a subject
DAY_MS = 86_400_000
MATCHES_KEPT = 200  # a rule and partition, for people


class Match(Struct, frozen=True, array_like=True):
    """One time that a rule fired."""

    at: int
    subject: str
    episode: str


class Kept(Struct, kw_only=True):
    """What must outlive a restart; the counts are kept beside it."""

    v: int = 1
    closed_ms: int = 0
    since_ms: dict[str, int] = {}  # by sieve: texts before it were not counted
    standings: list[Standing] = []
    surges: dict[str, list[int]] = {}  # when the detector fired, by subject
    matches: dict[str, list[Match]] = {}


@dataclass(frozen=True)
class Wanted:
    """What must be read before rules that are new here can be looked at: hours of buckets of subjects whose older minutes memory does
    not have, and stored counts of sieves from a minute on."""

    buckets: tuple[tuple[str, int, int], ...] = ()  # subject, from minute, to minute
    sieves: tuple[tuple[str, int], ...] = ()  # sieve, from minute


@dataclass
class RuleWatch:
    """The rules of one scored partition: `restore`, `enforce`, then `note`, `hear` and `close` as the stream goes on."""

    force: InForce = field(default_factory=InForce)
    tallies: dict[str, Tally] = field(default_factory=dict)  # by sieve
    changed: bool = False  # `kept` is newer than what is stored
    _kept: Kept = field(default_factory=Kept)
    _standings: dict[tuple[str, str], Standing] = field(default_factory=dict)
    _known: set[str] = field(default_factory=set)  # subjects met
    _chosen: dict[str, list[str]] = field(
        default_factory=dict
    )  # by rule, in order of their names: arrival does not matter
    _only: set[str] = field(default_factory=set)  # subjects of rules for which all texts count

    # -- the rules change ---------------------------------------------------------------------------------------------

    def enforce(self, force: InForce, window: Window, subjects: Iterable[str], memory_ms: int) -> Wanted:
        """From the next step on these rules hold. `memory_ms`: the window has all minutes from there on."""
        self.force, before = force, self.tallies
        self._chosen = {rule.id: [] for rule in force.rules}
        self._known = set()
        for subject in subjects:
            self._meet(subject)
        end = window.closed_ms // MINUTE_MS
        spans: dict[str, set[Span]] = defaultdict(set)
        for rule in force.rules:
            spans[rule.sieve.id].add((rule.window_s // 60, 0))  # what its alerts show
            for one in rule.conditions:
                spans[rule.sieve.id].update(spans_of(one))
        sieves = {rule.sieve.id: rule.sieve for rule in force.rules if rule.sieve.id in spans}
        whole = {one for rule in force.rules if not rule.sieve.id for one in self._chosen[rule.id]}
        since_ms = _next_minute_ms(window)
        self.tallies = {}
        load: list[tuple[str, int]] = []
        for sieve_id, sieve in sorted(sieves.items()):
            tally = Tally(sieve, tuple(sorted(spans[sieve_id])), end=end)
            self.tallies[sieve_id] = tally
            if not sieve_id:
                tally.only = self._only = whole
                continue
            if sieve_id in before:  # what memory has is what Redis has: no batch is in work
                tally.end, tally.cells = before[sieve_id].end, before[sieve_id].cells
                tally.roll(end)
            tally.since_ms = self._kept.since_ms.setdefault(sieve_id, since_ms)
            if sieve_id not in before or tally.minutes > before[sieve_id].minutes:
                load.append((sieve_id, max(end - tally.minutes, tally.since_ms // MINUTE_MS)))
        self._kept.since_ms = {one: since for one, since in self._kept.since_ms.items() if one in self.tallies}
        self.changed = True
        return Wanted(tuple(self._fill(window, sorted(whole), memory_ms // MINUTE_MS)), tuple(load))

    def _fill(self, window: Window, subjects: Sequence[str], memory: int) -> Iterator[tuple[str, int, int]]:
        """Take the counts of all texts from the buckets in memory; tells which older ones it lacks."""
        tally = self.tallies.get("")
        if tally is None:
            return
        for subject in subjects:
            minutes = {at_ms // MINUTE_MS: _counts(found) for at_ms, found in window.minutes.get(subject, {}).items()}
            tally.fill(subject, minutes)
            if tally.end - tally.minutes < memory:
                yield subject, tally.end - tally.minutes, memory

    def older(self, subject: str, minutes: Mapping[int, Sequence[int]]) -> None:
        """Buckets that were wanted: minute -> five counters."""
        tally = self.tallies[""]
        have = {minute: _exact(counts) for minute, counts in tally.cells.get(subject, {}).items()}
        tally.fill(subject, {minute: _counts(found) for minute, found in minutes.items()} | have)

    def stored(self, sieve: str, cells: Mapping[str, Mapping[int, Counts]]) -> None:
        """Counts of a sieve that were wanted."""
        for subject, minutes in cells.items():
            self.tallies[sieve].fill(subject, minutes)

    def _meet(self, subject: str) -> None:
        if subject in self._known:
            return
        self._known.add(subject)
        for rule in self.force.rules:
            if self.force.selects(rule, subject):
                insort(self._chosen[rule.id], subject)
                if not rule.sieve.id and "" in self.tallies:
                    self._only.add(subject)

    # -- what comes in ------------------------------------------------------------------------------------------------

    def note(self, applied: Iterable[Applied]) -> None:
        """Count what was just folded."""
        if not self.tallies:
            return
        found = list(applied)
        for one in found:
            for row in one.rows:
                self._meet(row.subject)
        for tally in self.tallies.values():
            tally.note(found)

    def hear(self, told: Iterable[Transition]) -> None:
        """Remember when the detector fired, for rules that count it; also while there are none."""
        for one in told:
            data = one.event.data
            if one.event.type != "alert.firing" or data.sequence or data.test or data.rule.id != RULE.id:
                continue
            at_ms = times.parse_ms(one.event.timestamp)
            kept = [at for at in self._kept.surges.get(data.subject.id, ()) if at > at_ms - HISTORY_MS]
            self._kept.surges[data.subject.id] = [*kept, at_ms][-MOST_SURGES:]
            self.changed = True

    # -- a step closes ------------------------------------------------------------------------------------------------

    def roll(self, closed_ms: int) -> None:
        """Time goes on and nobody decides: a rebuild counts."""
        for tally in self.tallies.values():
            tally.roll(closed_ms // MINUTE_MS)

    def close(self, detector: Detector, start_ms: int, *, warming: bool = False) -> list[Transition]:
        """The step that begins at `start_ms` has closed, and the detector has seen it. While `warming`, rules that were applied later
        than the step are passed over: they were not there when it closed the first time."""
        if not self.force.rules and not self._standings:
            return []
        policy = detector.policy
        end_ms = start_ms + policy.step_ms
        at_ms = end_ms + policy.lateness_ms
        for tally in self.tallies.values():
            tally.roll(end_ms // MINUTE_MS)
        unbroken = self._kept.closed_ms == start_ms
        self._kept.closed_ms = end_ms
        self.changed = True
        step = Step(
            detector, self._standings, self.tallies, self.surges, start_ms, end_ms, at_ms, unbroken
        )  # fmt: skip
        told = list(self._end_gone(step))
        for rule in self.force.rules:
            if warming and self.force.applied_ms.get(rule.id, 0) > at_ms:
                continue
            for subject in self._chosen[rule.id]:
                one = step.look(rule, subject)
                if one is not None:
                    told.append(one)
                    self._match(rule, one)
        return told

    def _end_gone(self, step: Step) -> Iterator[Transition]:
        """What fires by a rule that was removed, switched off, changed, or is no longer about its subject, ends now."""
        for key in sorted(self._standings):
            standing, rule = self._standings[key], self.force.by_id.get(key[0])
            if rule is not None and rule.version == standing.version and self.force.selects(rule, standing.subject):
                continue
            if standing.open:
                yield step.end_without_rule(standing)
            del self._standings[key]

    # -- what lasts ---------------------------------------------------------------------------------------------------

    def keep(self) -> bytes:
        """For Redis and for a checkpoint."""
        self._kept.standings = [self._standings[key] for key in sorted(self._standings)]
        return msgspec.json.encode(self._kept)

    def restore(self, raw: bytes | None) -> None:
        """Take up what was kept; rules are to be enforced anew."""
        self._kept = msgspec.json.decode(raw, type=Kept) if raw else Kept()
        self._standings = {(one.rule, one.subject): one for one in self._kept.standings}
        self.force, self.tallies, self.changed = InForce(), {}, False

    def _match(self, rule: Rule, told: Transition) -> None:
        """One more time that it fired, for people."""
        data = told.event.data
        if told.event.type != "alert.firing":
            return
        at_ms, before = times.parse_ms(told.event.timestamp), self._kept.matches.get(rule.id, [])
        today = [one for one in before if one.at > at_ms - DAY_MS]
        self._kept.matches[rule.id] = [*(today or before[-1:]), Match(at_ms, data.subject.id, data.episode_id)][
            -MATCHES_KEPT:
        ]

    def surges(self, subject: str, since_ms: int) -> int:
        """How often the detector has fired for a subject since then."""
        return sum(at > since_ms for at in self._kept.surges.get(subject, ()))


def _next_minute_ms(window: Window) -> int:
    """The first minute of which no text can have been counted yet; 0 where none was."""
    if not window.closed_ms:
        return 0
    newest_ms = max((max(minutes) for minutes in window.minutes.values() if minutes), default=0)
    return max(window.closed_ms, newest_ms + MINUTE_MS)


def _counts(counters: Sequence[int]) -> Counts:
    mentions = sum(counters[:4])
    return counters[0], mentions, mentions + counters[4]


def _exact(counts: Sequence[int]) -> Counts:
    return counts[0], counts[1], counts[2]
