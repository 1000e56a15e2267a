"""Whatever somebody writes into an endpoint's address, nothing leads into our own network: known tricks."""

import asyncio
import socket

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from alerts.addresses import is_public, parse
from alerts.channels.contract import Request
from alerts.channels.webhook import verdict
from alerts.guard import (
    Allowed,
    ConnectionRefusedByGuard,
    GuardedResolver,
    LookUps,
    UrlRefused,
    check_url,
    guarded_socket,
)
from alerts.send import Sender
from groundswell.clock import SystemClock
from groundswell.decisions import Delivery
from groundswell.errors import BadSetting
from groundswell.settings import Settings

CLOSED = Allowed()

ADDRESS = """127.0.0.1 0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 169.254.169.254/latest/meta-data/
169.254.170.2 168.63.129.16 172.16.0.1 172.31.255.254 192.0.0.192 192.88.99.1 192.168.1.1 198.18.0.1
203.0.113.5 224.0.0.1 239.255.255.250 240.0.0.1 255.255.255.255 [::] [::1] [0:0:0:0:0:0:0:1]
[::7f00:1] [::ffff:127.0.0.1] [::ffff:a9fe:a9fe] [::ffff:0:127.0.0.1] [64:ff9b::7f00:1]
[64:ff9b::a9fe:a9fe] [64:ff9b:1::a00:1] [2002:7f00:1::] [2002:a9fe:a9fe::1] [2001:0:7f00:1::1]
[2001:db8::1] [3fff::1] [5f00::1] [100::1] [fc00::1] [fd00:ec2::254] [fe80::1] [fec0::1] [ff02::1]
[2606:4700::5efe:7f00:1]"""
CANONICAL = """127.1 127.0.1 2130706433 017700000001 0177.0.0.1 0x7f000001 0x7f.1 0x7f.0.0.0x1 127.0.0.1. 00000127.0.0.1
0 256.256.256.256 4294967297 1.2.3 [v1.127.0.0.1]"""
REFUSED = [
    *(("address", f"https://{rest}") for rest in ADDRESS.split()),
    *(("canonical", f"https://{rest}") for rest in CANONICAL.split()),
    *(
        ("not_ascii", f"https://{rest}")
        for rest in ("127。0。0。1", "①②⑦.⓪.⓪.①", "ⓛocalhost", "good。com", "good.com:８４４３")
    ),
    *(
        ("escape", f"https://{rest}")
        for rest in ("127.0.0.1%2f.good.com", "%31%32%37.0.0.1", "127.0.0.1%00.good.com", "[fe80::1%25eth0]")
    ),
    *(
        ("userinfo", f"https://{rest}")
        for rest in ("good.com@127.0.0.1", "good.com:443@127.0.0.1", "127.0.0.1@good.com")
    ),
    ("fragment", "https://127.0.0.1#@good.com/"),
    ("character", "https://127.0.0.1\\@good.com/"),
    ("character", "https://good.com\\.127.0.0.1/"),
    ("character", "https://good.com\r\nHost:x/"),
    ("character", "https://go\tod.com/"),
    ("character", " https://127.0.0.1/"),
    ("no_host", "https:127.0.0.1/"),
    ("no_host", "https:///127.0.0.1/"),
    ("unparsable", "https://[::1"),
    ("unparsable", "https://good.com:65536/"),
    *(
        ("scheme", text)
        for text in (
            "//127.0.0.1/",
            "http://good.com/",
            "file:///etc/passwd",
            "ftp://good.com/",
            "gopher://127.0.0.1:6379/_x",
            "data:text/plain,x",
            "jar:https://good.com!/",
            "unix:///run/docker.sock",
        )
    ),
    *(("port", f"https://good.com:{port}") for port in (22, 6379, 9092, 0)),
    *(
        ("name", f"https://{rest}")
        for rest in (
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "redis",
            "metadata.google.internal",
            "printer.local",
            "-good.com",
            "good..com",
        )
    ),
    ("too_long", "https://good.com/" + "a" * 2048),
]
ACCEPTED = [
    "good.com",
    "GOOD.com",
    "good.com:8443/hook?k=v",
    "172.32.0.1",
    "1.1.1.1",
    "[2606:4700:4700::1111]",
    "[::ffff:1.1.1.1]",
    "xn--fa-hia.com",
]


@pytest.mark.parametrize(("rule", "url"), REFUSED)
def test_hostile_addresses_are_refused_by_name_of_the_rule(rule, url):
    with pytest.raises(UrlRefused) as caught:
        check_url(url, CLOSED)
    assert caught.value.rule == rule


@pytest.mark.parametrize("rest", ACCEPTED)
def test_public_addresses_are_accepted(rest):
    assert check_url(f"https://{rest}", CLOSED).port in {443, 8443}


@given(st.text(max_size=60))
def test_any_text_is_refused_or_names_a_public_place(text):
    try:
        target = check_url(f"https://{text}", CLOSED)
    except UrlRefused:
        return
    assert target.port in {443, 8443}
    assert "." in target.host or ":" in target.host


@pytest.mark.parametrize(
    ("allow", "http", "url", "fine"),
    [
        (["127.0.0.1:9000"], True, "http://127.0.0.1:9000/hook", True),
        (["127.0.0.1:9000"], False, "http://127.0.0.1:9000/hook", False),
        (["127.0.0.1:9000"], True, "http://127.0.0.1:9001/hook", False),
        (["10.2.0.0/16:443"], False, "https://10.2.3.4/", True),
        (["10.2.0.0/16:443"], False, "https://10.3.3.4/", False),
        (["10.2.0.0/16:443"], False, "https://10.2.3.4:8443/", False),
        (["hooks.bank.internal:8443"], False, "https://hooks.bank.internal:8443/", True),
        (["hooks.bank.internal:8443"], False, "https://other.bank.internal:8443/", False),
        (["[fd12::/16]:443"], False, "https://[fd12::1]/", True),
        (["169.254.0.0/16:443", "169.254.169.254:443"], False, "https://169.254.169.254/", False),
        (["100.64.0.0/10:443"], False, "https://100.100.100.200/", False),
    ],
)
def test_only_what_the_operator_allowed_is_an_exception_and_metadata_never(allow, http, url, fine):
    rules = Allowed.of(Settings(deliver_allow=allow, deliver_http=http))
    if fine:
        assert check_url(url, rules).url == url
    else:
        with pytest.raises(UrlRefused):
            check_url(url, rules)


@pytest.mark.parametrize("entry", ["127.0.0.1", "host:", ":9000", "host:0", "host:70000", "host:https"])
def test_an_exception_that_cannot_be_read_stops_the_start(entry):
    with pytest.raises(BadSetting, match="deliver_allow"):
        Allowed.of(Settings(deliver_allow=[entry]))


def test_what_dns64_makes_of_a_public_address_is_public():
    assert is_public(parse("64:ff9b::5db8:d822"))
    assert not is_public(parse("64:ff9b::7f00:1"))


# -- real connections on loopback: nothing may arrive ------------------------------------------------------------------


class Inside:
    """A server in our own network, and a door outside it that answers as told."""

    def __init__(self) -> None:
        self.visits = 0
        self.status, self.location = 204, ""

    async def take(self, _: web.Request) -> web.Response:
        self.visits += 1
        return web.Response(status=self.status, headers={"location": self.location} if self.location else {})


async def serve(place: Inside) -> tuple[web.AppRunner, int]:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", place.take)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, runner.addresses[0][1]


def answers(*rounds: list[str]):
    """A resolver whose look-ups give these addresses in turn."""
    left = list(rounds)

    def look_up(_: str, port: int):
        found = left.pop(0) if len(left) > 1 else left[0]
        return [
            (socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in found
        ]

    return LookUps(look_up)


@pytest.mark.parametrize(
    "found",
    [
        ["127.0.0.1"],
        ["::1"],
        ["::ffff:169.254.169.254"],
        ["169.254.169.254"],
        ["64:ff9b::a9fe:a9fe"],
        ["93.184.216.34", "127.0.0.1"],
    ],
)
async def test_a_name_that_resolves_inward_is_refused_and_nothing_is_connected(found):
    look_ups = answers(found)
    sender = Sender(CLOSED, SystemClock(), 2.0, look_ups)
    outcome = await sender.send("hook", Request("https://good.com/hook", {}, b"{}"), verdict)
    await sender.close()
    assert (outcome.verdict.outcome, outcome.verdict.reason) == (Delivery.RETRY, "address_refused")
    assert "127" not in outcome.verdict.reason


INNER = sorted({rest.partition("/")[0].strip("[]") for rest in ADDRESS.split()})


@pytest.mark.parametrize("ip", INNER)
async def test_the_resolver_alone_refuses_a_name_that_means_this_address(ip):
    target = check_url("https://good.com/hook", CLOSED)
    look_ups = answers(["93.184.216.34", ip])
    with pytest.raises(ConnectionRefusedByGuard) as refused:
        await GuardedResolver(target, CLOSED, look_ups).resolve("good.com", 443)
    look_ups.close()
    assert ip not in str(refused.value)


@pytest.mark.parametrize("ip", INNER)
def test_the_socket_factory_alone_refuses_to_connect_to_this_address(ip):
    target = check_url("https://good.com/hook", CLOSED)
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with pytest.raises(ConnectionRefusedByGuard):
        guarded_socket(target, CLOSED)((family, socket.SOCK_STREAM, 6, "", (ip, 443)))


def test_the_socket_factory_makes_a_socket_for_a_public_address_and_no_other_port():
    make = guarded_socket(check_url("https://good.com/hook", CLOSED), CLOSED)
    make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))).close()
    with pytest.raises(ConnectionRefusedByGuard):
        make((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 8443)))


async def test_a_literal_that_the_resolver_is_never_asked_about_is_stopped_at_the_socket(monkeypatch):
    """aiohttp does not resolve a literal: were the address let through by its look, the socket factory still says no."""
    inside = Inside()
    runner, port = await serve(inside)
    monkeypatch.setattr("alerts.guard.PORTS", {"https": frozenset({443}), "http": frozenset({port})})
    monkeypatch.setattr("alerts.guard._check_host", lambda *_: None)
    sender = Sender(Allowed(http=True), SystemClock(), 2.0)
    outcome = await sender.send("hook", Request(f"http://127.0.0.1:{port}/", {}, b"{}"), verdict)
    await sender.close()
    await runner.cleanup()
    assert outcome.verdict.reason == "address_refused"
    assert inside.visits == 0


def test_the_list_of_hostile_addresses_is_as_long_as_published():
    assert len({url for _, url in REFUSED}) >= 100  # those of names and redirects are tests of their own below


async def test_rebinding_between_the_check_and_the_connection_reaches_nothing(monkeypatch):
    """The resolver's answer is swapped behind its back: the socket factory still sees the very address."""
    inside = Inside()
    runner, port = await serve(inside)
    rules = Allowed(names=frozenset(), networks=(), http=True)
    monkeypatch.setattr("alerts.guard.PORTS", {"https": frozenset({443}), "http": frozenset({port})})

    async def deceived(self, host, port=0, family=socket.AF_UNSPEC):
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": socket.AF_INET, "proto": 6, "flags": 0}]

    monkeypatch.setattr("alerts.guard.GuardedResolver.resolve", deceived)
    sender = Sender(rules, SystemClock(), 2.0)
    outcome = await sender.send("hook", Request(f"http://good.com:{port}/", {}, b"{}"), verdict)
    await sender.close()
    await runner.cleanup()
    assert outcome.verdict.reason == "address_refused"
    assert inside.visits == 0


async def test_a_name_that_answers_well_first_and_inward_later_is_refused_later(monkeypatch):
    look_ups = answers(["127.0.0.2"], ["127.0.0.1"])
    inside = Inside()
    runner, port = await serve(inside)
    rules = Allowed.of(Settings(deliver_allow=[f"127.0.0.2:{port}"], deliver_http=True))
    monkeypatch.setattr("alerts.guard.INNER_NAMES", frozenset())
    sender = Sender(rules, SystemClock(), 2.0, look_ups)
    first = await sender.send("hook", Request(f"http://good.com:{port}/", {}, b"{}"), verdict)
    second = await sender.send("hook", Request(f"http://good.com:{port}/", {}, b"{}"), verdict)
    await sender.close()
    await runner.cleanup()
    assert first.verdict.reason == "unreachable"  # allowed, but nothing listens there
    assert second.verdict.reason == "address_refused"
    assert inside.visits == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_inward_is_not_followed(status):
    door, inside = Inside(), Inside()
    door_runner, door_port = await serve(door)
    inside_runner, inside_port = await serve(inside)
    door.status, door.location = status, f"http://127.0.0.1:{inside_port}/"
    rules = Allowed.of(
        Settings(deliver_allow=[f"127.0.0.1:{door_port}", f"127.0.0.1:{inside_port}"], deliver_http=True)
    )
    sender = Sender(rules, SystemClock(), 2.0)
    outcome = await sender.send("hook", Request(f"http://127.0.0.1:{door_port}/", {}, b"{}"), verdict)
    await sender.close()
    await door_runner.cleanup()
    await inside_runner.cleanup()
    assert (outcome.verdict.outcome, outcome.verdict.reason) == (Delivery.RETRY, "redirected 127.0.0.1")
    assert (door.visits, inside.visits) == (1, 0)


async def test_the_environments_proxy_is_not_obeyed(monkeypatch):
    proxy, door = Inside(), Inside()
    proxy_runner, proxy_port = await serve(proxy)
    door_runner, door_port = await serve(door)
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy_port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy_port}")
    rules = Allowed.of(Settings(deliver_allow=[f"127.0.0.1:{door_port}"], deliver_http=True))
    sender = Sender(rules, SystemClock(), 2.0)
    outcome = await sender.send("hook", Request(f"http://127.0.0.1:{door_port}/", {}, b"{}"), verdict)
    await sender.close()
    await proxy_runner.cleanup()
    await door_runner.cleanup()
    assert outcome.verdict.outcome is Delivery.SENT
    assert (proxy.visits, door.visits) == (0, 1)


async def test_a_name_that_hangs_is_asked_once_and_delays_no_other():
    release, asked = asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def look_up(host: str, port: int):
        asked.append(host)
        if host == "slow.com":
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", port))]

    look_ups = LookUps(look_up)
    slow = [asyncio.create_task(look_ups.ask("slow.com", 443)) for _ in range(3)]
    assert await asyncio.wait_for(look_ups.ask("quick.com", 443), 2)
    release.set()
    await asyncio.gather(*slow)
    look_ups.close()
    assert sorted(asked) == ["quick.com", "slow.com"]
