"""The pages. Overview and subject are frames that static/*.js fills; the alert page is whole without a script.

Texts come from words/, texts from the world go through autoescape only. Read templates/page.html for what all share.
"""

from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from dashboard import api, evidence, history, rows
from dashboard.parts import parts
from dashboard.problems import problem
from dashboard.words import LANGUAGES, TAGS, language_of
from groundswell.times import rfc3339

YEAR_S = 31_536_000

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.globals["span"] = rows.span
_templates.filters["path"] = partial(quote, safe="")
_templates.filters["rfc3339"] = rfc3339


async def overview(request: Request) -> Response:
    """What is wrong, with whom, since when, and the documents behind it."""
    return _page(request, "overview.html")


async def subject(request: Request) -> Response:
    """One subject: its chart, its alerts, its documents."""
    name = request.path_params["subject"]
    row = parts(request).hub.shown.rows.get(name)
    return _page(request, "subject.html", subject=name, names=row.names if row else {})


async def alerts(request: Request) -> Response:
    """The newest alerts as a plain list, for a browser without scripts and for printing."""
    return _page(request, "alerts.html", alerts=api.inbox(request))


async def alert(request: Request) -> Response:
    """The evidence of one episode: server-rendered from the frozen record."""
    here = parts(request)
    view = await history.alert(here.redis, here.keys, request.path_params["episode"])
    if view is None:
        return _page(request, "missing.html", 404)
    ack = here.hub.acknowledged.get(view.episode)
    shown = evidence.explained(view, ack)
    begin, end = evidence.span(view, here.now_ms())
    past = await history.series(
        here.redis, here.keys, here.topology.scored_partition(view.subject), view.subject,
        begin_ms=begin, end_ms=end, step_s=evidence.step_s(begin, end), until_ms=here.now_ms(),
    )  # fmt: skip
    return _page(
        request, "alert.html", alert=rows.alert_row(view, ack), shown=shown, figure=evidence.figure(past, view)
    )


async def missing(request: Request, error: Exception) -> Response:
    """What is not there: a page for people, a problem for programs."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if request.url.path.startswith(("/api/", "/static/", "/live")) or status != 404:
        title = error.detail if isinstance(error, HTTPException) else "It failed."
        word = "not_found" if status == 404 else "not_allowed" if status == 405 else "refused"
        return problem(status, word, title, "GET /api/v1/overview lists the subjects; see docs/architecture.md.")
    return _page(request, "missing.html", 404)


def _page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    words = parts(request).words
    language = language_of(request)
    theme = request.cookies.get("theme", "")
    html = _templates.get_template(template).render(
        t=partial(words.say, language),
        word=partial(words.name, language),
        texts=words.all(language),
        language=language,
        tag=TAGS[language],
        other=next(one for one in LANGUAGES if one != language),
        theme=theme if theme in ("light", "dark") else "",
        here=request.url.path,
        **values,
    )
    response = HTMLResponse(html, status, {"Content-Language": TAGS[language], "Vary": "Accept-Language, Cookie"})
    if request.query_params.get("lang") in LANGUAGES:
        response.set_cookie("lang", language, max_age=YEAR_S, samesite="strict", httponly=True)
    return response
