"""Alerts for programs without a webhook: an event stream that resumes, an Atom feed, and the formats as documents.

Each is a view of what Redis holds of every episode, its newest event. Every transition of the last 90 days is on the alerts
topic (asyncapi.json says where): who must not miss one reads there, or takes a webhook.
"""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement, tostring

import msgspec
from redis.exceptions import RedisError
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard import rows
from dashboard.alerts import listing
from dashboard.api import PING_S, SEND_S, answer, tagged
from dashboard.live import MAX_STREAMS, Full
from dashboard.parts import Parts, parts
from dashboard.problems import problem
from dashboard.words import TAGS, language_of
from groundswell import alert_views, schemas
from groundswell.errors import RedisAway
from groundswell.records import AlertView
from groundswell.telemetry import log
from groundswell.text import safe
from groundswell.times import rfc3339

ATOM = "http://www.w3.org/2005/Atom"
FEED_MOST = 50
RESUME_MOST = 1_000
OVERLAP_MS = 600_000  # an event may be written later than a younger one: what comes twice has the same id


async def stream(request: Request) -> Response:
    """Server-sent events, one an alert event: `event` is its type, `data` the JSON of a webhook.

    After `Last-Event-ID` (or `since`, epoch ms) it begins with what is newer; events of the last minutes before may come
    again under their own ids.
    """
    here = parts(request)
    asked = request.headers.get("last-event-id") or request.query_params.get("since", "")
    since = int(asked) if asked.isascii() and asked.isdigit() and len(asked) <= 15 else None
    try:
        ticks = here.hub.watch((), "")
    except Full:
        return problem(
            503, "too_many_streams", f"{MAX_STREAMS} streams are open.", "Try again in some seconds.", Retry_After="10"
        )
    return EventSourceResponse(_events(here, ticks, since), ping=PING_S, send_timeout=SEND_S)


async def _events(here: Parts, ticks: AsyncIterator[bytes], since: int | None) -> AsyncIterator[bytes]:
    """Until the hub closes. `told` holds an id for each episode that is shown, a few hundred at most."""
    told = {} if since is not None else {view.episode: view.event.id for view in here.hub.shown.alerts.values()}
    newest = since or 0
    async with aclosing(ticks):  # type: ignore[type-var]
        yield b"retry: 2000\n\n"
        views = await _after(here, since - OVERLAP_MS) if since is not None else []
        while True:
            for view in sorted(views, key=_written_at):
                if told.get(view.episode) == view.event.id:
                    continue
                told[view.episode] = view.event.id
                newest = max(newest, _written_at(view))
                data = msgspec.json.encode(view.event)
                yield b"id: %d\nevent: %s\ndata: %s\n\n" % (newest, view.event.type.encode(), data)
            if await anext(ticks, None) is None:
                return
            views = list(here.hub.shown.alerts.values())
            known = here.hub.shown.alerts.keys()
            if len(told) > 2 * RESUME_MOST:
                told = {episode: event for episode, event in told.items() if episode in known}


async def _after(here: Parts, at_ms: int) -> list[AlertView]:
    """Episodes whose newest event was written after a moment; at most RESUME_MOST, the newest."""
    try:
        names: Any = await here.redis.zrevrangebyscore(here.keys.alerts, "+inf", f"({at_ms}", start=0, num=RESUME_MOST)
        return await alert_views.several(here.redis, here.keys, [name.decode() for name in names])
    except (RedisError, RedisAway, OSError) as error:
        log().warning("redis_away", error=type(error).__name__, hint="The stream goes on with what comes next.")
        return []


async def feed(request: Request) -> Response:
    """The newest alerts as Atom 1.0, in the language that `lang` or the browser asks for."""
    here = parts(request)
    language = language_of(request)
    views, _ = await listing.listed(here.redis, here.keys, cursor="", limit=FEED_MOST)
    site = here.settings.page_url or str(request.base_url).rstrip("/")
    return tagged(request, _atom(here, views, site, language), "application/atom+xml")


def _atom(here: Parts, views: list[AlertView], site: str, language: str) -> bytes:
    """Escaped by the XML writer; texts are cleaned of what XML cannot hold."""
    root = Element("feed", {"xmlns": ATOM, "xml:lang": TAGS[language]})
    SubElement(root, "id").text = f"urn:groundswell:{here.settings.prefix}:alerts"
    SubElement(root, "title").text = "Groundswell"
    SubElement(root, "updated").text = rfc3339(max((_written_at(view) for view in views), default=0))
    SubElement(root, "link", {"rel": "self", "href": f"{site}/feeds/alerts.atom?lang={language}"})
    SubElement(root, "link", {"rel": "alternate", "href": f"{site}/alerts?lang={language}"})
    SubElement(SubElement(root, "author"), "name").text = "Groundswell"
    for view in views:
        data = view.event.data
        entry = SubElement(root, "entry")
        # A transition is an entry of its own: readers show again what has a new id.
        SubElement(entry, "id").text = f"urn:groundswell:{view.event.id}"
        name = safe(data.subject.names.get(language) or data.subject.id, 80)
        SubElement(entry, "title").text = f"{here.words.name(language, 'state', view.state)} · {name}"
        SubElement(entry, "updated").text = rfc3339(_written_at(view))
        SubElement(entry, "published").text = rfc3339(rows.at_ms(data.detected_at) or 0)
        SubElement(
            entry, "link", {"rel": "alternate", "href": f"{site}/alerts/{quote(view.episode, safe='')}?lang={language}"}
        )
        SubElement(
            entry, "category", {"term": data.severity, "label": here.words.name(language, "severity", data.severity)}
        )
        SubElement(entry, "category", {"term": safe(data.subject.id, 120)})
        SubElement(entry, "summary").text = safe(data.summary.get(language) or data.summary.get("en", ""), 1_000)
    written: bytes = tostring(root, encoding="utf-8", xml_declaration=True)
    return written


async def alert_schema(request: Request) -> Response:
    """JSON Schema of an alert event, schema 1."""
    return answer(request, schemas.alert_schema(parts(request).settings.page_url))


async def asyncapi(request: Request) -> Response:
    """AsyncAPI 3 of the topics that others may read or write."""
    here = parts(request)
    return answer(request, schemas.asyncapi(here.settings, here.topology))


def _written_at(view: AlertView) -> int:
    return rows.at_ms(view.event.timestamp) or 0


API = [Route("/alerts/stream", stream)]
ROUTES = [
    Route("/feeds/alerts.atom", feed),
    Route(schemas.ALERT_SCHEMA, alert_schema),
    Route("/asyncapi.json", asyncapi),
]
