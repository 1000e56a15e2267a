"""The page of the login: a token once, then a signed cookie for twelve hours. It needs no script. access.py decides, door.py asks it.

The cookie is `SameSite=Strict`, so a browser that follows a link from a chat comes without it, though there is a session. The first
answer to such a browser is a page that goes on by itself: that second request comes from our own page, and brings the cookie.
"""

import math
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.api import answer
from dashboard.entry import access
from dashboard.entry.door import door
from dashboard.parts import parts
from dashboard.problems import problem
from dashboard.render import rendered
from groundswell.errors import GroundswellError, Retryable

FORM_BYTES = 8_192


async def page(request: Request) -> Response:
    """The form; who has a session goes on to `next`."""
    here, person = door(request).access, access.person_of(request)
    onward = access.local(request.query_params.get("next", ""))
    if here.way != "token" or (person is not None and person.how == "session"):
        return RedirectResponse(onward, 303)
    is_ours = request.headers.get("sec-fetch-site") in ("same-origin", "none") or "here" in request.query_params
    return _form(request, onward, look_again=not is_ours)


async def log_in(request: Request) -> Response:
    """A token for a session."""
    here = door(request).access
    fields = await _fields(request)
    onward = access.local(fields.get("next", ""))
    if here.way != "token":
        return RedirectResponse(onward, 303)
    try:
        person, cookie = here.log_in(fields.get("token", "").strip())
    except Retryable as error:
        return _form(request, onward, status=503, wrong="not_read", reason=error.reason)
    except GroundswellError as error:
        wrong = "feeder" if isinstance(error, access.NotLetIn) else "wrong"
        return _form(request, onward, status=401, wrong=wrong, reason=error.reason)
    request.scope["state"]["person"] = person
    answered = RedirectResponse(onward, 303)
    answered.set_cookie(
        here.cookie, cookie, max_age=math.ceil((person.until_ms - parts(request).clock.now_ms()) / 1000),
        httponly=True, samesite="strict", secure=here.secure, path="/",
    )  # fmt: skip
    return answered


async def log_out(request: Request) -> Response:
    """The session ends."""
    here, person = door(request).access, access.person_of(request)
    if person is not None:
        here.log_out(person)
    answered = RedirectResponse("/login?here=1", 303)
    answered.delete_cookie(here.cookie, path="/", httponly=True, samesite="strict", secure=here.secure)
    return answered


async def me(request: Request) -> Response:
    """Who I am to the interface, what I may do, and until when."""
    person = access.person_of(request)
    if person is None:
        return problem(401, "not_known", "It is not known who asks.", "Log in.")
    return answer(
        request, {"name": person.name, "role": person.role, "how": person.how, "until": person.until_ms or None}
    )


def _form(
    request: Request, onward: str, *, status: int = 200, wrong: str = "", reason: str = "", look_again: bool = False
) -> Response:
    if reason:
        request.scope["state"]["reason"] = reason
    return rendered(
        request,
        "login.html",
        words=("login",),
        status=status,
        onward=onward,
        again=f"/login?here=1&next={quote(onward, safe='/')}" if look_again else "",
        wrong=wrong,
        no_tokens=not door(request).access.has_tokens(),
    )


async def _fields(request: Request) -> dict[str, str]:
    """The form's fields, each once; what is too long is no form of ours."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return {}
    try:
        found = parse_qs(body.decode("ascii"), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[-1] for name, values in found.items()}


ROUTES = [
    Route("/login", page),
    Route("/login", log_in, methods=["POST"]),
    Route("/logout", log_out, methods=["POST"]),
]
API = [Route("/me", me)]
