"""The overview's JSON and its first sight: which subjects are asked for, in which order, and what a reader's preferences make of a page."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import fakeredis
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import preferences, rows
from dashboard.health.counting import Counting
from dashboard.home import first_run, movers
from dashboard.home.heard import Heard
from dashboard.home.movers import Wanted
from groundswell.clock import ManualClock
from groundswell.errors import RedisAway, WrongShape
from groundswell.keys import HOUR_MS
from groundswell.records import LiveRow, Watchlist
from groundswell.running.beat import Beat, say
from tests import believable
from tests.pages import JSON, KEYS, NOW, TOPOLOGY, Site, open_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


def row(subject: str, **changes: Any) -> LiveRow:
    about = believable.Company(subject, subject.title(), subject, 0.4)
    return msgspec.structs.replace(believable.live_row(about, {}, NOW), **changes)


async def subjects(site: Site, query: str) -> list[str]:
    found = (await site.http.get(f"/api/v1/overview?{query}")).json()
    return [one["subject"] for one in found["movers"]]


def say_documents(site: Site, subject: str, *cards: Any) -> None:
    home = KEYS.documents(TOPOLOGY.scored_partition(subject), subject)
    site.writer.delete(home)
    for card in cards:
        site.writer.zadd(home, {msgspec.json.encode(card): card.published_at})


def a_card(**changes: Any) -> Any:
    return msgspec.structs.replace(believable.cards(NOW)[0], **changes)


async def test_subjects_of_a_state_or_a_watchlist_alone_are_shown(site: Site) -> None:
    assert await subjects(site, "state=learning") == ["XTST:LMNW"]
    site.view.apply(
        "watchlist_air",
        msgspec.json.encode(
            Watchlist(id="watchlist_air", name="air", subjects=["XTST:T*", "XTST:NRVB"], by="lin", at=1)
        ),
    )
    assert set(await subjects(site, "watchlist=air")) == {"XTST:TSLY", "XTST:NRVB"}
    assert await subjects(site, "watchlist=nobody") == []
    answer = (await site.http.get("/api/v1/overview?watchlist=nobody")).json()
    assert answer["market"]["subjects"] == len(believable.COMPANIES), "a filter hides nothing of the market"
    assert len(answer["inbox"]) == 3, "nor an alert"
    assert (await site.http.get("/api/v1/overview/choices")).json()["watchlists"] == ["air"]


async def test_source_language_and_topic_are_those_of_the_documents_that_are_kept(site: Site) -> None:
    zh = a_card(id="1", lang="zh", source="Caixun.example", topics=("fraud",), label="negative")
    calm = a_card(id="2", lang="zh", source="caixun.example", topics=(), label="neutral")
    en = a_card(id="3", lang="en", source="wire.example", topics=("safety",))
    old = a_card(id="4", lang="fr", source="old.example", published_at=NOW - 4 * HOUR_MS)
    say_documents(site, "XTST:HLVN", en, old)
    say_documents(site, "XTST:OSTR", zh, calm)
    assert await subjects(site, "language=zh") == ["XTST:OSTR"]
    assert await subjects(site, "source=CAIXUN.example") == ["XTST:OSTR"]
    assert await subjects(site, "language=en&topic=topic:safety") == ["XTST:HLVN"]
    assert await subjects(site, "language=zh&topic=safety") == [], "one document must be all of it"
    assert await subjects(site, "language=fr") == [], "older than three hours"
    assert set(await subjects(site, "topic=fraud")) == {"topic:fraud", "XTST:OSTR"}
    found = (await site.http.get("/api/v1/overview?language=zh")).json()["movers"][0]
    assert found["like"] == [2, 1], "two documents, one of them negative"
    offered = (await site.http.get("/api/v1/overview/choices")).json()
    assert (offered["sources"][0], offered["languages"]) == ("Caixun.example", ["zh", "en"])
    assert {"id": "safety", "names": {"en": "Recalls and accidents", "zh": "召回与事故"}} in offered["topics"]


async def test_documents_are_read_once_for_all_who_ask_within_ten_seconds(site: Site) -> None:
    say_documents(site, "XTST:OSTR", a_card(lang="fr"))
    assert await subjects(site, "language=fr") == ["XTST:OSTR"]
    say_documents(site, "XTST:OSTR", a_card(lang="en"))
    assert await subjects(site, "language=fr") == ["XTST:OSTR"]
    site.clock.advance(11)
    assert await subjects(site, "language=fr") == []


async def test_without_redis_a_filter_by_documents_says_so(site: Site) -> None:
    site.server.connected = False
    with pytest.raises(RedisAway):
        await Heard().read(site.redis, KEYS, TOPOLOGY, site.hub.shown.rows, 1.0)
    answer = await site.http.get("/api/v1/overview?language=zh")
    assert (answer.status_code, answer.json()["reason"]) == (503, "redis_away")
    assert len(await subjects(site, "state=firing")) == 1, "what is in memory is still told"


@pytest.mark.parametrize("query", ["state=angry", "sort=price", "limit=many"])
async def test_what_is_not_offered_is_refused_with_what_is(site: Site, query: str) -> None:
    answer = await site.http.get(f"/api/v1/overview?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "wrong_shape")
    assert answer.json()["remedy"]


async def test_more_rows_come_when_they_are_asked_for(site: Site) -> None:
    assert len(await subjects(site, "limit=3")) == 3
    found = (await site.http.get("/api/v1/overview?limit=3")).json()
    assert found["total"] == len(believable.COMPANIES)


RATES = st.floats(0, 50, allow_nan=False)


@given(st.lists(st.tuples(RATES, st.integers(0, 90), RATES), max_size=12), st.sampled_from(movers.SORTS))
def test_any_order_has_every_subject_once_and_its_reverse_is_the_other_way_round(
    made: list[tuple[float, int, float]], sort: str
) -> None:
    known = {
        f"XTST:{place}": row(
            f"XTST:{place}",
            evidence=evidence - 20,
            negatives_15=negatives,
            expected_15=expected,
            reach_15=negatives * place,
        )
        for place, (evidence, negatives, expected) in enumerate(made)
    }
    there = movers.matching(known, Wanted(sort=sort), (), None, "en")
    back = movers.matching(known, Wanted(sort=f"-{sort}"), (), None, "en")
    assert sorted(one.subject for one in there) == sorted(known)
    value = {
        "evidence": lambda one: -max(one.evidence, rows.REST),
        "name": lambda one: one.names["en"].casefold(),
        "neg": lambda one: -one.negatives_15,
        "ratio": lambda one: -(rows.ratio(one) or 0.0),
        "share": lambda one: -one.share,
        "reach": lambda one: -one.reach_15,
    }[sort]
    assert [value(one) for one in there] == sorted(value(one) for one in known.values())
    assert [value(one) for one in back] == sorted((value(one) for one in known.values()), reverse=True)


def test_a_pair_is_on_the_list_of_its_company_and_patterns_are_understood() -> None:
    assert movers.on_list(["XNAS:AAPL"])("XNAS:AAPL|topic:fraud")
    assert movers.on_list(["XNAS:AAPL", "topic:*"])("topic:fraud")
    assert not movers.on_list(["XNAS:AAPL", "XHKG:?"])("XNAS:AAPLX")


def test_an_unknown_sort_is_an_error_of_the_asker() -> None:
    with pytest.raises(WrongShape, match="sort"):
        movers.wanted({"sort": "--neg"}, 60)


def test_the_market_is_told_with_who_fires_most_clearly_and_how_many_learn() -> None:
    made = {
        "A": row("A", state="firing", evidence=2.0, negatives_15=5, mentions_15=10),
        "B": row("B", state="firing", evidence=7.0, negatives_15=1, mentions_15=10),
        "topic:x": row("topic:x", kind="topic", state="learning", negatives_15=99, mentions_15=99),
    }
    told = rows.pulse(made)
    assert (told["firing"], told["learning"], told["first"]["en"]) == (2, 1, "B")
    assert (told["neg"], told["mentions"]) == (6, 20), "a topic's talk is its companies' talk"
    whole = rows.pulse({**made, "market": row("market", kind="market", negatives_15=44)})
    assert (whole["neg"], whole["subjects"]) == (44, 3)


async def test_every_page_hears_how_the_whole_market_stands_when_one_row_changes(site: Site) -> None:
    frames = site.hub.watch(["overview"], site.hub.cursor)
    await anext(frames)
    pipeline = site.writer.pipeline()
    believable.write_rows(pipeline, KEYS, TOPOLOGY, [row("market", kind="market", negatives_15=70)])
    pipeline.execute()
    await site.hub.tick()
    wire = (await anext(frames)).decode()
    told = json.loads(next(line for line in wire.splitlines() if '"rows"' in line).removeprefix("data: "))
    assert told["market"]["neg"] == 70
    assert told["market"]["subjects"] == len(believable.COMPANIES)
    site.hub.close()


def test_a_company_says_which_market_it_is_part_of() -> None:
    assert rows.subject_row(row("XNAS:AAPL"))["market"] == "market:XNYS"
    assert rows.subject_row(row("topic:fraud"))["market"] == ""


async def test_who_stops_counting_is_missed_within_five_seconds_and_is_found_again() -> None:
    redis, clock = fakeredis.FakeAsyncRedis(), ManualClock(NOW)
    counting = Counting(redis, KEYS, clock)

    async def beat() -> None:
        await say(redis, KEYS, Beat(stage="aggregate", instance="7", pid=7, at=clock.now_ms()))

    async def pass_a_second() -> bool:
        clock.advance(1)
        await counting.look()
        return counting.silent

    await counting.look()
    assert not counting.silent, "nobody has counted yet: that is another state"
    for _ in range(6):
        await beat()
        assert not await pass_a_second()
        assert not await pass_a_second()
    waited = 1
    while not await pass_a_second():
        waited += 1
    assert 3 <= waited <= 5, "a beat that is a little late is no alarm"
    await beat()
    assert not await pass_a_second()
    await redis.aclose()


async def test_an_empty_installation_shows_its_own_addresses() -> None:
    async with open_site(kafka="kafka-1:9092", prefix="groundswell") as site:
        start = (await site.http.get("/start", headers={"Accept-Language": "en"})).text
        assert "http://127.0.0.1:8080/api/v1/documents?feed=news" in start
        assert "kafka-console-producer.sh --bootstrap-server kafka-1:9092 --topic groundswell.news.v1" in start
        assert "groundswell.comments.v1" in start
        assert 'id="first"' not in (await site.http.get("/")).text, "there are counts"
        site.hub.shown.rows.clear()
        empty = (await site.http.get("/", headers={"Accept-Language": "zh"})).text
        assert "还没有任何计数" in empty
        assert "霍尔文汽车" in empty


async def test_the_commands_are_those_of_an_installation_with_a_name_and_a_login(site: Site) -> None:
    settings = msgspec.structs.replace(
        site.parts.settings, page_url="https://watch.bank.example/", access="token", port=443
    )
    told = first_run.commands(replace(site.parts, settings=settings), "http://10.0.0.7:8080/", "en")
    assert "'https://watch.bank.example/api/v1/documents?feed=news'" in told.push
    assert '-H "Authorization: Bearer $TOKEN"' in told.push
    assert told.demo.endswith("--port 444"), "where these pages are, the demo's cannot listen"


@pytest.mark.parametrize(
    ("cookies", "language", "expected"),
    [
        ({}, "zh", preferences.Preferences("", "", "red", "comfortable", shortcuts=True)),
        ({}, "en", preferences.Preferences("", "", "green", "comfortable", shortcuts=True)),
        (
            {"theme": "dark", "zone": "Asia/Hong_Kong", "rise": "red", "density": "compact", "shortcuts": "off"},
            "en",
            preferences.Preferences("dark", "Asia/Hong_Kong", "red", "compact", shortcuts=False),
        ),
        (
            {"theme": '"><script>', "zone": "../etc/passwd", "rise": "blue", "density": "tiny", "shortcuts": "?"},
            "en",
            preferences.Preferences("", "", "green", "comfortable", shortcuts=True),
        ),
    ],
)
def test_only_what_is_offered_counts_as_chosen(
    cookies: dict[str, str], language: str, expected: preferences.Preferences
) -> None:
    assert preferences.chosen(cookies, language) == expected


async def test_the_first_paint_is_as_the_reader_prefers(site: Site) -> None:
    headers = {"Cookie": "zone=Europe/London; density=compact; shortcuts=off", "Accept-Language": "zh"}
    page = (await site.http.get("/", headers=headers)).text
    opening = page[: page.index("<head>")]
    for sign in (
        'lang="zh-CN"',
        'data-zone="Europe/London"',
        'data-density="compact"',
        'data-shortcuts="off"',
        'data-rise="red"',
    ):
        assert sign in opening


async def test_a_silence_of_a_subject_is_told_beside_its_alerts(site: Site) -> None:
    body = json.dumps({"subjects": ["XTST:HLVN"], "for": "1h"}).encode()
    assert (await site.http.post("/api/v1/silences", content=body, headers=JSON)).status_code == 201
    for thing in site.pen.written:
        site.view.apply(thing.id, msgspec.json.encode(thing))
    (told,) = (await site.http.get("/api/v1/overview")).json()["silenced"]
    assert (told["subjects"], told["until"]) == (["XTST:HLVN"], NOW + HOUR_MS)
