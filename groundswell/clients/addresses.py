"""What the addresses of Kafka and Redis in the settings mean, and whether they may go over the network in the clear. Next: connect.py."""

from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from groundswell.errors import BadSetting, PlainText
from groundswell.settings import Settings

Host = tuple[str, int]
Kind = Literal["single", "cluster", "sentinel"]

REDIS_FORMS = "redis://host:port/0, rediss:// with TLS, redis+cluster://host:port,host:port or redis+sentinel://host:port,host:port/name/0"
KAFKA_PORT, REDIS_PORT, SENTINEL_PORT = 9092, 6379, 26379
KINDS: dict[str, Kind] = {"": "single", "cluster": "cluster", "sentinel": "sentinel"}


@dataclass(frozen=True)
class RedisAddress:
    """One Redis, the nodes of a cluster, or the sentinels that know where the master of `service` is."""

    kind: Kind
    hosts: tuple[Host, ...]  # empty: a socket file
    tls: bool
    checked: bool  # the server must prove who it is
    user: str | None = None
    password: str | None = None
    db: int = 0
    service: str = ""


def shown(url: str) -> str:
    """An address without its password, for messages."""
    return url.rpartition("@")[2]


def kafka_hosts(settings: Settings) -> list[Host]:
    """The brokers to ask first. Raises BadSetting."""
    try:
        return [_host(part, KAFKA_PORT) for part in settings.kafka.split(",")]
    except ValueError as error:
        raise BadSetting(
            f"The Kafka address {settings.kafka!r} is not one: {error}.", remedy="Write host:port."
        ) from error


def redis_address(url: str) -> RedisAddress:
    """Raises BadSetting."""
    try:
        return _redis_address(url)
    except ValueError as error:
        raise BadSetting(
            f"The Redis address {shown(url)!r} is not one: {error}.", remedy=f"Write {REDIS_FORMS}."
        ) from error


def _redis_address(url: str) -> RedisAddress:
    parts = urlsplit(url)
    scheme, _, form = parts.scheme.partition("+")
    if scheme == "unix" and not form:
        return RedisAddress("single", (), tls=False, checked=False)
    if scheme not in ("redis", "rediss") or form not in KINDS:
        raise ValueError(f"it begins with {parts.scheme or 'nothing'}")
    kind = KINDS[form]
    login, _, places = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    hosts = tuple(_host(part, SENTINEL_PORT if kind == "sentinel" else REDIS_PORT) for part in places.split(","))
    if kind == "single" and len(hosts) > 1:
        raise ValueError("several hosts need redis+cluster:// or redis+sentinel://")
    path = [unquote(part) for part in parts.path.split("/") if part]
    service = path.pop(0) if kind == "sentinel" and path else ""
    if kind == "sentinel" and not service:
        raise ValueError("the name of the master is missing behind the hosts")
    db = int(path[0]) if path and path[0].isdigit() else 0
    if kind == "cluster" and db:
        raise ValueError("a cluster has only the database 0")
    query = {name: values[-1].lower() for name, values in parse_qs(parts.query).items()}
    unchecked = query.get("ssl_cert_reqs") in ("none", "optional") or query.get("ssl_check_hostname") in (
        "false",
        "no",
        "0",
        "n",
    )
    return RedisAddress(
        kind, hosts, tls=scheme == "rediss", checked=scheme == "rediss" and not unchecked,
        user=unquote(user) or None, password=unquote(password) or None, db=db, service=service,
    )  # fmt: skip


def guard_kafka(settings: Settings) -> None:
    """Raises PlainText when documents would leave this machine unencrypted, BadSetting without a user."""
    if settings.kafka_security.startswith("SASL") and not settings.kafka_user:
        raise BadSetting(
            f"kafka_security is {settings.kafka_security} and kafka_user is empty.",
            remedy="Set GROUNDSWELL_KAFKA_USER and GROUNDSWELL_KAFKA_PASSWORD.",
        )
    far = [] if settings.insecure or settings.kafka_security.endswith("SSL") else _far(kafka_hosts(settings))
    if far:
        raise PlainText(
            f"Kafka at {far[0]} is another machine, and kafka_security {settings.kafka_security} does not encrypt.",
            remedy=f"Set GROUNDSWELL_KAFKA_SECURITY=SASL_SSL or SSL. {PlainText.remedy}",
        )


def guard_redis(settings: Settings, address: RedisAddress) -> None:
    """Raises PlainText."""
    far = [] if settings.insecure or address.checked else _far(address.hosts)
    if far:
        why = "the address switches off the check of its certificate" if address.tls else "redis:// does not encrypt"
        raise PlainText(
            f"Redis at {far[0]} is another machine, and {why}.", remedy=f"Write rediss://. {PlainText.remedy}"
        )


def _far(hosts: list[Host] | tuple[Host, ...]) -> list[str]:
    return [f"{host}:{port}" for host, port in hosts if not _loopback(host)]


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _host(text: str, port: int) -> Host:
    """Also of "[::1]:9092". Raises ValueError, without the text: a password with a slash in it would be part of that."""
    parts = urlsplit(f"//{text.strip()}")
    try:
        found = parts.port or port
    except ValueError:
        found = 0
    if not found or not parts.hostname or parts.path or any(sign.isspace() for sign in parts.hostname):
        raise ValueError(
            "a host with its port is missing (signs like / # ? @ in a password are written %2F %23 %3F %40)"
        )
    return parts.hostname, found
