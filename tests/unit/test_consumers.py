"""Alerts without a webhook: pages with a cursor, a stream that resumes, a feed that any reader parses, formats as documents."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from xml.etree import ElementTree as ET

import jsonschema
import msgspec
import pytest

from dashboard.alerts import consumers
from groundswell.records import AlertView
from groundswell.schemas import asyncapi
from groundswell.settings import Settings
from groundswell.times import parse_ms, rfc3339
from stream.topology import CONTROL, Topology
from tests import believable
from tests.pages import KEYS, NOW, Site, open_site

ATOM = "{http://www.w3.org/2005/Atom}"
HOSTILE = "</title><script>alert(1)</script> ]]> \x00\x1b[31m \u202eevil\ufffe &amp; <!--"


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


def written(site: Site, episode: str, at_ms: int, **changes: Any) -> AlertView:
    view = believable.alert(NOW, episode=episode)
    event = msgspec.structs.replace(view.event, timestamp=rfc3339(at_ms), id=f"gw_{episode}_{at_ms}")
    view = msgspec.structs.replace(view, event=event, **changes)
    believable.write_alert(site.writer, KEYS, view)
    return view


async def all_pages(site: Site, query: str) -> list[dict[str, Any]]:
    found, cursor = [], ""
    for _ in range(100):
        page = (await site.http.get(f"/api/v1/alerts?{query}&cursor={cursor}")).json()
        found += page["items"]
        cursor = page["next"]
        if not cursor:
            return found
    raise AssertionError("no end")


@pytest.mark.parametrize("limit", [1, 2, 5, 200])
async def test_pages_of_alerts_hold_each_once_newest_first(site: Site, limit: int) -> None:
    for number in range(9):
        written(site, f"ep_{number}", NOW + number // 3 * 1_000)
    found = await all_pages(site, f"limit={limit}")
    assert len(found) == len({row["episode"] for row in found}) == 12
    assert [row["updated_at"] for row in found] == sorted((row["updated_at"] for row in found), reverse=True)


async def test_alerts_can_be_kept_to_a_state_and_a_subject(site: Site) -> None:
    written(site, "ep_pair", NOW, subject="XTST:HLVN|topic:safety")
    assert {row["state"] for row in await all_pages(site, "state=firing&limit=1")} == {"firing"}
    found = await all_pages(site, "subject=XTST:HLVN")
    assert {row["episode"] for row in found} >= {"ep_9a41", "ep_pair"}
    assert {row["subject"].partition("|")[0] for row in found} == {"XTST:HLVN"}
    assert (await site.http.get("/api/v1/alerts?cursor=abc")).status_code == 400


async def heard(
    site: Site, since: int | None, *, events: int, then: Any = None
) -> list[tuple[int, str, dict[str, Any]]]:
    """The first so many events of a stream; `then` is done once it listens."""
    found: list[tuple[int, str, dict[str, Any]]] = []
    parts = site.parts
    async with asyncio.timeout(5), aclosing(consumers._events(parts, site.hub.watch((), ""), since)) as frames:
        async for frame in frames:
            fields = dict(line.split(": ", 1) for line in frame.decode().splitlines() if ": " in line)
            if "data" in fields:
                found.append((int(fields["id"]), fields["event"], json.loads(fields["data"])))
            elif then is not None:
                then()
                asyncio.get_running_loop().call_later(0.05, lambda: asyncio.ensure_future(site.hub.tick()))
            if len(found) >= events:
                break
    return found


async def test_the_stream_tells_what_comes_from_now_on_as_a_webhook_would(site: Site) -> None:
    ((at, kind, event),) = await heard(site, None, events=1, then=lambda: written(site, "ep_new", NOW + 5_000))
    assert (at, kind, event["data"]["episode_id"]) == (NOW + 5_000, "alert.firing", "ep_new")
    jsonschema.validate(event, msgspec.json.schema(type(believable.alert(NOW).event)))


async def test_a_stream_that_was_cut_goes_on_without_a_hole(site: Site) -> None:
    for number in range(3):
        written(site, f"ep_{number}", NOW + (number + 1) * 3_600_000)
    last_seen = NOW + 3_600_000
    missed = await heard(site, last_seen, events=3)
    assert {event["id"] for _, _, event in missed} >= {
        f"gw_ep_{number}_{NOW + (number + 1) * 3_600_000}" for number in (1, 2)
    }
    assert [at for at, _, _ in missed] == sorted(at for at, _, _ in missed)


async def test_the_feed_is_atom_in_both_languages_and_links_to_the_evidence(site: Site) -> None:
    for language, name in (("zh", "霍尔文汽车"), ("en", "Halvorn Motors")):
        answer = await site.http.get(f"/feeds/alerts.atom?lang={language}")
        assert answer.headers["content-type"].startswith("application/atom+xml")
        feed = ET.fromstring(answer.content)
        entries = feed.findall(f"{ATOM}entry")
        assert len(entries) == 3
        assert any(name in (entry.findtext(f"{ATOM}title") or "") for entry in entries)
        for entry in entries:
            assert parse_ms(entry.findtext(f"{ATOM}updated") or "") > 0
            link = entry.find(f"{ATOM}link")
            assert link is not None
            assert (await site.http.get(link.attrib["href"])).status_code == 200
    again = await site.http.get("/feeds/alerts.atom?lang=en", headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304


async def test_hostile_text_stays_text_in_the_feed(site: Site) -> None:
    view = believable.alert(NOW, episode="ep_evil")
    subject = msgspec.structs.replace(view.event.data.subject, names={"en": HOSTILE, "zh": HOSTILE}, id=HOSTILE[:40])
    data = msgspec.structs.replace(view.event.data, subject=subject, summary={"en": HOSTILE * 50, "zh": HOSTILE})
    written(site, "ep_evil", NOW + 1)
    event = msgspec.structs.replace(view.event, data=data)
    believable.write_alert(site.writer, KEYS, msgspec.structs.replace(view, event=event))
    answer = await site.http.get("/feeds/alerts.atom")
    feed = ET.fromstring(answer.content)
    assert b"<script" not in answer.content
    (evil,) = [one for one in feed.findall(f"{ATOM}entry") if "script" in (one.findtext(f"{ATOM}summary") or "")]
    assert "\x1b" not in (evil.findtext(f"{ATOM}summary") or "")
    assert len(evil.findtext(f"{ATOM}summary") or "") <= 1_001


async def test_the_published_schema_accepts_the_alerts_that_are_served(site: Site) -> None:
    schema = (await site.http.get("/schemas/alert-event.v1.json")).json()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$id"].endswith("/schemas/alert-event.v1.json")
    event = (await site.http.get("/api/v1/alerts/ep_9a41")).json()["event"]
    jsonschema.validate(event, schema)


def references(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [value["$ref"]] if "$ref" in value else [one for part in value.values() for one in references(part)]
    return [one for part in value for one in references(part)] if isinstance(value, list) else []


async def test_asyncapi_names_this_installations_topics_and_every_reference_leads_somewhere(site: Site) -> None:
    served = (await site.http.get("/asyncapi.json")).json()
    assert served["asyncapi"] == "3.0.0"
    found = json.loads(msgspec.json.encode(asyncapi(Settings(kafka="broker:9092"), Topology("mine"))))
    assert {one["address"] for one in found["channels"].values()} == {
        "mine.news.v1", "mine.comments.v1", "mine.tagged.v1", "mine.alerts.v1", "mine.deliveries.v1"
    }  # fmt: skip
    assert CONTROL.name not in json.dumps(found)
    assert found["operations"]["send_alerts"]["action"] == "send"
    assert found["servers"]["kafka"]["host"] == "broker:9092"
    everywhere = references(found)
    assert everywhere
    for reference in everywhere:
        place: Any = found
        for part in reference.removeprefix("#/").split("/"):
            place = place[part.replace("~1", "/")]
        assert place
    schema = {"$ref": found["components"]["messages"]["alerts"]["payload"]["$ref"], "components": found["components"]}
    event = (await site.http.get("/api/v1/alerts/ep_9a41")).json()["event"]
    jsonschema.Draft202012Validator(schema).validate(event)
