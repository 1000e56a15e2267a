"""The JSON that pages and programs read, the writes they may make, and what every answer carries."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from dashboard import app as pages_process
from dashboard.app import run
from dashboard.entry.guards import HEADERS
from groundswell.clock import SystemClock
from groundswell.errors import BadSetting
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.settings import Settings
from tests import believable
from tests.pages import JSON, KEYS, NOW, TOPOLOGY, Site, open_site


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def test_the_overview_puts_the_surge_first_and_says_how_fresh_it_is(site: Site) -> None:
    found = (await site.http.get("/api/v1/overview")).json()
    assert found["movers"][0]["subject"] == "XTST:HLVN"
    assert found["movers"][0]["neg"] > found["movers"][0]["hi"]
    assert "market" not in [row["subject"] for row in found["movers"]]
    assert found["health"]["state"] == "ok"
    assert found["market"]["firing"] == 1
    assert [row["state"] for row in found["inbox"]] == ["firing", "recovering", "resolved"]
    assert found["cursor"] == site.hub.cursor


async def test_series_hold_the_counts_that_were_written_and_the_band_beside_them(site: Site) -> None:
    home = TOPOLOGY.scored_partition("XTST:HLVN")
    found = (await site.http.get(f"/api/v1/subjects/XTST:HLVN/series?from={NOW - HOUR_MS}&to={NOW}&step=60")).json()
    assert (found["t0"], len(found["neg"]), found["step"]) == (NOW - HOUR_MS, 60, 60)
    from groundswell.keys import unpack_bucket

    for place, negatives in enumerate(found["neg"]):
        minute = NOW - HOUR_MS + place * MINUTE_MS
        raw = site.writer.hget(
            KEYS.buckets(home, "XTST:HLVN", minute // HOUR_MS), bytes([minute % HOUR_MS // MINUTE_MS])
        )
        assert negatives == unpack_bucket(raw).negative
    normal = believable.expectation(believable.SURGE, NOW - 900_000)
    assert (found["lo"][45], found["hi"][45]) == (normal.low_1, normal.high_1)
    assert found["marks"][0]["episode"] == "ep_9a41"


async def test_a_longer_step_sums_the_minutes_within_it(site: Site) -> None:
    begin = NOW // HOUR_MS * HOUR_MS - 2 * HOUR_MS
    address = f"/api/v1/subjects/XTST:ZPHR/series?from={begin}&to={begin + HOUR_MS}"
    minutes = (await site.http.get(f"{address}&step=60")).json()["neg"]
    fives = (await site.http.get(f"{address}&step=300")).json()["neg"]
    hours = (await site.http.get(f"{address}&step=3600")).json()["neg"]
    assert sum(minutes) == sum(fives) == hours[0] > 0


async def test_no_data_is_null_and_never_zero(site: Site) -> None:
    past = (await site.http.get(f"/api/v1/subjects/XTST:NOBODY/series?from={NOW - HOUR_MS}&to={NOW}")).json()
    assert set(past["neg"]) == {None}
    future = (await site.http.get(f"/api/v1/subjects/XTST:HLVN/series?from={NOW}&to={NOW + HOUR_MS // 4}")).json()
    assert set(future["neg"]) == {None}
    assert None not in future["hi"], "what is normal next is known"


@pytest.mark.parametrize("query", ["step=61", "from=x", "from=5&to=4", "from=0&to=9999999999999", "from=-1"])
async def test_a_span_that_cannot_be_drawn_is_refused_with_the_remedy(site: Site, query: str) -> None:
    answer = await site.http.get(f"/api/v1/subjects/XTST:HLVN/series?{query}")
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["reason"] == "wrong_shape"
    assert answer.json()["remedy"]


async def test_documents_come_newest_first_and_by_polarity(site: Site) -> None:
    all_of_them = (await site.http.get("/api/v1/subjects/XTST:HLVN/documents")).json()["items"]
    times = [item["published_at"] for item in all_of_them]
    assert len(times) == 18
    assert times == sorted(times, reverse=True)
    bad = (await site.http.get("/api/v1/subjects/XTST:HLVN/documents?polarity=negative")).json()["items"]
    assert {item["label"] for item in bad} == {"negative"}


async def test_an_address_that_is_no_link_is_left_out(site: Site) -> None:

    home = TOPOLOGY.scored_partition("XTST:HLVN")
    card = msgspec.structs.replace(believable.cards(NOW)[0], id="bad", url="javascript:alert(1)", published_at=NOW)
    site.writer.zadd(KEYS.documents(home, "XTST:HLVN"), {msgspec.json.encode(card): NOW})
    items = (await site.http.get("/api/v1/subjects/XTST:HLVN/documents")).json()["items"]
    assert (items[0]["id"], items[0]["url"]) == ("bad", "")


async def test_what_the_browser_has_already_is_not_sent_again(site: Site) -> None:
    first = await site.http.get("/api/v1/alerts")
    again = await site.http.get("/api/v1/alerts", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_an_alert_is_whole_and_an_unknown_one_is_a_problem(site: Site) -> None:
    found = (await site.http.get("/api/v1/alerts/ep_9a41")).json()
    assert found["event"]["data"]["observed"]["negatives"] == 49
    assert found["ack"] is None
    lost = await site.http.get("/api/v1/alerts/ep_none")
    assert (lost.status_code, lost.json()["reason"]) == (404, "no_such_episode")


async def test_pushed_documents_go_to_their_feed_as_one_message(site: Site) -> None:
    body = json.dumps([{"id": "a1", "text": "Halvorn vans recalled"}, {"text": "霍尔文汽车召回"}]).encode()
    answer = await site.http.post("/api/v1/documents?feed=comments", content=body, headers=JSON)
    assert answer.status_code == 202
    assert answer.json() == {"accepted": 2, "topic": "groundswell.comments.v1", "partition": 3, "offset": 41}
    assert site.pen.sent == [("comments.v1", b"a1", body)]


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b"not json", 400, "not_json"),
        (b"", 400, "not_json"),
        (b"\xff\xfe", 400, "not_utf8"),
        (b"[]", 400, "empty_array"),
        (b"{}", 400, "wrong_shape"),
        (b'{"text": 5}', 400, "wrong_shape"),
        (b'{"text": " \\n "}', 400, "no_text"),
        (b'{"text": "' + b"x" * 65_537 + b'"}', 413, "text_too_long"),
        (b'{"text": "x", "published_at": "2026-01-01T00:00:00"}', 400, "bad_time"),
        (b'{"text": "x", "published_at": 99999999999999}', 400, "from_the_future"),
        (b"[" + b",".join([b'{"text":"x"}'] * 501) + b"]", 400, "too_many_documents"),
        (b'{"text": "x", "more": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400, "nested_too_deep"),
        (b" " * 1_048_577, 413, "message_too_large"),
    ],
)
async def test_a_bad_push_says_what_is_wrong_and_what_to_do(site: Site, body: bytes, status: int, reason: str) -> None:
    answer = await site.http.post("/api/v1/documents", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert answer.json()["remedy"]
    assert site.pen.sent == []


async def test_a_broker_that_is_away_is_worth_another_try(site: Site) -> None:
    site.pen.away = True
    answer = await site.http.post("/api/v1/documents", content=b'{"text": "x"}', headers=JSON)
    assert (answer.status_code, answer.json()["reason"]) == (503, "broker_away")
    assert answer.headers["retry-after"]


async def test_an_acknowledgement_is_written_for_an_episode_that_exists(site: Site) -> None:
    answer = await site.http.post("/api/v1/alerts/ep_9a41/ack", content=b'{"by": "lin"}', headers=JSON)
    assert answer.status_code == 202
    assert [(ack.id, ack.by) for ack in site.pen.written] == [("ep_9a41", "lin")]
    lost = await site.http.post("/api/v1/alerts/ep_none/ack", content=b"{}", headers=JSON)
    assert lost.status_code == 404
    assert len(site.pen.written) == 1


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://127.0.0.1:8080", **JSON}, 202),
        (JSON, 202),  # a program
        ({"Origin": "http://evil.example", **JSON}, 403),
        ({"Origin": "null", **JSON}, 403),
        ({"Origin": "http://127.0.0.1:9999", **JSON}, 403),
        ({"Sec-Fetch-Site": "cross-site", **JSON}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
async def test_only_our_own_pages_and_programs_may_write(site: Site, headers: dict[str, str], status: int) -> None:
    answer = await site.http.post("/api/v1/documents", content=b'{"text": "x"}', headers=headers)
    assert answer.status_code == status
    assert len(site.pen.sent) == (status == 202)


@pytest.mark.parametrize(
    "path",
    ["/", "/alerts", "/alerts/ep_9a41", "/subjects/XTST:HLVN", "/static/chart.js", "/nothing", "/api/v1/overview"],
)
async def test_every_answer_carries_the_policy(site: Site, path: str) -> None:
    answer = await site.http.get(path)
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


async def test_another_host_name_is_refused(site: Site) -> None:
    answer = await site.http.get("/api/v1/overview", headers={"Host": "rebound.example"})
    assert answer.status_code == 400


async def test_the_alert_page_tells_everything_without_a_script(site: Site) -> None:
    page = (await site.http.get("/alerts/ep_9a41", headers={"Accept-Language": "en"})).text
    for text in (
        "Halvorn Motors",
        "49 negative in 15 min",
        "2–11 expected",
        "18 copies",
        "It still fires",
        "1.6 × 10¹⁰",
    ):
        assert text in page
    assert "<mark" in page
    assert "公司承认制动电阻在停车状态下可能过热起火" in page


async def test_the_language_is_the_one_asked_for_and_is_kept(site: Site) -> None:
    assert 'lang="en"' in (await site.http.get("/alerts", headers={"Accept-Language": "fr, en;q=0.5"})).text
    assert "最近的负面异动" in (await site.http.get("/alerts", headers={"Accept-Language": "en;q=0.3, zh-TW"})).text
    chosen = await site.http.get("/alerts?lang=zh", headers={"Accept-Language": "en"})
    assert "lang=zh" in chosen.headers["set-cookie"]
    assert 'lang="zh-CN"' in (await site.http.get("/alerts", headers={"Accept-Language": "en"})).text


async def test_a_hidden_letter_is_spelled_out_in_evidence(site: Site) -> None:

    view = believable.alert(NOW, episode="ep_bidi")
    document = msgspec.structs.replace(view.event.data.documents[0], title="abc\u202edcba", excerpt="<b>x</b>\x00")
    data = msgspec.structs.replace(view.event.data, documents=[document])
    view = msgspec.structs.replace(view, event=msgspec.structs.replace(view.event, data=data))
    site.writer.set(KEYS.alert("ep_bidi"), msgspec.json.encode(view))
    page = (await site.http.get("/alerts/ep_bidi")).text
    assert "abc⟨U+202E⟩dcba" in page
    assert "&lt;b&gt;x&lt;/b&gt;⟨U+0000⟩" in page


async def test_without_redis_reads_say_so_and_the_last_overview_still_stands(site: Site) -> None:
    site.server.connected = False
    await site.hub.tick()
    series = await site.http.get("/api/v1/subjects/XTST:HLVN/series")
    assert (series.status_code, series.json()["reason"]) == (503, "redis_away")
    overview = (await site.http.get("/api/v1/overview")).json()
    assert (overview["health"]["state"], len(overview["movers"])) == ("redis_away", 12)
    assert (await site.http.get("/api/v1/health")).json()["ok"] is False


def no_desk(*_: Any) -> Any:
    raise AssertionError("not so far")


async def test_an_address_open_to_others_is_refused_with_the_remedy() -> None:
    import asyncio

    with pytest.raises(BadSetting, match="no login") as refused:
        await run(Settings(host="0.0.0.0", port=0), TOPOLOGY, SystemClock(), asyncio.Event(), make_desk=no_desk)
    assert "proxy" in refused.value.remedy


async def test_a_port_that_is_taken_is_said_before_anything_is_opened() -> None:
    import asyncio
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings = Settings(port=taken.getsockname()[1], redis="redis://127.0.0.1:1/0")
        with pytest.raises(BadSetting, match="is taken") as refused:
            await run(settings, TOPOLOGY, SystemClock(), asyncio.Event(), make_desk=no_desk)
    assert "GROUNDSWELL_PORT" in refused.value.remedy
    assert pages_process.STATIC.is_dir()
