"""Finds where a text names something, when the name alone is given; next: targets.py, which judges the place."""

import re
from collections.abc import Sequence

from groundswell.tagging import Span


def find(text: str, name: str, taken: Sequence[Span] = ()) -> Span | None:
    """The first place of `name` in `text` as a word of its own, else inside a word, else in other letters' case;
    one outside `taken` before any other. None when the text does not hold it."""
    if not name:
        return None
    # Chinese has no blanks between words: only letters and digits of other scripts mark the middle of one.
    inner, outer = r"(?<![A-Za-z0-9])", r"(?![A-Za-z0-9])"
    exact = re.escape(name)
    for pattern, flags in ((f"{inner}{exact}{outer}", 0), (exact, 0), (exact, re.IGNORECASE)):
        places = [match.span() for match in re.finditer(pattern, text, flags)]
        free = [span for span in places if not any(span[0] < end and start < span[1] for start, end in taken)]
        if free or places:
            return (free or places)[0]
    return None


def find_all(text: str, names: Sequence[str]) -> dict[str, Span]:
    """The places of several names, longer ones first, so that a name is not looked for inside a longer one."""
    found: dict[str, Span] = {}
    for name in sorted(names, key=len, reverse=True):
        if span := find(text, name, list(found.values())):
            found[name] = span
    return found
