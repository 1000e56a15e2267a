"""Standard Webhooks signatures, version 1: HMAC-SHA256 over `id.timestamp.body`. webhook.py puts them into headers.

Source: the Standard Webhooks specification, standard-webhooks.md. Signed over bytes and a whole number of seconds: no
date library comes between the clock and the signature.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

PREFIX = "whsec_"


def key_bytes(secret: str) -> bytes:
    """The key in a `whsec_` secret. Raises ValueError when it is not base64."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error as error:
        raise ValueError("a signing secret is whsec_ and base64") from error


def sign(secrets: Sequence[str], event_id: str, timestamp_s: int, body: bytes) -> str:
    """The `webhook-signature` header: one signature a secret, separated by one space. Ids must hold no dot."""
    signed = f"{event_id}.{timestamp_s}.".encode() + body
    return " ".join(f"v1,{_mac(key_bytes(secret), signed)}" for secret in secrets)


def _mac(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
