"""Standard Webhooks signatures over `id.timestamp.body`: v1 is HMAC-SHA256, v1a is Ed25519. webhook.py puts them into headers.

Source: the Standard Webhooks specification, standard-webhooks.md. Signed over bytes and a whole number of seconds: no
date library comes between the clock and the signature. With v1a the receiver holds only a public key: who reads it there can sign nothing.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

PREFIX = "whsec_"
PRIVATE, PUBLIC = "whsk_", "whpk_"
SEED_BYTES = 32
LEAST_KEY_BYTES, MOST_KEY_BYTES = 24, 64  # of v1


def new_ed25519_pair() -> tuple[str, str]:
    """A fresh key pair: whsk_ signs and never leaves us, whpk_ verifies and may be seen by anybody."""
    private = PRIVATE + base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode()
    return private, public_key_of(private)


def public_key_of(private: str) -> str:
    """The whpk_ that verifies what this whsk_ signs. Raises ValueError when it is none."""
    return PUBLIC + base64.b64encode(_private_key(private).public_key().public_bytes_raw()).decode()


def key_bytes(secret: str) -> bytes:
    """The key in a `whsec_` secret. Raises ValueError when it is not base64."""
    return _decoded(secret, PREFIX, "a signing secret is whsec_ and base64")


def check_secret(secret: str) -> None:
    """Raises ValueError, saying what is wrong, unless `sign` can use this secret."""
    if secret.startswith(PRIVATE):
        _private_key(secret)
    elif not secret.startswith(PREFIX) or not LEAST_KEY_BYTES <= len(key_bytes(secret)) <= MOST_KEY_BYTES:
        raise ValueError(f"a signing secret is whsec_ and base64 of {LEAST_KEY_BYTES} to {MOST_KEY_BYTES} bytes")


def sign(secrets: Sequence[str], event_id: str, timestamp_s: int, body: bytes) -> str:
    """The `webhook-signature` header: one signature a secret, separated by one space. Ids must hold no dot.

    v1 comes first: some verifiers stop at a version they do not know. Raises ValueError for a secret of no kind.
    """
    signed = f"{event_id}.{timestamp_s}.".encode() + body
    return " ".join(_signature(secret, signed) for secret in sorted(secrets, key=lambda one: one.startswith(PRIVATE)))


def _signature(secret: str, signed: bytes) -> str:
    if secret.startswith(PRIVATE):
        return f"v1a,{base64.b64encode(_private_key(secret).sign(signed)).decode()}"
    return f"v1,{base64.b64encode(hmac.new(key_bytes(secret), signed, hashlib.sha256).digest()).decode()}"


def _private_key(secret: str) -> Ed25519PrivateKey:
    found = _decoded(secret, PRIVATE, "a private signing key is whsk_ and base64")
    if len(found) not in (SEED_BYTES, 2 * SEED_BYTES):  # some write the public key after the seed
        raise ValueError(f"a private signing key has {SEED_BYTES} or {2 * SEED_BYTES} bytes")
    key = Ed25519PrivateKey.from_private_bytes(found[:SEED_BYTES])
    if found[SEED_BYTES:] not in (b"", key.public_key().public_bytes_raw()):
        raise ValueError("the public half does not belong to this private signing key")
    return key


def _decoded(secret: str, prefix: str, otherwise: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(otherwise) from error
