"""Reads what a channel would send as its service reads it, by our own small parsers: who would be rung, what would be a link.

Kept apart from the channels' code on purpose: it must not share an escape with what it judges.
"""

import email
import html.parser
import json
import re
from dataclasses import dataclass, field
from email.policy import default
from typing import Any

from alerts.channels.contract import Request

BARE = re.compile(
    r"(?:https?|ftp|tg)://[^\s\u2060]+|www\.\w+|(?<![\w.])[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}",
    re.IGNORECASE,
)
LISTING = re.compile(r"\d{4,6}\.(?:SH|SZ|BJ|HK)(?![A-Za-z])")  # our own way to write a stock
MARKDOWN_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\(([^()\n]*)\)")


@dataclass
class Read:
    """What a reader's client makes of it."""

    mentions: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)  # as shown


def read(channel: str, request: Request) -> Read:
    found = Read()
    if channel == "email":
        _mail(request, found)
        return found
    body = json.loads(request.body.decode("utf-8"))
    {
        "feishu": _feishu, "dingtalk": _dingtalk, "wecom": _wecom, "slack": _slack, "telegram": _telegram,
        "discord": _discord, "teams": _teams, "pagerduty": _pagerduty, "alertmanager": _alertmanager,
    }[channel](body, found)  # fmt: skip
    return found


def bare_links(text: str) -> list[str]:
    """What a client that looks for addresses would make a link of."""
    return BARE.findall(LISTING.sub("", text))


def _walk(value: Any) -> Any:
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _walk(one)


def _feishu(body: dict[str, Any], found: Read) -> None:
    if body["msg_type"] == "text":  # the robot reads <at user_id="…"> in it
        text = body["content"]["text"]
        found.mentions += re.findall(r"<[^>]*>?|@\S+", text)
        _plain(text, found)
        return
    assert body["msg_type"] == "interactive"
    for node in _walk(body["card"]):
        tag = node.get("tag")
        if tag == "plain_text":
            found.texts.append(node["content"])
        elif tag in ("lark_md", "markdown", "text", "at", "a", "img"):
            found.mentions.append(str(node))
        if "url" in node:
            found.links.append(node["url"])


def _markdown(text: str, found: Read) -> None:
    found.links += [target for _, target in MARKDOWN_LINK.findall(text)]
    rest = MARKDOWN_LINK.sub(lambda link: link[1], text)
    assert "](" not in rest
    found.links += bare_links(rest)
    found.mentions += re.findall(r"@\S*", rest)
    found.texts.append(rest)


def _plain(text: str, found: Read) -> None:
    """No markup: clients still make links of addresses."""
    found.links += bare_links(text)
    found.texts.append(text)


def _dingtalk(body: dict[str, Any], found: Read) -> None:
    at = body["at"]
    if at["isAtAll"] is not False or at["atMobiles"] or at["atUserIds"]:
        found.mentions.append(str(at))
    if body["msgtype"] == "text":
        found.mentions += re.findall(r"@\S*", body["text"]["content"])
        _plain(body["text"]["content"], found)
        return
    assert not re.search(r"<(?!/?font)", body["markdown"]["text"])
    _markdown(body["markdown"]["text"], found)
    _markdown(body["markdown"]["title"], found)


def _wecom(body: dict[str, Any], found: Read) -> None:
    if body["msgtype"] == "text":
        assert body["text"].keys() == {"content"}, "no mentioned_list"
        found.mentions += re.findall(r"<[^>]*>?|@\S*", body["text"]["content"])
        _plain(body["text"]["content"], found)
        return
    assert body.keys() == {"msgtype", "markdown"}
    text = body["markdown"]["content"]
    found.mentions += re.findall(r"<@[^>]*>?", text)
    rest = re.sub(r'<font color="(?:info|comment|warning)">|</font>', "", text)
    assert "<" not in rest
    _markdown(rest, found)


def _slack(body: dict[str, Any], found: Read) -> None:
    assert "link_names" not in body
    blocks = body.get("blocks", [])
    marked = [body["text"], *(node["text"] for node in _walk(blocks) if node.get("type") == "mrkdwn")]
    assert all(node["verbatim"] for node in _walk(blocks) if node.get("type") == "mrkdwn")
    found.texts += [node["text"] for node in _walk(blocks) if node.get("type") == "plain_text"]
    found.texts += [] if blocks else [body["text"]]
    for text in marked:
        for inside in re.findall(r"<([^>]*)>", text):
            (found.mentions if inside[:1] in "@#!" else found.links).append(inside.split("|")[0].replace("&amp;", "&"))
        found.links += bare_links(re.sub(r"<[^>]*>", "", text))
        assert "<" not in re.sub(r"<[^<>]*>", "", text)


class _Html(html.parser.HTMLParser):
    def __init__(self, found: Read, allowed: set[str], coded: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found, self.allowed, self.coded, self.open = found, allowed, coded, []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in self.allowed, tag
        self.open.append(tag)
        for name, value in attrs:
            if name == "href":
                (self.found.mentions if (value or "").startswith("tg:") else self.found.links).append(value or "")
            else:
                assert name in ("lang", "charset"), name

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("br", "meta"):
            while self.open and self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        self.found.texts.append(data)
        if self.coded not in self.open:
            self.found.links += bare_links(data)


def _telegram(body: dict[str, Any], found: Read) -> None:
    assert body["link_preview_options"] == {"is_disabled": True}
    if "parse_mode" not in body:
        found.links += BARE.findall(body["text"])  # .SH is a country's domain: a listing would be a link too
        found.texts.append(body["text"])
        rest = BARE.sub("", body["text"])
        found.mentions += re.findall(r"@\w+|(?<!\w)/\w+|[#$][A-Za-z]\w*", rest)
        return
    assert body["parse_mode"] == "HTML"
    reader = _Html(found, {"b", "i", "a", "code", "blockquote"}, "code")
    reader.feed(body["text"])
    reader.close()
    found.mentions += [one for text in found.texts for one in re.findall(r"@\w+|(?<!\w)/\w+|[#$][A-Za-z]\w*", text)]


def _discord(body: dict[str, Any], found: Read) -> None:
    if body["allowed_mentions"] != {"parse": []}:
        found.mentions.append(str(body["allowed_mentions"]))
    for text in (body["content"], *(one[part] for one in body.get("embeds", []) for part in ("title", "description"))):
        live = re.sub(r"\\.", "\u00b7", text)  # an escaped sign is no markup
        found.mentions += re.findall(r"<[@#:]\S*|@\w+", live)
        found.links += [target for _, target in re.findall(r"\[([^\[\]\n]*)\]\(([^()\n]*)\)", live)]
        rest = re.sub(r"\[[^\[\]\n]*\]\([^()\n]*\)", "", live)
        assert not re.search(r"[`~|<>\[\]]", re.sub(r"(?m)^> ", "", rest)), rest
        found.links += re.findall(
            r"https?://\S+", re.sub(r"\\(.)", r"\1", re.sub(r"\[[^\[\]\n]*\]\([^()\n]*\)", "", text))
        )
        found.texts.append(re.sub(r"\\(.)", r"\1", text))


def _teams(body: dict[str, Any], found: Read) -> None:
    (attached,) = body["attachments"]
    for node in _walk(attached["content"]):
        kind = node.get("type")
        if kind == "TextRun":
            found.texts.append(node["text"])
            assert "{{" not in node["text"]
        elif kind == "TextBlock" or "entities" in node:
            found.mentions.append(str(node))
        elif kind == "Action.OpenUrl":
            found.links.append(node["url"])


def _pagerduty(body: dict[str, Any], found: Read) -> None:
    found.links += [one["href"] for one in body.get("links", [])]
    if "payload" in body:
        details = body["payload"]["custom_details"]
        found.texts += [body["payload"]["summary"], details["text"], *details["documents"]]


def _alertmanager(body: list[dict[str, Any]], found: Read) -> None:
    for one in body:
        found.links += [one["generatorURL"]] if "generatorURL" in one else []
        found.texts += one["annotations"].values()


def _mail(request: Request, found: Read) -> None:
    mail = email.message_from_bytes(request.body, policy=default)
    assert not mail.defects
    assert mail["To"] == "desk@bank.example"
    assert not mail["Cc"]
    plain, page = mail.get_body(("plain",)), mail.get_body(("html",))
    assert plain is not None
    assert page is not None
    found.texts.append(mail["Subject"])
    found.links += [one for one in bare_links(plain.get_content()) if one != "groundswell.alerts"]
    reader = _Html(found, {"html", "body", "h3", "br", "blockquote", "small", "a"}, "code")
    reader.feed(page.get_content())
    reader.close()
