"""A document that was found, as the page, a spreadsheet and a program get it. Pure; sifting.py writes it, documents.py serves it."""

import csv
import io
import re
from typing import Any

import msgspec

from dashboard.archive.foreign import link, visible
from dashboard.archive.past import Reach
from dashboard.archive.search import of_row, stance
from groundswell.errors import GroundswellError
from groundswell.records import Tagged
from groundswell.reserved import is_test
from groundswell.text import safe
from groundswell.times import rfc3339

EXCERPT, BEFORE = 420, 120  # code points: of a text, and of what comes before its deciding sentence
CELL_CHARS = 32_000  # Excel takes 32,767 a cell
BOM = "\ufeff"  # without it Excel reads Chinese as something else
# What a spreadsheet may run: OWASP "CSV Injection", with the wide forms that some versions take for the narrow ones.
_RUNS = re.compile("^[\\s'\"\u200b-\u200f\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20\t\r\n|%]")

COLUMNS = (
    "published_at", "source", "feed", "language", "polarity", "unsure", "negative", "neutral", "positive", "subjects", "topics",
    "title", "text", "deciding_sentence", "url", "story", "copy", "id",
)  # fmt: skip


def item(one: Tagged, subject: str) -> dict[str, Any]:
    """A line of the page: texts cut and made visible, `title_span` and `excerpt_span` where the deciding sentence stands in them, in
    code points. `label`, `unsure` and `probability` are about `subject` where it is counted there."""
    said = stance(one, subject) or stance(one, "")
    assert said is not None  # the whole always says something
    title, title_span, excerpt, excerpt_span = _texts(one)
    return {
        "id": one.id,
        "src": one.src,
        "story": one.story,
        "echo": one.echo,
        "published_at": one.published_at,
        "source": safe(one.source, 80),
        "feed": one.feed,
        "language": one.lang,
        "label": said.label,
        "unsure": said.unsure,
        "probability": round(said.probability, 3),
        "negative": one.negative,
        "neutral": one.neutral,
        "positive": one.positive,
        "topics": [safe(topic, 60) for topic, _ in one.topics if topic != "other"],
        "subjects": [
            {"subject": row.subject, **of_row(row)._asdict()} for row in one.companies if not is_test(row.subject)
        ],
        "title": title,
        "title_span": title_span,
        "excerpt": excerpt,
        "excerpt_span": excerpt_span,
        "url": link(one.url),
    }


def json_line(one: Tagged) -> bytes:
    """A line of the JSONL export: the record whole, as on the topic, but for the source's own coordinates and author hash."""
    record = msgspec.to_builtins(one)
    for inner in ("v", "src", "author"):
        record.pop(inner, None)
    return msgspec.json.encode(record) + b"\n"


def json_end(reach: Reach, next_cursor: str) -> bytes:
    """The last line of the JSONL export: without it the file is not whole."""
    end = {
        "found": reach.found,
        "searched": reach.read,
        "searched_back_to": reach.back_to_ms or None,
        "cut": bool(next_cursor),
    }
    return msgspec.json.encode({"end": end | ({"next": next_cursor} if next_cursor else {})}) + b"\n"


def csv_head() -> bytes:
    return (BOM + _csv(COLUMNS)).encode()


def csv_line(one: Tagged) -> bytes:
    """A line of the CSV export, RFC 4180, in which no cell runs."""
    deciding = f"{one.title}\n{one.text}" if one.title else one.text
    cells = (
        rfc3339(one.published_at), one.source, one.feed, one.lang, one.label, "yes" if one.unsure else "", f"{one.negative:.3f}",
        f"{one.neutral:.3f}", f"{one.positive:.3f}", "; ".join(f"{row.subject} {row.label}" for row in one.companies),
        "; ".join(topic for topic, _ in one.topics), one.title, one.text, deciding[slice(*one.deciding)].strip() if one.deciding else "",
        link(one.url), one.story, "yes" if one.echo else "", one.id,
    )  # fmt: skip
    return _csv([inert(cell) for cell in cells]).encode()


def csv_end(reach: Reach, next_cursor: str) -> bytes:
    """Nothing where all was searched, else a last line that says so."""
    if not next_cursor:
        return b""
    back = f" of what came in since {rfc3339(reach.back_to_ms)}" if reach.back_to_ms else ""
    return _csv([f"(cut: {reach.found} documents{back}; narrow the search for the rest)"]).encode()


def broken(form: str, error: GroundswellError) -> bytes:
    """A last line that says why there is no more."""
    if form == "csv":
        return _csv([f"(broken off: {safe(error.line, 300)})"]).encode()
    return msgspec.json.encode({"end": {"cut": True, "broken": error.reason, "remedy": error.remedy}}) + b"\n"


def inert(cell: str) -> str:
    """A cell that a spreadsheet shows and never runs: what could begin a formula gets a ' before it. At most CELL_CHARS long."""
    cell = cell.replace("\x00", "").encode("utf-8", "replace").decode()
    if len(cell) > CELL_CHARS:
        cell = cell[:CELL_CHARS] + "…"
    return f"'{cell}" if _RUNS.match(cell) else cell


def _csv(cells: "tuple[str, ...] | list[str]") -> str:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n").writerow(cells)
    return out.getvalue()


def _texts(one: Tagged) -> tuple[str, list[int] | None, str, list[int] | None]:
    """Title and excerpt with the deciding sentence's place in each."""
    start, end = one.deciding or (0, 0)
    shift = len(one.title) + 1 if one.title else 0
    title, title_span = _marked(one.title[:300], start, min(end, len(one.title)))
    start, end = max(0, start - shift), max(0, end - shift)
    first = max(0, min(start, len(one.text)) - BEFORE) if end > EXCERPT else 0
    cut = one.text[first : first + EXCERPT]
    excerpt, excerpt_span = _marked(cut, start - first, end - first)
    if first:
        excerpt = f"…{excerpt}"
        excerpt_span = [place + 1 for place in excerpt_span] if excerpt_span else None
    return title, title_span, f"{excerpt}…" if first + EXCERPT < len(one.text) else excerpt, excerpt_span


def _marked(text: str, start: int, end: int) -> tuple[str, list[int] | None]:
    """The text made visible, and the span's place in what came of it; None where it lies outside."""
    start, end = max(0, min(start, len(text))), max(0, min(end, len(text)))
    before, inside, after = (visible(part.replace("\n", " ")) for part in (text[:start], text[start:end], text[end:]))
    return before + inside + after, [len(before), len(before) + len(inside)] if inside.strip() else None
