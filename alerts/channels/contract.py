"""What a channel is to the rest: it makes a request of what is to be said and reads the answer. Pure; send.py carries it out.

Read webhook.py for the pattern. `channel_of(name)` in this package finds a channel's spec by the name in an endpoint.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Protocol

from alerts.say import Say
from groundswell.decisions import Delivery
from groundswell.records import AlertEvent


@dataclass(frozen=True)
class Telling:
    """One thing to be said. `body` is the event's own bytes as they lie on the topic, with which webhooks are signed."""

    event: AlertEvent
    say: Say
    body: bytes


@dataclass(frozen=True)
class Address:
    """Where it goes, opened: nothing of it may reach a log. `secrets` has the newest first, two while they change."""

    url: str
    secrets: tuple[str, ...]
    lang: str
    endpoint: str


@dataclass(frozen=True)
class Missed:
    """So many events were given up between these moments (epoch ms): the next message that gets through says so."""

    count: int
    since_ms: int
    until_ms: int


@dataclass(frozen=True)
class Request:
    """One HTTP request, or a mail to hand to a server. `plainly`: the same without markup, for a service that refuses how it is written."""

    url: str
    headers: dict[str, str]
    body: bytes
    method: str = "POST"
    mail: EmailMessage | None = None
    plainly: "Request | None" = None


@dataclass(frozen=True)
class Verdict:
    """SENT, RETRY or REFUSED; `reason` is one word and perhaps a name; `asked_s` is what the receiver asked for."""

    outcome: Delivery
    reason: str = ""
    asked_s: float | None = None


@dataclass(frozen=True)
class Limits:
    """What a service bears. `many`: one message may say several things; `gives_up_s`: older news is not news there."""

    many: bool
    spacing_s: float  # at least so long between two requests
    per_minute: int | None  # at most so many requests a minute
    gives_up_s: float
    body_bytes: int
    repeat_s: int = 0  # the service forgets what is not said again so often; 0: it does not


class ChannelSpec(Protocol):
    """A module or an object with these names; the functions are pure."""

    @property
    def limits(self) -> Limits: ...

    def check(self, url: str, secret: str) -> None:
        """Whether address and secret are of this channel's kind. Raises Refused, with a remedy."""

    def request(
        self, address: Address, message_id: str, tellings: Sequence[Telling], missed: Missed | None, now_ms: int
    ) -> Request:
        """One request that says all of `tellings` (one, unless `limits.many`)."""
        ...

    def verdict(self, status: int, headers: Mapping[str, str], head: bytes, now_ms: int) -> Verdict:
        """What the answer means. `headers` has lower-case names; `head` is the beginning of the body, on a 200 too."""
        ...
