"""Who asks: pure decisions over headers, the address and the tokens that are known. door.py asks them of each request, roles.py says what
that person may; docs/access.md says it to people.

Three ways, by the setting `access`. `loopback`: nobody is asked, whoever reaches the page may do everything. `token`: programs send a
token, people log in with one and get a signed cookie. `proxy`: a proxy with a login names the person in a header.
"""

import base64
import hashlib
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from starlette.datastructures import Headers
from starlette.requests import Request

from groundswell import tokens
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.errors import BadSetting, Refused, Retryable
from groundswell.records import Role
from groundswell.secrets import derived
from groundswell.settings import Settings
from groundswell.text import safe

T = TypeVar("T")
SESSION_MS = 12 * 3_600_000
PROXY_MS = 3_600_000  # a stream ends after this long, so that the proxy is asked again who it is
ENDED_MOST = 10_000
PURPOSE = "page sessions"
USER_CHARS = 200
HERE = ("127.0.0.0/8", "::1")


class NotKnown(Refused):
    """It is not known who asks."""

    reason = "not_known"
    remedy = "Send Authorization: Bearer gsw_..., or log in at /login. `groundswell tokens add` makes a token."


class NotLetIn(Refused):
    """It is known who asks, or who claims to; the door stays shut."""

    reason = "not_let_in"
    remedy = "docs/access.md says who is let in."


class NotReadYet(Retryable):
    """The tokens have not been read yet."""

    reason = "tokens_not_read"
    remedy = "They come from the control topic, within seconds of the start; `groundswell health` says whether the broker answers."


@dataclass(frozen=True)
class Person:
    """Who asks. `name` is empty where nobody was asked. `until_ms`: then it must be asked again; 0: never."""

    name: str
    role: Role
    how: Literal["loopback", "token", "session", "proxy"]
    token: str = ""  # its id
    until_ms: int = 0
    session: str = ""  # which of the token's sessions

    def may(self, needed: Role) -> bool:
        return needed in tokens.MAY[self.role]


class Access:
    """`view` has the tokens; `is_read` whether it has been read to its end once. Raises BadSetting, NoSecretKey when it is made."""

    def __init__(
        self, settings: Settings, view: ControlView, clock: Clock, is_read: Callable[[], bool] = lambda: True
    ) -> None:
        self.way = settings.access
        self._settings, self._view, self._clock, self._is_read = settings, view, clock, is_read
        self._proxies = [_network(one) for one in settings.proxy_from or HERE]
        self._group_roles = [_group_role(one) for one in settings.proxy_roles]
        self._keys = derived(settings.secret_key, PURPOSE) if self.way == "token" else []
        self._ended: OrderedDict[str, int] = OrderedDict()  # sessions that were logged out of in this process
        self.secure = settings.page_url.startswith("https://")
        name = f"{settings.prefix}-session"
        self.cookie = f"__Host-{name}" if self.secure else name

    # -- who -------------------------------------------------------------------------------------------------------

    def person(self, headers: Headers, cookie: str, peer: str) -> Person:
        """Who sends a request from `peer` with these headers. Raises NotKnown, NotLetIn, NotReadYet."""
        if self.way == "loopback":
            return Person("", "operator", "loopback")
        token = _bearer(headers)
        if token is not None:
            return self._by_token(token)
        if self.way == "proxy":
            return self._by_proxy(headers, peer)
        if cookie:
            return self._by_session(cookie)
        raise NotKnown(remedy=self._first_token())

    def log_in(self, text: str) -> tuple[Person, str]:
        """The person of a token, and the value of her cookie. Raises NotKnown, NotLetIn, NotReadYet."""
        known = self._by_token(text)
        if not known.may("viewer"):
            raise NotLetIn("A feeder's token opens no page.", remedy="Log in with a token of another role.")
        until = min(one for one in (self._clock.now_ms() + SESSION_MS, known.until_ms) if one)
        session = secrets.token_hex(8)
        value = f"{known.token}.{until}.{session}"
        person = Person(known.name, known.role, "session", known.token, until, session)
        return person, f"{value}.{_signature(self._keys[0], value)}"

    def log_out(self, person: Person) -> None:
        """That session ends here and now; other processes learn of a removed token only."""
        if person.session:
            self._ended[person.session] = person.until_ms
            while len(self._ended) > ENDED_MOST:
                self._ended.popitem(last=False)

    def holds(self, person: Person) -> bool:
        """Whether that person would still be let in: her token is there, and her session has not ended."""
        if 0 < person.until_ms <= self._clock.now_ms() or person.session in self._ended:
            return False
        if not person.token:
            return True
        token = self._view.tokens.get(person.token)
        return token is not None and token.role == person.role

    def has_tokens(self) -> bool:
        return bool(self._view.tokens)

    def address(self, headers: Headers, peer: str) -> str:
        """Whom an address's limits are for: the last hop that is no proxy of ours. What others say of themselves is not believed."""
        if self.way == "loopback" and not self._settings.behind_proxy:
            return peer
        hops = [hop.strip() for line in headers.getlist("x-forwarded-for") for hop in line.split(",")]
        found = peer
        while hops and self._is_proxy(found):
            hop = hops.pop()
            if _ip(hop) is None:
                break
            found = hop
        return found

    # -- the three ways --------------------------------------------------------------------------------------------

    def _by_token(self, text: str) -> Person:
        if not self._is_read():
            raise NotReadYet
        token = tokens.found(self._view.tokens.values(), text, self._clock.now_ms())
        if token is None:
            raise NotKnown("There is no such token, or it has ended.", remedy=self._first_token())
        return Person(token.name, token.role, "token", token.id, token.until)

    def _by_session(self, cookie: str) -> Person:
        value, _, signature = cookie.rpartition(".")
        signed = [hmac.compare_digest(_signature(key, value).encode(), signature.encode()) for key in self._keys]
        parts = value.split(".")
        if not any(signed) or len(parts) != 3 or not parts[1].isdigit():
            raise NotKnown("The session is none of ours.")
        if not self._is_read():
            raise NotReadYet
        token = self._view.tokens.get(parts[0])
        if token is None:
            raise NotKnown("The session has ended: its token was removed.")
        person = Person(token.name, token.role, "session", token.id, int(parts[1]), parts[2])
        if tokens.is_over(token, self._clock.now_ms()) or not self.holds(person):
            raise NotKnown("The session has ended.")
        return person

    def _by_proxy(self, headers: Headers, peer: str) -> Person:
        if not self._is_proxy(peer):
            raise NotLetIn(
                "Requests come through the proxy only.",
                remedy="GROUNDSWELL_PROXY_FROM names the addresses that are proxies; programs may send a token.",
            )
        users = [safe(one, USER_CHARS).strip() for one in _texts(headers, self._settings.proxy_user_header)]
        if len(users) > 1:  # one of them would be from the outside
            raise NotLetIn("Two headers name the person.", remedy="Let the proxy take away what clients send.")
        if not users or not users[0]:
            raise NotKnown("The proxy names nobody.", remedy="Log in at the proxy.")
        # Never cut: the beginning of one group's name may be another group.
        lines = _texts(headers, self._settings.proxy_groups_header)
        groups = {group.strip() for line in lines for group in line.split(",")}
        role = _highest([role for group, role in self._group_roles if group in groups]) or self._settings.proxy_role
        if not role:
            raise NotLetIn(
                f"{users[0]} is in no group that has a role.", remedy="An operator sets GROUNDSWELL_PROXY_ROLES."
            )
        return Person(users[0], role, "proxy", until_ms=self._clock.now_ms() + PROXY_MS)

    def _is_proxy(self, peer: str) -> bool:
        found = _ip(peer)
        return found is not None and any(found in network for network in self._proxies)

    def _first_token(self) -> str:
        return (
            "" if self._view.tokens else "There are no tokens yet: `groundswell tokens add --name YOU --role operator`."
        )


# -- for handlers --------------------------------------------------------------------------------------------------


def person_of(request: Request) -> Person | None:
    """Who sends this request; None where that is not known, as on the page of the login."""
    person = request.scope.get("state", {}).get("person")
    return person if isinstance(person, Person) else None


def who(request: Request) -> str:
    """The name of whoever sends this request; empty where nobody was asked. It wins over what a body says."""
    person = person_of(request)
    return person.name if person else ""


def signed(request: Request, asked: T) -> T:
    """The body of a write, its `by` replaced by who sends it, where that is known."""
    name = who(request)
    if name and hasattr(asked, "by"):
        asked.by = name
    return asked


def about(request: Request, object_id: str) -> None:
    """Tell the audit trail what a write made, where the path does not say it."""
    request.scope.setdefault("state", {})["object"] = object_id


def local(path: str) -> str:
    """Where to go after the login: a path of ours, else the overview. Nothing that a browser could take for another site."""
    fine = path.startswith("/") and not path.startswith(("//", "/login", "/logout", "/api/", "/live"))
    return path if fine and len(path) <= 2_000 and "\\" not in path and path.isascii() and path.isprintable() else "/"


# -- small things --------------------------------------------------------------------------------------------------


def _signature(key: bytes, value: str) -> str:
    mac = hmac.new(key, f"session {value}".encode("utf-8", "surrogatepass"), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def _bearer(headers: Headers) -> str | None:
    """The token of the request, if it carries one of ours: a proxy may send a bearer of its own."""
    lines = headers.getlist("authorization")
    scheme, _, text = (lines[0] if len(lines) == 1 else "").partition(" ")
    text = text.strip()
    return text if scheme.lower() == "bearer" and text.startswith(tokens.MARK) and len(text) <= 200 else None


def _texts(headers: Headers, name: str) -> list[str]:
    """All lines of a header: proxies send UTF-8, the standard knows only Latin 1."""
    wanted, found = name.lower().encode("latin-1", "replace"), []
    for value in (value for key, value in headers.raw if key.lower() == wanted):
        try:
            found.append(value.decode("utf-8"))
        except UnicodeDecodeError:
            found.append(value.decode("latin-1"))
    return found


def _highest(roles: Sequence[Role]) -> Role | None:
    return max(roles, key=lambda role: len(tokens.MAY[role]), default=None)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text.strip("[]"))
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise BadSetting(
            f"proxy_from: {safe(text, 60)!r} is no address.", remedy="Write 10.2.0.7 or 10.2.0.0/16, several by comma."
        ) from error


def _group_role(text: str) -> tuple[str, Role]:
    group, equals, named = text.rpartition("=")
    for role in tokens.ROLES:
        if equals and group.strip() and named.strip() == role:
            return group.strip(), role
    raise BadSetting(
        f"proxy_roles: {safe(text, 80)!r} is no group with a role.",
        remedy=f"Write group=role; roles are {', '.join(tokens.ROLES)}.",
    )
