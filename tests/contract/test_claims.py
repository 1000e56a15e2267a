"""Claims decide the same on real Redis and on the embedded one: the first claimer wins, and near copies fold into one story."""

import hashlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio
from fakeredis import TcpFakeServer
from hypothesis import given
from hypothesis import strategies as st

from groundswell.keys import Keys
from groundswell.records import Document, Source, Tagged
from stream import claims
from stream.claims import Claim, Claimed, claim, digest, release, remember

KEYS = Keys("t")
NOW_MS = 1_770_000_000_000
DAY_MS = 86_400_000

EN = (
    "Harbour Tin said on Monday that its second mine has stood still since March, after water broke into the lower shaft "
    "and the pumps failed twice. The company had told investors in May that output was on plan."
)
EN_COPY = (
    "RT @metalsdesk: "
    + EN.replace("on Monday ", "").replace("investors", "shareholders")
    + " https://gazette.example/a"
)
EN_OTHER = (
    "Bluefin Airways will fly to four more cities from June and lease nine aircraft; its chief executive expects "
    "that the new routes earn money within the first year."
)
ZH = "港湾锡业周一承认，二号矿井自三月以来一直停产，井下透水之后水泵两次失灵。公司五月曾对投资者表示产量符合计划，如今股价开盘即告跌停。"
ZH_COPY = "转发微博：" + ZH.replace("周一", "今日").replace("一直", "")
ZH_OTHER = "蓝鳍航空六月起新开四条国内航线，并将租入九架客机。公司总经理预计，新航线在头一年之内即可盈利，员工人数也会增加两百。"


@pytest.fixture(scope="module")
def fake_url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = TcpFakeServer(("127.0.0.1", port), server_type="redis")
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{port}/0"
    server.shutdown()
    server.server_close()
    thread.join(timeout=5)


@pytest.fixture(params=["fakeredis", "redis"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[redis.asyncio.Redis]:
    url = request.getfixturevalue("fake_url" if request.param == "fakeredis" else "redis_url")
    client = redis.asyncio.Redis.from_url(url)
    await client.flushdb()
    yield client
    await client.aclose()


def said(text: str, number: int = 0, **changes) -> Document:
    lang = "zh" if any("\u4e00" <= letter <= "\u9fff" for letter in text) else "en"
    return Document(
        **({"id": f"d{number}", "text": text, "lang": lang, "published_at": NOW_MS, "ingested_at": NOW_MS} | changes)
    )


async def one(store, document: Document, offset: int) -> Claimed:
    (answer,) = await claim(store, KEYS, [(Source(0, offset), document)])
    return answer


async def test_the_first_claimer_wins_and_the_second_is_a_duplicate(store):
    first, second = await one(store, said(EN), 1), await one(store, said(EN), 2)
    assert first == Claimed(Claim.NEW, digest(said(EN)), echo=False)
    assert (second.claim, second.story) == (Claim.DUPLICATE, first.story)


async def test_the_same_coordinates_win_again_with_the_same_story(store):
    await one(store, said(EN, 1), 1)
    first = await one(store, said(EN_COPY, 2), 2)
    again = await one(store, said(EN_COPY, 2), 2)
    assert again == Claimed(Claim.AGAIN, first.story, echo=True)
    assert first.story == digest(said(EN, 1))


async def test_a_story_is_decided_once_even_when_a_better_one_comes_later(store):
    first = await one(store, said(EN_COPY, 2), 2)
    await one(store, said(EN, 1), 3)
    assert await one(store, said(EN_COPY, 2), 2) == Claimed(Claim.AGAIN, first.story, echo=False)


async def test_an_id_is_a_source_s_own(store):
    assert (await one(store, said(EN, source="Wire"), 1)).claim is Claim.NEW
    assert (await one(store, said(EN, source="Gazette"), 2)).claim is Claim.NEW


@pytest.mark.parametrize(
    ("text", "copy", "other"), [(EN, EN_COPY, EN_OTHER), (ZH, ZH_COPY, ZH_OTHER)], ids=["en", "zh"]
)
async def test_near_copies_fold_into_one_story_and_other_news_does_not(store, text, copy, other):
    original = await one(store, said(text, 1), 1)
    assert await one(store, said(copy, 2), 2) == Claimed(Claim.NEW, original.story, echo=True)
    assert await one(store, said(other, 3), 3) == Claimed(Claim.NEW, digest(said(other, 3)), echo=False)


@pytest.mark.parametrize("text", [EN, ZH], ids=["en", "zh"])
async def test_copies_in_one_batch_find_each_other(store, text):
    documents = [(Source(0, 7, number), said(text, number, source=f"paper {number}")) for number in range(4)]
    answers = await claim(store, KEYS, documents)
    assert [answer.echo for answer in answers] == [False, True, True, True]
    assert {answer.story for answer in answers} == {digest(documents[0][1])}


async def test_the_same_document_twice_in_one_batch_is_one(store):
    answers = await claim(store, KEYS, [(Source(0, 7, 0), said(EN)), (Source(0, 7, 1), said(EN))])
    assert [answer.claim for answer in answers] == [Claim.NEW, Claim.DUPLICATE]


async def test_a_batch_read_again_is_decided_as_before(store):
    documents = [
        (Source(0, 7, number), said(text, number % 4))
        for number, text in enumerate([EN, EN_COPY, ZH, ZH_COPY, EN, EN_OTHER])
    ]
    first = await claim(store, KEYS, documents)
    again = await claim(store, KEYS, documents)
    new, dup = Claim.NEW, Claim.DUPLICATE
    assert [answer.claim for answer in first] == [new, new, new, new, dup, dup]
    assert [answer.claim for answer in again] == [Claim.AGAIN] * 4 + [dup, dup]
    assert [(a.story, a.echo) for a in again[:4]] == [(a.story, a.echo) for a in first[:4]]


@pytest.mark.parametrize("text", [EN, ZH, "跌停了"], ids=["en", "zh", "short"])
@pytest.mark.parametrize(("apart_ms", "echo"), [(DAY_MS, True), (DAY_MS + 1, False), (-DAY_MS - 1, False)])
async def test_a_copy_more_than_a_day_later_by_event_time_is_news_again(store, text, apart_ms, echo):
    await one(store, said(text, 1, author="a"), 1)
    later = await one(store, said(text, 2, author="a", published_at=NOW_MS + apart_ms), 2)
    assert later.echo is echo


async def test_copies_of_news_that_came_again_belong_to_the_newer_telling(store):
    await one(store, said(EN, 1), 1)
    newer = await one(store, said(EN, 2, published_at=NOW_MS + 2 * DAY_MS), 2)
    copy = await one(store, said(EN_COPY, 3, published_at=NOW_MS + 2 * DAY_MS + 1), 3)
    assert copy == Claimed(Claim.NEW, newer.story, echo=True)


@pytest.mark.parametrize("text", ["跌停了", "sell it now"])
async def test_short_texts_of_different_authors_are_no_echoes_but_one_author_s_own_are(store, text):
    assert not (await one(store, said(text, 1, author="a"), 1)).echo
    assert not (await one(store, said(text, 2, author="b"), 2)).echo
    assert (await one(store, said(text, 3, author="a"), 3)).echo


async def test_nothing_to_claim_is_no_work(store):
    assert await claim(store, KEYS, []) == []


async def test_claims_and_stories_expire(store):
    await one(store, said(EN), 1)
    keys = [key async for key in store.scan_iter(match="t:*")]
    assert keys
    assert all([0 < await store.ttl(key) <= 73 * 3600 for key in keys])


@pytest.mark.parametrize(
    ("later_ms", "expected"),
    [(2 * DAY_MS, Claim.DUPLICATE), (-3_600_000, Claim.DUPLICATE), (4 * DAY_MS, Claim.NEW)],
    ids=["two days later", "read an hour out of turn", "four days later"],
)
@pytest.mark.parametrize("hour", range(0, 24, 6))
async def test_a_claim_is_remembered_for_two_days_whatever_the_time_of_day(store, later_ms, expected, hour):
    at_ms = NOW_MS // DAY_MS * DAY_MS + hour * 3_600_000
    await one(store, said(EN, ingested_at=at_ms), 1)
    assert (await one(store, said(EN, ingested_at=at_ms + later_ms), 2)).claim is expected


async def test_what_became_a_dead_letter_gives_up_its_claim_and_nobody_else_s(store):
    mine, theirs = said(EN, 1), said(EN_OTHER, 2)
    await one(store, mine, 1)
    await one(store, theirs, 2)
    await release(store, KEYS, [(Source(0, 1), mine), (Source(0, 7), theirs)])
    assert (await one(store, mine, 8)).claim is Claim.NEW
    assert (await one(store, theirs, 8)).claim is Claim.DUPLICATE
    assert (await one(store, mine, 9)).claim is Claim.DUPLICATE


@given(
    src=st.builds(Source, st.integers(0, 5_000), st.integers(0, 2**45), st.integers(0, 65_535)),
    other=st.builds(Source, st.integers(0, 5_000), st.integers(0, 2**45), st.integers(0, 65_535)),
    name=st.binary(min_size=12, max_size=12), story=st.binary(min_size=12, max_size=12),
)  # fmt: skip
def test_a_claim_is_read_as_it_was_written(src, other, name, story):
    value = claims._value(src, story.hex(), name.hex())
    expected = Claim.AGAIN if src == other else Claim.DUPLICATE
    assert claims._standing(value, other, name.hex()) == Claimed(expected, story.hex(), story != name)
    assert claims._standing(value, src, name.hex()).claim is Claim.AGAIN


async def test_what_was_told_can_be_claimed_again_and_takes_nothing_from_anybody(store):
    documents = [(Source(3, 70_000, 2), said(EN, 1)), (Source(4, 5), said(EN_COPY, 2))]
    first = await claim(store, KEYS, documents)
    told = [
        Tagged(id=one.id, src=src, story=standing.story, echo=standing.echo, text=one.text, source=one.source, published_at=NOW_MS,
               ingested_at=NOW_MS, tagged_at=NOW_MS, label="neutral", negative=0, neutral=1, positive=0)
        for (src, one), standing in zip(documents, first, strict=True)
    ]  # fmt: skip
    await store.flushdb()
    other = said(EN_OTHER, 1)  # the same id, claimed by another since
    await one(store, other, 9)
    await remember(store, KEYS, told)
    again = await claim(store, KEYS, documents)
    assert again == [
        Claimed(Claim.DUPLICATE, digest(other), echo=False),
        Claimed(Claim.AGAIN, first[1].story, echo=True),
    ]


async def test_a_claim_takes_thirty_bytes_where_there_are_many(redis_url, record_property):
    """What a busy day leaves: full shards, a tenth of them echoes. Measured on the real Redis by MEMORY USAGE, keys and expiry included."""
    store = redis.asyncio.Redis.from_url(redis_url)
    count = 300  # in a shard: five million documents a day
    keys: set[str] = set()
    for shard in range(20):
        pipeline = store.pipeline(transaction=False)
        for n in range(count):
            seed = hashlib.blake2b(f"{shard} {n}".encode(), digest_size=12).hexdigest()
            name = f"{shard:04x}{seed[4:]}"
            story = name if n % 10 else hashlib.blake2b(seed.encode(), digest_size=12).hexdigest()
            key = claims._key(KEYS, name, 20_000)
            keys.add(key)
            pipeline.hsetnx(
                key, claims._field(name), claims._value(Source(n % 24, 7_000_000 + n * 24, n % 100), story, name)
            )
            pipeline.expire(key, claims.CLAIM_S)
        await pipeline.execute()
    used = sum([await store.memory_usage(key) + 40 for key in keys])  # 40: the entry of the expiry, which it leaves out
    record_property("bytes_a_claim", used / (20 * count))
    print(used / (20 * count))
    await store.aclose()
    assert len(keys) == 20
    assert used / (20 * count) <= 30


async def test_hostile_ids_and_texts_are_claimed_like_any_other(store):
    odd = [said("a\x00b|:*?", 1, id="x:y|z\n*"), said("😀" * 50, 2), said("…", 3), said("…", 4, source="a:b")]
    answers = await claim(store, KEYS, [(Source(0, 1, number), document) for number, document in enumerate(odd)])
    assert [answer.claim for answer in answers] == [Claim.NEW] * 4
