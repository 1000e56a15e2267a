"""What the Endpoints page asks beside the writes: an address judged before it is added, what a test sends, tries of one outcome."""

import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from groundswell.records import DeliveryOutcome
from tests.pages import JSON, KEYS, NOW, Site, open_site

ADDRESSES = {
    "webhook": "https://hooks.bank.com/t0ken",
    "feishu": "https://open.feishu.cn/open-apis/bot/v2/hook/0f1e2d3c",
    "dingtalk": "https://oapi.dingtalk.com/robot/send?access_token=0f1e2d3c",
    "wecom": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0f1e2d3c",
    "slack": "https://hooks.slack.com/services/T000/B000/0f1e2d3c",
    "telegram": "https://api.telegram.org/bot12345:0f1e2d3c/sendMessage?chat_id=-100200300",
    "discord": "https://discord.com/api/webhooks/1234567890/0f1e2d3c",
    "teams": "https://prod.westeurope.logic.azure.com/workflows/0f1e2d3c",
    "email": "mailto:chief@bank.example.com",
    "pagerduty": "https://events.pagerduty.com/v2/enqueue",
    "alertmanager": "https://alertmanager.bank.com/api/v2/alerts",
}
SECRETS = {
    "pagerduty": "0f1e2d3c" * 4,
    "dingtalk": "SEC0f1e2d3c",
    "alertmanager": "user:0f1e2d3c",
    "feishu": "0f1e2d3c",
}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def judged(site: Site, **body: Any) -> dict[str, Any]:
    answer = await site.http.post("/api/v1/endpoints/check", content=json.dumps(body), headers=JSON)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


@pytest.mark.parametrize("channel", ADDRESSES)
async def test_an_address_of_each_channel_is_known_for_what_it_is_and_nothing_is_kept(site: Site, channel: str) -> None:
    named = channel if channel in ("teams", "alertmanager") else ""
    found = await judged(site, url=ADDRESSES[channel], channel=named)
    assert (found["ok"], found["channel"]) == (True, channel)
    assert "0f1e2d" not in found["shown"]
    assert site.pen.written == []


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ({"url": "https://10.0.0.1/x"}, "address"),
        ({"url": "http://169.254.169.254/latest"}, "address"),
        ({"url": "https://intranet/x"}, "name"),
        ({"url": "https://hooks.bank.com:22/x"}, "port"),
        ({"url": "ftp://hooks.bank.com/x"}, "scheme"),
        ({"url": "https://me@hooks.bank.com/x"}, "userinfo"),
        ({"url": "https://hooks.slack.com/", "channel": "slack"}, "not_this_channel"),
        ({"url": ADDRESSES["feishu"], "channel": "dingtalk"}, "not_this_channel"),
        ({"url": "nobody", "channel": "email"}, "not_this_channel"),
    ],
)
async def test_an_address_that_may_not_be_is_an_answer_that_names_the_rule(
    site: Site, body: dict[str, Any], rule: str
) -> None:
    found = await judged(site, **body)
    assert (found["ok"], found["rule"]) == (False, rule)
    assert found["why"]
    assert found["remedy"]


@pytest.mark.parametrize("channel", ADDRESSES)
async def test_what_a_test_sends_is_shown_in_its_channels_form_without_what_is_secret(site: Site, channel: str) -> None:
    body = {"url": ADDRESSES[channel], "name": "risk", "channel": channel, "secret": SECRETS.get(channel, "")}
    made = (await site.http.post("/api/v1/endpoints", json=body, headers=JSON)).json()
    answer = await site.http.get(f"/api/v1/endpoints/{made['id']}/sample", params={"errand": "err_1"})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["method"] == ("SMTP" if channel == "email" else "POST")
    assert len(found["body"]) > 40
    assert "0f1e2d" not in answer.text
    assert made["secret"] == "" or made["secret"] not in answer.text


async def test_a_webhooks_sample_has_the_very_id_that_its_test_had(site: Site) -> None:
    made = (
        await site.http.post("/api/v1/endpoints", json={"url": ADDRESSES["webhook"], "name": "risk"}, headers=JSON)
    ).json()
    path = f"/api/v1/endpoints/{made['id']}/sample"
    one, same, other = [
        (await site.http.get(path, params={"errand": name})).json() for name in ("err_1", "err_1", "err_2")
    ]
    assert one == same
    assert one["headers"]["webhook-id"] == json.loads(one["body"])["id"] != other["headers"]["webhook-id"]


async def test_tries_of_one_outcome_are_paged_like_all_others(site: Site) -> None:
    made = (
        await site.http.post("/api/v1/endpoints", json={"url": ADDRESSES["webhook"], "name": "risk"}, headers=JSON)
    ).json()
    for number in range(30):
        row = DeliveryOutcome(
            event=f"e{number}", episode="ep", endpoint=made["id"], attempt=1, at=NOW - number // 2,
            outcome="retry" if number % 3 == 0 else "sent",
        )  # fmt: skip
        site.writer.rpush(f"{KEYS.delivery}:log:{made['id']}", msgspec.json.encode(row))
    seen, cursor = [], ""
    while True:
        asked = {"outcome": "retry", "limit": 4, "cursor": cursor}
        page = (await site.http.get("/api/v1/deliveries", params=asked)).json()
        seen += [(row["event"], row["outcome"]) for row in page["items"]]
        cursor = page["next"]
        if not cursor:
            break
    assert seen == [(f"e{number}", "retry") for number in range(0, 30, 3)]
