"""What is answered where there is nothing: a page for people, a problem for programs."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from dashboard.problems import problem
from dashboard.render import rendered


async def missing(request: Request, error: Exception) -> Response:
    """What is not there: a page for people, a problem for programs."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if request.url.path.startswith(("/api/", "/static/", "/live")) or status != 404:
        title = error.detail if isinstance(error, HTTPException) else "It failed."
        word = "not_found" if status == 404 else "not_allowed" if status == 405 else "refused"
        return problem(status, word, title, "GET /api/v1/overview lists the subjects; see docs/architecture.md.")
    return rendered(request, "missing.html", status=404)
