"""The search over a broker: each filter, all pages, both exports, by the processes that the pages start for it."""

import asyncio
import csv
import dataclasses
import io
import json
import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from confluent_kafka.admin import AclOperation, AdminClient, NewTopic, ResourceType

from dashboard.app import make_app
from dashboard.archive import sifting
from dashboard.archive.past import Bounds
from dashboard.archive.search import Query
from dashboard.archive.sifting import Sieves, Sift
from dashboard.parts import Parts
from groundswell.clients.connect import admin_options
from groundswell.errors import BrokerAway, WrongShape
from groundswell.records import Row, Tagged
from groundswell.settings import Settings
from stream.topology import TAGGED, Topology
from tests.pages import open_site
from tests.secured import PASSWORD, Certificates, secured_kafka
from tests.tagged_pasts import AT, document, embedded_services, write

pytestmark = pytest.mark.asyncio
COUNT = 5_000
TOPIC = Topology().name(TAGGED)
FINE = {"lang": "zh", "feed": "comments", "source": "luntan.example", "text": "刚提车三个月就让停驶。", "title": ""}


def corpus() -> list[Tagged]:
    """The newest first; every seventh a Chinese comment, every fifth about another company, every eleventh a copy of the one before."""
    made = []
    for place in range(COUNT):
        changes: dict[str, Any] = dict(FINE) if place % 7 == 0 else {}
        if place % 5 == 0:
            changes |= {
                "companies": [Row("XNAS:AAPL", "positive", 0.1, positive=0.8)],
                "topics": [("fraud", 0.7)],
                "label": "positive",
            }
        if place % 11 == 0 and place:
            changes |= {"story": f"s{place - 1}", "echo": True}
        made.append(document(place, **changes))
    return made


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    with embedded_services({TOPIC: TAGGED.partitions}) as services:
        write(services.kafka, TOPIC, reversed(corpus()))
        yield services.kafka


@pytest.fixture
async def sieves() -> AsyncIterator[Sieves]:
    one = Sieves()
    yield one
    await one.close()


@pytest.fixture
async def pages(embedded: str, sieves: Sieves) -> AsyncIterator[httpx.AsyncClient]:
    async with open_site() as site, client(site.parts, embedded, Topology(), sieves) as http:
        yield http


def client(parts: Parts, kafka: str, topology: Topology, sieves: Sieves) -> httpx.AsyncClient:
    settings = msgspec.structs.replace(parts.settings, kafka=kafka)
    app = make_app(dataclasses.replace(parts, settings=settings, topology=topology, sieves=sieves))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://127.0.0.1:8080", timeout=60)


async def every_page(http: httpx.AsyncClient, **asked: Any) -> list[dict[str, Any]]:
    found, cursor = [], ""
    for _ in range(COUNT):
        answer = await http.get("/api/v1/documents", params={**asked, "cursor": cursor, "limit": 200})
        assert answer.status_code == 200, answer.text
        found += answer.json()["items"]
        cursor = answer.json()["next"]
        if not cursor:
            return found
    raise AssertionError("the pages never end")


@pytest.mark.parametrize(
    ("asked", "is_one"),
    [
        ({"q": "停驶"}, lambda place: place % 7 == 0),
        ({"q": "regulator probe"}, lambda place: place % 7 != 0),
        ({"subject": "XNAS:AAPL"}, lambda place: place % 5 == 0),
        ({"subject": "XTST:HLVN", "polarity": "negative"}, lambda place: place % 5 != 0),
        ({"polarity": "positive"}, lambda place: place % 5 == 0),
        ({"topic": "fraud"}, lambda place: place % 5 == 0),
        ({"source": "luntan.example"}, lambda place: place % 7 == 0),
        ({"language": "zh"}, lambda place: place % 7 == 0),
        ({"feed": "comments", "topic": "fraud"}, lambda place: place % 35 == 0),
        ({"from": AT - 900_000, "to": AT - 600_000}, lambda place: 600 < place <= 900),
    ],
)
async def test_each_filter_finds_all_of_its_documents_and_no_other(
    pages: httpx.AsyncClient, asked: dict[str, Any], is_one: Any
) -> None:
    found = [int(one["id"][1:]) for one in await every_page(pages, **asked)]
    assert sorted(found) == [place for place in range(COUNT) if is_one(place)]
    assert found[:200] == sorted(found)[:200], (
        "the newest first; further back, where chunks meet, a few may change places"
    )


async def test_all_pages_show_each_document_once(pages: httpx.AsyncClient) -> None:
    found = [one["id"] for one in await every_page(pages)]
    assert len(found) == COUNT
    assert set(found) == {f"d{place}" for place in range(COUNT)}


@pytest.mark.parametrize("form", ["csv", "jsonl"])
async def test_an_export_is_the_search(pages: httpx.AsyncClient, form: str) -> None:
    asked = {"language": "zh", "polarity": "negative"}
    shown = [one["id"] for one in await every_page(pages, **asked)]
    raw = (await pages.get(f"/api/v1/documents.{form}", params=asked)).content.decode("utf-8-sig")
    if form == "csv":
        exported = [row["id"] for row in csv.DictReader(io.StringIO(raw, newline=""))]
    else:
        *lines, end = map(json.loads, raw.splitlines())
        exported = [line["id"] for line in lines]
        assert end["end"]["cut"] is False
        assert end["end"]["searched"] == COUNT
    assert exported == shown


async def test_searches_beside_each_other_answer_each_its_own(pages: httpx.AsyncClient) -> None:
    both = await asyncio.gather(
        *(every_page(pages, language=lang, subject="XNAS:AAPL") for lang in ("zh", "en", "zh", "en"))
    )
    assert [len(one) for one in both] == [COUNT // 35 + 1, COUNT // 5 - COUNT // 35 - 1] * 2


async def test_a_reader_who_leaves_gives_the_seat_back(embedded: str, sieves: Sieves) -> None:
    for _ in range(sifting.AT_ONCE + 1):
        pieces = sieves.pieces(sift(embedded, form="jsonl"))
        assert await anext(pieces)
        await pieces.aclose()  # type: ignore[attr-defined]
    assert len(json.loads(await sieves.page(sift(embedded)))["items"]) == 50


async def test_a_searcher_that_was_killed_is_replaced(embedded: str, sieves: Sieves) -> None:
    await sieves.page(sift(embedded))
    for process in sieves._resting:
        process.kill()
        await process.wait()
    assert json.loads(await sieves.page(sift(embedded)))["items"]


async def test_a_cursor_of_elsewhere_is_refused_and_the_next_search_answers(embedded: str, sieves: Sieves) -> None:
    with pytest.raises(WrongShape):
        await sieves.page(sift(embedded, cursor="AAAA"))
    assert json.loads(await sieves.page(sift(embedded)))["items"]


async def test_a_broker_that_is_nowhere_is_said_within_its_deadline(sieves: Sieves) -> None:
    with pytest.raises(BrokerAway):
        async with asyncio.timeout(20):
            await sieves.page(sift("127.0.0.1:1"))


async def test_the_searchers_end_with_the_pages(embedded: str) -> None:
    one = Sieves()
    await one.page(sift(embedded))
    (process,) = one._resting
    await one.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_a_searcher_whose_pages_died_ends_too() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dashboard.archive.sifting", stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.close()
    async with asyncio.timeout(15):
        assert await process.wait() == 0


def sift(kafka: str, **changes: Any) -> Sift:
    usual: dict[str, Any] = {
        "options": {"bootstrap.servers": kafka, "log_level": 2},
        "bounds": Bounds(50, 100_000, 5.0),
    }
    return Sift(topic=TOPIC, query=Query(), **(usual | changes))


async def test_a_real_broker_finds_a_span_by_when_it_came_in(
    kafka_address: str, topic_prefix: str, sieves: Sieves
) -> None:
    topology = Topology(topic_prefix)
    name = topology.name(TAGGED)
    admin = AdminClient({"bootstrap.servers": kafka_address, "log_level": 0})
    admin.create_topics([NewTopic(name, 6, 1, config={"retention.ms": "-1"})])[name].result(timeout=20)
    documents = corpus()
    write(kafka_address, name, reversed(documents), at_ms=lambda one: one.tagged_at)
    late = document(COUNT + 1, id="late", published_at=AT - 4_900_000)
    write(kafka_address, name, [late], at_ms=lambda _: AT)
    async with open_site() as site, client(site.parts, kafka_address, topology, sieves) as http:
        span = {"from": AT - 4_950_000, "to": AT - 4_850_000}
        answer = (await http.get("/api/v1/documents", params=span | {"limit": 200})).json()
        assert {one["id"] for one in answer["items"]} == {f"d{place}" for place in range(4_851, 4_951)}
        assert answer["searched"] < COUNT * 0.8, "only what came in until an hour later is looked at"
        assert answer["more_came_later"]
        assert "late" in {one["id"] for one in await every_page(http, **span, late=1)}
        assert len(await every_page(http)) == COUNT + 1


async def test_the_right_to_read_one_topic_is_enough_and_its_absence_is_named(tmp_path: Path, sieves: Sieves) -> None:
    certificates = Certificates(tmp_path)
    with secured_kafka(tmp_path, certificates, ["dashboard"]) as broker:
        admin = AdminClient({"bootstrap.servers": broker.administrator, "log_level": 0})
        admin.create_topics([NewTopic(TOPIC, 3, 1)])[TOPIC].result(timeout=20)
        write(broker.administrator, TOPIC, map(document, range(30)))
        settings = Settings(
            kafka=broker.scram, kafka_security="SASL_SSL", kafka_ca=certificates.ca, kafka_user="dashboard", kafka_password=PASSWORD
        )  # fmt: skip
        asked = sift("", options=admin_options(settings))
        with pytest.raises(BrokerAway) as refused:
            await sieves.page(asked)
        assert "READ" in refused.value.remedy
        broker.allow("User:dashboard", ResourceType.TOPIC, TOPIC, AclOperation.READ)
        assert len(json.loads(await sieves.page(asked))["items"]) == 30
