"""The page that searches what was said, its JSON, and its export as a spreadsheet or as lines of JSON.

All of a search is in its address, and the page, the API and the export read the same one: search.py says what may be asked, past.py how
far back it is looked at a time, sifting.py where.
"""

from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dashboard import rows
from dashboard.api import answer, number
from dashboard.archive import found, search
from dashboard.archive.past import Bounds
from dashboard.archive.sifting import Sift
from dashboard.parts import Parts, parts
from dashboard.render import rendered
from groundswell.asked_tuning import Found
from groundswell.clients.connect import admin_options
from groundswell.errors import GroundswellError, NothingRuns
from groundswell.records import LiveRow
from groundswell.telemetry import log
from groundswell.topics import TOPIC_NAMES
from stream.topology import TAGGED

PAGE, PAGE_MOST = 50, 200
MOST_READ, MOST_S = 200_000, 2.0  # of one request; the page goes on by itself and says how far it has come
EXPORT_FOUND, EXPORT_READ, EXPORT_S = 50_000, 20_000_000, 60.0
SUBJECTS, SUBJECTS_MOST = 20, 100
TYPES = {"csv": "text/csv; charset=utf-8", "jsonl": "application/jsonl"}


async def page(request: Request) -> Response:
    """The form, filled from the address; static/search.js asks and shows."""
    return rendered(
        request,
        "documents.html",
        words=("documents",),
        asked=request.query_params,
        topics=TOPIC_NAMES,
        polarities=search.POLARITIES,
        languages=search.LANGUAGES,
        feeds=search.FEEDS,
    )


async def documents(request: Request) -> Response:
    """Documents, newest first: `q`, `subject`, `polarity`, `topic`, `source`, `language`, `feed`, `from`, `to`, `late`; `limit`, `cursor`.

    A page may be short, even empty, while `next` is not: a request looks through so many documents and no more. `searched` says how
    many, `searched_back_to` when the oldest of them came in; `more_came_later`: `late=1` would look at more. `names` is of subjects.
    """
    here = parts(request)
    limit = min(max(number(request, "limit", PAGE), 1), PAGE_MOST)
    sift = await _sift(request, Bounds(limit, MOST_READ, MOST_S), "page", request.query_params.get("cursor", ""))
    body: dict[str, Any] = msgspec.json.decode(await here.sieves.page(sift))
    asked = sift.query.subject
    named = {asked, *(one["subject"] for item in body["items"] for one in item["subjects"])}
    body["subject"] = asked
    body["names"] = {name: row.names for name in sorted(named) if (row := here.hub.shown.rows.get(name))}
    return answer(request, body)


async def export(request: Request) -> Response:
    """The same search as `.csv` or `.jsonl`: EXPORT_FOUND documents or EXPORT_S seconds of it; a last line says where it was cut."""
    form: Literal["csv", "jsonl"] = "csv" if request.url.path.endswith(".csv") else "jsonl"
    sift = await _sift(request, Bounds(EXPORT_FOUND, EXPORT_READ, EXPORT_S), form)
    name = f"groundswell-documents-{datetime.fromtimestamp(parts(request).clock.now_ms() / 1000, UTC):%Y%m%dT%H%M%SZ}.{form}"
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    if request.method == "HEAD":
        return Response(headers=headers, media_type=TYPES[form])
    pieces = parts(request).sieves.pieces(sift)
    first = await anext(pieces)  # what is wrong from the start is a problem, not a file
    return StreamingResponse(_to_the_end(first, pieces, form), headers=headers, media_type=TYPES[form])


async def _to_the_end(
    first: bytes, pieces: AsyncIterator[bytes], form: Literal["csv", "jsonl"]
) -> AsyncIterator[bytes]:
    yield first
    try:
        async for piece in pieces:
            yield piece
    except GroundswellError as error:
        log().warning("export_broken_off", reason=error.reason, error=str(error)[:200])
        yield found.broken(form, error)


async def subjects(request: Request) -> Response:
    """Subjects whose id or name holds `q`, the likeliest first, then those that nobody has mentioned yet; those that need eyes where it is
    empty. `limit` (20)."""
    here, asked = parts(request), request.query_params.get("q", "")
    limit = min(max(number(request, "limit", SUBJECTS), 1), SUBJECTS_MOST)
    likely = _likely(here.hub.shown.rows.values(), asked)
    items = [{"subject": row.subject, "kind": row.kind, "names": row.names} for row in likely[:limit]]
    if asked and here.tuning is not None and len(items) < limit:
        known = {item["subject"] for item in items}
        more = [one for one in await here.tuning.lists.find(asked, limit) if one.subject not in known]
        items += [msgspec.to_builtins(one) for one in more[: limit - len(items)]]
    return answer(request, {"items": items, "next": ""})


async def _sift(request: Request, bounds: Bounds, form: Literal["page", "csv", "jsonl"], cursor: str = "") -> Sift:
    """Raises WrongShape, NothingRuns."""
    here = parts(request)
    asked = search.query(request.query_params)
    if not here.settings.kafka:
        raise NothingRuns
    return Sift(
        options=admin_options(here.settings),
        topic=here.topology.name(TAGGED),
        query=replace(asked, subject=await _subject(here, asked.subject)),
        form=form,
        cursor=cursor,
        bounds=bounds,
        # A replay's documents came in now and are of another time: nothing can be said of when one came in.
        future_ms=round(here.settings.future_s * 1000) if here.settings.clock == "system" else None,
    )


async def _subject(here: Parts, name: str) -> str:
    """The id of what was named by an id or by a whole name; as it is where nothing is known by it."""
    if not name or name in here.hub.shown.rows:
        return name
    like = search.folded(name)
    for row in here.hub.shown.rows.values():
        if like in _names(row):
            return row.subject
    known = await here.tuning.lists.find(name, SUBJECTS) if here.tuning is not None else []
    return next((one.subject for one in known if like in _names(one)), name)


def _likely(shown: Iterable[LiveRow], text: str) -> list[LiveRow]:
    like = search.folded(text)

    def how(row: LiveRow) -> int:
        names = _names(row)
        if like in names:
            return 0
        if any(name.startswith(like) or name.partition(":")[2].startswith(like) for name in names):
            return 1
        return 2 if any(like in name for name in names) else 3

    return sorted((row for row in shown if how(row) < 3), key=lambda row: (how(row) if like else 0, rows.rank(row)))


def _names(row: "LiveRow | Found") -> list[str]:
    return [search.folded(name) for name in (row.subject, *row.names.values())]


ROUTES = [Route("/documents", page)]
API = [
    Route("/documents", documents, methods=["GET"]),
    *(Route(f"/documents.{form}", export, methods=["GET"]) for form in TYPES),
    Route("/subjects", subjects, methods=["GET"]),
]
