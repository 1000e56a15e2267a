"""Folds scored batches into minute buckets, exactly once. Pure; store.py makes the result lasting, detect.py reads the counts.

Why a mark is enough: a tagger that runs on documents partition d starts at a committed offset, emits in offset order without a hole,
and commits only after the broker acknowledged. So within one scored partition the *first* occurrences of d's documents increase, zombies
and replays or not, and "apply what lies above d's mark" applies each document once. The mark is a document's, never a
row's: a document's rows for one partition travel together and count together.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from groundswell.books import Counts
from groundswell.keys import MINUTE_MS
from groundswell.records import NEGATIVE, NEUTRAL, POSITIVE, Bucket, Row, ScoredBatch, ScoredDocument

LATE_MS = 24 * 3_600_000  # older rows are counted as late; younger ones correct their bucket

_PLACE = {NEGATIVE: 0, NEUTRAL: 1, POSITIVE: 2}
_UNSURE, _ECHO = 3, 4


@dataclass(frozen=True)
class Applied:
    """One document that counted, with the rows that did; `open` says whether its bucket was still open."""

    document: ScoredDocument
    rows: tuple[Row, ...]
    minute_ms: int
    open: bool


@dataclass
class Window:
    """What is counted for one scored partition. All times are epoch milliseconds."""

    marks: dict[int, int] = field(default_factory=dict)  # documents partition -> mark of the last document applied
    watermark_ms: int = 0
    closed_ms: int = 0  # end of the last closed step; 0: nothing seen yet
    newest_ms: int = 0  # newest ingested_at: the "now" of decisions, so that a replay decides the same
    counts: Counts = field(default_factory=Counts)
    minutes: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    touched: set[tuple[str, int]] = field(default_factory=set)

    def bucket(self, subject: str, minute_ms: int) -> Bucket:
        """One minute of one subject."""
        return Bucket(*self.minutes.get(subject, {}).get(minute_ms, ()))

    def forget(self, before_ms: int) -> None:
        """Drop older minutes from memory; Redis keeps them."""
        for minutes in self.minutes.values():
            if minutes and next(iter(minutes)) < before_ms:
                for minute_ms in [minute_ms for minute_ms in minutes if minute_ms < before_ms]:
                    del minutes[minute_ms]


def mark(offset: int, index: int) -> int:
    """Position of a document within its documents partition."""
    return offset * 65_536 + index


def is_new(window: Window, batch: ScoredBatch) -> bool:
    """Whether the batch holds a document above its mark."""
    at_start = window.marks.get(batch.partition, -1)
    return any(mark(batch.offset, document.index) > at_start for document in batch.documents)


def touches(batch: ScoredBatch) -> Iterator[tuple[str, int]]:
    """The (subject, minute) pairs that `fold` may change: they must be in memory before."""
    for document in batch.documents:
        minute_ms = document.published_at // MINUTE_MS * MINUTE_MS
        for row in document.rows:
            yield row.subject, minute_ms


def fold(window: Window, batch: ScoredBatch) -> list[Applied]:
    """Count a batch's rows into the window. Returns what was applied, in the order of the documents."""
    at_start = window.marks.get(batch.partition, -1)
    highest = at_start
    applied = []
    for document in batch.documents:
        here = mark(batch.offset, document.index)
        rows = len(document.rows)
        window.counts.read += rows
        if here <= at_start:
            window.counts.duplicate += rows
            continue
        highest = max(highest, here)
        window.newest_ms = max(window.newest_ms, document.ingested_at)
        if window.watermark_ms - document.published_at > LATE_MS:
            window.counts.late += rows
            continue
        window.counts.applied += rows
        minute_ms = document.published_at // MINUTE_MS * MINUTE_MS
        for row in document.rows:
            _count(window, document, row, minute_ms)
        applied.append(Applied(document, tuple(document.rows), minute_ms, minute_ms >= window.closed_ms))
    window.marks[batch.partition] = highest
    return applied


def skip(window: Window, batch: ScoredBatch) -> None:
    """Count a batch's rows as dead-lettered beside the one record that its stage counts, and raise the mark: what is written
    of it once more is a duplicate."""
    at_start = window.marks.get(batch.partition, -1)
    rows = sum(len(document.rows) for document in batch.documents)
    window.counts.read += rows - 1
    window.counts.dead_lettered += rows - 1
    window.marks[batch.partition] = max(
        [at_start, *(mark(batch.offset, document.index) for document in batch.documents)]
    )


def _count(window: Window, document: ScoredDocument, row: Row, minute_ms: int) -> None:
    counters = window.minutes.setdefault(row.subject, {}).setdefault(minute_ms, [0, 0, 0, 0, 0])
    place = _ECHO if document.echo else _UNSURE if row.unsure else _PLACE[row.label]
    counters[place] += 1
    window.touched.add((row.subject, minute_ms))


def first_step(document: ScoredDocument, step_ms: int) -> int:
    """Where the first document of a partition lets its steps begin: not ahead of its arrival, whatever it says."""
    return min(document.published_at, document.ingested_at) // step_ms * step_ms


def advance(window: Window, documents: Iterable[ScoredDocument], lateness_ms: int) -> None:
    """Move the watermark by the events of one record. A time ahead of its own arrival counts as its arrival, so that a
    source with a fast clock cannot close other sources' buckets early."""
    newest_ms = max((min(document.published_at, document.ingested_at) for document in documents), default=0)
    window.watermark_ms = max(window.watermark_ms, newest_ms - lateness_ms)


def advance_idle(window: Window, now_ms: int, idle_ms: int) -> None:
    """Nothing came for a while and all was read: the clock moves the watermark."""
    if window.closed_ms:
        window.watermark_ms = max(window.watermark_ms, now_ms - idle_ms)
        window.newest_ms = max(window.newest_ms, now_ms)


def due_steps(window: Window, step_ms: int, most: int) -> range:
    """Starts of the steps that the watermark has passed, oldest first, at most `most` of them.

    A hole longer than that is skipped: it is missing data, not silence (surge.gap), and the steps closest to now matter.
    """
    end_ms = window.watermark_ms // step_ms * step_ms
    if window.closed_ms == 0 or end_ms <= window.closed_ms:
        return range(0)
    return range(max(window.closed_ms, end_ms - most * step_ms), end_ms, step_ms)
