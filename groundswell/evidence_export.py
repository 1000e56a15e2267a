"""Evidence that leaves the house: two lines of a file, the record and its seal, which anybody can check without us. docs/evidence.md.

The first line is canonical JSON: keys sorted by code point, no spaces, UTF-8, numbers as msgspec writes them, the shortest that read as the
same double. The second names the public key and holds an Ed25519 signature (RFC 8032) of the bytes of the first, without its line end. So
who verifies never writes a number or sorts a key: the signed bytes stand in the file.
"""

import base64
import binascii
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Struct

from groundswell.errors import BrokenEvidence, NoSecretKey
from groundswell.secrets import derived

FORMAT = "groundswell-evidence/1"
PUBLIC = "gwpk_"
PURPOSE = "evidence signing key, version 1"
MOST_BYTES = 16_777_216  # a file is read whole; a thousand transitions


class Told(Struct, kw_only=True, frozen=True):
    """One transition of an episode: the alert event's id, type and time, and the frozen record behind it."""

    event: str
    type: str
    at: str
    evidence: dict[str, Any]


class Exported(Struct, kw_only=True, frozen=True):
    """The first line. `installation` is the prefix of its topics."""

    format: str = FORMAT
    installation: str
    exported_at: str
    episode: str
    subject: str
    transitions: list[Told]


class Seal(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """The second line."""

    algorithm: str
    key: str
    signature: str


def canonical(value: Any) -> bytes:
    """The one way to write a value as JSON."""
    return msgspec.json.encode(value, order="sorted")


def signing_keys(secret_keys: str) -> list[Ed25519PrivateKey]:
    """The installation's evidence keys, one of each key of the ring in GROUNDSWELL_SECRET_KEY, the one in use first. They are made of
    it and kept nowhere: who has that ring can sign, and nobody else. Raises NoSecretKey."""
    if not secret_keys:
        raise NoSecretKey("There is no key to sign evidence with.")
    return [Ed25519PrivateKey.from_private_bytes(seed) for seed in derived(secret_keys, PURPOSE)]


def shown(key: Ed25519PrivateKey | Ed25519PublicKey) -> str:
    """The public key as people pass it on: gwpk_ and base64 of its 32 bytes."""
    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return PUBLIC + base64.b64encode(public.public_bytes_raw()).decode()


def sealed(exported: Exported, key: Ed25519PrivateKey) -> bytes:
    """The file."""
    body = canonical(exported)
    signature = base64.b64encode(key.sign(body)).decode()
    return body + b"\n" + canonical(Seal(algorithm="Ed25519", key=shown(key), signature=signature)) + b"\n"


def read(file: bytes) -> Exported:
    """The record in a file, whoever signed it. Raises BrokenEvidence."""
    return _exported(_lines(file)[0])


def verified(file: bytes, expected: str = "") -> tuple[Exported, str]:
    """The record and the public key that signed it; `expected` must be that key where it is given. Raises BrokenEvidence: what is
    wrong, the first thing first."""
    body, last = _lines(file)
    try:
        seal = msgspec.json.decode(last, type=Seal)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BrokenEvidence(f"The second line is no seal: {error}.") from error
    if seal.algorithm != "Ed25519":
        raise BrokenEvidence(f"The seal names the algorithm {seal.algorithm!r}; only Ed25519 is known.")
    key, signature = _public(seal.key, "The seal's key"), _decoded(seal.signature, 64, "The seal's signature")
    if expected and shown(_public(expected, "The key that was given")) != shown(key):
        raise BrokenEvidence(
            f"It was signed with another key: {shown(key)}.",
            remedy="Ask the installation for its keys: `groundswell evidence key`.",
        )
    try:
        key.verify(signature, body)
    except InvalidSignature as error:
        raise _touched(body) from error
    return _exported(body), shown(key)


def _touched(body: bytes) -> BrokenEvidence:
    try:
        rewritten = canonical(msgspec.json.decode(body)) != body
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return BrokenEvidence(f"The first line is not what was signed: it is no JSON any more ({error}).")
    how = "it was written anew by some other program, or changed" if rewritten else "something in it was changed"
    return BrokenEvidence(f"The first line is not what was signed: {how}. Or the signature is of something else.")


def _lines(file: bytes) -> tuple[bytes, bytes]:
    if len(file) > MOST_BYTES:
        raise BrokenEvidence(f"The file has more than {MOST_BYTES:,} bytes.")
    lines = file.removesuffix(b"\n").split(b"\n")
    if len(lines) != 2:
        count = "1 line" if len(lines) == 1 else f"{len(lines)} lines"
        raise BrokenEvidence(f"The file has {count}; exported evidence has two, the record and its seal.")
    return lines[0], lines[1]


def _exported(body: bytes) -> Exported:
    try:
        found = msgspec.json.decode(body, type=Exported)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BrokenEvidence(f"The first line is no evidence: {error}.") from error
    if found.format != FORMAT:
        raise BrokenEvidence(f"The evidence is of the format {found.format!r}; {FORMAT} is known.")
    return found


def _public(text: str, whose: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(_decoded(text.strip().removeprefix(PUBLIC), 32, whose))


def _decoded(text: str, size: int, what: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BrokenEvidence(f"{what} is not base64.") from error
    if len(found) != size:
        raise BrokenEvidence(f"{what} has {len(found)} bytes, not {size}.")
    return found
