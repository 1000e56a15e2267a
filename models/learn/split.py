"""Deals a user's texts to learning, stopping and testing, so that no text meets its near copy on another side; next:
augment.py, which varies what is learned.

The user's own split is kept where there is one. Else a text's place is a hash of its words, the same in every run, and
near copies go where the first of them goes.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from groundswell.errors import Misconfigured
from groundswell.text import fold
from models.learn.cleaning import Labelled
from models.learn.near_copies import near_copies

Side = Literal["train", "dev", "test"]
SIDES: tuple[Side, ...] = ("train", "dev", "test")
# A headline of ten words with one of them changed is as alike as this.
ALIKE = 0.65
TEST_PERCENT, DEV_PERCENT = 15, 15
LEAST = {"train": 20, "dev": 5, "test": 5}


class TooFewRows(Misconfigured):
    """Too few usable rows to learn from and to test on."""

    reason = "too_few_rows"
    remedy = "Label more texts: a few hundred are a fair start, 1,000 are good."


@dataclass(frozen=True)
class Parts:
    """The texts by side, and the near copies found: pairs of lines, those that would have been on two sides first
    among them in `across`. `yours` says whether the file named the sides itself."""

    train: list[Labelled]
    dev: list[Labelled]
    test: list[Labelled]
    near: int
    across: list[tuple[int, int]]
    yours: bool

    def of(self, side: Side) -> list[Labelled]:
        return {"train": self.train, "dev": self.dev, "test": self.test}[side]


def split(texts: Sequence[Labelled]) -> Parts:
    """The three sides. Of two near copies on two of the user's own sides the one for learning is left out; without a
    split of the user's they stay together. Raises TooFewRows."""
    pairs = [(a, b) for a, b, _ in near_copies([text.example.text for text in texts], ALIKE)]
    yours = any(text.split for text in texts)
    placed = own_sides(texts) if yours else hashed(texts, pairs)
    sides = [text.split for text in placed]
    across = [(a, b) for a, b in pairs if sides[a] != sides[b]]
    left_out = {min(pair, key=lambda n: SIDES.index(sides[n])) for pair in across}
    kept = [text for n, text in enumerate(placed) if n not in left_out]
    train, dev, test = ([text for text in kept if text.split == side] for side in SIDES)
    for side, least in LEAST.items():
        count = sum(text.split == side for text in kept)
        if count < least:
            raise TooFewRows(f"after cleaning, {count} texts are left to {side}; at least {least} are needed.")
    lines = [(placed[a].line, placed[b].line) for a, b in across]
    return Parts(train, dev, test, len(pairs), lines, yours)


def own_sides(texts: Sequence[Labelled]) -> list[Labelled]:
    """The user's sides; a text without one is for learning, and a side that is missing is taken from those."""
    missing = [side for side in ("dev", "test") if not any(text.split == side for text in texts)]
    placed = []
    for text in texts:
        side, drawn = text.split or "train", side_of(text)
        placed.append(replace(text, split=drawn if side == "train" and drawn in missing else side))
    return placed


def hashed(texts: Sequence[Labelled], pairs: Sequence[tuple[int, int]]) -> list[Labelled]:
    first = list(range(len(texts)))

    def root(n: int) -> int:
        while first[n] != n:
            n = first[n]
        return n

    for a, b in pairs:
        low, high = sorted((root(a), root(b)))
        first[high] = low
    return [replace(text, split=side_of(texts[root(n)])) for n, text in enumerate(texts)]


def side_of(text: Labelled) -> Side:
    words = fold(text.example.text) or text.example.text
    place = int.from_bytes(hashlib.sha256(words.encode("utf-8", "surrogatepass")).digest()[:4]) % 100
    return "test" if place < TEST_PERCENT else "dev" if place < TEST_PERCENT + DEV_PERCENT else "train"
