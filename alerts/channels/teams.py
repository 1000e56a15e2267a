"""Microsoft Teams: an adaptive card to a workflow. Text stands in text runs, which read no markdown and expand no {{…}}."""

from collections.abc import Mapping, Sequence
from typing import Any

from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
from alerts.channels.lines import text_of, unmarked
from alerts.channels.posting import CHAT_GIVES_UP_S, NotThisChannel, json_request, no_secret, parts_of, trouble
from alerts.wording.message import Message, fitted, message_of
from alerts.wording.notice import Link
from groundswell.decisions import Delivery

# 28 kB, 4 a second.
limits = Limits(many=True, spacing_s=1.0, per_minute=60, gives_up_s=CHAT_GIVES_UP_S, body_bytes=27_000)
PLAIN = unmarked(lambda text: text)
COLOURS = {"critical": "Attention", "warning": "Warning", "calm": "Good", "plain": "Default"}


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel when it cannot be a workflow. Hosts are not matched: the service moves them."""
    if len(parts_of(url).path) < 2:
        remedy = "Make the workflow “Post to a channel when a webhook request is received” and copy its address."
        raise NotThisChannel("This is not the address of a Teams workflow.", remedy=remedy)
    no_secret(secret, "A Teams workflow")


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One card that mentions nobody."""
    del message_id, now_ms
    whole = message_of(tellings, missed, address.lang)
    shown = fitted(whole, _fits, address.lang)
    # A flow posts cards alone: the plainest is a run of text a line.
    plainest = _card(shown.short, [_block([_run(line)]) for line in text_of(shown, PLAIN).split(PLAIN.between)])
    return json_request(address.url, _body(shown), plainly=json_request(address.url, plainest))


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """2xx means that the flow took it; whether it was posted then, the service does not say."""
    return trouble(status, headers, head, now_ms) or Verdict(Delivery.SENT)


def _fits(message: Message) -> bool:
    return len(json_request("", _body(message)).body) <= limits.body_bytes


def _body(message: Message) -> dict[str, Any]:
    title = {"weight": "Bolder", "size": "Medium", "color": COLOURS[message.tone]}
    blocks = [_block([_run(message.title, **title)])]
    blocks += [_block([_run(one)]) for one in message.paragraphs]
    blocks += [_block([_run(one, isSubtle=True)], spacing="Small") for one in message.quotes]
    for item in message.items:
        blocks.append(_block([_run(item.line), *([_run(" "), _link(item.link)] if item.link else [])]))
    if message.unlisted:
        blocks.append(_block([_run(message.unlisted)]))
    blocks.append(_block([_run(message.footer, isSubtle=True, size="Small")]))
    actions = [{"type": "Action.OpenUrl", "title": link.label, "url": link.url} for link in message.links]
    return _card(message.short, blocks, version="1.4", msteams={"width": "Full"}, actions=actions)


def _card(short: str, blocks: list[dict[str, Any]], version: str = "1.2", **more: Any) -> dict[str, Any]:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": version,
        "fallbackText": short,
        "body": blocks,
        **more,
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


def _block(runs: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": runs, **more}


def _run(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "TextRun", "text": text.replace("{{", "{\u2060{"), **more}


def _link(link: Link) -> dict[str, Any]:
    return _run(link.label, selectAction={"type": "Action.OpenUrl", "url": link.url})
