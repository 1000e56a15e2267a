"""Which subjects a reader of the overview asked for, and in which order. Pure; heard.py says whose documents are like those wanted.

What needs eyes first is first: evidence, then negatives. Any other column may be sorted by.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

from dashboard.rows import rank, ratio
from groundswell.decisions import SubjectState
from groundswell.errors import WrongShape
from groundswell.markets import MARKET
from groundswell.records import LiveRow

LIMIT, MOST = 60, 1_024

_ORDERS: dict[str, Callable[[LiveRow], float]] = {
    "neg": lambda row: row.negatives_15,
    "ratio": lambda row: ratio(row) or 0.0,
    "share": lambda row: row.share,
    "reach": lambda row: row.reach_15,
}
SORTS = ("evidence", "name", *_ORDERS)


@dataclass(frozen=True)
class Wanted:
    """A filter; what is empty does not matter. `sort` with "-" before it is the other way round."""

    watchlist: str = ""
    state: str = ""
    topic: str = ""
    source: str = ""
    language: str = ""
    sort: str = "evidence"
    limit: int = LIMIT

    @property
    def of_documents(self) -> bool:
        """Whether it asks for something that only documents know."""
        return bool(self.topic or self.source or self.language)


def wanted(asked: Mapping[str, str], limit: int) -> Wanted:
    """From an address: `watchlist`, `state`, `topic`, `source`, `language`, `sort`. Raises WrongShape.

    A list, a topic or a source that is not there is no error: then nothing is like it.
    """
    found = Wanted(
        watchlist=asked.get("watchlist", "")[:120],
        state=asked.get("state", ""),
        topic=asked.get("topic", "")[:120].removeprefix("topic:"),
        source=asked.get("source", "")[:200],
        language=asked.get("language", "")[:20],
        sort=asked.get("sort", "") or "evidence",
        limit=min(max(limit, 1), MOST),
    )
    if found.state not in ("", *SubjectState):
        raise WrongShape(f"state={found.state[:40]!r} is no state.", remedy=f"One of {', '.join(SubjectState)}.")
    if found.sort.removeprefix("-") not in SORTS:
        raise WrongShape(f"sort={found.sort[:40]!r} is not offered.", remedy=f"One of {', '.join(SORTS)}.")
    return found


def matching(
    rows: Mapping[str, LiveRow], asked: Wanted, patterns: Collection[str], like: Mapping[str, Any] | None, language: str
) -> list[LiveRow]:
    """All rows that are asked for, in order, the whole market apart. `patterns` are the watchlist's; `like` holds the subjects with
    documents as wanted, None where no documents are asked for."""
    listed = on_list(patterns)
    found = [
        row
        for row in rows.values()
        if row.subject != MARKET
        and (not asked.state or row.state == asked.state)
        and (not asked.watchlist or listed(row.subject))
        and (like is None or row.subject in like or _about(row.subject, asked))
    ]
    found.sort(key=rank)
    name = asked.sort.removeprefix("-")
    backwards = asked.sort.startswith("-")
    if name == "name":
        found.sort(key=lambda row: (row.names.get(language) or row.subject).casefold(), reverse=backwards)
    elif name in _ORDERS:
        found.sort(key=_ORDERS[name], reverse=not backwards)
    elif backwards:
        found.reverse()
    return found


def on_list(entries: Iterable[str]) -> Callable[[str], bool]:
    """Whether a watchlist's entries, ids and patterns, name a subject or the company of a pair. A list may have 5,000."""
    ids = frozenset(entries)
    patterns = [translate(one) for one in ids if set(one) & set("*?[")]
    like = re.compile("|".join(patterns)) if patterns else None

    def named(subject: str) -> bool:
        return subject in ids or (like is not None and like.match(subject) is not None)

    return lambda subject: named(subject) or named(subject.partition("|")[0])


def _about(subject: str, asked: Wanted) -> bool:
    """A topic's own row, and its pairs with companies, are about it whatever documents are kept."""
    if not asked.topic or asked.source or asked.language:
        return False
    return subject.endswith(f"topic:{asked.topic}")
