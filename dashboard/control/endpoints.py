"""The page of where alerts go to, how each fares, and what is held back by a silence. desk.py has what is written here."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.api import answer
from dashboard.entry.access import person_of
from dashboard.entry.body import body
from dashboard.parts import parts
from dashboard.render import rendered
from groundswell.asked import AskedAddress


async def page(request: Request) -> Response:
    """What the person may not do is not offered: analysts look and silence, operators change."""
    person = person_of(request)
    may = {role: person is None or person.may(role) for role in ("analyst", "operator")}
    return rendered(request, "endpoints.html", words=("endpoints",), may_see=may["analyst"], may_change=may["operator"])


async def check(request: Request) -> Response:
    """What the address guard and the channel say of an address; a verdict is an answer, also a bad one. Nothing is kept."""
    return answer(request, await parts(request).desk.judge(await body(request, AskedAddress)))


async def sample(request: Request) -> Response:
    """What a test sends, without what is secret; `errand` of a test's answer gives the very ids it had."""
    found = parts(request).desk.sample(request.path_params["endpoint"], request.query_params.get("errand", ""))
    return answer(request, found)


ROUTES = [Route("/endpoints", page)]
API = [
    Route("/endpoints/check", check, methods=["POST"]),
    Route("/endpoints/{endpoint}/sample", sample),
]
