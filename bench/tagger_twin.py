"""Writes a model of our own format as a transformers model, for runners that know nothing of ours; next: tagger_peers.py.

`python -m bench.tagger_twin MODEL FOLDER [--onnx]`. The same body weights in float32 as a BERT, the same mean over the
tokens, the same sentiment head: what it answers must be what our model answers, and the benchmark holds it to that.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import processors
from torch import Tensor, nn
from transformers import BertConfig, BertModel, BertPreTrainedModel, PreTrainedTokenizerFast
from transformers.modeling_outputs import SequenceClassifierOutput

from models import catalog, stored
from models.catalog import Config
from models.encoder import Weights
from models.labels import SENTIMENTS

ONNX = "model.onnx"
INPUTS = ["input_ids", "attention_mask"]


class MeanBert(BertPreTrainedModel):
    """BERT with a linear head on the mean of its token states; transformers' own classifier reads the first token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)  # type: ignore[no-untyped-call]
        self.classifier = nn.Linear(config.hidden_size, len(SENTIMENTS))
        self.post_init()  # type: ignore[no-untyped-call]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, **_: Any) -> SequenceClassifierOutput:
        hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        own = attention_mask.unsqueeze(-1).to(hidden.dtype)
        return SequenceClassifierOutput(logits=self.classifier((hidden * own).sum(1) / own.sum(1)))


def write(model: Path, folder: Path) -> None:
    """The twin of `model` in `folder`: weights, config, tokenizer."""
    config, tokenizer, weights = stored.load(model)
    twin = MeanBert(shape(config))
    twin.load_state_dict(renamed(config, weights))
    twin.save_pretrained(folder)
    pieces = {number: piece for piece, number in tokenizer.get_vocab().items()}
    bos, eos = pieces[config.bos_id], pieces[config.eos_id]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A {eos}", special_tokens=[(bos, config.bos_id), (eos, config.eos_id)]
    )
    fast: Any = PreTrainedTokenizerFast
    fast(
        tokenizer_object=tokenizer, bos_token=bos, eos_token=eos, pad_token=eos, model_max_length=config.max_tokens
    ).save_pretrained(folder)


def shape(config: Config) -> BertConfig:
    return BertConfig(
        vocab_size=config.vocabulary, hidden_size=config.hidden, num_hidden_layers=config.layers,
        num_attention_heads=config.heads, intermediate_size=config.inner, max_position_embeddings=config.positions,
        type_vocab_size=1, layer_norm_eps=config.layer_norm_eps, pad_token_id=config.eos_id,
        id2label=dict(enumerate(SENTIMENTS)), label2id={name: n for n, name in enumerate(SENTIMENTS)},
    )  # fmt: skip


def renamed(config: Config, weights: Weights) -> Weights:
    """Our tensors under BERT's names, in float32, the head's rows in the order of SENTIMENTS."""
    order = [config.sentiments.index(name) for name in SENTIMENTS]
    found = {
        "bert.embeddings.word_embeddings.weight": weights["embeddings.word"],
        "bert.embeddings.position_embeddings.weight": weights["embeddings.position"],
        # Our table of positions holds the one token type already.
        "bert.embeddings.token_type_embeddings.weight": torch.zeros(1, config.hidden),
        "bert.embeddings.LayerNorm.weight": weights["embeddings.norm.weight"],
        "bert.embeddings.LayerNorm.bias": weights["embeddings.norm.bias"],
        "classifier.weight": weights["sentiment.weight"][order],
        "classifier.bias": weights["sentiment.bias"][order],
    }
    for n in range(config.layers):
        ours, theirs = f"layers.{n}.", f"bert.encoder.layer.{n}."
        for kind in ("weight", "bias"):
            parts = weights[f"{ours}qkv.{kind}"].chunk(3)
            for name, part in zip(("query", "key", "value"), parts, strict=True):
                found[f"{theirs}attention.self.{name}.{kind}"] = part
            for own, bert in (
                ("attention_out", "attention.output.dense"),
                ("attention_norm", "attention.output.LayerNorm"),
                ("up", "intermediate.dense"),
                ("down", "output.dense"),
                ("out_norm", "output.LayerNorm"),
            ):
                found[f"{theirs}{bert}.{kind}"] = weights[f"{ours}{own}.{kind}"]
    return {name: tensor.float().contiguous() for name, tensor in found.items()}


class Plain(nn.Module):
    """The twin with a tensor for an answer: what an exporter can follow."""

    def __init__(self, twin: Any) -> None:
        super().__init__()
        self.twin = twin

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        logits: Tensor = self.twin(input_ids, attention_mask).logits
        return logits


def export(folder: Path) -> None:
    """The twin in `folder` as `model.onnx` beside it."""
    twin: Any = MeanBert.from_pretrained(folder, attn_implementation="eager")
    ids = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 2]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    torch.onnx.export(
        Plain(twin.eval()), (ids, mask), str(folder / ONNX), input_names=INPUTS, output_names=["logits"],
        dynamic_axes={name: {0: "texts", 1: "tokens"} for name in INPUTS} | {"logits": {0: "texts"}},
        opset_version=17, dynamo=False,
    )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.tagger_twin", description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--onnx", action="store_true", help="write model.onnx from the folder's twin, which is there")
    asked = parser.parse_args()
    if asked.onnx:
        export(asked.folder)
    else:
        write(catalog.locate(asked.model), asked.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
