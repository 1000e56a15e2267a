"""Mail: one message in plain text and simple HTML, threaded by episode. mail.py adds the sender and hands it to a server."""

import html
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import EmailPolicy
from typing import Any

from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
from alerts.channels.lines import Markup, text_of
from alerts.channels.posting import CHAT_GIVES_UP_S, NotThisChannel, no_secret
from alerts.wording.clean import clean
from alerts.wording.message import message_of
from groundswell.decisions import Delivery
from groundswell.text import safe

limits = Limits(many=True, spacing_s=1.0, per_minute=30, gives_up_s=CHAT_GIVES_UP_S, body_bytes=65_536)
RECIPIENTS, SUBJECT = 20, 150
MAILTO = "mailto:"
REMEDY = f"Write desk@bank.example, or up to {RECIPIENTS} by comma: desk@bank.example,night@bank.example."
DOMAIN = "groundswell.alerts"  # of message ids: need not exist, must not change between tries
LOGIN = frozenset({421, 454, 530, 534, 535, 538})  # of the set-up, not of this message
# No % : in a mailto: it is an escape, and old relays read a route in it.
_ADDRESS = re.compile(
    r"[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$&'*+/=?^_`{|}~-]+)*@(?=.{1,253}$)[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
)
LOCAL_CHARS, LABEL_CHARS = 64, 63


class _Policy(EmailPolicy):
    """As email.policy.SMTP, which raises on a line end in a header; but that one doubles blanks beside a sign beyond ASCII."""

    def fold(self, name: str, value: Any) -> str:
        if str(value).isascii() or name != "Subject":
            return str(super().fold(name, value))
        return f"{name}: {Header(str(value), 'utf-8', header_name=name).encode(linesep=self.linesep)}{self.linesep}"

    def fold_binary(self, name: str, value: Any) -> bytes:
        return self.fold(name, value).encode("ascii", "surrogateescape")


POLICY = _Policy(linesep="\r\n")
PLAIN = Markup(
    escape=lambda text: text,
    bold=lambda text: text,
    quote=lambda text: f"> {text}",
    small=lambda text: f"-- \n{text}",
    link=lambda label, url: f"{label}: {url}",
    between="\n\n",
)
HTML = Markup(
    escape=html.escape,
    bold=lambda text: f"<h3>{text}</h3>",
    quote=lambda text: f"<blockquote>{text}</blockquote>",
    small=lambda text: f"<small>{text}</small>",
    link=lambda label, url: f'<a href="{html.escape(url)}">{label}</a>',
    between="<br><br>\n",
)


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel unless this is mailto: and one to twenty addresses, by comma."""
    if not url.lower().startswith(MAILTO):
        raise NotThisChannel("This is not a mail address.", remedy=REMEDY)
    addresses(url)
    no_secret(secret, "Mail")


def addresses(text: str) -> list[str]:
    """The addresses of a mailto:, or of the list that would follow it; each once, in order. Raises NotThisChannel.

    The one rule for what people may write: plain addresses by comma, blanks around them ignored; no names, no escapes, no headers.
    """
    listed = text[len(MAILTO) :] if text.lower().startswith(MAILTO) else text
    found = list(dict.fromkeys(one.strip(" ") for one in listed.split(",")))
    if len(found) > RECIPIENTS:
        raise NotThisChannel(f"{len(found)} addresses are too many for one endpoint.", remedy=REMEDY)
    for one in found:
        local, _, domain = one.rpartition("@")
        edges = any(part[:1] == "-" or part[-1:] == "-" or len(part) > LABEL_CHARS for part in domain.split("."))
        if not _ADDRESS.fullmatch(one) or len(local) > LOCAL_CHARS or edges:
            raise NotThisChannel(f"{safe(one, 60)!r} is no mail address.", remedy=REMEDY)
    return found


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One mail; every try has the same Message-ID, and the mails of an episode make one thread."""
    said = message_of(tellings, missed, address.lang)
    mail = EmailMessage(policy=POLICY)
    mail["Subject"] = clean(said.title, SUBJECT)
    mail["To"] = ", ".join(addresses(address.url))
    mail["Date"] = datetime.fromtimestamp(now_ms // 1000, UTC)
    mail["Message-ID"] = f"<{_atom(message_id)}.{_atom(address.endpoint)}@{DOMAIN}>"
    if len(tellings) == 1:
        mail["References"] = f"<{_atom(tellings[0].event.data.episode_id)}.{_atom(address.endpoint)}@{DOMAIN}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(text_of(said, PLAIN), charset="utf-8", cte="base64")
    page = f'<!doctype html><html lang="{address.lang}"><body>{text_of(said, HTML)}</body></html>'
    mail.add_alternative(page, subtype="html", charset="utf-8", cte="base64")
    mail["Content-Language"] = "zh-CN" if address.lang == "zh" else "en"
    mail.set_boundary(f"=_{_atom(message_id)}")
    return Request(address.url, {}, mail.as_bytes(), mail=mail)


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """`status` is the server's last reply: 250 after the data is delivered, 4xx later, 5xx never; a login may be mended."""
    del headers, head, now_ms
    if 200 <= status < 300:
        return Verdict(Delivery.SENT)
    if status in LOGIN or 400 <= status < 500:
        return Verdict(Delivery.RETRY, f"smtp_{status}")
    return Verdict(Delivery.REFUSED, f"smtp_{status}")


def _atom(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", text)[:100] or "_"
