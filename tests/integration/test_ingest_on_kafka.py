"""`groundswell ingest` on real Kafka: the bad among the good, SIGTERM, kill -9, and books that stay exact through all of it."""

import json
from pathlib import Path

import msgspec
import pytest

from groundswell.records import DeadLetter, Document, Source
from groundswell.running.books import Counts
from stream.topology import COMMENTS, DEAD_LETTERS, DOCUMENTS, NEWS
from tests.stages import Site, site, until

LETTER = msgspec.json.Decoder(DeadLetter)


@pytest.fixture
async def here(kafka_address: str, redis_url: str, topic_prefix: str, tmp_path: Path) -> Site:
    return await site(kafka_address, redis_url, topic_prefix, tmp_path)


def wire(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def story(number: int) -> dict[str, object]:
    return {"id": f"d{number}", "text": f"Harbour Tin, report {number}: 港湾锡业第 {number} 份公告。", "source": "Wire"}


async def texts(here: Site) -> list[str]:
    return [document.id for documents in await here.values(DOCUMENTS, list[Document]) for document in documents]


async def test_bad_input_among_good_is_told_and_harms_nobody(here):
    pushed: list[tuple[bytes | None, list[str]]] = [
        (wire(story(0)), []),
        (b"not json", ["not_json"]),
        (None, ["not_json"]),
        (b"", ["not_json"]),
        (b'{"text":"caf\xe9"}', ["not_utf8"]),
        (wire({"text": 5}), ["wrong_shape"]),
        (wire(story(1)), []),
        (b'{"text":"a","more":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"}", ["nested_too_deep"]),
        (wire([story(2), {"text": "a" * 65_537}, story(3), {"text": "\x00"}, {"text": "b", "published_at": "soon"}]),
         ["text_too_long", "no_text", "bad_time"]),
        (wire([story(900 + number) for number in range(501)]), ["too_many_documents"]),
        (b"[]", ["empty_array"]),
        (wire({"text": "a", "published_at": "9999-12-31T23:59:59Z"}), ["from_the_future"]),
        (wire({"text": "a", "published_at": 0}), ["too_old"]),
        (wire(story(4)), []),
    ]  # fmt: skip
    await here.push(NEWS, [value for value, _ in pushed], key=b"k")
    await here.push(COMMENTS, [wire(story(5)), wire({"title": "no text"})], key=b"k" * 500_000)
    expected = [(reason, offset) for offset, (_, reasons) in enumerate(pushed) for reason in reasons]
    async with here.stage("ingest") as ingest:
        counts = await here.until_read("ingest", len(expected) + 1 + 6)
        status, seconds = await ingest.terminated()
    assert (status, seconds < 10) == (0, True), ingest.said
    assert counts == Counts(read=len(expected) + 7, applied=6, dead_lettered=len(expected) + 1, emitted=6)
    assert sorted(await texts(here)) == [f"d{number}" for number in range(6)]
    letters = await here.values(DEAD_LETTERS, DeadLetter)
    news = [letter for letter in letters if letter.topic == here.topology.name(NEWS)]
    assert sorted((letter.src.offset, letter.reason) for letter in news) == sorted((o, r) for r, o in expected)
    assert {letter.src for letter in news if letter.src.offset == 8} == {
        Source(0, 8, 1),
        Source(0, 8, 3),
        Source(0, 8, 4),
    }
    assert [letter.reason for letter in letters if letter.topic == here.topology.name(COMMENTS)] == ["wrong_shape"]


async def test_an_array_stays_together_and_keeps_its_order(here):
    await here.push(NEWS, [wire([story(number) for number in range(500)])])
    async with here.stage("ingest"):
        await here.until_read("ingest", 500)
    (record,) = await here.read(DOCUMENTS)
    assert [one.id for one in msgspec.json.decode(record.value, type=list[Document])] == [f"d{n}" for n in range(500)]


async def test_a_record_that_would_be_too_large_is_split_between_documents(here):
    big = [story(number) | {"text": f"{number} " + "“" * 21_000} for number in range(16)]
    await here.push(NEWS, [wire(big)])
    async with here.stage("ingest"):
        counts = await here.until_read("ingest", 16)
    assert counts.applied == 16
    assert len(await here.read(DOCUMENTS)) == 2
    assert await texts(here) == [f"d{number}" for number in range(16)]


@pytest.mark.parametrize("end", ["terminated", "killed"])
async def test_a_restart_in_the_middle_loses_nothing_and_counts_nothing_twice(here, end):
    total = 24_000
    made = [wire([story(4 * n + m) for m in range(4)]) for n in range(total // 4)]
    await here.push(NEWS, made[:-1])
    async with here.stage("ingest") as ingest:

        async def begun() -> bool:
            return (await here.books()).stages["ingest"].read > 0

        await until(begun, "the first documents")
        if end == "killed":
            await ingest.killed()
        else:
            status, seconds = await ingest.terminated()
            assert (status, seconds < 10) == (0, True), ingest.said
    async with here.stage("ingest") as ingest:
        await here.push(NEWS, made[-1:])
        counts = await here.until_read("ingest", total)
        assert (await ingest.terminated())[0] == 0
    assert counts == Counts(read=total, applied=total, emitted=total)
    written = await texts(here)
    assert set(written) == {f"d{number}" for number in range(total)}
    if end == "terminated":
        assert len(written) == total, "who ends in order commits what it has sent"


async def test_a_process_that_stood_idle_commits_what_it_has_done(here):
    await here.push(NEWS, [wire(story(0))])
    async with here.stage("ingest") as ingest:
        await here.until_read("ingest", 1)
        assert (await ingest.terminated())[0] == 0
    async with here.stage("ingest") as ingest:
        await here.push(NEWS, [wire(story(1))])
        await here.until_read("ingest", 2)
        await ingest.terminated()
    assert sorted(await texts(here)) == ["d0", "d1"]
