"""Varies a text without changing what it says: other names, fewer marks, small letters; next: student.py, which learns it.

Nothing here can turn a verdict: no word, digit or sign of a number is touched, no question mark, and of a row of equal
emoji one stays.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from groundswell.tagging import Span
from models.learn.sources import CASHTAG, Example

# Where names stand in a text: entity linking, given by who may import it.
Link = Callable[[str], Sequence[Span]]
Edit = tuple[int, int, str]

MASKED = "$TICKER"
SWAPPED, LESS_MARKS, SMALL = 0.5, 0.15, 0.1
# Neither next to a digit (1,000; 3:2) nor a sign that asks, doubts or counts.
_MARK = re.compile(r"(?<!\d)[,;:!\"“”‘’「」，；：！。…](?!\d)|[.](?=\s*$)")
_REPEATED = re.compile("([\u2600-\u27bf\U0001f300-\U0001faff])\\1+")
_SMALL = {n: n + 32 for n in range(ord("A"), ord("Z") + 1)}


def varied(example: Example, names: Sequence[str], tickers: Sequence[str], link: Link, rng: random.Random) -> Example:
    """Another telling of the example, with its targets where they now stand."""
    example = edited(example, renamings(example, names, tickers, link, rng))
    if rng.random() < LESS_MARKS:
        example = edited(example, fewer_marks(example.text, rng))
    if rng.random() < SMALL:
        example = replace(example, text=example.text.translate(_SMALL))
    return example


def renamings(
    example: Example, names: Sequence[str], tickers: Sequence[str], link: Link, rng: random.Random
) -> list[Edit]:
    """Half of the companies under another name, the same wherever they occur: a name is no verdict. A cashtag becomes
    another one or the mask."""
    text = example.text
    spoken = [(start, end) for start, end, _ in example.targets] + list(link(text))
    spoken += [match.span() for match in CASHTAG.finditer(text)]
    drawn: dict[str, str] = {}
    for written in dict.fromkeys(text[start:end] for start, end in spoken):
        free = [name for name in (tickers if written.startswith("$") else names) if name not in text]
        free = [name for name in free if name not in drawn.values()]
        if written and free and rng.random() < SWAPPED:
            masked = written.startswith("$") and MASKED not in drawn.values() and rng.random() < SWAPPED
            drawn[written] = MASKED if masked else rng.choice(free)
    if not drawn:
        return []
    # Longer names first: a name inside another one is part of it.
    pattern = "|".join(re.escape(written) for written in sorted(drawn, key=len, reverse=True))
    whole = re.compile(f"(?<![A-Za-z0-9])(?:{pattern})(?![A-Za-z0-9])")
    return [(*match.span(), drawn[match[0]]) for match in whole.finditer(text)]


def fewer_marks(text: str, rng: random.Random) -> list[Edit]:
    edits = [(*match.span(), "") for match in _MARK.finditer(text) if rng.random() < SWAPPED]
    edits += [(*match.span(), match[1]) for match in _REPEATED.finditer(text)]
    return sorted(edits) if len(edits) < len(text) else []


def edited(example: Example, edits: Sequence[Edit]) -> Example:
    """The example with parts of its text replaced. Edits are in order and apart; one that crosses the border of a
    target, and would leave its place unknown, is not made."""
    kept = [
        (start, end, new)
        for start, end, new in edits
        if not any(start < b and a < end and not (start <= a and b <= end) for a, b, _ in example.targets)
    ]
    text, places, last = "", {}, 0
    for start, end, new in kept:
        text += example.text[last:start]
        places[(start, end)] = (len(text), len(text) + len(new))
        text, last = text + new, end
    text += example.text[last:]

    def moved(at: int) -> int:
        return at + sum(len(new) - (end - start) for start, end, new in kept if end <= at)

    targets = tuple(
        (*next((now for (a, b), now in places.items() if a <= start and end <= b), (moved(start), moved(end))), label)
        for start, end, label in example.targets
    )
    if not text.strip() or any(start == end for start, end, _ in targets):
        return example
    return replace(example, text=text, targets=targets)
