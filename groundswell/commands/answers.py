"""One text asked and answered, as `tag-text` and `tag-file` write it down; next: tag.py, whose commands these are.

A text takes the road's own steps: normalised, its language found, its companies linked on the normalised string. All
places in an answer are code points of `Answer.whole`.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from groundswell.errors import NoText, TextTooLong, WrongShape
from groundswell.language import language
from groundswell.records import MAX_TEXT_BYTES, Mention
from groundswell.tagging import UNREAD, Polarity, Tag, Text
from groundswell.text import normalise
from stream.names import entities
from stream.names.entities import Catalogue

TITLE_CHARS = 500
MAX_SYMBOLS = 50
LANGUAGES = ("zh", "en", "other")
NUMBERS = ("negative", "neutral", "positive")


class Asked(Struct, frozen=True):
    """A text ready for the model, and the companies in it; `line` and `id` are those of its file."""

    text: Text
    mentions: list[Mention]
    line: int = 0
    id: str = ""


class Company(Struct, frozen=True):
    """What is said of one company. `start` is -1 for one that only the feed's symbols name: the whole text counts."""

    id: str
    name: str
    start: int
    end: int
    polarity: str
    negative: float
    neutral: float
    positive: float
    unsure: bool


class Answer(Struct, frozen=True, kw_only=True):
    """All that is said of one text; a line of `tag-file`."""

    line: int
    id: str
    title: str
    text: str
    lang: str
    polarity: str
    negative: float
    neutral: float
    positive: float
    unsure: bool
    topics: dict[str, float]
    companies: list[Company]
    deciding: tuple[int, int] | None
    deciding_text: str
    words: list[tuple[int, int]]
    tokens: int
    truncated: bool
    model: str

    @property
    def whole(self) -> str:
        """The string that every place counts in."""
        return f"{self.title}\n{self.text}" if self.title else self.text


def ask(fields: Mapping[str, Any], catalogue: Catalogue, line: int = 0) -> Asked:
    """What is asked of the model. Raises WrongShape, NoText, TextTooLong."""
    raw, title = fields.get("text"), fields.get("title") or ""
    if not isinstance(raw, str) or not isinstance(title, str):
        raise WrongShape(
            "It has no `text`." if raw is None else "`text` and `title` must be words.",
            remedy="Name the right column: --map text=COLUMN.",
        )
    if len(raw) > MAX_TEXT_BYTES or len(raw.encode("utf-8", "surrogatepass")) > MAX_TEXT_BYTES:
        raise TextTooLong
    text, title = normalise(raw), normalise(title)[:TITLE_CHARS].rstrip()
    if not text:
        raise NoText
    whole = Text(text, title or None).whole
    given = str(fields.get("lang") or "").strip().lower()
    lang = next((known for known in LANGUAGES if given.split("-")[0] == known), language(whole))
    symbols = fields.get("symbols")
    named = [symbol for symbol in symbols if isinstance(symbol, str)] if isinstance(symbols, list) else []
    mentions = entities.link(catalogue, whole, named[:MAX_SYMBOLS])
    spans = [(mention.start, mention.end) for mention in mentions if mention.start >= 0]
    return Asked(Text(text, title or None, lang, spans), mentions, line, str(fields.get("id") or ""))


def answer(asked: Asked, tag: Tag, catalogue: Catalogue, model: str) -> Answer:
    """What the model said, with the companies by name."""
    targets = iter(tag.targets)
    said = [next(targets, None) or UNREAD if mention.start >= 0 else tag for mention in asked.mentions]
    companies = [
        company(mention, polarity, catalogue, asked.text.lang)
        for mention, polarity in zip(asked.mentions, said, strict=True)
    ]
    return Answer(
        line=asked.line, id=asked.id, title=asked.text.title or "", text=asked.text.text, lang=asked.text.lang,
        polarity=tag.polarity, negative=tag.negative, neutral=tag.neutral, positive=tag.positive, unsure=tag.unsure,
        topics=dict(tag.topics), companies=companies, deciding=tag.deciding,
        deciding_text=asked.text.whole[slice(*tag.deciding)] if tag.deciding else "",
        words=tag.words, tokens=tag.tokens, truncated=tag.truncated, model=model,
    )  # fmt: skip


def company(mention: Mention, said: Polarity, catalogue: Catalogue, lang: str) -> Company:
    entry = catalogue.subjects.get(mention.subject)
    names = {str(known): name for known, name in entry.names.items()} if entry else {}
    name = names.get(lang) or names.get("en") or names.get("zh") or ""
    numbers = (said.negative, said.neutral, said.positive)
    return Company(mention.subject, name, mention.start, mention.end, said.polarity, *numbers, said.unsure)


COLUMNS = (
    *("line", "id", "title", "text", "lang", "polarity", *NUMBERS, "unsure"),
    *("topics", "companies", "deciding", "words", "truncated", "model"),
)


def row(answer: Answer) -> list[str]:
    """The cells of a CSV line, in the order of COLUMNS. Lists have one entry each side of a semicolon: `fraud=0.91`,
    `XNAS:AAPL=negative 0.912 0.080 0.008` (negative, neutral, positive; a `?` after the word says unsure)."""
    companies = [
        f"{one.id}={one.polarity}{'?' if one.unsure else ''} {one.negative:.3f} {one.neutral:.3f} {one.positive:.3f}"
        for one in answer.companies
    ]
    return [
        str(answer.line), answer.id, answer.title, answer.text, answer.lang, answer.polarity,
        *(f"{getattr(answer, name):.3f}" for name in NUMBERS), str(answer.unsure).lower(),
        "; ".join(f"{topic}={p:.3f}" for topic, p in answer.topics.items()), "; ".join(companies), answer.deciding_text,
        "; ".join(answer.whole[slice(*span)] for span in answer.words), str(answer.truncated).lower(), answer.model,
    ]  # fmt: skip
