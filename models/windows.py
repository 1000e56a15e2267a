"""Cuts a text into the windows that the body reads, and says how much each of them weighs; next: encoder.py.

Most texts are one window. A long one is cut at the ends of sentences: its title and lead are the first window and have
half of the say, all the others share the rest. Beyond MAX_WINDOWS the middle is skipped, never the end, since a verdict
often closes an article.
"""

from bisect import bisect_left
from dataclasses import dataclass

from tokenizers import Tokenizer

from groundswell.tagging import Span
from models import sentences
from models.catalog import Config

MAX_WINDOWS = 4
LEAD_SHARE = 0.5
# Hardly a piece of the vocabulary is longer; what cannot reach a window is not worth tokenising.
_CHARACTERS_A_TOKEN = 8


@dataclass(frozen=True)
class Window:
    """Part of a text as the body sees it. `spans[i]` is the code-point span, in the whole text, of `ids[i]`; the
    special ids at both ends span nothing. `share` is the window's say in the verdict; the shares of a text sum to 1."""

    ids: list[int]
    spans: list[Span]
    share: float


@dataclass(frozen=True)
class Windows:
    """All that is read of one text, and whether something was left out."""

    parts: list[Window]
    truncated: bool

    @property
    def tokens(self) -> int:
        return sum(len(part.ids) for part in self.parts)


def read(tokenizer: Tokenizer, text: str, config: Config) -> Windows:
    """The windows of `text`, each of at most `config.max_tokens` tokens; none when there is nothing to read."""
    room = config.max_tokens - 2
    # Characters that cannot survive are dropped before tokenising, so that 64 kB cost no more than a few pages.
    reach = MAX_WINDOWS * room * _CHARACTERS_A_TOKEN
    starts = [(0, text)] if len(text) <= 2 * reach else [(0, text[:reach]), (len(text) - reach, text[-reach:])]
    ids: list[int] = []
    spans: list[Span] = []
    for start, part in starts:
        encoding = tokenizer.encode(part, add_special_tokens=False)
        ids += encoding.ids
        spans += [(a + start, b + start) for a, b in encoding.offsets]
    bounds = cuts(spans, [end for _, end in sentences.split(text)] if len(ids) > room else [], room)
    truncated = len(starts) > 1 or len(bounds) > MAX_WINDOWS
    if len(bounds) > MAX_WINDOWS:
        kept = bounds[: MAX_WINDOWS - 1]
        bounds = [*kept, (max(kept[-1][1], len(ids) - room), len(ids))]
    others = len(bounds) - 1
    shares = [LEAD_SHARE] + [(1 - LEAD_SHARE) / others] * others if others > 0 else [1.0] * len(bounds)
    parts = [
        Window([config.bos_id, *ids[a:b], config.eos_id], [(0, 0), *spans[a:b], (0, 0)], share)
        for (a, b), share in zip(bounds, shares, strict=True)
    ]
    return Windows(parts, truncated)


def cuts(spans: list[Span], ends: list[int], room: int) -> list[tuple[int, int]]:
    """Token ranges `(first, beyond)` of at most `room` tokens that cover all of `spans`: each ends with a sentence if
    one ends in its later half."""
    ranges, start = [], 0
    while start < len(spans):
        stop = min(start + room, len(spans))
        if stop < len(spans):
            # The last sentence that ends inside: token `n` ends it when no sentence ends between n's end and n + 1's.
            for n in range(stop - 1, start + room // 2, -1):
                if bisect_left(ends, spans[n][1]) != bisect_left(ends, spans[n + 1][1]):
                    stop = n + 1
                    break
        ranges.append((start, stop))
        start = stop
    return ranges
