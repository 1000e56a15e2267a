"""Heads: the pulls of the tokens are the verdict, exactly, and the deciding sentence and its words follow from them."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from groundswell.tagging import Text
from models import encoder, sentences, windows
from models.heads import (
    MAX_WORDS,
    NEGATIVE,
    NOTHING_TO_READ,
    POSITIVE,
    Reading,
    Tagger,
    by_pull,
    calibrated,
    loudest_words,
)
from models.labels import TOPICS
from tests.unit.model_folder import ORDER_SWAPPED, tiny_model


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return Tagger.load(tiny_model(tmp_path_factory.mktemp("model")))


TEXTS = ["profit fell", "loss", "good news profit profit profit", "坏消息。好消息。", "a b c d e f g h"]


def test_the_pulls_of_the_tokens_sum_to_the_verdict_exactly(tagger):
    ids = [windows.read(tagger.tokenizer, text, tagger.config).parts[0].ids for text in TEXTS]
    for _, lengths, hidden in tagger.encoder.encode(ids):
        scores = tagger.score(lengths, hidden)
        sums = [part.sum() for part in np.split(scores.pulls, np.cumsum(lengths)[:-1])]
        assert np.allclose(sums, scores.sentiment[:, NEGATIVE] - scores.sentiment[:, POSITIVE], atol=1e-4)


def test_a_text_is_tagged_the_same_alone_and_in_a_crowd(tagger):
    crowd = tagger.tag([Text(text) for text in TEXTS * 3])
    for text, together in zip(TEXTS, crowd, strict=False):
        (alone,) = tagger.tag([Text(text)])
        assert alone.negative == pytest.approx(together.negative, abs=0.02)
        assert alone.deciding == together.deciding


def test_labels_are_mapped_by_name_not_by_position(tmp_path, tagger):
    swapped = Tagger.load(tiny_model(tmp_path, order=ORDER_SWAPPED))
    texts = [Text(text, spans=[(0, 1), (2, 4)]) for text in TEXTS]
    for one, other in zip(tagger.tag(texts), swapped.tag(texts), strict=True):
        assert (one.negative, one.neutral, one.positive) == (other.negative, other.neutral, other.positive)
        assert one.targets == other.targets
        assert one.targets[0]


def test_probabilities_are_a_distribution_in_steps_of_a_thousandth(tagger):
    for tag in tagger.tag([Text(text) for text in TEXTS]):
        assert tag.negative + tag.neutral + tag.positive == pytest.approx(1, abs=0.002)
        assert round(tag.negative, 3) == tag.negative
        assert 1 <= len(tag.topics) <= 3


@pytest.mark.parametrize("text", ["", "  \n ", "\u3000"])
def test_a_text_with_nothing_to_read_is_unsure_and_neutral(tagger, text):
    assert tagger.tag([Text(text)]) == [NOTHING_TO_READ]
    assert tagger.tag([Text(text, spans=[(0, 1)])])[0].targets == [None]


def test_the_title_is_read_with_the_text(tagger):
    with_title = tagger.tag([Text("b", title="profit fell")])
    joined = tagger.tag([Text("profit fell\nb")])
    assert with_title == joined


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """A model whose answers move with the text; whole texts are negative to it."""
    texts = {"other": {"bias": [10, 0, 0], "temperature": 3, "unsure_under": 0}}
    companies = {"other": {"bias": [0, 0, 0], "temperature": 100, "unsure_under": 0}}
    return Tagger.load(tiny_model(tmp_path_factory.mktemp("moved"), languages=texts, targets=companies))


def test_companies_are_answered_in_the_order_they_are_asked_for(moved):
    text = "profit fell a b good news c d bad loss e f"
    spans = [(14, 15), (0, 6), (28, 31), (16, 20)]
    (tag,) = moved.tag([Text(text, spans=spans)])
    for span, answer in zip(spans, tag.targets, strict=True):
        (alone,) = moved.tag([Text(text, spans=[span])])
        assert alone.targets[0].negative == pytest.approx(answer.negative, abs=0.002)
        assert (tag.negative, tag.deciding) == (alone.negative, alone.deciding)
    assert max(answer.negative for answer in tag.targets) - min(answer.negative for answer in tag.targets) > 0.01


def test_a_company_beyond_what_is_read_gets_no_answer(tagger):
    text = "good " + "a " * 40_000 + "bad"
    (tag,) = tagger.tag([Text(text, spans=[(0, 4), (40_000, 40_001), (len(text) - 3, len(text)), (10**6, 10**6 + 2)])])
    assert [answer is None for answer in tag.targets] == [False, True, False, True]


def test_a_company_of_a_later_window_is_judged_there(tagger):
    text = "good news。" * 12 + "loss"
    (tag,) = tagger.tag([Text(text, spans=[(len(text) - 4, len(text))])])
    assert tag.tokens > tagger.config.max_tokens
    assert tag.targets[0].negative + tag.targets[0].neutral + tag.targets[0].positive == pytest.approx(1, abs=0.002)


@pytest.fixture(scope="module")
def careful(tmp_path_factory):
    """A model that is sure of everything in English and of nothing in a language that it was not made for."""
    fits = {"en": {"bias": [0, 0, 0], "temperature": 1, "unsure_under": 0}}
    fits["other"] = fits["en"] | {"unsure_under": 1.01}
    return Tagger.load(tiny_model(tmp_path_factory.mktemp("careful"), languages=fits, targets=fits))


@pytest.mark.parametrize(("lang", "unsure"), [("en", False), ("other", True), ("xx", True)])
def test_other_languages_are_always_unsure(careful, lang, unsure):
    for tag in careful.tag([Text(text, lang=lang, spans=[(0, 1)]) for text in TEXTS]):
        assert [tag.unsure, tag.targets[0].unsure] == [unsure, unsure]


LETTERS = st.text("abcdefgh 坏好消息。?", min_size=1, max_size=60).filter(str.strip)


@given(LETTERS)
def test_the_loud_words_are_whole_and_inside_the_deciding_sentence(tagger, text):
    (tag,) = tagger.tag([Text(text)])
    assert len(tag.words) <= MAX_WORDS
    assert tag.words == [] or tag.polarity != "neutral"
    bounds = [tag.deciding[0], *(edge for word in tag.words for edge in word), tag.deciding[1]]
    assert bounds == sorted(bounds)
    for start, end in tag.words:
        assert text[start:end].split() == [text[start:end]]


def test_a_word_of_several_pieces_is_one_word():
    text = "Stocks fell, 暴跌"
    spans = [(0, 5), (5, 6), (6, 11), (11, 12), (12, 14), (14, 15)]
    pulls = np.array([0.1, 0.4, 0.9, 5, 0.2, 0.3], np.float32)
    assert loudest_words(text, spans, pulls, (0, 15), "negative") == [(0, 6), (7, 11), (14, 15)]
    assert loudest_words(text, spans, -pulls, (0, 15), "negative") == []
    assert loudest_words(text, spans, -pulls, (0, 15), "positive") == [(0, 6), (7, 11), (14, 15)]
    assert loudest_words(text, spans, pulls, (0, 15), "neutral") == []


def test_a_word_is_marked_once_where_the_first_piece_is_bare():
    # The mark that a text begins with spans its first letter, which the next piece spans too.
    assert loudest_words("暴跌了", [(0, 1), (0, 2), (2, 3)], np.array([3, 2, -1]), (0, 3), "negative") == [(0, 2)]


PULLS = st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4)


@given(PULLS)
def test_the_deciding_sentence_has_the_largest_pull_to_the_verdict(pulls):
    text = "One. Two. Six. Ten."
    spans = [(0, 4), (5, 9), (10, 14), (15, 19)]
    numbers = np.array(pulls)
    assert by_pull(text, spans, numbers, "negative")[0] == spans[int(np.argmax(numbers))]
    assert by_pull(text, spans, numbers, "positive")[0] == spans[int(np.argmin(numbers))]
    assert by_pull(text, spans, numbers, "neutral")[0] == spans[int(np.argmax(np.abs(numbers)))]


def test_of_a_negative_text_the_sentence_decides_without_which_it_is_least_negative(moved):
    rng = random.Random(0)
    asked = 0
    for _ in range(20):
        text = "".join(
            " ".join(rng.choices(["profit", "fell", "loss", "good", "bad", "坏"], k=3)) + "。" for _ in "123"
        )
        (tag,) = moved.tag([Text(text)])
        if tag.polarity == "negative":
            asked += 1
            spans = sentences.split(text)
            left = [moved.tag([Text(text[:a] + text[b:])])[0].negative for a, b in spans]
            assert left[spans.index(tag.deciding)] <= min(left) + 0.003
    assert asked


class Misled(Tagger):
    """Negative as long as 坏 is there, while the pulls point at `loss`."""

    def readings(self, read, spans):
        found = []
        for each in read:
            pieces = [self.tokenizer.id_to_token(token) for token in each.parts[0].ids]
            logits = np.array([3, 0, 0] if "坏" in pieces else [0, 3, 0], np.float32)
            pulls = np.array([piece == "▁loss" for piece in pieces], np.float32)
            found.append([Reading(logits, np.zeros(len(TOPICS), np.float32), pulls, np.zeros(0, np.float32))])
        return found


def test_leaving_a_sentence_out_overrules_the_pulls(tmp_path):
    misled = Misled.load(tiny_model(tmp_path))
    bad, good = misled.tag([Text("loss。坏。good。"), Text("loss。good。profit。")])
    assert (bad.polarity, bad.deciding) == ("negative", (5, 7))
    assert (good.polarity, good.deciding) == ("neutral", (0, 5))
    assert bad.words == []


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
