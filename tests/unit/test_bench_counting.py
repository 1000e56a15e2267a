"""The contenders of `groundswell bench aggregate` count the same, so that their speeds may be compared."""

import fakeredis
import pytest

from bench import aggregate, aggregate_latency, counting_view, ingest, ingest_split
from stream.partition_loop import Bounds


async def test_all_contenders_end_with_the_same_counts() -> None:
    asked = aggregate.Asked(records=12, documents_a_record=20, rows_a_document=2)
    records = aggregate.made(asked)
    found = []
    for way in (aggregate.lua_a_row, aggregate.hincrby):
        found.append(await way(records, fakeredis.FakeAsyncRedis()))
    for ours in (aggregate.ours, aggregate.stage):
        found.append(await ours(records, fakeredis.FakeAsyncRedis(), batch_bytes=3 * len(records[0])))
    assert found[0] == found[1] == found[2] == found[3]
    assert sum(sum(counters) for counters in found[0].values()) == 12 * 20 * 2


async def test_what_is_read_twice_counts_twice_only_without_a_mark() -> None:
    records = aggregate.made(aggregate.Asked(records=3, documents_a_record=5))
    once = await aggregate.ours(records, fakeredis.FakeAsyncRedis(), batch_bytes=1)
    assert await aggregate.ours([*records, *records], fakeredis.FakeAsyncRedis(), batch_bytes=1) == once
    assert await aggregate.lua_a_row([*records, *records], fakeredis.FakeAsyncRedis()) == once
    twice = await aggregate.hincrby([*records, *records], fakeredis.FakeAsyncRedis())
    assert {where: tuple(count // 2 for count in counters) for where, counters in twice.items()} == once


def test_records_are_handed_over_as_the_loop_cuts_them() -> None:
    records = [bytes(10)] * 3 + [bytes(100)] + [bytes(1)] * 250
    cut = list(aggregate.batches(records, batch_bytes=25))
    assert [offset for offset, _ in cut][:4] == [0, 2, 3, 4]
    assert [record for _, values in cut for record in values] == records
    assert all(sum(map(len, values)) <= 25 or len(values) == 1 for _, values in cut)
    assert (
        max(len(values) for _, values in aggregate.batches([b"x"] * 500, batch_bytes=1_000)) == Bounds().batch_records
    )


def test_documents_for_the_way_in_are_all_different() -> None:
    made = ingest.documents(500)
    assert len({one["id"] for one in made}) == len({one["text"] for one in made}) == 500


def test_the_table_names_what_fails() -> None:
    report = {
        "ratios": {"faust": 3.0},
        "promises": [{"name": "rows a second", "value": 12, "required": 300_000, "met": False}],
        "passed": False,
    }
    assert "FAILS  rows a second: 12 (required 300000)" in counting_view.table(report)


def test_a_latency_is_from_the_nth_push_to_the_nth_count() -> None:
    counted = [(10.0, 5), (10.1, 5), (10.2, 7), (10.3, 8)]  # five were there before
    late_ms, gaps_ms = aggregate_latency.late(counted, 5, [10.15, 10.1, 10.2])
    assert late_ms.round().tolist() == [100, 50, 100]
    assert gaps_ms.round().tolist() == [100, 100, 100]


def test_a_document_that_was_never_counted_has_no_latency() -> None:
    with pytest.raises(aggregate_latency.TooSlow, match="1 of 2"):
        aggregate_latency.late([(1.0, 0), (2.0, 1)], 0, [0.5, 0.6])


def test_the_parts_of_the_time_of_a_document_add_up() -> None:
    parts = ingest_split.split(ingest.documents(300))
    assert set(parts) == {"decode", "normalise", "language", "link", "encode", "other", "all"}
    assert parts["all"] == pytest.approx(sum(one for name, one in parts.items() if name != "all"), abs=0.5)
    assert min(parts["normalise"], parts["language"], parts["link"]) > 0
