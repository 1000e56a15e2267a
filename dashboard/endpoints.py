"""The page of where alerts go to, how each fares, and what is held back by a silence."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.render import rendered


async def page(request: Request) -> Response:
    return rendered(request, "endpoints.html", words=("endpoints",))


ROUTES = [Route("/endpoints", page)]
