"""One rule held against one subject as a step closes: the life of its episode. Pure; rule_watch.py calls it, rule_event.py writes it down.

Met when all but its own history has held for long enough; fired when its history allows it, too; over when it was not met for ten steps.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from groundswell.decisions import Detected
from groundswell.keys import MINUTE_MS
from groundswell.records import AlertRule, Severity
from stream.detection.cards import family
from stream.detection.detect import Detector, Transition
from stream.detection.episodes import REOPEN_MS, AlertType, Episode, identity
from stream.detection.usual import usual
from stream.rulebook import rule_event
from stream.rulebook.rule_event import Seen
from stream.rulebook.rule_tally import NONE, Counts, Span, Tally
from stream.rulebook.rules import COUNTED, Condition, Rule

CALM_STEPS = 10  # without its conditions, and an episode is over
MOST_REMEMBERED = 100  # times that it was met, for rules that count them


class Standing(Struct, kw_only=True):
    """How one rule stands with one subject. Times are epoch milliseconds of event time."""

    rule: str
    version: int
    subject: str
    since_ms: int = 0  # start of the first step of those in a row that held; 0: the last one did not
    met: bool = False  # all but its own history has held long enough, and not been calm since
    calm_steps: int = 0
    over_ms: int = 0  # when it was last over
    began_ms: list[int] = []  # when it was met, each time anew
    severity: Severity = "warning"  # that was told
    name: dict[str, str] = {}
    episode: Episode | None = None

    @property
    def open(self) -> bool:
        return self.episode is not None and self.episode.state != "resolved"


@dataclass
class Step:
    """One closed step, while every rule is held against it."""

    detector: Detector
    standings: dict[tuple[str, str], Standing]  # by rule and subject; kept up to date
    tallies: Mapping[str, Tally]  # by sieve
    surges: Callable[[str, int], int]  # how often the detector has fired for a subject since a moment
    start_ms: int
    end_ms: int
    at_ms: int
    unbroken: bool
    _expected: dict[tuple[str, int], float] = field(default_factory=dict)  # by subject and window: rules share it

    def look(self, rule: Rule, subject: str) -> Transition | None:
        found = self.standings.get((rule.id, subject))
        values: dict[Condition, float | None] = {}

        def judge(one: Condition, *, history: bool) -> bool:
            if one.metric == "episodes" and one.of == "this-rule" and not history:
                return True
            if one not in values:
                values[one] = self._value(rule, one, subject)
            value = values[one]
            return value is not None and one.compares(value)

        held = rule.node.holds(lambda one: judge(one, history=False))
        if not held and found is None:
            return None
        standing = found or Standing(rule=rule.id, version=rule.version, subject=subject)
        self.standings[rule.id, subject] = standing
        if not held:
            return self._calm(rule, standing, values)
        if not standing.since_ms or not self.unbroken:
            standing.since_ms = self.start_ms
        standing.calm_steps = 0
        if not standing.met and self.end_ms - standing.since_ms - self.detector.policy.step_ms >= rule.holds_s * 1000:
            standing.met = True
            if not self._may_reopen(standing):
                standing.began_ms = [*self._recent(rule, standing), self.end_ms][-MOST_REMEMBERED:]
        if not standing.met:
            return None
        if standing.open:
            return self._say_severity(rule, standing, values)
        if not rule.node.holds(lambda one: judge(one, history=True)):
            return None
        return self._fire(rule, standing, values)

    def _value(self, rule: Rule, one: Condition, subject: str, less: Sequence[tuple[int, Counts]] = ()) -> float | None:
        """What a condition measures; None where it cannot be said yet, or there is nothing to divide by or to be the third of. `less`:
        texts that are left out, each with its minute."""
        if one.metric == "episodes":
            since_ms = self.end_ms - one.window_s * 1000
            if one.of == "this-rule":
                known = self.standings.get((rule.id, subject))
                return float(sum(at > since_ms for at in known.began_ms)) if known is not None else 0.0
            surge = self.detector.open_episodes.get(subject)
            goes_on = surge is not None and surge.state != "resolved"
            return float(self.surges(subject, since_ms)) if goes_on or not one.rises else None
        tally = self.tallies[rule.sieve.id]
        spans = spans_of(one)
        counts = self._counted(tally, subject, spans[0], less)
        # Some are missing of a span that began before its texts were counted: enough is enough, too few says nothing.
        if not all(tally.knows(span) for span in spans) and not (one.metric == "count" and one.rises):
            return None
        match one.metric:
            case "count":
                return float(counts[COUNTED.index(one.of)])
            case "share":
                return counts[0] / counts[1] if counts[1] else None
            case "rate_of_change":
                place = COUNTED.index(one.of)
                return counts[place] / max(self._counted(tally, subject, spans[1], less)[place], 1)
            case _:
                return counts[0] / self._usual(subject, one.window_s) if counts[0] else 0.0

    def _counted(self, tally: Tally, subject: str, span: Span, less: Sequence[tuple[int, Counts]]) -> Counts:
        counts, (back, to) = tally.sum(subject, span), span
        for minute, gone in less:
            if tally.end - back <= minute < tally.end - to:
                counts = counts[0] - gone[0], counts[1] - gone[1], counts[2] - gone[2]
        return counts

    def _holds_without_largest(self, rule: Rule, subject: str) -> bool:
        """Whether it would hold all the same without the negative story of most texts, however often it was told in other words."""
        told: dict[str, list[tuple[int, Counts]]] = defaultdict(list)
        first_ms, echoes = self.end_ms - 2 * rule.window_s * 1000, self.detector.echoes.get(subject, Counter())
        for one in self.detector.cards.get(subject, ()):
            if first_ms <= one.published_at < self.end_ms and rule.sieve.passes(one.topics, one.source, one.feed):
                told[family(one)].append((one.published_at // MINUTE_MS, (1, 1, 1 + echoes.get(one.story, 0))))
        if not told:
            return True
        largest = max(sorted(told), key=lambda name: sum(counts[2] for _, counts in told[name]))

        def judge(one: Condition) -> bool:
            value = self._value(rule, one, subject, told[largest])
            return value is not None and one.compares(value)

        return rule.node.holds(judge)

    def _usual(self, subject: str, window_s: int) -> float:
        key = subject, window_s
        if key not in self._expected:
            self._expected[key] = usual(self.detector, subject, self.end_ms, window_s).negatives
        return self._expected[key]

    def _calm(self, rule: Rule, standing: Standing, values: Mapping[Condition, float | None]) -> Transition | None:
        standing.since_ms = 0
        if not standing.met:
            standing.began_ms = self._recent(rule, standing)
            if not standing.began_ms and not self._may_reopen(standing):
                self.standings.pop((rule.id, standing.subject))
            return None
        standing.calm_steps += 1
        if standing.calm_steps < CALM_STEPS:
            return None
        standing.met, standing.calm_steps, standing.over_ms = False, 0, self.at_ms
        if not standing.open:
            return None
        return self._tell(rule, standing, "alert.resolved", Detected.RULE_RESOLVED, values)

    def _fire(self, rule: Rule, standing: Standing, values: Mapping[Condition, float | None]) -> Transition:
        last = standing.episode
        decision = Detected.RULE_MATCHED
        if last is not None and self.at_ms - last.resolved_ms <= REOPEN_MS:
            decision = Detected.REOPENED
            last.previous, last.state, last.sequence, last.resolved_ms = "resolved", "firing", last.sequence + 1, 0
        else:
            shares = all(one.metric in ("share", "episodes") for one in rule.conditions)
            rule_of = AlertRule(id=rule.id, version=rule.version)
            standing.episode = Episode(
                id=identity(standing.subject, standing.since_ms, rule_of), subject=standing.subject, state="firing",
                onset_ms=standing.since_ms, fired_ms=self.at_ms, changed_ms=self.at_ms,
                kind="share" if shares else "count", ratio=1.0,
            )  # fmt: skip
        return self._tell(rule, standing, "alert.firing", decision, values)

    def _say_severity(
        self, rule: Rule, standing: Standing, values: Mapping[Condition, float | None]
    ) -> Transition | None:
        if standing.severity == rule.severity:
            return None
        assert standing.episode is not None
        standing.episode.sequence += 1
        return self._tell(rule, standing, "alert.updated", Detected.UPDATED, values)

    def end_without_rule(self, standing: Standing) -> Transition:
        """Its rule is not there any more: what is told of the end is what was told of it, and that the rule ended."""
        return self._tell(None, standing, "alert.resolved", Detected.RULE_ENDED, {})

    def _tell(
        self,
        rule: Rule | None,
        standing: Standing,
        kind: AlertType,
        decision: Detected,
        values: Mapping[Condition, float | None],
    ) -> Transition:
        episode = standing.episode
        assert episode is not None
        if kind == "alert.resolved":
            episode.previous, episode.state, episode.resolved_ms = episode.state, "resolved", self.at_ms
            episode.sequence += 1
        counts, since_ms, found = NONE, 0, dict(values)
        if rule is not None:
            standing.severity, standing.name = rule.severity, rule.name
            tally, span = self.tallies[rule.sieve.id], (rule.window_s // 60, 0)
            counts, since_ms = tally.sum(standing.subject, span), 0 if tally.knows(span) else tally.since_ms
            for one in rule.conditions:  # also those that were not needed to decide
                found.setdefault(one, self._value(rule, one, standing.subject))
        broad = rule is None or kind == "alert.resolved" or self._holds_without_largest(rule, standing.subject)
        seen = Seen(self.start_ms, self.end_ms, self.at_ms, counts, since_ms, found, broad)
        who = AlertRule(id=standing.rule, version=standing.version, name=standing.name, bounded=False)
        event, evidence = rule_event.made(rule, who, standing.severity, kind, episode, seen, self.detector)
        return Transition(standing.subject, decision, event, evidence)

    def _recent(self, rule: Rule, standing: Standing) -> list[int]:
        """What its own history still counts."""
        within_s = max((one.window_s for one in rule.conditions if one.of == "this-rule"), default=0)
        return [at for at in standing.began_ms if at > self.end_ms - within_s * 1000]

    def _may_reopen(self, standing: Standing) -> bool:
        return bool(standing.over_ms) and self.at_ms - standing.over_ms <= REOPEN_MS


def spans_of(one: Condition) -> list[Span]:
    """Minutes back that a condition looks at: its window, and the one before it."""
    if one.metric == "episodes":
        return []
    minutes = one.window_s // 60
    return [(minutes, 0), (2 * minutes, minutes)] if one.metric == "rate_of_change" else [(minutes, 0)]
