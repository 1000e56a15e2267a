"""A small local webhook receiver for `groundswell demo` and tests; verifies with the reference library."""

import asyncio
from typing import Any

import msgspec
from aiohttp import web
from msgspec import Struct
from standardwebhooks import Webhook

from groundswell.clock import Clock, SystemClock

BODY_BYTES = 65_536


class Received(Struct, frozen=True, kw_only=True):
    """One request: its webhook id, whether the signature held, when it came (epoch ms), the event, headers in lower case."""

    id: str
    verified: bool
    received_at: int
    event: dict[str, Any]
    headers: dict[str, str] = {}


class Receiver:
    """Listens on 127.0.0.1. `answers`: statuses for the next requests, then each is 204; `hang_s` delays every answer.

    Give it the secret after the endpoint was added: `receiver.secret = secret`.
    """

    def __init__(self, secret: str = "", *, answers: list[int] | None = None, clock: Clock | None = None) -> None:
        self.secret, self.answers, self.hang_s = secret, list(answers or []), 0.0
        self.received: list[Received] = []
        self._clock = clock or SystemClock()
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen on a free port; returns the URL to subscribe with."""
        app = web.Application(client_max_size=BODY_BYTES)
        app.router.add_post("/hook", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/hook"

    async def stop(self) -> None:
        """Close the port; safe to repeat."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        status = self.answers.pop(0) if self.answers else 204
        self.received.append(
            Received(
                id=request.headers.get("webhook-id", ""),
                verified=self._verify(body, dict(request.headers)),
                received_at=self._clock.now_ms(),
                event=_event(body),
                headers={name.lower(): value for name, value in request.headers.items()},
            )
        )
        if self.hang_s:
            await asyncio.sleep(self.hang_s)
        return web.Response(status=status)

    def _verify(self, body: bytes, headers: dict[str, str]) -> bool:
        try:
            Webhook(self.secret).verify(body, {name.lower(): value for name, value in headers.items()})
        except Exception:  # noqa: BLE001 - the library raises four kinds on hostile headers; each means no
            return False
        return True


def _event(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
