"""The pages' process: its routes and middleware, and how it starts and ends. Read live.py, api.py, pages.py next.

It keeps nothing of its own and may die without losing an alert.
"""

import asyncio
import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
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

from dashboard import api, openapi, pages
from dashboard.alerts import alert, consumers, feedback
from dashboard.archive import documents
from dashboard.control import desk, endpoints, rules, watchlists
from dashboard.control.pen import Pen
from dashboard.entry import login, tokens
from dashboard.entry.access import Access
from dashboard.entry.audit import Trail
from dashboard.entry.door import Door, Doorkeeper
from dashboard.entry.guards import OwnOrigin, SecurityHeaders
from dashboard.entry.rates import Rates
from dashboard.health import system
from dashboard.health.counting import Counting
from dashboard.home import overview
from dashboard.live import Hub
from dashboard.parts import MakeDesk, MakeInstallation, MakeTuning, Parts
from dashboard.problems import from_error, from_redis
from dashboard.subjects import subject
from dashboard.subjects.prices import Prices
from dashboard.subjects.prices import follow as follow_prices
from dashboard.words import Words
from groundswell import control
from groundswell.clients.connect import open_redis
from groundswell.clock import Clock
from groundswell.decisions import Stage
from groundswell.errors import BadSetting, GroundswellError, PlainText
from groundswell.feedback import Remarks
from groundswell.keys import Keys
from groundswell.records import Acknowledgement
from groundswell.running import beat
from groundswell.settings import Settings
from groundswell.shown import Shown
from groundswell.telemetry import log
from stream.topology import SCORED, Topology

STATIC = Path(__file__).parent / "static"
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
CONTROL_AGAIN_S = 5.0
UNREAD_BYTES = 32_768
UNANSWERED_MS = 25_000


def make_app(parts: Parts, door: Door | None = None) -> Starlette:
    """All routes over these parts. The hub is started and stopped by `run`. `door` keeps who may not come out; by default one of these
    settings, whose audit trail nobody writes down."""
    door = door or make_door(parts.settings, parts.view, parts.clock)
    app = Starlette(
        routes=[
            *login.ROUTES,
            *overview.ROUTES,
            *alert.ROUTES,
            *subject.ROUTES,
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
                    *alert.API,
                    *feedback.API,
                    *documents.API,
                    *rules.API,
                    *watchlists.API,
                    *endpoints.API,
                    *system.API,
                    *desk.API,
                    *subject.API,
                    *overview.API,
                    *login.API,
                    *tokens.API,
                    *openapi.API,
                    *api.API,
                ],
            ),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(TrustedHostMiddleware, allowed_hosts=_names(parts.settings), www_redirect=False),
            Middleware(OwnOrigin, page_url=parts.settings.page_url, told=door.turned_away),
            Middleware(Doorkeeper, door=door),
            Middleware(GZipMiddleware, minimum_size=500, compresslevel=6),
        ],
        exception_handlers={GroundswellError: from_error, RedisError: from_redis, HTTPException: pages.missing},
    )
    app.state.parts = parts
    app.state.door = door
    return app


def make_door(
    settings: Settings, view: control.ControlView, clock: Clock, is_read: Callable[[], bool] = lambda: True
) -> Door:
    """Who may come in by these settings. Raises BadSetting, NoSecretKey."""
    return Door(Access(settings, view, clock, is_read), Rates(clock.monotonic_s), Trail(clock), clock)


async def run(
    settings: Settings, topology: Topology, clock: Clock, stop: asyncio.Event, *, make_desk: MakeDesk,
    make_installation: MakeInstallation | None = None, make_tuning: MakeTuning | None = None,
) -> None:  # fmt: skip
    """Serve until `stop`; what people write goes through the desk that the edge makes.

    Raises BadSetting where it may not or cannot listen, RedisAway without a Redis at first.
    """
    with _listening(settings) as listener:
        view, read = control.ControlView(), asyncio.Event()
        door = make_door(settings, view, clock, read.is_set)
        redis = await open_redis(settings)
        keys = Keys(settings.prefix)
        shown, counting = Shown(redis, keys, topology.partitions(SCORED)), Counting(redis, keys, clock)
        hub = Hub(shown, clock, acks=lambda: _acks(view), counting=counting)
        remarks = Remarks(hub.again)
        pen = Pen(settings, topology, clock)
        writes = make_desk(view, pen, redis, keys)
        prices = Prices(settings)
        installation = make_installation(redis, keys) if make_installation else None
        tuning = make_tuning(view, pen, redis, keys) if make_tuning else None
        app = make_app(
            Parts(
                settings,
                topology,
                clock,
                keys,
                redis,
                hub,
                pen,
                Words(),
                writes,
                view,
                prices=prices,
                installation=installation,
                tuning=tuning,
                control_read=lambda: read.is_set() or not settings.kafka,
                remarks=remarks,
            ),
            door,
        )
        await hub.tick()
        server = Server(hub, _config(app))
        tasks = [
            asyncio.create_task(hub.run(), name="hub"),
            asyncio.create_task(_follow_control(settings, topology, view, stop, read), name="control"),
            asyncio.create_task(door.trail.run(pen.audit), name="audit"),
            asyncio.create_task(follow_prices(settings, prices, clock), name="prices"),
            asyncio.create_task(feedback.keep_following(settings, topology, remarks, stop), name="feedback"),
            asyncio.create_task(_end_with(stop, server), name="stop"),
            asyncio.create_task(
                beat.keep_beating(redis, keys, clock, Stage.DASHBOARD, lambda: {"note": address(listener)}),
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
            if tuning is not None:
                await tuning.previews.close()
            await door.trail.close(pen.audit)
            await app.state.parts.sieves.close()
            await pen.close()
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
        proxy_headers=False,  # access.py decides whose word on an address counts
        server_header=False,
        timeout_graceful_shutdown=5,
        h11_max_incomplete_event_size=65_536,
    )


@contextlib.contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    """A bound socket, before anything else is opened: a port that is taken is said at once."""
    host = settings.host
    _guard(settings)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # What a browser does not read waits in the kernel: little of it, or a dead one is noticed only after minutes.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, UNREAD_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNANSWERED_MS)
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


def _guard(settings: Settings) -> None:
    """Raises BadSetting or PlainText where others could come in unasked, or would send their tokens in plain text."""
    host = settings.host
    if _is_loopback(host):
        return
    if settings.access == "loopback" and not settings.behind_proxy:
        raise BadSetting(
            f"There is no login with access=loopback, and {host} is open to others.",
            remedy="Keep GROUNDSWELL_HOST=127.0.0.1; or set GROUNDSWELL_ACCESS=token, or =proxy where a proxy has a login: docs/access.md.",
        )
    if settings.access == "token" and not settings.page_url.startswith("https://") and not settings.insecure:
        raise PlainText(
            f"Tokens would go to {host} unencrypted.",
            remedy="Put a proxy with TLS before it and set GROUNDSWELL_PAGE_URL=https://...; where the network itself keeps others out, "
            "GROUNDSWELL_INSECURE=true allows it.",
        )


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
    settings: Settings, topology: Topology, view: control.ControlView, stop: asyncio.Event, read: asyncio.Event
) -> None:
    """Acknowledgements, again and again: a broker that is away takes nothing from the pages but who has seen what."""
    while settings.kafka:
        try:
            await control.follow(settings, topology, view, stop, read)
        except Exception as error:  # noqa: BLE001 - an edge: whatever ends the reading, the pages go on and it is tried again
            log().warning("control_unread", error=repr(error)[:200])
        if stop.is_set():
            return
        await asyncio.sleep(CONTROL_AGAIN_S)
