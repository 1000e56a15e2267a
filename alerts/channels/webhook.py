"""The generic webhook: the event's own bytes, signed after Standard Webhooks, and what an answer means.

Pure. send.py carries it out behind the address guard.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
from alerts.channels.posting import AGENT, WEBHOOK_GIVES_UP_S, NotThisChannel, shown_host
from alerts.retry import asked_s
from alerts.signing import check_secret, sign
from groundswell.decisions import Delivery

limits = Limits(many=False, spacing_s=0.0, per_minute=None, gives_up_s=WEBHOOK_GIVES_UP_S, body_bytes=20_000)


def check(url: str, secret: str) -> None:
    """Any address may be a webhook; the secret must be one that signs. Raises NotThisChannel."""
    del url
    try:
        check_secret(secret)
    except ValueError as error:
        remedy = "Leave --secret out: one is made for you. Or give whsec_… (v1) or whsk_… (v1a) of Standard Webhooks."
        raise NotThisChannel(f"This secret cannot sign: {error}.", remedy=remedy) from error


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One event as it lies on the topic; `missed` is not said, since machines are told each event."""
    del missed
    body = tellings[0].body
    return Request(address.url, headers(message_id, body, address.secrets, now_ms), body)


def headers(event_id: str, body: bytes, secrets: Sequence[str], now_ms: int) -> dict[str, str]:
    """What goes with the body: the event's id, the time of this attempt, a signature a secret (two while changing)."""
    timestamp_s = now_ms // 1000
    return {
        "content-type": "application/json",
        **AGENT,
        "webhook-id": event_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(secrets, event_id, timestamp_s, body),
    }


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """Only 2xx is delivered. 410 ends it; all else is tried again, since a 401 or a 404 is often a deployment.

    `headers` has lower-case names; `head` is the beginning of the response's body.
    """
    if 200 <= status < 300:
        return Verdict(Delivery.SENT)
    if status == HTTPStatus.GONE:
        return Verdict(Delivery.REFUSED, "endpoint_gone")
    if headers.get("webhook-delivery", "").strip() == "abort-message":
        return Verdict(Delivery.REFUSED, "aborted_by_receiver")
    if 300 <= status < 400:
        return Verdict(Delivery.RETRY, f"redirected {shown_host(headers.get('location', ''))}".strip())
    reason = "rate_limited" if status == HTTPStatus.TOO_MANY_REQUESTS else f"http_{status}"
    return Verdict(Delivery.RETRY, reason, asked_s(headers, head, now_ms))
