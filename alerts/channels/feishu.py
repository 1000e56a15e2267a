"""Feishu and Lark: a card to a custom robot. All text from the world stands in plain_text, where no markup is read.

The robot signs in the body: HMAC-SHA256 over nothing, with "time in seconds, line feed, secret" as its key.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
from alerts.channels.fullwidth import inert
from alerts.channels.lines import text_of, unmarked
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
from alerts.wording.notice import Link
from groundswell.decisions import Delivery

# 20 kB, 100 messages a minute, 5 a second; those at the whole and half hour compete with everybody's clockwork.
limits = Limits(many=True, spacing_s=1.0, per_minute=90, gives_up_s=CHAT_GIVES_UP_S, body_bytes=20_000)
COLOURS = {"critical": "red", "warning": "orange", "calm": "green", "plain": "grey"}
SETTINGS = {19021: "signature_refused", 19022: "address_not_listed", 19024: "keyword_missing", 19001: "robot_unknown"}
TOO_FAST = frozenset({11232, 11233})
PLAIN = unmarked(inert)  # in a text message <at user_id="all"> would ring


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel unless this is the address of a custom robot."""
    del secret  # a robot may have one or not
    if "/open-apis/bot/" not in parts_of(url).path:
        remedy = "Copy the address of the group's custom robot: https://open.feishu.cn/open-apis/bot/v2/hook/…"
        raise NotThisChannel("This is not the address of a Feishu or Lark robot.", remedy=remedy)


def sign(secret: str, timestamp_s: int) -> str:
    """The robot's signature. Source: the service's page on custom robots."""
    return base64.b64encode(hmac.new(f"{timestamp_s}\n{secret}".encode(), b"", hashlib.sha256).digest()).decode()


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One card; signed with the newest secret, since a robot knows only one."""
    del message_id
    whole = message_of(tellings, missed, address.lang)
    shown = fitted(whole, lambda one: _fits(address, one, now_ms), address.lang)
    plainly = json_request(address.url, _text(shown, address.secrets, now_ms))
    return json_request(address.url, _body(shown, address.secrets, now_ms), plainly=plainly)


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """Delivered is 200 and code 0; older robots say StatusCode."""
    wrong = trouble(status, headers, head, now_ms)
    answer = json_object(head)
    code = (answer or {}).get("code", (answer or {}).get("StatusCode"))
    if not isinstance(code, int):
        return wrong or unreadable()
    if code == 0:
        return wrong or Verdict(Delivery.SENT)
    if code in TOO_FAST:
        return Verdict(Delivery.RETRY, f"rate_limited {code}", wrong.asked_s if wrong else None)
    if code in SETTINGS:
        return Verdict(Delivery.RETRY, f"{SETTINGS[code]} {code}")
    return Verdict(Delivery.REFUSED, f"refused_by_service {code}")


def _fits(address: Address, message: Message, now_ms: int) -> bool:
    return len(json_request("", _body(message, address.secrets, now_ms)).body) <= limits.body_bytes


def _body(message: Message, secrets: Sequence[str], now_ms: int) -> dict[str, Any]:
    elements: list[dict[str, Any]] = [_line(one) for one in message.paragraphs]
    elements += [{"tag": "note", "elements": [_plain(one)]} for one in message.quotes]
    for item in message.items:
        elements.append(_line(item.line) | ({"extra": _button(item.link)} if item.link else {}))
    if message.unlisted:
        elements.append(_line(message.unlisted))
    if message.links:
        elements.append({"tag": "action", "actions": [_button(link) for link in message.links]})
    elements.append({"tag": "note", "elements": [_plain(message.footer)]})
    header = {"template": COLOURS[message.tone], "title": _plain(message.title)}
    card = {"config": {"wide_screen_mode": True}, "header": header, "elements": elements}
    return {**_signed(secrets, now_ms), "msg_type": "interactive", "card": card}


def _text(message: Message, secrets: Sequence[str], now_ms: int) -> dict[str, Any]:
    return {**_signed(secrets, now_ms), "msg_type": "text", "content": {"text": text_of(message, PLAIN)}}


def _signed(secrets: Sequence[str], now_ms: int) -> dict[str, str]:
    seconds = now_ms // 1000
    return {"timestamp": str(seconds), "sign": sign(secrets[0], seconds)} if any(secrets[:1]) else {}


def _line(text: str) -> dict[str, Any]:
    return {"tag": "div", "text": _plain(text)}


def _plain(text: str) -> dict[str, str]:
    return {"tag": "plain_text", "content": text}


def _button(link: Link) -> dict[str, Any]:
    return {"tag": "button", "text": _plain(link.label), "url": link.url, "type": "default"}
