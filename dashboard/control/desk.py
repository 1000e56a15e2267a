"""What people write over HTTP: acknowledgements, silences, endpoints, tests and replays. One shape with the command line.

groundswell/asked.py has the bodies, `Desk` in parts.py does the work, guards.py keeps other sites out. Every write answers
after the broker has it. Answers never hold an address or a secret, but for a new secret, once.
"""

from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.api import answer
from dashboard.entry import access
from dashboard.entry.body import body
from dashboard.parts import parts
from dashboard.rows import NOBODY
from groundswell.asked import (
    AskedAcknowledgement,
    AskedEndpoint,
    AskedErrand,
    AskedReplay,
    AskedRotation,
    AskedSilence,
    EndpointChange,
    Result,
)
from groundswell.errors import WrongShape

PAGE = 50
WAIT_S, WAIT_MOST_S = 10.0, 60.0


async def acknowledge(request: Request) -> Response:
    """202 once the broker has it; the page says "pending" until the stream shows it."""
    asked = await body(request, AskedAcknowledgement)
    ack = await parts(request).desk.acknowledge(request.path_params["episode"], asked, by=NOBODY)
    return answer(request, {"id": ack.id, "by": ack.by, "at": ack.at, "note": ack.note, "assigned": ack.assigned}, 202)


async def unacknowledge(request: Request) -> Response:
    """Nobody has seen it after all."""
    await parts(request).desk.unacknowledge(request.path_params["episode"])
    return Response(status_code=204)


async def silences(request: Request) -> Response:
    """Those that hold now; `all=1` those that are over, too."""
    over_too = request.query_params.get("all", "") not in ("", "0")
    return answer(request, {"items": parts(request).desk.silences(over_too=over_too)})


async def silence(request: Request) -> Response:
    """A new one."""
    made = await parts(request).desk.silence(await body(request, AskedSilence), by=NOBODY)
    access.about(request, made.id)
    return answer(request, made, 201)


async def end_silence(request: Request) -> Response:
    """It ends now, and what still fires is told."""
    await parts(request).desk.end_silence(request.path_params["silence"])
    return Response(status_code=204)


async def endpoints(request: Request) -> Response:
    """All, oldest first, and how they fare."""
    return answer(request, {"items": await parts(request).desk.endpoints()})


async def endpoint(request: Request) -> Response:
    """One, by its id, or by its name where only it has that."""
    return answer(request, await parts(request).desk.endpoint(request.path_params["endpoint"]))


async def add(request: Request) -> Response:
    """A new one; `secret` is told this once."""
    made, secret = await parts(request).desk.add(await body(request, AskedEndpoint))
    access.about(request, made.id)
    return answer(request, {**msgspec.to_builtins(made), "secret": secret}, 201)


async def change(request: Request) -> Response:
    """What is left out stays."""
    asked = await body(request, EndpointChange)
    return answer(request, await parts(request).desk.change(request.path_params["endpoint"], asked))


async def remove(request: Request) -> Response:
    """What waits for it is dropped."""
    await parts(request).desk.remove(request.path_params["endpoint"])
    return Response(status_code=204)


async def rotate(request: Request) -> Response:
    """A new secret, told this once; a webhook's old one signs too for `hours`."""
    asked = await body(request, AskedRotation)
    found, secret = await parts(request).desk.rotate(request.path_params["endpoint"], asked)
    return answer(request, {**msgspec.to_builtins(found), "secret": secret}, 201)


async def disable(request: Request) -> Response:
    """Nothing is sent there until it is enabled."""
    await body(request, AskedErrand)
    return answer(request, await parts(request).desk.disable(request.path_params["endpoint"]))


async def test(request: Request) -> Response:
    """A test event, and what the receiver answered within `wait_s`."""
    by = (await body(request, AskedErrand)).by or NOBODY
    return _done(
        request, await parts(request).desk.test(request.path_params["endpoint"], by=by, wait_s=_wait_s(request))
    )


async def enable(request: Request) -> Response:
    """Tried again from now on."""
    by = (await body(request, AskedErrand)).by or NOBODY
    return _done(
        request, await parts(request).desk.enable(request.path_params["endpoint"], by=by, wait_s=_wait_s(request))
    )


async def replay(request: Request) -> Response:
    """What was written `since`, again, under the same ids."""
    asked = await body(request, AskedReplay)
    name = request.path_params["endpoint"]
    return _done(request, await parts(request).desk.replay(name, asked, by=NOBODY, wait_s=_wait_s(request)))


async def deliveries(request: Request) -> Response:
    """Tries, newest first: `endpoint`, `outcome`, `limit` (50), `cursor` (the `next` of the page before)."""
    asked = request.query_params
    limit = asked.get("limit", "") or str(PAGE)
    if not limit.isascii() or not limit.isdigit() or not 0 < int(limit[:6]) <= 500:
        raise WrongShape(f"limit={limit[:40]!r} cannot be.", remedy="Ask for 1 to 500.")
    found, following = await parts(request).desk.deliveries(
        asked.get("endpoint", ""), outcome=asked.get("outcome", ""), cursor=asked.get("cursor", ""), limit=int(limit)
    )
    return answer(request, {"items": found, "next": following})


def _wait_s(request: Request) -> float:
    text = request.query_params.get("wait_s", "") or str(WAIT_S)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds <= WAIT_MOST_S:
        raise WrongShape(f"wait_s={text[:40]!r} cannot be.", remedy=f"Wait for 0 to {WAIT_MOST_S:g} seconds.")
    return seconds


def _done(request: Request, result: Result) -> Response:
    """200 when the outcome is known, 202 while deliver is still at it."""
    body: dict[str, Any] = msgspec.to_builtins(result)
    return answer(request, body, 200 if result.done else 202)


API = [
    Route("/alerts/{episode}/ack", acknowledge, methods=["POST"]),
    Route("/alerts/{episode}/ack", unacknowledge, methods=["DELETE"]),
    Route("/silences", silences, methods=["GET"]),
    Route("/silences", silence, methods=["POST"]),
    Route("/silences/{silence}", end_silence, methods=["DELETE"]),
    Route("/endpoints", endpoints, methods=["GET"]),
    Route("/endpoints", add, methods=["POST"]),
    Route("/endpoints/{endpoint}", endpoint, methods=["GET"]),
    Route("/endpoints/{endpoint}", change, methods=["PATCH"]),
    Route("/endpoints/{endpoint}", remove, methods=["DELETE"]),
    Route("/endpoints/{endpoint}/test", test, methods=["POST"]),
    Route("/endpoints/{endpoint}/rotate", rotate, methods=["POST"]),
    Route("/endpoints/{endpoint}/enable", enable, methods=["POST"]),
    Route("/endpoints/{endpoint}/disable", disable, methods=["POST"]),
    Route("/endpoints/{endpoint}/replay", replay, methods=["POST"]),
    Route("/deliveries", deliveries),
]
