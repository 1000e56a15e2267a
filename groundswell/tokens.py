"""Tokens: who may use the pages and the interface, and as what. Pure; commands/tokens.py and dashboard/entry/tokens.py are the doors.

A token is `gsw_` and 32 random bytes, shown once. What is kept on the control topic is its SHA-256: with so much chance in it there
is nothing to guess, so no slow hash is needed. dashboard/entry/access.py says what a role may do.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping

from groundswell.errors import NoSuchToken, TokenRefused
from groundswell.records import Role, Token
from groundswell.text import safe

# What each role may: its own, and that of those named with it. A feeder pushes documents and reads nothing, so that a feed's token,
# which lies on many machines, opens nothing else.
MAY: dict[Role, frozenset[Role]] = {
    "viewer": frozenset({"viewer"}),
    "analyst": frozenset({"viewer", "analyst"}),
    "operator": frozenset({"viewer", "analyst", "operator", "feeder"}),
    "feeder": frozenset({"feeder"}),
}
ROLES: tuple[Role, ...] = tuple(MAY)
MARK = "gsw_"
RANDOM_BYTES = 32
NAME_CHARS = 80
TOKENS_MOST = 1_000  # each request is held against all of them
DAY_MS = 86_400_000
DAYS_MOST = 3_660


def made(known: Mapping[str, Token], name: str, role: Role, days: float, by: str, now_ms: int) -> tuple[Token, str]:
    """A new token's record, and the token itself, which nobody can tell again. `days` 0: it lasts until it is removed.

    Raises TokenRefused: no name, one that is taken, too many, or a time that cannot be."""
    name = safe(name, NAME_CHARS).strip()
    if not name:
        raise TokenRefused("A token needs the name of whoever uses it.")
    if any(one.name == name and not is_over(one, now_ms) for one in known.values()):
        raise TokenRefused(f"There is a token of the name {name} already.")
    if len(known) >= TOKENS_MOST:
        raise TokenRefused(f"There are {len(known)} tokens.", remedy="Remove those that nobody uses.")
    if not 0 <= days <= DAYS_MOST:
        raise TokenRefused(f"A token cannot last {days:g} days.", remedy=f"Say 1 to {DAYS_MOST}, or 0 for no end.")
    text = MARK + base64.urlsafe_b64encode(secrets.token_bytes(RANDOM_BYTES)).decode().rstrip("=")
    until = now_ms + round(days * DAY_MS) if days else 0
    token = Token(
        id=f"tok_{secrets.token_hex(6)}", name=name, role=role, sha256=digest(text), by=by, at=now_ms, until=until
    )
    return token, text


def digest(text: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def found(known: Iterable[Token], text: str, now_ms: int) -> Token | None:
    """The one that this is; None for a foreign, a removed and an ended one. How long it takes tells nothing of those that are known."""
    wanted, right = digest(text), None
    for one in known:
        if hmac.compare_digest(one.sha256.encode(), wanted.encode()):
            right = one
    return None if right is None or is_over(right, now_ms) else right


def is_over(token: Token, now_ms: int) -> bool:
    return 0 < token.until <= now_ms


def named(known: Mapping[str, Token], name: str) -> Token:
    """By id, or by a name that only one has. Raises NoSuchToken."""
    if name in known:
        return known[name]
    called = [one for one in known.values() if one.name == name]
    if len(called) != 1:
        many = (
            f"{len(called)} tokens have the name {safe(name, NAME_CHARS)}" if called else "there is none of this name"
        )
        raise NoSuchToken(f"No token: {many}.")
    return called[0]


def printed(token: Token, now_ms: int) -> dict[str, object]:
    """As lists show it: without what it is made of."""
    return {
        "id": token.id, "name": token.name, "role": token.role, "by": token.by, "at": token.at, "until": token.until,
        "over": is_over(token, now_ms),
    }  # fmt: skip
