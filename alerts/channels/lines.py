"""A message as lines of one markup: Telegram, Discord, DingTalk, WeCom and mail differ in marks and escapes, not in what they say."""

from collections.abc import Callable
from dataclasses import dataclass

from alerts.wording.message import Message
from alerts.wording.notice import Link


@dataclass(frozen=True)
class Markup:
    """How one service writes: `escape` makes any text inert; the others take escaped text. `link` writes a link of ours."""

    escape: Callable[[str], str]
    bold: Callable[[str], str]
    quote: Callable[[str], str]
    small: Callable[[str], str]
    link: Callable[[str, str], str]  # label, url
    between: str  # paragraphs


def unmarked(escape: Callable[[str], str]) -> Markup:
    """No markup at all: what is said once more where a service refused the message as it was written."""
    return Markup(
        escape=escape,
        bold=lambda text: text,
        quote=lambda text: f"- {text}",
        small=lambda text: text,
        link=lambda label, url: f"{label}: {url}",
        between="\n",
    )


def text_of(message: Message, markup: Markup, *, title: bool = True) -> str:
    """All of a message, one paragraph after the other, escaped."""
    escape = markup.escape
    parts = [markup.bold(escape(message.title))] if title else []
    parts += [escape(one) for one in message.paragraphs]
    parts += [markup.quote(escape(one)) for one in message.quotes]
    parts += [f"{escape(one.line)}{_after(one.link, markup)}" for one in message.items]
    if message.unlisted:
        parts.append(escape(message.unlisted))
    if message.links:
        parts.append(" · ".join(markup.link(escape(link.label), link.url) for link in message.links))
    parts.append(markup.small(escape(message.footer)))
    return markup.between.join(parts)


def _after(link: Link | None, markup: Markup) -> str:
    return f" {markup.link(markup.escape(link.label), link.url)}" if link is not None else ""
