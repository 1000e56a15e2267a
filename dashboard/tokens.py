"""Tokens over HTTP: add (the token is told this once), list, remove. groundswell/tokens.py has the rules; an operator's alone."""

from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard import access
from dashboard.api import answer, limited
from dashboard.parts import parts
from dashboard.rows import NOBODY
from groundswell import tokens
from groundswell.errors import NestedTooDeep, NotJson, NotUtf8, WrongShape
from groundswell.records import Role

SHAPES = "docs/access.md shows the body."


class AskedToken(Struct, kw_only=True, forbid_unknown_fields=True):
    """A new token. `days` 0: it lasts until it is removed."""

    name: str
    role: Role
    days: float = 0


async def listed(request: Request) -> Response:
    """All, oldest first: names and roles, never a token."""
    here = parts(request)
    known = sorted(here.view.tokens.values(), key=lambda one: (one.at, one.id))
    return answer(request, {"items": [tokens.printed(one, here.clock.now_ms()) for one in known], "next": ""})


async def add(request: Request) -> Response:
    """A new one; `token` is told this once."""
    here = parts(request)
    asked = await _body(request)
    now = here.clock.now_ms()
    made, text = tokens.made(here.view.tokens, asked.name, asked.role, asked.days, access.who(request) or NOBODY, now)
    await here.intake.write(made)
    here.view.apply(made.id, msgspec.json.encode(made))  # known here at once; others read it within a second
    access.about(request, made.id)
    return answer(request, {**tokens.printed(made, now), "token": text}, 201)


async def remove(request: Request) -> Response:
    """Its sessions and streams end with it."""
    here = parts(request)
    gone = tokens.named(here.view.tokens, request.path_params["token"])
    await here.intake.erase(gone.id)
    here.view.apply(gone.id, None)
    return Response(status_code=204)


async def _body(request: Request) -> AskedToken:
    try:
        return msgspec.json.decode(await limited(request) or b"{}", type=AskedToken)
    except UnicodeDecodeError as error:
        raise NotUtf8 from error
    except RecursionError as error:
        raise NestedTooDeep from error
    except msgspec.ValidationError as error:
        raise WrongShape(f"{error}.", remedy=SHAPES) from error
    except msgspec.DecodeError as error:
        raise NotJson(f"The body is not JSON: {error}.", remedy=SHAPES) from error


API: list[Any] = [
    Route("/tokens", listed, methods=["GET"]),
    Route("/tokens", add, methods=["POST"]),
    Route("/tokens/{token}", remove, methods=["DELETE"]),
]
