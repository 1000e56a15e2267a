"""Reads a user's labelled file for fine-tuning, row by row, and says what was wrong with it; next: split.py, which deals
the texts to learning and testing.

What can be read is kept, what cannot is counted with its line. Rows about one text become one text: what is said of it
as a whole, of the companies in it, and its topics. A text that is labelled in two ways is left out, since one is wrong.
"""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundswell.language import language
from groundswell.text import fold, normalise, safe
from models import mentions
from models.labels import LANGUAGES, OTHER_TOPIC, SENTIMENTS, TOPICS
from models.learn.corpus import OWN_TOPIC_WEIGHT
from models.learn.sources import UNKNOWN, YOURS, Example
from models.measure import labelled_file
from models.measure.labelled_file import BadLabelledFile, plain

COLUMNS = ("text", "label", "sentiment", "topics", "entity", "title", "lang", "split")
SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("dev", "val", "valid", "validation"), "dev"),
    **dict.fromkeys(("test", "testing", "eval"), "test"),
}
_BETWEEN_TOPICS = re.compile(r"[;,|/、；，\s]+")


@dataclass(frozen=True)
class Row:
    """One usable row. `sentiment` is of the entity where there is one; `topics` is None where they are not labelled."""

    line: int
    text: str
    lang: str
    sentiment: int
    entity: str
    topics: frozenset[str] | None
    split: str


@dataclass(frozen=True)
class Labelled:
    """One text with all that its rows say; `split` is the user's own, empty where there is none."""

    example: Example
    lang: str
    lines: tuple[int, ...]
    split: str

    @property
    def line(self) -> int:
        return self.lines[0]


@dataclass
class Cleaning:
    """What was read and what was found wrong. Lines are those of the file."""

    rows: int = 0
    unreadable: list[tuple[int, str]] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    conflicts: list[tuple[int, ...]] = field(default_factory=list)
    entities_missing: list[int] = field(default_factory=list)


def read(path: Path) -> tuple[list[Labelled], Cleaning]:
    """All texts that can be learned from, in the order of the file. Raises BadLabelledFile when the file cannot be read
    at all, or has no column of text or none of labels."""
    found = Cleaning()
    raw = list(fields(path))
    meaning = labelled_file.meaning_of(
        plain(row.get("label") or row.get("sentiment")) for _, row in raw if isinstance(row, dict)
    )
    usable: list[Row] = []
    for line, row in raw:
        found.rows += 1
        if isinstance(row, str):
            found.unreadable.append((line, row.rstrip(".")))
            continue
        try:
            usable.append(understood(line, row, meaning))
        except BadLabelledFile as error:
            found.unreadable.append((line, str(error).rstrip(".")))
    return together(usable, found), found


def fields(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Line and fields of each row, or what is wrong with it."""
    content = labelled_file.unpacked(path)
    if ".csv" in path.name.lower():
        yield from table(content, path.name)
        return
    for line, written in enumerate(content.split("\n"), 1):
        if written.strip():
            try:
                row = labelled_file.object_of(written, "the line")
            except BadLabelledFile as error:
                yield line, str(error)
            else:
                yield line, {str(name).strip().lower(): value for name, value in row.items()}


def table(content: str, name: str) -> Iterator[tuple[int, dict[str, Any] | str]]:
    csv.field_size_limit(labelled_file.MAX_FIELD)
    reader = csv.DictReader(io.StringIO(content, newline=""))
    reader.fieldnames = columns = [name.strip().lower() for name in reader.fieldnames or ()]
    if "text" not in columns or not {"label", "sentiment", "topics"} & set(columns):
        raise BadLabelledFile(
            f"{name} has the columns {safe(', '.join(columns)) or '(none)'}.",
            remedy="It needs `text`, and `label` or `topics` or both; docs/finetune.md shows the shape.",
        )
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield reader.line_num, str(error)
        else:
            yield reader.line_num, row


def understood(line: int, row: dict[str, Any], meaning: Mapping[str, str]) -> Row:
    """The row in our words. Raises BadLabelledFile, whose message says what is wrong."""
    text, title, entity = (normalise(plain(row.get(key))) for key in ("text", "title", "entity"))
    if not text and not title:
        raise BadLabelledFile("no text")
    word = plain(row.get("label") or row.get("sentiment")).strip()
    topics = topics_of(row.get("topics"))
    if not word and topics is None:
        raise BadLabelledFile("no label and no topics")
    if entity and not word:
        raise BadLabelledFile("an entity without a label")
    label = SENTIMENTS.index(labelled_file.label_of(word, "the row", meaning)) if word else UNKNOWN
    split = plain(row.get("split")).strip().lower()
    if split and split not in SPLITS:
        raise BadLabelledFile(f"the split {safe(split, 20)!r} is none of train, dev, test")
    whole = f"{title}\n{text}" if title else text
    lang = plain(row.get("lang")).strip().lower()[:2]
    return Row(
        line,
        whole,
        lang if lang in LANGUAGES else language(whole),
        label,
        entity,
        topics,
        SPLITS.get(split, ""),
    )


def topics_of(value: Any) -> frozenset[str] | None:
    """The topics of a row, `other` for none of them; None where nothing is said. Raises BadLabelledFile."""
    names = value if isinstance(value, list) else _BETWEEN_TOPICS.split(plain(value))
    words = frozenset(plain(name).strip().lower() for name in names) - {""}
    if not words:
        return None
    if unknown := words - {*TOPICS, OTHER_TOPIC}:
        raise BadLabelledFile(f"the topic {safe(min(unknown), 40)!r} is none of {', '.join(TOPICS)}, {OTHER_TOPIC}")
    return words - {OTHER_TOPIC}


def together(rows: Sequence[Row], found: Cleaning) -> list[Labelled]:
    """One text a group of rows that say the same words; what is wrong is added to `found`."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[fold(row.text) or row.text].append(row)
    # A topic that no row names is not known to be absent: nobody may have looked for it.
    named = frozenset().union(*(row.topics or () for row in rows))
    texts = []
    for group in groups.values():
        said = {(row.entity, row.sentiment) for row in group if row.sentiment != UNKNOWN}
        topics = {row.topics for row in group if row.topics is not None}
        if len({entity for entity, _ in said}) < len(said) or len(topics) > 1:
            found.conflicts.append(tuple(row.line for row in group))
            continue
        seen: set[tuple[str, int, frozenset[str] | None]] = set()
        for row in group:
            told = (row.entity, row.sentiment, row.topics)
            found.duplicates += [row.line] if told in seen else []
            seen.add(told)
        if text := one(group, dict(said), next(iter(topics), None), named, found):
            texts.append(text)
    return texts


def one(
    group: Sequence[Row],
    said: dict[str, int],
    topics: frozenset[str] | None,
    named: frozenset[str],
    found: Cleaning,
) -> Labelled | None:
    """The text of a group; None when all it labels are companies that it does not name."""
    text = group[0].text
    sentiment = said.pop("", UNKNOWN)
    places = mentions.find_all(text, list(said))
    found.entities_missing += [row.line for row in group if row.entity and row.entity not in places]
    if sentiment == UNKNOWN and topics is None and not places:
        return None
    known = (UNKNOWN,) * len(TOPICS)
    if topics is not None:
        known = tuple(int(topic in topics) if topic in named else UNKNOWN for topic in TOPICS)
    example = Example(
        text,
        YOURS,
        sentiment,
        topics=known,
        topic_weight=OWN_TOPIC_WEIGHT,
        targets=tuple(sorted((*span, said[entity]) for entity, span in places.items())),
    )
    split = next((name for name in ("test", "dev", "train") if name in {row.split for row in group}), "")
    return Labelled(example, group[0].lang, tuple(row.line for row in group), split)
