"""Keeps webhooks out of our own network: judges the URL as written, what its name resolves to, and each connection.

Three layers, because each alone is beaten: a name is checked and then resolves otherwise (rebinding), aiohttp never
asks the resolver about a literal, and a socket sees no mixed answers. The operator's exceptions come from the settings.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from alerts.addresses import Address, Network, bare, is_metadata, is_public, parse
from groundswell.errors import AddressRefused, BadSetting
from groundswell.settings import Settings

MAX_URL = 2_048
SHOWN_OF = 8  # characters; of a shorter path four would be half of the secret
PORTS = {"https": frozenset({443, 8443}), "http": frozenset({80})}
DEFAULT_PORT = {"https": 443, "http": 80}
LOOK_UPS = 256  # more than endpoints: a hanging name holds one thread and delays nobody
INNER_NAMES = frozenset(
    {"localhost", "local", "internal", "arpa", "lan", "corp", "onion", "test", "example", "invalid"}
)
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^\[\]:]*)(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0[xX][0-9a-fA-F]*")
_QUAD = re.compile(r"(?:(?:0|[1-9][0-9]{0,2})\.){3}(?:0|[1-9][0-9]{0,2})")

AddrInfo = tuple[Any, ...]
LookUp = Callable[[str, int], Sequence[AddrInfo]]


class UrlRefused(AddressRefused):
    """This address is not allowed; `rule` names the rule in one word."""

    def __init__(self, rule: str, message: str) -> None:
        super().__init__(message)
        self.rule = rule


class ConnectionRefusedByGuard(OSError):
    """Raised inside aiohttp, which hands an OSError on as `os_error`; says nothing of the address."""


@dataclass(frozen=True)
class Target:
    """An address that may be tried: the URL as given, its host (no brackets) and port."""

    url: str
    scheme: str
    host: str
    port: int

    @property
    def shown(self) -> str:
        """Host and last four characters of a longer path: safe to print, since the path may be a secret."""
        path = self.url.partition("://")[2].partition("/")[2]
        return f"{self.scheme}://{self.host}:{self.port}/…{path[-4:] if len(path) > SHOWN_OF else ''}"


@dataclass(frozen=True)
class Allowed:
    """The operator's exceptions: `names` and `networks`, each with one port; `http` also allows plain http."""

    names: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[tuple[Network, int], ...] = ()
    http: bool = False

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """From `deliver_allow` and `deliver_http`. Raises BadSetting."""
        names, networks = set(), []
        for entry in settings.deliver_allow:
            host, port = _entry(entry)
            try:
                networks.append((ip_network(host.strip("[]"), strict=False), port))
            except ValueError:
                names.add((host.lower(), port))
        return cls(frozenset(names), tuple(networks), settings.deliver_http)

    def allows_name(self, host: str, port: int) -> bool:
        return (host.lower(), port) in self.names

    def allows_address(self, address: Address, port: int) -> bool:
        inner = bare(address)
        return any(inner in network and port == its for network, its in self.networks)


def check_url(text: str, allowed: Allowed) -> Target:
    """The address as written, when it may be tried. Asks no resolver. Raises UrlRefused."""
    if len(text) > MAX_URL:
        _refuse("too_long", f"The address is longer than {MAX_URL} characters.")
    if any(char <= " " or char in "\\\x7f" for char in text):
        _refuse("character", "The address holds a blank, a control character or a backslash.")
    if not text.isascii():
        _refuse("not_ascii", f"The address is not ASCII.{_a_label(text)}")
    scheme = _scheme(text, allowed)
    rest = text[len(scheme) + 1 :]
    if "#" in rest:
        _refuse("fragment", "The address holds a fragment (#).")
    authority = re.split(r"[/?]", rest[2:], maxsplit=1)[0] if rest.startswith("//") else ""
    if not authority:
        _refuse("no_host", "The address names no host.")
    if "@" in authority:
        _refuse("userinfo", "The address holds a user name.")
    if "%" in authority:
        _refuse("escape", "The host holds an escape (%).")
    match = _AUTHORITY.fullmatch(authority)
    if match is None or int(match["port"] or 0) > 65_535:
        _refuse("unparsable", "The address cannot be read.")
    host, port = match["host"].lower(), int(match["port"] or DEFAULT_PORT[scheme])
    _check_host(scheme, host, port, allowed)
    _same_for_all(text, host)
    return Target(text, scheme, host.strip("[]"), port)


def check_address(address: Address, target: Target, allowed: Allowed) -> bool:
    """May a connection to this address be made for this target?"""
    if is_metadata(address):
        return False
    return (
        (is_public(address) and target.port in PORTS[target.scheme])
        or allowed.allows_name(target.host, target.port)
        or allowed.allows_address(address, target.port)
    )


class LookUps:
    """Name look-ups in threads of their own; a name that hangs is asked once, however often it is wanted."""

    def __init__(self, look_up: LookUp | None = None) -> None:
        self._look_up = look_up or _getaddrinfo
        self._pool = ThreadPoolExecutor(LOOK_UPS, thread_name_prefix="look-up")
        self._waiting: dict[tuple[str, int], asyncio.Future[Sequence[AddrInfo]]] = {}

    async def ask(self, host: str, port: int) -> Sequence[AddrInfo]:
        """As `socket.getaddrinfo`. Raises OSError."""
        asked = (host, port)
        waiting = self._waiting.get(asked)
        if waiting is None:
            waiting = asyncio.get_running_loop().run_in_executor(self._pool, self._look_up, host, port)
            self._waiting[asked] = waiting
            waiting.add_done_callback(lambda _: self._waiting.pop(asked, None))
        return await asyncio.shield(waiting)

    def close(self) -> None:
        """Wait for nothing: a hanging look-up cannot be cancelled."""
        self._pool.shutdown(wait=False, cancel_futures=True)


class GuardedResolver(AbstractResolver):
    """aiohttp's resolver for one target: one bad address among a name's answers refuses all."""

    def __init__(self, target: Target, allowed: Allowed, look_ups: LookUps) -> None:
        self._target, self._allowed, self._look_ups = target, allowed, look_ups

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        if host.lower() != self._target.host or port != self._target.port:
            raise ConnectionRefusedByGuard("another host than the endpoint's")
        results = []
        for found, _, proto, _, sockaddr in await self._look_ups.ask(host, port):
            if not check_address(parse(sockaddr[0]), self._target, self._allowed):
                raise ConnectionRefusedByGuard("resolves to an address that is not public")
            if family in (socket.AF_UNSPEC, found):
                results.append(
                    ResolveResult(
                        hostname=host,
                        host=sockaddr[0],
                        port=port,
                        family=found,
                        proto=proto,
                        flags=socket.AI_NUMERICHOST,
                    )
                )
        if not results:
            raise OSError(f"no address for {host}")
        return results

    async def close(self) -> None:
        """The look-ups are shared and outlive it."""


def guarded_socket(target: Target, allowed: Allowed) -> Callable[[AddrInfo], socket.socket]:
    """aiohttp's socket factory for one target: it gets the very address about to be connected."""

    def make(info: AddrInfo) -> socket.socket:
        family, kind, proto, _, sockaddr = info
        if sockaddr[1] != target.port or not check_address(parse(sockaddr[0]), target, allowed):
            raise ConnectionRefusedByGuard("not a public address")
        made = socket.socket(family, kind, proto)
        made.setblocking(False)
        return made

    return make


def _entry(entry: str) -> tuple[str, int]:
    host, found, port = entry.rpartition(":")
    if not found or not host or not port.isdigit() or not 0 < int(port) <= 65_535:
        raise BadSetting(
            f"deliver_allow holds {entry!r}.",
            remedy="Write host:port, address:port or network/bits:port, as 10.2.0.0/16:443.",
        )
    return host, int(port)


def _scheme(text: str, allowed: Allowed) -> str:
    match = _SCHEME.match(text)
    scheme = match[1].lower() if match else ""
    if scheme not in DEFAULT_PORT or (scheme == "http" and not allowed.http):
        _refuse("scheme", "The address must begin with https://.")
    return scheme


def _check_host(scheme: str, host: str, port: int, allowed: Allowed) -> None:
    if host.startswith("["):
        address = _literal(host[1:-1])
    elif _NUMERIC.fullmatch(host.rstrip(".").rpartition(".")[2]):
        address = _literal(host) if _QUAD.fullmatch(host) else None
    else:
        return _check_name(scheme, host, port, allowed)
    if address is None:
        _refuse("canonical", "The IP address is not written in its usual form.")
    if is_metadata(address) or not (is_public(address) or allowed.allows_address(address, port)):
        _refuse("address", "The address is not a public one.")
    if not (allowed.allows_address(address, port) or port in PORTS[scheme]):
        _refuse("port", f"Port {port} is not allowed.")
    return None


def _check_name(scheme: str, host: str, port: int, allowed: Allowed) -> None:
    if allowed.allows_name(host, port):
        return
    labels = host.split(".")
    if (
        len(labels) < 2
        or len(host) > 253
        or labels[-1] in INNER_NAMES
        or not all(_LABEL.fullmatch(part) for part in labels)
    ):
        _refuse("name", "The host is not a public name.")
    if port not in PORTS[scheme] and not any(port == its for _, its in allowed.networks):
        _refuse("port", f"Port {port} is not allowed.")


def _literal(text: str) -> Address | None:
    with suppress(ValueError):
        return parse(text)
    return None


def _same_for_all(text: str, host: str) -> None:
    """Two readers that disagree about the host could check one and connect to the other."""
    try:
        split, url = urlsplit(text).hostname, URL(text).raw_host
    except ValueError:
        split = url = None
    wanted = host.strip("[]")
    if split is None or url is None or not (_canonical(split) == _canonical(url) == _canonical(wanted)):
        _refuse("unparsable", "The address can be read in two ways.")


def _canonical(host: str) -> str:
    literal = _literal(host)
    return str(literal) if literal is not None else host.lower()


def _a_label(text: str) -> str:
    with suppress(UnicodeError, ValueError, IndexError):
        host = re.split(r"[/?#:]", text.split("//", 1)[1], maxsplit=1)[0]
        return f" Its host in ASCII is {host.encode('idna').decode()}."
    return ""


def _getaddrinfo(host: str, port: int) -> Sequence[AddrInfo]:
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)


def _refuse(rule: str, message: str) -> NoReturn:
    raise UrlRefused(rule, message)
