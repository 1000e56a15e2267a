"""The page of search of what was said, by text, subject, polarity, topic, source and time, and its export."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.render import rendered


async def page(request: Request) -> Response:
    return rendered(request, "documents.html", words=("documents",))


ROUTES = [Route("/documents", page)]
API: list[Route] = []
