"""How a text speaks of one company in it, from the same encoder pass as everything else; next: heads.py.

A mention is judged by four views: its own tokens, its neighbourhood, the whole text, and its tokens times the text
(elementwise). Training and serving share these functions.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from groundswell.tagging import Span

# How many tokens on either side of a mention are its neighbourhood.
NEAR_TOKENS = 8


class Place(NamedTuple):
    """A mention in a packed batch: which text, and its tokens `[first, beyond)` counted from that text's first."""

    text: int
    first: int
    beyond: int


def tokens_of(spans: Sequence[Span], span: Span) -> tuple[int, int] | None:
    """The tokens `(first, beyond)` that hold a code-point span; None when it lies outside. `spans` are those of a
    window: the special tokens at both ends are never part of a mention."""
    inner = spans[1:-1]
    first = bisect_right([end for _, end in inner], span[0])
    beyond = bisect_left([start for start, _ in inner], span[1])
    return (first + 1, beyond + 1) if first < beyond and span[0] < span[1] else None


def views(hidden: Tensor, pooled: Tensor, lengths: Sequence[int], places: Sequence[Place]) -> Tensor:
    """What the head sees of each mention: hidden `[rows, h]`, pooled `[texts, h]` to `[places, 4 h]`."""
    starts = [0, *accumulate(lengths)]
    own, near, whole = (hidden.new_zeros(len(places), rows) for rows in (len(hidden), len(hidden), len(pooled)))
    for row, (text, first, beyond) in enumerate(places):
        left, right = max(1, first - NEAR_TOKENS), min(lengths[text] - 1, beyond + NEAR_TOKENS)
        own[row, starts[text] + first : starts[text] + beyond] = 1 / (beyond - first)
        near[row, starts[text] + left : starts[text] + right] = 1 / (right - left)
        whole[row, text] = 1
    # Means as products of matrices: picking rows by index is ten times as slow on the way back.
    mention, text_mean = own @ hidden, whole @ pooled
    return torch.cat([mention, near @ hidden, text_mean, mention * text_mean], dim=1)


def logits(weights: Mapping[str, Tensor], seen: Tensor, dropout: float = 0.0) -> Tensor:
    """`[places, 4 h]` to sentiment logits `[places, 3]`: those of the whole text, and what is different for this mention.

    So a text about one company needs to be understood once only, and the head learns where a company stands apart.
    """
    hidden = seen.shape[1] // 4
    whole = seen[:, 2 * hidden : 3 * hidden]
    text = functional.linear(whole, weights["sentiment.weight"], weights["sentiment.bias"])
    inner = functional.gelu(functional.linear(seen, weights["target.up.weight"], weights["target.up.bias"]))
    inner = functional.dropout(inner, dropout, training=dropout > 0)
    return text + functional.linear(inner, weights["target.down.weight"], weights["target.down.bias"])
