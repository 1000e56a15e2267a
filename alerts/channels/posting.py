"""What channels share: JSON is posted, an answer is read with suspicion, an address of another service is refused by name.

Who is at fault decides: the set-up (a key, a signature, a robot's settings) can be mended while it is tried again; a message
that the service will not have is dropped at once, so that it does not hold up the next.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import msgspec

from alerts.channels.contract import Request, Verdict
from alerts.retry import asked_s
from groundswell import __version__
from groundswell.decisions import Delivery
from groundswell.errors import Refused

CHAT_GIVES_UP_S = 7_200.0  # two hours later it is no news in a chat
WEBHOOK_GIVES_UP_S = 96 * 3_600.0  # all twelve tries with the largest jitter, and some
PARKED = frozenset({400, 413, 414, 415, 422})  # the message itself is wrong
AGENT = {"user-agent": f"groundswell/{__version__}"}


class NotThisChannel(Refused):
    """The address or the secret is not of this channel's kind."""

    reason = "not_this_channel"


def json_request(
    url: str, body: Any, headers: Mapping[str, str] | None = None, *, plainly: Request | None = None
) -> Request:
    """POST this as JSON in UTF-8."""
    named = {"content-type": "application/json; charset=utf-8", **AGENT, **(headers or {})}
    return Request(url, named, msgspec.json.encode(body), plainly=plainly)


def json_object(head: bytes) -> dict[str, Any] | None:
    """The answer as an object; None when it is none."""
    try:
        found = msgspec.json.decode(head)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def trouble(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict | None:
    """The verdict on anything but a 2xx of the service itself; None: look at what it says."""
    if 200 <= status < 300:
        page = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" or "text/html" in headers.get("content-type", "").lower()
        return Verdict(Delivery.RETRY, "not_the_service html") if page else None
    if 300 <= status < 400:
        return Verdict(Delivery.RETRY, f"redirected {shown_host(headers.get('location', ''))}".strip())
    if status in PARKED:
        return Verdict(Delivery.REFUSED, f"http_{status}")
    reason = "rate_limited" if status == 429 else f"http_{status}"
    return Verdict(Delivery.RETRY, reason, asked_s(headers, head, now_ms))


def unreadable() -> Verdict:
    """JSON was promised and something else came: a proxy's page, a cut answer."""
    return Verdict(Delivery.RETRY, "answer_unreadable")


def parts_of(url: str) -> SplitResult:
    """The parts of an address. Raises NotThisChannel when it has none."""
    try:
        return urlsplit(url)
    except ValueError as error:
        raise NotThisChannel("The address cannot be read.", remedy="Copy it again from the service.") from error


def no_secret(secret: str, service: str) -> None:
    """Raises NotThisChannel when a secret is given where the address is the secret."""
    if secret:
        raise NotThisChannel(f"{service} takes no secret: its address is the secret.", remedy="Leave --secret out.")


def shown_host(location: str) -> str:
    """Where a redirect points, for people: printable ASCII of the host, no more."""
    try:
        host = urlsplit(location).hostname or ""
    except ValueError:
        return ""
    return "".join(char for char in host if "!" <= char <= "~")[:100]
