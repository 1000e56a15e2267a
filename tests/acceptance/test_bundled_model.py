"""The bundled model: small, sensible in both languages, better on real tweets than counting words."""

import os
from pathlib import Path

import pytest

from groundswell.tagging import Text
from models import catalog, rows
from models.sanity import SENTENCES

FOLDER = catalog.locate(catalog.BUNDLED)
DATA = Path(os.environ.get("GROUNDSWELL_DATA", Path(__file__).parents[3] / "shared" / "data"))
WORD_COUNTING = 0.846  # TF-IDF of words and characters with logistic regression, on the same rows

pytestmark = pytest.mark.skipif(not (FOLDER / catalog.WEIGHTS).is_file(), reason="models/bundled holds no weights")


@pytest.fixture(scope="module")
def tagger():
    from models.heads import Tagger

    return Tagger.load(FOLDER)


@pytest.mark.parametrize(("lang", "wanted", "text"), SENTENCES)
def test_a_plain_sentence_gets_its_plain_label(tagger, lang, wanted, text):
    (tag,) = tagger.tag([Text(text, lang=lang)])
    assert tag.polarity == wanted


@pytest.mark.parametrize(
    ("lang", "text", "deciding"),
    [
        (
            "zh",
            "公司今天召开股东大会。会上披露其债券已经违约，资金链断裂。会议于下午三点结束。",
            "会上披露其债券已经违约，资金链断裂。",
        ),
        (
            "en",
            (
                "The company held its annual meeting today. It admitted massive fraud and will default on its debt. "
                "The meeting ended at three."
            ),
            "It admitted massive fraud and will default on its debt.",
        ),
    ],
)
def test_the_deciding_sentence_is_the_one_a_reader_would_name(tagger, lang, text, deciding):
    (tag,) = tagger.tag([Text(text, lang=lang)])
    assert text[slice(*tag.deciding)] == deciding


@pytest.mark.parametrize(
    ("lang", "text", "topic"),
    [
        ("zh", "公司因涉嫌财务造假被立案调查", "fraud"),
        ("zh", "该公司宣布裁员三千人", "labour"),
        ("en", "Hackers stole customer data from the bank's servers", "cyber"),
        ("en", "The carmaker recalls 40,000 vehicles over faulty brakes", "safety"),
    ],
)
def test_the_topic_a_reader_would_name_is_among_those_given(tagger, lang, text, topic):
    (tag,) = tagger.tag([Text(text, lang=lang)])
    assert topic in dict(tag.topics)


def test_all_weights_together_are_at_most_50_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) <= 50_000_000


def test_the_model_card_is_of_this_model():
    assert catalog.check(FOLDER).version in (FOLDER / "README.md").read_text("utf-8")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_written_rows_can_all_be_read_and_share_no_name_between_training_and_test(language):
    slots = rows.slots(language)
    assert len(rows.load(language)) >= 900
    for slot in ("ORG", "PERSON", "PRODUCT"):
        assert not set(slots["train"][slot]) & set(slots["test"][slot])


@pytest.mark.skipif(not (DATA / "tfns_sentiment_en").is_dir(), reason="the public sets are not here (GROUNDSWELL_DATA)")
def test_it_beats_counting_words_on_real_tweets():
    from models.evaluate import evaluate

    assert evaluate("tfns", DATA)["accuracy"] > WORD_COUNTING
