"""Folds scored batches into minute buckets, exactly once. Pure; store.py makes the result lasting, detect.py reads the counts.

Why a mark is enough: a tagger that runs on documents partition d starts at a committed offset, emits in offset order without a hole,
and commits only after the broker acknowledged. So within one scored partition the *first* occurrences of d's documents increase, zombies
and replays or not, and "apply what lies above d's mark" applies each document once. The mark is a document's, never a
row's: a document's rows for one partition travel together and count together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import Struct

from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.records import NEGATIVE, NEUTRAL, POSITIVE, Bucket, Row, ScoredBatch, ScoredDocument
from groundswell.running.books import Counts

LATE_MS = 24 * HOUR_MS  # older rows are counted as late; younger ones correct their bucket
NEVER_MS = 1 << 62

_PLACE = {NEGATIVE: 0, NEUTRAL: 1, POSITIVE: 2}
_UNSURE, _ECHO = 3, 4
_A_RECORD = 65_536  # places of one record in a mark


class Applied(Struct, frozen=True, gc=False):
    """One document that counted, with the rows that did; `open` says whether its bucket was still open."""

    document: ScoredDocument
    rows: Sequence[Row]
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
    touched: dict[tuple[str, int], list[int]] = field(
        default_factory=dict
    )  # (subject, minute) -> its counters in `minutes`
    whole: dict[int, set[str]] = field(default_factory=dict)  # hour -> subjects of which memory has all that Redis has

    def bucket(self, subject: str, minute_ms: int) -> Bucket:
        """One minute of one subject."""
        return Bucket(*self.minutes.get(subject, {}).get(minute_ms, ()))

    def touch(self, subject: str, minute_ms: int) -> list[int]:
        """The counters of a minute that is about to change: the commit writes it."""
        counters = self.minutes.setdefault(subject, {}).setdefault(minute_ms, [0, 0, 0, 0, 0])
        self.touched[subject, minute_ms] = counters
        return counters

    def forget(self, before_ms: int) -> None:
        """Drop older minutes from memory; Redis keeps them."""
        for minutes in self.minutes.values():
            if minutes and next(iter(minutes)) < before_ms:
                for minute_ms in [minute_ms for minute_ms in minutes if minute_ms < before_ms]:
                    del minutes[minute_ms]
        for hour in [hour for hour in self.whole if hour * HOUR_MS < before_ms]:
            del self.whole[hour]


def mark(offset: int, index: int) -> int:
    """Position of a document within its documents partition."""
    return offset * _A_RECORD + index


def cold(window: Window, batch: ScoredBatch) -> set[tuple[str, int]]:
    """The (subject, hour) pairs in which folding may change a minute that memory does not have: they must be read before."""
    found = set()
    for document in batch.documents:
        hour = document.published_at // HOUR_MS
        whole = window.whole.get(hour, ())
        for row in document.rows:
            if row.subject not in whole:
                found.add((row.subject, hour))
    return found


def is_new(window: Window, batch: ScoredBatch, at: int = 0) -> bool:
    """Whether the `at`-th document lies above the mark."""
    return mark(batch.offset, batch.documents[at].index) > window.marks.get(batch.partition, -1)


def fold(window: Window, batch: ScoredBatch) -> list[Applied]:
    """Count all documents of a batch against the watermark as it stands. Returns what was applied, in their order."""
    return stretch(window, batch)[0]


def stretch(
    window: Window,
    batch: ScoredBatch,
    at: int = 0,
    *,
    lateness_ms: int = NEVER_MS,
    until_ms: int = NEVER_MS,
    looks: bool = False,
) -> tuple[list[Applied], int]:
    """Count documents of a batch from the `at`-th on, as if each came alone: held against the mark and the watermark that the one
    before left, after its own time has moved the watermark. Returns what was applied and where it stopped: at the end; before a new
    document, other than the first, whose time is `until_ms` or later; or, if it `looks`, after one that brought an open bucket a negative.

    One loop almost without calls, not even of min and max: a process is to count hundreds of thousands of rows a second.
    """
    documents, touched, start = batch.documents, window.touched, at
    watermark_ms, newest_ms, closed_ms = window.watermark_ms, window.newest_ms, window.closed_ms
    base, highest = batch.offset * _A_RECORD, window.marks.get(batch.partition, -1)
    applied: list[Applied] = []
    read = duplicate = late = 0
    for document in documents[at:] if at else documents:
        rows = document.rows
        here = base + document.index
        if here <= highest:
            at += 1
            read += len(rows)
            duplicate += len(rows)
            continue
        published_ms, ingested_ms = document.published_at, document.ingested_at
        event_ms = published_ms if published_ms < ingested_ms else ingested_ms  # noqa: FURB136
        if event_ms >= until_ms and at > start:
            break
        at += 1
        read += len(rows)
        highest = here
        if event_ms - lateness_ms > watermark_ms:  # noqa: PLR1730
            watermark_ms = event_ms - lateness_ms
        if ingested_ms > newest_ms:  # noqa: PLR1730
            newest_ms = ingested_ms
        if watermark_ms - published_ms > LATE_MS:
            late += len(rows)
            continue
        minute_ms = published_ms - published_ms % MINUTE_MS
        echo, negative = document.echo, False
        for row in rows:
            key = row.subject, minute_ms
            counters = touched.get(key)
            if counters is None:
                counters = window.touch(*key)
            if echo:
                counters[_ECHO] += 1
            elif row.unsure:
                counters[_UNSURE] += 1
            else:  # Row.sure_negative where the place is the first, without a call
                place = _PLACE[row.label]
                counters[place] += 1
                negative = negative or not place
        is_open = minute_ms >= closed_ms
        applied.append(Applied(document, rows, minute_ms, is_open))
        if looks and negative and is_open:
            break
    window.marks[batch.partition] = highest
    window.watermark_ms, window.newest_ms = watermark_ms, newest_ms
    counts = window.counts
    counts.read += read
    counts.duplicate += duplicate
    counts.late += late
    counts.applied += read - duplicate - late
    return applied, at


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


def closes_ms(window: Window, step_ms: int, lateness_ms: int) -> int:
    """The document's time from which on a step is due: the least integer where one is due already, or nothing was seen yet."""
    if window.closed_ms == 0 or due_steps(window, step_ms, 1):
        return -NEVER_MS
    return (window.closed_ms // step_ms + 1) * step_ms + lateness_ms


def due_steps(window: Window, step_ms: int, most: int) -> range:
    """Starts of the steps that the watermark has passed, oldest first, at most `most` of them.

    A hole longer than that is skipped: it is missing data, not silence (surge.gap), and the steps closest to now matter.
    """
    end_ms = window.watermark_ms // step_ms * step_ms
    if window.closed_ms == 0 or end_ms <= window.closed_ms:
        return range(0)
    return range(max(window.closed_ms, end_ms - most * step_ms), end_ms, step_ms)
