"""Reads a model of our own format into memory, whole or as an adapter on its base; next: heads.py, which runs it."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from groundswell.errors import BrokenModel
from models import adapter, catalog, low_rank
from models.catalog import Config
from models.encoder import Weights


def load(folder: Path) -> tuple[Config, Tokenizer, Weights]:
    """Config, tokenizer and weights of a checked folder; those of an adapter are already merged into its base's.

    The word embeddings are in float32, all else as stored. Raises BrokenModel, which says what does not fit.
    """
    if not adapter.is_one(folder):
        return whole(folder)
    config, found = catalog.check(folder), adapter.read(folder)
    _, tokenizer, weights = whole(adapter.base_of(found, folder))
    learned = finite(load_file(folder / adapter.FACTORS), folder / adapter.FACTORS)
    return config, tokenizer, low_rank.merged(weights, learned, found.scale)


def whole(folder: Path) -> tuple[Config, Tokenizer, Weights]:
    config = catalog.check(folder)
    try:
        tokenizer = Tokenizer.from_file(str(folder / catalog.TOKENIZER))
    except Exception as error:  # the tokenizers library raises bare Exception
        raise BrokenModel(f"{folder / catalog.TOKENIZER} cannot be read: {error}.") from error
    if tokenizer.get_vocab_size() != config.vocabulary:
        raise BrokenModel(
            f"{folder / catalog.TOKENIZER} has {tokenizer.get_vocab_size()} pieces, not {config.vocabulary}."
        )
    # Copies: one small tensor that is kept would hold the whole file in memory.
    weights = {name: tensor.clone() for name, tensor in load_file(folder / catalog.WEIGHTS).items()}
    scale = weights.pop("embeddings.word.scale")
    weights["embeddings.word"] = weights["embeddings.word"].float() * scale.float()[:, None]
    return config, tokenizer, finite(weights, folder / catalog.WEIGHTS)


def finite(weights: Weights, path: Path) -> Weights:
    """The same weights. Raises BrokenModel when one holds a value that is not finite."""
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise BrokenModel(f"{path}: {name} holds a value that is not finite.")
    return weights
