"""Rules held against a plain reckoning over all rows: the same alerts at the same minutes, with restarts in between or not."""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from groundswell.decisions import Detected
from groundswell.errors import BadRule
from groundswell.keys import MINUTE_MS
from groundswell.records import NEGATIVE, NEUTRAL, POSITIVE, AlertEvent, Row, RuleSet, ScoredBatch, ScoredDocument
from groundswell.times import parse_ms
from stream.detection import surge
from stream.detection.detect import Detector, Transition
from stream.detection.policy import Policy
from stream.detection.usual import usual
from stream.names import entities
from stream.names.directory import Directory
from stream.rulebook import rules_in_force
from stream.rulebook.rule_grammar import define
from stream.rulebook.rule_watch import RuleWatch
from stream.rulebook.rules import Node, Rule
from stream.rulebook.rules_in_force import InForce
from stream.windows import Window, advance, due_steps, first_step, fold

NOON_MS = 1_700_000_000_000 // 3_600_000 * 3_600_000
DIRECTORY = Directory(entities.load())
POLICY = Policy(settings=surge.Settings(), ln_h=surge.threshold(5.0, 100), lateness_ms=30_000, page_url="https://page")
SUBJECTS = ("XNAS:AAPL", "XNAS:MSFT", "XSHG:600519")
NAME = {"en": "Mine", "zh": "我的规则"}


def rule(rule_id: str = "mine", **changes: Any) -> dict[str, Any]:
    return {"id": rule_id, "name": NAME, "subjects": ["*"], **changes}


def at_least(threshold: float, window: str = "5m", metric: str = "count", **changes: Any) -> dict[str, Any]:
    return {"metric": metric, "window": window, "threshold": threshold, **changes}


def in_force(*given: dict[str, Any], at: int = 0) -> InForce:
    return rules_in_force.of([RuleSet(id="rules_mine", rules=list(given), by="ana", at=at)], {})


@dataclass
class Road:
    """A scored partition without Redis: rows in, transitions of rules out."""

    force: InForce
    policy: Policy = POLICY

    def __post_init__(self) -> None:
        self.window, self.detector, self.watch = Window(), Detector(self.policy, DIRECTORY), RuleWatch()
        self.told: list[Transition] = []
        self.offset = 0
        self.ends: list[int] = []
        self.take_up(self.force)

    def take_up(self, force: InForce) -> None:
        wanted = self.watch.enforce(force, self.window, self.detector.subjects, 0)
        assert wanted.buckets == ()

    def start_again(self) -> None:
        """As a process that was killed: what was kept, and counts from where they are stored."""
        kept, before = self.watch.keep(), self.watch
        self.watch = RuleWatch()
        self.watch.restore(kept)
        wanted = self.watch.enforce(before.force, self.window, sorted(self.detector.subjects, reverse=True), 0)
        for sieve, first in wanted.sieves:
            stored = before.tallies[sieve].cells
            self.watch.stored(sieve, {
                subject: {minute: (counts[0], counts[1], counts[2]) for minute, counts in cells.items() if minute >= first}
                for subject, cells in stored.items()
            })  # fmt: skip

    def say(self, *documents: ScoredDocument) -> None:
        for document in documents:
            alone = ScoredBatch(partition=0, offset=self.offset, documents=[document])
            self.offset += 1
            if not self.window.closed_ms:
                self.window.closed_ms = first_step(document, self.policy.step_ms)
            advance(self.window, [document], self.policy.lateness_ms)
            self.close()
            applied = fold(self.window, alone)
            self.watch.note(applied)
            self.watch.hear(self.detector.early(self.window, self.detector.note(applied)))

    def close(self) -> None:
        for start_ms in due_steps(self.window, self.policy.step_ms, 10_000):
            self.watch.hear(self.detector.close(self.window, start_ms))
            self.window.closed_ms = start_ms + self.policy.step_ms
            self.ends.append(self.window.closed_ms)
            self.told += self.watch.close(self.detector, start_ms)

    def pass_time(self, minutes: int) -> None:
        """Nothing is said for so long."""
        self.window.watermark_ms = (self.window.closed_ms or NOON_MS) + minutes * MINUTE_MS
        self.close()

    @property
    def events(self) -> list[AlertEvent]:
        return [one.event for one in self.told]


def document(
    at_ms: int, number: int = 0, subject: str = SUBJECTS[0], label: str = NEGATIVE, **changes: Any
) -> ScoredDocument:
    name = f"d{at_ms}-{number}"
    given = {"story": name, "author": f"a{number}", "source": "wire", "rows": (Row(subject, label, 0.9),)} | changes  # type: ignore[arg-type]
    return ScoredDocument(index=0, id=name, published_at=at_ms, ingested_at=given.pop("ingested_at", at_ms), **given)  # type: ignore[arg-type]


# -- the plain reckoning ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """A document as it counts; `known`: how many steps had closed when it came."""

    minute: int
    subject: str
    counts: tuple[int, int, int]
    topics: tuple[str, ...]
    source: str
    feed: str
    known: int


def reckoned(made: Rule, subject: str, said: list[Said], ends: list[int]) -> list[tuple[int, str]]:
    """(when, what) of the alerts of one rule on one subject."""
    sieve = made.sieve
    ours = [
        one for one in said
        if one.subject == subject and (not sieve.topics or set(one.topics) & set(sieve.topics))
        and (not sieve.sources or one.source in sieve.sources) and (not sieve.feeds or one.feed in sieve.feeds)
    ]  # fmt: skip
    told: list[tuple[int, str]] = []
    since, met, calm, over_ms, firing, ended_ms, began = 0, False, 0, 0, False, 0, []
    named = min((one.known for one in said if one.subject == subject), default=len(ends))  # before, it is nobody's
    for closed, end_ms in list(enumerate(ends, 1))[named:]:
        at_ms, end = end_ms + POLICY.lateness_ms, end_ms // MINUTE_MS

        def count(first: int, last: int, place: int, closed: int = closed) -> int:
            return sum(one.counts[place] for one in ours if one.known < closed and first <= one.minute < last)

        def holds(node: Node, *, history: bool, end: int = end, end_ms: int = end_ms) -> bool:
            found = []
            for one in node.parts:
                if isinstance(one, Node):
                    found.append(holds(one, history=history))
                    continue
                minutes, place = one.window_s // 60, ("negatives", "mentions", "reach", "this-rule").index(one.of)
                if one.metric == "episodes":
                    value: float | None = sum(at > end_ms - one.window_s * 1000 for at in began)
                    found.append(not history or one.compares(value or 0))
                    continue
                now = count(end - minutes, end, place)
                if one.metric == "count":
                    value = now
                elif one.metric == "share":
                    mentions = count(end - minutes, end, 1)
                    value = now / mentions if mentions else None
                else:
                    value = now / max(count(end - 2 * minutes, end - minutes, place), 1)
                found.append(value is not None and one.compares(value))
            return all(found) if node.every else any(found)

        if holds(made.node, history=False):
            since, calm = since or end_ms, 0
            if not met and end_ms - since >= made.holds_s * 1000:
                met = True
                if not over_ms or at_ms - over_ms > 3_600_000:
                    began.append(end_ms)
            if met and not firing and holds(made.node, history=True):
                firing = True
                told.append((at_ms, "reopened" if ended_ms and at_ms - ended_ms <= 3_600_000 else "firing"))
        else:
            since = 0
            calm += met
            if calm == 10:
                met, calm, over_ms = False, 0, at_ms
                if firing:
                    firing, ended_ms = False, at_ms
                    told.append((at_ms, "resolved"))
    return told


def some_rules(chance: random.Random) -> list[dict[str, Any]]:
    def condition(*, history: bool) -> dict[str, Any]:
        metric = chance.choice(["count", "count", "share", "rate_of_change", *(["episodes"] if history else [])])
        if metric == "episodes":
            return {"metric": metric, "within": chance.choice(["2h", "7d"]), "threshold": chance.randint(1, 3),
                    "comparison": chance.choice([">=", "<="])}  # fmt: skip
        made = at_least(
            {"count": chance.randint(1, 6), "share": chance.choice([0.3, 0.6]), "rate_of_change": chance.choice([0.5, 2.0])}[metric],
            chance.choice(["5m", "15m", "2h"]), metric, comparison=chance.choice([">=", ">=", ">", "<=", "<"]),
        )  # fmt: skip
        if metric != "share":
            made["of"] = chance.choice(["negatives", "mentions", "reach"])
        return made

    found = []
    while len(found) < 6:
        every = chance.random() < 0.7
        conditions = [condition(history=every) for _ in range(chance.randint(1, 3))]
        if chance.random() < 0.3:
            conditions.append({"any": [condition(history=False), condition(history=False)]})
        changes: dict[str, Any] = {"all" if every else "any": conditions}
        if chance.random() < 0.5:
            changes["for"] = chance.choice(["1m", "4m"])
        if chance.random() < 0.4:
            changes["topics"] = ["fraud"]
        if chance.random() < 0.2:
            changes["sources"] = ["wire"]
        if chance.random() < 0.2:
            changes["feeds"] = ["comments"]
        try:
            define(given := rule(f"r{len(found)}", **changes), "f")
        except BadRule:  # a contradiction by chance
            continue
        found.append(given)
    return found


def some_talk(chance: random.Random) -> Iterator[ScoredDocument]:
    at_ms = NOON_MS
    for number in range(160):
        at_ms += chance.choice([0, 5_000, 20_000, 60_000, 60_000, 200_000, 1_200_000])
        late_ms = chance.choice([0, 0, 0, 0, 90_000, 2_000_000])
        yield document(
            max(at_ms - late_ms, NOON_MS), number, chance.choice(SUBJECTS), chance.choice([NEGATIVE, NEGATIVE, NEUTRAL, POSITIVE]),
            ingested_at=at_ms, topics=chance.choice([(), ("fraud",), ("fraud", "default")]), source=chance.choice(["wire", "paper"]),
            feed=chance.choice(["news", "comments"]), echo=chance.random() < 0.15,
        )  # fmt: skip


def counted(one: ScoredDocument, known: int) -> Said:
    mention = int(not one.echo)
    negative = int(mention and one.rows[0].label == NEGATIVE)
    return Said(
        one.published_at // MINUTE_MS,
        one.rows[0].subject,
        (negative, mention, 1),
        tuple(one.topics),
        one.source,
        one.feed,
        known,
    )


@pytest.mark.parametrize("seed", range(10))
def test_rules_fire_and_end_as_a_plain_reckoning_over_all_rows_says(seed: int) -> None:
    chance = random.Random(seed)
    road = Road(in_force(*some_rules(chance)))
    said = []
    for one in some_talk(chance):
        road.say(one)
        said.append(counted(one, len(road.ends)))
        if chance.random() < 0.05:
            road.start_again()
    road.pass_time(140)
    heard, compared = all_heard(road), 0
    for made in road.force.rules:
        for subject in SUBJECTS:
            found = [(one.at_ms, one.what) for one in heard if (one.rule, one.subject) == (made.id, subject)]
            assert found == reckoned(made, subject, said, road.ends), (made, subject)
            compared += len(found)
    assert compared > 3  # the talk of this seed says something of its rules


@dataclass(frozen=True)
class Heard:
    rule: str
    subject: str
    what: str
    at_ms: int


def all_heard(road: Road) -> list[Heard]:
    return [
        Heard(
            one.event.data.rule.id, one.subject,
            {Detected.REOPENED: "reopened", Detected.RULE_MATCHED: "firing", Detected.RULE_RESOLVED: "resolved"}[one.decision],
            parse_ms(one.event.timestamp),
        )
        for one in road.told
    ]  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_restarts_change_no_byte_of_any_alert(seed: int) -> None:
    chance = random.Random(seed)
    given, talk = some_rules(chance), list(some_talk(chance))
    whole, cut = Road(in_force(*given)), Road(in_force(*reversed(given)))
    for number, one in enumerate(talk):
        whole.say(one)
        cut.say(one)
        if number % 7 == seed:
            cut.start_again()
    assert [msgspec.json.encode([one.event, one.evidence]) for one in whole.told] == [
        msgspec.json.encode([one.event, one.evidence]) for one in cut.told
    ]
    assert whole.told


# -- one by one -------------------------------------------------------------------------------------------------------


def burst(road: Road, start_ms: int, count: int = 3, **changes: Any) -> None:
    road.say(*(document(start_ms + i * 1_000, i, **changes) for i in range(count)))


def test_a_rule_fires_at_the_step_that_brings_it_over_and_ends_after_ten_calm_steps() -> None:
    road = Road(in_force(rule(all=[at_least(3)], severity="critical")))
    burst(road, NOON_MS)
    road.pass_time(30)
    firing, resolved = road.events
    assert (firing.type, resolved.type) == ("alert.firing", "alert.resolved")
    assert firing.data.rule.id == "mine"
    assert (firing.data.rule.name, firing.data.rule.bounded) == (NAME, False)
    assert (firing.data.severity, firing.data.observed.negatives, firing.data.window_s) == ("critical", 3, 300)
    assert firing.timestamp.endswith(":01:30Z")  # the step closed, and half a minute for what comes late
    assert resolved.timestamp.endswith(":15:30Z")  # five minutes it holds, then ten that it does not
    assert firing.data.episode_id == resolved.data.episode_id
    assert [one.title for one in firing.data.documents] == ["", "", ""]
    assert "Mine" in firing.data.summary["en"]
    assert "no bound on false alarms" in firing.data.summary["en"]
    assert "我的规则" in firing.data.summary["zh"]
    assert "不在误报预算之内" in firing.data.summary["zh"]
    shown = road.told[0].evidence["conditions"]
    assert [(one["value"], one["threshold"], one["holds"]) for one in shown] == [(3.0, 3.0, True)]


def test_what_comes_back_within_the_hour_is_the_same_episode_and_later_another() -> None:
    road = Road(in_force(rule(all=[at_least(3)])))
    burst(road, NOON_MS)
    road.pass_time(30)
    burst(road, NOON_MS + 40 * MINUTE_MS)
    road.pass_time(100)
    burst(road, NOON_MS + 200 * MINUTE_MS)
    road.pass_time(5)
    firing = [one for one in road.events if one.type == "alert.firing"]
    assert [one.data.sequence for one in firing] == [0, 2, 0]
    assert firing[0].data.episode_id == firing[1].data.episode_id != firing[2].data.episode_id
    assert [one.decision for one in road.told][:3] == [Detected.RULE_MATCHED, Detected.RULE_RESOLVED, Detected.REOPENED]


def test_the_third_time_in_a_week_is_told_and_the_first_two_are_not() -> None:
    history = {"metric": "episodes", "of": "this-rule", "within": "7d", "threshold": 3}
    road = Road(in_force(rule(all=[at_least(3), history])))
    for hour in (0, 3, 6):
        burst(road, NOON_MS + hour * 60 * MINUTE_MS)
        road.pass_time(100)
    assert [one.type for one in road.events] == ["alert.firing", "alert.resolved"]
    assert road.events[0].data.observed.negatives == 3
    assert road.told[0].evidence["conditions"][1]["value"] == 3.0


def test_the_second_surge_of_a_subject_is_told_by_a_rule_that_counts_the_detector() -> None:
    road = Road(in_force(rule(all=[{"metric": "episodes", "of": "negative-surge", "within": "7d", "threshold": 2}])))
    at_ms = NOON_MS
    for _ in range(60):  # until the subject is learned
        for i in range(20):
            road.say(document(at_ms + i * 60_000, i, label=NEUTRAL))
        at_ms += 30 * MINUTE_MS
    for _ in range(3):
        at_ms += 8 * 60 * MINUTE_MS
        for i in range(90):
            road.say(document(at_ms + i * 4_000, i, source=f"wire{i % 5}"))
        road.pass_time(200)
    surges = road.watch.surges(SUBJECTS[0], 0)
    assert surges >= 2
    assert len([one for one in road.events if one.type == "alert.firing"]) == surges - 1


def test_it_must_hold_without_a_break_for_as_long_as_it_says() -> None:
    road = Road(
        in_force(rule(all=[at_least(3, "5m")], **{"for": "4m"}), rule("long", all=[at_least(3, "5m")], **{"for": "5m"}))
    )
    burst(road, NOON_MS)
    road.pass_time(30)
    assert [one.data.rule.id for one in road.events if one.type == "alert.firing"] == ["mine"]
    assert road.events[0].timestamp.endswith(":05:30Z")


def test_an_alert_says_whether_it_would_hold_without_its_largest_story() -> None:
    for counted, broad in ((3, False), (2, True)):
        road = Road(in_force(rule(all=[at_least(counted)])))
        road.say(
            *(
                document(NOON_MS + i * 1_000, i, title="One and the same long headline told again today", url="")
                for i in range(2)
            )
        )
        road.say(*(document(NOON_MS + 5_000 + i, i + 5) for i in range(2 if broad else 1)))
        road.pass_time(3)
        assert [one.data.fires_without_largest_story for one in road.events] == [broad]


def test_only_the_texts_of_a_topic_and_a_source_count() -> None:
    road = Road(in_force(rule(all=[at_least(3)], topics=["fraud"], sources=["*.cn"])))
    burst(road, NOON_MS, topics=("fraud",), source="wire")
    burst(road, NOON_MS + MINUTE_MS, topics=("default",), source="xinhua.cn")
    road.pass_time(3)
    assert road.events == []
    burst(road, NOON_MS + 10 * MINUTE_MS, topics=("default", "fraud"), source="xinhua.cn")
    road.pass_time(3)
    assert [one.data.observed.negatives for one in road.events] == [3]
    assert {one.source for one in road.events[0].data.documents} == {"xinhua.cn"}
    assert road.events[0].data.expected.negatives == 0  # of some texts nobody knows what is usual


def test_a_share_without_texts_is_none_and_a_rule_on_silence_holds() -> None:
    quiet = rule("quiet", all=[at_least(0, "1h", comparison="<=", of="reach")])
    road = Road(in_force(rule(all=[at_least(0.9, "1h", "share", comparison="<=")]), quiet))
    road.say(document(NOON_MS))
    road.pass_time(90)
    assert [(one.data.rule.id, one.timestamp[14:19]) for one in road.events] == [("quiet", "01:30")]


def test_the_expected_is_the_detectors() -> None:
    road = Road(in_force(rule(all=[at_least(10, "15m"), at_least(0.5, "15m", "times_expected")])))
    burst(road, NOON_MS, 12)
    road.pass_time(1)
    (event,) = road.events
    norm = usual(road.detector, SUBJECTS[0], NOON_MS + MINUTE_MS, 900)
    value = road.told[0].evidence["conditions"][1]["value"]
    assert value == pytest.approx(12 / norm.negatives, abs=1e-4)
    assert event.data.effect == pytest.approx(value, abs=0.01)
    assert event.data.expected.low <= event.data.expected.negatives <= event.data.expected.high


def test_the_expected_of_a_day_is_what_its_minutes_add_up_to() -> None:
    road = Road(in_force(rule(all=[at_least(10)])))
    burst(road, NOON_MS)
    road.pass_time(3)
    hours = sum(usual(road.detector, SUBJECTS[0], NOON_MS + hour * 3_600_000, 3_600).negatives for hour in range(1, 25))
    assert usual(road.detector, SUBJECTS[0], NOON_MS + 24 * 3_600_000, 86_400).negatives == pytest.approx(
        hours, rel=1e-6
    )


def test_a_rule_that_is_removed_or_changed_ends_what_it_began() -> None:
    road = Road(in_force(rule(all=[at_least(3, "1h")])))
    burst(road, NOON_MS)
    road.pass_time(3)
    road.take_up(in_force(rule(all=[at_least(2, "1h")])))
    road.pass_time(1)
    road.take_up(in_force())
    road.pass_time(5)
    assert [(one.type, one.data.rule.version) for one in road.events] == [
        ("alert.firing", (first := road.events[0].data.rule.version)), ("alert.resolved", first),
        ("alert.firing", (second := road.events[2].data.rule.version)), ("alert.resolved", second),
    ]  # fmt: skip
    assert first != second
    assert len({one.data.episode_id for one in road.events}) == 2
    assert "changed or removed" in road.events[3].data.summary["en"]
    assert road.told[3].decision is Detected.RULE_ENDED


def test_another_severity_is_told_as_an_update_of_the_same_episode() -> None:
    road = Road(in_force(rule(all=[at_least(3, "1h")], severity="notice")))
    burst(road, NOON_MS)
    road.pass_time(3)
    road.take_up(in_force(rule(all=[at_least(3, "1h")], severity="critical")))
    road.pass_time(5)
    assert [(one.type, one.data.severity, one.data.sequence) for one in road.events] == [
        ("alert.firing", "notice", 0), ("alert.updated", "critical", 1)
    ]  # fmt: skip


def test_a_rule_that_comes_later_knows_what_was_counted_before_and_says_what_was_not() -> None:
    road = Road(in_force())
    burst(road, NOON_MS)
    road.pass_time(2)
    some = rule("some", all=[at_least(0.5, "5m", "share")], topics=["fraud"])
    road.take_up(in_force(rule(all=[at_least(3, "1h")]), some))
    burst(road, NOON_MS + 3 * MINUTE_MS, topics=("fraud",))
    road.pass_time(2)
    assert [one.data.rule.id for one in road.events] == ["mine"]  # a share of five minutes is known after five minutes
    road.pass_time(3)
    assert [one.data.rule.id for one in road.events] == ["mine", "some"]


def test_while_a_rebuild_goes_on_a_rule_does_not_hold_before_it_was_applied() -> None:
    early, late = (Road(in_force(rule(all=[at_least(3)]), at=at)) for at in (NOON_MS, NOON_MS + 3_600_000))
    for road in (early, late):
        burst(road, NOON_MS)
        road.told += road.watch.close(road.detector, NOON_MS, warming=True)
    assert len(early.told) == 1
    assert late.told == []


def test_a_step_of_ten_thousand_pairs_of_rules_and_subjects_takes_less_than_a_second() -> None:
    road = Road(
        in_force(*(rule(f"r{i}", all=[at_least(1_000), at_least(3, "15m", "times_expected")]) for i in range(100)))
    )
    for number in range(100):
        road.say(document(NOON_MS, number, f"XNAS:S{number}"))
    road.pass_time(1)
    started_s = time.perf_counter()
    road.pass_time(1)
    took_s = time.perf_counter() - started_s
    assert took_s < 1.0, "10,000 pairs of rules and subjects in one step"
