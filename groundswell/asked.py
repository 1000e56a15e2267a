"""What people ask for and are told, in one shape for the command line and for HTTP. alerts/people/desk.py does it, wants.py checks it.

Fields that are not known are refused: a filter with a slip of the pen would otherwise hear everything, or nothing.
"""

from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from groundswell.records import Channel, DeliveryOutcome, QuietHours, Severity


class AskedEndpoint(Struct, kw_only=True, forbid_unknown_fields=True):
    """A new endpoint. Empty lists mean all; an empty `channel` means by the address, else webhook."""

    url: str
    name: str
    channel: Channel | Literal[""] = ""
    secret: str = ""  # empty: a webhook gets a new one; chat robots have theirs from their service
    v1a: bool = False  # sign with Ed25519: the receiver holds a public key only
    lang: Literal["en", "zh"] = "en"
    subjects: list[str] = []
    topics: list[str] = []
    languages: list[str] = []
    severity: Severity = "warning"
    quiet: QuietHours | None = None
    repeat_s: int = 0
    escalates_after_s: int = 0
    drills: bool = False


class AskedAddress(Struct, kw_only=True, forbid_unknown_fields=True):
    """Whether an address may be an endpoint's, and of which channel. Nothing is kept of it."""

    url: str
    channel: Channel | Literal[""] = ""
    secret: str = ""


class Judged(Struct, frozen=True, kw_only=True):
    """The address guard's and the channel's verdict. `rule`: the guard's word for what is wrong, or the error's reason."""

    ok: bool
    channel: str = ""
    shown: str = ""
    rule: str = ""
    why: str = ""
    remedy: str = ""


class Sample(Struct, frozen=True, kw_only=True):
    """What a test sends. Address and secrets are left out, and what follows from them is `…`."""

    method: str
    to: str
    headers: dict[str, str]
    body: str


class EndpointChange(Struct, kw_only=True, forbid_unknown_fields=True):
    """What changes of an endpoint; what is left out stays. The channel and the secret do not change here: `rotate` does that."""

    url: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    lang: Literal["en", "zh"] | UnsetType = UNSET
    subjects: list[str] | UnsetType = UNSET
    topics: list[str] | UnsetType = UNSET
    languages: list[str] | UnsetType = UNSET
    severity: Severity | UnsetType = UNSET
    quiet: QuietHours | UnsetType | None = UNSET
    repeat_s: int | UnsetType = UNSET
    escalates_after_s: int | UnsetType = UNSET
    drills: bool | UnsetType = UNSET


class AskedRotation(Struct, kw_only=True, forbid_unknown_fields=True):
    """A new secret: made here for webhooks, given for chat robots. The old one signs too for so many `hours`."""

    secret: str = ""
    v1a: bool = False  # a webhook goes over to Ed25519
    hours: float = 24.0


class AskedReplay(Struct, kw_only=True, forbid_unknown_fields=True):
    """Events written since a moment (RFC 3339 with a zone, or "2h" ago), again; `all` also those that were delivered."""

    since: str
    all: bool = False
    by: str = ""


class AskedErrand(Struct, kw_only=True, forbid_unknown_fields=True):
    """Who asks for a test or for another try."""

    by: str = ""


class AskedSilence(Struct, kw_only=True, forbid_unknown_fields=True):
    """No messages about these until then: `until` is RFC 3339 with a zone, `for` a span such as "2h"; one of both."""

    subjects: list[str] = []
    matchers: list[str] = []
    until: str = ""
    span: str = field(default="", name="for")
    reason: str = ""
    by: str = ""
    all: bool = False  # everything: must be said, never comes of an empty list


class AskedAcknowledgement(Struct, kw_only=True, forbid_unknown_fields=True):
    """Somebody has seen it; `assigned` looks into it."""

    by: str = ""
    note: str = ""
    assigned: str = ""


class Listed(Struct, frozen=True, kw_only=True):
    """An endpoint as lists show it: nothing in it is secret. Times are epoch milliseconds, 0 for none."""

    id: str
    name: str
    shown: str
    channel: str
    created_at: int
    lang: str
    disabled: bool
    subjects: list[str]
    topics: list[str]
    languages: list[str]
    severity: str
    quiet: QuietHours | None
    repeat_s: int
    escalates_after_s: int
    drills: bool
    public_key: str
    old_secret_until: int
    state: str  # healthy, degraded, disabled, unreadable
    state_since: int
    reason: str  # why it is not healthy: one word and perhaps a name
    failures: int  # in a row
    waiting: int  # deliveries that wait


class Result(Struct, frozen=True, kw_only=True):
    """What came of an errand so far. `done` is false where the deadline came first; `says` is for people."""

    errand: str
    endpoint: str
    done: bool
    well: bool
    says: str
    tries: list[DeliveryOutcome] = []
