"""Folding: whatever is read twice counts once, whatever comes late is corrected or counted as late, no clock runs ahead."""

from collections import defaultdict
from copy import deepcopy
from dataclasses import dataclass
from itertools import groupby

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.records import NEGATIVE, NEUTRAL, POSITIVE, Bucket, Row, ScoredBatch, ScoredDocument
from stream.windows import (
    LATE_MS,
    Applied,
    Window,
    advance,
    advance_idle,
    closes_ms,
    cold,
    due_steps,
    first_step,
    fold,
    is_new,
    mark,
    stretch,
)  # fmt: skip

NOON_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS
SUBJECTS = ("XTST:AAAA", "XTST:BBBB", "market")


def document(
    index: int = 0,
    at_ms: int = NOON_MS,
    *,
    label: str = NEGATIVE,
    subjects: tuple[str, ...] = ("XTST:AAAA",),
    echo: bool = False,
    unsure: bool = False,
    ingested_at: int | None = None,
) -> ScoredDocument:
    rows = tuple(Row(subject, label, 0.9, unsure) for subject in subjects)  # type: ignore[arg-type]
    return ScoredDocument(
        index=index, id=f"d{index}", story=f"s{index}", echo=echo, published_at=at_ms,
        ingested_at=at_ms if ingested_at is None else ingested_at, rows=rows,
    )  # fmt: skip


def batch(partition: int, offset: int, *documents: ScoredDocument) -> ScoredBatch:
    return ScoredBatch(partition=partition, offset=offset, documents=list(documents))


def counted(window: Window) -> dict[str, dict[int, list[int]]]:
    return {subject: minutes for subject, minutes in window.minutes.items() if minutes}


# -- exactly once -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """One life of a tagger on one documents partition: it starts at a committed place, emits in order and dies somewhere."""

    partition: int
    start: int
    end: int


@st.composite
def logs(draw: st.DrawFn) -> tuple[list[ScoredBatch], list[ScoredBatch]]:
    """(the calm log, a log that scored may hold after crashes): records of several documents partitions."""
    records: dict[int, list[ScoredBatch]] = {}
    for partition in range(draw(st.integers(1, 3))):
        records[partition] = []
        offset = draw(st.integers(0, 3))
        for _ in range(draw(st.integers(1, 7))):
            indices = draw(st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True).map(sorted))
            documents = [
                document(
                    index, NOON_MS + draw(st.integers(0, 3)) * MINUTE_MS,
                    label=draw(st.sampled_from((NEGATIVE, NEUTRAL, POSITIVE))), echo=draw(st.booleans()),
                    unsure=draw(st.booleans()), subjects=tuple(draw(st.lists(st.sampled_from(SUBJECTS), min_size=1, unique=True))),
                )
                for index in indices
            ]  # fmt: skip
            records[partition].append(batch(partition, offset, *documents))
            offset += draw(st.integers(1, 3))  # messages without rows for this scored partition leave holes
    calm = [record for partition in records for record in records[partition]]

    # Each partition's writes: runs that start at or below what was acknowledged, and are not cut before their start.
    written: list[tuple[int, list[ScoredBatch]]] = []
    for partition, own in records.items():
        acknowledged, runs = 0, []
        for _ in range(draw(st.integers(0, 4))):
            start = draw(st.integers(0, acknowledged))
            end = draw(st.integers(start, len(own)))
            runs.append(Run(partition, start, end))
            # Everything emitted so far by any run without a hole below it may be committed.
            acknowledged = max(acknowledged, end)
        runs.append(Run(partition, draw(st.integers(0, acknowledged)), len(own)))
        written += [(partition, own[run.start : run.end]) for run in runs]

    # Interleave: partitions freely; within one, a later run begins only after what lies below its start was written,
    # but the earlier run may live on as a zombie beside it.
    log: list[ScoredBatch] = []
    queues = [list(run) for _, run in written]
    owners = [partition for partition, _ in written]
    seen: dict[int, set[int]] = defaultdict(set)
    while any(queues):
        ready = [
            i for i, queue in enumerate(queues)
            if queue and {record.offset for record in records[owners[i]] if record.offset < queue[0].offset} <= seen[owners[i]]
        ]  # fmt: skip
        chosen = draw(st.sampled_from(ready))
        record = queues[chosen].pop(0)
        seen[owners[chosen]].add(record.offset)
        log.append(record)
    return calm, log


@settings(max_examples=80, deadline=None)
@given(logs())
def test_any_interleaving_of_replays_counts_like_the_calm_stream(
    both: tuple[list[ScoredBatch], list[ScoredBatch]],
) -> None:
    calm, disturbed = both
    expected, found = Window(), Window()
    for record in calm:
        fold(expected, record)
    for record in disturbed:
        fold(found, record)
    assert counted(found) == counted(expected)
    assert found.marks == expected.marks
    assert found.counts.applied == expected.counts.applied
    assert found.counts.balanced
    assert found.counts.read == sum(len(one.rows) for record in disturbed for one in record.documents)


@settings(max_examples=30, deadline=None)
@given(logs())
def test_without_the_mark_a_replay_would_count_twice(both: tuple[list[ScoredBatch], list[ScoredBatch]]) -> None:
    """The proof that the test above can fail."""
    calm, disturbed = both
    expected, found = Window(), Window()
    for record in calm:
        fold(expected, record)
    for record in disturbed:
        found.marks.clear()
        fold(found, record)
    replayed = len(disturbed) > len(calm)
    assert (counted(found) != counted(expected)) is replayed


def test_all_documents_of_a_record_count_though_the_first_one_raises_the_mark() -> None:
    window = Window()
    fold(window, batch(3, 10, document(0), document(1), document(499)))
    assert window.bucket("XTST:AAAA", NOON_MS).negative == 3
    assert window.marks == {3: mark(10, 499)}


def test_a_message_cut_into_two_records_counts_each_document_once() -> None:
    window = Window()
    whole = [document(index) for index in range(4)]
    for record in (batch(0, 7, *whole[:2]), batch(0, 7, *whole[2:]), batch(0, 7, *whole[:2]), batch(0, 7, *whole[2:])):
        fold(window, record)
    assert window.bucket("XTST:AAAA", NOON_MS).negative == 4
    assert (window.counts.read, window.counts.applied, window.counts.duplicate) == (8, 4, 4)


def test_marks_of_one_documents_partition_do_not_hide_documents_of_another() -> None:
    window = Window()
    fold(window, batch(0, 1_000, document()))
    fold(window, batch(1, 0, document()))
    assert window.bucket("XTST:AAAA", NOON_MS).negative == 2


def test_the_second_of_two_equal_records_in_one_batch_is_a_duplicate() -> None:
    window = Window()
    assert len(fold(window, batch(0, 1, document()))) == 1
    assert fold(window, batch(0, 1, document())) == []
    assert window.bucket("XTST:AAAA", NOON_MS).negative == 1


# -- what is counted --------------------------------------------------------------------------------------------------


def test_echoes_and_unsure_rows_have_places_of_their_own() -> None:
    window = Window()
    kinds = (
        document(0), document(1, label=NEUTRAL), document(2, label=POSITIVE), document(3, unsure=True),
        document(4, echo=True), document(5, echo=True, unsure=True),
    )  # fmt: skip
    fold(window, batch(0, 0, *kinds))
    bucket = window.bucket("XTST:AAAA", NOON_MS)
    assert bucket == Bucket(1, 1, 1, 1, 2)
    assert (bucket.mentions, bucket.reach) == (4, 6)


def test_a_row_counts_in_the_minute_it_was_published() -> None:
    window = Window()
    fold(window, batch(0, 0, document(0, NOON_MS + 59_999), document(1, NOON_MS + 60_000)))
    assert window.bucket("XTST:AAAA", NOON_MS).negative == 1
    assert window.bucket("XTST:AAAA", NOON_MS + MINUTE_MS).negative == 1
    assert window.touched == {
        ("XTST:AAAA", NOON_MS): [1, 0, 0, 0, 0],
        ("XTST:AAAA", NOON_MS + MINUTE_MS): [1, 0, 0, 0, 0],
    }


@given(logs())
@settings(max_examples=25, deadline=None)
def test_what_a_fold_touches_is_known_before(both: tuple[list[ScoredBatch], list[ScoredBatch]]) -> None:
    for record in both[0]:
        window = Window()
        hours = cold(window, record)
        fold(window, record)
        assert hours == {(subject, minute_ms // HOUR_MS) for subject, minute_ms in window.touched}
        for subject, hour in hours:
            window.whole.setdefault(hour, set()).add(subject)
        assert cold(window, record) == set(), "read once"


@st.composite
def pushed(draw: st.DrawFn) -> list[ScoredBatch]:
    """Records of one documents partition, some of them twice, whose documents lie just before, at and after where a step ends."""
    ahead = st.sampled_from((0, 1, 20_000, 89_999, 90_000, 90_001, 40 * MINUTE_MS, LATE_MS))
    behind = st.sampled_from((0, 0, 1, 59_999, 2 * MINUTE_MS, LATE_MS - 30_000, LATE_MS - 29_999, -HOUR_MS))
    at_ms, made = NOON_MS, list[ScoredBatch]()
    for offset in range(draw(st.integers(1, 6))):
        documents = []
        for index in range(draw(st.integers(1, 5))):
            at_ms += draw(ahead)
            label = draw(st.sampled_from((NEGATIVE, NEUTRAL)))
            documents.append(
                document(index, at_ms - draw(behind), label=label, echo=draw(st.booleans()), ingested_at=at_ms)
            )
        made.append(batch(0, offset, *documents))
        if draw(st.booleans()):
            made.append(made[draw(st.integers(0, len(made) - 1))])
    return made


@given(pushed())
@settings(max_examples=300, deadline=None)
def test_documents_counted_in_stretches_count_as_if_each_came_alone(records: list[ScoredBatch]) -> None:
    """Steps close, late rows are refused and negatives are looked at between the same two documents, however a record is cut."""
    alone, together = Window(), Window()
    told: dict[str, list[object]] = {"alone": [], "together": []}

    def close(window: Window, record: ScoredBatch, at: int, seen: list[object]) -> None:
        if is_new(window, record, at):
            if window.closed_ms == 0:
                window.closed_ms = first_step(record.documents[at], MINUTE_MS)
            advance(window, [record.documents[at]], LATENESS_MS)
            for start_ms in due_steps(window, MINUTE_MS, 2 * 24 * 60):
                seen.append(("closed", start_ms, sum(sum(one) for one in window.minutes.get("XTST:AAAA", {}).values())))
                window.closed_ms = start_ms + MINUTE_MS

    def look(window: Window, applied: list[Applied], seen: list[object]) -> None:
        seen.extend(applied)
        if any(one.open and not one.document.echo and one.rows[0].label == NEGATIVE for one in applied):
            seen.append(("looked", window.newest_ms, deepcopy(window.minutes)))

    for record in records:
        for i, one in enumerate(record.documents):
            close(alone, record, i, told["alone"])
            look(alone, fold(alone, replace(record, documents=[one])), told["alone"])
        at = 0
        while at < len(record.documents):
            close(together, record, at, told["together"])
            until_ms = closes_ms(together, MINUTE_MS, LATENESS_MS)
            applied, at = stretch(together, record, at, lateness_ms=LATENESS_MS, until_ms=until_ms, looks=True)
            look(together, applied, told["together"])
        assert together == alone
    assert told["together"] == told["alone"]
    assert together.newest_ms == max(one.ingested_at for record in records for one in record.documents)
    assert together.counts.balanced


# -- late and early ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("late_ms", "fate"), [(LATE_MS, "applied"), (LATE_MS + 1, "late")])
def test_late_rows_correct_their_minute_within_a_day_and_are_counted_after(late_ms: int, fate: str) -> None:
    window = Window(watermark_ms=NOON_MS, closed_ms=NOON_MS)
    applied = fold(window, batch(0, 5, document(0, NOON_MS - late_ms)))
    assert getattr(window.counts, fate) == 1
    assert window.counts.balanced
    assert window.marks == {0: mark(5, 0)}, "a late document is not read again either"
    minute_ms = (NOON_MS - late_ms) // MINUTE_MS * MINUTE_MS
    assert window.bucket("XTST:AAAA", minute_ms).negative == (1 if fate == "applied" else 0)
    assert [one.open for one in applied] == ([False] if fate == "applied" else [])


def test_the_watermark_trails_the_newest_event_and_never_goes_back() -> None:
    window = Window()
    advance(window, [document(0, NOON_MS), document(1, NOON_MS - HOUR_MS)], 30_000)
    assert window.watermark_ms == NOON_MS - 30_000
    advance(window, [document(2, NOON_MS - HOUR_MS)], 30_000)
    assert window.watermark_ms == NOON_MS - 30_000


def test_a_source_with_a_fast_clock_closes_no_bucket_of_others() -> None:
    window = Window(closed_ms=NOON_MS)
    advance(window, [document(0, NOON_MS + 280_000, ingested_at=NOON_MS + 5_000)], 30_000)
    assert window.watermark_ms == NOON_MS - 25_000
    assert not due_steps(window, MINUTE_MS, 10)


def test_when_nothing_comes_the_clock_closes_the_open_minutes() -> None:
    window = Window(watermark_ms=NOON_MS, closed_ms=NOON_MS, newest_ms=NOON_MS)
    advance_idle(window, NOON_MS + 5 * MINUTE_MS, 60_000)
    assert list(due_steps(window, MINUTE_MS, 10)) == [NOON_MS + i * MINUTE_MS for i in range(4)]
    advance_idle(window, NOON_MS, 60_000)  # a clock that was set back
    assert window.watermark_ms == NOON_MS + 4 * MINUTE_MS


def test_a_partition_that_never_saw_a_row_is_not_moved_by_the_clock() -> None:
    window = Window()
    advance_idle(window, NOON_MS, 60_000)
    assert window == Window()


def test_due_steps_come_oldest_first_and_only_when_they_are_over() -> None:
    window = Window(closed_ms=NOON_MS, watermark_ms=NOON_MS + 3 * MINUTE_MS - 1)
    assert list(due_steps(window, MINUTE_MS, 100)) == [NOON_MS, NOON_MS + MINUTE_MS]
    window.watermark_ms += 1
    assert list(due_steps(window, MINUTE_MS, 100)) == [NOON_MS + i * MINUTE_MS for i in range(3)]
    assert list(due_steps(window, 5 * MINUTE_MS, 100)) == []


def test_of_a_hole_only_the_steps_closest_to_now_are_closed() -> None:
    window = Window(closed_ms=NOON_MS, watermark_ms=NOON_MS + 9 * HOUR_MS)
    due = due_steps(window, MINUTE_MS, 30)
    assert len(due) == 30
    assert due[-1] == NOON_MS + 9 * HOUR_MS - MINUTE_MS


@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3)), min_size=1, max_size=30),
    st.sampled_from((60_000, 300_000)),
)
@settings(max_examples=100, deadline=None)
def test_every_step_is_closed_once_and_in_order(events: list[tuple[int, int]], step_ms: int) -> None:
    window, closed = Window(closed_ms=NOON_MS), []
    for offset, (minutes, ahead) in enumerate(events):
        at_ms = NOON_MS + minutes * MINUTE_MS
        documents = [document(0, at_ms + ahead * MINUTE_MS, ingested_at=at_ms)]
        fold(window, batch(0, offset, *documents))
        advance(window, documents, 30_000)
        for start_ms in due_steps(window, step_ms, 10_000):
            closed.append(start_ms)
            window.closed_ms = start_ms + step_ms
    assert closed == [NOON_MS + i * step_ms for i in range(len(closed))]
    assert window.closed_ms <= max(window.watermark_ms, NOON_MS)


# -- sources that lie -------------------------------------------------------------------------------------------------

HONEST, LIAR = "XTST:AAAA", "XTST:BBBB"
LATENESS_MS, FUTURE_MS = 30_000, 300_000  # ingest lets nothing through that is further ahead of its arrival


def play(arrivals: list[tuple[int, ScoredDocument]]) -> tuple[Window, list[tuple[int, Applied]], list[int]]:
    """As aggregate does: a document's time closes what it closes, then it counts. (what was applied when, watermarks)."""
    window, applied, watermarks = Window(), list[tuple[int, Applied]](), list[int]()
    for offset, (_, one) in enumerate(arrivals):
        if window.closed_ms == 0:
            window.closed_ms = first_step(one, MINUTE_MS)
        advance(window, [one], LATENESS_MS)
        for start_ms in due_steps(window, MINUTE_MS, 2 * 24 * 60):
            window.closed_ms = start_ms + MINUTE_MS
        applied += [(offset, found) for found in fold(window, batch(0, offset, one))]
        watermarks.append(window.watermark_ms)
    return window, applied, watermarks


@st.composite
def feeds(draw: st.DrawFn) -> list[tuple[int, ScoredDocument]]:
    """(place in time, document): one source says when things were, give or take twenty seconds; another says anything."""
    arrivals: list[tuple[int, ScoredDocument]] = []
    at_ms = NOON_MS
    for i in range(draw(st.integers(2, 40))):
        at_ms += draw(st.integers(0, 3 * MINUTE_MS))
        if draw(st.booleans()):
            said_ms = at_ms - draw(st.integers(0, 20_000))
            arrivals.append((at_ms, document(i, said_ms, ingested_at=at_ms, subjects=(HONEST,))))
        else:
            said_ms = draw(
                st.one_of(st.integers(631_152_000_000, at_ms), st.integers(at_ms - 2 * LATE_MS, at_ms + FUTURE_MS))
            )
            arrivals.append((at_ms, document(i, said_ms, ingested_at=at_ms, subjects=(LIAR,))))
    return arrivals


@given(feeds())
@settings(max_examples=200, deadline=None)
def test_a_source_that_lies_about_time_neither_stalls_nor_advances_the_others(
    arrivals: list[tuple[int, ScoredDocument]],
) -> None:
    window, applied, watermarks = play(arrivals)
    assert window.counts.balanced
    honest = [one for one in arrivals if one[1].rows[0].subject == HONEST]
    alone, _, _ = play(honest)
    assert window.minutes.get(HONEST) == alone.minutes.get(HONEST), "the others' counts are as without it"
    assert window.counts.late == sum(
        watermark - one.published_at > LATE_MS for watermark, (_, one) in zip(watermarks, arrivals, strict=True)
    )
    newest_ms = 0
    for (at_ms, one), watermark_ms in zip(arrivals, watermarks, strict=True):
        newest_ms = max(newest_ms, one.published_at if one.rows[0].subject == HONEST else 0)
        assert watermark_ms >= newest_ms - LATENESS_MS, "not stalled: the others' time moves on"
        assert watermark_ms <= at_ms - LATENESS_MS, "not advanced: nobody's time is ahead of the clock"
    first_ms = first_step(arrivals[0][1], MINUTE_MS)  # what is older than the partition's beginning corrects its bucket
    for _, one in applied:
        if one.document.rows[0].subject == HONEST and one.minute_ms >= first_ms:
            assert one.open, "no bucket was closed before those who say the truth were heard"


@given(st.lists(st.integers(0, 2 * LATE_MS), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_whatever_comes_within_a_day_corrects_its_bucket_and_the_rest_is_counted_as_late(behind: list[int]) -> None:
    now = (NOON_MS, document(0, NOON_MS))
    late = [(NOON_MS, document(i, NOON_MS - LATENESS_MS - ms, ingested_at=NOON_MS)) for i, ms in enumerate(behind, 1)]
    window, applied, _ = play([now, *late])
    within = [one for _, one in late if NOON_MS - LATENESS_MS - one.published_at <= LATE_MS]
    expected: dict[int, int] = defaultdict(int)
    for one in (now[1], *within):
        expected[one.published_at // MINUTE_MS * MINUTE_MS] += 1
    assert {at_ms: counters[0] for at_ms, counters in window.minutes[HONEST].items()} == dict(expected)
    assert (window.counts.applied, window.counts.late) == (1 + len(within), len(behind) - len(within))
    assert len(applied) == 1 + len(within)
    assert window.closed_ms == NOON_MS, "what is closed stays closed"


# -- memory -----------------------------------------------------------------------------------------------------------


def test_old_minutes_are_forgotten_and_new_ones_kept() -> None:
    window = Window()
    for i in range(10):
        fold(window, batch(0, i, document(0, NOON_MS + i * MINUTE_MS)))
    kept = deepcopy(window.minutes["XTST:AAAA"])
    window.forget(NOON_MS + 4 * MINUTE_MS)
    assert window.minutes["XTST:AAAA"] == {at_ms: kept[at_ms] for at_ms in kept if at_ms >= NOON_MS + 4 * MINUTE_MS}


def test_a_minute_corrected_late_is_forgotten_with_its_neighbours() -> None:
    window = Window()
    fold(window, batch(0, 0, document(0, NOON_MS)))
    fold(window, batch(0, 1, document(0, NOON_MS - HOUR_MS)))  # its key comes behind a newer one
    fold(window, batch(0, 2, document(0, NOON_MS + HOUR_MS)))
    window.forget(NOON_MS + HOUR_MS)
    assert list(window.minutes["XTST:AAAA"]) == [NOON_MS + HOUR_MS]


def test_the_calm_log_of_the_generator_is_in_order() -> None:
    """The strategy above is the argument of windows.py; a generator that writes holes would prove nothing."""

    @settings(max_examples=25, deadline=None)
    @given(logs())
    def first_occurrences_increase(both: tuple[list[ScoredBatch], list[ScoredBatch]]) -> None:
        for _, own in groupby(
            sorted(enumerate(both[1]), key=lambda one: (one[1].partition, one[0])), key=lambda one: one[1].partition
        ):
            first = list(dict.fromkeys(record.offset for _, record in own))
            assert first == sorted(first)

    first_occurrences_increase()
