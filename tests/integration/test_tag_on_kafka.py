"""`groundswell tag` on real Kafka and Redis: each document is tagged once and its rows go home, through SIGTERM and kill -9.

The partitions of a process that was killed are free after its session (10 s).
"""

from pathlib import Path

import msgspec
import pytest

from groundswell.records import DeadLetter, Document, Mention, ScoredBatch, Tagged
from groundswell.running.books import Counts
from stream.claims import digest
from stream.topology import DEAD_LETTERS, DOCUMENTS, SCORED, TAGGED
from tests.stages import Site, site, until

NOW_MS = 1_770_000_000_000
HTN = "XSHG:699001"


@pytest.fixture
async def here(kafka_address: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Site:
    return await site(kafka_address, redis_url, topic_prefix, tmp_path)


def said(number: int, text: str = "", **changes) -> Document:
    text = (
        text
        or f"{number} 号公告：港湾锡业"
        + "跌停涨停违约分红裁员召回利好泄露盈利亏损"[number % 10 * 2 :][:2]
        + f"，编号 {number * 7919}"
    )
    return Document(**({"id": f"d{number}", "text": text, "lang": "zh", "author": f"a{number}", "published_at": NOW_MS + number,
                        "ingested_at": NOW_MS + number, "mentions": [Mention(HTN, 7, 11)]} | changes))  # fmt: skip


def message(*documents: Document) -> bytes:
    return msgspec.json.encode(documents)


async def tagged(here: Site) -> dict[str, Tagged]:
    return {one.id: one for one in await here.values(TAGGED, Tagged)}


async def test_a_document_comes_out_tagged_with_its_story_and_its_rows_at_home(
    kafka_address, redis_url, topic_prefix, tmp_path
):
    here = await site(kafka_address, redis_url, topic_prefix, tmp_path, single_partition=False)
    english = "Harbour Tin faces a fraud probe after the default of its trading arm, and the lawsuit of a lender."
    documents = [
        said(0, english, lang="en", mentions=[Mention(HTN, 0, 11), Mention("FX:USDCNY")]),
        said(1, english + " More soon.", lang="en", mentions=[Mention(HTN, 0, 11)]),
        said(2, "港湾锡业中标新矿，利润大增，股价涨停，创下五年新高。"),
    ]
    await here.push(DOCUMENTS, [message(*documents)], key=b"k")
    async with here.stage("tag") as tag:
        counts = await here.until_read("tag", 3)
        status, seconds = await tag.terminated()
    assert (status, seconds < 10) == (0, True), tag.said
    found = await tagged(here)
    assert (found["d0"].label, found["d2"].label) == ("negative", "positive")
    assert found["d0"].topics[0][0] == "fraud"
    assert (found["d0"].echo, found["d1"].echo, found["d1"].story) == (False, True, digest(documents[0]))
    assert found["d0"].deciding is not None
    assert found["d0"].model == "scripted-1"
    rows = []
    for record in await here.read(SCORED):
        batch = msgspec.json.decode(record.value, type=ScoredBatch)
        for document in batch.documents:
            for row in document.rows:
                assert here.topology.scored_partition(row.subject) == record.partition
                rows.append((document.id, row.subject, row.label))
    assert ("d0", "FX:USDCNY", "negative") in rows
    assert ("d2", HTN, "positive") in rows
    assert {(one, "market") for one in ("d0", "d1", "d2")} <= {row[:2] for row in rows}
    assert (counts.read, counts.applied, counts.emitted) == (3, 3, len(rows))
    assert len(rows) == len(set(rows))


async def test_what_was_pushed_twice_is_counted_as_a_duplicate_and_says_nothing(here):
    await here.push(DOCUMENTS, [message(said(1)), message(said(1), said(2)), message(said(2))])
    async with here.stage("tag"):
        counts = await here.until_read("tag", 4)
    assert (counts.applied, counts.duplicate) == (2, 2)
    assert [one.id for one in await here.values(TAGGED, Tagged)] == ["d1", "d2"]


async def test_a_record_that_is_none_of_ours_is_a_dead_letter_and_its_neighbours_go_on(here):
    newer = msgspec.json.encode([msgspec.to_builtins(said(9)) | {"v": 2}])
    bad = [
        b"nonsense",
        None,
        newer,
        b'[{"v":1,"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}]",
        b'{"v":1}',
        b'[{"v":1,"id":"\xff"}]',
    ]
    await here.push(DOCUMENTS, [message(said(1)), *bad, message(said(2))], key=b"k")
    async with here.stage("tag") as tag:
        counts = await here.until_read("tag", 2 + len(bad))
        assert (await tag.terminated())[0] == 0, tag.said
    assert (counts.applied, counts.dead_lettered, counts.balanced) == (2, len(bad), True)
    letters = await here.values(DEAD_LETTERS, DeadLetter)
    assert [(letter.stage, letter.reason, letter.src.offset) for letter in letters] == [
        ("tag", "unknown_version", 1 + number) for number in range(len(bad))
    ]
    assert letters[0].payload == b"nonsense"
    assert set(await tagged(here)) == {"d1", "d2"}


@pytest.mark.parametrize("end", ["terminated", "killed"])
async def test_a_restart_in_the_middle_loses_nothing_and_counts_nothing_twice(here, end):
    total = 6_000
    await here.push(DOCUMENTS, [message(*(said(10 * n + m) for m in range(10))) for n in range(total // 10)])
    small = {"GROUNDSWELL_BATCH_DOCUMENTS": "5"}
    async with here.stage("tag", **small) as tag:

        async def begun() -> bool:
            return (await here.books()).stages["tag"].applied > 0

        await until(begun, "the first documents")
        if end == "killed":
            await tag.killed()
        else:
            status, seconds = await tag.terminated()
            assert (status, seconds < 10) == (0, True), tag.said
    async with here.stage("tag", **small) as tag:
        counts = await here.until_read("tag", total)
        assert (await tag.terminated())[0] == 0, tag.said
    assert counts == Counts(read=total, applied=total, emitted=counts.emitted)
    records = await here.values(TAGGED, Tagged)
    assert {one.id for one in records} == {f"d{number}" for number in range(total)}
    said_of = {one.id: (one.story, one.echo, one.label, one.src) for one in records}
    assert all(said_of[one.id] == (one.story, one.echo, one.label, one.src) for one in records)
    rows = {(batch.offset, document.index, row.subject) for batch in await here.values(SCORED, ScoredBatch)
            for document in batch.documents for row in document.rows}  # fmt: skip
    assert len(rows) == counts.emitted
    if end == "terminated":
        assert len(records) == total
