"""Plays the past through the detector, as aggregate does with the present, for one or several settings at once. Pure: no clock, no files.

The rule is that of aggregate's fold: one document at a time, and before it counts the steps that its time closes. Scored partitions
know nothing of each other, so all of them are played abreast: each gives what comes before the next close, then one close serves them
all. That decides the same as one partition after the other, and 64 times faster. past_file.py and past_scored.py bring what is played,
backtest_report.py says what was found; shadow.py and history.py stand on `Play` too.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import msgspec

from groundswell.decisions import Detected
from groundswell.keys import MINUTE_MS
from groundswell.records import Row, ScoredBatch, ScoredDocument
from groundswell.reserved import is_test
from stream.baselines import Closed
from stream.detection.case import HISTORY_STEPS
from stream.detection.detect import Detector, Transition
from stream.detection.policy import Policy
from stream.names.directory import Directory
from stream.rulebook.rule_watch import RuleWatch
from stream.rulebook.rules_in_force import InForce
from stream.windows import Applied, Window, advance, due_steps, first_step, fold, is_new

HOLE_MS = 2 * 86_400_000  # a longer silence of all is missing data, as in aggregate
FORGET_STEPS = 60

Told = Callable[[int, Transition], None]


class Counted(NamedTuple):
    """One minute of one subject of which only counts are known. Each negative then stands for a story by a voice of its own."""

    subject: str
    minute_ms: int
    negative: int
    mentions: int
    reach: int


Item = ScoredBatch | Counted | Closed


@dataclass
class Lane:
    """One scored partition: what is still to be played, in its order. `over`: nothing more will come."""

    window: Window
    waiting: deque[Item] = field(default_factory=deque)
    over: bool = False
    begun: bool = False
    target_ms: int = 0  # steps up to here are to be closed before the first that waits counts; 0: not asked yet
    offset: int = 0  # of the rows made of counts

    def put(self, items: Iterable[Item]) -> None:
        """Records with several documents are taken apart: their times close steps one by one."""
        for item in items:
            if isinstance(item, ScoredBatch) and len(item.documents) != 1:
                self.waiting.extend(msgspec.structs.replace(item, documents=[one]) for one in item.documents)
            else:
                self.waiting.append(item)


class Play:
    """Lanes abreast, one detector a setting. `told` hears every transition with the number of its setting, those of a user's own rules
    with the next number; `held` what a floor keeps back, `seen` every document that counted, `step` every close."""

    def __init__(
        self, policies: Sequence[Policy], directory: Directory, told: Told, *, subjects: frozenset[str] = frozenset(),
        force: InForce | None = None,
    ) -> None:  # fmt: skip
        """`subjects`: only these are counted; empty: all. The policies share their step and lateness. `force`: rules that look at the
        first setting's detector."""
        self._force, self.rules = force, RuleWatch()
        self._told, self._subjects = told, subjects
        self.policy = policies[0]
        self.held: list[Counter[tuple[Detected, str]]] = [Counter() for _ in policies]
        self.detectors = [
            Detector(policy, directory, tell=self._hear(number)) for number, policy in enumerate(policies)
        ]
        self.seen: Callable[[list[Applied]], None] = lambda _applied: None
        self.step: Callable[[int], None] = lambda _start_ms: None
        self.all = Window()  # what the detectors read: the minutes of all lanes
        self.lanes: dict[int, Lane] = {}
        self.listening_from_ms = 0  # what was held before is not counted
        self.stop_ms = 0  # no step from here on is closed; 0: all are
        self.first_ms = 0
        self.steps = 0

    @property
    def closed_ms(self) -> int:
        return self.all.closed_ms

    @property
    def newest_ms(self) -> int:
        """The newest time of a document that counted."""
        return max((lane.window.watermark_ms for lane in self.lanes.values()), default=0) + self.policy.lateness_ms

    def lane(self, number: int) -> Lane:
        if number not in self.lanes:
            self.lanes[number] = Lane(Window(minutes=self.all.minutes))
        return self.lanes[number]

    def turn(self) -> set[int]:
        """Play on until lanes that are not over have nothing left: these are returned. None are when all is played, or what comes
        lies behind `stop_ms`."""
        while True:
            hungry = {number for number, lane in self.lanes.items() if not self._ready(lane)}
            if hungry:
                return hungry
            targets = [lane.target_ms for lane in self.lanes.values() if lane.waiting]
            if not targets:
                return set()
            if not self.closed_ms:
                self.first_ms = self.all.closed_ms = min(targets)
                if self._force is not None:
                    self.rules.enforce(self._force, self.all, (), self.first_ms)
            elif self.stop_ms and min(targets) > self.stop_ms:
                self.close_until(self.stop_ms)
                return set()
            else:
                self.close_until(min(targets))

    def close_until(self, end_ms: int) -> None:
        """Close the steps before `end_ms`."""
        step_ms = self.policy.step_ms
        self.all.watermark_ms = max(self.all.watermark_ms, end_ms)
        due = due_steps(self.all, step_ms, most=HOLE_MS // step_ms)
        if due and due.start > self.closed_ms:
            for detector in self.detectors:
                detector.gap((due.start - self.closed_ms) // step_ms)
        for start_ms in due:
            for number, detector in enumerate(self.detectors):
                self._tell(number, detector.close(self.all, start_ms))
            if self._force is not None:
                for one in self.rules.close(self.detectors[0], start_ms):
                    self._told(len(self.detectors), one)
            self.all.closed_ms = start_ms + step_ms
            self.step(start_ms)
            self.steps += 1
            if self.steps % FORGET_STEPS == 0:
                self._forget()
        for lane in self.lanes.values():
            if lane.begun:
                lane.window.closed_ms = self.all.closed_ms

    def _ready(self, lane: Lane) -> bool:
        """Count all that comes before the next close. False: more may come before it."""
        while lane.waiting:
            if not lane.target_ms:
                lane.target_ms = self._target(lane, lane.waiting[0])
            if not self.closed_ms or lane.target_ms > self.closed_ms:
                return True
            item = lane.waiting.popleft()
            lane.target_ms = 0
            if not lane.begun:
                lane.begun, lane.window.closed_ms = True, self.closed_ms
            if isinstance(item, ScoredBatch):
                self._count(lane, item)
            elif isinstance(item, Counted):
                self._count_minute(lane, item)
        return lane.over

    def _target(self, lane: Lane, item: Item) -> int:
        """Up to where steps are to be closed before `item` counts: at least 1."""
        window, step_ms = lane.window, self.policy.step_ms
        first_ms = 0
        if isinstance(item, Closed):
            window.watermark_ms = max(window.watermark_ms, item.watermark_ms)
            window.newest_ms = max(window.newest_ms, item.newest_ms)
        else:
            batch = item if isinstance(item, ScoredBatch) else _documents(item._replace(negative=0), lane.offset)
            if is_new(window, batch):
                advance(window, batch.documents, self.policy.lateness_ms)
                if not lane.begun:
                    first_ms = first_step(batch.documents[0], step_ms)
        return max(window.watermark_ms // step_ms * step_ms, first_ms, 1)

    def _count(self, lane: Lane, alone: ScoredBatch) -> None:
        wanted = tuple(row for row in alone.documents[0].rows if self._wanted(row.subject))
        if len(wanted) != len(alone.documents[0].rows):
            one = msgspec.structs.replace(alone.documents[0], rows=wanted)
            alone = msgspec.structs.replace(alone, documents=[one])
        for detector in self.detectors:
            detector.model = alone.model or detector.model
        self._note(lane, fold(lane.window, alone))

    def _count_minute(self, lane: Lane, item: Counted) -> None:
        if not self._wanted(item.subject):
            return
        batch = _documents(item, lane.offset)
        lane.offset += 1
        applied = fold(lane.window, batch)
        counters = lane.window.minutes.setdefault(item.subject, {}).setdefault(item.minute_ms, [0, 0, 0, 0, 0])
        if applied:  # else the minute is too old
            counters[1] += item.mentions - max(item.negative, 1) if item.mentions else 0
            counters[4] += item.reach - item.mentions
        self._note(lane, applied)

    def _note(self, lane: Lane, applied: list[Applied]) -> None:
        self.seen(applied)
        for number, detector in enumerate(self.detectors):
            gained = detector.note(applied)
            if self._force is not None and not number:
                self.rules.note(applied)
            self._tell(number, detector.early(lane.window, gained))

    def _tell(self, number: int, transitions: Sequence[Transition]) -> None:
        if self._force is not None and not number:
            self.rules.hear(transitions)
        for one in transitions:
            self._told(number, one)

    def _wanted(self, subject: str) -> bool:
        return not is_test(subject) and (not self._subjects or subject in self._subjects)

    def _hear(self, number: int) -> Callable[[Detected, str, dict[str, Any]], None]:
        def hear(decision: Detected, subject: str, _facts: dict[str, Any]) -> None:
            if self.closed_ms >= self.listening_from_ms:
                self.held[number][decision, subject] += 1

        return hear

    def _forget(self) -> None:
        onsets = [one.onset_ms for detector in self.detectors for one in detector.open_episodes.values()]
        self.all.forget(min([self.closed_ms - (HISTORY_STEPS + 1) * self.policy.step_ms, *onsets]))
        for detector in self.detectors:
            detector.gone()
        for lane in self.lanes.values():
            lane.window.touched.clear()
        for tally in self.rules.tallies.values():
            tally.touched.clear()


def _documents(item: Counted, offset: int) -> ScoredBatch:
    """A document for each negative, or one that stands for the neutral ones; known at the end of their minute."""
    at_ms = item.minute_ms + MINUTE_MS - 1
    label: Literal["negative", "neutral"] = "negative" if item.negative else "neutral"
    documents = [
        ScoredDocument(
            index=index, id=(name := f"{item.subject}|{item.minute_ms}|{index}"), story=name, author=name, source="counts",
            published_at=at_ms, ingested_at=at_ms, feed="comments",
            rows=(Row(item.subject, label, float(bool(item.negative))),) if item.mentions else (),
        )
        for index in range(max(item.negative, 1))
    ]  # fmt: skip
    return ScoredBatch(partition=0, offset=offset, documents=documents)
