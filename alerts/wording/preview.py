"""What a test sends, for people to look at: made by the channel's own `request`, with an address and secrets that are nobody's."""

from contextlib import suppress
from email.message import EmailMessage

import msgspec

from alerts.channels import channel_of
from alerts.channels.contract import Address, Request, Telling
from alerts.say import Say
from alerts.wording.sample import test_event
from groundswell.asked import Sample
from groundswell.records import Channel, Endpoint, Errand
from groundswell.secrets import new_signing_secret

LEFT_OUT = "…"
PLAIN = "https://receiver.example.com/"
ADDRESSES: dict[Channel, str] = {
    "telegram": f"https://api.telegram.org/bot0:{LEFT_OUT}/sendMessage?chat_id={LEFT_OUT}",
    "discord": "https://discord.com/api/webhooks/0/0",
    "email": "mailto:somebody@example.com",
}
HIDDEN = ("webhook-signature", "authorization")


def sample(endpoint: Endpoint, errand: str, now_ms: int) -> Sample:
    """The request of a test of this endpoint. No secret is opened for it."""
    asked = Errand(id=errand, task="test", endpoint=endpoint.id, by="", at=now_ms)
    event = test_event(asked, endpoint, now_ms)
    telling = Telling(event, Say.TEST, msgspec.json.encode(event))
    secrets = {"webhook": (new_signing_secret(),), "pagerduty": (LEFT_OUT,)}.get(endpoint.channel, ("",))
    address = Address(ADDRESSES.get(endpoint.channel, PLAIN), secrets, endpoint.lang, endpoint.id)
    made = channel_of(endpoint.channel).request(address, event.id, [telling], None, now_ms)
    return Sample(
        method="SMTP" if made.mail is not None else made.method,
        to=endpoint.shown,
        headers={name: LEFT_OUT if name in HIDDEN else value for name, value in _headers(made).items()},
        body=_body(made),
    )


def _headers(made: Request) -> dict[str, str]:
    if made.mail is None:
        return made.headers
    return {name: str(made.mail[name]) for name in ("Subject", "Message-ID") if made.mail[name]}


def _body(made: Request) -> str:
    if made.mail is not None:
        return _text(made.mail)
    text = made.body.decode("utf-8", "replace")
    with suppress(msgspec.DecodeError):
        text = msgspec.json.format(text, indent=2)
    return text


def _text(mail: EmailMessage) -> str:
    plain = mail.get_body(("plain",))
    return str(plain.get_content()) if plain is not None else ""
