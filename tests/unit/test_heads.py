"""Heads: the pulls of the tokens are the verdict, exactly, and the deciding sentence follows from them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groundswell.tagging import Text
from models import encoder
from models.heads import NEGATIVE, NOTHING_TO_READ, POSITIVE, Tagger, calibrated, deciding
from tests.unit.model_folder import ORDER_SWAPPED, tiny_model


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return Tagger.load(tiny_model(tmp_path_factory.mktemp("model")))


TEXTS = ["profit fell", "loss", "good news profit profit profit", "坏消息。好消息。", "a b c d e f g h"]


def test_the_pulls_of_the_tokens_sum_to_the_verdict_exactly(tagger):
    ids = [encoder.tokenize(tagger.tokenizer, text, tagger.config).ids for text in TEXTS]
    for _, lengths, hidden in tagger.encoder.encode(ids):
        logits, _, pulls = tagger.score(lengths, hidden)
        sums = [part.sum() for part in np.split(pulls, np.cumsum(lengths)[:-1])]
        assert np.allclose(sums, logits[:, NEGATIVE] - logits[:, POSITIVE], atol=1e-4)


def test_a_text_is_tagged_the_same_alone_and_in_a_crowd(tagger):
    crowd = tagger.tag([Text(text) for text in TEXTS * 3])
    for text, together in zip(TEXTS, crowd, strict=False):
        (alone,) = tagger.tag([Text(text)])
        assert alone.negative == pytest.approx(together.negative, abs=0.02)
        assert alone.deciding == together.deciding


def test_labels_are_mapped_by_name_not_by_position(tmp_path, tagger):
    swapped = Tagger.load(tiny_model(tmp_path, order=ORDER_SWAPPED))
    for one, other in zip(tagger.tag([Text(t) for t in TEXTS]), swapped.tag([Text(t) for t in TEXTS]), strict=True):
        assert (one.negative, one.neutral, one.positive) == (other.negative, other.neutral, other.positive)


def test_probabilities_are_a_distribution_in_steps_of_a_thousandth(tagger):
    for tag in tagger.tag([Text(text) for text in TEXTS]):
        assert tag.negative + tag.neutral + tag.positive == pytest.approx(1, abs=0.002)
        assert round(tag.negative, 3) == tag.negative
        assert 1 <= len(tag.topics) <= 3


@pytest.mark.parametrize("text", ["", "  \n ", "\u3000"])
def test_a_text_with_nothing_to_read_is_unsure_and_neutral(tagger, text):
    assert tagger.tag([Text(text)]) == [NOTHING_TO_READ]


def test_a_long_text_keeps_its_first_and_its_last_words(tagger):
    text = "good " + "a " * 40_000 + "bad"
    tokens = encoder.tokenize(tagger.tokenizer, text, tagger.config)
    assert len(tokens.ids) == tagger.config.max_tokens
    assert tokens.truncated
    assert text[slice(*tokens.spans[1])].strip() == "good"
    assert text[slice(*tokens.spans[-2])].strip() in {"bad", "d"}


def test_the_title_is_read_with_the_text(tagger):
    with_title = tagger.tag([Text("b", title="profit fell")])
    joined = tagger.tag([Text("profit fell\nb")])
    assert with_title == joined


PULLS = st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4)


@given(PULLS)
def test_the_deciding_sentence_has_the_largest_pull_to_the_verdict(pulls):
    text = "One. Two. Six. Ten."
    spans = [(0, 4), (5, 9), (10, 14), (15, 19)]
    assert deciding(text, spans, np.array(pulls), NEGATIVE) == spans[int(np.argmax(pulls))]
    assert deciding(text, spans, np.array(pulls), POSITIVE) == spans[int(np.argmin(pulls))]


@given(st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), st.floats(0.3, 4))
def test_calibration_never_changes_the_winner(logits, temperature):
    from models.catalog import Language

    p = calibrated(np.array(logits), Language([0.0] * 3, temperature, 0.5))
    assert p.sum() == pytest.approx(1)
    assert p[int(np.argmax(logits))] == p.max()


def test_packed_attention_equals_one_text_at_a_time():
    torch.manual_seed(0)
    qkv = torch.randn(2 + 2 + 3 + 1, 3 * 8)
    packed = encoder.attend(qkv, [2, 2, 3], heads=2)
    for start, end in ((0, 2), (2, 4), (4, 7)):
        alone = encoder.attend(qkv[start:end], [end - start], heads=2)
        assert torch.allclose(packed[start:end], alone, atol=1e-6)
    assert not packed[7:].any()
