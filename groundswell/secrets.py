"""What must not be read in Kafka or Redis: endpoint addresses and signing secrets, sealed with AES-256-GCM.

A sealed text is bound to its endpoint and its field: moved to another place it no longer opens.
"""

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from groundswell.errors import NoSecretKey
from groundswell.records import Secret

KEY_BYTES = 32
NONCE_BYTES = 12
SIGNING_BYTES = 32


def new_key() -> str:
    """A fresh key for GROUNDSWELL_SECRET_KEY: base64 of 32 random bytes."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def new_signing_secret() -> str:
    """A fresh Standard Webhooks secret: whsec_ and base64 of 32 random bytes."""
    return "whsec_" + base64.b64encode(os.urandom(SIGNING_BYTES)).decode()


class SecretBox:
    """Seals with the first key of a ring and opens with any: a new key is put before the old one until all is sealed anew."""

    def __init__(self, keys: str) -> None:
        """`keys` is base64 of 32 bytes, or several of these by comma. Raises NoSecretKey when one is not, or none is given."""
        ring = _ring(keys)
        self._ciphers = {_kid(raw): AESGCM(raw) for raw in ring}
        self.kid = _kid(ring[0])

    def seal(self, text: str, endpoint: str, field: str) -> Secret:
        """Encrypt one field (`url` or `secret`) of one endpoint."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._ciphers[self.kid].encrypt(nonce, text.encode(), _bound_to(endpoint, field))
        return Secret(kid=self.kid, nonce=base64.b64encode(nonce).decode(), ct=base64.b64encode(sealed).decode())

    def open(self, secret: Secret, endpoint: str, field: str) -> str:
        """The text again. Raises NoSecretKey: sealed with another key, changed, or moved from another endpoint."""
        cipher = self._ciphers.get(secret.kid)
        if cipher is None:
            raise NoSecretKey(f"The {field} of endpoint {endpoint} cannot be read: it was sealed with another key.")
        try:
            nonce, sealed = base64.b64decode(secret.nonce, validate=True), base64.b64decode(secret.ct, validate=True)
            return cipher.decrypt(nonce, sealed, _bound_to(endpoint, field)).decode()
        except (InvalidTag, ValueError) as error:
            raise NoSecretKey(f"The {field} of endpoint {endpoint} cannot be read: it was changed or moved.") from error

    def is_current(self, secret: Secret) -> bool:
        """Whether it is sealed with the first key; the others may go once all are."""
        return secret.kid == self.kid


def derived(keys: str, purpose: str) -> list[bytes]:
    """32 bytes for another purpose, of each key of a ring in its order (HKDF, RFC 5869): they tell nothing of the key itself. Raises
    NoSecretKey."""
    return [HKDF(SHA256(), KEY_BYTES, None, f"groundswell {purpose}".encode()).derive(key) for key in _ring(keys)]


def _ring(keys: str) -> list[bytes]:
    ring = [_key_bytes(key.strip()) for key in keys.split(",") if key.strip()]
    if not ring:
        raise NoSecretKey
    return ring


def _key_bytes(key: str) -> bytes:
    try:
        raw = base64.b64decode(key, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoSecretKey("The secret key is not base64.") from error
    if len(raw) != KEY_BYTES:
        raise NoSecretKey(f"The secret key has {len(raw)} bytes, 32 are needed.")
    return raw


def _kid(raw: bytes) -> str:
    return hashlib.sha256(b"groundswell key id" + raw).hexdigest()[:8]


def _bound_to(endpoint: str, field: str) -> bytes:
    return f"endpoint:{endpoint}:{field}:v1".encode()
