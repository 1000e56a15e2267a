"""Dead letters over HTTP: by reason with what to do, one with its bytes, and sending them again. Read system.py for the page.

Kafka is read for them, so a list is kept for KEPT_S and holds the beginnings of their bytes only; one letter and a replay read anew.
"""

import base64
from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.api import answer
from dashboard.entry.body import body
from dashboard.health.installation import Installation
from dashboard.parts import parts
from groundswell.clock import Clock
from groundswell.errors import NoSuchLetter, NothingRuns, WrongShape
from groundswell.records import DeadLetter
from groundswell.telemetry import log
from groundswell.text import safe

KEPT_S = 10.0
BEGINNING_BYTES = 400
PAGE, PAGE_MOST = 50, 200
PLACES_MOST = 500


class AskedLetters(Struct, kw_only=True, forbid_unknown_fields=True):
    """Send these again: by their places, or all of a reason. `again`: those too that were sent again before."""

    places: list[str] = []
    reason: str = ""
    again: bool = False


class Letters:
    """The newest letters, oldest first, as last read."""

    def __init__(self, installation: Installation, clock: Clock) -> None:
        self._installation, self._clock = installation, clock
        self._kept: list[DeadLetter] = []
        self._read_s = -KEPT_S

    async def beginnings(self, *, anew: bool = False) -> list[DeadLetter]:
        """Each with the beginning of its bytes; `truncated` where there are more. Raises BrokerAway."""
        if anew or self._clock.monotonic_s() - self._read_s >= KEPT_S:
            self._keep(await self._installation.letters())
        return self._kept

    async def whole(self) -> list[DeadLetter]:
        """With all their bytes, which are not kept. Raises BrokerAway."""
        found = await self._installation.letters()
        self._keep(found)
        return found

    def forget(self) -> None:
        """What was read is no longer so."""
        self._read_s = self._clock.monotonic_s() - KEPT_S

    def _keep(self, found: list[DeadLetter]) -> None:
        self._read_s = self._clock.monotonic_s()
        self._kept = [
            replace(one, payload=one.payload[:BEGINNING_BYTES], truncated=True)
            if len(one.payload) > BEGINNING_BYTES
            else one
            for one in found
        ]


async def listed(request: Request) -> Response:
    """The newest first: `reason`, `limit` (50), `cursor`; `anew=1` reads Kafka even if it was read a moment ago.

    `reasons` counts all that were looked at, `waiting` those of them that were not sent again.
    """
    asked = request.query_params
    reason, limit = asked.get("reason", ""), asked.get("limit", "") or str(PAGE)
    if not limit.isascii() or not limit.isdigit() or not 0 < int(limit[:6]) <= PAGE_MOST:
        raise WrongShape(f"limit={limit[:40]!r} cannot be.", remedy=f"Ask for 1 to {PAGE_MOST}.")
    found = await _letters(request).beginnings(anew=asked.get("anew", "") == "1")
    wanted = sorted((one for one in found if reason in ("", one.reason)), key=_order)
    if asked.get("cursor"):
        wanted = [one for one in wanted if _order(one) > _place(asked["cursor"])]
    shown, rest = wanted[: int(limit)], wanted[int(limit) :]
    following = f"{shown[-1].at}-{shown[-1].place}" if rest else ""
    return answer(
        request,
        {"items": [row(one) for one in shown], "next": following, "reasons": by_reason(found), "read": len(found)},
    )


async def letter(request: Request) -> Response:
    """One, with its bytes in base64, and as text where they are UTF-8; `raw=1` has the bytes alone, as a file."""
    (found,) = _named(await _letters(request).whole(), [request.path_params["place"]])
    if request.query_params.get("raw", "") == "1":
        headers = {"Content-Disposition": 'attachment; filename="dead-letter.bin"'}
        return Response(found.payload, media_type="application/octet-stream", headers=headers)
    return answer(request, {**row(found), **_bytes(found)})


async def replay(request: Request) -> Response:
    """The original bytes to the topic they came from. Each counts once, however often it is sent; answers after the broker has it."""
    asked = await _asked(request)
    letters = _letters(request)
    found = await letters.whole()
    chosen = _named(found, asked.places) if asked.places else [one for one in found if one.reason == asked.reason]
    chosen = [one for one in chosen if asked.again or not one.replayed_at]
    try:
        done = await _installation(request).send_again(chosen)
    finally:
        letters.forget()
    log().info(
        "dead_letters_sent_again", sent=len(done.sent), not_sent=len(done.not_sent), reason=safe(asked.reason, 60)
    )
    return answer(
        request,
        {
            "sent": [one.place for one in done.sent],
            "not_sent": [{"place": one.place, "why": why} for one, why in done.not_sent],
        },
    )


def row(one: DeadLetter) -> dict[str, Any]:
    """A letter as lists show it: foreign text on one line, cut."""
    return {
        "place": one.place,
        "reason": one.reason,
        "stage": one.stage,
        "at": one.at,
        "message": safe(one.message, 300),
        "remedy": one.remedy,
        "beginning": safe(one.payload[:BEGINNING_BYTES].decode("utf-8", "replace"), 120),
        "replayed_at": one.replayed_at or None,
    }


def by_reason(found: Sequence[DeadLetter]) -> list[dict[str, Any]]:
    """Each reason with what to do, most first."""
    counts = Counter(one.reason for one in found)
    waiting = Counter(one.reason for one in found if not one.replayed_at)
    newest = {one.reason: one for one in found}
    return [
        {"reason": name, "count": count, "waiting": waiting[name], "at": newest[name].at, "remedy": newest[name].remedy}
        for name, count in counts.most_common()
    ]


def _bytes(one: DeadLetter) -> dict[str, Any]:
    try:
        text: str | None = one.payload.decode("utf-8")
    except UnicodeDecodeError:
        text = None
    return {
        "bytes": len(one.payload),
        "cut": one.truncated,
        "key": safe((one.key or b"").decode("utf-8", "replace"), 200),
        "text": text,
        "base64": base64.b64encode(one.payload).decode(),
    }


def _order(one: DeadLetter) -> tuple[int, str]:
    return (-one.at, one.place)


def _place(cursor: str) -> tuple[int, str]:
    at, _, place = cursor.partition("-")
    if not (at.isascii() and at.isdigit() and len(at) <= 15 and place):
        raise WrongShape(f"{safe(cursor, 40)!r} is no cursor.", remedy="Use `next` of the page before as it is.")
    return (-int(at), place)


def _named(found: Sequence[DeadLetter], places: Sequence[str]) -> list[DeadLetter]:
    by_place = {one.place: one for one in found}
    for place in places:
        if place not in by_place:
            raise NoSuchLetter(
                f"No dead letter among the newest came from {safe(place, 200)}.",
                remedy="GET /api/v1/dead-letters lists them; `groundswell dead-letters` looks at all.",
            )
    return [by_place[place] for place in dict.fromkeys(places)]


async def _asked(request: Request) -> AskedLetters:
    asked = await body(request, AskedLetters)
    if bool(asked.places) == bool(asked.reason) or len(asked.places) > PLACES_MOST:
        raise WrongShape(
            "Say which.", remedy=f'Send {{"places": [...]}} (at most {PLACES_MOST}) or {{"reason": "..."}}.'
        )
    return asked


def _installation(request: Request) -> Installation:
    found = parts(request).installation
    if found is None:
        raise NothingRuns("These pages know of no broker.")
    return found


def _letters(request: Request) -> Letters:
    kept: Letters | None = getattr(request.app.state, "letters", None)
    if kept is None:
        kept = request.app.state.letters = Letters(_installation(request), parts(request).clock)
    return kept


API = [
    Route("/dead-letters", listed),
    Route("/dead-letters/replay", replay, methods=["POST"]),
    Route("/dead-letters/{place:path}", letter),
]
