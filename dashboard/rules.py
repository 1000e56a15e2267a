"""The page of rules of a user's own and the sensitivity, with what they would have done."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.render import rendered


async def page(request: Request) -> Response:
    return rendered(request, "rules.html", words=("rules",))


ROUTES = [Route("/rules", page)]
API: list[Route] = []
