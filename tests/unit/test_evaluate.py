"""Measuring a model: a set asks what it says, its slices are the rows it says, and the command tells it to people and programs."""

import csv
import gzip
import json

import pytest
from click.testing import CliRunner

from groundswell.cli import cli
from groundswell.tagging import Polarity, Tag, Text
from models.labels import SENTIMENTS
from models.learn import rows
from models.learn.sources import TWEET_TOPICS
from models.measure import evaluate, evaluation_sets, name_swaps
from models.measure.evaluation_sets import Judged
from tests.unit.model_folder import tiny_model

KEYS = {
    "dataset", "model", "n", "accuracy", "interval", "macro_f1", "macro_f1_interval", "weighted_f1", "per_class", "confusion",
    "labels", "ece", "unsure_share", "sure_accuracy", "auc", "docs_per_s", "data_hash", "note",
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model(tmp_path_factory.mktemp("model")))


def tag(negative, neutral, positive, topics=("market",), targets=(), unsure=False):
    found = [None if each is None else Polarity(*each, unsure=False) for each in targets]
    return Tag(negative, neutral, positive, unsure, [(topic, 0.9) for topic in topics], None, 5, False, targets=found)


BAD, CALM, GOOD = tag(0.8, 0.15, 0.05), tag(0.1, 0.8, 0.1), tag(0.05, 0.15, 0.8)


# scoring


def judged(*labels, **more):
    return Judged([Text("a")] * len(labels), [SENTIMENTS.index(label) for label in labels], "", **more)


def test_a_target_is_scored_by_its_own_polarity_and_a_place_beyond_the_text_by_the_text():
    of_company = tag(0.05, 0.15, 0.8, targets=[(0.9, 0.05, 0.05)])
    unread = tag(0.05, 0.15, 0.8, targets=[None])
    both = judged("negative", "positive", by_target=True)
    assert evaluate.score([of_company, unread], both)["accuracy"] == 1.0
    assert evaluate.score([of_company, unread], judged("negative", "positive"))["accuracy"] == 0.5


def test_negative_against_positive_leaves_out_what_is_neutral():
    leaning = tag(0.3, 0.6, 0.1)
    found = evaluate.score([leaning, GOOD, BAD], judged("negative", "positive", "neutral"), "negative-positive")
    assert (found["n"], found["accuracy"], found["labels"]) == (2, 1.0, ["negative", "positive"])
    assert found["confusion"] == [[1, 0], [0, 1]]


def test_negative_against_the_rest_keeps_every_row_and_the_verdict():
    found = evaluate.score(
        [BAD, CALM, GOOD, CALM], judged("negative", "neutral", "neutral", "negative"), "negative-rest"
    )
    assert (found["n"], found["accuracy"], found["labels"]) == (4, 0.75, ["negative", "rest"])
    assert found["confusion"] == [[1, 1], [0, 2]]


def test_a_set_without_anything_left_is_told():
    with pytest.raises(evaluate.NothingToScore, match="no row is left"):
        evaluate.score([CALM], judged("neutral"), "negative-positive")


def test_unsure_answers_are_counted_and_left_out_of_what_is_sure():
    wrong = tag(0.4, 0.35, 0.25, unsure=True)
    found = evaluate.score([BAD, wrong], judged("negative", "positive"))
    assert (found["unsure_share"], found["accuracy"], found["sure_accuracy"]) == (0.5, 0.5, 1.0)


def test_slices_are_scored_apart():
    found = evaluate.score([BAD, BAD], judged("negative", "positive", slices={"hard": [False, True]}))
    assert found["slices"]["all"]["accuracy"] == 0.5
    assert (found["slices"]["hard"]["n"], found["slices"]["hard"]["accuracy"]) == (1, 0.0)


def test_equal_sets_have_equal_hashes_and_a_changed_label_another():
    texts = [Text("a"), Text("b")]
    one = evaluate.data_hash(texts, ["negative", "neutral"])
    assert one == evaluate.data_hash(list(texts), ["negative", "neutral"])
    assert one != evaluate.data_hash(texts, ["negative", "positive"])
    assert len(one) == 16


# the project's own sets


@pytest.mark.parametrize("language", ["en", "zh"])
def test_names_to_swap_are_thirty_and_unknown_to_training(language):
    names = name_swaps.NAMES[language]
    assert len(set(names)) == len(names) == name_swaps.NAMES_A_LANGUAGE
    assert not set(names) & {name for pool in rows.slots(language)["train"].values() for name in pool}


def test_a_name_that_changes_the_verdict_is_a_flip():
    steady, shaken = [BAD] * 30, [BAD] * 27 + [CALM] * 3
    found = name_swaps.steadiness(steady + shaken)
    assert (found["templates"], found["flips"], found["steady_templates"]) == (2, 0.05, 0.5)
    assert found["spread"] == pytest.approx(0.35)
    assert name_swaps.by_language(steady + shaken, ["en", "zh"])["zh"]["flips"] == 0.1


def test_pairs_compare_the_two_languages():
    pairs = evaluation_sets.pairs(None)
    half = len(pairs.texts) // 2
    assert {text.lang for text in pairs.texts[:half]} == {"en"}
    perfect = [[BAD, CALM, GOOD][label] for label in pairs.labels]
    same = pairs.beside(perfect)
    assert (same["gap"], same["agreement"], same["en"]["accuracy"]) == (0.0, 1.0, 1.0)
    worse = pairs.beside(perfect[:half] + [CALM] * half)
    assert worse["gap"] > 0.5
    assert worse["agreement"] == pytest.approx(pairs.labels[:half].count(1) / half, abs=1e-4)


def test_frightened_answers_to_calm_texts_are_counted_by_language():
    calm = evaluation_sets.calm(None)
    assert set(calm.labels) == {SENTIMENTS.index("neutral")}
    found = calm.beside([BAD if text.lang == "zh" else CALM for text in calm.texts])["called_negative"]
    assert (found["zh"], found["en"]) == (1.0, 0.0)


@pytest.mark.parametrize("name", list(evaluation_sets.OWN))
def test_every_own_set_is_measured_without_any_data_folder(name, model):
    found = evaluate.evaluate(name, None, model)
    assert found.keys() >= KEYS
    assert found["n"] == sum(map(sum, found["confusion"])) > 100
    assert json.loads(json.dumps(found)) == found


# public sets, as docs/data.md lays them out

TWEETS = [
    {"text": "profit fell", "label": "negative", "leaks_from_train": "0"},
    {"text": "good", "label": "positive", "leaks_from_train": "1"},
]
HEADLINES = [
    {
        "id": n,
        "text": f"Aaa gains as Bbb falls in week {n}",
        "entities": {"Aaa": "positive", "Bbb": "negative"},
        "headline_label": "mixed",
    }
    for n in range(60)
] + [
    {
        "id": n,
        "text": f"Ccc gains in week {n}",
        "entities": {"Ccc": "positive", "Ddd": "neutral"},
        "headline_label": "positive",
    }
    for n in range(60, 120)
]
LAYOUT = {
    "tfns_sentiment_en/valid.csv.gz": TWEETS,
    "tfn_topic_en/valid.csv.gz": [
        {"text": f"profit {n}", "label": TWEET_TOPICS[n % 20], "dup_within_split": "0", "leaks_from_train": str(n // 40)}
        for n in range(50)
    ],
    "sentfin_en/sentfin.jsonl.gz": HEADLINES,
    "fiqa_sa_en_EVAL_ONLY/fiqa_sa.csv.gz": [
        {"text": "loss", "label": "negative", "split": "test"}, {"text": "good", "label": "neutral", "split": "train"},
    ],
    "stockemotions_en_EVAL_ONLY/stockemotions.csv.gz": [
        {"text": "good", "sentiment": "bullish", "split": "test"}, {"text": "bad", "sentiment": "bearish", "split": "test"},
    ],
    "fincuge_zh_EVAL_ONLY/finfe_clean.csv.gz": [
        {"text": "坏", "label": "negative", "quality": "agree", "clean_split": "test"},
        {"text": "好", "label": "positive", "quality": "single", "clean_split": "test"},
        {"text": "好", "label": "", "quality": "conflict", "clean_split": "test"},
    ],
    "fincuge_zh_EVAL_ONLY/finnl.csv.gz": [
        {"text": "坏消息", "labels": "期货 公司", "split": "test"}, {"text": "好", "labels": "大盘", "split": "test"},
        {"text": "好消息", "labels": "", "split": "test"}, {"text": "好", "labels": "公司", "split": "train"},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, found in LAYOUT.items():
        (folder / name).parent.mkdir(exist_ok=True)
        with gzip.open(folder / name, "wt", encoding="utf-8", newline="") as file:
            if ".jsonl" in name:
                file.writelines(json.dumps(row) + "\n" for row in found)
            else:
                writer = csv.DictWriter(file, list(found[0]))
                writer.writeheader()
                writer.writerows(found)
    return folder


@pytest.mark.parametrize(
    ("name", "n"), [("tfns", 2), ("tfn-topic", 40), ("fiqa", 1), ("stockemotions", 2), ("finfe", 2), ("finnl", 2)]
)
def test_a_public_set_is_read_as_the_documents_lay_it_out(name, n, data, model):
    found = evaluate.evaluate(name, data, model)
    assert found.keys() >= KEYS
    assert found["n"] == n


def test_slices_of_public_sets_are_the_marked_rows(data, model):
    assert evaluate.evaluate("tfns", data, model)["slices"]["clean"]["n"] == 1
    assert evaluate.evaluate("finfe", data, model)["slices"]["agree"]["n"] == 1
    assert evaluate.evaluate("stockemotions", data, model)["labels"] == ["negative", "positive"]


def test_headlines_are_scored_by_company(data):
    found = evaluation_sets.sentfin(data)
    assert len(found.texts) == len(found.labels) == 2 * len({text.whole for text in found.texts}) > 4
    for text, label in zip(found.texts, found.labels, strict=True):
        name = text.whole[slice(*text.spans[0])] if text.spans else "Ddd"
        assert SENTIMENTS[label] == {"Aaa": "positive", "Bbb": "negative", "Ccc": "positive", "Ddd": "neutral"}[name]
    whole = found.beside([tag(0.05, 0.15, 0.8)] * len(found.texts))["headline"]
    assert whole["n"] == sum(text.whole.startswith("Ccc") for text in found.texts) / 2
    assert whole["accuracy"] == 1.0


def test_topics_of_tweets_are_scored_twenty_ways(data, model):
    found = evaluate.evaluate("tfn-topic", data, model)
    assert found["labels"] == list(TWEET_TOPICS)
    assert sum(map(sum, found["confusion"])) == found["n"]
    assert set(found["topics"]["per_topic"]) >= {"earnings", "macro"}


# the command


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("text,label\nloss,neg\ngood,pos\na,neu\n", "utf-8")
    return path


def run(*arguments):
    return CliRunner().invoke(cli, ["evaluate", *map(str, arguments)])


def test_the_data_folder_may_be_a_setting(data, model, monkeypatch):
    monkeypatch.setenv("GROUNDSWELL_DATA", str(data))
    found = run("tfns", "--model", model, "--json")
    assert found.exit_code == 0
    assert json.loads(found.output)["n"] == 2


def test_a_public_set_without_a_data_folder_says_what_to_pass(model, monkeypatch, tmp_path):
    monkeypatch.delenv("GROUNDSWELL_DATA", raising=False)
    assert "--data DIR or set GROUNDSWELL_DATA; docs/data.md" in run("tfns", "--model", model).exception.line
    assert "there is no folder" in run("tfns", "--data", tmp_path / "none", "--model", model).exception.line
    assert "fiqa_sa.csv.gz is not in" in run("fiqa", "--data", tmp_path, "--model", model).exception.line


def test_a_name_that_is_nothing_is_told_with_all_that_are_known(model):
    line = run("tfsn", "--model", model).exception.line
    assert all(name in line for name in (*evaluate.DATASETS, ".jsonl.gz"))


def test_people_see_figures_classes_and_confusion(mine, model):
    found = run(mine, "--model", model)
    assert found.exit_code == 0
    for words in ("3 rows, model tiny", "accuracy", "macro-F1", "true \\ said", "neutral", "documents/s"):
        assert words in found.output


@pytest.mark.parametrize("binary", ["negative-positive", "negative-rest"])
def test_two_classes_can_be_asked_for(mine, model, binary):
    found = json.loads(run(mine, "--model", model, "--binary", binary, "--json").output)
    assert found["binary"] == binary
    assert (found["n"], len(found["labels"])) == (2 if binary == "negative-positive" else 3, 2)
