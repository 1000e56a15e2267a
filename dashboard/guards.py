"""What every answer carries and every write must show, so that a hostile page or text can do nothing here. Pure ASGI.

The policy allows no inline script, no foreign origin and no HTML made of strings. The browser tests read its reports.
"""

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
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    # Only loopback is served for now; on a plain-http name Chromium would log an error for this one.
    "Cross-Origin-Opener-Policy": "same-origin",
}
READS = frozenset({"GET", "HEAD", "OPTIONS"})


class SecurityHeaders:
    """Adds HEADERS to every answer, and `Cache-Control: no-cache` where nothing else is said."""

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
            await send(message)

        await self._app(scope, receive, with_headers)


class OwnOrigin:
    """Lets a write through from our own pages and from programs, never from another site.

    A browser always says `Origin` on a foreign POST, and cannot send `application/json` there without asking first.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in READS:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        foreign = origin is not None and (origin == "null" or urlsplit(origin).netloc != headers.get("host"))
        if foreign or site not in (None, "same-origin", "none"):
            refusal = problem(
                403, "foreign_origin", "Another site may not write here.", "Write from this page, or from a program."
            )
        elif headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            refusal = problem(415, "not_json_type", "Writes are JSON.", "Send Content-Type: application/json.")
        else:
            await self._app(scope, receive, send)
            return
        await refusal(scope, receive, send)
