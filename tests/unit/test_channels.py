"""Each channel: its signature, its limits, what its answers mean, and that no text from the world rings or links."""

import base64
import hashlib
import hmac
import json
from email import message_from_bytes
from email.policy import default
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from alerts.channels import channel_of, dingtalk, feishu
from alerts.channels.contract import Missed, Telling
from alerts.channels.posting import NotThisChannel
from alerts.say import Say
from alerts.signing import new_ed25519_pair
from groundswell.decisions import Delivery
from groundswell.records import Acknowledged, AlertSubject, CauseCount
from tests.markup_readers import read
from tests.tellings import NOW_MS, SECRETS, URLS, address, telling

CHATS = ("feishu", "dingtalk", "wecom", "slack", "telegram", "discord", "teams", "email")
TOLD = (*CHATS, "pagerduty", "alertmanager")
OURS = {"http://127.0.0.1:8080/alerts/ep_harbour", "http://127.0.0.1:8080/alerts/ep_harbour#acknowledge"}


def sent(channel, *tellings, lang="en", missed=None, **changes):
    return channel_of(channel).request(
        address(channel, lang, **changes), "gw_1", tellings or (telling(),), missed, NOW_MS
    )


def judged(channel, status, body=b"", **headers):
    head = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return channel_of(channel).verdict(status, named, head, NOW_MS)


# -- addresses and secrets ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", URLS)
def test_a_channel_takes_its_own_address_and_secret(channel):
    channel_of(channel).check(URLS[channel], SECRETS.get(channel, ""))


@pytest.mark.parametrize(
    ("channel", "url", "secret"),
    [
        ("webhook", URLS["webhook"], ""), ("webhook", URLS["webhook"], "secret"), ("webhook", URLS["webhook"], "whsec_AAAA"),
        ("webhook", URLS["webhook"], "whsk_AAAA"), ("feishu", URLS["dingtalk"], ""), ("dingtalk", URLS["feishu"], ""),
        ("dingtalk", URLS["dingtalk"], "notSEC"), ("dingtalk", "https://oapi.dingtalk.com/robot/send", "SECx"),
        ("wecom", URLS["feishu"], ""), ("wecom", URLS["wecom"], "x"), ("slack", "https://hooks.slack.com", ""),
        ("telegram", URLS["telegram"].partition("?")[0], ""), ("telegram", URLS["slack"], ""), ("discord", URLS["slack"], ""),
        ("teams", URLS["teams"], "x"), ("email", "desk@bank.example", ""), ("email", "mailto:", ""),
        ("email", "mailto:a@b.example%0d%0aBcc:x@y.example", ""), ("email", "mailto:" + ",".join(f"a{i}@b.example" for i in range(21)), ""),
        ("pagerduty", URLS["pagerduty"], "short"), ("pagerduty", URLS["webhook"], "0" * 32),
        ("alertmanager", "https://alertmanager.bank.example/", ""), ("alertmanager", URLS["alertmanager"], "a b"),
    ],
)  # fmt: skip
def test_what_belongs_to_another_service_is_refused_with_a_remedy(channel, url, secret):
    with pytest.raises(NotThisChannel) as refused:
        channel_of(channel).check(url, secret)
    assert refused.value.remedy
    assert len(secret) < 9 or secret not in refused.value.line


def test_both_kinds_of_webhook_secret_are_taken():
    private, _ = new_ed25519_pair()
    channel_of("webhook").check(URLS["webhook"], private)


# -- signatures --------------------------------------------------------------------------------------------------------


def test_the_published_vectors_of_both_robots_are_met():
    assert feishu.sign("SECtest", 1_700_000_000) == "G7XpBpG8NgG02fJOAhX6FRAObIljmFoxVReo8I62pEk="
    assert dingtalk.sign("SECtest", 1_700_000_000_000) == "aZLLrriXgn05YbwaGR7knYsLeJADjr9NwLaNNKpxh4g%3D"


def test_feishu_is_signed_in_the_body_by_the_second():
    body = json.loads(sent("feishu").body)
    key = f"{NOW_MS // 1000}\nSECtest".encode()
    assert body["timestamp"] == str(NOW_MS // 1000)
    assert body["sign"] == base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()
    assert "sign" not in json.loads(sent("feishu", secrets=()).body)


def test_dingtalk_is_signed_in_the_query_by_the_millisecond():
    query = parse_qs(urlsplit(sent("dingtalk").url).query)
    said = f"{NOW_MS}\nSECtest".encode()
    assert query["timestamp"] == [str(NOW_MS)]
    assert query["sign"] == [base64.b64encode(hmac.new(b"SECtest", said, hashlib.sha256).digest()).decode()]
    assert "sign" not in sent("dingtalk", secrets=()).url


def test_robots_that_know_one_secret_get_the_newest():
    assert json.loads(sent("feishu", secrets=("SECnew", "SECold")).body)["sign"] == feishu.sign(
        "SECnew", NOW_MS // 1000
    )
    assert unquote(dingtalk.sign("SECnew", NOW_MS)) in unquote(sent("dingtalk", secrets=("SECnew", "SECold")).url)


def test_a_webhook_is_the_events_own_bytes():
    told = telling()
    request = sent("webhook", told)
    assert request.body is told.body
    assert request.headers["webhook-id"] == "gw_1"
    assert request.headers["webhook-signature"].startswith("v1,")


def test_alertmanager_takes_a_password_a_token_or_nothing():
    assert sent("alertmanager").headers["authorization"].startswith("Basic ")
    assert sent("alertmanager", secrets=("tok",)).headers["authorization"] == "Bearer tok"
    assert "authorization" not in sent("alertmanager", secrets=()).headers


# -- what is said ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channel", TOLD)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_a_message_holds_what_matters_and_both_links(channel, lang):
    found = read(channel, sent(channel, lang=lang))
    text = "".join(found.texts)
    for part in (
        "41",
        "海港钢铁（600001.SH）" if lang == "zh" else "Harbour Steel (XSHG:600001)",
        "海港钢铁被曝财务造假",
    ):
        assert part.translate(str.maketrans("()（）", "    ")) in text.translate(str.maketrans("()（）", "    "))
    assert found.mentions == []
    assert "http://127.0.0.1:8080/alerts/ep_harbour" in found.links
    assert set(found.links) <= OURS


@pytest.mark.parametrize("channel", CHATS)
def test_twenty_alerts_are_one_message_with_the_count_and_what_was_missed(channel):
    many = [telling(sequence=i) for i in range(20)]
    request = sent(channel, *many, missed=Missed(3, NOW_MS - 7_200_000, NOW_MS))
    found = read(channel, request)
    text = " ".join(found.texts)
    assert "20 alerts" in text
    assert "3 alerts could not be delivered" in text
    assert len(request.body) <= channel_of(channel).limits.body_bytes
    assert set(found.links) <= OURS


def test_wecom_says_how_many_alerts_did_not_fit():
    subject = AlertSubject(id="XSHG:600001", kind="company", names={"zh": "海港钢铁股份有限公司" * 3})
    links = {"evidence": f"https://groundswell.bank.example/{'desk/' * 20}alerts/ep_harbour"}
    request = sent("wecom", *(telling(subject=subject, sequence=i, links=links) for i in range(20)), lang="zh")
    content = json.loads(request.body)["markdown"]["content"]
    assert len(content.encode()) <= 4_096
    shown = content.count("【预警】")
    assert 5 < shown < 20
    assert f"另有 {20 - shown} 条未列出。" in content


def test_pagerduty_opens_marks_and_closes_one_incident():
    said = [json.loads(sent("pagerduty", telling(say)).body) for say in (Say.FIRING, Say.ACKNOWLEDGED, Say.RESOLVED)]
    assert [one["event_action"] for one in said] == ["trigger", "acknowledge", "resolve"]
    assert {one["dedup_key"] for one in said} == {"ep_harbour"}
    assert said[0]["payload"]["severity"] == "warning"
    assert json.loads(sent("pagerduty", telling(Say.TEST)).body)["payload"]["severity"] == "info"


def test_alertmanager_hears_that_it_fires_for_four_minutes_more_and_that_it_is_over():
    (firing,) = json.loads(sent("alertmanager").body)
    assert firing["endsAt"] == "2026-11-21T09:35:40Z"
    assert firing["startsAt"] == "2026-11-21T09:22:00Z"
    over = json.loads(sent("alertmanager", telling(Say.RESOLVED)).body)
    assert {one["labels"]["severity"] for one in over} == {"notice", "warning", "critical"}
    assert {one["endsAt"] for one in over} == {"2026-11-21T09:31:40Z"}
    assert over[0]["labels"] == firing["labels"]
    ended = telling(Say.RESOLVED)
    again = json.loads(sent("alertmanager", Telling(ended.event, Say.REPEAT, ended.body)).body)
    assert again == over, "an end that is said again is an end"


def test_alertmanager_knows_an_endpoint_that_is_down_by_one_name_until_it_is_back():
    down = telling(Say.DISABLED)
    first, again, back = (
        json.loads(sent("alertmanager", told).body)[0]
        for told in (down, Telling(down.event, Say.REPEAT, down.body), telling(Say.RECOVERED))
    )
    assert first["labels"] == again["labels"] == back["labels"]
    assert (first["labels"]["alertname"], again["endsAt"]) == ("GroundswellEndpointDown", "2026-11-21T09:35:40Z")
    assert back["endsAt"] == "2026-11-21T09:31:40Z"


def test_alertmanager_lets_go_of_the_warning_when_it_becomes_critical():
    critical, notice, warning = json.loads(sent("alertmanager", telling(Say.UPDATED, severity="critical")).body)
    assert (notice["labels"]["severity"], notice["endsAt"]) == ("notice", "2026-11-21T09:31:40Z")
    assert (critical["labels"]["severity"], critical["endsAt"]) == ("critical", "2026-11-21T09:35:40Z")
    assert (warning["labels"]["severity"], warning["endsAt"]) == ("warning", "2026-11-21T09:31:40Z")


def test_telegram_sends_the_chat_of_the_address_and_keeps_it_out_of_the_url():
    request = sent("telegram")
    assert request.url == "https://api.telegram.org/bot12345:AAbb-cc_dd/sendMessage"
    assert json.loads(request.body)["chat_id"] == "-100200300"
    threaded = sent("telegram", url=URLS["telegram"] + "&message_thread_id=7")
    assert json.loads(threaded.body)["message_thread_id"] == 7


def test_telegram_makes_no_link_of_a_shanghai_listing():
    assert "<code>600001.SH</code>" in json.loads(sent("telegram", lang="zh").body)["text"]


def test_mails_of_an_episode_make_one_thread_and_every_try_has_one_id():
    first, again, end = sent("email").mail, sent("email").mail, sent("email", telling(Say.RESOLVED)).mail
    assert first["Message-ID"] == again["Message-ID"] == "<gw_1.hook_desk@groundswell.alerts>"
    assert first["References"] == end["References"] == "<ep_harbour.hook_desk@groundswell.alerts>"
    assert first["Auto-Submitted"] == "auto-generated"
    assert message_from_bytes(sent("email").body, policy=default)["Subject"] == str(first["Subject"])
    assert sent("email").body == sent("email").body


def test_a_hostile_headline_cannot_add_a_header_to_a_mail():
    subject = AlertSubject(id="X", kind="company", names={"en": "Steel\r\nBcc: x@evil.example\r\n\r\nhello"})
    mail = sent("email", telling(subject=subject)).mail
    assert mail["Bcc"] is None
    assert "\n" not in str(mail["Subject"])


def test_discord_asks_for_the_outcome_and_keeps_the_thread():
    assert sent("discord", url=URLS["discord"] + "?thread_id=9&wait=false").url.endswith("?thread_id=9&wait=true")


# -- what answers mean -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("channel", "status", "body", "outcome", "reason"),
    [
        ("feishu", 200, {"code": 0, "msg": "success"}, Delivery.SENT, ""),
        ("feishu", 200, {"StatusCode": 0}, Delivery.SENT, ""),
        ("feishu", 200, {"code": 19021, "msg": "sign match fail"}, Delivery.RETRY, "signature_refused 19021"),
        ("feishu", 200, {"code": 19022}, Delivery.RETRY, "address_not_listed 19022"),
        ("feishu", 200, {"code": 19024}, Delivery.RETRY, "keyword_missing 19024"),
        ("feishu", 200, {"code": 11232}, Delivery.RETRY, "rate_limited 11232"),
        ("feishu", 400, {"code": 9499}, Delivery.REFUSED, "refused_by_service 9499"),
        ("feishu", 200, {}, Delivery.RETRY, "answer_unreadable"),
        ("dingtalk", 200, {"errcode": 0}, Delivery.SENT, ""),
        ("dingtalk", 200, {"errcode": 310000, "errmsg": "sign not match"}, Delivery.RETRY, "signature_refused 310000"),
        ("dingtalk", 200, {"errcode": 310000, "errmsg": "keywords not in content"}, Delivery.RETRY, "keyword_missing 310000"),
        ("dingtalk", 200, {"errcode": 310000, "errmsg": "ip 1.2.3.4 not in whitelist"}, Delivery.RETRY, "address_not_listed 310000"),
        ("dingtalk", 200, {"errcode": 130101}, Delivery.RETRY, "rate_limited 130101"),
        ("dingtalk", 200, {"errcode": 40035}, Delivery.REFUSED, "refused_by_service 40035"),
        ("wecom", 200, {"errcode": 0}, Delivery.SENT, ""),
        ("wecom", 200, {"errcode": 40058}, Delivery.REFUSED, "refused_by_service 40058"),
        ("wecom", 200, {"errcode": 93000}, Delivery.RETRY, "robot_unknown 93000"),
        ("wecom", 200, {"errcode": 45009}, Delivery.RETRY, "rate_limited 45009"),
        ("slack", 200, b"ok", Delivery.SENT, ""),
        ("slack", 200, b"no_text", Delivery.RETRY, "refused_by_service no_text"),
        ("slack", 400, b"invalid_blocks", Delivery.REFUSED, "refused_by_service invalid_blocks"),
        ("slack", 404, b"no_service", Delivery.RETRY, "refused_by_service no_service"),
        ("telegram", 200, {"ok": True, "result": {}}, Delivery.SENT, ""),
        ("telegram", 200, b'{"ok":true,"result":{"text":"cut off he', Delivery.SENT, ""),
        ("telegram", 200, {"ok": False}, Delivery.RETRY, "answer_unreadable"),
        ("telegram", 400, {"ok": False, "description": "can't parse entities"}, Delivery.REFUSED, "http_400"),
        ("telegram", 400, {"ok": False, "parameters": {"migrate_to_chat_id": -100}}, Delivery.RETRY, "chat_moved -100"),
        ("telegram", 400, {"ok": False, "description": "Bad Request: chat not found"}, Delivery.RETRY, "chat_unknown"),
        ("telegram", 401, {"ok": False}, Delivery.RETRY, "http_401"),
        ("discord", 200, {"id": "1"}, Delivery.SENT, ""),
        ("discord", 204, b"", Delivery.SENT, ""),
        ("discord", 400, {"code": 50035}, Delivery.REFUSED, "refused_by_service 50035"),
        ("discord", 404, {"code": 10015}, Delivery.RETRY, "refused_by_service 10015"),
        ("teams", 202, b"", Delivery.SENT, ""),
        ("teams", 413, b"", Delivery.REFUSED, "http_413"),
        ("email", 250, b"", Delivery.SENT, ""),
        ("email", 451, b"", Delivery.RETRY, "smtp_451"),
        ("email", 535, b"", Delivery.RETRY, "smtp_535"),
        ("email", 550, b"", Delivery.REFUSED, "smtp_550"),
        ("pagerduty", 202, {"status": "success"}, Delivery.SENT, ""),
        ("pagerduty", 400, {"status": "invalid event"}, Delivery.REFUSED, "http_400"),
        ("alertmanager", 200, b"", Delivery.SENT, ""),
        ("alertmanager", 400, b"", Delivery.REFUSED, "http_400"),
        ("webhook", 204, b"", Delivery.SENT, ""),
        ("webhook", 410, b"", Delivery.REFUSED, "endpoint_gone"),
        ("webhook", 401, b"", Delivery.RETRY, "http_401"),
    ],
)  # fmt: skip
def test_an_answer_is_read_for_what_it_says(channel, status, body, outcome, reason):
    found = judged(channel, status, body)
    assert (found.outcome, found.reason) == (outcome, reason)


@pytest.mark.parametrize("channel", [one for one in TOLD if one != "email"])
@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Log in</title>", b"\xef\xbb\xbf\n<html>"])
def test_a_login_page_with_200_is_not_a_delivery(channel, page):
    found = judged(channel, 200, page)
    assert found.outcome is not Delivery.SENT
    assert found.reason


@pytest.mark.parametrize("channel", [one for one in (*TOLD, "webhook") if one != "email"])
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_trouble_that_passes_is_tried_again(channel, status):
    assert judged(channel, status, b"").outcome is Delivery.RETRY
    assert judged(channel, status, b"", retry_after="7").asked_s == 7.0


def test_a_redirect_is_a_failure_that_names_the_host():
    assert judged("slack", 302, b"", location="https://login.example/x").reason == "redirected login.example"


def test_each_service_is_believed_about_how_long_to_wait():
    assert judged("telegram", 429, {"ok": False, "parameters": {"retry_after": 31}}).asked_s == 31
    assert judged("discord", 429, {"retry_after": 0.65, "global": False}).asked_s == 0.65
    assert judged("discord", 204, x_ratelimit_remaining="0", x_ratelimit_reset_after="2.5").asked_s == 2.5
    assert judged("dingtalk", 200, {"errcode": 130101}).asked_s == 600
    assert judged("telegram", 429, {"parameters": {"retry_after": 1e9}}).asked_s == 3_600


@settings(max_examples=200, deadline=None)
@given(st.sampled_from((*TOLD, "webhook")), st.integers(100, 599), st.binary(max_size=200))
def test_no_answer_breaks_a_verdict(channel, status, head):
    found = judged(channel, status, head, retry_after="soon", location="http://[", content_type="")
    assert found.outcome in (Delivery.SENT, Delivery.RETRY, Delivery.REFUSED)
    assert found.outcome is not Delivery.SENT or 200 <= status < 300


# -- hostile text ------------------------------------------------------------------------------------------------------

PIECES = [
    "@all", "@everyone", "@here", "<!channel>", "<!here|x>", "<@U1>", "<@userid>", "<@&5>", "<#C1>", "</at>", "<at id=all></at>",
    '<at user_id="all">x</at>', "[x](javascript:alert(1))", "[x](https://evil.example/a)", "![i](http://evil.example/p.png)",
    "<https://evil.example|here>", "https://evil.example/a?b", "www.evil.example", "evil.com", "a@evil.com", "@13800000000",
    '<a href="tg://user?id=1">x</a>', "</b></a></blockquote>", "<script>alert(1)</script>", "<img src=x>", "&lt;!channel&gt;",
    "{{DATE(2026-01-01T00:00:00Z,SHORT)}}", "${x}", "\\", "\\\\", "`", "```", "**", "__", "~~", "||", "> ", "# ", "- ", "1. ",
    ":smile:", "<:a:1>", "<t:1:R>", "\x00", "\r\nBcc: x@evil.example\r\n", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800",
    "＠all", "＜!channel＞", "［x］（http://evil.example）", "😱" * 16_384, "👨‍👩‍👧‍👦" * 50, "Z" + "\u0301" * 90, "</font>",
    '"', "'", "”", "\u2028", "/stop", "#tag", "$AAPL", "tg://resolve?domain=x", "=====", "\n\n---\n", "%0d%0a", "a" * 3_000,
]  # fmt: skip
HOSTILE = st.lists(st.sampled_from(PIECES) | st.text(max_size=12), max_size=8).map("".join)


def hostile_telling(say, one, two, three):
    data, kind = telling().event.data, telling(say).event.data.subject.kind
    documents = [
        replace(data.documents[0], title=one, excerpt=two, source=three, url=f"https://{two}/"),
        replace(data.documents[1], title="", excerpt=three, source=one, url=three, published_at=one),
    ]
    return telling(
        say,
        subject=AlertSubject(id=f"XSHG:{three}", kind=kind, names={"en": one, "zh": two}),
        documents=documents,
        topics=[CauseCount(id=two, negatives=3)],
        sources=[CauseCount(id=three, negatives=4), CauseCount(id=one, negatives=2)],
        acknowledged=Acknowledged(by=one, at="2026-11-21T09:40:00Z", note=two, assigned=three)
        if say is Say.ACKNOWLEDGED
        else None,
        summary={"en": one, "zh": two},
        episode_id=three,
        rule=replace(data.rule, id=two),
        links={**data.links, "acknowledge": f"javascript:{one}"},
    )


@pytest.mark.parametrize("channel", TOLD)
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([Say.FIRING, Say.ACKNOWLEDGED, Say.RESOLVED, Say.DISABLED]), st.sampled_from(["en", "zh"]), st.booleans(),
    HOSTILE, HOSTILE, HOSTILE,
)  # fmt: skip
def test_hostile_text_rings_nobody_and_links_nowhere(channel, say, lang, several, one, two, three):
    told = hostile_telling(say, one, two, three)
    spec = channel_of(channel)
    many = [told, telling(Say.UPDATED)] if several and spec.limits.many else [told]
    request = spec.request(address(channel, lang), "gw_1", many, Missed(1, 0, 0), NOW_MS)
    assert len(request.body) <= spec.limits.body_bytes
    found = read(channel, request)
    assert found.mentions == []
    assert set(found.links) <= OURS
    assert not any(char in text for text in found.texts for char in "\x00\u202e\u2066\ufeff")


@pytest.mark.parametrize("channel", [one for one in CHATS if one != "email"])
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([Say.FIRING, Say.ACKNOWLEDGED, Say.RESOLVED, Say.DISABLED]), st.sampled_from(["en", "zh"]), st.booleans(),
    HOSTILE, HOSTILE, HOSTILE,
)  # fmt: skip
def test_hostile_text_in_plain_text_rings_nobody_and_links_nowhere_either(channel, say, lang, several, one, two, three):
    told = hostile_telling(say, one, two, three)
    request = sent(channel, *([told, telling(Say.UPDATED)] if several else [told]), lang=lang)
    assert request.plainly is not None
    assert len(request.plainly.body) <= channel_of(channel).limits.body_bytes
    found = read(channel, request.plainly)
    assert found.mentions == []
    assert set(found.links) <= OURS
    assert not any(char in text for text in found.texts for char in "\x00\u202e\u2066\ufeff")
    body = json.loads(request.plainly.body)
    if channel == "wecom":
        assert len(body["text"]["content"].encode()) <= 2_048
    if channel == "discord":
        assert len(body["content"]) <= 2_000
    if channel == "telegram":
        assert len(body["text"].encode("utf-16-le")) <= 2 * 4_096


@settings(max_examples=60, deadline=None)
@given(HOSTILE, st.sampled_from(["en", "zh"]), st.integers(1, 20))
def test_no_text_makes_a_message_longer_than_its_service_takes(text, lang, count):
    many = [hostile_telling(Say.FIRING, text, text * 3, text) for _ in range(count)]
    assert len(json.loads(sent("wecom", *many, lang=lang).body)["markdown"]["content"].encode()) <= 4_096
    telegram = json.loads(sent("telegram", *many, lang=lang).body)["text"]
    assert len(telegram) <= 16_384
    discord = json.loads(sent("discord", *many, lang=lang).body)
    (embed,) = discord["embeds"]
    assert len(discord["content"]) <= 2_000
    assert len(embed["title"]) <= 256
    assert len(embed["description"]) <= 4_096
    assert len(embed["title"] + embed["description"]) <= 6_000
    slack = json.loads(sent("slack", *many, lang=lang).body)
    assert len(slack["blocks"]) <= 50
    assert len(slack["blocks"][0]["text"]["text"]) <= 150
    assert all(len(str(block.get("text", {}).get("text", ""))) <= 3_000 for block in slack["blocks"])
    assert len(json.loads(sent("pagerduty", many[0], lang=lang).body)["payload"]["summary"]) <= 1_024
