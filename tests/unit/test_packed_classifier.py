"""Classifiers of the BERT family run on our encoder and answer as before; others keep their own forward, and it is said."""

import pytest
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
)

from groundswell.tagging import Text
from models import loading
from models.packed_classifier import NotPackable, packed
from tests.unit.tiny_classifier import tiny_classifier

SAMPLES = [[2, 5, 6, 7, 3], [2, 9, 3], [2, *range(4, 60), 3]]
SIZES = {
    "vocab_size": 80, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128,
    "max_position_embeddings": 96, "num_labels": 3, "initializer_range": 0.2,
}  # fmt: skip
FAMILY = [
    (BertForSequenceClassification, BertConfig),
    (RobertaForSequenceClassification, RobertaConfig),
    (XLMRobertaForSequenceClassification, XLMRobertaConfig),
]


def made(kind, config, **changes):
    torch.manual_seed(4)
    return kind(config(**(SIZES | changes))).eval()


@pytest.mark.parametrize("numbers", ["float32", "bfloat16"])
@pytest.mark.parametrize(("kind", "config"), FAMILY, ids=lambda each: each.__name__)
def test_the_family_answers_on_our_encoder_as_in_transformers(kind, config, numbers):
    model = made(kind, config)
    ours = packed(model, SAMPLES, numbers=numbers)
    texts = [[2, *(4 + (n * m) % 70 for m in range(n)), 3] for n in range(1, 80)]
    with torch.inference_mode():
        theirs = torch.cat([model(input_ids=torch.tensor([text])).logits for text in texts])
    apart = (ours.logits(texts).softmax(-1) - theirs.softmax(-1)).abs().max()
    assert apart <= (1e-4 if numbers == "float32" else 0.05)
    assert theirs.argmax(-1).unique().numel() > 1


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (
            lambda: made(DistilBertForSequenceClassification, DistilBertConfig, dim=64, n_heads=2, n_layers=1),
            "distilbert",
        ),
        (lambda: made(BertForSequenceClassification, BertConfig, hidden_act="relu"), "relu"),
        (lambda: made(BertForSequenceClassification, BertConfig, is_decoder=True), "decoder"),
    ],
)
def test_another_design_is_not_packed_and_the_reason_is_said(model, why):
    with pytest.raises(NotPackable, match=why):
        packed(model(), SAMPLES)


def test_a_body_with_more_in_it_than_the_design_is_not_packed():
    model = made(BertForSequenceClassification, BertConfig)
    model.bert.encoder.layer[0].register_parameter("adapter", torch.nn.Parameter(torch.ones(3)))
    with pytest.raises(NotPackable, match="adapter"):
        packed(model, SAMPLES)


def test_a_body_that_answers_otherwise_than_its_own_forward_is_not_packed():
    model = made(BertForSequenceClassification, BertConfig)
    model.bert.encoder.layer[1].output.register_forward_hook(lambda *given: given[-1] * 3 + 1)
    with pytest.raises(NotPackable, match="differ"):
        packed(model, SAMPLES)


def test_a_served_classifier_says_what_runs_it_and_both_ways_answer_alike(tmp_path, monkeypatch):
    from models import classifier

    folder = str(tiny_classifier(tmp_path / "tiny"))
    texts = [Text("Acme soars. Bolt is in fraud.", lang="en"), Text("公司违约", lang="zh"), Text("a", lang="en")]
    ours = loading.load(folder)
    assert "transformers" not in ours.describe()

    def refuse(*_, **__):
        raise NotPackable("a twist")

    monkeypatch.setattr(classifier, "packed", refuse)
    theirs = loading.load(folder)
    assert "in transformers, not packed: it has a twist" in theirs.describe()
    for one, other in zip(ours.tag(texts), theirs.tag(texts), strict=True):
        assert (one.polarity, one.deciding, one.tokens) == (other.polarity, other.deciding, other.tokens)
        assert one.negative == pytest.approx(other.negative, abs=0.02)
