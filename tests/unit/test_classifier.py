"""Any transformers sentiment classifier can be served, and none that answers wrongly: labels, files and answers are checked."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from groundswell.errors import BrokenModel, UnknownModel
from groundswell.tagging import Text
from models import catalog, classifier_folder, hub, loading
from models.tagger import ModelProcess
from tests.unit.tiny_classifier import tiny_classifier

SWAPPED = ("positive", "neutral", "negative")
GOOD_THEN_BAD = "Acme soars to a record high. Bolt is in fraud, plunge and bankruptcy. Cobb waits."


@pytest.fixture
def classifier(tmp_path):
    return loading.load(str(tiny_classifier(tmp_path / "tiny")))


def test_a_classifier_that_answers_rightly_is_served_in_the_languages_it_knows(tmp_path):
    loaded, answers = loading.load_and_ask(str(tiny_classifier(tmp_path / "tiny")))
    assert loaded.config.languages == ["en", "zh"]
    assert not any(answer.missed for answer in answers)
    assert loaded.config.version.startswith("tiny-")


@pytest.mark.parametrize(
    ("labels", "means"),
    [
        (("POSITIVE", "Neutral", "negative"), ("positive", "neutral", "negative")),
        (("bearish", "bullish", "neutral"), ("negative", "positive", "neutral")),
        (("中性", "利好", "利空"), ("neutral", "positive", "negative")),
    ],
)
def test_labels_are_read_by_name_whatever_their_order_and_spelling(tmp_path, labels, means):
    loaded = loading.load(str(tiny_classifier(tmp_path / "tiny", labels, means)))
    tags = loaded.tag([Text("profit soars", lang="en"), Text("a fraud", lang="en"), Text("公司违约", lang="zh")])
    assert [tag.polarity for tag in tags] == ["positive", "negative", "negative"]


@pytest.mark.parametrize(
    "labels",
    [
        ("LABEL_0", "LABEL_1", "LABEL_2"),
        ("negative", "neutral", "great"),
        ("negative", "negative", "positive"),
        ("negative", "neutral"),
        ("1 star", "2 stars", "3 stars", "4 stars", "5 stars"),
    ],
)
def test_labels_that_do_not_say_what_they_mean_are_refused(tmp_path, labels):
    folder = tiny_classifier(tmp_path / "tiny", labels, ("negative", "neutral", "positive", "x", "x")[: len(labels)])
    with pytest.raises(BrokenModel, match=f"names the labels {labels[0]}") as caught:
        catalog.verify(folder)
    assert "id2label" in caught.value.line


def test_swapped_labels_are_refused_with_the_table_of_what_was_answered(tmp_path):
    folder = tiny_classifier(tmp_path / "tiny", means=SWAPPED)
    with pytest.raises(BrokenModel, match="says the opposite in en, zh") as caught:
        loading.load(str(folder))
    assert "en wanted negative got positive" in str(caught.value)
    assert "zh wanted positive got negative" in str(caught.value)
    assert "Exchange negative and positive" in caught.value.remedy


def test_a_model_that_swaps_in_one_language_only_is_refused_too(tmp_path):
    with pytest.raises(BrokenModel, match="says the opposite in zh"):
        loading.load(str(tiny_classifier(tmp_path / "tiny", swaps=("zh",))))


def test_a_model_that_knows_one_language_is_never_sure_in_the_other(tmp_path):
    loaded = loading.load(str(tiny_classifier(tmp_path / "tiny", knows=("en",))))
    english, chinese, dutch = loaded.tag(
        [Text("a fraud", lang="en"), Text("fraud 造假", lang="zh"), Text("een fraud", lang="other")]
    )
    assert loaded.config.languages == ["en"]
    assert not english.unsure
    assert chinese.unsure
    assert dutch.unsure


def test_a_model_that_knows_no_language_is_refused(tmp_path):
    with pytest.raises(BrokenModel, match="right in no language"):
        loading.load(str(tiny_classifier(tmp_path / "tiny", knows=())))


def test_a_model_without_neutral_never_says_neutral(tmp_path):
    loaded, answers = loading.load_and_ask(
        str(tiny_classifier(tmp_path / "tiny", ("NEG", "POS"), ("negative", "positive")))
    )
    assert {answer.wanted for answer in answers} == {"negative", "positive"}
    assert [tag.neutral for tag in loaded.tag([Text("a fraud", lang="en"), Text("it soars", lang="en")])] == [0, 0]


def test_each_company_is_judged_by_its_sentence_and_the_verdict_by_the_loudest(classifier):
    spans = [(GOOD_THEN_BAD.index(name), GOOD_THEN_BAD.index(name) + 4) for name in ("Acme", "Bolt", "Cobb")]
    (tag,) = classifier.tag([Text(GOOD_THEN_BAD, lang="en", spans=spans)])
    assert [target.polarity for target in tag.targets] == ["positive", "negative", "neutral"]
    assert tag.polarity == "negative"
    assert GOOD_THEN_BAD[slice(*tag.deciding)] == "Bolt is in fraud, plunge and bankruptcy."


def test_a_place_outside_the_text_is_left_unjudged(classifier):
    (tag,) = classifier.tag([Text("A fraud. It waits.", lang="en", spans=[(500, 504)])])
    assert tag.targets == [None]


def test_answers_do_not_depend_on_what_else_is_asked(classifier):
    texts = [Text("waits " * n + "fraud", lang="en") for n in (30, 1, 9, 17)] + [Text("它增高", lang="zh")]
    alone = [classifier.tag([text])[0] for text in texts]
    together = classifier.tag(texts)
    assert [tag.polarity for tag in together] == [tag.polarity for tag in alone]
    assert [tag.negative for tag in together] == pytest.approx([tag.negative for tag in alone], abs=0.02)


def test_a_long_text_is_cut_and_says_so(classifier):
    short, long = classifier.tag([Text("it waits", lang="en"), Text("it waits " * 40 + "fraud", lang="en")])
    assert (short.truncated, long.truncated) == (False, True)


def test_nothing_to_read_is_neutral_and_unsure(classifier):
    (tag,) = classifier.tag([Text("  ", lang="en", spans=[(0, 1)])])
    assert (tag.polarity, tag.unsure, tag.deciding, tag.targets) == ("neutral", True, None, [None])


@pytest.mark.parametrize("name", ["pytorch_model.bin", "training_args.bin", "modeling_own.py"])
def test_a_file_that_can_run_code_is_refused_even_beside_safetensors(tmp_path, name):
    folder = tiny_classifier(tmp_path / "tiny")
    (folder / name).write_bytes(b"")
    with pytest.raises(BrokenModel, match=f"{name} is refused: this format can run code"):
        catalog.verify(folder)


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_a_config_that_names_code_is_refused(tmp_path, file):
    path = tiny_classifier(tmp_path / "tiny") / file
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "own.Model"}}))
    with pytest.raises(BrokenModel, match="run code of its own"):
        catalog.verify(path.parent)


def test_a_folder_without_safetensors_is_refused(tmp_path):
    folder = tiny_classifier(tmp_path / "tiny")
    (folder / "model.safetensors").unlink()
    with pytest.raises(BrokenModel, match="only weights as safetensors"):
        catalog.verify(folder)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path):
    folder = tiny_classifier(tmp_path / "tiny")
    (folder / "model.safetensors").rename(tmp_path / "model.safetensors")
    index = {"weight_map": {"classifier.weight": "../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(BrokenModel, match=r"tiny/model\.safetensors is missing"):
        catalog.verify(folder)


def test_a_body_that_was_never_trained_to_classify_is_refused(tmp_path):
    path = tiny_classifier(tmp_path / "tiny") / "model.safetensors"
    weights = load_file(path)
    save_file({name: tensor for name, tensor in weights.items() if not name.startswith("classifier.")}, path)
    with pytest.raises(BrokenModel, match="not trained to classify"):
        loading.load(str(path.parent))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    path = tiny_classifier(tmp_path / "tiny") / "model.safetensors"
    save_file(load_file(path) | {"classifier.bias": torch.tensor([0.0, float("nan"), 0.0])}, path)
    with pytest.raises(BrokenModel, match=r"classifier\.bias holds a value that is not finite"):
        loading.load(str(path.parent))


def test_a_broken_file_is_refused_with_words(tmp_path):
    folder = tiny_classifier(tmp_path / "tiny")
    (folder / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(BrokenModel, match="cannot be loaded"):
        loading.load(str(folder))


def test_the_version_changes_with_the_weights_and_with_the_labels(tmp_path):
    folder = tiny_classifier(tmp_path / "tiny")
    facts = classifier_folder.read(folder)
    first = classifier_folder.hashed(facts, folder).version
    assert classifier_folder.hashed(facts, folder).version == first
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"classifier.bias": weights["classifier.bias"] + 1}, folder / "model.safetensors")
    second = classifier_folder.hashed(facts, folder).version
    config = json.loads((folder / "config.json").read_text())
    config["id2label"] = {"0": "positive", "1": "neutral", "2": "negative"}
    (folder / "config.json").write_text(json.dumps(config))
    assert len({first, second, classifier_folder.hashed(facts, folder).version}) == 3


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A hub cache that holds one model, acme/tiny."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    at = tmp_path / "models--acme--tiny"
    (at / "refs").mkdir(parents=True)
    (at / "refs" / "main").write_text("c0ffee")
    tiny_classifier(at / "snapshots" / "c0ffee")
    return tmp_path


def test_a_hub_id_is_found_on_this_machine_and_keeps_its_name(cache):
    loaded = loading.load("acme/tiny")
    assert loaded.config.version.startswith("acme/tiny-")
    assert [name for name, _ in hub.cached()] == ["acme/tiny"]


def test_a_hub_id_that_is_not_here_is_not_fetched_unasked(cache, monkeypatch):
    import huggingface_hub

    asked = []
    real = huggingface_hub.snapshot_download
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda *a, **k: asked.append(k["local_files_only"]) or real(*a, **k)
    )
    with pytest.raises(UnknownModel, match="this machine holds no model of that name") as caught:
        catalog.locate("acme/other")
    assert asked == [True]
    assert "groundswell models check acme/other --download" in caught.value.line


def test_what_is_fetched_when_allowed_is_safetensors_and_text_only(cache, monkeypatch):
    import fnmatch

    import huggingface_hub

    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **k: asked.update(k, name=name) or str(cache)
    )
    assert catalog.locate("acme/other@v2", download=True) == cache
    assert (asked["name"], asked["revision"], asked["local_files_only"]) == ("acme/other", "v2", False)
    wanted = {
        name
        for name in ("model.safetensors", "config.json", "vocab.txt", "pytorch_model.bin", "own.py", "model.pkl")
        if any(fnmatch.fnmatch(name, pattern) for pattern in asked["allow_patterns"])
    }
    assert wanted == {"model.safetensors", "config.json", "vocab.txt"}


def test_a_fetch_that_fails_says_why(cache, monkeypatch):
    import huggingface_hub

    def fails(*_arguments, **_options):
        raise OSError("no route to host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fails)
    with pytest.raises(UnknownModel, match="cannot be fetched: no route to host"):
        catalog.locate("acme/other", download=True)


async def test_the_model_process_serves_a_classifier(tmp_path):
    process = ModelProcess(str(tiny_classifier(tmp_path / "tiny")))
    await process.start()
    try:
        reply = await process.ask([Text("a fraud", lang="en"), Text("创新高", lang="zh")])
    finally:
        await process.stop()
    assert [tag.polarity for tag in reply.results] == ["negative", "positive"]
    assert process.version.startswith("tiny-")


async def test_the_model_process_refuses_a_swapped_one_with_its_table_and_remedy(tmp_path):
    with pytest.raises(BrokenModel, match="en wanted negative got positive") as caught:
        await ModelProcess(str(tiny_classifier(tmp_path / "tiny", means=SWAPPED))).start()
    assert "Exchange negative and positive" in caught.value.line


def test_serving_the_bundled_format_imports_no_transformers():
    foreign = "transformers huggingface_hub sklearn scipy matplotlib pandas requests rich faust".split()  # noqa: SIM905
    code = (
        "import sys, models.worker; from models import loading; loading.load('bundled').warm_up();"
        f"print('torch' in sys.modules, *[name for name in {foreign} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True"]
