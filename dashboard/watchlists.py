"""The page of lists of the subjects that matter most."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.render import rendered


async def page(request: Request) -> Response:
    return rendered(request, "watchlists.html", words=("watchlists",))


ROUTES = [Route("/watchlists", page)]
API: list[Route] = []
