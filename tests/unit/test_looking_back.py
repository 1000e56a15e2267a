"""A search goes back through the log once, all the way if it is let, and says truly how far it came."""

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.archive.past import FIRST_CHUNK, LATE_MS, Bounds, Place, Reach, decoded, encoded, look
from dashboard.archive.search import Query
from groundswell.errors import WrongShape
from groundswell.records import Tagged
from tests.tagged_pasts import AT, MemoryLog, document

ALL = Bounds(most_found=1_000_000, most_read=10_000_000, most_s=60)


def a_log(count: int, partitions: int = 3, seed: int = 1) -> MemoryLog:
    log, chance = MemoryLog(partitions), random.Random(seed)
    for place in range(count, 0, -1):
        log.add(document(place), partition=chance.randrange(partitions))
    return log


def search(
    log: MemoryLog,
    wanted: Query | None = None,
    cursor: str = "",
    bounds: Bounds = ALL,
    future_ms: int | None = 300_000,
) -> tuple[list[Tagged], Reach]:
    reach = Reach()
    found = look(log, wanted or Query(), cursor, bounds, reach, lambda: log.now_s, future_ms=future_ms)
    return list(found), reach


@given(st.integers(0, 400), st.integers(1, 5), st.integers(1, 70), st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_all_pages_together_show_each_document_once_newest_first(
    count: int, partitions: int, page: int, seed: int
) -> None:
    log = a_log(count, partitions, seed)
    found, cursor = [], ""
    for _ in range(count + 2):
        items, reach = search(log, cursor=cursor, bounds=Bounds(page, 10_000, 60))
        assert len(items) <= page
        found += [one.id for one in items]
        cursor = reach.next
        if not cursor:
            break
    assert found == [f"d{place}" for place in range(1, count + 1)]


def test_chunks_too_are_joined_without_a_seam() -> None:
    log = a_log(4 * FIRST_CHUNK)
    found, cursor, pages = [], "", 0
    while cursor or not pages:
        items, reach = search(log, cursor=cursor, bounds=Bounds(700, FIRST_CHUNK, 60))
        found += [one.id for one in items]
        cursor, pages = reach.next, pages + 1
    assert len(found) == 4 * FIRST_CHUNK
    assert set(found) == {f"d{place}" for place in range(1, 4 * FIRST_CHUNK + 1)}


def test_what_comes_in_between_two_pages_shifts_nothing() -> None:
    log = a_log(100)
    first, reach = search(log, bounds=Bounds(40, 10_000, 60))
    for place in range(50):
        log.add(document(-place - 1))
    rest, _ = search(log, cursor=reach.next)
    assert [one.id for one in first + rest] == [f"d{place}" for place in range(1, 101)]


def test_it_stops_when_it_has_read_enough_and_says_how_far_back_that_was() -> None:
    log = a_log(9_000)
    items, reach = search(log, Query(source="nobody"), bounds=Bounds(50, 5_000, 60))
    assert items == []
    assert 5_000 <= reach.read <= 5_000 + 2 * FIRST_CHUNK
    assert reach.next
    looked_at = {
        one.id
        for entries in log.partitions
        for entry in entries
        if (one := of(entry.value)).tagged_at >= reach.back_to_ms
    }
    assert len(looked_at) <= reach.read
    _, rest = search(log, Query(source="nobody"), cursor=reach.next)
    assert reach.read + rest.read == 9_000
    assert rest.next == ""


def test_it_stops_when_its_time_is_over_but_never_before_it_came_forward() -> None:
    log = a_log(9_000)
    log.read_s = 3.0
    _, reach = search(log, Query(source="nobody"), bounds=Bounds(50, 100_000, 2.0))
    assert 0 < reach.read < 9_000
    assert reach.next


def test_a_span_is_looked_for_where_it_came_in_and_what_came_late_only_when_asked() -> None:
    log = a_log(0)
    hours = 3_600_000
    for ago in range(48, 0, -1):
        log.add(document(ago * 3_600))
    log.add(document(40 * 3_600 + 5, id="late"), arrived_ms=AT)
    span = Query(begin_ms=AT - 41 * hours, end_ms=AT - 39 * hours)
    found, reach = search(log, span)
    assert [one.id for one in found] == ["d144000", "d147600"]
    assert reach.read < 8
    assert reach.more_came_later
    with_late, further = search(log, msgspec.structs.replace(span, late=True))
    assert {one.id for one in with_late} == {"d144000", "late", "d147600"}
    assert not further.more_came_later


def test_an_hour_that_is_not_over_holds_nothing_back() -> None:
    log = a_log(100)
    _, reach = search(log, Query(begin_ms=AT - 60_000, end_ms=AT - 1_000 + LATE_MS))
    assert not reach.more_came_later


@pytest.mark.parametrize("event_time", [True, False])
def test_a_log_whose_times_say_nothing_is_read_whole(event_time: bool) -> None:
    log = a_log(0)
    log.keeps_times = event_time
    for place in range(200, 0, -1):
        log.add(document(place), arrived_ms=AT + 86_400_000)
    span = Query(begin_ms=AT - 20_000, end_ms=AT - 10_000)
    found, reach = search(log, span, future_ms=None if event_time else 300_000)
    assert len(found) == 10
    assert reach.read == 200


def test_what_was_written_twice_and_what_cannot_be_read_are_passed_over() -> None:
    log = a_log(3)
    log.add(document(2), partition=0)
    log.partitions[1].append(
        log.partitions[0][0]._replace(partition=1, offset=len(log.partitions[1]), value=b'{"v":9}')
    )
    found, reach = search(log)
    assert [one.id for one in found] == ["d1", "d2", "d3"]
    assert reach.unreadable == 1


def test_what_the_broker_let_go_of_ends_the_search_in_order() -> None:
    log = a_log(300)
    _, reach = search(log, bounds=Bounds(10, 10_000, 60))
    log.first = [len(entries) - 5 for entries in log.partitions]
    rest, over = search(log, cursor=reach.next)
    assert len(rest) <= 15
    assert over.next == ""


def test_an_empty_log_is_searched_at_once() -> None:
    found, reach = search(MemoryLog())
    assert (found, reach.next, reach.back_to_ms) == ([], "", 0)


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "%%%",
        "AAAA",
        encoded(Place([1, 1], [1, 1])),
        encoded(Place([1, 1, 1], [2, 0, 0])),
        encoded(Place([10**9] * 3, [10**9] * 3)),
        encoded(Place([5, 5, 5], [-1, 0, 0])),
    ],
)
def test_a_cursor_that_is_none_is_refused(cursor: str) -> None:
    with pytest.raises(WrongShape):
        search(a_log(10), cursor=cursor)


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 900)), min_size=1, max_size=24))
def test_a_cursor_is_the_place_it_was_made_of(pairs: list[tuple[int, int]]) -> None:
    place = Place([high + size for high, size in pairs], [size for _, size in pairs], (AT, 3, 4))
    assert decoded(encoded(place), len(pairs)) == place


def of(raw: bytes) -> Tagged:
    return msgspec.json.decode(raw, type=Tagged)
