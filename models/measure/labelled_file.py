"""Reads a user's own labelled texts, CSV or JSONL, gzipped or not; next: evaluate.py, which scores a model on them.

Label words are taken in their common spellings, Chinese or English. Numbers are taken where their signs say what they
mean: 0, 1 and 2 mean different things in different sets, so they are refused and the user says which is which.
"""

import csv
import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from groundswell.errors import Misconfigured
from groundswell.language import language
from groundswell.tagging import Span, Text
from groundswell.text import normalise, safe
from models import mentions
from models.labels import LANGUAGES, SENTIMENTS

ENDINGS = (".csv", ".jsonl", ".csv.gz", ".jsonl.gz")
SPELLINGS = {
    "negative": ("negative", "neg", "bearish", "-1", "负面", "消极", "利空", "负", "负向", "看空", "看跌"),
    "neutral": ("neutral", "neu", "中性", "中立"),
    "positive": ("positive", "pos", "bullish", "+1", "正面", "积极", "利好", "正", "正向", "看多", "看涨"),
}
_MEANING = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings}
# Beside a -1 these are its neighbours.
_SIGNED = {"-1": "negative", "0": "neutral", "1": "positive", "+1": "positive"}
_HINT = "Known, in any case: " + "; ".join(f"{name}: {', '.join(words)}" for name, words in SPELLINGS.items()) + "."
MAX_FIELD = 1 << 20


class BadLabelledFile(Misconfigured):
    """A file of labelled texts cannot be used."""

    reason = "bad_labelled_file"
    remedy = "It must be CSV with a header, or one JSON object a line, in UTF-8, with `text` and `label`."


class UnknownLabel(BadLabelledFile):
    """A label is none of the known spellings."""

    reason = "unknown_label"
    remedy = _HINT


class Labelled(Struct, frozen=True):
    """One row: the text as it is scored, the index of its label in SENTIMENTS, and whether its `entity` was missed."""

    text: Text
    label: int
    missed: bool = False


def read(path: Path) -> list[Labelled]:
    """All rows of a file with the columns `text`, `label` and, if need be, `entity`, `title`, `lang`.

    With an entity the row asks for the polarity of its mention; an entity that the text does not name is `missed`.
    Raises BadLabelledFile, or UnknownLabel with the line.
    """
    numbered = [(f"{path.name} line {number}", row) for number, row in rows(path)]
    meaning = meaning_of(plain(row.get("label")) for _, row in numbered)
    found = [labelled(row, where, meaning) for where, row in numbered]
    if not found:
        raise BadLabelledFile(f"{path.name} holds no row.")
    return found


def labelled(row: dict[str, Any], where: str, meaning: Mapping[str, str] = _MEANING) -> Labelled:
    text, title, entity = (normalise(plain(row.get(key))) for key in ("text", "title", "entity"))
    if not text and not title:
        raise BadLabelledFile(f"{where} has no `text`.")
    if not plain(row.get("label")).strip():
        raise BadLabelledFile(f"{where} has no `label`.")
    label = label_of(plain(row["label"]), where, meaning)
    given = plain(row.get("lang")).strip().lower()
    lang = (given[:2] if given[:2] in LANGUAGES else "other") if given else language(f"{title}\n{text}")
    whole = Text(text, title=title or None, lang=lang)
    span: Span | None = mentions.find(whole.whole, entity) if entity else None
    settled = Text(whole.text, title=whole.title, lang=whole.lang, spans=[span]) if span else whole
    return Labelled(settled, SENTIMENTS.index(label), missed=bool(entity) and span is None)


def meaning_of(labels: Iterable[str]) -> Mapping[str, str]:
    """Which name in SENTIMENTS each spelling stands for, given all labels of a file: signs explain a 0 beside them."""
    words = {word for label in labels if (word := normalise(label))}
    return _MEANING | _SIGNED if "-1" in words and words <= _SIGNED.keys() else _MEANING


def label_of(word: str, where: str, meaning: Mapping[str, str] = _MEANING) -> str:
    """The name in SENTIMENTS of a label in a common spelling. Raises UnknownLabel."""
    name = meaning.get(normalise(word).casefold())
    if name is None:
        raise UnknownLabel(f"{where}: the label {safe(word, 40)!r} is not known.")
    return name


def plain(value: Any) -> str:
    """A field as text: JSON may hold a whole number, and a CSV row may lack a column."""
    return str(value) if isinstance(value, int) else value if isinstance(value, str) else ""


def rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and fields of every row. Raises BadLabelledFile."""
    yield from (table if ".csv" in path.name.lower() else objects)(unpacked(path), path.name)


def unpacked(path: Path) -> str:
    """The whole file as text, unpacked. Raises BadLabelledFile."""
    if not path.name.lower().endswith(ENDINGS):
        raise BadLabelledFile(f"{path.name} is none of {', '.join(ENDINGS)}.")
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if path.name.lower().endswith(".gz") else raw).decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise BadLabelledFile(f"{path.name} cannot be read: {safe(str(error))}.") from error


def table(content: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    csv.field_size_limit(MAX_FIELD)
    reader = csv.DictReader(io.StringIO(content, newline=""))
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        if missing := {"text", "label"} - set(reader.fieldnames):
            raise BadLabelledFile(f"{name} has no column {' and no column '.join(sorted(missing))}.")
        yield from ((reader.line_num, row) for row in reader)
    except csv.Error as error:
        raise BadLabelledFile(f"{name} line {reader.line_num}: {error}.") from error


def objects(content: str, name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        yield number, object_of(line, f"{name} line {number}")


def object_of(line: str, where: str) -> dict[str, Any]:
    """The JSON object in a line. Raises BadLabelledFile."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLabelledFile(f"{where} is not JSON: {safe(str(error), 80)}.") from error
    if not isinstance(row, dict):
        raise BadLabelledFile(f"{where} is not a JSON object.")
    return row
