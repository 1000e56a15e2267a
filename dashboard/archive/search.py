"""What is looked for among the documents, and whether one is it. Pure; past.py reads the log, documents.py asks.

A query is words, a subject, a polarity, a topic, a source, a language, a feed and a span of time; all that is said must hold. Words
are read as ingest reads texts: width, case and hidden characters make no difference. A Latin word is found as a whole, or by its
beginning where it ends in `*`; what begins or ends in Chinese is found wherever it stands, since Chinese has no blanks.
"""

import re
import unicodedata
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct

from groundswell.errors import WrongShape
from groundswell.markets import MARKET, is_market, market_of
from groundswell.records import Row, Tagged
from groundswell.reserved import is_test
from groundswell.text import unmasked
from groundswell.times import parse_ms

POLARITIES = ("negative", "neutral", "positive", "unsure")
LANGUAGES = ("zh", "en", "other")
FEEDS = ("news", "comments")
MAX_QUERY, MAX_TERMS, MAX_NAME = 300, 16, 120
TOPIC = "topic:"

_TERM = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')
_QUOTES = str.maketrans("“”„‟「」『』＂", '"' * 9)
_HAN = re.compile("[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]")
_LETTER = (
    "[^\\W_\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"  # of scripts that have blanks
)


class Term(Struct, frozen=True):
    """One word or phrase, folded. `absent`: it must not occur; `begins`: it stands for all words that begin so."""

    text: str
    absent: bool = False
    begins: bool = False


class Query(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is looked for; all that is not empty must hold. Times are epoch milliseconds of publication, [begin, end), 0 for open.

    `polarity` is about `subject` where one is given; the first three leave out what is unsure, as the counts do. `late`: look also at
    what came in more than an hour after `end`.
    """

    terms: tuple[Term, ...] = ()
    subject: str = ""
    polarity: Literal["", "negative", "neutral", "positive", "unsure"] = ""
    topic: str = ""
    source: str = ""
    language: Literal["", "zh", "en", "other"] = ""
    feed: Literal["", "news", "comments"] = ""
    begin_ms: int = 0
    end_ms: int = 0
    late: bool = False


class Stance(NamedTuple):
    """How a document speaks of what was asked, and with which probability."""

    label: str
    unsure: bool
    probability: float


def query(asked: Mapping[str, str]) -> Query:
    """The query of an address: `q`, `subject`, `polarity`, `topic`, `source`, `language`, `feed`, `from`, `to`, `late`.

    Times are epoch milliseconds or ISO 8601 with a zone. Raises WrongShape.
    """
    begin, end = _time(asked, "from"), _time(asked, "to")
    if end and end <= begin:
        raise WrongShape("`to` is not after `from`.", remedy="Give a span that is longer than nothing.")
    return Query(
        terms=terms(asked.get("q", "")),
        subject=_short(asked, "subject"),
        polarity=_one_of(asked, "polarity", POLARITIES),  # type: ignore[arg-type]
        topic=_short(asked, "topic").removeprefix(TOPIC),
        source=_short(asked, "source"),
        language=_one_of(asked, "language", LANGUAGES),  # type: ignore[arg-type]
        feed=_one_of(asked, "feed", FEEDS),  # type: ignore[arg-type]
        begin_ms=begin,
        end_ms=end,
        late=asked.get("late", "") not in ("", "0"),
    )


def folded(text: str) -> str:
    """The text as it is compared: NFKC, case folded, one blank for every run of them."""
    return " ".join(_alike(text).split())


def _alike(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def terms(text: str) -> tuple[Term, ...]:
    """Words and "quoted phrases", `-` before what must not occur, `*` behind the beginning of a word. Raises WrongShape."""
    if len(text) > MAX_QUERY:
        raise WrongShape(f"The query has {len(text)} letters.", remedy=f"Look for at most {MAX_QUERY}.")
    found = []
    for minus, phrase, word in _TERM.findall(unmasked(text).translate(_QUOTES)):
        said = folded(phrase or word)
        begins = not phrase and len(said) > 1 and said.endswith("*")
        bare = said.strip('*"')
        if bare.strip("-"):
            found.append(Term(bare, absent=bool(minus), begins=begins))
    if len(found) > MAX_TERMS:
        raise WrongShape(f"The query has {len(found)} words.", remedy=f"Look for at most {MAX_TERMS}.")
    return tuple(found)


def matcher(wanted: Query) -> Callable[[Tagged], bool]:
    """Whether a document is what is looked for; the cheap conditions come first."""
    tests = [(term.absent, _occurs(term)) for term in wanted.terms]
    source = folded(wanted.source)
    probing = is_test(wanted.subject)

    def matches(one: Tagged) -> bool:
        if (wanted.begin_ms and one.published_at < wanted.begin_ms) or (
            wanted.end_ms and one.published_at >= wanted.end_ms
        ):
            return False
        if (wanted.language and one.lang != wanted.language) or (wanted.feed and one.feed != wanted.feed):
            return False
        if wanted.topic and all(topic != wanted.topic for topic, _ in one.topics):
            return False
        # The installation's own canary and drills are nobody's talk.
        if not probing and any(is_test(row.subject) for row in one.companies):
            return False
        said = stance(one, wanted.subject)
        if said is None or not _polar(said, wanted.polarity):
            return False
        if source and folded(one.source) != source:
            return False
        if not tests:
            return True
        text = _alike(f"{one.title}\n{one.text}").replace("\n", " ")  # ingest left single blanks
        return all(occurs(text) is not absent for absent, occurs in tests)

    return matches


def glance(wanted: Query) -> Callable[[bytes], bool]:
    """Whether a record of the log may be such a document, by its bytes alone: most are passed over without being decoded.

    Never false for one that `matcher` takes. Names stand in a record as they are asked for; English words do where all is ASCII.
    """
    company, _, topic = wanted.subject.rpartition("|") if not is_market(wanted.subject) else ("", "", "")
    names = [
        company or ("" if topic.startswith(TOPIC) else topic),
        topic.removeprefix(TOPIC) if TOPIC in topic else "",
        wanted.topic,
    ]
    needles = [msgspec.json.encode(name) for name in names if name]
    words = [
        max(term.text.split(), key=len).encode() for term in wanted.terms if term.text.isascii() and not term.absent
    ]
    words = [word for word in words if b'"' not in word and b"\\" not in word]

    def may_match(raw: bytes) -> bool:
        if not all(needle in raw for needle in needles):
            return False
        if not words or not raw.isascii():
            return True
        small = raw.lower()
        return all(word in small for word in words)

    return may_match


def stance(one: Tagged, subject: str) -> Stance | None:
    """How it speaks of a subject as that subject's counts took it, None where it is not counted there; of the whole for none."""
    whole = Stance(
        one.label, one.unsure, {"negative": one.negative, "neutral": one.neutral}.get(one.label, one.positive)
    )
    if not subject or subject == MARKET:
        return whole
    company, _, topic = subject.rpartition("|")
    if subject.startswith(TOPIC) or company:
        if all(f"{TOPIC}{name}" != topic for name, _ in one.topics):
            return None
        if not company:
            return whole
    if is_market(subject):
        return whole if any(market_of(row.subject) == subject for row in one.companies) else None
    named = company or subject
    return next((of_row(row) for row in one.companies if row.subject == named), None)


def of_row(row: Row) -> Stance:
    """What a row says of its subject; neutral has what the other two leave."""
    neutral = 1.0 - row.negative - row.positive
    return Stance(row.label, row.unsure, {"negative": row.negative, "neutral": neutral}.get(row.label, row.positive))


def _polar(said: Stance, wanted: str) -> bool:
    return not wanted or (said.unsure if wanted == "unsure" else said.label == wanted and not said.unsure)


def _occurs(term: Term) -> Callable[[str], bool]:
    text = term.text
    before = "" if _HAN.match(text[0]) or not text[0].isalnum() else f"(?<!{_LETTER})"
    after = "" if term.begins or _HAN.match(text[-1]) or not text[-1].isalnum() else f"(?!{_LETTER})"
    if not before and not after:
        return lambda whole: text in whole
    search = re.compile(before + re.escape(text) + after).search
    return lambda whole: text in whole and search(whole) is not None


def _short(asked: Mapping[str, str], name: str) -> str:
    text = unmasked(asked.get(name, "")).strip()
    if len(text) > MAX_NAME:
        raise WrongShape(f"`{name}` has {len(text)} letters.", remedy=f"Names have at most {MAX_NAME}.")
    return text


def _one_of(asked: Mapping[str, str], name: str, offered: tuple[str, ...]) -> str:
    text = asked.get(name, "")
    if text and text not in offered:
        raise WrongShape(f"{name}={text[:40]!r} is not offered.", remedy=f"Use {', '.join(offered)}, or leave it out.")
    return text


def _time(asked: Mapping[str, str], name: str) -> int:
    text = asked.get(name, "").strip()
    if not text:
        return 0
    if text.isascii() and text.isdigit() and len(text) <= 15:
        return int(text)
    try:
        return max(0, parse_ms(text.replace(" ", "+")))  # a + in an address that nobody escaped is a blank
    except (ValueError, OverflowError) as error:
        raise WrongShape(
            f"{name}={text[:40]!r} is no time.",
            remedy="Give epoch milliseconds, or ISO 8601 with a zone: 2026-01-31T09:30Z.",
        ) from error
