"""Finds the phrases of all domain packs in a text, sentence by sentence, with one automaton; `packs.py` says what they mean.

A phrase is one or several parts: `deposit flight`, `储户 + 排队` (all parts in one sentence, in any order), `withdraw*`
(any ending). Case, a hyphen or a blank between words, and traditional characters make no difference; there are no
patterns to get wrong.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import ahocorasick

from stream.names.subjects import matchable

Key = TypeVar("Key", bound=Hashable)

LONGEST = 20_000  # code points that are searched, as for names

# A sentence that denies, supposes or only asks moves nothing: "no bank run", 否认挤兑, "will it default?"
_DENIES = re.compile(
    r"\b(?:no|not|never|without|den(?:y|ies|ied|ying)|dismiss(?:es|ed)?|rumou?rs?|if|unlikely|avoid(?:s|ed)?|averted|\w+n't)\b"
    "|没有|并未|并非|并无|未发生|未出现|不存在|不会|不是|否认|辟谣|谣言|澄清|不实|避免|防止|如果|假如|是否|绝非|杜绝|化解",
    re.IGNORECASE,
)
_END = re.compile(r"[。！？!?；;…\n]+|\.(?=\s|$)")


class BadPhrase(ValueError):
    """A phrase that could never be found, or would be found everywhere; its text says which rule it breaks."""


class Found(Generic[Key]):
    """What stands in which sentence: `keys[n]` for the sentence that ends at `ends[n]`. False when nothing was found."""

    def __init__(self, ends: Sequence[int], keys: Sequence[set[Key]]) -> None:
        self.ends, self.keys = ends, keys

    def __bool__(self) -> bool:
        return any(self.keys)

    def sentences(self, start: int, end: int) -> range:
        """The sentences that a span of code points touches; none beyond what was searched."""
        last = len(self.ends) - 1
        if last < 0 or start >= self.ends[last]:
            return range(0)
        first = min(bisect_left(self.ends, start + 1), last)
        return range(first, min(bisect_left(self.ends, max(end, start + 1)), last) + 1)


class _Word(NamedTuple):
    """One surface in the automaton: the number of the part that must end here, and of the one that may go on."""

    length: int
    opens_latin: bool
    closes_latin: bool
    whole: int
    stem: int


class Phrases(Generic[Key]):
    """Phrases, each with the key it stands for. `find` costs one pass over the text, however many there are."""

    def __init__(self, phrases: Iterable[tuple[Key, str]]) -> None:
        """Raises BadPhrase."""
        numbers: dict[tuple[str, bool], int] = {}
        self._wanted: dict[int, list[tuple[frozenset[int], Key]]] = defaultdict(list)
        for key, phrase in phrases:
            parts = [numbers.setdefault(part, len(numbers)) for part in parsed(phrase)]
            self._wanted[parts[0]].append((frozenset(parts), key))
        self._automaton: Any = ahocorasick.Automaton()
        for surface in dict.fromkeys(surface for surface, _ in numbers):
            word = _Word(
                len(surface),
                _is_latin(surface[0]),
                _is_latin(surface[-1]),
                numbers.get((surface, False), -1),
                numbers.get((surface, True), -1),
            )
            self._automaton.add_word(surface, word)
        if numbers:
            self._automaton.make_automaton()
        self._empty = not numbers

    def find(self, text: str) -> Found[Key]:
        """Pure. A part inside a longer one is found too; a key is there once a sentence, however often it is said."""
        if self._empty:
            return Found([], [])
        folded = folded_for_search(text[:LONGEST])
        hits = [
            (last + 1 - word.length, part)
            for last, word in self._automaton.iter(folded)
            for part in _parts(folded, last + 1 - word.length, last + 1, word)
        ]
        if not hits:
            return Found([], [])
        ends = [mark.end() for mark in _END.finditer(folded)]
        if not ends or ends[-1] < len(folded):
            ends.append(len(folded))
        parts: list[set[int]] = [set() for _ in ends]
        for start, part in hits:
            parts[bisect_left(ends, start + 1)].add(part)
        return Found(ends, [self._keys(found) for found in parts])

    def _keys(self, parts: set[int]) -> set[Key]:
        return {key for part in parts for wanted, key in self._wanted.get(part, ()) if wanted <= parts}


def parsed(phrase: str) -> list[tuple[str, bool]]:
    """The parts of a phrase as they are searched: the letters, and whether a word may go on after them."""
    parts = []
    for given in phrase.split(" + "):
        written = given.strip()
        surface, stem = folded_for_search(written.removesuffix("*")), written.endswith("*")
        if "*" in surface or "+" in surface.split():
            raise BadPhrase("a star stands at the end of a part only, and a plus between two blanks")
        if stem and not (surface and _is_latin(surface[-1])):
            raise BadPhrase("a star follows a Latin letter; Chinese words have no endings")
        if not surface.strip():
            raise BadPhrase("a part is empty")
        if _END.search(surface):
            raise BadPhrase("a part holds no mark that ends a sentence")
        parts.append((surface, stem))
    if sum(len(surface) for surface, _ in parts) < 2:
        raise BadPhrase("one character alone is found everywhere; add a second part")
    return parts


def folded_for_search(text: str) -> str:
    """As `matchable`, with hyphens as blanks: as long as the text was."""
    return matchable(text).replace("-", " ")


def denies(sentence: str) -> bool:
    """Whether a sentence denies, supposes or asks what it speaks of."""
    return sentence.rstrip().endswith(("?", "？")) or _DENIES.search(sentence.replace("’", "'")) is not None


def _parts(folded: str, start: int, end: int, word: _Word) -> Iterable[int]:
    if word.opens_latin and start and _joins(folded[start - 1]):
        return
    if word.stem >= 0:
        yield word.stem
    if word.whole >= 0 and not (word.closes_latin and end < len(folded) and _joins(folded[end])):
        yield word.whole


def _joins(char: str) -> bool:
    return char == "_" or _is_latin(char)


def _is_latin(char: str) -> bool:
    return char.isalnum() and char < "\u2e80"
