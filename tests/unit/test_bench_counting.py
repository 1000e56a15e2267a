"""The contenders of `groundswell bench aggregate` count the same, so that their speeds may be compared."""

import fakeredis

from bench import aggregate, counting_view, ingest


async def test_all_contenders_end_with_the_same_counts() -> None:
    asked = aggregate.Asked(records=12, documents_a_record=20, rows_a_document=2)
    records = aggregate.made(asked)
    found = []
    for way in (aggregate.lua_a_row, aggregate.hincrby):
        found.append(await way(records, fakeredis.FakeAsyncRedis()))
    found.append(await aggregate.ours(records, fakeredis.FakeAsyncRedis(), batch_rows=70))
    assert found[0] == found[1] == found[2]
    assert sum(sum(counters) for counters in found[0].values()) == 12 * 20 * 2


async def test_what_is_read_twice_counts_twice_only_without_a_mark() -> None:
    records = aggregate.made(aggregate.Asked(records=3, documents_a_record=5))
    once = await aggregate.ours(records, fakeredis.FakeAsyncRedis(), batch_rows=4)
    assert await aggregate.ours([*records, *records], fakeredis.FakeAsyncRedis(), batch_rows=4) == once
    assert await aggregate.lua_a_row([*records, *records], fakeredis.FakeAsyncRedis()) == once
    twice = await aggregate.hincrby([*records, *records], fakeredis.FakeAsyncRedis())
    assert {where: tuple(count // 2 for count in counters) for where, counters in twice.items()} == once


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
