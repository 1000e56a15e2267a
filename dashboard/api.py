"""JSON under /api/v1/: the only snapshot there is. The live stream (live.py) goes on from the `cursor` of an answer.

Times are epoch milliseconds. Answers carry an ETag and are never kept without asking. Errors are problems.py.
"""

import hashlib
from typing import Any

import msgspec
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard import history, rows
from dashboard.live import MAX_STREAMS, MAX_TOPICS, Full
from dashboard.parts import parts
from dashboard.problems import problem
from groundswell.beat import beats
from groundswell.connect import MAX_MESSAGE_BYTES
from groundswell.errors import MessageTooLarge, NotJson, WrongShape
from groundswell.keys import HOUR_MS
from groundswell.shown import minute_ms
from groundswell.text import safe

MAX_MOVERS = 60
MAX_CARDS = 50


class AckRequest(msgspec.Struct):
    """Who has seen it; all may be left out."""

    by: str = rows.NOBODY
    note: str = ""


_ack = msgspec.json.Decoder(AckRequest)


def answer(request: Request, body: Any, status: int = 200) -> Response:
    """JSON with an ETag; 304 when the browser has it already."""
    raw = msgspec.json.encode(body)
    if status != 200:
        return Response(raw, status, media_type="application/json")
    tag = f'W/"{hashlib.blake2b(raw, digest_size=9).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(raw, headers=headers, media_type="application/json")


async def overview(request: Request) -> Response:
    """The market in one line, the subjects that need eyes first, the newest alerts, and how fresh it all is."""
    hub = parts(request).hub
    return answer(
        request,
        {
            "cursor": hub.cursor,
            "at": hub.shown.at,
            "health": hub.state(),
            "market": rows.pulse(hub.shown.rows),
            "movers": rows.movers(hub.shown.rows, MAX_MOVERS),
            "inbox": inbox(request),
        },
    )


def inbox(request: Request) -> list[dict[str, Any]]:
    """Newest first; what fires comes before what is over."""
    hub = parts(request).hub
    found = [rows.alert_row(view, hub.acknowledged.get(view.episode)) for view in hub.shown.alerts.values()]
    return sorted(found, key=lambda row: (row["state"] == "resolved", -(row["updated_at"] or 0)))


async def series(request: Request) -> Response:
    """Counts and band of one subject: `from`, `to` (epoch ms), `step` 60, 300 or 3600 s; three hours by default."""
    here = parts(request)
    subject = request.path_params["subject"]
    step = _number(request, "step", 60)
    if step not in history.STEPS_S:
        raise WrongShape(f"step={step} is not offered.", remedy="Use step=60, 300 or 3600.")
    now = here.now_ms()
    end = _number(request, "to", now)
    begin = _number(request, "from", end - 3 * HOUR_MS)
    if not 0 < end - begin <= history.MAX_POINTS * step * 1000:
        raise WrongShape(
            f"from {begin} to {end} by {step} s is not between 1 and {history.MAX_POINTS} points.",
            remedy="Ask for a shorter span, or for a longer step.",
        )
    cursor = here.hub.cursor
    row = here.hub.shown.rows.get(subject)
    found = await history.series(
        here.redis, here.keys, here.topology.scored_partition(subject), subject,
        begin_ms=begin, end_ms=end, step_s=step, until_ms=minute_ms(row.at) if row else now,
    )  # fmt: skip
    marks = [
        {"episode": view.episode, "state": view.state, **_span(view)}
        for view in here.hub.shown.alerts.values()
        if view.subject == subject
    ]
    body = {
        "cursor": cursor,
        "row": rows.subject_row(row) if row else None,
        "marks": marks,
        **msgspec.to_builtins(found),
    }
    return answer(request, body)


async def documents(request: Request) -> Response:
    """Documents of one subject, newest first: `polarity`, `before` (the `next` of the page before), 50 a page."""
    here = parts(request)
    subject = request.path_params["subject"]
    before = str(_number(request, "before", 0) or "")
    scored = here.topology.scored_partition(subject)
    cards, following = await history.documents(here.redis, here.keys, scored, subject, before=before, limit=MAX_CARDS)
    polarity = request.query_params.get("polarity", "")
    items = [rows.card_row(card) for card in cards if not polarity or card.label == polarity]
    return answer(request, {"items": items, "next": following})


async def alerts(request: Request) -> Response:
    """The newest alerts; `state` keeps those of one state."""
    state = request.query_params.get("state", "")
    return answer(
        request,
        {"cursor": parts(request).hub.cursor, "items": [row for row in inbox(request) if state in ("", row["state"])]},
    )


async def alert(request: Request) -> Response:
    """One episode: its newest event, all transitions and the frozen evidence of each."""
    here = parts(request)
    episode = request.path_params["episode"]
    view = await history.alert(here.redis, here.keys, episode)
    if view is None:
        return problem(404, "no_such_episode", "There is no such episode.", "GET /api/v1/alerts lists the newest.")
    body = msgspec.to_builtins(view)
    body["ack"] = rows.ack_row(here.hub.acknowledged.get(episode))
    return answer(request, body)


async def acknowledge(request: Request) -> Response:
    """202 once the broker has it; the page says "pending" until the stream shows it."""
    here = parts(request)
    episode = request.path_params["episode"]
    body = await limited(request)
    try:
        asked = _ack.decode(body or b"{}")
    except msgspec.ValidationError as error:
        raise WrongShape(f"{error}.", remedy='Send {} or {"by": "name", "note": "words"}.') from error
    except msgspec.DecodeError as error:
        raise NotJson(remedy='Send {} or {"by": "name", "note": "words"}.') from error
    if await history.alert(here.redis, here.keys, episode) is None:
        return problem(404, "no_such_episode", "There is no such episode.", "GET /api/v1/alerts lists the newest.")
    ack = await here.intake.acknowledge(episode, safe(asked.by, 80) or rows.NOBODY, safe(asked.note, 500))
    return answer(request, {"id": episode, "by": ack.by, "at": ack.at}, 202)


async def push(request: Request) -> Response:
    """Documents in, `feed=news|comments`: one InboundDocument or an array of up to 500."""
    placed = await parts(request).intake.push(await limited(request), request.query_params.get("feed", "news"))
    return answer(request, placed, 202)


async def health(request: Request) -> Response:
    """Whether figures are of now, which processes live, and how many streams are open."""
    here = parts(request)
    state = here.hub.state()
    living = (
        []
        if state["state"] == "redis_away"
        else [msgspec.to_builtins(beat) for beat in await beats(here.redis, here.keys)]
    )
    return answer(
        request,
        {
            "cursor": here.hub.cursor,
            **state,
            "ok": state["state"] == "ok",
            "processes": living,
            "streams": here.hub.streams,
        },
    )


async def live(request: Request) -> Response:
    """Server-sent events of `topics` (overview, alerts, subject:ID; comma between) after the cursor `since`."""
    topics = [topic for topic in request.query_params.get("topics", "overview,alerts").split(",") if topic]
    if len(topics) > MAX_TOPICS:
        raise WrongShape(f"{len(topics)} topics are too many.", remedy=f"Ask for at most {MAX_TOPICS}.")
    # A browser's own reconnect says what it saw last in a header; that is newer than the address.
    cursor = request.headers.get("last-event-id") or request.query_params.get("since", "")
    try:
        frames = parts(request).hub.watch(topics, cursor)
    except Full:
        return problem(
            503, "too_many_streams", f"{MAX_STREAMS} streams are open.", "Try again in some seconds.", Retry_After="10"
        )
    return EventSourceResponse(frames, ping=15, send_timeout=20)


async def limited(request: Request) -> bytes:
    """The body, read no further than one message may be long. Raises MessageTooLarge."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_MESSAGE_BYTES:
            raise MessageTooLarge
    return bytes(body)


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if text is None or text == "":
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise WrongShape(f"{name}={text[:40]!r} is no number.", remedy="Times are epoch milliseconds.")
    return int(text)


def _span(view: Any) -> dict[str, int | None]:
    data = view.event.data
    return {
        "from": rows.at_ms(data.started_at),
        "detected": rows.at_ms(data.detected_at),
        "to": rows.at_ms(data.resolved_at),
    }


API = [
    Route("/overview", overview),
    Route("/subjects/{subject}/series", series),
    Route("/subjects/{subject}/documents", documents),
    Route("/alerts", alerts),
    Route("/alerts/{episode}", alert),
    Route("/alerts/{episode}/ack", acknowledge, methods=["POST"]),
    Route("/documents", push, methods=["POST"]),
    Route("/health", health),
]
