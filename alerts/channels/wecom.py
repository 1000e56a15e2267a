"""WeCom (企业微信): markdown of at most 4,096 bytes to a group robot. Its key is in the address; nothing is signed."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
from alerts.channels.fullwidth import inert
from alerts.channels.lines import Markup, text_of, unmarked
from alerts.channels.posting import (
    CHAT_GIVES_UP_S,
    NotThisChannel,
    json_object,
    json_request,
    no_secret,
    parts_of,
    trouble,
    unreadable,
)
from alerts.wording.message import Message, fitted, message_of
from groundswell.decisions import Delivery

CONTENT_BYTES, TEXT_BYTES = 4_096, 2_048
# 20 a minute.
limits = Limits(many=True, spacing_s=3.0, per_minute=18, gives_up_s=CHAT_GIVES_UP_S, body_bytes=8_192)
TOO_FAST = frozenset({45009, 45033})
SETTINGS = frozenset({93000, 93004, 93008, 40014, 40001})
BUSY = frozenset({-1, 6000})
MARKUP = Markup(
    escape=inert,
    bold=lambda text: f"**{text}**",
    quote=lambda text: f"> {text}",
    small=lambda text: f'<font color="comment">{text}</font>',
    link=lambda label, url: f"[{label}]({url})",
    between="\n",
)
PLAIN = unmarked(inert)  # <@userid> rings in plain text too


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel unless this is a group robot's address."""
    parts = parts_of(url)
    if not parts.path.endswith("/cgi-bin/webhook/send") or "key" not in parse_qs(parts.query):
        remedy = "Copy the address of the group's robot: https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=…"
        raise NotThisChannel("This is not the address of a WeCom robot.", remedy=remedy)
    no_secret(secret, "A WeCom robot")


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One markdown message that mentions nobody."""
    del message_id, now_ms
    whole = message_of(tellings, missed, address.lang)
    text = text_of(fitted(whole, _fits_as_text, address.lang), PLAIN)
    plainly = json_request(address.url, {"msgtype": "text", "text": {"content": text}})
    return json_request(address.url, _body(fitted(whole, _fits, address.lang)), plainly=plainly)


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """Delivered is 200 and errcode 0."""
    wrong = trouble(status, headers, head, now_ms)
    code = (json_object(head) or {}).get("errcode")
    if wrong is not None or not isinstance(code, int):
        return wrong or unreadable()
    if code == 0:
        return Verdict(Delivery.SENT)
    if code in TOO_FAST:
        return Verdict(Delivery.RETRY, f"rate_limited {code}", 60.0)
    if code in SETTINGS:
        return Verdict(Delivery.RETRY, f"robot_unknown {code}")
    return Verdict(Delivery.RETRY if code in BUSY else Delivery.REFUSED, f"refused_by_service {code}")


def _fits(message: Message) -> bool:
    return len(text_of(message, MARKUP).encode()) <= CONTENT_BYTES


def _fits_as_text(message: Message) -> bool:
    return len(text_of(message, PLAIN).encode()) <= TEXT_BYTES


def _body(message: Message) -> dict[str, Any]:
    return {"msgtype": "markdown", "markdown": {"content": text_of(message, MARKUP)}}
