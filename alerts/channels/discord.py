"""Discord: an embed to a webhook that may mention nobody, whatever its text says."""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlunsplit

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
)
from alerts.retry import ASKED_MOST_S
from alerts.wording.message import Message, fitted, message_of
from groundswell.decisions import Delivery

NO_PREVIEWS = 4
CONTENT, TITLE, DESCRIPTION, ALL = 2_000, 256, 4_096, 6_000
# How fast one may send is in each answer's headers, and changes.
limits = Limits(many=True, spacing_s=1.0, per_minute=30, gives_up_s=CHAT_GIVES_UP_S, body_bytes=30_000)
COLOURS = {"critical": 0xC0392B, "warning": 0xE67E22, "calm": 0x27AE60, "plain": 0x7F8C8D}
_MARKUP = re.compile(r"([\\*_~|>\[\]<@#`])")
_HOOK = re.compile(r"/api(?:/v\d+)?/webhooks/\d+/[\w-]+")


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel unless this is a channel's webhook."""
    if not _HOOK.match(parts_of(url).path):
        remedy = "Copy it from the channel's settings, Integrations: https://discord.com/api/webhooks/…"
        raise NotThisChannel("This is not the address of a Discord webhook.", remedy=remedy)
    no_secret(secret, "A Discord webhook")


def escaped(text: str) -> str:
    """A backslash before all that could begin markup, a mention or an emoji."""
    return _MARKUP.sub(r"\\\1", text)


MARKUP = Markup(
    escape=escaped,
    bold=lambda text: f"**{text}**",
    quote=lambda text: f"> {text}",
    small=lambda text: text,
    link=lambda label, url: f"[{label}]({url})",
    between="\n",
)
PLAIN = unmarked(escaped)  # markup is read in plain content too


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One message; `wait` makes the answer say whether it was posted."""
    del message_id, now_ms
    parts = parts_of(address.url)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "wait"]
    url = urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode([*query, ("wait", "true")]), ""))
    whole = message_of(tellings, missed, address.lang)
    text = text_of(fitted(whole, _fits_plainly, address.lang), PLAIN)
    plainly = json_request(url, {"content": text, "allowed_mentions": {"parse": []}, "flags": NO_PREVIEWS})
    return json_request(url, _body(fitted(whole, _fits, address.lang)), plainly=plainly)


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """Delivered is 2xx; with it comes how long to wait when the allowance is used up."""
    wrong = trouble(status, headers, head, now_ms)
    if wrong is None:
        return Verdict(Delivery.SENT, asked_s=_used_up(headers))
    code = (json_object(head) or {}).get("code")
    if isinstance(code, int) and code and status < 500 and status != 429:
        return Verdict(wrong.outcome, f"refused_by_service {code}", wrong.asked_s)
    return wrong


def _used_up(headers: Mapping[str, str]) -> float | None:
    if headers.get("x-ratelimit-remaining", "").strip() != "0":
        return None
    try:
        return min(max(float(headers.get("x-ratelimit-reset-after", "")), 0.0), ASKED_MOST_S)
    except ValueError:
        return None


def _fits(message: Message) -> bool:
    text = text_of(message, MARKUP, title=False)
    return len(text) <= DESCRIPTION and TITLE + len(text) <= ALL


def _fits_plainly(message: Message) -> bool:
    return len(text_of(message, PLAIN)) <= CONTENT


def _body(message: Message) -> dict[str, Any]:
    return {
        "content": _cut(escaped(message.short), CONTENT),  # what a phone shows
        "embeds": [
            {
                "title": _cut(escaped(message.title), TITLE),
                "description": text_of(message, MARKUP, title=False),
                "color": COLOURS[message.tone],
            }
        ],
        "allowed_mentions": {"parse": []},
    }


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip("\\") + "…"
