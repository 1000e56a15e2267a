"""Tellings for tests of channels and messages: one invented episode in every state, and any text in its place."""

from typing import Any

import msgspec
from msgspec.structs import replace

from alerts.channels.contract import Address, Telling
from alerts.say import Say
from groundswell.records import Acknowledged, AlertDocument, AlertEvent, CauseCount, Peak
from groundswell.system_events import system_event
from tests.alert_events import alert_event

NOW_MS = 1_795_253_500_000  # half a minute after the events of alert_events.py
URLS = {
    "webhook": "https://hooks.bank.example/groundswell",
    "feishu": "https://open.feishu.cn/open-apis/bot/v2/hook/0f1e2d3c",
    "dingtalk": "https://oapi.dingtalk.com/robot/send?access_token=0f1e2d3c",
    "wecom": "https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=0f1e2d3c",
    "slack": "https://hooks.slack.com/services/T000/B000/XXXX",
    "telegram": "https://api.telegram.org/bot12345:AAbb-cc_dd/sendMessage?chat_id=-100200300",
    "discord": "https://discord.com/api/webhooks/1234567890/abcDEF-ghi_jkl",
    "teams": "https://prod-01.westeurope.logic.azure.com/workflows/0f1e/triggers/manual/paths/invoke?sig=abc",
    "email": "mailto:desk@bank.example",
    "pagerduty": "https://events.pagerduty.com/v2/enqueue",
    "alertmanager": "https://alertmanager.bank.example/api/v2/alerts",
}
SECRETS = {
    "webhook": "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    "feishu": "SECtest",
    "dingtalk": "SECtest",
    "pagerduty": "0123456789abcdef0123456789abcdef",
    "alertmanager": "groundswell:pass",
}
SAID = {"en": "The summary says what there is to know.", "zh": "要说的都在摘要里。"}
TYPES = {
    Say.RESOLVED: "alert.resolved", Say.UPDATED: "alert.updated", Say.ACKNOWLEDGED: "alert.acknowledged",
    Say.TEST: "endpoint.test", Say.DISABLED: "endpoint.disabled", Say.RECOVERED: "endpoint.recovered",
}  # fmt: skip


def address(channel: str, lang: str = "en", **changes: Any) -> Address:
    secret = SECRETS.get(channel, "")
    return replace_address(Address(URLS[channel], (secret,) if secret else (), lang, "hook_desk"), **changes)


def replace_address(found: Address, **changes: Any) -> Address:
    return Address(**{**found.__dict__, **changes})


def telling(say: Say = Say.FIRING, *, sequence: int = 1, **changes: Any) -> Telling:
    """An event of Harbour Steel with two stories, topics, sources and both links; `changes` replace fields of its data."""
    event = alert_event(sequence=sequence)
    first = event.data.documents[0]
    documents = [
        replace(first, url="https://news.wire.example/steel/1", excerpt="审计师称“账本”有两套。"),
        AlertDocument(
            id="d2", title="Harbour Steel short seller alleges double books", excerpt="Two sets of books were kept.",
            source="desk-blog", lang="en", published_at="2026-11-21T09:27:00Z", url="https://blog.example/2",
            negative=0.94, story="s2", echoes=0,
        ),
        AlertDocument(
            id="d3", title="", excerpt="跌停了，快跑", source="guba", lang="zh", published_at="2026-11-21T09:29:00Z",
            url=None, negative=0.9, story="s3", echoes=1,
        ),
    ]  # fmt: skip
    data = replace(
        event.data,
        state="resolved" if say is Say.RESOLVED else "firing",
        resolved_at="2026-11-21T10:58:00Z" if say is Say.RESOLVED else None,
        documents=documents,
        topics=[CauseCount(id="fraud", negatives=30), CauseCount(id="regulation", negatives=9)],
        sources=[CauseCount(id="wire", negatives=22), CauseCount(id="guba", negatives=12)],
        acknowledged=Acknowledged(by="Wang Lei", at="2026-11-21T09:40:00Z", note="calling them", assigned="Li Na")
        if say is Say.ACKNOWLEDGED
        else None,
        links={
            "evidence": "http://127.0.0.1:8080/alerts/ep_harbour",
            "acknowledge": "http://127.0.0.1:8080/alerts/ep_harbour#acknowledge",
        },
        window_s=540,
        versions={"model": "bundled", "sensitivity": "balanced"},
        peak=Peak(at="2026-11-21T09:26:00Z", negatives=29, window_s=300),
    )
    kind: Any = TYPES.get(say, "alert.firing")
    if kind.startswith("endpoint."):
        data = system_event(
            kind, id="gw_1", episode="ep_desk", at="2026-11-21T09:31:02Z", subject="endpoint:hook_desk",
            names={"en": "risk desk", "zh": "风控群"}, summary=SAID, test=say is Say.TEST, sequence=sequence,
        ).data  # fmt: skip
    data = replace(data, **changes)
    at = "2026-11-21T10:58:00Z" if say is Say.RESOLVED else event.timestamp
    told = AlertEvent(id=f"gw_harbour_{sequence}", type=kind, timestamp=at, data=data)
    try:
        return Telling(told, say, msgspec.json.encode(told))
    except UnicodeEncodeError:  # a lone surrogate cannot lie on a topic; channels must bear it all the same
        return Telling(told, say, b"{}")
