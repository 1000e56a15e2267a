"""PagerDuty, Events API v2: an episode is one incident, which firing opens, acknowledging marks and resolving closes."""

from collections.abc import Mapping, Sequence
from typing import Any

from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
from alerts.channels.posting import (
    WEBHOOK_GIVES_UP_S,
    NotThisChannel,
    json_object,
    json_request,
    parts_of,
    trouble,
    unreadable,
)
from alerts.say import Say
from alerts.wording.clean import clean
from alerts.wording.notice import notice_of
from groundswell.decisions import Delivery

SUMMARY, DEDUP = 1_024, 255
limits = Limits(many=False, spacing_s=0.0, per_minute=None, gives_up_s=WEBHOOK_GIVES_UP_S, body_bytes=512_000)
ACTIONS = {Say.ACKNOWLEDGED: "acknowledge", Say.RESOLVED: "resolve", Say.RECOVERED: "resolve"}


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel unless this is the event address with a routing key."""
    if not parts_of(url).path.endswith("/v2/enqueue"):
        remedy = "It is https://events.pagerduty.com/v2/enqueue, or that of your service region."
        raise NotThisChannel("This is not the address of PagerDuty's events.", remedy=remedy)
    if len(secret) != 32 or not (secret.isascii() and secret.isalnum()):
        remedy = "Copy the integration key of an Events API v2 integration: --secret KEY"
        raise NotThisChannel("The routing key has 32 letters and digits.", remedy=remedy)


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One event; all of one episode have one dedup_key."""
    del message_id, missed, now_ms
    telling = tellings[0]
    data, action = telling.event.data, ACTIONS.get(telling.say, "trigger")
    body: dict[str, Any] = {
        "routing_key": next(iter(address.secrets), ""),
        "event_action": action,
        "dedup_key": clean(data.episode_id, DEDUP),
    }
    if action == "trigger":
        body |= _details(telling, address.lang)
    return json_request(address.url, body)


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """202 is queued there. 400 is a message that will never do."""
    wrong = trouble(status, headers, head, now_ms)
    if wrong is not None:
        return wrong
    return unreadable() if json_object(head) is None else Verdict(Delivery.SENT)


def _details(telling: Telling, lang: str) -> dict[str, Any]:
    data, notice = telling.event.data, notice_of(telling, lang)
    own = data.subject.kind == "system"  # a drill that was missed is marked as a test and is none
    return {
        "payload": {
            "summary": notice.title[:SUMMARY],
            "source": clean(data.subject.id, SUMMARY),
            "severity": "info"
            if data.severity == "notice" or telling.say is Say.TEST or (data.test and not own)
            else data.severity,
            "timestamp": telling.event.timestamp,
            "component": clean(data.subject.id, SUMMARY),
            "group": clean(data.rule.id, SUMMARY),
            "class": telling.event.type,
            "custom_details": {"text": " ".join(notice.sentences), "documents": list(notice.quotes)},
        },
        "links": [{"href": link.url, "text": link.label} for link in notice.links],
        "client": "Groundswell",
    }
