"""Telegram: sendMessage of a bot, in its HTML. The chat is in the address: …/bot<token>/sendMessage?chat_id=<id>."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlunsplit

from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
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
from alerts.retry import ASKED_MOST_S
from alerts.wording.message import Message, fitted, message_of
from groundswell.decisions import Delivery

UNITS = 4_096  # of UTF-16, after the markup is read
# 1 a second in a chat, 20 a minute in a group.
limits = Limits(many=True, spacing_s=3.0, per_minute=18, gives_up_s=CHAT_GIVES_UP_S, body_bytes=65_536)
_METHOD = re.compile(r"/bot[0-9]+:[A-Za-z0-9_-]+/sendMessage")
_DELIVERED = re.compile(rb'\s*\{\s*"ok"\s*:\s*true\b')  # the whole message comes back: more than is read of an answer
_CODE = re.compile(r"(?<![\w.])\d{4,6}\.(?:SH|SZ|BJ|HK)(?!\w)")  # .SH is a country's domain: in <code> it is no link
_INERT = str.maketrans({"@": "＠", "/": "∕", "#": "＃", "$": "＄"})
_TAG = re.compile(r"<[^>]*>")


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel unless this is a bot's sendMessage with a chat."""
    parts = parts_of(url)
    if not _METHOD.fullmatch(parts.path) or "chat_id" not in parse_qs(parts.query):
        remedy = "Write it so: https://api.telegram.org/bot<token>/sendMessage?chat_id=<id>"
        raise NotThisChannel("This is not the address of a Telegram bot and a chat.", remedy=remedy)
    no_secret(secret, "A Telegram bot")


def escaped(text: str) -> str:
    """No tag, no entity, no name that rings, no command that a tap would send, no tag to search for."""
    return _CODE.sub(lambda code: f"<code>{code[0]}</code>", html.escape(text.translate(_INERT)))


MARKUP = Markup(
    escape=escaped,
    bold=lambda text: f"<b>{text}</b>",
    quote=lambda text: f"<blockquote>{text}</blockquote>",
    small=lambda text: f"<i>{text}</i>",
    link=lambda label, url: f'<a href="{html.escape(url)}">{label}</a>',
    between="\n",
)


def plain(text: str) -> str:
    """Without a parse mode no tag is read, but names, commands, tags and addresses still are."""
    return _CODE.sub(lambda code: code[0].replace(".", ".\u2060"), text.translate(_INERT))


PLAIN = unmarked(plain)


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One message without a preview, to the chat (and thread) that the address names."""
    del message_id, now_ms
    parts = parts_of(address.url)
    asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
    whole = message_of(tellings, missed, address.lang)
    shown = fitted(whole, _fits, address.lang)
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
    to: dict[str, Any] = {"chat_id": asked.get("chat_id", ""), "link_preview_options": {"is_disabled": True}}
    if asked.get("message_thread_id", "").isdecimal():
        to["message_thread_id"] = int(asked["message_thread_id"])
    plainly = json_request(url, {**to, "text": text_of(fitted(shown, _fits_plainly, address.lang), PLAIN)})
    return json_request(url, {**to, "text": text_of(shown, MARKUP), "parse_mode": "HTML"}, plainly=plainly)


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """Delivered is ok: true. A group that became a supergroup has another chat_id, which the reason names."""
    wrong = trouble(status, headers, head, now_ms)
    if wrong is None:
        return Verdict(Delivery.SENT) if _DELIVERED.match(head) else unreadable()
    parameters = (json_object(head) or {}).get("parameters")
    if isinstance(parameters, dict):
        moved, wait_s = parameters.get("migrate_to_chat_id"), parameters.get("retry_after")
        if isinstance(moved, int):
            return Verdict(Delivery.RETRY, f"chat_moved {moved}")
        if isinstance(wait_s, int | float):
            return Verdict(wrong.outcome, wrong.reason, min(max(float(wait_s), 0.0), ASKED_MOST_S))
    if status == 400 and "chat not found" in str((json_object(head) or {}).get("description", "")):
        return Verdict(Delivery.RETRY, "chat_unknown")
    return wrong


def _fits(message: Message) -> bool:
    return _units(html.unescape(_TAG.sub("", text_of(message, MARKUP)))) <= UNITS


def _fits_plainly(message: Message) -> bool:
    return _units(text_of(message, PLAIN)) <= UNITS


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
