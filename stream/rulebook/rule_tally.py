"""Counts of the texts that a rule is about, minute by minute and summed over its windows as time goes on. Pure; rule_watch.py asks.

Where all texts of a subject count, the buckets hold the same; a tally is filled from them. Where only some do (a topic, a source, a
feed), nothing else has the counts: they begin when the first rule asks for them, and are stored minute by minute.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from groundswell.keys import MINUTE_MS
from groundswell.reserved import is_test
from stream.rulebook.rules import Sieve
from stream.windows import Applied

Span = tuple[
    int, int
]  # minutes back from the end: from (exclusive of nothing) to; (15, 0) is the last quarter of an hour
Counts = tuple[int, int, int]  # negatives, mentions, reach: each holds the one before
NONE: Counts = (0, 0, 0)


@dataclass
class Tally:
    """Counts of one sieve. Minutes are epoch minutes; `end` is the minute after the last one closed. `since_ms`: texts before it were
    not counted; 0: all were. `only`: the subjects counted; None: all that come."""

    sieve: Sieve
    spans: tuple[Span, ...]
    since_ms: int = 0
    only: set[str] | None = None
    end: int = 0
    cells: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    touched: set[tuple[str, int]] = field(default_factory=set)
    _sums: dict[str, dict[Span, list[int]]] = field(default_factory=dict)

    @property
    def minutes(self) -> int:
        """How far back it must reach."""
        return max((back for back, _ in self.spans), default=0)

    def note(self, applied: Iterable[Applied]) -> None:
        """Count what was just folded. A late text corrects its minute in every sum that holds it."""
        sieve, only, cells, end = self.sieve if self.sieve.id else None, self.only, self.cells, self.end
        first = end - self.minutes
        for one in applied:
            document, minute = one.document, one.minute_ms // MINUTE_MS
            if minute < first or (sieve and not sieve.passes(document.topics, document.source, document.feed)):
                continue
            mention = 0 if document.echo else 1
            for row in one.rows:
                subject = row.subject
                if (only is not None and subject not in only) or is_test(subject):
                    continue
                negative = mention if row.sure_negative else 0
                minutes = cells.get(subject)
                if minutes is None:
                    minutes = cells[subject] = {}
                cell = minutes.get(minute)
                if cell is None:
                    cell = minutes[minute] = [0, 0, 0]
                cell[0] += negative
                cell[1] += mention
                cell[2] += 1
                if sieve:
                    self.touched.add((subject, minute))
                if minute < end:
                    self._correct(subject, minute, (negative, mention, 1))

    def fill(self, subject: str, minutes: Mapping[int, Counts]) -> None:
        """Take up what is known of a subject, in place of what was counted of it."""
        first = self.end - self.minutes
        self.cells[subject] = {minute: list(counts) for minute, counts in minutes.items() if minute >= first}
        self._sums.pop(subject, None)

    def roll(self, end: int) -> None:
        """Time has closed all minutes before `end`."""
        if end <= self.end:
            return
        for subject, sums in self._sums.items():
            cells = self.cells.get(subject, {})
            for (back, to), counts in sums.items():
                if end - self.end >= back:
                    sums[back, to] = _summed(cells, end - back, end - to)
                    continue
                for minute in range(self.end - to, end - to):
                    _change(counts, cells.get(minute), 1)
                for minute in range(self.end - back, end - back):
                    _change(counts, cells.get(minute), -1)
        first = end - self.minutes
        for subject, cells in list(self.cells.items()):
            if cells and min(cells) < first:
                for minute in [minute for minute in cells if minute < first]:
                    del cells[minute]
            if not cells:
                del self.cells[subject]
                self._sums.pop(subject, None)
        self.end = end

    def sum(self, subject: str, span: Span) -> Counts:
        """Counts of one subject over one of its spans, up to the end."""
        cells = self.cells.get(subject)
        if not cells:
            return NONE
        sums = self._sums.get(subject)
        if sums is None:
            sums = self._sums[subject] = {
                (back, to): _summed(cells, self.end - back, self.end - to) for back, to in self.spans
            }
        return tuple(sums[span])  # type: ignore[return-value]

    def knows(self, span: Span) -> bool:
        """Whether every text of the span was counted."""
        return (self.end - span[0]) * MINUTE_MS >= self.since_ms

    def _correct(self, subject: str, minute: int, counts: Counts) -> None:
        for (back, to), summed in self._sums.get(subject, {}).items():
            if self.end - back <= minute < self.end - to:
                _change(summed, counts, 1)


def _summed(cells: Mapping[int, Iterable[int]], first: int, end: int) -> list[int]:
    total = [0, 0, 0]
    for minute, counts in cells.items():
        if first <= minute < end:
            _change(total, counts, 1)
    return total


def _change(total: list[int], counts: Iterable[int] | None, sign: int) -> None:
    if counts is not None:
        for place, count in enumerate(counts):
            total[place] += sign * count
