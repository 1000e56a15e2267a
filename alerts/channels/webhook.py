"""The generic webhook: the event's own bytes, signed after Standard Webhooks, and what an answer means.

Pure. send.py carries it out behind the address guard.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

from alerts.retry import asked_s
from alerts.signing import sign
from groundswell import __version__
from groundswell.decisions import Delivery


@dataclass(frozen=True)
class Verdict:
    """SENT, RETRY or REFUSED; `reason` is one word and perhaps a name; `asked_s` is what the receiver asked for."""

    outcome: Delivery
    reason: str = ""
    asked_s: float | None = None


def headers(event_id: str, body: bytes, secrets: Sequence[str], now_ms: int) -> dict[str, str]:
    """What goes with the body: the event's id, the time of this attempt, a signature a secret (two while changing)."""
    timestamp_s = now_ms // 1000
    return {
        "content-type": "application/json",
        "user-agent": f"groundswell/{__version__}",
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(secrets, event_id, timestamp_s, body),
    }


def verdict(status: int, answer: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """Only 2xx is delivered. 410 ends it; all else is tried again, since a 401 or a 404 is often a deployment.

    `answer` has lower-case names; `head` is the beginning of the response's body.
    """
    if 200 <= status < 300:
        return Verdict(Delivery.SENT)
    if status == HTTPStatus.GONE:
        return Verdict(Delivery.REFUSED, "endpoint_gone")
    if answer.get("webhook-delivery", "").strip() == "abort-message":
        return Verdict(Delivery.REFUSED, "aborted_by_receiver")
    if 300 <= status < 400:
        return Verdict(Delivery.RETRY, f"redirected {_host(answer.get('location', ''))}".strip())
    reason = "rate_limited" if status == HTTPStatus.TOO_MANY_REQUESTS else f"http_{status}"
    return Verdict(Delivery.RETRY, reason, asked_s(answer, head, now_ms))


def _host(location: str) -> str:
    """Where a redirect points, for people: printable ASCII of the host, no more."""
    try:
        host = urlsplit(location).hostname or ""
    except ValueError:
        return ""
    return "".join(char for char in host if "!" <= char <= "~")[:100]
