"""What the target head sees of a mention: the right tokens, and four views that a plain loop finds too."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models import targets
from models.catalog import TARGET_VIEWS, TARGET_WIDTH
from models.targets import NEAR_TOKENS, Place, tokens_of

HIDDEN = 6


@st.composite
def windows(draw):
    """Spans of a window's tokens, gaps and tokens of no width among them, and a span somewhere in or around it."""
    at, spans = 0, [(0, 0)]
    for gap, width in draw(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=12)):
        spans.append((at + gap, at + gap + width))
        at = spans[-1][1]
    start = draw(st.integers(0, at + 3))
    return [*spans, (0, 0)], (start, start + draw(st.integers(0, 6)))


@given(windows())
def test_the_tokens_of_a_mention_are_those_that_overlap_it(window):
    spans, (start, end) = window
    inside = [n for n in range(1, len(spans) - 1) if spans[n][0] < end and spans[n][1] > start]
    expected = (inside[0], inside[-1] + 1) if inside and start < end else None
    assert tokens_of(spans, (start, end)) == expected


def test_a_window_without_words_holds_no_mention():
    assert tokens_of([(0, 0), (0, 0)], (0, 3)) is None


@st.composite
def packed(draw):
    """Lengths of packed texts, special tokens included, and places in them."""
    lengths = draw(st.lists(st.integers(3, 30), min_size=1, max_size=5))
    places = []
    for _ in range(draw(st.integers(1, 8))):
        text = draw(st.integers(0, len(lengths) - 1))
        first = draw(st.integers(1, lengths[text] - 2))
        places.append(Place(text, first, draw(st.integers(first + 1, lengths[text] - 1))))
    return lengths, places, draw(st.integers(0, 1_000))


@given(packed())
def test_the_views_are_what_a_plain_loop_finds(batch):
    lengths, places, seed = batch
    hidden = torch.randn(sum(lengths), HIDDEN, generator=torch.Generator().manual_seed(seed))
    texts = hidden.split(lengths)
    pooled = torch.stack([rows.mean(0) for rows in texts])
    seen = targets.views(hidden, pooled, lengths, places)
    assert seen.shape == (len(places), TARGET_VIEWS * HIDDEN)
    for row, (text, first, beyond) in zip(seen, places, strict=True):
        rows = texts[text]
        own = rows[first:beyond].mean(0)
        # The special tokens at both ends are nobody's neighbours.
        near = rows[1:-1][max(0, first - 1 - NEAR_TOKENS) : beyond - 1 + NEAR_TOKENS].mean(0)
        expected = torch.cat([own, near, pooled[text], own * pooled[text]])
        assert torch.allclose(row, expected, atol=1e-4)


def test_no_mention_is_no_answer():
    weights = {
        "target.up.weight": torch.ones(TARGET_WIDTH, TARGET_VIEWS * HIDDEN),
        "target.up.bias": torch.zeros(TARGET_WIDTH),
        "target.down.weight": torch.ones(3, TARGET_WIDTH),
        "target.down.bias": torch.zeros(3),
        "sentiment.weight": torch.zeros(3, HIDDEN),
        "sentiment.bias": torch.zeros(3),
    }
    assert targets.logits(weights, torch.zeros(0, TARGET_VIEWS * HIDDEN)).shape == (0, 3)


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_only_training_is_random(dropout):
    generator = torch.Generator().manual_seed(0)
    weights = {
        "target.up.weight": torch.randn(TARGET_WIDTH, TARGET_VIEWS * HIDDEN, generator=generator),
        "target.up.bias": torch.zeros(TARGET_WIDTH),
        "target.down.weight": torch.randn(3, TARGET_WIDTH, generator=generator),
        "target.down.bias": torch.zeros(3),
        "sentiment.weight": torch.zeros(3, HIDDEN),
        "sentiment.bias": torch.zeros(3),
    }
    seen = torch.randn(4, TARGET_VIEWS * HIDDEN, generator=generator)
    torch.manual_seed(0)
    twice = [targets.logits(weights, seen, dropout) for _ in range(2)]
    assert torch.equal(*twice) == (dropout == 0)
