"""JSON under /api/v1/: the only snapshot there is. The live stream (live.py) goes on from the `cursor` of an answer.
desk.py has what people write, consumers.py what programs subscribe to; docs/api.md lists all routes.

Times are epoch milliseconds. Answers carry an ETag and are never kept without asking. Errors are problems.py.
"""

import hashlib
from typing import Any

import msgspec
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard import rows
from dashboard.alerts import listing
from dashboard.entry.body import limited
from dashboard.live import MAX_STREAMS, MAX_TOPICS, Full
from dashboard.parts import parts
from dashboard.problems import problem
from dashboard.subjects import history
from groundswell import alert_views
from groundswell.decisions import SubjectState, Unwell
from groundswell.errors import WrongShape
from groundswell.keys import HOUR_MS
from groundswell.running.beat import beats
from groundswell.shown import minute_ms

MAX_CARDS = 50
PAGE, PAGE_MOST = 50, 200
PING_S, SEND_S = 15, 15.0  # of a stream; who reads nothing for so long is gone


def answer(request: Request, body: Any, status: int = 200) -> Response:
    """JSON, with an ETag when it is read."""
    raw = msgspec.json.encode(body)
    if status != 200 or request.method not in ("GET", "HEAD"):
        return Response(raw, status, media_type="application/json")
    return tagged(request, raw, "application/json")


def tagged(request: Request, raw: bytes, media_type: str) -> Response:
    """With an ETag; 304 when the client has it already."""
    tag = f'W/"{hashlib.blake2b(raw, digest_size=9).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(raw, headers=headers, media_type=media_type)


def inbox(request: Request) -> list[dict[str, Any]]:
    """Newest first; what fires comes before what is over."""
    hub = parts(request).hub
    found = [rows.alert_row(view, hub.acknowledged.get(view.episode)) for view in hub.shown.alerts.values()]
    return sorted(found, key=lambda row: (row["state"] == SubjectState.RESOLVED, -(row["updated_at"] or 0)))


async def series(request: Request) -> Response:
    """Counts and band of one subject: `from`, `to` (epoch ms), `step` 60, 300 or 3600 s; three hours by default."""
    here = parts(request)
    subject = request.path_params["subject"]
    step = number(request, "step", 60)
    if step not in history.STEPS_S:
        raise WrongShape(f"step={step} is not offered.", remedy="Use step=60, 300 or 3600.")
    now = here.now_ms()
    end = number(request, "to", now)
    begin = number(request, "from", end - 3 * HOUR_MS)
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
        {"episode": view.episode, "state": view.state, **_span(view), **_size(view)}
        for view in here.hub.shown.alerts.values()
        if view.subject == subject
    ]
    learning = row is not None and row.state == SubjectState.LEARNING
    body = {
        "cursor": cursor,
        "row": rows.subject_row(row) if row else None,
        "learned": {"negatives": row.learned_negatives, "s": row.learned_s} if row and learning else None,
        "marks": marks,
        **msgspec.to_builtins(found),
    }
    return answer(request, body)


async def documents(request: Request) -> Response:
    """Documents of one subject, newest first: `polarity`, `before` (the `next` of the page before), 50 a page."""
    here = parts(request)
    subject = request.path_params["subject"]
    before = str(number(request, "before", 0) or "")
    scored = here.topology.scored_partition(subject)
    cards, following = await history.documents(here.redis, here.keys, scored, subject, before=before, limit=MAX_CARDS)
    polarity = request.query_params.get("polarity", "")
    items = [rows.card_row(card) for card in cards if not polarity or card.label == polarity]
    return answer(request, {"items": items, "next": following})


async def alerts(request: Request) -> Response:
    """Alerts, newest first: `limit` (50), `cursor` (the `next` of the page before), `state`, `subject`.

    A page may be short, even empty, while `next` is not: filters are applied to what was read.
    """
    here = parts(request)
    state, subject = request.query_params.get("state", ""), request.query_params.get("subject", "")
    limit = min(max(number(request, "limit", PAGE), 1), PAGE_MOST)
    views, following = await listing.listed(
        here.redis, here.keys, cursor=request.query_params.get("cursor", ""), limit=limit, state=state, subject=subject
    )
    items = [rows.alert_row(view, here.hub.acknowledged.get(view.episode)) for view in views]
    return answer(request, {"cursor": here.hub.cursor, "items": items, "next": following})


async def alert(request: Request) -> Response:
    """One episode: its newest event, all transitions and the frozen evidence of each."""
    here = parts(request)
    episode = request.path_params["episode"]
    view = await alert_views.one(here.redis, here.keys, episode)
    if view is None:
        return problem(404, "no_such_episode", "There is no such episode.", "GET /api/v1/alerts lists the newest.")
    body = msgspec.to_builtins(view)
    body["ack"] = rows.ack_row(here.hub.acknowledged.get(episode))
    return answer(request, body)


async def push(request: Request) -> Response:
    """Documents in, `feed=news|comments`: one InboundDocument or an array of up to 500."""
    placed = await parts(request).pen.push(await limited(request), request.query_params.get("feed", "news"))
    return answer(request, placed, 202)


async def health(request: Request) -> Response:
    """Whether figures are of now, which processes live, and how many streams are open."""
    here = parts(request)
    state = here.hub.state()
    living = (
        []
        if state["state"] == Unwell.REDIS_AWAY
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
    return EventSourceResponse(frames, ping=PING_S, send_timeout=SEND_S)


def number(request: Request, name: str, default: int) -> int:
    """A query parameter. Raises WrongShape."""
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


def _size(view: Any) -> dict[str, float]:
    data = view.event.data
    return {
        "neg": data.observed.negatives,
        "lo": data.expected.low,
        "hi": data.expected.high,
        "effect": round(data.effect, 2),
    }


API = [
    Route("/subjects/{subject}/series", series),
    Route("/subjects/{subject}/documents", documents),
    Route("/alerts", alerts),
    Route("/alerts/{episode}", alert),
    Route("/documents", push, methods=["POST"]),
    Route("/health", health),
]
