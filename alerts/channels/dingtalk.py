"""DingTalk: markdown to a custom robot, which signs in the query: HMAC-SHA256 over "time in milliseconds, line feed, secret"."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, quote

from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
from alerts.channels.fullwidth import inert
from alerts.channels.lines import Markup, text_of, unmarked
from alerts.channels.posting import (
    CHAT_GIVES_UP_S,
    NotThisChannel,
    json_object,
    json_request,
    parts_of,
    trouble,
    unreadable,
)
from alerts.wording.message import Message, fitted, message_of
from groundswell.decisions import Delivery

# 20 a minute; one more and the robot is deaf for ten minutes.
limits = Limits(many=True, spacing_s=3.0, per_minute=18, gives_up_s=CHAT_GIVES_UP_S, body_bytes=18_000)
DEAF_S = 600.0
TOO_FAST = frozenset({130101, 410100, 90018})
SETTINGS = frozenset({310000, 300001, 300005, 400013, 400101, 400102, 40014})
NOBODY: dict[str, Any] = {"atMobiles": [], "atUserIds": [], "isAtAll": False}
BUSY = frozenset({-1, 430101, 430102, 430103, 430104})
MARKUP = Markup(
    escape=inert,
    bold=lambda text: f"**{text}**",
    quote=lambda text: f"> {text}",
    small=lambda text: text,
    link=lambda label, url: f"[{label}]({url})",
    between="\n\n",
)
PLAIN = unmarked(inert)


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel unless this is a robot's address, with its signing secret if it has one."""
    parts = parts_of(url)
    if not parts.path.endswith("/robot/send") or "access_token" not in parse_qs(parts.query):
        remedy = "Copy the address of the group's custom robot: https://oapi.dingtalk.com/robot/send?access_token=…"
        raise NotThisChannel("This is not the address of a DingTalk robot.", remedy=remedy)
    if secret and not secret.startswith("SEC"):
        remedy = "Copy it from the robot's security settings, or leave --secret out when the robot checks a keyword."
        raise NotThisChannel("A DingTalk robot's signing secret begins with SEC.", remedy=remedy)


def sign(secret: str, timestamp_ms: int) -> str:
    """The robot's signature, ready for the query. Source: the service's page on custom robots."""
    mac = hmac.new(secret.encode(), f"{timestamp_ms}\n{secret}".encode(), hashlib.sha256).digest()
    return quote(base64.b64encode(mac), safe="")


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One markdown message that mentions nobody; signed with the newest secret, since a robot knows only one."""
    del message_id
    whole = message_of(tellings, missed, address.lang)
    shown = fitted(whole, _fits, address.lang)
    secret = next(iter(address.secrets), "")
    url = address.url + (f"&timestamp={now_ms}&sign={sign(secret, now_ms)}" if secret else "")
    return json_request(url, _body(shown), plainly=json_request(url, _text(shown)))


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """Delivered is 200 and errcode 0."""
    wrong = trouble(status, headers, head, now_ms)
    code = (json_object(head) or {}).get("errcode")
    if wrong is not None or not isinstance(code, int):
        return wrong or unreadable()
    if code == 0:
        return Verdict(Delivery.SENT)
    if code in TOO_FAST:
        return Verdict(Delivery.RETRY, f"rate_limited {code}", DEAF_S)
    if code in SETTINGS:
        return Verdict(Delivery.RETRY, f"{_setting(head)} {code}")
    return Verdict(Delivery.RETRY if code in BUSY else Delivery.REFUSED, f"refused_by_service {code}")


def _setting(head: bytes) -> str:
    """310000 stands for three settings; the answer's words tell which."""
    said = str((json_object(head) or {}).get("errmsg", "")).lower()
    if "keyword" in said or "关键词" in said:
        return "keyword_missing"
    if "ip" in said.replace("description", ""):
        return "address_not_listed"
    return "signature_refused" if "sign" in said or "timestamp" in said else "robot_settings"


def _fits(message: Message) -> bool:
    return len(json_request("", _body(message)).body) <= limits.body_bytes


def _body(message: Message) -> dict[str, Any]:
    return {
        "msgtype": "markdown",
        "markdown": {"title": inert(message.short), "text": text_of(message, MARKUP)},
        "at": NOBODY,
    }


def _text(message: Message) -> dict[str, Any]:
    return {"msgtype": "text", "text": {"content": text_of(message, PLAIN)}, "at": NOBODY}
