"""The single-document rule: one text of a severe topic, negative and sure, about the company alone, from a trusted source, may alert alone.

Off until somebody names trusted sources. It has a budget of its own, in alerts and not in false ones: nothing says how often chance
brings such a text. Pure; detect.py asks for each text that arrives, judge.py decides by it.
"""

from math import ceil

from msgspec import Struct

from groundswell.records import AlertRule, DocumentCard, Severity

SINGLE = AlertRule(id="single-document", version=1, bounded=False)
SEVERITY: dict[str, Severity] = {
    "fraud": "critical",
    "default": "critical",
    "regulation": "warning",
    "safety": "warning",
}  # by topic
SURE = 0.9  # probability of negative
A_DAY = 20  # over all subjects; a scored partition has an equal part, one at least
A_DAY_OF_ONE = 2  # of one subject
DAY_MS = 86_400_000
FRESH_MS = 3_600_000  # what is older on arrival is no news
LASTS_MS = 3_600_000  # until it resolves by itself
_PREFIX = "single|"


class Alone(Struct, kw_only=True, frozen=True):
    """What a decision on one text rests on: its topic, and the alerts of this rule in the 24 hours before it. `of_one`, `here`: of the
    subject, of the partition; `most_here` is the partition's part."""

    document: str
    topic: str
    at_ms: int
    of_one: int
    here: int
    most_here: int


def key(subject: str, at_ms: int, document: str) -> str:
    """Where its episode is kept: beside the subject's own, since the two know nothing of each other."""
    return f"{_PREFIX}{subject}|{at_ms}|{document}"


def is_key(name: str) -> bool:
    return name.startswith(_PREFIX)


def about(name: str) -> str:
    """The subject of such a key."""
    return name.removeprefix(_PREFIX).rsplit("|", 2)[0]


def part(partitions: int) -> int:
    """How many alerts a day one of so many partitions may raise."""
    return max(1, ceil(A_DAY / partitions))


def topic(one: DocumentCard, subject: str, trusted: frozenset[str]) -> str:
    """The severe topic for which this text may alert alone, the most severe first; empty where it may not."""
    if one.echo or one.unsure or one.negative < SURE or one.source not in trusted or tuple(one.about) != (subject,):
        return ""
    return next((name for name in SEVERITY if name in one.topics), "")


def within_budget(alone: Alone) -> bool:
    return alone.of_one < A_DAY_OF_ONE and alone.here < alone.most_here
