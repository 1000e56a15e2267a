"""Alertmanager, API v2: its labels are who an alert is, so they are few and stay; it forgets what is not said again each minute.

As Prometheus does it: what fires is posted each minute and lasts four, so that three posts may fail; its end is posted each minute
for five, so that an Alertmanager that was away for one of them, or a second one, hears it (alerts/pipeline.py plans both).
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

from alerts.case import CLOSES
from alerts.channels.contract import Address, Limits, Missed, Request, Telling, Verdict
from alerts.channels.posting import WEBHOOK_GIVES_UP_S, NotThisChannel, json_request, parts_of, trouble
from alerts.say import Say
from alerts.wording.clean import clean
from alerts.wording.notice import notice_of
from groundswell.decisions import Delivery
from groundswell.records import Severity
from groundswell.times import rfc3339

LASTS_MS = 240_000  # then it takes the alert for over
limits = Limits(
    many=False, spacing_s=0.0, per_minute=None, gives_up_s=WEBHOOK_GIVES_UP_S, body_bytes=65_536, repeat_s=60
)
NAMES = {
    "endpoint.test": "GroundswellTest",
    "endpoint.disabled": "GroundswellEndpointDown",
    "endpoint.recovered": "GroundswellEndpointDown",
    "system.watchdog": "GroundswellWatchdog",
}
AGAIN = {  # said once more, these say what they said first
    "alert.resolved": Say.RESOLVED,
    "endpoint.recovered": Say.RECOVERED,
    "endpoint.disabled": Say.DISABLED,
}


def check(url: str, secret: str) -> None:
    """Raises NotThisChannel unless this is the alerts address; the secret is empty, user:password or a bearer token."""
    if not parts_of(url).path.endswith("/api/v2/alerts"):
        remedy = "Write the path out: https://alertmanager.example.com/api/v2/alerts"
        raise NotThisChannel("This is not the address of Alertmanager's alerts.", remedy=remedy)
    if not all("!" <= char <= "~" for char in secret):
        raise NotThisChannel(
            "The secret holds a blank or a sign beyond ASCII.", remedy="Give user:password or a token."
        )


def request(
    address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
) -> Request:
    """One alert; when its severity may have changed, the same alert of every other severity is over with it."""
    del message_id, missed
    telling = tellings[0]
    if telling.say is Say.REPEAT:
        telling = replace(telling, say=AGAIN.get(telling.event.type, telling.say))
    over = telling.event.type in CLOSES
    alerts = [_alert(telling, address.lang, telling.event.data.severity, now_ms, over=over)]
    if telling.say is Say.UPDATED or over:
        # Levels that it cannot have had cost nothing: nobody has heard of them.
        others = [level for level in get_args(Severity) if level != telling.event.data.severity]
        alerts += [_alert(telling, address.lang, level, now_ms, over=True) for level in others]
    return json_request(address.url, alerts, _authorization(next(iter(address.secrets), "")))


def verdict(status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
    """200 is taken."""
    return trouble(status, headers, head, now_ms) or Verdict(Delivery.SENT)


def _alert(telling: Telling, lang: str, severity: str, now_ms: int, *, over: bool) -> dict[str, Any]:
    data, notice = telling.event.data, notice_of(telling, lang)
    own = data.subject.kind == "system"
    links = {link.url for link in notice.links[:1]}
    return {
        "labels": {
            "alertname": NAMES.get(telling.event.type, "GroundswellItself" if own else "GroundswellNegativeSurge"),
            "severity": severity,
            "subject": clean(data.subject.id, 200),
            "episode": clean(data.episode_id, 200),
            **({"test": "true"} if data.test and not own else {}),
        },
        "annotations": {
            "summary": notice.title,
            "description": " ".join(notice.sentences),
            "documents": "\n".join(notice.quotes),
        },
        "startsAt": data.started_at,
        "endsAt": rfc3339(now_ms if over else now_ms + LASTS_MS),
        **({"generatorURL": links.pop()} if links else {}),
    }


def _authorization(secret: str) -> dict[str, str]:
    if not secret:
        return {}
    if ":" in secret:
        return {"authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    return {"authorization": f"Bearer {secret}"}
