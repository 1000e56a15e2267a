"""Model folders: what does not fit is refused in one line that says what and what to do."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from groundswell.errors import BrokenModel, UnknownModel
from models import catalog
from models.heads import Tagger
from tests.unit.model_folder import tiny_model

FITTED = {"bias": [0, 0, 0], "temperature": 1, "unsure_under": 0.5}


def test_a_whole_folder_is_accepted(tmp_path):
    assert catalog.check(tiny_model(tmp_path)).version == "tiny"


def test_a_folder_that_is_not_there_is_unknown(tmp_path):
    with pytest.raises(UnknownModel, match="no model folder") as caught:
        catalog.locate(str(tmp_path / "nowhere"))
    assert "bundled" in caught.value.line


@pytest.mark.parametrize("name", [catalog.WEIGHTS, catalog.TOKENIZER, catalog.CONFIG])
def test_a_missing_file_is_named(tmp_path, name):
    (tiny_model(tmp_path) / name).unlink()
    with pytest.raises(BrokenModel, match=f"{name} is missing"):
        catalog.check(tmp_path)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "weights.pkl", "modeling.py"])
def test_a_file_that_can_run_code_is_refused(tmp_path, name):
    (tiny_model(tmp_path) / name).write_bytes(b"")
    with pytest.raises(BrokenModel, match="can run code"):
        catalog.check(tmp_path)


def test_weights_cut_short_are_refused(tmp_path):
    path = tiny_model(tmp_path) / catalog.WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BrokenModel, match="is not the file its config names"):
        catalog.check(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 99}, "format 99"),
        ({"normaliser_version": 99}, "normaliser 99"),
        ({"sentiments": ["bad", "neutral", "good"]}, "names the sentiments"),
        ({"topics": ["gossip"], "topic_thresholds": [0.5]}, "unknown topics: gossip"),
        ({"topic_thresholds": [0.5]}, "1 thresholds"),
        ({"languages": {}, "targets": {}}, "must name the same languages"),
        ({"targets": {"en": FITTED}}, "must name the same languages"),
        ({"targets": {"other": {**FITTED, "temperature": 0}}}, "not usable"),
        ({"languages": {"other": {**FITTED, "bias": [0, 0]}}}, "not usable"),
        ({"max_tokens": 4096}, "does not fit"),
        ({"layers": 3}, "lacks layers.2"),
        ({"layers": 1}, "which its config does not name"),
        ({"vocabulary": 7}, "the config says"),
        ({"tweet_topics": []}, "which its config does not name"),
        ({"auto_map": {}}, "run code of its own"),
        ({"hidden": "wide"}, "cannot be read"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(tmp_path, change, words):
    tiny_model(tmp_path, **change)
    with pytest.raises(BrokenModel, match=words):
        catalog.check(tmp_path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    import hashlib

    tiny_model(tmp_path)
    weights = load_file(tmp_path / catalog.WEIGHTS)
    weights["layers.0.up.bias"] = torch.full((16,), float("nan"))
    save_file(weights, tmp_path / catalog.WEIGHTS)
    config = json.loads((tmp_path / catalog.CONFIG).read_text())
    config["weights_sha256"] = hashlib.sha256((tmp_path / catalog.WEIGHTS).read_bytes()).hexdigest()
    (tmp_path / catalog.CONFIG).write_text(json.dumps(config))
    with pytest.raises(BrokenModel, match=r"layers\.0\.up\.bias holds a value that is not finite"):
        Tagger.load(tmp_path)


def test_a_tokenizer_that_is_not_one_is_refused(tmp_path):
    (tiny_model(tmp_path) / catalog.TOKENIZER).write_text("{}")
    with pytest.raises(BrokenModel, match=r"tokenizer\.json cannot be read"):
        Tagger.load(tmp_path)


def test_finding_and_checking_a_model_needs_no_torch():
    import subprocess
    import sys

    code = "import sys, models.catalog, models.tagger; print('torch' in sys.modules, 'transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
