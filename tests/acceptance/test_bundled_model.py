"""The bundled model: small, sensible in both languages, and no worse than its card says. What is broken on purpose fails."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from groundswell.tagging import Text
from models import catalog
from models.heads import Tagger
from models.learn import rows
from models.measure import gates
from models.measure.evaluate import DATASETS, evaluate
from models.sanity import SENTENCES

FOLDER = catalog.locate(catalog.BUNDLED)
DATA = os.environ.get("GROUNDSWELL_DATA", "")
OWN = ("own-en", "own-zh", "pairs", "calm")
# Two points: what another processor or a handful of new rows may cost, and a worse model may not.
TOLERANCE = 0.02
# What is pinned of each set, where it has it, and whether more is better.
PINNED = (
    (("accuracy",), True), (("macro_f1",), True), (("weighted_f1",), True), (("auc",), True),
    (("slices", "hard", "macro_f1"), True), (("slices", "conflicting", "accuracy"), True), (("targets", "accuracy"), True),
    (("topics", "macro_f1"), True), (("agreement",), True),
    (("ece",), False), (("gap",), False), (("called_negative", "all"), False), (("swaps", "all", "flips"), False),
)  # fmt: skip

pytestmark = pytest.mark.skipif(not (FOLDER / catalog.WEIGHTS).is_file(), reason="models/bundled holds no weights")


@pytest.fixture(scope="module")
def tagger():
    return Tagger.load(FOLDER)


@pytest.fixture(scope="module")
def recorded():
    return json.loads((FOLDER / "figures.json").read_text("utf-8"))


def at(figures, path):
    for key in path:
        figures = figures.get(key) if isinstance(figures, dict) else None
    return figures


def worse(found, recorded):
    """The pinned figures of `found` that are two points worse than recorded, as words."""
    told = []
    for path, more_is_better in PINNED:
        before, now = at(recorded, path), at(found, path)
        if before is not None and (now is None or (before - now if more_is_better else now - before) > TOLERANCE):
            told.append(f"{' '.join(path)}: {before} is now {now}")
    return told


# what was measured still holds


@pytest.mark.parametrize("dataset", OWN)
def test_it_is_no_worse_than_recorded_on_the_projects_own_rows(recorded, dataset):
    assert worse(evaluate(dataset), recorded[dataset]) == []


@pytest.mark.skipif(not DATA, reason="the public sets are not here (GROUNDSWELL_DATA)")
@pytest.mark.parametrize("dataset", [name for name in DATASETS if name not in {*OWN, "swaps"}])
def test_it_is_no_worse_than_recorded_on_public_sets(recorded, dataset):
    found = evaluate(dataset, Path(DATA))
    assert found["data_hash"] == recorded[dataset]["data_hash"]
    assert worse(found, recorded[dataset]) == []


def test_the_card_and_its_figures_are_of_this_model(recorded):
    version = catalog.check(FOLDER).version
    assert recorded["version"] == version
    assert version in (FOLDER / "README.md").read_text("utf-8")


def test_the_card_answers_every_gate_that_the_command_measures(recorded):
    assert {gate.measure: gate.ours(recorded) for gate in gates.GATES if gate.ours(recorded) is None} == {}


def test_all_weights_together_are_at_most_50_megabytes():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.safetensors")) <= 50_000_000


# what is broken fails


def swapped_labels(folder):
    config = json.loads((folder / catalog.CONFIG).read_text("utf-8"))
    config["sentiments"].reverse()
    (folder / catalog.CONFIG).write_text(json.dumps(config), "utf-8")


def broken_head(folder):
    weights = load_file(folder / catalog.WEIGHTS)
    weights["sentiment.weight"] = weights["sentiment.weight"].flip(1).contiguous()
    save_file(weights, folder / catalog.WEIGHTS)
    config = json.loads((folder / catalog.CONFIG).read_text("utf-8"))
    config["weights_sha256"] = hashlib.sha256((folder / catalog.WEIGHTS).read_bytes()).hexdigest()
    (folder / catalog.CONFIG).write_text(json.dumps(config), "utf-8")


def wrong_tokenizer(folder):
    tokenizer = json.loads((folder / catalog.TOKENIZER).read_text("utf-8"))
    pieces = tokenizer["model"]["vocab"]
    # The same pieces under numbers one off, as of another cut of the vocabulary; the special ones keep theirs.
    pieces[10:] = [*pieces[11:], pieces[10]]
    (folder / catalog.TOKENIZER).write_text(json.dumps(tokenizer), "utf-8")


@pytest.mark.parametrize("breaks", [swapped_labels, broken_head, wrong_tokenizer])
def test_a_model_broken_on_purpose_is_worse_than_recorded(tmp_path, recorded, breaks):
    folder = shutil.copytree(FOLDER, tmp_path / "broken")
    breaks(folder)
    told = worse(evaluate("calm", None, str(folder)), recorded["calm"])
    told += worse(evaluate("pairs", None, str(folder)), recorded["pairs"])
    assert any(line.startswith("macro_f1") for line in told)


# what a reader sees


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


@pytest.mark.parametrize(
    ("lang", "text", "good", "bad"),
    [
        ("en", "Hesperus gains as rival Tressick recalls 90,000 cars", "Hesperus", "Tressick"),
        ("zh", "川蘅股份胜诉大涨，岱岩科技被判赔偿九亿元，股价跌停", "川蘅股份", "岱岩科技"),
    ],
)
def test_one_text_may_be_good_for_one_company_and_bad_for_another(tagger, lang, text, good, bad):
    spans = [(text.index(name), text.index(name) + len(name)) for name in (good, bad)]
    (tag,) = tagger.tag([Text(text, lang=lang, spans=spans)])
    one, other = tag.targets
    assert one.positive - one.negative > other.positive - other.negative
    assert (one.polarity, other.polarity) == ("positive", "negative")


@pytest.mark.parametrize(
    "text",
    ["Die Aktie bricht nach Betrugsvorwürfen ein.", "不正会計の疑いで株価が急落した。"],
)
def test_a_language_it_was_not_made_for_is_always_unsure(tagger, text):
    (tag,) = tagger.tag([Text(text, lang="other")])
    assert tag.unsure


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_written_rows_can_all_be_read_and_share_no_name_between_training_and_test(language):
    slots = rows.slots(language)
    assert len(rows.load(language)) >= 1_200
    for slot in ("NAME", "PERSON", "PRODUCT"):
        assert not set(slots["train"][slot]) & set(slots["test"][slot])
