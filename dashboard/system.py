"""The page of how the installation fares, in words and figures, and what it refused."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.render import rendered


async def page(request: Request) -> Response:
    return rendered(request, "system.html", words=("system",))


ROUTES = [Route("/system", page)]
API: list[Route] = []
