"""Batches: every text once, never over budget, little padding on the shape grid."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.batching import fill, grid

LENGTHS = st.lists(st.integers(1, 300), max_size=200)


@given(LENGTHS, st.integers(1, 2_000), st.integers(1, 64))
def test_every_text_is_in_exactly_one_batch(lengths, budget, most):
    dealt = [index for batch in fill(lengths, budget, most) for index in batch]
    assert sorted(dealt) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 2_000), st.integers(1, 64))
def test_no_batch_is_over_its_budget_unless_one_text_alone_is(lengths, budget, most):
    for batch in fill(lengths, budget, most):
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or sum(lengths[index] for index in batch) <= budget


@given(LENGTHS, st.integers(300, 2_000))
def test_equal_lengths_follow_each_other_in_a_batch(lengths, budget):
    for batch in fill(lengths, budget, 64):
        sizes = [lengths[index] for index in batch]
        assert sizes == sorted(sizes)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=100))
def test_two_neighbouring_batches_never_fit_into_one(lengths):
    batches = fill(lengths, 128, 1_000)
    for left, right in pairwise(batches):
        assert sum(lengths[index] for index in [*left, right[0]]) > 128


def test_a_budget_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        fill([3], 0, 1)


@given(st.integers(1, 20_000))
def test_the_grid_is_a_little_above_and_stable(tokens):
    size = grid(tokens)
    assert tokens <= size < tokens + 128
    assert grid(size) == size
