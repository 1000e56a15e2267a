"""What a user's own rule is made of: conditions, how they are joined, which texts count. Pure; rule_grammar.py reads one from a file.

rule_words.py says a rule to people, rules_in_force.py holds it against the catalogue, rule_watch.py evaluates it.
"""

import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import msgspec

from groundswell.records import Severity

SHORTEST_S = 300

Metric = Literal["count", "share", "rate_of_change", "times_expected", "episodes"]
Comparison = Literal[">=", ">", "<=", "<"]
Of = Literal["negatives", "mentions", "reach", "this-rule", "negative-surge"]
COUNTED: tuple[Of, ...] = ("negatives", "mentions", "reach")  # each holds the one before


@dataclass(frozen=True)
class Condition:
    """One comparison. `window_s` is that of `episodes`' `within`, too."""

    metric: Metric
    of: Of
    window_s: int
    comparison: Comparison
    threshold: float

    def compares(self, value: float) -> bool:
        match self.comparison:
            case ">=":
                return value >= self.threshold
            case ">":
                return value > self.threshold
            case "<=":
                return value <= self.threshold
            case "<":
                return value < self.threshold

    @property
    def rises(self) -> bool:
        """More of it makes it hold rather than not."""
        return self.comparison in (">=", ">")


@dataclass(frozen=True)
class Node:
    """All of its parts, or any of them."""

    every: bool
    parts: "tuple[Condition | Node, ...]"

    def holds(self, judge: Callable[[Condition], bool]) -> bool:
        """`judge` is asked from the first part on, and no further than is needed."""
        found = (part.holds(judge) if isinstance(part, Node) else judge(part) for part in self.parts)
        return all(found) if self.every else any(found)

    def conditions(self) -> Iterable[Condition]:
        for part in self.parts:
            if isinstance(part, Node):
                yield from part.conditions()
            else:
                yield part


@dataclass(frozen=True)
class Sieve:
    """Which texts count. An empty tuple lets all through; `*` in a source stands for any text."""

    topics: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()

    @cached_property
    def id(self) -> str:
        """Short, and the same for the same texts; empty where all count."""
        return (
            _digest([self.topics, self.sources, self.feeds])[:12] if self.topics or self.sources or self.feeds else ""
        )

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], ...]:
        return tuple(glob(source) for source in self.sources)

    def passes(self, topics: Iterable[str], source: str, feed: str) -> bool:
        return (
            (not self.topics or any(topic in self.topics for topic in topics))
            and (not self.feeds or feed in self.feeds)
            and (not self.sources or any(pattern.fullmatch(source) for pattern in self._patterns))
        )


@dataclass(frozen=True)
class Rule:
    """A rule that can be kept. `holds_s`: how long its conditions must hold without a break."""

    id: str
    name: dict[str, str] = field(hash=False)
    severity: Severity
    enabled: bool
    subjects: tuple[str, ...]
    watchlist: str
    sieve: Sieve
    holds_s: int
    node: Node

    @cached_property
    def version(self) -> int:
        """Of what it decides: another name or severity is the same rule, so what fires goes on."""
        whole = _digest([self.subjects, self.watchlist, self.sieve.id, self.holds_s, _plain(self.node)])
        return int(whole[:8], 16)

    @cached_property
    def conditions(self) -> tuple[Condition, ...]:
        return tuple(self.node.conditions())

    @property
    def window_s(self) -> int:
        """The longest stretch that it counts over; the shortest window there is where it only looks at history."""
        return max((one.window_s for one in self.conditions if one.metric != "episodes"), default=SHORTEST_S)


def glob(pattern: str) -> re.Pattern[str]:
    """`*` stands for any text, nothing else for anything else."""
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def spoken(seconds: int) -> str:
    """A length of time as it is written in a rule: 90 minutes are 1h30m."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    parts = [f"{count}{unit}" for count, unit in ((days, "d"), (hours, "h"), (rest // 60, "m")) if count]
    return "".join(parts) or "0m"


def _plain(node: Node) -> list[Any]:
    parts: list[Any] = [
        _plain(part)
        if isinstance(part, Node)
        else [part.metric, part.of, part.window_s, part.comparison, part.threshold]
        for part in node.parts
    ]
    return ["all" if node.every else "any", *parts]


def _digest(value: Any) -> str:
    return hashlib.blake2b(msgspec.json.encode(value), digest_size=16).hexdigest()
