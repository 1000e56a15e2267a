"""What every answer carries and every write must show, so that a hostile page or text can do nothing here. Pure ASGI.

The policy allows no inline script, no foreign origin and no HTML made of strings. The browser tests read its reports.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard.problems import problem

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types live-worker"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    # With "no-referrer" browsers would send `Origin: null` with the form of the login. Nothing goes to other sites either way.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    # On a plain-http name that is not this machine's Chromium logs an error for this one, and goes on.
    "Cross-Origin-Opener-Policy": "same-origin",
}
READS = frozenset({"GET", "HEAD", "OPTIONS"})
FORMS = frozenset({"/login", "/logout"})
FORM_TYPE = "application/x-www-form-urlencoded"
FOREIGN = (403, "foreign_origin", "Another site may not ask this.", "Go on from this page, or from a program.")
NOT_JSON = (415, "not_json_type", "Writes are JSON.", "Send Content-Type: application/json.")
Told = Callable[[Scope, int, str], None]  # the request, the status of its refusal, the reason


class SecurityHeaders:
    """Adds HEADERS to every answer, and `Cache-Control: private, no-cache` where nothing else is said."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-cache")
                if headers["Cache-Control"] == "no-cache" and not scope["path"].startswith("/static/"):
                    headers["Cache-Control"] = (
                        "private, no-cache"  # what one may see, a cache between shows nobody else
                    )
            await send(message)

        await self._app(scope, receive, with_headers)


class OwnOrigin:
    """Lets a request through from our own pages and from programs, never from another site. `told` hears of what it turned away.

    A browser always says `Origin` on a foreign POST, and cannot send `application/json` there without asking first. The two forms that are
    no JSON, of the login, must say where they come from. Another site may link here, and read nothing else: it could use up what its
    visitor may ask.
    """

    def __init__(self, app: ASGIApp, page_url: str = "", told: Told = lambda *_: None) -> None:
        self._app, self._told = app, told
        there = urlsplit(page_url)
        self._public = (there.scheme, there.netloc)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers, reads, is_form = Headers(scope=scope), scope["method"] in READS, scope["path"] in FORMS
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        if self._is_foreign(headers, reads=reads, is_form=is_form):
            refusal = FOREIGN
        elif not reads and kind != (FORM_TYPE if is_form else "application/json"):
            refusal = NOT_JSON
        else:
            await self._app(scope, receive, send)
            return
        if not reads:
            self._told(scope, refusal[0], refusal[1])
        await problem(*refusal)(scope, receive, send)

    def _is_foreign(self, headers: Headers, *, reads: bool, is_form: bool) -> bool:
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        other = site not in (None, "same-origin", "none")
        if reads:
            is_link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            return other and not is_link
        if origin is None:
            return other or (is_form and site != "same-origin")
        there = urlsplit(origin)
        if (
            there.netloc and there.netloc == self._public[1]
        ):  # a proxy may ask us under another name; the page has one scheme
            return other or there.scheme != self._public[0]
        return other or not there.netloc or there.netloc != headers.get("host")
