"""Low-rank change of matrices: W + (alpha / rank) B A with thin A and B (Hu et al. 2021, arXiv 2106.09685); next: stored.py.

Training and serving add the product to the matrix in the same function, so what was learned is what is served, at no
cost for either: `forward` never knows.
"""

import torch
from torch import Tensor

from models import adapter
from models.catalog import Config
from models.encoder import Weights


def fresh(config: Config, weights: Weights, rank: int, generator: torch.Generator) -> Weights:
    """The thin matrices before learning: A random, B zero, so that nothing is changed yet."""
    factors: Weights = {}
    for name in adapter.adapted(config):
        rows, columns = weights[name + ".weight"].shape
        factors[name + ".a"] = torch.randn(rank, columns, generator=generator) * columns**-0.5
        factors[name + ".b"] = torch.zeros(rows, rank)
    return factors


def merged(weights: Weights, learned: Weights, scale: float) -> Weights:
    """All weights with what was learned: matrices with their low-rank product added, heads replaced.

    Differentiable in `learned`; everything that is not changed is the same tensor as before.
    """
    settled = dict(weights)
    for name, tensor in learned.items():
        if name.endswith(".b"):
            change: Tensor = tensor @ learned[name[:-1] + "a"]
            settled[name[:-1] + "weight"] = weights[name[:-1] + "weight"].float() + scale * change
        elif not name.endswith(".a"):
            settled[name] = tensor
    return settled
