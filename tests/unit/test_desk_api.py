"""The routes by which people write: one object each, behind the same guards, with problems that say what to do."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from groundswell.keys import Keys
from groundswell.records import DeliveryOutcome, Endpoint, Errand, Silence
from tests.pages import JSON, KEYS, NOW, Site, open_site

URL = "https://hooks.bank.com/t0ken"
FOREIGN = {"Origin": "https://evil.example", **JSON}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def send(site: Site, method: str, path: str, body: Any = None, headers: dict[str, str] = JSON) -> Any:
    content = None if body is None else json.dumps(body).encode()
    return await site.http.request(method, f"/api/v1{path}", content=content, headers=headers)


def kept(site: Site, thing: Any) -> None:
    site.view.apply(thing.id, msgspec.json.encode(thing))


async def added(site: Site, **more: Any) -> dict[str, Any]:
    answer = await send(site, "POST", "/endpoints", {"url": URL, "name": "risk"} | more)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_an_endpoint_is_added_listed_changed_and_removed(site: Site) -> None:
    quiet = {"start": "22:00", "end": "07:00", "zone": "Asia/Shanghai"}
    made = await added(site, topics=["fraud"], quiet=quiet, lang="zh")
    assert made["secret"].startswith("whsec_")
    (listed,) = (await send(site, "GET", "/endpoints")).json()["items"]
    assert (listed["id"], listed["topics"], listed["quiet"]["zone"], listed["state"]) == (
        made["id"],
        ["fraud"],
        "Asia/Shanghai",
        "healthy",
    )
    changed = await send(site, "PATCH", f"/endpoints/{made['id']}", {"severity": "critical", "quiet": None})
    assert (changed.json()["severity"], changed.json()["quiet"], changed.json()["topics"]) == (
        "critical",
        None,
        ["fraud"],
    )
    assert (await send(site, "DELETE", f"/endpoints/{made['id']}")).status_code == 204
    assert (await send(site, "GET", f"/endpoints/{made['id']}")).json()["reason"] == "no_such_endpoint"
    assert [type(one) for one in site.pen.written] == [Endpoint, Endpoint, str]


async def test_no_answer_but_the_first_holds_the_address_or_the_secret(site: Site) -> None:
    made = await added(site)
    rotated = (await send(site, "POST", f"/endpoints/{made['id']}/rotate", {})).json()
    assert rotated["secret"] != made["secret"]
    assert rotated["old_secret_until"] == NOW + 86_400_000
    for path in ("/endpoints", f"/endpoints/{made['id']}", "/deliveries"):
        text = (await send(site, "GET", path)).text
        assert "t0ken" not in text
        assert "whsec_" not in text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"url": URL}, "wrong_shape"),
        ({"url": URL, "name": "x", "subject": ["XNAS:AAPL"]}, "wrong_shape"),  # a slip: it would hear everything
        ({"url": URL, "name": "x", "subjects": ["all of them"]}, "wrong_shape"),
        ({"url": URL, "name": "x", "severity": "bad"}, "wrong_shape"),
        ({"url": URL, "name": "x", "quiet": {"start": "22", "end": "7", "zone": "UTC"}}, "wrong_shape"),
        ({"url": "https://127.0.0.1/", "name": "x"}, "address_refused"),
        ({"url": "http://hooks.bank.com:22/", "name": "x"}, "address_refused"),
        ({"url": "https://169.254.169.254/latest/meta-data/", "name": "x"}, "address_refused"),
    ],
)
async def test_an_endpoint_that_cannot_be_is_refused_with_the_remedy(site: Site, body: Any, reason: str) -> None:
    answer = await send(site, "POST", "/endpoints", body)
    assert (answer.status_code, answer.json()["reason"]) == (400, reason)
    assert answer.json()["remedy"]
    assert site.pen.written == []


async def test_a_test_asks_deliver_and_a_switch_writes_the_endpoint(site: Site) -> None:
    made = await added(site)
    asked = await send(site, "POST", f"/endpoints/{made['id']}/test?wait_s=0", {"by": "lin"})
    assert (asked.status_code, asked.json()["done"]) == (202, False)
    errand = site.pen.written[-1]
    assert isinstance(errand, Errand)
    assert (errand.task, errand.endpoint, errand.by) == ("test", made["id"], "lin")
    replay = await send(site, "POST", f"/endpoints/{made['id']}/replay?wait_s=0", {"since": "2h"})
    assert replay.status_code == 202
    assert site.pen.written[-1].since == NOW - 7_200_000
    assert (await send(site, "POST", f"/endpoints/{made['id']}/disable", {})).json()["state"] == "disabled"
    assert (await send(site, "POST", f"/endpoints/{made['id']}/enable?wait_s=0")).status_code == 202
    assert site.view.endpoints[made["id"]].disabled is False


@pytest.mark.parametrize("wait", ["-1", "61", "x", "nan", "inf"])
async def test_a_wait_that_cannot_be_is_refused(site: Site, wait: str) -> None:
    made = await added(site)
    answer = await send(site, "POST", f"/endpoints/{made['id']}/test?wait_s={wait}", {})
    assert (answer.status_code, answer.json()["reason"]) == (400, "wrong_shape")


async def test_a_silence_is_made_listed_and_ended(site: Site) -> None:
    body = {"subjects": ["XNAS:AAPL"], "matchers": ["severity=warning"], "for": "2h", "reason": "known", "by": "lin"}
    made = await send(site, "POST", "/silences", body)
    assert made.status_code == 201
    assert made.json()["until"] == NOW + 7_200_000
    (listed,) = (await send(site, "GET", "/silences")).json()["items"]
    assert (listed["reason"], listed["by"]) == ("known", "lin")
    assert (await send(site, "DELETE", f"/silences/{made.json()['id']}")).status_code == 204
    assert (await send(site, "GET", "/silences")).json()["items"] == []
    kept(site, Silence(id="sil_old", subjects=[], until=NOW - 1, by="lin", at=NOW - 9))
    assert [one["id"] for one in (await send(site, "GET", "/silences?all=1")).json()["items"]] == ["sil_old"]


async def test_a_silence_of_everything_by_an_empty_body_is_refused(site: Site) -> None:
    answer = await send(site, "POST", "/silences", {"for": "2h"})
    assert (answer.status_code, answer.json()["reason"]) == (400, "wrong_shape")
    assert site.pen.written == []


async def test_an_acknowledgement_has_a_note_an_assignee_and_a_way_back(site: Site) -> None:
    answer = await send(site, "POST", "/alerts/ep_9a41/ack", {"by": "lin", "note": "calling", "assigned": "Ana"})
    assert answer.status_code == 202
    assert site.view.acks["ep_9a41"].assigned == "Ana"
    assert (await send(site, "DELETE", "/alerts/ep_9a41/ack")).status_code == 204
    again = await send(site, "DELETE", "/alerts/ep_9a41/ack")
    assert (again.status_code, again.json()["reason"]) == (404, "no_acknowledgement")


WRITES = [
    ("POST", "/alerts/ep_9a41/ack"), ("DELETE", "/alerts/ep_9a41/ack"), ("POST", "/silences"), ("DELETE", "/silences/x"),
    ("POST", "/endpoints"), ("PATCH", "/endpoints/x"), ("DELETE", "/endpoints/x"), ("POST", "/endpoints/x/test"),
    ("POST", "/endpoints/x/rotate"), ("POST", "/endpoints/x/enable"), ("POST", "/endpoints/x/disable"), ("POST", "/endpoints/x/replay"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), WRITES)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (FOREIGN, 403),
        ({"Sec-Fetch-Site": "cross-site", **JSON}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({}, 415),
        ({"Host": "evil.example", **JSON}, 400),
    ],
)
async def test_no_other_site_may_write_anything(
    site: Site, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    assert (await send(site, method, path, {}, headers)).status_code == status
    assert site.pen.written == []


async def test_a_broker_that_is_away_is_worth_another_try_and_changes_nothing(site: Site) -> None:
    site.pen.away = True
    answer = await send(site, "POST", "/silences", {"subjects": ["market"], "for": "2h"})
    assert (answer.status_code, answer.json()["reason"]) == (503, "broker_away")
    assert site.view.silences == {}


async def test_deliveries_come_in_pages_and_of_one_endpoint(site: Site) -> None:
    made = await added(site)
    for number in range(5):
        row = DeliveryOutcome(
            event=f"gw_{number}", episode="ep_1", endpoint=made["id"], attempt=1, outcome="sent", at=NOW + number
        )
        site.writer.lpush(f"{Keys().delivery}:log:{made['id']}", msgspec.json.encode(row))
    first = (await send(site, "GET", "/deliveries?endpoint=risk&limit=3")).json()
    second = (await send(site, "GET", f"/deliveries?limit=3&cursor={first['next']}")).json()
    assert [row["event"] for row in first["items"] + second["items"]] == ["gw_4", "gw_3", "gw_2", "gw_1", "gw_0"]
    assert second["next"] == ""
    assert (await send(site, "GET", "/deliveries?limit=0")).status_code == 400
    assert (await send(site, "GET", "/deliveries?cursor=x")).status_code == 400
    assert (await send(site, "GET", "/deliveries?endpoint=nobody")).status_code == 404


async def test_a_redis_that_goes_away_is_said(site: Site) -> None:
    site.server.connected = False
    answer = await send(site, "GET", "/endpoints")
    assert (answer.status_code, answer.json()["reason"]) == (503, "redis_away")
    assert KEYS.delivery
