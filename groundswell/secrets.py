"""What must not be read in Kafka or Redis: endpoint addresses and signing secrets, sealed with AES-256-GCM.

A sealed text is bound to its endpoint and its field: moved to another place it no longer opens.
"""

import base64
import binascii
import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

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
    """Seals and opens with one key."""

    def __init__(self, key: str) -> None:
        """`key` is base64 of 32 bytes. Raises NoSecretKey when it is empty or is not one."""
        if not key:
            raise NoSecretKey
        try:
            raw = base64.b64decode(key, validate=True)
        except (binascii.Error, ValueError) as error:
            raise NoSecretKey("The secret key is not base64.") from error
        if len(raw) != KEY_BYTES:
            raise NoSecretKey(f"The secret key has {len(raw)} bytes, 32 are needed.")
        self._cipher = AESGCM(raw)
        self.kid = hashlib.sha256(b"groundswell key id" + raw).hexdigest()[:8]

    def seal(self, text: str, endpoint: str, field: str) -> Secret:
        """Encrypt one field (`url` or `secret`) of one endpoint."""
        nonce = os.urandom(NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, text.encode(), _bound_to(endpoint, field))
        return Secret(kid=self.kid, nonce=base64.b64encode(nonce).decode(), ct=base64.b64encode(sealed).decode())

    def open(self, secret: Secret, endpoint: str, field: str) -> str:
        """The text again. Raises NoSecretKey: sealed with another key, changed, or moved from another endpoint."""
        try:
            nonce, sealed = base64.b64decode(secret.nonce, validate=True), base64.b64decode(secret.ct, validate=True)
            return self._cipher.decrypt(nonce, sealed, _bound_to(endpoint, field)).decode()
        except (InvalidTag, ValueError) as error:
            why = "it was sealed with another key" if secret.kid != self.kid else "it was changed or moved"
            raise NoSecretKey(f"The {field} of endpoint {endpoint} cannot be read: {why}.") from error


def _bound_to(endpoint: str, field: str) -> bytes:
    return f"endpoint:{endpoint}:{field}:v1".encode()
