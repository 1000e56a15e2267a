"""Fine-tuning at toy size: files are cleaned, a toy task is learned, the adapter is what it says, and costs are told."""

import hashlib
import io
import json
import random
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from rich.console import Console
from safetensors.torch import load_file, save_file

from groundswell.cli import cli
from groundswell.errors import BrokenModel
from groundswell.tagging import Text
from models import adapter, catalog, encoder, low_rank, stored
from models.heads import Tagger
from models.labels import SENTIMENTS, TOPICS
from models.learn import augment, before_after, cleaning, finetune, split, student
from models.learn.corpus import Corpus
from models.learn.finetune import UnfitBase
from models.learn.sources import UNKNOWN, YOURS, Example
from models.learn.split import TooFewRows
from models.learn.student import Plan
from models.measure.evaluate import evaluate
from models.measure.labelled_file import BadLabelledFile
from tests.unit.model_folder import ORDER_SWAPPED, tiny_model

FIT = {"bias": [0.0] * 3, "temperature": 1.0, "unsure_under": 0.5}
LANGUAGES = dict.fromkeys(("en", "zh", "other"), FIT)
WORDS = {"loss": "negative", "profit": "neutral", "good": "positive"}
TOY = Plan(epochs=15, patience=15, rehearsed=0, factor_rate=3e-2, head_rate=5e-2, body_rate=2e-2)


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def quiet():
    return Console(file=io.StringIO(), force_terminal=False)


def toy_rows(count=400, seed=0):
    """Texts of random letters; one word among them is the whole verdict."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        letters = rng.choices("abcdefgh", k=9)
        word = rng.choice(list(WORDS))
        letters.insert(rng.randrange(10), word)
        rows.append({"text": " ".join(letters), "label": WORDS[word]})
    return rows


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def base_model(folder, **changes):
    """A tiny model that can learn: sizes of weights as in a trained one, not just any numbers."""
    folder.mkdir(parents=True)
    tiny_model(folder)
    weights = load_file(folder / catalog.WEIGHTS)
    for name, tensor in weights.items():
        if name.endswith("norm.weight"):
            weights[name] = torch.ones_like(tensor)
        elif name.endswith(("norm.bias", "word.scale")):
            weights[name] = torch.full_like(tensor, 0.02)
        elif tensor.is_floating_point():
            weights[name] = tensor * 0.3
    save_file(weights, folder / catalog.WEIGHTS)
    digest = hashlib.sha256((folder / catalog.WEIGHTS).read_bytes()).hexdigest()
    config = json.loads((folder / catalog.CONFIG).read_text())
    settled = {"weights_sha256": digest, "languages": LANGUAGES, "targets": LANGUAGES, **changes}
    (folder / catalog.CONFIG).write_text(json.dumps(config | settled))
    return folder


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A tiny base, a toy file, and the adapter and report made of them."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("finetune")
    base, file = base_model(root / "base"), jsonl(root / "yours.jsonl", toy_rows())
    report = finetune.finetune(file, root / "made", base=str(base), plan=TOY, standing=("calm",), console=quiet())
    return base, file, root / "made", report


# --- the file


def test_what_cannot_be_read_is_counted_with_its_line_and_the_rest_is_kept(tmp_path):
    file = tmp_path / "yours.csv"
    file.write_text(
        "Text,Label,Topics,Split\n"
        "Acme fell,bad?,,\n"
        "Acme rose,利好,,\n"
        ",positive,,\n"
        "Acme sued,,litigation;fraud,\n"
        "Acme met,,gossip,\n"
        "Acme sat,neutral,,tomorrow\n"
        "Acme said nothing,,,\n",
        "utf-8",
    )
    texts, found = cleaning.read(file)
    assert [text.line for text in texts] == [3, 5]
    assert found.rows == 7
    assert [line for line, _ in found.unreadable] == [2, 4, 6, 7, 8]
    assert "gossip" in dict(found.unreadable)[6]
    assert "tomorrow" in dict(found.unreadable)[7]
    assert texts[0].example.sentiment == SENTIMENTS.index("positive")
    known = dict(zip(TOPICS, texts[1].example.topics, strict=True))
    assert (known["litigation"], known["fraud"], known["cyber"]) == (1, 1, UNKNOWN)


def test_a_line_that_is_not_json_costs_only_itself(tmp_path):
    file = tmp_path / "yours.jsonl"
    file.write_text('{"text": "a", "label": "neg"}\n{"text": \n[1]\n{"text": "b", "sentiment": "+1"}\n')
    texts, found = cleaning.read(file)
    assert [text.line for text in texts] == [1, 4]
    assert [line for line, _ in found.unreadable] == [2, 3]


@pytest.mark.parametrize("content", ["words,label\nx,neg\n", "text,author\nx,me\n", ""])
def test_a_table_without_texts_or_labels_is_refused_with_what_it_needs(tmp_path, content):
    (tmp_path / "yours.csv").write_text(content)
    with pytest.raises(BadLabelledFile) as caught:
        cleaning.read(tmp_path / "yours.csv")
    assert "`text`" in caught.value.line


def test_a_text_that_is_labelled_in_two_ways_is_left_out_and_a_repeated_one_kept_once(tmp_path):
    rows = [
        {"text": "Acme fell again.", "label": "negative"},
        {"text": "ACME FELL AGAIN", "label": "neutral"},
        {"text": "Bolt rose.", "label": "positive"},
        {"text": "bolt rose!", "label": "positive"},
    ]
    texts, found = cleaning.read(jsonl(tmp_path / "yours.jsonl", rows))
    assert [text.lines for text in texts] == [(3, 4)]
    assert found.conflicts == [(1, 2)]
    assert found.duplicates == [4]


def test_rows_about_companies_of_one_text_become_one_text_with_their_places(tmp_path):
    text = "甲公司大涨，乙公司违约"
    rows = [
        {"text": text, "label": "正面", "entity": "甲公司"},
        {"text": text, "label": "负面", "entity": "乙公司"},
        {"text": text, "label": "负面", "entity": "丙公司"},
    ]
    texts, found = cleaning.read(jsonl(tmp_path / "yours.jsonl", rows))
    (one,) = texts
    assert {text[a:b]: label for a, b, label in one.example.targets} == {"甲公司": 2, "乙公司": 0}
    assert (one.example.sentiment, one.lang, found.entities_missing, found.conflicts) == (UNKNOWN, "zh", [3], [])


# --- the sides

HEADLINES = [
    "Acme Corp posts record third quarter profit on strong chip demand in Europe",
    "Acme Corp posts record fourth quarter profit on strong chip demand in Europe",
]


def labelled(texts, sides=None):
    sides = sides or [""] * len(texts)
    return [
        cleaning.Labelled(Example(text, YOURS, 0), "en", (n,), side)
        for n, (text, side) in enumerate(zip(texts, sides, strict=True), 1)
    ]


def test_near_copies_on_two_sides_of_the_user_are_found_and_not_learned():
    fill = [row["text"] for row in toy_rows(60, seed=5)]
    sides = ["train", "test", *["train", "dev", "test"] * 20]
    parts = split.split(labelled([*HEADLINES, *fill], sides))
    assert parts.across == [(1, 2)]
    assert HEADLINES[0] not in [text.example.text for text in parts.train]
    assert HEADLINES[1] in [text.example.text for text in parts.test]


def test_without_sides_near_copies_stay_together_and_places_never_change():
    fill = [row["text"] for row in toy_rows(200, seed=6)]
    dealt = []
    for seed in range(5):
        texts = [*HEADLINES, *fill]
        random.Random(seed).shuffle(texts)
        parts = split.split(labelled(texts))
        sides = {text.example.text: side for side in split.SIDES for text in parts.of(side)}
        assert sides[HEADLINES[0]] == sides[HEADLINES[1]]
        assert not parts.across
        dealt.append({text: sides[text] for text in fill})
    assert all(other == dealt[0] for other in dealt)


def test_a_handful_of_texts_is_refused():
    with pytest.raises(TooFewRows, match="at least"):
        split.split(labelled(HEADLINES))


# --- varying


def test_varied_texts_keep_their_label_their_words_and_their_places():
    text = "Bad day: $ACME down 3.5%, but Bolt Ltd, up; why? 📉📉📉"
    place = text.index("Bolt Ltd")
    example = Example(text, YOURS, 0, targets=((place, place + 8, 2),))
    seen = set()
    for seed in range(200):
        told = augment.varied(example, ["Corvo", "Delphi Oil"], ["$AAA", "$BBB"], lambda _: [], random.Random(seed))
        ((start, end, label),) = told.targets
        assert told.text[start:end].lower() in {"bolt ltd", "corvo", "delphi oil"}
        assert (told.sentiment, label) == (0, 2)
        assert all(word in told.text.lower() for word in ("bad day", "down 3.5%", "up", "why?", "📉"))
        seen.add(told.text)
    assert len(seen) > 20
    assert any("$TICKER" in told for told in seen)
    assert any("$acme" in told for told in seen)
    assert any(told.count("📉") == 1 for told in seen)


def test_names_that_the_linker_finds_are_swapped_everywhere_at_once():
    example = Example("Acme sues. Acme wins.", YOURS, 2)
    told = {
        augment.varied(example, ["Corvo"], [], lambda _: [(0, 4)], random.Random(seed)).text.lower()
        for seed in range(60)
    }
    assert any("corvo sues" in text and "corvo wins" in text for text in told)
    assert not any("corvo" in text and "acme" in text for text in told)


# --- the adapter


def test_a_merged_matrix_is_the_low_rank_path_walked_beside_it(tmp_path, monkeypatch):
    config, _, stored_weights = stored.load(base_model(tmp_path / "base"))
    weights = {name: tensor.float() for name, tensor in stored_weights.items()}
    factors = low_rank.fresh(config, weights, 3, torch.Generator().manual_seed(1))
    assert factors
    factors = {name: torch.randn_like(tensor) * 0.3 for name, tensor in factors.items()}
    ids, lengths = torch.tensor([0, 5, 6, 7, 2, 0, 8, 9, 10, 2]), [5, 5]
    merged = encoder.forward(low_rank.merged(weights, factors, 1.7), config, ids, lengths)
    plain = encoder.product

    def beside(at, name, x):
        return plain(at, name, x) + 1.7 * (x @ factors[name + ".a"].T) @ factors[name + ".b"].T

    monkeypatch.setattr(encoder, "product", beside)
    walked = encoder.forward(weights, config, ids, lengths)
    assert torch.allclose(merged, walked, atol=1e-5)
    monkeypatch.setattr(encoder, "product", plain)
    assert not torch.allclose(merged, encoder.forward(weights, config, ids, lengths), atol=1e-2)


def test_before_learning_an_adapter_changes_nothing(tmp_path):
    config, _, stored_weights = stored.load(base_model(tmp_path / "base"))
    fresh = low_rank.fresh(config, stored_weights, 4, torch.Generator().manual_seed(1))
    merged = low_rank.merged(stored_weights, fresh, 2.0)
    assert all(torch.equal(merged[name].float(), tensor.float()) for name, tensor in stored_weights.items())


def test_a_toy_task_is_learned_and_the_gain_is_told(learned):
    _, _, made, report = learned
    before, after = report["yours"]["figures"]["macro_f1"]
    assert after > 0.9 > before + 0.2
    assert report["yours"]["gain_interval"][0] > 0
    assert f"rises from {before:.3f} to {after:.3f}" in report["verdict"]
    assert report["verdict"] in (made / "README.md").read_text("utf-8")
    assert json.loads((made / "report.json").read_text("utf-8"))["verdict"] == report["verdict"]


def test_what_is_measured_elsewhere_is_what_evaluate_measures(learned):
    base, _, made, report = learned
    (row,) = report["standing"]
    for model, figure in ((base, row["before"]), (made, row["after"])):
        assert evaluate("calm", None, str(model))["called_negative"]["all"] == figure
    assert row["worse"] == (row["after"] - row["before"] > before_after.COSTS)


def test_the_adapter_is_one_small_file_beside_its_numbers_and_serves_by_its_folder(learned):
    base, file, made, report = learned
    assert {path.name for path in made.iterdir()} == {"adapter.json", "adapter.safetensors", "README.md", "report.json"}
    tagger = Tagger.load(catalog.locate(str(made)))
    assert tagger.config.version == report["after"] == catalog.check(made).version
    assert tagger.config.version != catalog.check(base).version
    texts = [json.loads(line) for line in file.read_text().splitlines()]
    tags = tagger.tag([Text(row["text"], lang="en") for row in texts])
    right = sum(tag.polarity == row["label"] for tag, row in zip(tags, texts, strict=True))
    assert right > 0.9 * len(texts)
    found = adapter.read(made)
    assert found.learned_from["rows"] == len(texts)
    assert not any(row["text"] in (made / "adapter.json").read_text() for row in texts)


def test_the_same_file_gives_the_same_adapter(learned, tmp_path):
    base, file, made, report = learned
    again = finetune.finetune(file, tmp_path / "made", base=str(base), plan=TOY, standing=(), console=quiet())
    assert again["after"] == report["after"]
    one, other = (load_file(folder / adapter.FACTORS) for folder in (made, tmp_path / "made"))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_full_model_is_a_folder_of_our_own_format(learned, tmp_path):
    base, file, _, _ = learned
    plan = replace(TOY, kind="full")
    report = finetune.finetune(file, tmp_path / "made", base=str(base), plan=plan, standing=(), console=quiet())
    config = catalog.check(tmp_path / "made")
    assert config.version == report["after"]
    assert config.version.startswith("finetuned-")
    assert report["yours"]["figures"]["macro_f1"][1] > 0.9
    assert not adapter.is_one(tmp_path / "made")


def test_an_adapter_on_another_model_is_refused_with_words(learned, tmp_path):
    _, _, made, _ = learned
    other = base_model(tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"version": "newer-1"}))
    adopted = tmp_path / "adopted"
    adopted.mkdir()
    for name in (adapter.ADAPTER, adapter.FACTORS):
        (adopted / name).write_bytes((made / name).read_bytes())
    numbers = json.loads((made / adapter.ADAPTER).read_text())
    (adopted / adapter.ADAPTER).write_text(json.dumps(numbers | {"base": str(other)}))
    with pytest.raises(BrokenModel, match=r"was made for tiny .* is now newer-1") as caught:
        Tagger.load(adopted)
    assert "groundswell finetune" in caught.value.line
    (adopted / adapter.ADAPTER).write_text(json.dumps(numbers | {"base": str(tmp_path / "gone")}))
    with pytest.raises(BrokenModel, match="which is not there"):
        Tagger.load(adopted)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 9}, "format 9"),
        ({"rank": 0}, "no low-rank change"),
        ({"rank": 4}, r"the config says|lacks|is F32"),
        ({"weights_sha256": "0"}, "is not the file that adapter.json names"),
        ({"topic_thresholds": []}, "thresholds"),
        ({"version": 3}, "cannot be read"),
    ],
)
def test_an_adapter_that_does_not_fit_itself_is_refused(learned, tmp_path, change, words):
    _, _, made, _ = learned
    for name in (adapter.ADAPTER, adapter.FACTORS):
        (tmp_path / name).write_bytes((made / name).read_bytes())
    numbers = json.loads((made / adapter.ADAPTER).read_text())
    (tmp_path / adapter.ADAPTER).write_text(json.dumps(numbers | change))
    with pytest.raises(BrokenModel, match=words):
        catalog.check(tmp_path)


def test_thin_matrices_that_are_not_finite_are_refused(learned, tmp_path):
    _, _, made, _ = learned
    weights = load_file(made / adapter.FACTORS)
    weights["layers.0.up.b"][0, 0] = float("nan")
    save_file(weights, tmp_path / adapter.FACTORS)
    digest = hashlib.sha256((tmp_path / adapter.FACTORS).read_bytes()).hexdigest()
    numbers = json.loads((made / adapter.ADAPTER).read_text()) | {"weights_sha256": digest}
    (tmp_path / adapter.ADAPTER).write_text(json.dumps(numbers))
    with pytest.raises(BrokenModel, match=r"layers\.0\.up\.b holds a value that is not finite"):
        Tagger.load(tmp_path)


# --- which bases


def test_an_adapter_cannot_be_adapted_but_can_become_a_whole_model(learned, tmp_path):
    base, file, made, _ = learned
    with pytest.raises(UnfitBase, match="is an adapter itself") as caught:
        finetune.finetune(file, tmp_path / "made", base=str(made), plan=TOY, console=quiet())
    assert str(base) in caught.value.line
    plan = replace(TOY, kind="full", epochs=1)
    finetune.finetune(file, tmp_path / "whole", base=str(made), plan=plan, standing=(), console=quiet())
    assert catalog.check(tmp_path / "whole").layers == 2


def test_a_base_with_labels_in_its_own_order_and_one_that_would_be_overwritten_are_refused(learned, tmp_path):
    base, file, _, _ = learned
    swapped = tmp_path / "swapped"
    swapped.mkdir()
    with pytest.raises(UnfitBase, match="way of its own"):
        finetune.finetune(file, tmp_path / "made", base=str(tiny_model(swapped, ORDER_SWAPPED)), plan=TOY)
    with pytest.raises(UnfitBase, match="is the base itself"):
        finetune.finetune(file, base, base=str(base), plan=replace(TOY, kind="full"))
    assert catalog.check(base).version == "tiny"


def test_a_transformers_classifier_is_refused_and_told_which_bases_fit(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertForSequenceClassification"]}')
    file = jsonl(tmp_path / "yours.jsonl", toy_rows(3))
    with pytest.raises(UnfitBase, match="transformers classifier") as caught:
        finetune.finetune(file, tmp_path / "made", base=str(tmp_path))
    assert "bundled" in caught.value.line


# --- keeping what it could


def test_an_epoch_mixes_the_users_texts_with_the_models_own(learned, monkeypatch):
    base, file, _, _ = learned
    monkeypatch.setattr(student, "LEAST_REHEARSED", 300)
    plan = replace(TOY, rehearsed=1.0)
    parts = split.split(cleaning.read(file)[0])
    learner = student.enrol(base, plan, parts)
    lessons = student.lessons(0, learner, parts, Corpus.own_rows(), plan, lambda _: [])
    sources = [example.source for batch in lessons for example in batch.examples]
    assert sources.count(YOURS) == len(parts.train)
    assert len(sources) == len(parts.train) + 300
    assert {"own-en", "own-zh"} <= set(sources)


def test_what_it_costs_elsewhere_is_said_in_one_sentence():
    yours = {"n": 200, "figures": {"macro_f1": [0.6, 0.8]}, "gain": 0.15, "gain_interval": [0.08, 0.22]}
    rows = [
        before_after.compared("own-zh", {"n": 700, "macro_f1": 0.80}, {"n": 700, "macro_f1": 0.75}),
        before_after.compared("own-en", {"n": 700, "macro_f1": 0.80}, {"n": 700, "macro_f1": 0.795}),
        before_after.compared(
            "calm",
            {"n": 300, "macro_f1": 1, "called_negative": {"all": 0.04}},
            {"n": 300, "macro_f1": 1, "called_negative": {"all": 0.09}},
        ),
    ]
    said = before_after.verdict(yours, rows)
    assert "rises from 0.600 to 0.800" in said
    assert said.endswith("Elsewhere it costs: own-zh macro-F1 -5.0 points, calm texts called negative +5.0 points.")
    topics = before_after.compared(
        "finnl", {"n": 9, "macro_f1": None, "auc": 0.8}, {"n": 9, "macro_f1": None, "auc": 0.7}
    )
    assert "finnl AUC -10.0 points" in before_after.verdict(yours, [topics])
    assert "nothing is worse" in before_after.verdict(yours, rows[1:2])
    assert "cannot tell that from chance" in before_after.verdict(yours | {"gain_interval": [-0.02, 0.3]}, [])


def test_a_model_that_would_be_refused_says_so_in_its_report(learned):
    _, _, made, report = learned
    assert "wanted negative" in report["plain_sentences"]
    assert "will be refused" in (made / "README.md").read_text("utf-8")


# --- the command


def test_the_command_prints_gain_and_cost_and_json_alone_with_json(learned, tmp_path, monkeypatch):
    base, file, _, _ = learned
    monkeypatch.setattr(before_after, "STANDING", ("calm",))
    options = ["finetune", str(file), "--base", str(base), "--epochs", "1", "--rehearse", "0"]
    shown = CliRunner().invoke(cli, [*options, "--out", str(tmp_path / "a")], catch_exceptions=False)
    assert "your test side" in shown.stdout
    assert "calm texts called negative" in shown.stdout
    printed = CliRunner().invoke(cli, [*options, "--out", str(tmp_path / "b"), "--json"], catch_exceptions=False)
    report = json.loads(printed.stdout)
    assert {"cleaning", "yours", "standing", "verdict"} <= report.keys()
    assert report["cleaning"]["rows"] == 400
