"""Planted copies of real short texts are found again, and texts of other people are not taken for copies."""

import csv
import gzip
import json
import random

import pytest

from groundswell.text import normalise
from stream.stories import SAME_STORY, bands, signature, similarity
from tests.conftest import DATA_DIR

FILE = DATA_DIR / "stocknet_replay_en" / "tweets_2014_2016.jsonl.gz"


@pytest.mark.skipif(not FILE.exists(), reason=f"no replay data at {FILE}")
def test_planted_copies_of_real_texts_are_found_and_strangers_are_not():
    rng = random.Random(11)
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        texts = [normalise(json.loads(line)["text"]) for line in lines if rng.random() < 0.04]
    originals = [text for text in dict.fromkeys(texts) if signature(text, "en") is not None][:2000]
    found = 0
    for text in originals:
        words = text.split()
        edit = rng.randrange(3)
        if edit == 0:
            copy = " ".join(words[: max(1, round(len(words) * 0.8))]) + "…"
        elif edit == 1:
            copy = f"{words[0]} surely {' '.join(words[1:])} wow"
        else:
            place = rng.randrange(len(words))
            copy = " ".join([*words[:place], "changed", *words[place + 1 :]])
        one, other = signature(text, "en"), signature(f"RT @desk: {copy} https://example.com/x", "en")
        if one is None or other is None:
            continue
        found += bool(set(bands(one)) & set(bands(other))) and similarity(one, other) >= SAME_STORY
    strangers = sum(
        similarity(a, b) >= SAME_STORY
        for a, b in zip(map(sign, originals[::2]), map(sign, originals[1::2]), strict=False)
    )
    assert found / len(originals) >= 0.96, found / len(originals)
    assert strangers / (len(originals) // 2) <= 0.01, strangers


NEWS_ZH = DATA_DIR / "fincuge_zh_EVAL_ONLY" / "finnl.csv.gz"
COMMENTS_ZH = DATA_DIR / "fincuge_zh_EVAL_ONLY" / "finfe_clean.csv.gz"


@pytest.mark.skipif(not NEWS_ZH.exists(), reason=f"no Chinese news at {NEWS_ZH}")
@pytest.mark.parametrize(("file", "at_least"), [(NEWS_ZH, 0.98), (COMMENTS_ZH, 0.85)], ids=["news", "comments"])
def test_planted_copies_of_chinese_texts_are_found_and_strangers_are_not(file, at_least):
    """Comments have twenty characters in the middle: with two of them changed, a tenth is no copy any more."""
    rng = random.Random(11)
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        texts = list(dict.fromkeys(normalise(row["text"]) for row in csv.DictReader(lines)))
    rng.shuffle(texts)
    originals = [text for text in texts if signature(text, "zh") is not None][:2000]
    found = 0
    for text in originals:
        edit, place = rng.randrange(3), rng.randrange(len(text))
        if edit == 0:
            copy = text[: max(1, round(len(text) * 0.8))] + "…"
        elif edit == 1:
            copy = f"{text[:place]}真的{text[place:]}"
        else:
            copy = f"{text[:place]}另外{text[place + 2 :]}"
        one, other = signature(text, "zh"), signature(f"转发@某人：{copy}", "zh")
        if one is None or other is None:
            continue
        found += bool(set(bands(one)) & set(bands(other))) and similarity(one, other) >= SAME_STORY
    strangers = sum(
        similarity(sign(a, "zh"), sign(b, "zh")) >= SAME_STORY
        for a, b in zip(originals[::2], originals[1::2], strict=False)
    )
    assert found / len(originals) >= at_least, found / len(originals)
    assert strangers / (len(originals) // 2) <= 0.001, strangers


def sign(text: str, lang: str = "en"):
    sig = signature(text, lang)
    assert sig is not None
    return sig
