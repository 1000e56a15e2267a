"""The conditions of a silence: "severity=warning", "topic in fraud,default", "subject!=XNAS:*". Pure; pipeline.py asks.

Patterns know `*` alone and are matched from left to right without going back: no pattern that a person writes costs
more than its length times the text's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from groundswell.errors import WrongShape
from groundswell.records import AlertData
from groundswell.text import safe

FIELDS = ("subject", "topic", "severity", "kind", "rule", "lang", "source")
REMEDY = f"Write FIELD=VALUE, FIELD!=VALUE or FIELD in A,B; fields: {', '.join(FIELDS)}; * stands for any text."
MOST_CHARS = 500


@dataclass(frozen=True)
class Matcher:
    """One condition. `wanted` is true for = and `in`, false for != and `not in`."""

    field: str
    wanted: bool
    patterns: tuple[str, ...]

    def holds(self, labels: Mapping[str, frozenset[str]]) -> bool:
        """A field of several values (the topics of an alert) equals what one of them equals."""
        values = labels.get(self.field, frozenset())
        return self.wanted == any(matches(pattern, value) for pattern in self.patterns for value in values)


@lru_cache(maxsize=1_024)
def parse(text: str) -> Matcher:
    """One condition as written. Raises WrongShape, which says how to write it."""
    field, wanted, patterns = _split(text.strip())
    if field not in FIELDS or not patterns or not all(patterns) or len(text) > MOST_CHARS:
        raise WrongShape(f"{safe(text, 80)!r} is no condition.", remedy=REMEDY)
    if field == "topic":
        patterns = tuple(pattern.removeprefix("topic:") for pattern in patterns)
    return Matcher(field, wanted, patterns)


def labels(data: AlertData) -> dict[str, frozenset[str]]:
    """What conditions look at. The topics are the subject's own and those that most of its negative texts are about."""
    subject, _, pair = data.subject.id.partition("|")
    topics = {name.removeprefix("topic:") for name in (subject, pair) if name.startswith("topic:")}
    return {
        "subject": frozenset({data.subject.id, subject}),
        "topic": frozenset(topics | main_topics(data)),
        "severity": frozenset({data.severity}),
        "kind": frozenset({data.kind}),
        "rule": frozenset({data.rule.id}),
        "lang": frozenset(document.lang for document in data.documents),
        "source": frozenset(document.source for document in data.documents) | {cause.id for cause in data.sources},
    }


def main_topics(data: AlertData) -> set[str]:
    """Topics that more than half of the negative texts are about, without `topic:`."""
    return {
        cause.id.removeprefix("topic:") for cause in data.topics if 2 * cause.negatives > max(data.documents_total, 1)
    }


def matches(pattern: str, text: str) -> bool:
    """Whether the whole text fits; `*` stands for any text, also none."""
    first, *middle = pattern.split("*")
    if not middle:
        return text == first
    last = middle.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for part in middle:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def _split(text: str) -> tuple[str, bool, tuple[str, ...]]:
    for sign, wanted in (("!=", False), ("=", True)):
        field, found, value = text.partition(sign)
        if found and " " not in field.strip():
            return field.strip(), wanted, (value.strip(),)
    for word, wanted in ((" not in ", False), (" in ", True)):
        field, found, value = text.partition(word)
        if found:
            return field.strip(), wanted, tuple(part.strip() for part in value.split(","))
    return "", True, ()
