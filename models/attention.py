"""Softmax attention inside each text of a packed batch, in plain torch; next: encoder.py, which trains through it.

Once for each distinct length, on views of the same rows: exact, and without a mask. It is what serving falls back to
where the own kernels (kernels.py) are not.
"""

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import Tensor


def attend(qkv: Tensor, lengths: Sequence[int], heads: int) -> Tensor:
    """Softmax attention inside each text; `qkv` is `[rows, 3 x hidden]`, the answer `[rows, hidden]`."""
    rows, width = qkv.shape
    hidden = width // 3
    answers, start = [], 0
    for length, same in groupby(lengths):
        count = len(list(same))
        end = start + count * length
        q, k, v = qkv[start:end].view(count, length, 3, heads, hidden // heads).permute(2, 0, 3, 1, 4)
        # Spelled out, since texts are short: torch's fused attention takes 2 x as long here, 5 x with gradients.
        scores = torch.matmul(q * (hidden // heads) ** -0.5, k.transpose(-1, -2))
        mixed = torch.matmul(scores.softmax(-1), v)
        answers.append(mixed.transpose(1, 2).reshape(count * length, hidden))
        start = end
    if start < rows:
        answers.append(qkv.new_zeros(rows - start, hidden))
    return torch.cat(answers)
