"""The overview: what is wrong, with whom, since when. The page is a frame that static/overview.js fills from the JSON here.

Read movers.py for what may be asked for, first_run.py for what an empty installation shows instead.
"""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard import rows
from dashboard.api import answer, inbox, number
from dashboard.home import first_run, movers
from dashboard.parts import Parts, parts
from dashboard.render import rendered
from dashboard.words import language_of
from groundswell.topics import TOPIC_NAMES

WATCHLISTS = 200
# In the page's address these ask for other rows than the usual ones, which the browser may fetch before the script asks.
ASKS = {"watchlist", "state", "topic", "source", "language", "sort", "rows"}


async def page(request: Request) -> Response:
    """The overview, or how to begin where nothing was ever counted."""
    here = parts(request)
    empty = here.hub.state()["state"] == "empty"
    return rendered(
        request,
        "overview.html",
        words=("overview",),
        empty=empty,
        plain=not set(request.query_params) & ASKS,
        first=_first(request),
    )


async def start(request: Request) -> Response:
    """How to begin, by its own address."""
    return rendered(request, "start.html", first=_first(request))


def _first(request: Request) -> first_run.Commands:
    return first_run.commands(parts(request), str(request.base_url), language_of(request))


async def overview(request: Request) -> Response:
    """The market in one line, the subjects that need eyes first, the newest alerts, and how fresh it all is.

    `watchlist`, `state`, `topic`, `source`, `language`: which subjects; `sort` (evidence, neg, ratio, share, reach, name; "-" before it
    for the other way round) and `limit` (60). The market and the alerts are those of all subjects, so that no filter hides an alarm.
    """
    here = parts(request)
    asked = movers.wanted(request.query_params, number(request, "limit", movers.LIMIT))
    like = None
    if asked.of_documents:
        await _read_documents(here)
        like = here.heard.like(asked)
    shown = here.hub.shown.rows
    found = movers.matching(shown, asked, _patterns(here, asked.watchlist), like, language_of(request))
    return answer(
        request,
        {
            "cursor": here.hub.cursor,
            "at": here.hub.shown.at,
            "health": here.hub.state(),
            "market": rows.pulse(shown),
            "total": len(found),
            "movers": [_mover(row, like) for row in found[: asked.limit]],
            "inbox": inbox(request),
            "silenced": silenced(here),
        },
    )


def _mover(row: Any, like: dict[str, tuple[int, int]] | None) -> dict[str, Any]:
    shown = rows.subject_row(row)
    if like is not None and row.subject in like:
        shown["like"] = like[row.subject]
    return shown


async def choices(request: Request) -> Response:
    """What the overview may be narrowed to: watchlists, and topics, sources and languages of the last three hours' documents."""
    here = parts(request)
    await _read_documents(here)
    found = here.heard.choices()
    topics = [{"id": one, "names": _topic_names(here, one)} for one in found["topics"]]
    lists = sorted(one.id.removeprefix("watchlist_") for one in here.view.watchlists.values())[:WATCHLISTS]
    return answer(request, {**found, "topics": topics, "watchlists": lists})


def silenced(here: Parts) -> list[dict[str, Any]]:
    """Subjects that nobody is told about for now, and until when; silences with further conditions are not among them."""
    return [
        {"subjects": one.subjects, "until": one.until}
        for one in here.desk.silences()
        if one.subjects and not one.matchers
    ]


async def _read_documents(here: Parts) -> None:
    await here.heard.read(here.redis, here.keys, here.topology, here.hub.shown.rows, here.clock.monotonic_s())


def _patterns(here: Parts, watchlist: str) -> list[str]:
    one = here.view.watchlists.get(f"watchlist_{watchlist}")
    return one.subjects if one else []


def _topic_names(here: Parts, topic: str) -> dict[str, str]:
    """As the row of the topic calls it (packs name their own), else as shipped."""
    row = here.hub.shown.rows.get(f"topic:{topic}")
    if row is not None:
        return row.names
    english, chinese = TOPIC_NAMES.get(topic, (topic, topic))
    return {"en": english, "zh": chinese}


ROUTES = [Route("/", page), Route("/start", start)]
API = [Route("/overview", overview), Route("/overview/choices", choices)]
