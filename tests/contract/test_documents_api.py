"""The API of the documents: what it answers, how it pages, what it refuses, over a log in memory."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest

from dashboard.app import make_app
from dashboard.archive import sifting
from dashboard.archive.past import Bounds
from dashboard.archive.search import Query
from groundswell.errors import BrokerAway
from groundswell.records import Row
from tests.pages import Site, open_site
from tests.tagged_pasts import AT, MemoryLog, SievesInMemory, document

pytestmark = pytest.mark.asyncio


class Search:
    """Pages that search a log in memory."""

    def __init__(self, site: Site) -> None:
        self.log = MemoryLog()
        self.sieves = SievesInMemory(self.log)
        settings = msgspec.structs.replace(site.parts.settings, kafka="127.0.0.1:1")
        self.parts = dataclasses.replace(site.parts, settings=settings, sieves=self.sieves)
        transport = httpx.ASGITransport(app=make_app(self.parts))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080")

    async def get(self, path: str, **asked: Any) -> Any:
        answer = await self.http.get(f"/api/v1/{path}", params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
async def search() -> AsyncIterator[Search]:
    async with open_site() as site:
        one = Search(site)
        yield one
        await one.http.aclose()


async def test_a_document_comes_with_all_that_a_line_shows(search: Search) -> None:
    search.log.add(document(1, companies=[Row("XTST:HLVN", "negative", 0.9), Row("XNAS:AAPL", "positive", 0.1)]))
    found = await search.get("documents")
    (one,) = found["items"]
    assert one["title"][slice(*one["title_span"])] == "Halvorn Motors"
    assert one["subjects"][0] == {"subject": "XTST:HLVN", "label": "negative", "unsure": False, "probability": 0.9}
    assert (one["topics"], one["label"], one["url"]) == (["safety"], "negative", "https://wirepress.example/1")
    assert found["names"] == {"XTST:HLVN": {"en": "Halvorn Motors", "zh": "霍尔文汽车"}}
    assert (found["next"], found["searched"]) == ("", 1)


async def test_a_subject_may_be_named_by_its_name_in_either_language(search: Search) -> None:
    search.log.add(document(1))
    search.log.add(document(2, companies=[]))
    for name in ("XTST:HLVN", "xtst:hlvn", "Halvorn motors", "霍尔文汽车"):
        found = await search.get("documents", subject=name)
        assert [one["id"] for one in found["items"]] == ["d1"], name
        assert found["subject"] == "XTST:HLVN"


async def test_pages_go_on_where_the_one_before_ended(search: Search) -> None:
    for place in range(25, 0, -1):
        search.log.add(document(place))
    found, cursor = [], ""
    for _ in range(4):
        page = await search.get("documents", limit=10, cursor=cursor)
        found += [one["id"] for one in page["items"]]
        cursor = page["next"]
        if not cursor:
            break
    assert found == [f"d{place}" for place in range(1, 26)]


async def test_an_answer_that_has_not_changed_is_not_sent_again(search: Search) -> None:
    search.log.add(document(1))
    first = await search.http.get("/api/v1/documents")
    second = await search.http.get("/api/v1/documents", headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 304


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"polarity": "angry"}, "polarity"),
        ({"from": "noon"}, "from"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"limit": "many"}, "limit"),
        ({"from": "9", "to": "3"}, "to"),
    ],
)
@pytest.mark.parametrize("path", ["documents", "documents.csv", "documents.jsonl"])
async def test_what_cannot_be_asked_is_a_problem_in_words(
    search: Search, path: str, asked: dict[str, str], word: str
) -> None:
    if path != "documents" and word in ("cursor", "limit"):
        return
    answer = await search.http.get(f"/api/v1/{path}", params=asked)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert word in answer.json()["title"]
    assert answer.json()["remedy"]


@pytest.mark.parametrize("path", ["documents", "documents.csv", "documents.jsonl"])
async def test_a_broker_that_is_away_is_a_problem_to_try_again(search: Search, path: str) -> None:
    search.log.away = True
    answer = await search.http.get(f"/api/v1/{path}")
    assert answer.status_code == 503
    assert (answer.json()["reason"], answer.headers["retry-after"]) == ("broker_away", "5")


async def test_pages_without_a_broker_say_so(search: Search) -> None:
    bare = dataclasses.replace(search.parts, settings=msgspec.structs.replace(search.parts.settings, kafka=""))
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app=make_app(bare)), base_url="http://127.0.0.1:8080"
    ) as http:
        answer = await http.get("/api/v1/documents")
    assert answer.status_code == 503
    assert answer.json()["reason"] == "nothing_runs"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_an_export_holds_what_the_search_finds(search: Search, form: str) -> None:
    for place in range(40, 0, -1):
        search.log.add(document(place, lang="zh" if place % 2 else "en", text="制动起火，=1+1"))
    answer = await search.http.get(f"/api/v1/documents.{form}", params={"language": "zh"})
    shown = await search.get("documents", language="zh")
    assert answer.headers["content-disposition"].startswith('attachment; filename="groundswell-documents-2026')
    assert answer.headers["content-disposition"].endswith(f'Z.{form}"')
    lines = answer.text.splitlines()
    if form == "jsonl":
        ids, end = [json.loads(line)["id"] for line in lines[:-1]], json.loads(lines[-1])
        assert end == {"end": {"found": 20, "searched": 40, "searched_back_to": AT - 39_100, "cut": False}}
    else:
        assert answer.content.startswith(b"\xef\xbb\xbf")
        ids = [line.rsplit('"', 2)[1] for line in lines[1:]]
    assert ids == [one["id"] for one in shown["items"]]


async def test_asking_only_for_the_head_of_an_export_searches_nothing(search: Search) -> None:
    answer = await search.http.head("/api/v1/documents.csv")
    assert (answer.status_code, answer.content) == (200, b"")
    assert search.sieves.sifts == []


async def test_a_late_broker_ends_an_export_with_a_line_that_says_so(search: Search) -> None:
    async def pieces(_: sifting.Sift) -> AsyncIterator[bytes]:
        yield b'{"id":"d1"}\n'
        raise BrokerAway

    search.sieves.pieces = pieces  # type: ignore[method-assign,assignment]
    answer = await search.http.get("/api/v1/documents.jsonl")
    assert json.loads(answer.text.splitlines()[-1])["end"]["broken"] == "broker_away"


async def test_subjects_are_found_by_id_and_by_name_the_likeliest_first(search: Search) -> None:
    found = await search.get("subjects", q="hal")
    names = {"en": "Halvorn Motors", "zh": "霍尔文汽车"}
    assert found["items"][0] == {"subject": "XTST:HLVN", "kind": "company", "names": names}
    for asked, first in (("电网", "XTST:KSTG"), ("VNTP", "XTST:VNTP"), ("chips", "XTST:OSTR")):
        assert (await search.get("subjects", q=asked))["items"][0]["subject"] == first
    assert (await search.get("subjects", q="nothing such"))["items"] == []
    assert (await search.get("subjects", limit=3))["items"][0]["subject"] == "XTST:HLVN", "what fires is first"


async def test_the_way_in_for_documents_is_as_it_was(search: Search) -> None:
    answer = await search.http.post("/api/v1/documents", json={"text": "A fire broke out."})
    assert answer.status_code == 202


async def test_more_searches_than_there_are_seats_wait_and_are_then_told_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sifting, "WAIT_S", 0.05)
    sieves = sifting.Sieves()
    for _ in range(sifting.AT_ONCE):
        await sieves._seats.acquire()
    sift = sifting.Sift(options={}, topic="t", query=Query(), bounds=Bounds(1, 1, 1.0))
    with pytest.raises(sifting.TooManySearches) as refused:
        await sieves.page(sift)
    assert refused.value.remedy
    await asyncio.sleep(0)


@pytest.mark.parametrize("lang", ["en", "zh"])
async def test_the_page_is_filled_from_its_address(search: Search, lang: str) -> None:
    answer = await search.http.get(
        "/documents",
        params={"lang": lang, "q": '"a <b>"', "subject": "XTST:HLVN", "polarity": "negative", "topic": "fraud"},
    )
    assert answer.status_code == 200
    assert 'value="&#34;a &lt;b&gt;&#34;"' in answer.text
    assert 'value="XTST:HLVN"' in answer.text
    assert '<option value="negative" selected>' in answer.text
    assert '<option value="fraud" selected>' in answer.text
