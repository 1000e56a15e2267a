"""The documents behind an alert as its page shows them: the deciding sentence marked, what they say of each company, their copies.

The alert holds a few, frozen; their companies, their copies and some more originals are what Redis still holds of its subject: the
newest texts, and the newest negative originals.
"""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from redis.exceptions import RedisError

from dashboard.alerts.evidence import tellings, visible
from dashboard.archive.foreign import link
from dashboard.parts import Parts
from dashboard.rows import at_ms
from dashboard.words import TAGS
from groundswell.errors import RedisAway
from groundswell.feedback import LabelVote
from groundswell.markets import is_market
from groundswell.records import AlertDocument, AlertView, DocumentCard

NEWEST, NEGATIVES = 60, 300  # of a subject, as aggregate keeps them
SHOWN_MOST, COPIES_MOST = 10, 30
STORY_CHARS = 60
COMPANIES_MOST, OTHERS_MOST = 6, 12  # companies of one document; other subjects that are looked into

Cards = dict[str, DocumentCard]
_card = msgspec.json.Decoder(DocumentCard)


async def shown(
    here: Parts, view: AlertView, own: Cards, votes: Iterable[LabelVote], name_of: Callable[[str], str]
) -> list[Any]:
    """The documents, those of the alert before what is left of the others that it rests on. `own`: `cards` of its subject. Raises
    RedisAway."""
    known = {one.id for one in view.event.data.documents}
    others = [
        own[name] for one in tellings(view)[0].documents if (name := str(one.get("id"))) in own and name not in known
    ]
    papers = [*(_of_alert(one, own) for one in view.event.data.documents), *others][:SHOWN_MOST]
    companies = {name for one in papers for name in one.about} - {view.subject}
    elsewhere = await _elsewhere(here, sorted(companies)[:OTHERS_MOST])
    echoes = {one.id: one.echoes for one in view.event.data.documents}
    said: dict[tuple[str, str], list[LabelVote]] = {}
    for vote in votes:
        said.setdefault((vote.newest.source, vote.newest.document), []).append(vote)
    return [
        _paper(
            one,
            companies=_companies(one, view.subject, elsewhere, name_of),
            copies=_copies(one, own),
            echoes=echoes.get(one.id, 0),
            votes=[_vote(vote, name_of) for vote in said.get((one.source, one.id), [])],
        )
        for one in papers
    ]


async def cards(here: Parts, subject: str) -> Cards:
    """What Redis holds of one subject, by id. Raises RedisAway."""
    found = await _read(here, [subject], NEGATIVES)
    return found[0]


def stories(own: Cards) -> dict[str, str]:
    """What a story begins with, by each of the names that evidence may have for it."""
    found: dict[str, str] = {}
    for one in own.values():
        words = (one.title or one.excerpt).strip()[:STORY_CHARS]
        if words and not one.echo:
            found |= {name: words for name in (one.story, one.url) if name}
    return found


async def said_of(here: Parts, card: DocumentCard, subject: str, company: str) -> Any:
    """What the model said of a company in this text, or of all of it; empty where that is not known. Raises RedisAway."""
    if company in ("", subject):
        return card.label if company or not is_company(subject) else ""
    other = (await cards(here, company)).get(card.id)
    return other.label if other is not None else ""


def is_company(subject: str) -> bool:
    return not subject.startswith("topic:") and not is_market(subject)


def marked(text: str, sentence: str) -> list[tuple[str, bool]]:
    """The text in pieces, in code points: (piece, whether it is the deciding sentence). The first place counts."""
    sentence = sentence.strip()
    begin = text.find(sentence) if sentence else -1
    if begin < 0:
        return [(visible(text), False)] if text else []
    end = begin + len(sentence)
    pieces = ((text[:begin], False), (text[begin:end], True), (text[end:], False))
    return [(visible(piece), deciding) for piece, deciding in pieces if piece]


async def _read(here: Parts, subjects: list[str], negatives: int) -> list[Cards]:
    try:
        pipeline = here.redis.pipeline(transaction=False)
        for subject in subjects:
            home = here.topology.scored_partition(subject)
            pipeline.zrevrange(here.keys.documents(home, subject), 0, NEWEST - 1)
            pipeline.lrange(here.keys.negatives(home, subject), -negatives, -1)
        answers = await pipeline.execute()
    except (RedisError, OSError, TimeoutError) as error:
        raise RedisAway(f"Redis does not answer: {type(error).__name__}.") from error
    # An original is in both: what the list of all documents says of it is the same.
    return [_decoded([*answers[place + 1], *answers[place]]) for place in range(0, len(answers), 2)]


async def _elsewhere(here: Parts, subjects: list[str]) -> dict[str, Cards]:
    return dict(zip(subjects, await _read(here, subjects, NEWEST), strict=True)) if subjects else {}


def _decoded(raw: list[bytes]) -> Cards:
    found: Cards = {}
    for one in raw:
        try:
            card = _card.decode(one)
        except msgspec.DecodeError:
            continue  # what is not in our shape must not blind the page to the others
        found[card.id] = card
    return found


def _of_alert(one: AlertDocument, own: Cards) -> DocumentCard:
    """As it was frozen, with what is still known of it."""
    card = own.get(one.id)
    known = card is not None and card.source == one.source
    return DocumentCard(
        id=one.id, story=one.story, published_at=at_ms(one.published_at) or 0, source=one.source, label="negative",
        negative=one.negative, lang=one.lang, title=one.title, excerpt=one.excerpt, url=one.url or "",
        about=card.about if card is not None and known else (), feed=card.feed if card is not None and known else "",
    )  # fmt: skip


def _paper(
    one: DocumentCard, *, companies: list[Any], copies: list[Any], echoes: int, votes: list[Any]
) -> dict[str, Any]:
    in_title = bool(one.excerpt.strip()) and one.excerpt.strip() in one.title
    return {
        "id": one.id,
        "source": visible(one.source)[:80],
        "lang": TAGS.get(one.lang, ""),  # empty: not known
        "at": one.published_at or None,
        "url": link(one.url),
        "host": _host(one.url),
        "negative": f"{one.negative:.2f}",
        "title": marked(one.title, one.excerpt if in_title else ""),
        "excerpt": [] if in_title else marked(one.excerpt, one.excerpt),
        "companies": companies,
        "copies": copies,
        "echoes": max(echoes, len(copies)),
        "votes": votes,
    }


def _companies(
    one: DocumentCard, subject: str, elsewhere: dict[str, Cards], name_of: Callable[[str], str]
) -> list[dict[str, Any]]:
    """What the text says of each company, the alert's own first. Of one that Redis no longer knows, nothing is said."""
    names = [name for name in dict.fromkeys((subject, *one.about)) if is_company(name)][:COMPANIES_MOST]
    found = []
    for name in names:
        card = one if name == subject else elsewhere.get(name, {}).get(one.id)
        said = "" if card is None else "unsure" if card.unsure else card.label
        found.append({"subject": name, "name": visible(name_of(name))[:80], "label": said})
    return found


def _copies(one: DocumentCard, own: Cards) -> list[dict[str, Any]]:
    """Where and when the same was told again, oldest first."""
    again = [card for card in own.values() if card.echo and card.story == one.story and card.id != one.id]
    return [
        {
            "at": card.published_at,
            "source": visible(card.source)[:80],
            "url": link(card.url),
            "host": _host(card.url),
        }
        for card in sorted(again, key=lambda card: card.published_at)[:COPIES_MOST]
    ]


def _vote(vote: LabelVote, name_of: Callable[[str], str]) -> dict[str, Any]:
    company = vote.newest.subject
    return {"name": visible(name_of(company))[:80] if company else "", "votes": vote.votes}


def _host(url: str) -> str:
    address = link(url)
    return address.split("/")[2][:80] if address.count("/") >= 2 else ""
