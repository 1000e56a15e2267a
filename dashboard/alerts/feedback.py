"""What people say of an alert or of a label: comments for each other, verdicts and labels to learn from; groundswell/feedback.py keeps it.

A word is written with what it is about (AskedFeedback has the body): whoever learns from it a year later finds no topic that holds
the text any more.
"""

import asyncio
import uuid
from typing import Any, Literal

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard.alerts import papers
from dashboard.api import answer
from dashboard.entry import access
from dashboard.entry.body import body
from dashboard.parts import Parts, parts
from dashboard.rows import NOBODY, at_ms
from groundswell import alert_views, feedback
from groundswell.errors import NoSuchDocument, NoSuchEpisode, WrongShape
from groundswell.feedback import COMMENT_CHARS, Remarks
from groundswell.records import AlertView, DocumentCard, Feedback
from groundswell.settings import Settings
from groundswell.telemetry import log
from groundswell.text import safe
from stream.topology import Topology

AGAIN_S = 5.0
NAME_CHARS = 80


class AskedFeedback(Struct, kw_only=True, forbid_unknown_fields=True):
    """One word. A comment and a verdict (`right`, `not_a_surge`) are about an `episode`; a label (`wrong_label`) is about a `document`
    behind it, or among the newest of `subject`: what should it be, said of `company`, or of the text as a whole?"""

    kind: Literal["wrong_label", "not_a_surge", "right", "comment"]
    episode: str = ""
    subject: str = ""
    document: str = ""
    company: str = ""
    label: Literal["", "negative", "neutral", "positive"] = ""
    text: str = ""
    by: str = ""


async def say(request: Request) -> Response:
    """201 once the broker has it."""
    here, asked = parts(request), await body(request, AskedFeedback)
    if asked.kind == "comment" and not asked.text.strip():
        raise WrongShape("A comment without words.", remedy="Write what others should know into `text`.")
    if len(asked.text) > COMMENT_CHARS:
        raise WrongShape(f"{len(asked.text)} letters are too many.", remedy=f"Write at most {COMMENT_CHARS}.")
    if asked.kind == "wrong_label" and not (asked.document and asked.label):
        raise WrongShape(
            "A label without a text.", remedy="Give `document`, and `label`: negative, neutral or positive."
        )
    if asked.kind != "wrong_label" and not asked.episode:
        raise WrongShape("This is about no alert.", remedy="Give `episode`.")
    view = await alert_views.one(here.redis, here.keys, asked.episode) if asked.episode else None
    if asked.episode and view is None:
        raise NoSuchEpisode
    one = Feedback(
        id=f"fb_{uuid.uuid4().hex[:20]}", at=here.clock.now_ms(), by=who(request, asked.by), kind=asked.kind,
        text=safe(asked.text, COMMENT_CHARS), **_about_alert(view),
    )  # fmt: skip
    if asked.kind == "wrong_label":
        one = msgspec.structs.replace(one, **await _about_text(here, view, asked))
    await here.pen.remark(one)
    here.remarks.take(one)  # who asks next shall see it; the topic says the same a moment later
    return answer(request, one, 201)


async def said(request: Request) -> Response:
    """All that was said of one episode, oldest first, and how many think that it was a surge."""
    here, episode = parts(request), request.path_params["episode"]
    if await alert_views.one(here.redis, here.keys, episode) is None:
        raise NoSuchEpisode
    words = here.remarks.of(episode)
    verdict = feedback.counted(feedback.verdicts(words).get(episode, {}).values())
    return answer(request, {"items": words, "verdict": verdict})


def who(request: Request, named: str) -> str:
    """Who is asking: whoever is signed in, else the name that the request gives."""
    return safe(access.who(request) or named, NAME_CHARS) or NOBODY


async def keep_following(settings: Settings, topology: Topology, remarks: Remarks, stop: asyncio.Event) -> None:
    """Again and again: a broker that is away takes nothing from the pages but what others said lately."""
    while settings.kafka and not stop.is_set():
        try:
            await feedback.follow(settings, topology, remarks, stop)
        except Exception as error:  # noqa: BLE001 - an edge: whatever ends the reading, the pages go on and it is tried again
            log().warning("feedback_unread", error=repr(error)[:200])
            await asyncio.sleep(AGAIN_S)


def _about_alert(view: AlertView | None) -> dict[str, Any]:
    if view is None:
        return {}
    data = view.event.data
    return {"episode": view.episode, "subject": view.subject, "onset": at_ms(data.started_at) or 0}


async def _about_text(here: Parts, view: AlertView | None, asked: AskedFeedback) -> dict[str, Any]:
    """The text that is meant, as it is shown. Raises NoSuchDocument, RedisAway."""
    subject = view.subject if view is not None else asked.subject
    cards = await papers.cards(here, subject)
    card = cards.get(asked.document) or _frozen(view, asked.document)
    if card is None:
        raise NoSuchDocument
    if asked.company and asked.company not in (subject, *card.about):
        raise WrongShape(
            f"The text does not name {safe(asked.company, 60)!r}.",
            remedy="Leave `company` out to mean the text as a whole.",
        )
    model = await papers.said_of(here, card, subject, asked.company)
    row = here.hub.shown.rows.get(asked.company)
    names = (
        row.names
        if row is not None
        else view.event.data.subject.names
        if view is not None and asked.company == subject
        else {}
    )
    return {
        "subject": asked.company, "label": asked.label, "said": model, "names": sorted({*names.values()}),
        "document": card.id, "source": card.source, "published_at": card.published_at, "lang": card.lang,
        "title": card.title, "excerpt": card.excerpt,
    }  # fmt: skip


def _frozen(view: AlertView | None, document: str) -> DocumentCard | None:
    """The text as the alert holds it, where its subject has newer ones since."""
    for one in view.event.data.documents if view is not None else ():
        if one.id == document:
            return DocumentCard(
                id=one.id, story=one.story, published_at=at_ms(one.published_at) or 0, source=one.source, label="negative",
                negative=one.negative, lang=one.lang, title=one.title, excerpt=one.excerpt, url=one.url or "",
            )  # fmt: skip
    return None


API = [
    Route("/feedback", say, methods=["POST"]),
    Route("/alerts/{episode}/feedback", said),
]
