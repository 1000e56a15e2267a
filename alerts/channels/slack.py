"""Slack: blocks to an incoming webhook. Text from the world stands in plain_text; mrkdwn holds our links alone, and is verbatim."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
from alerts.channels.lines import text_of, unmarked
from alerts.channels.posting import (
    CHAT_GIVES_UP_S,
    PARKED,
    NotThisChannel,
    json_request,
    no_secret,
    parts_of,
    trouble,
)
from alerts.wording.message import Message, fitted, message_of
from alerts.wording.notice import Link
from groundswell.decisions import Delivery

HEADER, SECTION, BLOCKS = 150, 3_000, 50
# 1 a second.
limits = Limits(many=True, spacing_s=1.2, per_minute=50, gives_up_s=CHAT_GIVES_UP_S, body_bytes=40_000)


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel unless this may be an incoming webhook, of Slack or of what speaks its language."""
    if len(parts_of(url).path) < 2:
        remedy = "Copy the address of the incoming webhook: https://hooks.slack.com/services/…"
        raise NotThisChannel("This is not the address of a Slack webhook.", remedy=remedy)
    no_secret(secret, "A Slack webhook")


def escaped(text: str) -> str:
    """The three characters that begin a mention or a link; Slack asks for these entities and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


PLAIN = replace(unmarked(escaped), link=lambda label, url: f"{label}: {escaped(url)}")


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One message without previews."""
    del message_id, now_ms
    whole = message_of(tellings, missed, address.lang)
    shown = fitted(whole, _fits, address.lang)
    plainly = json_request(address.url, _said(text_of(shown, PLAIN)))
    return json_request(address.url, _body(shown), plainly=plainly)


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """Delivered is 200 and the two letters ok. A refusal says why in one word."""
    word = _word(head)
    wrong = trouble(status, headers, head, now_ms)
    if wrong is None:
        return Verdict(Delivery.SENT) if word == "ok" else Verdict(Delivery.RETRY, f"refused_by_service {word}".strip())
    if word and status in {*PARKED, 403, 404, 410}:
        return Verdict(wrong.outcome, f"refused_by_service {word}", wrong.asked_s)
    return wrong


def _word(head: bytes) -> str:
    said = head[:64].decode("ascii", "replace").strip()
    return said if said.replace("_", "").isalnum() and said.isascii() else ""


def _fits(message: Message) -> bool:
    body = _body(message)
    return len(body["blocks"]) <= BLOCKS and len(json_request("", body).body) <= limits.body_bytes


def _body(message: Message) -> dict[str, Any]:
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(message.title, HEADER)}]
    if message.paragraphs:
        blocks.append({"type": "section", "text": _plain("\n".join(message.paragraphs), SECTION)})
    blocks += [{"type": "context", "elements": [_plain(one, SECTION)]} for one in message.quotes]
    for item in message.items:
        blocks.append({"type": "section", "text": _plain(item.line, SECTION)})
        if item.link:
            blocks.append({"type": "context", "elements": [_links([item.link])]})
    if message.unlisted:
        blocks.append({"type": "section", "text": _plain(message.unlisted, SECTION)})
    if message.links:
        blocks.append({"type": "section", "text": _links(message.links)})
    blocks.append({"type": "context", "elements": [_plain(message.footer, SECTION)]})
    return {**_said(escaped(message.short)), "blocks": blocks}  # beside blocks, the text is what a phone shows


def _said(text: str) -> dict[str, Any]:
    return {"text": text, "mrkdwn": False, "unfurl_links": False, "unfurl_media": False}


def _plain(text: str, limit: int) -> dict[str, Any]:
    return {"type": "plain_text", "emoji": False, "text": text if len(text) <= limit else text[: limit - 1] + "…"}


def _links(links: Sequence[Link]) -> dict[str, Any]:
    text = " · ".join(f"<{escaped(link.url)}|{escaped(link.label)}>" for link in links)
    return {"type": "mrkdwn", "verbatim": True, "text": text}
