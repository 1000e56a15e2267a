"""Tokens over HTTP: add (the token is told this once), list, remove. groundswell/tokens.py has the rules; an operator's alone."""

from typing import Any

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.api import answer
from dashboard.entry import access
from dashboard.entry.body import body
from dashboard.parts import parts
from dashboard.rows import NOBODY
from groundswell import tokens
from groundswell.records import Role


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
    asked = await body(request, AskedToken)
    now = here.clock.now_ms()
    made, text = tokens.made(here.view.tokens, asked.name, asked.role, asked.days, access.who(request) or NOBODY, now)
    await here.pen.write(made)
    here.view.apply(made.id, msgspec.json.encode(made))  # known here at once; others read it within a second
    access.about(request, made.id)
    return answer(request, {**tokens.printed(made, now), "token": text}, 201)


async def remove(request: Request) -> Response:
    """Its sessions and streams end with it."""
    here = parts(request)
    gone = tokens.named(here.view.tokens, request.path_params["token"])
    await here.pen.erase(gone.id)
    here.view.apply(gone.id, None)
    return Response(status_code=204)


API: list[Any] = [
    Route("/tokens", listed, methods=["GET"]),
    Route("/tokens", add, methods=["POST"]),
    Route("/tokens/{token}", remove, methods=["DELETE"]),
]
