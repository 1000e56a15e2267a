"""Endpoints as records: made of what people ask for, changed, given new secrets, sealed anew. The address guard judges at once.

desk.py is who calls this and writes the outcome; `add` does both in one for the demo and for tests.
"""

import socket
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal

from msgspec import UNSET
from msgspec.structs import asdict, replace

from alerts.channels import channel_of, email
from alerts.guard import Allowed, ConnectionRefusedByGuard, GuardedResolver, LookUps, Target, UrlRefused, check_url
from alerts.people import wants
from alerts.signing import PRIVATE, new_ed25519_pair, public_key_of
from groundswell.asked import AskedAddress, AskedEndpoint, AskedRotation, EndpointChange, Judged
from groundswell.clients.connect import close_producer, open_producer
from groundswell.clock import Clock, SystemClock
from groundswell.control import write
from groundswell.errors import Refused, WrongShape
from groundswell.records import Channel, Endpoint, Secret
from groundswell.secrets import SecretBox, new_signing_secret
from groundswell.settings import Settings
from stream.topology import Topology

HOUR_MS = 3_600_000
ROTATION_MOST_H = 14 * 24
MAILS_SHOWN = 3
ONLY_WEBHOOKS = "Only webhooks sign with Ed25519, with a key made here."
# Services that would refuse a plain webhook's body: their address says which channel is meant.
HOSTS: dict[str, Channel] = {
    "open.feishu.cn": "feishu", "open.larksuite.com": "feishu", "oapi.dingtalk.com": "dingtalk", "qyapi.weixin.qq.com": "wecom",
    "hooks.slack.com": "slack", "api.telegram.org": "telegram", "discord.com": "discord", "discordapp.com": "discord",
    "events.pagerduty.com": "pagerduty", "events.eu.pagerduty.com": "pagerduty",
}  # fmt: skip


async def made(
    asked: AskedEndpoint, box: SecretBox, allowed: Allowed, now_ms: int, look_ups: LookUps | None = None
) -> tuple[Endpoint, str]:
    """A new endpoint and its secret, which is shown this once; "" where the channel has none.

    Raises Refused (AddressRefused, WrongShape and what the channel's own check raises).
    """
    address, shown, channel = await _judged(asked.url, asked.channel, allowed, look_ups)
    secret, public_key = _first_secret(asked, channel)
    channel_of(channel).check(address, secret)
    endpoint_id = f"hook_{uuid.uuid4().hex[:20]}"
    quiet = None if asked.quiet is None else wants.checked_quiet(asked.quiet)
    endpoint = Endpoint(
        id=endpoint_id,
        name=wants.name(asked.name),
        url=box.seal(address, endpoint_id, "url"),
        secret=box.seal(secret, endpoint_id, "secret"),
        shown=shown,
        created_at=now_ms,
        channel=channel,
        lang=asked.lang,
        subjects=wants.subjects(asked.subjects),
        topics=wants.topics(asked.topics),
        languages=wants.languages(asked.languages),
        severity=asked.severity,
        quiet=quiet,
        repeat_s=wants.repeat(asked.repeat_s),
        escalates_after_s=wants.escalation(asked.escalates_after_s),
        drills=asked.drills,
        public_key=public_key,
    )
    return endpoint, secret


async def changed(
    endpoint: Endpoint, change: EndpointChange, box: SecretBox, allowed: Allowed, look_ups: LookUps | None = None
) -> Endpoint:
    """The endpoint with what was asked for. Raises Refused, and NoSecretKey where a new address needs the old secret."""
    asked = {name: value for name, value in asdict(change).items() if value is not UNSET}
    if "url" in asked:
        address, shown, _ = await _judged(asked.pop("url"), endpoint.channel, allowed, look_ups)
        channel_of(endpoint.channel).check(address, box.open(endpoint.secret, endpoint.id, "secret"))
        asked |= {"url": box.seal(address, endpoint.id, "url"), "shown": shown}
    checks: dict[str, Callable[[Any], Any]] = {
        "name": wants.name, "subjects": wants.subjects, "topics": wants.topics, "languages": wants.languages,
        "repeat_s": wants.repeat, "escalates_after_s": wants.escalation,
        "quiet": lambda quiet: None if quiet is None else wants.checked_quiet(quiet),
    }  # fmt: skip
    return replace(
        endpoint, **{name: checks[name](value) if name in checks else value for name, value in asked.items()}
    )


async def judged(asked: AskedAddress, allowed: Allowed, look_ups: LookUps | None = None) -> Judged:
    """The verdict on an address before it is added: what `made` would raise, as an answer."""
    try:
        address, shown, channel = await _judged(asked.url, asked.channel, allowed, look_ups)
        # A webhook gets its secret here; a service's own may come later in the form, but an address of another kind is wrong now.
        if asked.secret or channel not in ("webhook", "pagerduty"):
            channel_of(channel).check(address, asked.secret)
    except Refused as error:
        rule = error.rule if isinstance(error, UrlRefused) else error.reason
        return Judged(ok=False, channel=asked.channel, rule=rule, why=str(error), remedy=error.remedy)
    return Judged(ok=True, channel=channel, shown=shown)


def rotated(endpoint: Endpoint, asked: AskedRotation, box: SecretBox, now_ms: int) -> tuple[Endpoint, str]:
    """The endpoint with a new secret, and that secret; a webhook's old one signs too until its hours are over.

    Raises WrongShape, NoSecretKey, and what the channel's own check raises.
    """
    if not 0 <= asked.hours <= ROTATION_MOST_H:
        raise WrongShape(
            f"The old secret cannot stay for {asked.hours:g} hours.", remedy=f"Give 0 to {ROTATION_MOST_H} hours."
        )
    public_key = ""
    if asked.v1a and (endpoint.channel != "webhook" or asked.secret):
        raise WrongShape(ONLY_WEBHOOKS, remedy="Leave --v1a out, or --secret.")
    if endpoint.channel != "webhook":
        if not asked.secret:
            raise WrongShape(
                f"The secret of a {endpoint.channel} endpoint is made by that service.",
                remedy="Make a new one there and give it with --secret; one that is part of the address changes with --url.",
            )
        secret = asked.secret
    elif asked.secret:
        secret, public_key = asked.secret, _public(asked.secret)
    elif endpoint.public_key or asked.v1a:
        secret, public_key = new_ed25519_pair()
    else:
        secret = new_signing_secret()
    channel_of(endpoint.channel).check(box.open(endpoint.url, endpoint.id, "url"), secret)
    signs_on = endpoint.channel == "webhook" and asked.hours > 0
    return replace(
        endpoint,
        secret=box.seal(secret, endpoint.id, "secret"),
        public_key=public_key,
        old_secret=endpoint.secret if signs_on else None,
        old_until=now_ms + round(asked.hours * HOUR_MS) if signs_on else 0,
    ), secret


def resealed(endpoint: Endpoint, box: SecretBox) -> Endpoint:
    """The same endpoint, sealed with the ring's first key; the very same object when it is already. Raises NoSecretKey."""
    sealed = {"url": endpoint.url, "secret": endpoint.secret, "old_secret": endpoint.old_secret}
    anew: dict[str, Secret] = {}
    for field, found in sealed.items():
        if found is not None and not box.is_current(found):
            bound = "url" if field == "url" else "secret"  # an old secret is the secret that it was, moved as it lay
            anew[field] = box.seal(box.open(found, endpoint.id, bound), endpoint.id, bound)
    return replace(endpoint, **anew) if anew else endpoint


async def add(
    settings: Settings,
    topology: Topology,
    url: str,
    name: str,
    *,
    subjects: Sequence[str] = (),
    clock: Clock | None = None,
    look_ups: LookUps | None = None,
) -> tuple[Endpoint, str]:
    """Make a webhook known and return it with its signing secret, which is shown this once.

    `subjects` limits it to these and their pairs with topics. Raises AddressRefused, NoSecretKey, BrokerAway,
    ProduceFailed.
    """
    asked = AskedEndpoint(url=url, name=name, channel="webhook", subjects=list(subjects))
    box, allowed = SecretBox(settings.secret_key), Allowed.of(settings)
    endpoint, secret = await made(asked, box, allowed, (clock or SystemClock()).now_ms(), look_ups)
    producer = await open_producer(settings)
    try:
        await write(producer, topology, endpoint)
    finally:
        await close_producer(producer)
    return endpoint, secret


async def _judged(
    url: str, channel: Channel | Literal[""], allowed: Allowed, look_ups: LookUps | None
) -> tuple[str, str, Channel]:
    """The address, what of it may be shown, and the channel it is for. Raises AddressRefused."""
    address = url.strip()
    if channel == "email" or (not channel and address.lower().startswith(email.MAILTO)):
        return _mail(address)
    target = check_url(address, allowed)
    await _check_name(target, allowed, look_ups)
    return target.url, target.shown, channel or HOSTS.get(target.host, "webhook")


def _mail(address: str) -> tuple[str, str, Channel]:
    """One mail goes to all of them: up to twenty by comma."""
    found = email.addresses(address)
    shown = [f"{one[0]}…@{one.rpartition('@')[2]}" for one in found[:MAILS_SHOWN]]
    shown += [f"+{len(found) - MAILS_SHOWN}"] if len(found) > MAILS_SHOWN else []
    return email.MAILTO + ",".join(found), email.MAILTO + ",".join(shown), "email"


def _first_secret(asked: AskedEndpoint, channel: Channel) -> tuple[str, str]:
    """Secret and public key of a new endpoint. Raises WrongShape."""
    if asked.v1a and (channel != "webhook" or asked.secret):
        raise WrongShape(ONLY_WEBHOOKS, remedy="Leave --v1a out, or --secret and --channel.")
    if asked.v1a:
        return new_ed25519_pair()
    if asked.secret or channel != "webhook":
        return asked.secret, _public(asked.secret)
    return new_signing_secret(), ""


def _public(secret: str) -> str:
    """The public half of a given whsk_; nothing of other secrets, and the channel's check refuses what is broken."""
    with suppress(ValueError):
        return public_key_of(secret) if secret.startswith(PRIVATE) else ""
    return ""


async def _check_name(target: Target, allowed: Allowed, look_ups: LookUps | None) -> None:
    """What the name resolves to now is judged now. A name unknown here may be known where deliver runs."""
    asked = look_ups or LookUps()
    try:
        await GuardedResolver(target, allowed, asked).resolve(target.host, target.port, socket.AF_UNSPEC)
    except ConnectionRefusedByGuard as error:
        raise UrlRefused("resolved", "The address resolves to one that is not public.") from error
    except OSError:
        return
    finally:
        if look_ups is None:
            asked.close()
