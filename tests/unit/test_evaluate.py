"""Measuring a model: figures are what the field means by them, files are read as people write them, a set asks what it says."""

import csv
import gzip
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from groundswell.cli import cli
from groundswell.tagging import Polarity, Tag, Text
from models import mentions
from models.labels import SENTIMENTS
from models.learn import rows
from models.learn.sources import TWEET_TOPICS
from models.measure import evaluate, evaluation_sets, figures, gates, labelled_file, name_swaps
from models.measure.evaluation_sets import Judged
from models.measure.labelled_file import BadLabelledFile, UnknownLabel
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


# figures

labelled = st.lists(st.tuples(st.integers(0, 2), st.tuples(*[st.floats(0.01, 1)] * 3)), min_size=2, max_size=60)


@given(labelled)
def test_accuracy_and_f1_are_those_of_scikit_learn(found):
    truth, p = np.array([label for label, _ in found]), np.array([each for _, each in found])
    ours, guess = figures.of_classes(p, truth, SENTIMENTS), p.argmax(1)
    assert ours["accuracy"] == pytest.approx(metrics.accuracy_score(truth, guess), abs=1e-4)
    assert ours["macro_f1"] == pytest.approx(metrics.f1_score(truth, guess, average="macro", zero_division=0), abs=1e-4)
    weighted = metrics.f1_score(truth, guess, average="weighted", zero_division=0)
    assert ours["weighted_f1"] == pytest.approx(weighted, abs=1e-4)
    assert ours["confusion"] == metrics.confusion_matrix(truth, guess, labels=[0, 1, 2]).tolist()
    assert ours["interval"][0] <= ours["accuracy"] <= ours["interval"][1]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=60))
def test_auc_is_that_of_scikit_learn_ties_counted_half(found):
    truth, score = np.array([label for label, _ in found]), np.array([float(value) for _, value in found])
    ours = figures.auc(score, truth, ~truth)
    if truth.all() or not truth.any():
        assert ours is None
    else:
        assert ours == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-4)


def test_an_interval_narrows_with_more_rows():
    def width(n):
        low, high = figures.of_classes(np.eye(3)[[0, 1, 2, 2] * n], np.array([0, 1, 2, 0] * n), SENTIMENTS)["interval"]
        return high - low

    assert width(400) < width(100) / 1.5 < width(10)


def test_confidence_that_is_earned_has_no_calibration_error_and_boasting_has():
    right = np.array([True] * 80 + [False] * 20)
    assert figures.calibration_error(np.full(100, 0.8), right) == pytest.approx(0, abs=1e-9)
    assert figures.calibration_error(np.full(100, 0.99), right) == pytest.approx(0.19)


def test_recall_at_a_precision_takes_equal_scores_together():
    score, wanted = np.array([0.9, 0.8, 0.8, 0.5]), np.array([True, True, False, True])
    assert figures.recall_at_precision(score, wanted, 0.99) == pytest.approx(1 / 3, abs=1e-4)
    assert figures.recall_at_precision(score, wanted, 0.75) == 1.0
    assert figures.recall_at_precision(score, np.zeros(4, bool)) is None


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


# files


def written(path, content):
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize(
    ("word", "label"),
    [(word, label) for label, words in labelled_file.SPELLINGS.items() for word in (*words, words[0].upper())]
    + [(" Bearish ", "negative"), ("利好", "positive"), ("＋1", "positive")],
)
def test_common_spellings_of_a_label_are_known(word, label):
    assert labelled_file.label_of(word, "line 2") == label


def test_an_unknown_label_is_told_with_its_line_and_what_is_known(tmp_path):
    path = written(tmp_path / "a.csv", "text,label\nfine,pos\n\nodd,mixed\x1b[31m\n")
    with pytest.raises(UnknownLabel) as caught:
        labelled_file.read(path)
    assert "a.csv line 4: the label 'mixed[31m' is not known" in caught.value.line
    assert all(word in caught.value.line for word in ("bearish", "中性", "利好"))


def test_signed_numbers_are_known_together_and_bare_ones_never(tmp_path):
    signed = written(tmp_path / "a.csv", "text,label\na,-1\nb,0\nc,1\n")
    assert [row.label for row in labelled_file.read(signed)] == [0, 1, 2]
    for content in ('{"text": "a", "label": 0}\n{"text": "b", "label": 2}', '{"text": "b", "label": 1}'):
        with pytest.raises(UnknownLabel, match="line 1"):
            labelled_file.read(written(tmp_path / "b.jsonl", content))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "A.JSONL.gz"])
def test_csv_and_json_lines_read_alike_gzipped_or_not(tmp_path, name):
    found = [
        {"text": "亏损扩大，\n股价下跌", "label": "负面"},
        {"text": 'Profit "soars"', "label": "Positive", "title": "News"},
    ]
    if "csv" in name:
        sink = io.StringIO(newline="")
        writer = csv.DictWriter(sink, ["text", "label", "title"])
        writer.writeheader()
        writer.writerows(found)
        content = "\ufeff" + sink.getvalue()
    else:
        content = "\n".join(json.dumps(row) for row in found)
    first, second = labelled_file.read(written(tmp_path / name, content))
    assert (first.text.whole, first.text.lang, first.label) == ("亏损扩大，\n股价下跌", "zh", 0)
    assert (second.text.whole, second.text.lang, second.label) == ('News\nProfit "soars"', "en", 2)


def test_an_entity_asks_for_its_own_place_and_one_that_is_not_there_is_counted(tmp_path, model):
    path = written(
        tmp_path / "a.csv",
        "text,label,entity,lang\nBadger fell. Bad profit,neg,Bad,en\nprofit,neu,Nobody,\nTexte,pos,,fr-FR\n",
    )
    first, second, third = labelled_file.read(path)
    assert first.text.whole[slice(*first.text.spans[0])] == "Bad"
    assert first.text.spans == [(13, 16)]
    assert (second.missed, second.text.spans) == (True, [])
    assert (third.missed, third.text.lang) == (False, "other")
    note = evaluate.evaluate(str(path), None, model)["note"]
    assert "1 rows judged by their entity" in note
    assert "1 by the text" in note


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "text,tag\na,b\n", "no column label"),
        ("a.csv", "", "no column label and no column text"),
        ("a.csv", "text,label\n", "no row"),
        ("a.csv", "text,label\n,pos\n", "line 2 has no `text`"),
        ("a.csv", "text,label\nwords,\n", "line 2 has no `label`"),
        ("a.csv", b"text,label\n\xff,pos\n", "cannot be read"),
        ("a.csv.gz", None, "cannot be read"),
        ("a.jsonl", '{"text": "a", "label": "pos"}\n[1]\n', "line 2 is not a JSON object"),
        ("a.jsonl", "{text}", "line 1 is not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("a.tsv", "text\tlabel\n", "none of .csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(b"no gzip") if content is None else written(path, content)
    with pytest.raises(BadLabelledFile, match=words) as caught:
        labelled_file.read(path)
    assert "\n" not in caught.value.line


@pytest.mark.parametrize(
    ("text", "name", "found"),
    [
        ("Applebee's sues Apple", "Apple", "Apple"),
        ("贵州茅台涨停", "茅台", "茅台"),
        ("shares of apple fell", "Apple", "apple"),
        ("MegaBankCo fell", "Bank", "Bank"),
    ],
)
def test_a_name_is_found_as_a_word_first_then_inside_one_then_in_other_case(text, name, found):
    span = mentions.find(text, name)
    assert text[slice(*span)] == found
    assert span[0] == text.rindex(found)


def test_a_name_inside_a_longer_one_is_looked_for_elsewhere():
    text = "SBI Cards falls, SBI gains"
    assert mentions.find_all(text, ["SBI", "SBI Cards"]) == {"SBI Cards": (0, 9), "SBI": (17, 20)}
    assert mentions.find("nothing here", "SBI") is None


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


def test_people_see_figures_classes_and_confusion(tmp_path, model):
    path = written(tmp_path / "mine.csv", "text,label\nloss,neg\ngood,pos\na,neu\n")
    found = run(path, "--model", model)
    assert found.exit_code == 0
    for words in ("3 rows, model tiny", "accuracy", "macro-F1", "true \\ said", "neutral", "documents/s"):
        assert words in found.output


@pytest.mark.parametrize("binary", ["negative-positive", "negative-rest"])
def test_two_classes_can_be_asked_for(tmp_path, model, binary):
    path = written(tmp_path / "mine.csv", "text,label\nloss,neg\ngood,pos\na,neu\n")
    found = json.loads(run(path, "--model", model, "--binary", binary, "--json").output)
    assert found["binary"] == binary
    assert (found["n"], len(found["labels"])) == (2 if binary == "negative-positive" else 3, 2)


# the card


def test_the_card_says_what_is_met_and_pins_what_was_measured(tmp_path):
    from models.measure import card

    folder = tiny_model(tmp_path)
    curve = written(tmp_path / "loss.csv", "step,loss\n0,2.5\n20,1.5\n")
    card.write(folder, None, ("calm", "swaps", "tfns"), curve)
    text = (folder / "README.md").read_text("utf-8")
    pinned = json.loads((folder / "figures.json").read_text("utf-8"))
    assert pinned.keys() == {"version", "calm", "swaps"}
    assert "docs_per_s" not in pinned["calm"]
    assert "| TFNS validation, all: accuracy | .846 | 0.870 | 0.885 | – |  | not measured |" in text
    (calm,) = [line for line in text.splitlines() if "frightening words: called negative |" in line]
    assert f"**{pinned['calm']['called_negative']['all']:.3f}**" in calm
    for name in ("confusion.png", "curve.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
        assert f"({name})" in text


@pytest.mark.parametrize(("value", "words"), [(0.05, "**no**"), (0.02, "yes"), (0.004, "goal"), (None, "not measured")])
def test_a_gate_tells_goal_from_met_from_missed(value, words):
    from models.measure import card

    flips = next(gate for gate in gates.GATES if gate.measure == "name swap: label flips")
    assert card.met(flips, value) == words
    results = {} if value is None else {"swaps": {"swaps": {"all": {"flips": value}}}}
    assert flips.ours(results) == value


def test_the_agreement_of_the_second_labelling_is_quoted(tmp_path):
    from models.measure import card

    path = written(
        tmp_path / "README.md", "# Rows\n\nMany. The second labelling, blind, agreed on 96.4 % of 500 rows. More.\n"
    )
    assert card.agreement(path) == "; second labelling: The second labelling, blind, agreed on 96.4 % of 500 rows"
    assert card.agreement(tmp_path / "none.md") == ""
