"""Why a broker does not let us in: one connection as all clients make it, and the refusal in words.

The clients themselves only say that no broker answers, and try again until their deadline: a wrong password would look like a cable
that is out. Next: connect.py; what an accepted user may do is looked at by stream/rights.py.
"""

import asyncio
import ssl
from typing import Any

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from groundswell.clients.addresses import Host
from groundswell.errors import BadSetting, GroundswellError, NotAllowed, NotTrusted
from groundswell.settings import Settings

ANSWER_S = 5.0
HANG_UPS, PAUSE_S = 3, 1.0  # in a row: a broker that just stops or starts hangs up too


class HangsUp(BadSetting):
    """A broker closes the connection without a word."""


def principal(settings: Settings) -> str:
    """Who we are to the broker, as its ACLs name it where we can know."""
    if settings.kafka_security.startswith("SASL"):
        return f"User:{settings.kafka_user}"
    if settings.kafka_security == "SSL" and settings.kafka_cert:
        return f"the user of {settings.kafka_cert}"
    return "User:ANONYMOUS"


async def refusal(settings: Settings, hosts: list[Host], options: dict[str, Any]) -> GroundswellError | None:
    """What a broker has against us; None when one lets us in, or none answers at all."""
    for left in reversed(range(HANG_UPS)):
        found = await _refusal(settings, hosts, options)
        if not (isinstance(found, HangsUp) and left):
            return found
        await asyncio.sleep(PAUSE_S)
    return None


async def _refusal(settings: Settings, hosts: list[Host], options: dict[str, Any]) -> GroundswellError | None:
    found: GroundswellError | None = None
    for host, port in hosts:
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = await create_conn(host, port, **options)
        except (KafkaError, OSError, TimeoutError) as error:
            found = found or _in_words(settings, f"{host}:{port}", error)
            continue
        connection.close()
        return None
    return found


def _in_words(settings: Settings, address: str, error: Exception) -> GroundswellError | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotTrusted(
            f"Kafka at {address} shows a certificate that does not hold: {error.verify_message.rstrip('.')}."
        )
    if isinstance(error, ssl.SSLError):
        return BadSetting(
            f"Kafka at {address} speaks no TLS that we understand: {error.reason or error}.",
            remedy="Check that GROUNDSWELL_KAFKA_SECURITY is that of the listener on this port.",
        )
    if isinstance(error, UnsupportedSaslMechanismError | IllegalSaslStateError):
        return BadSetting(
            f"Kafka at {address} does not offer {settings.kafka_mechanism}.",
            remedy="Set GROUNDSWELL_KAFKA_MECHANISM and GROUNDSWELL_KAFKA_SECURITY as the listener has them.",
        )
    if isinstance(error, AuthenticationFailedError | SaslAuthenticationFailed):
        return NotAllowed(
            f"Kafka at {address} does not let {principal(settings)} in: wrong name or password for {settings.kafka_mechanism}.",
            remedy="Check GROUNDSWELL_KAFKA_USER, GROUNDSWELL_KAFKA_PASSWORD and GROUNDSWELL_KAFKA_MECHANISM.",
        )
    if isinstance(error, KafkaConnectionError | ConnectionResetError):
        return HangsUp(
            f"Kafka at {address} hangs up on a client of {settings.kafka_security}.",
            remedy="It is just starting, or GROUNDSWELL_KAFKA_SECURITY is not that of this port, or it asks for GROUNDSWELL_KAFKA_CERT.",
        )
    return None
