"""The pages that need no script's work but words: overview and subject are frames that static/*.js fills; the alert page is whole
without a script. Read render.py for how a page is made, templates/page.html for what all share.
"""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard import api, evidence, history, rows
from dashboard.parts import parts
from dashboard.problems import problem
from dashboard.render import rendered


async def overview(request: Request) -> Response:
    """What is wrong, with whom, since when, and the documents behind it."""
    return rendered(request, "overview.html")


async def subject(request: Request) -> Response:
    """One subject: its chart, its alerts, its documents."""
    name = request.path_params["subject"]
    row = parts(request).hub.shown.rows.get(name)
    return rendered(request, "subject.html", subject=name, names=row.names if row else {})


async def alerts(request: Request) -> Response:
    """The newest alerts as a plain list, for a browser without scripts and for printing."""
    return rendered(request, "alerts.html", alerts=api.inbox(request))


async def alert(request: Request) -> Response:
    """The evidence of one episode: server-rendered from the frozen record."""
    here = parts(request)
    view = await history.alert(here.redis, here.keys, request.path_params["episode"])
    if view is None:
        return rendered(request, "missing.html", status=404)
    ack = here.hub.acknowledged.get(view.episode)
    shown = evidence.explained(view, ack)
    begin, end = evidence.span(view, here.now_ms())
    past = await history.series(
        here.redis, here.keys, here.topology.scored_partition(view.subject), view.subject,
        begin_ms=begin, end_ms=end, step_s=evidence.step_s(begin, end), until_ms=here.now_ms(),
    )  # fmt: skip
    return rendered(
        request, "alert.html", alert=rows.alert_row(view, ack), shown=shown, figure=evidence.figure(past, view)
    )


async def missing(request: Request, error: Exception) -> Response:
    """What is not there: a page for people, a problem for programs."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if request.url.path.startswith(("/api/", "/static/", "/live")) or status != 404:
        title = error.detail if isinstance(error, HTTPException) else "It failed."
        word = "not_found" if status == 404 else "not_allowed" if status == 405 else "refused"
        return problem(status, word, title, "GET /api/v1/overview lists the subjects; see docs/architecture.md.")
    return rendered(request, "missing.html", status=404)


ROUTES = [
    Route("/", overview),
    Route("/alerts", alerts),
    Route("/alerts/{episode}", alert),
    Route("/subjects/{subject}", subject),
]
