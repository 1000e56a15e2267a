"""The pages' process: its routes and middleware, and how it starts and ends. Read live.py, api.py, pages.py next.

It keeps nothing of its own and may die without losing an alert.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dashboard import api, consumers, desk, documents, endpoints, feedback, pages, rules, system, watchlists
from dashboard.guards import OwnOrigin, SecurityHeaders
from dashboard.intake import Intake
from dashboard.live import Hub
from dashboard.parts import MakeDesk, Parts
from dashboard.problems import from_error, from_redis
from dashboard.words import Words
from groundswell import beat, control
from groundswell.clock import Clock
from groundswell.connect import open_redis
from groundswell.errors import BadSetting, GroundswellError
from groundswell.keys import Keys
from groundswell.records import Acknowledgement
from groundswell.settings import Settings
from groundswell.shown import Shown
from groundswell.telemetry import log
from stream.topology import SCORED, Topology

STATIC = Path(__file__).parent / "static"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
CONTROL_AGAIN_S = 5.0


def make_app(parts: Parts) -> Starlette:
    """All routes over these parts. The hub is started and stopped by `run`."""
    app = Starlette(
        routes=[
            *pages.ROUTES,
            *documents.ROUTES,
            *rules.ROUTES,
            *watchlists.ROUTES,
            *endpoints.ROUTES,
            *system.ROUTES,
            *consumers.ROUTES,
            Route("/live", api.live),
            Mount(
                "/api/v1",
                routes=[
                    *consumers.API,
                    *feedback.API,
                    *documents.API,
                    *rules.API,
                    *watchlists.API,
                    *system.API,
                    *desk.API,
                    *api.API,
                ],
            ),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=_names(parts.settings), www_redirect=False),
            Middleware(OwnOrigin),
            Middleware(GZipMiddleware, minimum_size=500, compresslevel=6),
        ],
        exception_handlers={GroundswellError: from_error, RedisError: from_redis, HTTPException: pages.missing},
    )
    app.state.parts = parts
    return app


async def run(
    settings: Settings, topology: Topology, clock: Clock, stop: asyncio.Event, *, make_desk: MakeDesk
) -> None:
    """Serve until `stop`; what people write goes through the desk that the edge makes.

    Raises BadSetting where it may not or cannot listen, RedisAway without a Redis at first.
    """
    with _listening(settings) as listener:
        redis = await open_redis(settings)
        view = control.ControlView()
        keys = Keys(settings.prefix)
        hub = Hub(Shown(redis, keys, topology.partitions(SCORED)), clock, acks=lambda: _acks(view))
        intake = Intake(settings, topology, clock)
        writes = make_desk(view, intake, redis, keys)
        app = make_app(Parts(settings, topology, clock, keys, redis, hub, intake, Words(), writes))
        await hub.tick()
        server = Server(hub, _config(app))
        tasks = [
            asyncio.create_task(hub.run(), name="hub"),
            asyncio.create_task(_follow_control(settings, topology, view, stop), name="control"),
            asyncio.create_task(_end_with(stop, server), name="stop"),
            asyncio.create_task(
                beat.keep_beating(
                    redis, keys, clock, "dashboard", str(os.getpid()), lambda: {"note": address(listener)}
                ),
                name="beat",
            ),
        ]
        try:
            log().info("dashboard_open", url=address(listener))
            await server.serve(sockets=[listener])
        finally:
            hub.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await intake.close()
            await redis.aclose()


class Server(uvicorn.Server):
    """Ends the streams first, or uvicorn waits for browsers that never leave. Signals are the command line's."""

    def __init__(self, hub: Hub, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._hub = hub

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._hub.close()
        await super().shutdown(sockets)


def address(listener: socket.socket) -> str:
    """http://host:port of what is listened on."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _config(app: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=65_536,
    )


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """A bound socket, before anything else is opened: a port that is taken is said at once."""
    host = settings.host
    if not _is_loopback(host) and not settings.behind_proxy:
        raise BadSetting(
            f"The pages have no login yet, and {host} is open to others.",
            remedy="Keep GROUNDSWELL_HOST=127.0.0.1; or put a proxy with a login before it and set GROUNDSWELL_BEHIND_PROXY=true.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host.strip("[]"), settings.port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            raise BadSetting(
                f"Port {settings.port} on {host} {'is taken' if taken else f'cannot be used: {error.strerror}'}.",
                remedy="Set GROUNDSWELL_PORT to another port, or to 0 for a free one.",
            ) from error
        yield listener
    finally:
        listener.close()


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _names(settings: Settings) -> list[str]:
    """Host names that are ours; any other is a page elsewhere that points its name at us."""
    public = urlsplit(settings.page_url).hostname
    return list({*LOOPBACK, settings.host, *([public] if public else [])})


def _acks(view: control.ControlView) -> dict[str, Acknowledgement]:
    return dict(view.acks)


async def _end_with(stop: asyncio.Event, server: Server) -> None:
    await stop.wait()
    server.should_exit = True


async def _follow_control(
    settings: Settings, topology: Topology, view: control.ControlView, stop: asyncio.Event
) -> None:
    """Acknowledgements, again and again: a broker that is away takes nothing from the pages but who has seen what."""
    while settings.kafka:
        try:
            await control.follow(settings, topology, view, stop, asyncio.Event())
        except Exception as error:  # noqa: BLE001 - an edge: whatever ends the reading, the pages go on and it is tried again
            log().warning("control_unread", error=repr(error)[:200])
        if stop.is_set():
            return
        await asyncio.sleep(CONTROL_AGAIN_S)
