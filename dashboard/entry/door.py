"""The door: every request passes it. Who is it (access.py), not too often (rates.py), may she do this (roles.py); then the write is noted
(audit.py). Pure ASGI, behind guards.py, which keeps other sites out before anything is asked or counted here.

A page that wants a login leads there; the interface answers 401, 403 and 429 as problems. A stream ends when its session ends.
"""

import asyncio
import math
from typing import Any, cast
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import Request, cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.entry import access, roles
from dashboard.entry.access import Access, NotKnown, Person
from dashboard.entry.audit import Trail, new_id
from dashboard.entry.rates import Kind, Rates, asker_of
from dashboard.problems import problem
from dashboard.render import rendered
from groundswell.clock import Clock
from groundswell.decisions import Audited
from groundswell.errors import GroundswellError, Retryable
from groundswell.records import AuditEntry
from groundswell.text import safe

CHECK_S = 30.0
PATH_CHARS = 200


class Door:
    """What decides and what notes; app.py makes one for all requests."""

    def __init__(self, access: Access, rates: Rates, trail: Trail, clock: Clock, *, check_s: float = CHECK_S) -> None:
        self.access, self.rates, self.trail = access, rates, trail
        self._clock, self._check_s = clock, check_s

    def note(self, scope: Scope, what: Audited, status: int, reason: str = "") -> None:
        """One record of a request: its person, its address, its route and object."""
        state = scope.get("state", {})
        person = state.get("person")
        named = " ".join(str(value) for value in scope.get("path_params", {}).values())
        self.trail.note(
            AuditEntry(
                id=new_id(),
                at=self._clock.now_ms(),
                what=what.value,
                action=safe(f"{scope['method']} {_route(scope)}", PATH_CHARS),
                status=status,
                who=person.name if person else "",
                role=person.role if person else "",
                how=person.how if person else "",
                address=safe(self._address(scope), 60),
                object=safe(state.get("object", "") or named, PATH_CHARS),
                reason=reason or state.get("reason", ""),
            )
        )

    def turned_away(self, scope: Scope, status: int, reason: str) -> None:
        """guards.py refused it."""
        self.note(scope, Audited.REFUSED, status, reason)

    def decide(self, scope: Scope) -> Response | None:
        """Find out who it is; an answer where the door stays shut. Leaves the person in the request's state."""
        method, path, headers = scope["method"], scope["path"], Headers(scope=scope)
        state, opened = scope.setdefault("state", {}), roles.is_open(path)
        if path.startswith("/static/"):
            return None
        person: Person | None = None
        try:
            cookie = cookie_parser(headers.get("cookie", "")).get(self.access.cookie, "")
            person = self.access.person(headers, cookie, _peer(scope))
        except GroundswellError as error:
            if not opened:
                late = self._too_often(scope, _kind(method, path), None)
                return late or self._refused(scope, headers, error)
        state["person"] = person
        if path == "/login" and method == "POST":
            return self._too_often(scope, "login", None)
        kind = _kind(method, path)
        late = self._too_often(scope, kind, person) if kind else None
        if late is not None or person is None:
            return late
        if method not in roles.READS and person.how == "session" and "origin" not in headers:
            state["reason"] = "no_origin"
            return problem(403, "no_origin", "A session writes from its page only.", "Programs send a token.")
        needed = roles.needed(method, path)
        if not opened and not person.may(needed):
            state["reason"] = "role_too_small"
            called = f"{person.name} has" if person.name else "There is"
            return problem(
                403,
                "role_too_small",
                f"This needs the role {needed}; {called} the role {person.role}.",
                "Ask an operator; docs/access.md lists what each role may do.",
            )
        return None

    def audited(self, scope: Scope, status: int) -> Audited | None:
        """What a finished request is in the trail; None for one that is not written down."""
        method, path = scope["method"], scope["path"]
        if path == "/login":
            return None if method in roles.READS else Audited.LOGIN if status == 303 else Audited.LOGIN_REFUSED
        if status in (401, 403, 429):
            # A reader without a session is sent to the login: that is no news.
            return Audited.REFUSED if method not in roles.READS or status == 403 else None
        if method in roles.READS:
            return Audited.EXPORT if roles.is_export(path) else None
        if roles.is_look(method, path):
            return None
        if path == "/logout":
            return Audited.LOGOUT
        if path == "/api/v1/documents":
            return Audited.PUSH
        return Audited.SECRET if status == 201 and _route(scope) in roles.SHOWS_SECRET else Audited.WRITE

    def until_it_ends(self, receive: Receive, person: Person) -> Receive:
        """Says that the browser has gone once the session has ended."""

        async def receive_or_end() -> Message:
            waiting = asyncio.ensure_future(receive())
            try:
                while not (await asyncio.wait({waiting}, timeout=self._check_s))[0]:
                    if not self.access.holds(person):
                        return {"type": "http.disconnect"}
                return waiting.result()
            finally:
                waiting.cancel()

        return receive_or_end

    def _refused(self, scope: Scope, headers: Headers, error: GroundswellError) -> Response:
        scope["state"]["reason"] = error.reason
        if isinstance(error, Retryable):
            return problem(503, error.reason, str(error), error.remedy, Retry_After="2")
        if not isinstance(error, NotKnown):
            return problem(403, error.reason, str(error), error.remedy)
        if self.access.way == "token" and _is_page(scope, headers):
            asked = scope["path"] + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
            return RedirectResponse(f"/login?next={quote(access.local(asked), safe='/')}", 303)
        return problem(401, error.reason, str(error), error.remedy, WWW_Authenticate='Bearer realm="groundswell"')

    def _too_often(self, scope: Scope, kind: Kind | None, person: Person | None) -> Response | None:
        if kind is None:
            return None
        known = person is not None and person.how != "loopback"
        asker = f"person {person.token or person.name}" if person and known else asker_of(self._address(scope))
        wait_s = self.rates.wait_s(kind, asker)
        if wait_s == 0:
            return None
        scope["state"]["reason"] = "too_often"
        after = str(max(1, math.ceil(wait_s)))
        return problem(
            429, "too_often", f"Too many requests of the kind {kind}.", f"Wait {after} s.", Retry_After=after
        )

    def _address(self, scope: Scope) -> str:
        return self.access.address(Headers(scope=scope), _peer(scope))


class Doorkeeper:
    """The middleware: asks the door, answers for it, and notes what became of the request."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, whole = 0, False

        async def watched(message: Message) -> None:
            nonlocal status, whole
            if message["type"] == "http.response.start":
                status = message["status"]
            whole = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        try:
            refusal = self._door.decide(scope)
            if refusal is not None:
                await _for_people(scope, refusal)(scope, receive, watched)
                return
            person = scope["state"].get("person")
            if person is not None and person.how != "loopback" and scope["path"] in roles.STREAMS:
                await self._app(scope, self._door.until_it_ends(receive, person), watched)
                if status and not whole:  # else the server would cut the connection, and say that the program failed
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                return
            await self._app(scope, receive, watched)
        except Exception:
            status = 500
            raise
        finally:
            what = self._door.audited(scope, status)
            if what is not None:
                self._door.note(scope, what, status)


def _kind(method: str, path: str) -> Kind | None:
    """Which limit a request counts against. Streams have one of their own, in the hub."""
    if method not in roles.READS:
        return "push" if path == "/api/v1/documents" else "write"
    if path in roles.STREAMS:
        return None
    return "export" if roles.is_export(path) else "read"


def _is_page(scope: Scope, headers: Headers) -> bool:
    """Whether a person looks at the answer: a browser that goes somewhere asks for HTML, a script and a program do not."""
    return scope["method"] == "GET" and "text/html" in headers.get("accept", "")


def _for_people(scope: Scope, refusal: Response) -> Response:
    """A refusal as a page, where a person looks at it."""
    if refusal.status_code not in (401, 403, 429, 503) or not _is_page(scope, Headers(scope=scope)):
        return refusal
    after = refusal.headers.get("retry-after", "")
    request = Request(scope)
    page = rendered(
        request, "refused.html", status=refusal.status_code, reason=scope["state"].get("reason", ""), again_s=after
    )
    if after:
        page.headers["Retry-After"] = after
    return page


def _route(scope: Scope) -> str:
    """/api/v1/silences/{silence}; the path itself, where it led to no route."""
    route = scope.get("route")
    return f"{scope.get('root_path', '')}{route.path}" if isinstance(route, Route) else str(scope["path"])


def _peer(scope: Scope) -> str:
    client: Any = scope.get("client")
    return str(client[0]) if client else ""


def door(request: Request) -> Door:
    """The door of the running pages."""
    return cast("Door", request.app.state.door)
