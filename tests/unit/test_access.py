"""Who gets in, who does not, and what each role may do: by token, by session, by proxy, over every route there is."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Mount, Route

from dashboard.app import run
from dashboard.entry import access, roles
from dashboard.entry.access import Access, NotKnown, NotLetIn, NotReadYet, Person
from groundswell import tokens
from groundswell.clock import ManualClock, SystemClock
from groundswell.control import ControlView
from groundswell.errors import BadSetting, NoSecretKey, PlainText
from groundswell.records import Role
from groundswell.secrets import new_key
from groundswell.settings import Settings
from tests.pages import JSON, NOW, TOPOLOGY, Site, open_site

HOUR_MS = 3_600_000
PAGE = {"Accept": "text/html"}
FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://127.0.0.1:8080"}


def token_of(site: Site, role: Role, days: float = 0, name: str = "") -> str:
    made, text = tokens.made(site.view.tokens, name or f"the {role}", role, days, "test", site.clock.now_ms())
    site.view.apply(made.id, msgspec.json.encode(made))
    return text


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


async def logged_in(site: Site, role: Role = "analyst") -> str:
    """A session's cookie."""
    answer = await site.http.post("/login", data={"token": token_of(site, role), "next": "/alerts"}, headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/alerts"), answer.text
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert name == "groundswell-session"
    site.http.cookies.clear()
    return rest.partition(";")[0]


def session(value: str) -> dict[str, str]:
    return {"Cookie": f"groundswell-session={value}"}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site(access="token") as one:
        yield one


# -- tokens ------------------------------------------------------------------------------------------------------------


async def test_without_a_token_a_page_leads_to_the_login_and_the_interface_says_what_to_do(site: Site) -> None:
    page = await site.http.get("/alerts?state=firing", headers=PAGE)
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/alerts%3Fstate%3Dfiring")
    answer = await site.http.get("/api/v1/overview")
    assert (answer.status_code, answer.json()["reason"]) == (401, "not_known")
    assert "groundswell tokens add" in answer.json()["remedy"]
    assert answer.headers["www-authenticate"].startswith("Bearer")
    for path in ("/live", "/feeds/alerts.atom", "/asyncapi.json", "/api/v1/health", "/nothing"):
        assert (await site.http.get(path)).status_code == 401, path
    assert (await site.http.get("/static/words.js")).status_code == 200


async def test_a_program_comes_in_with_its_token_and_a_foreign_one_does_not(site: Site) -> None:
    text = token_of(site, "viewer")
    assert (await site.http.get("/api/v1/overview", headers=bearer(text))).status_code == 200
    me = (await site.http.get("/api/v1/me", headers=bearer(text))).json()
    assert me == {"name": "the viewer", "role": "viewer", "how": "token", "until": None}
    for wrong in (text[:-1] + "!", "gsw_" + "A" * 43, text.removeprefix("gsw_"), "", text + "\u00e9"):
        raw = f"Bearer {wrong}".encode("latin-1")
        assert (await site.http.get("/api/v1/overview", headers={b"Authorization": raw})).status_code == 401
    twice = [("Authorization", f"Bearer {text}"), ("Authorization", "Bearer gsw_x")]
    assert (await site.http.get("/api/v1/overview", headers=twice)).status_code == 401


async def test_a_token_ends_when_its_time_comes_and_when_it_is_removed(site: Site) -> None:
    short, other = token_of(site, "viewer", days=1, name="short"), token_of(site, "viewer", name="other")
    assert (await site.http.get("/api/v1/overview", headers=bearer(short))).status_code == 200
    site.clock.advance(86_400)
    assert (await site.http.get("/api/v1/overview", headers=bearer(short))).status_code == 401
    assert (await site.http.get("/api/v1/overview", headers=bearer(other))).status_code == 200
    site.view.apply(tokens.named(site.view.tokens, "other").id, None)
    assert (await site.http.get("/api/v1/overview", headers=bearer(other))).status_code == 401


def test_nothing_that_is_kept_of_a_token_is_the_token() -> None:
    made, text = tokens.made({}, "Lin", "viewer", 0, "ana", NOW)
    kept = msgspec.json.encode(made)
    assert text.startswith("gsw_")
    assert len(text) == 4 + 43
    assert text[4:14].encode() not in kept
    assert tokens.found([made], text, NOW) == made


def test_every_known_token_is_compared_whole_however_early_one_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [tokens.made({}, f"n{number}", "viewer", 0, "ana", NOW) for number in range(5)]
    compared: list[bytes] = []
    right = tokens.hmac.compare_digest
    monkeypatch.setattr(tokens.hmac, "compare_digest", lambda a, b: (compared.append(a), right(a, b))[1])
    assert tokens.found([one for one, _ in made], made[0][1], NOW) == made[0][0]
    assert len(compared) == 5


@pytest.mark.parametrize(
    ("name", "days"), [("", 0), ("   \x00", 0), ("taken", 0), ("x", -1), ("x", 1e9), ("x", float("nan"))]
)
def test_a_token_that_cannot_be_is_refused(name: str, days: float) -> None:
    known, _ = tokens.made({}, "taken", "viewer", 0, "ana", NOW)
    with pytest.raises(tokens.TokenRefused) as refused:
        tokens.made({known.id: known}, name, "viewer", days, "ana", NOW)
    assert refused.value.remedy


async def test_until_the_tokens_are_read_nobody_is_sent_away_for_good() -> None:
    view, clock = ControlView(), ManualClock(NOW)
    door = Access(Settings(access="token", secret_key=new_key()), view, clock, lambda: False)
    with pytest.raises(NotReadYet):
        door.person(Headers({"authorization": "Bearer gsw_x"}), "", "127.0.0.1")


# -- sessions ----------------------------------------------------------------------------------------------------------


async def test_a_person_logs_in_reads_writes_and_logs_out(site: Site) -> None:
    cookie = await logged_in(site)
    assert (await site.http.get("/alerts", headers=PAGE | session(cookie))).status_code == 200
    own = JSON | {"Origin": "http://127.0.0.1:8080"} | session(cookie)
    seen = await site.http.post("/api/v1/alerts/ep_9a41/ack", content=b'{"by": "somebody else"}', headers=own)
    assert seen.status_code == 202
    assert site.view.acks["ep_9a41"].by == "the analyst", "who is known is not whom the body names"
    out = await site.http.post("/logout", headers=FORM | session(cookie))
    assert (out.status_code, out.headers["location"]) == (303, "/login?here=1")
    assert 'groundswell-session=""' in out.headers["set-cookie"]
    assert (await site.http.get("/api/v1/overview", headers=session(cookie))).status_code == 401, "a copy of the cookie"


async def test_the_cookie_is_for_http_only_strict_and_secure_behind_tls(site: Site) -> None:
    answer = await site.http.post("/login", data={"token": token_of(site, "viewer")}, headers=FORM)
    flags = {flag.strip().lower() for flag in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/", "max-age=43200"} <= flags
    assert "secure" not in flags
    async with open_site(access="token", page_url="https://gsw.bank.com") as safe:
        origin = FORM | {"Origin": "https://gsw.bank.com", "Host": "gsw.bank.com"}
        answer = await safe.http.post("/login", data={"token": token_of(safe, "viewer")}, headers=origin)
        assert answer.headers["set-cookie"].startswith("__Host-groundswell-session=")
        assert "secure" in answer.headers["set-cookie"].lower()


async def test_a_session_ends_after_twelve_hours_with_its_token_and_with_the_token_s_end(site: Site) -> None:
    cookie = await logged_in(site)
    site.clock.advance(12 * 3600 - 1)
    assert (await site.http.get("/api/v1/me", headers=session(cookie))).status_code == 200
    site.clock.advance(1)
    assert (await site.http.get("/api/v1/me", headers=session(cookie))).status_code == 401
    again = await logged_in_anew(site)
    site.view.apply(tokens.named(site.view.tokens, "again").id, None)
    gone = await site.http.get("/api/v1/me", headers=session(again))
    assert (gone.status_code, gone.json()["title"]) == (401, "The session has ended: its token was removed.")


async def logged_in_anew(site: Site) -> str:
    answer = await site.http.post("/login", data={"token": token_of(site, "viewer", name="again")}, headers=FORM)
    site.http.cookies.clear()
    return str(answer.headers["set-cookie"].partition("=")[2].partition(";")[0])


@pytest.mark.parametrize("part", range(4))
async def test_a_cookie_that_was_changed_anywhere_is_none(site: Site, part: int) -> None:
    parts = (await logged_in(site)).split(".")
    last = parts[part][-1]
    parts[part] = parts[part][:-1] + ("0" if last != "0" else "1")
    assert (await site.http.get("/api/v1/me", headers=session(".".join(parts)))).status_code == 401


@given(st.text(max_size=200))
def test_no_text_is_a_session_and_none_makes_it_fall(text: str) -> None:
    view, clock = ControlView(), ManualClock(NOW)
    made, _ = tokens.made({}, "Lin", "operator", 0, "ana", NOW)
    view.apply(made.id, msgspec.json.encode(made))
    door = Access(Settings(access="token", secret_key=new_key()), view, clock)
    for tried in (text, f"{made.id}.{NOW + 1}.x.{text}", f"{text}.{text}.{text}.{text}"):
        with pytest.raises(NotKnown):
            door.person(Headers({}), tried or "x", "127.0.0.1")


def test_a_session_of_the_old_key_holds_while_it_is_in_the_ring() -> None:
    view, clock, old, new = ControlView(), ManualClock(NOW), new_key(), new_key()
    made, text = tokens.made({}, "Lin", "viewer", 0, "ana", NOW)
    view.apply(made.id, msgspec.json.encode(made))
    _, cookie = Access(Settings(access="token", secret_key=old), view, clock).log_in(text)
    ring = Access(Settings(access="token", secret_key=f"{new},{old}"), view, clock)
    assert ring.person(Headers({}), cookie, "127.0.0.1").name == "Lin"
    with pytest.raises(NotKnown):
        Access(Settings(access="token", secret_key=new), view, clock).person(Headers({}), cookie, "127.0.0.1")


async def test_a_session_writes_from_its_own_page_only(site: Site) -> None:
    cookie = await logged_in(site)
    without = await site.http.post("/api/v1/alerts/ep_9a41/ack", content=b"{}", headers=JSON | session(cookie))
    assert (without.status_code, without.json()["reason"]) == (403, "no_origin")
    assert site.view.acks == {}


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (FORM, 303),
        ({**FORM, "Origin": "http://evil.example"}, 403),
        ({**FORM, "Origin": "null"}, 403),
        ({"Content-Type": FORM["Content-Type"]}, 403),
        ({**FORM, "Sec-Fetch-Site": "cross-site"}, 403),
        ({**FORM, "Content-Type": "application/json"}, 415),
        ({**FORM, "Content-Type": "text/plain"}, 415),
    ],
)
async def test_no_other_site_logs_anybody_in(site: Site, headers: dict[str, str], status: int) -> None:
    body = f"token={token_of(site, 'viewer')}".encode()
    answer = await site.http.post("/login", content=body, headers=headers)
    assert answer.status_code == status
    assert ("set-cookie" in answer.headers) == (status == 303)


@pytest.mark.parametrize("body", [b"", b"token=", b"token=gsw_nothing", b"\xff", b"token=" + b"x" * 9_000, b"a=1" * 20])
async def test_a_wrong_token_is_told_in_words_and_nothing_of_it_is_shown_again(site: Site, body: bytes) -> None:
    answer = await site.http.post("/login", content=body, headers=FORM | {"Accept-Language": "zh"})
    assert answer.status_code == 401
    assert "令牌不存在或已失效" in answer.text
    assert "gsw_nothing" not in answer.text
    assert "set-cookie" not in answer.headers


async def test_a_feeder_opens_no_page(site: Site) -> None:
    answer = await site.http.post("/login", data={"token": token_of(site, "feeder")}, headers=FORM)
    assert (answer.status_code, "only pushes documents" in answer.text) == (401, True)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("/alerts/ep_9a41?x=1", "/alerts/ep_9a41?x=1"),
        ("//evil.example/", "/"),
        ("/\\evil.example", "/"),
        ("\\/evil.example", "/"),
        ("https://evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nSet-Cookie: x=1", "/"),
        ("/\t/evil.example", "/"),
        ("/\u3000", "/"),
        ("/login", "/"),
        ("/logout", "/"),
        ("/api/v1/overview", "/"),
        ("", "/"),
        ("alerts", "/"),
        ("/" + "a" * 3_000, "/"),
    ],
)
async def test_the_login_leads_nowhere_but_here(site: Site, asked: str, found: str) -> None:
    assert access.local(asked) == found
    answer = await site.http.post("/login", data={"token": token_of(site, "viewer"), "next": asked}, headers=FORM)
    assert answer.headers["location"] == found


async def test_a_link_from_a_chat_finds_the_session_by_a_second_look(site: Site) -> None:
    cookie = await logged_in(site)
    linked = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    first = await site.http.get("/login?next=/alerts", headers=PAGE | linked)
    found = re.search(r'http-equiv="refresh" content="0; url=([^"]+)"', first.text)
    assert found is not None
    again = await site.http.get(found[1].replace("&amp;", "&"), headers=PAGE | session(cookie))
    assert (again.status_code, again.headers["location"]) == (303, "/alerts")
    stranger = await site.http.get(found[1].replace("&amp;", "&"), headers=PAGE)
    assert "http-equiv" not in stranger.text
    assert 'name="token"' in stranger.text


# -- a proxy with a login ----------------------------------------------------------------------------------------------


@pytest.fixture
async def proxied() -> AsyncIterator[Site]:
    async with open_site(
        access="proxy", proxy_from=["10.0.0.0/24"], proxy_roles=["risk=analyst", "ops=operator"]
    ) as one:
        yield one


@pytest.mark.parametrize(
    ("headers", "status", "role"),
    [
        ({"X-Forwarded-User": "lin"}, 200, "viewer"),
        ({"X-Forwarded-User": "lin", "X-Forwarded-Groups": "all, risk"}, 200, "analyst"),
        ({"X-Forwarded-User": "lin", "X-Forwarded-Groups": "ops,risk"}, 200, "operator"),
        ({"X-Forwarded-User": "lin", "X-Forwarded-Groups": "OPS"}, 200, "viewer"),
        ({"X-Forwarded-User": "lin", "X-Forwarded-Groups": "ops-readonly, risk2"}, 200, "viewer"),
        ({"X-Forwarded-User": "lin", "X-Forwarded-Groups": "g," * 4_000 + "ops"}, 200, "operator"),
        ({}, 401, ""),
        ({"X-Forwarded-User": ""}, 401, ""),
        ({"X-Forwarded-User": " \x00".replace("\x00", "")}, 401, ""),
    ],
)
async def test_the_proxy_names_the_person_and_the_groups_give_the_role(
    proxied: Site, headers: dict[str, str], status: int, role: str
) -> None:
    async with proxied.from_address("10.0.0.7") as http:
        answer = await http.get("/api/v1/me", headers=headers)
        assert answer.status_code == status
        assert status != 200 or (answer.json()["name"], answer.json()["role"]) == ("lin", role)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.1.7", "::ffff:10.0.1.7", "192.0.2.1"])
async def test_a_header_from_another_address_is_refused(proxied: Site, address: str) -> None:
    headers = {"X-Forwarded-User": "lin", "X-Forwarded-Groups": "ops", "X-Forwarded-For": "10.0.0.7"}
    async with proxied.from_address(address) as http:
        answer = await http.get("/api/v1/overview", headers=headers)
        assert (answer.status_code, answer.json()["reason"]) == (403, "not_let_in")


async def test_two_names_are_none(proxied: Site) -> None:
    async with proxied.from_address("10.0.0.7") as http:
        headers = [("X-Forwarded-User", "admin"), ("X-Forwarded-User", "lin")]
        assert (await http.get("/api/v1/me", headers=headers)).status_code == 403


async def test_a_person_in_no_group_stays_out_where_that_is_set() -> None:
    async with open_site(access="proxy", proxy_role="", proxy_roles=["ops=operator"]) as site:
        answer = await site.http.get("/api/v1/me", headers={"X-Forwarded-User": "lin"})
        assert (answer.status_code, answer.json()["reason"]) == (403, "not_let_in")


async def test_a_name_from_a_proxy_is_hostile_text_and_is_who_acknowledged(proxied: Site) -> None:
    async with proxied.from_address("10.0.0.7") as http:
        headers = {
            "X-Forwarded-User": "林\u202e<b>".encode(),
            "X-Forwarded-Groups": b"risk",
            "Content-Type": b"application/json",
        }
        answer = await http.post("/api/v1/alerts/ep_9a41/ack", content=b'{"by":"ana"}', headers=headers)
        assert answer.status_code == 202
        assert proxied.view.acks["ep_9a41"].by.startswith("林")
        assert "\u202e" not in proxied.view.acks["ep_9a41"].by
        page = await http.get("/alerts", headers={"X-Forwarded-User": b"<b>lin</b>", "Accept": b"text/html"})
        assert "&lt;b&gt;lin" in page.text


async def test_behind_a_proxy_programs_may_bring_a_token_and_a_proxy_s_own_bearer_is_none_of_ours(
    proxied: Site,
) -> None:
    assert (await proxied.http.get("/api/v1/me", headers=bearer(token_of(proxied, "viewer")))).status_code == 200
    async with proxied.from_address("10.0.0.7") as http:
        headers = {"Authorization": "Bearer eyJhbGciOi", "X-Forwarded-User": "lin"}
        assert (await http.get("/api/v1/me", headers=headers)).json()["how"] == "proxy"


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "6.6.6.6, 203.0.113.9, 127.0.0.1", "203.0.113.9"),  # what is further left, anybody can say
        ("127.0.0.1", "nonsense", "127.0.0.1"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("198.51.100.4", "203.0.113.9", "198.51.100.4"),
        ("::ffff:127.0.0.1", "203.0.113.9", "203.0.113.9"),
    ],
)
def test_the_address_is_the_last_that_is_no_proxy(peer: str, forwarded: str, found: str) -> None:
    door = Access(Settings(access="token", secret_key=new_key()), ControlView(), ManualClock(NOW))
    assert door.address(Headers({"x-forwarded-for": forwarded} if forwarded else {}), peer) == found


@pytest.mark.parametrize(
    "wrong",
    [
        {"proxy_roles": ["ops"]},
        {"proxy_roles": ["ops=root"]},
        {"proxy_roles": ["=viewer"]},
        {"proxy_from": ["proxy.bank"]},
    ],
)
def test_a_mapping_that_cannot_be_is_said_at_the_start(wrong: dict[str, Any]) -> None:
    with pytest.raises(BadSetting, match="proxy_"):
        Access(Settings(access="proxy", **wrong), ControlView(), ManualClock(NOW))


# -- roles, over all routes --------------------------------------------------------------------------------------------


def routes(found: list[BaseRoute], under: str = "") -> Iterator[tuple[str, str]]:
    for route in found:
        if isinstance(route, Mount):
            yield from routes(list(route.routes), under + route.path)
        elif isinstance(route, Route):
            yield from ((method, under + route.path) for method in sorted(route.methods or ()))


def concrete(path: str) -> str:
    return re.sub(r"\{[^}]+\}", "x", path)


ALL = sorted(set(routes(list(Site().app.routes))))
WRITES = [(method, concrete(path)) for method, path in ALL if method not in roles.READS]
READS = [(method, concrete(path)) for method, path in ALL if method == "GET"]
MATRIX: dict[str, tuple[str, ...]] = {
    "viewer": ("viewer",),
    "analyst": ("viewer", "analyst"),
    "operator": ("viewer", "analyst", "operator", "feeder"),
    "feeder": ("feeder",),
}


def test_every_write_there_is_has_its_line_in_the_table() -> None:
    assert len(WRITES) > 15
    assert [f"{method} {path}" for method, path in WRITES if not roles.is_listed(method, path)] == []


@pytest.mark.parametrize("path", ["/api/v1/anything", "/api/v2/alerts/x/ack", "/api/v1/alertsx", "/", "/api/v1"])
def test_a_write_that_nobody_thought_of_is_an_operator_s(path: str) -> None:
    assert roles.needed("POST", path) == "operator"


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("POST", "/api/v1/alerts/x/ack", "analyst"),
        ("DELETE", "/api/v1/alerts/x/ack", "analyst"),
        ("POST", "/api/v1/silences", "analyst"),
        ("DELETE", "/api/v1/silences/x", "analyst"),
        ("POST", "/api/v1/endpoints", "operator"),
        ("POST", "/api/v1/endpoints/x/rotate", "operator"),
        ("POST", "/api/v1/documents", "feeder"),
        ("POST", "/api/v1/tokens", "operator"),
        ("DELETE", "/api/v1/rules/check", "operator"),  # a rule of that name
        ("DELETE", "/api/v1/rules/preview", "operator"),
        ("PUT", "/api/v1/sensitivities/preview", "operator"),
        ("POST", "/api/v1/rules/preview", "analyst"),
        ("POST", "/api/v1/rulesx", "operator"),
        ("DELETE", "/api/v1/documents", "operator"),
        ("GET", "/api/v1/tokens", "operator"),
        ("HEAD", "/api/v1/tokens", "operator"),
        ("GET", "/api/v1/endpoints", "analyst"),
        ("GET", "/api/v1/deliveries", "analyst"),
        ("GET", "/api/v1/documents.csv", "analyst"),
        ("GET", "/api/v1/overview", "viewer"),
        ("GET", "/live", "viewer"),
    ],
)
def test_what_a_route_wants(method: str, path: str, role: str) -> None:
    assert roles.needed(method, path) == role


@pytest.mark.parametrize("role", tokens.ROLES)
async def test_each_role_may_what_the_table_says_and_nothing_else(role: Role) -> None:
    """Every route, asked by every role: refused by the door exactly where it should be, and never let in without a token."""
    async with open_site(access="token") as site:
        text = token_of(site, role)
        for method, path in WRITES:
            if roles.is_open(path):
                continue
            wanted = roles.needed(method, path)
            answer = await site.http.request(method, f"{path}", content=b"[]", headers=JSON | bearer(text))
            refused = answer.status_code == 403 and answer.json()["reason"] == "role_too_small"
            assert refused == (wanted not in MATRIX[role]), (method, path, answer.status_code)
            if refused:
                assert f"needs the role {wanted}" in answer.json()["title"]
            nobody = await site.http.request(method, path, content=b"[]", headers=JSON)
            assert nobody.status_code == 401, (method, path)
        for method, path in READS:
            if path in roles.STREAMS or roles.is_open(path):
                continue
            answer = await site.http.request(method, path, headers=bearer(text))
            refused = answer.status_code == 403 and "role_too_small" in answer.text
            assert refused == (roles.needed(method, path) not in MATRIX[role]), (method, path, answer.status_code)
            assert (await site.http.request(method, path)).status_code == 401, path


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example", **JSON}, 403),
        ({"Origin": "null", **JSON}, 403),
        ({"Origin": "http://127.0.0.1:9999", **JSON}, 403),
        ({"Sec-Fetch-Site": "same-site", **JSON}, 403),
        ({"Sec-Fetch-Site": "cross-site", **JSON}, 403),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({}, 415),
    ],
)
async def test_no_write_route_takes_a_request_of_another_site(site: Site, headers: dict[str, str], status: int) -> None:
    cookie = await logged_in(site, "operator")
    for method, path in WRITES:
        if path in ("/login", "/logout"):
            continue
        answer = await site.http.request(method, path, content=b"{}", headers=headers | session(cookie))
        assert answer.status_code == status, (method, path)
    assert site.pen.written == []
    assert site.pen.sent == []


async def test_another_site_may_link_here_and_use_nothing_up(site: Site) -> None:
    cookie = session(await logged_in(site, "viewer"))
    image = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    frame = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert (await site.http.get("/api/v1/overview", headers=image | cookie)).status_code == 403
    assert (await site.http.get("/", headers=frame | cookie)).status_code == 403
    assert (await site.http.get("/", headers=link | cookie)).status_code == 200


async def test_a_proxy_that_asks_under_another_name_still_knows_the_page_s_own_origin() -> None:
    async with open_site(page_url="https://gsw.bank.com") as site:
        for origin, status in (
            ("https://gsw.bank.com", 202),
            ("http://gsw.bank.com", 403),
            ("https://evil.example", 403),
        ):
            headers = JSON | {"Origin": origin}
            assert (
                await site.http.post("/api/v1/documents", content=b'{"text":"x"}', headers=headers)
            ).status_code == status


async def test_a_person_who_is_not_let_in_is_told_so_in_a_page() -> None:
    async with open_site(access="proxy", proxy_role="") as site:
        page = await site.http.get("/", headers=PAGE | {"X-Forwarded-User": "lin", "Accept-Language": "zh"})
        assert (page.status_code, page.headers["content-type"]) == (403, "text/html; charset=utf-8")
        assert "无法进入" in page.text
        nobody = await site.http.get("/", headers=PAGE)
        assert (nobody.status_code, "Nobody is named" in nobody.text) == (401, True)


async def test_who_comes_while_the_tokens_are_read_sees_a_page_that_asks_again(site: Site) -> None:
    site.app.state.door.access._is_read = lambda: False
    text = token_of(site, "viewer")
    page = await site.http.get("/alerts", headers=PAGE | bearer(text))
    assert (page.status_code, page.headers["retry-after"]) == (503, "2")
    assert '<meta http-equiv="refresh" content="2">' in page.text
    assert (await site.http.get("/alerts", headers=bearer(text))).json()["reason"] == "tokens_not_read"


async def test_no_cache_between_keeps_what_one_person_may_see(site: Site) -> None:
    own = bearer(token_of(site, "viewer"))
    for path in ("/api/v1/overview", "/alerts", "/api/v1/me"):
        assert (await site.http.get(path, headers=own)).headers["cache-control"] == "private, no-cache", path


# -- how often, and what is written down -------------------------------------------------------------------------------


async def test_who_asks_too_often_is_told_when_to_come_again_and_others_are_not(site: Site) -> None:
    one, other = bearer(token_of(site, "analyst", name="one")), bearer(token_of(site, "analyst", name="other"))
    told = [await site.http.post("/api/v1/silences", content=b"[]", headers=JSON | one) for _ in range(61)]
    assert [answer.status_code for answer in told] == [400] * 60 + [429]
    assert told[-1].json()["reason"] == "too_often"
    assert told[-1].headers["retry-after"] == "1"
    assert (await site.http.post("/api/v1/silences", content=b"[]", headers=JSON | other)).status_code == 400
    assert (await site.http.get("/api/v1/overview", headers=one)).status_code == 200
    site.clock.advance(1)
    assert (await site.http.post("/api/v1/silences", content=b"[]", headers=JSON | one)).status_code == 400


async def test_an_address_tries_ten_logins_a_minute(site: Site) -> None:
    answers = [await site.http.post("/login", data={"token": "gsw_x"}, headers=FORM) for _ in range(11)]
    assert [answer.status_code for answer in answers] == [401] * 10 + [429]
    async with site.from_address("198.51.100.4") as http:
        assert (await http.post("/login", data={"token": "gsw_x"}, headers=FORM)).status_code == 401


async def test_who_is_not_known_is_counted_by_address(site: Site) -> None:
    answers = [(await site.http.get("/api/v1/overview", headers=bearer("gsw_x"))).status_code for _ in range(601)]
    assert (answers[0], answers[-1]) == (401, 429)


def written_down(site: Site) -> list[dict[str, Any]]:
    site.app.state.door.trail.gathered()
    return [msgspec.to_builtins(entry) for entry in site.app.state.door.trail.waiting]


async def test_each_write_is_written_down_with_who_and_what_and_never_what_it_said(site: Site) -> None:
    cookie = await logged_in(site, "operator")
    own = JSON | {"Origin": "http://127.0.0.1:8080"} | session(cookie)
    await site.http.post("/api/v1/alerts/ep_9a41/ack", content=b'{"note": "very private"}', headers=own)
    silence = (
        await site.http.post("/api/v1/silences", content=b'{"subjects":["market"],"for":"2h"}', headers=own)
    ).json()
    body = b'{"url":"https://hooks.bank.com/t0ken","name":"risk"}'
    made = (await site.http.post("/api/v1/endpoints", content=body, headers=own)).json()
    await site.http.delete("/api/v1/endpoints/none", headers=own)
    login, ack, silenced, added, gone = written_down(site)
    assert (login["what"], login["status"], login["who"], login["how"]) == ("login", 303, "the operator", "session")
    assert (ack["what"], ack["action"], ack["object"]) == ("write", "POST /api/v1/alerts/{episode}/ack", "ep_9a41")
    assert (ack["who"], ack["role"], ack["address"], ack["status"]) == ("the operator", "operator", "127.0.0.1", 202)
    assert silenced["object"] == silence["id"]
    assert (added["what"], added["object"]) == ("secret", made["id"])
    assert (gone["what"], gone["status"], gone["object"]) == ("write", 404, "none")
    text = repr(written_down(site))
    for secret in ("very private", "t0ken", made["secret"], cookie):
        assert secret not in text


async def test_refusals_and_pushes_of_a_minute_are_one_record_each(site: Site) -> None:
    feeder, viewer = bearer(token_of(site, "feeder")), bearer(token_of(site, "viewer"))
    for _ in range(5):
        await site.http.post("/api/v1/documents", content=b'{"text":"x"}', headers=JSON | feeder)
        await site.http.post("/api/v1/endpoints", content=b"{}", headers=JSON | viewer)
        await site.http.post("/api/v1/documents", content=b"{}", headers={"Origin": "http://evil.example", **JSON})
        await site.http.post("/login", data={"token": "gsw_x"}, headers=FORM)
    found = {(one["what"], one.get("reason", "")): one for one in written_down(site)}
    assert {key: one["times"] for key, one in found.items()} == {
        ("push", ""): 5, ("refused", "role_too_small"): 5, ("refused", "foreign_origin"): 5, ("login_refused", "not_known"): 5
    }  # fmt: skip
    assert found["push", ""]["who"] == "the feeder"
    assert found["refused", "role_too_small"]["who"] == "the viewer"


async def test_tokens_are_made_listed_and_taken_away_by_an_operator(site: Site) -> None:
    own = JSON | bearer(token_of(site, "operator"))
    body = '{"name": "林", "role": "viewer", "days": 30}'.encode()
    made = (await site.http.post("/api/v1/tokens", content=body, headers=own)).json()
    assert (made["role"], made["by"], made["until"]) == ("viewer", "the operator", NOW + 30 * 24 * HOUR_MS)
    assert (await site.http.get("/api/v1/me", headers=bearer(made["token"]))).json()["name"] == "林"
    listed = (await site.http.get("/api/v1/tokens", headers=own)).text
    assert made["id"] in listed
    assert made["token"] not in listed
    assert "sha256" not in listed
    twice = await site.http.post("/api/v1/tokens", content=body, headers=own)
    assert (twice.status_code, twice.json()["reason"]) == (409, "token_refused")
    assert (await site.http.delete(f"/api/v1/tokens/{made['id']}", headers=own)).status_code == 204
    assert (await site.http.get("/api/v1/me", headers=bearer(made["token"]))).status_code == 401
    assert (await site.http.delete("/api/v1/tokens/nobody", headers=own)).status_code == 404


# -- by default, and at the start --------------------------------------------------------------------------------------


async def test_by_default_nobody_is_asked_and_everybody_here_may_do_everything() -> None:
    async with open_site() as site:
        assert (await site.http.get("/api/v1/me")).json() == {
            "name": "",
            "role": "operator",
            "how": "loopback",
            "until": None,
        }
        answer = await site.http.post("/api/v1/alerts/ep_9a41/ack", content=b'{"by": "lin"}', headers=JSON)
        assert (answer.status_code, site.view.acks["ep_9a41"].by) == (202, "lin")
        assert (await site.http.get("/login?next=/alerts")).headers["location"] == "/alerts"
        (entry,) = written_down(site)
        assert (entry["how"], entry["address"], "who" in entry) == ("loopback", "127.0.0.1", False)


def no_desk(*_: Any) -> Any:
    raise AssertionError("not so far")


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"host": "0.0.0.0"}, BadSetting),
        ({"host": "::", "access": "loopback"}, BadSetting),
        ({"host": "0.0.0.0", "access": "token", "secret_key": new_key()}, PlainText),
        ({"access": "token"}, NoSecretKey),
        ({"access": "proxy", "proxy_roles": ["x"]}, BadSetting),
    ],
)
async def test_what_would_leave_the_page_open_is_refused_at_the_start(
    settings: dict[str, Any], error: type[Exception]
) -> None:
    import asyncio

    with pytest.raises(error):
        await run(Settings(port=0, **settings), TOPOLOGY, SystemClock(), asyncio.Event(), make_desk=no_desk)


async def test_a_stream_ends_soon_after_its_token_is_removed(site: Site) -> None:
    import asyncio

    site.app.state.door._check_s = 0.02
    text = token_of(site, "viewer", name="short")
    person = site.app.state.door.access.person(Headers(bearer(text)), "", "127.0.0.1")
    assert isinstance(person, Person)

    async def nothing() -> Any:
        await asyncio.Event().wait()

    ending = asyncio.create_task(site.app.state.door.until_it_ends(nothing, person)())
    await asyncio.sleep(0.05)
    assert not ending.done()
    site.view.apply(person.token, None)
    began = time.monotonic()
    assert await asyncio.wait_for(ending, 2) == {"type": "http.disconnect"}
    assert time.monotonic() - began < 1


def test_a_role_that_was_changed_is_asked_for_again() -> None:
    view, clock = ControlView(), ManualClock(NOW)
    made, text = tokens.made({}, "Lin", "operator", 0, "ana", NOW)
    view.apply(made.id, msgspec.json.encode(made))
    door = Access(Settings(access="token", secret_key=new_key()), view, clock)
    person, _ = door.log_in(text)
    assert door.holds(person)
    view.apply(made.id, msgspec.json.encode(msgspec.structs.replace(made, role="viewer")))
    assert not door.holds(person)
    feeder, pushes = tokens.made({}, "feed", "feeder", 0, "ana", NOW)
    view.apply(feeder.id, msgspec.json.encode(feeder))
    with pytest.raises(NotLetIn):
        door.log_in(pushes)
