"""Products of rows with weights in the number format that this processor multiplies fastest; next: packed.py.

oneDNN lays weights out anew for its kernels; doing that once ("prepacking") instead of at every call is worth a tenth to
a half. The two operations for it are private to torch, so they are called here only, and where they are missing or
refuse, `F.linear` does the same.
"""

import time
from functools import cache
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

Numbers = Literal["auto", "bfloat16", "float32"]

# bfloat16 has to win clearly: a choice that fell differently at every start would make answers differ in the last digit.
CLEAR_WIN = 1.25
ROWS = 256


class Format(NamedTuple):
    """How weights are kept: their number type, and whether oneDNN has laid them out."""

    dtype: torch.dtype
    prepacked: bool

    def __str__(self) -> str:
        return f"{'bf16' if self.dtype == torch.bfloat16 else 'fp32'}{' prepacked' if self.prepacked else ''}"


class Linear:
    """`x W^T + b`, with exact GELU after it when asked; `weight` is `[out, in]`, dense and of the format's type."""

    def __init__(self, weight: Tensor, bias: Tensor, format_: Format) -> None:
        self.prepacked = format_.prepacked
        weight, self.bias = weight.to(format_.dtype).contiguous(), bias.to(format_.dtype)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS) if self.prepacked else weight  # noqa: SLF001

    def __call__(self, x: Tensor, *, gelu: bool = False) -> Tensor:
        """`[rows, in]` to `[rows, out]`."""
        if self.prepacked:
            then, how = ("gelu", "none") if gelu else ("none", "")
            y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, then, [], how)  # noqa: SLF001
            return y
        y = functional.linear(x, self.weight, self.bias)
        return functional.gelu(y) if gelu else y


def formats(numbers: Numbers) -> list[Format]:
    """What may be tried, the plainest first."""
    dtypes = {"float32": [torch.float32], "bfloat16": [torch.bfloat16]}
    return [
        Format(dtype, pre) for dtype in dtypes.get(numbers, [torch.float32, torch.bfloat16]) for pre in (False, True)
    ]


@cache
def chosen(numbers: Numbers, inputs: int, outputs: int) -> Format:
    """The fastest format here for products with matrices `[outputs, inputs]`, by measuring: 20 ms, once a process."""
    taken = {each: seconds for each in formats(numbers) if (seconds := measured(each, inputs, outputs)) is not None}
    fastest = {
        dtype: min((each for each in taken if each.dtype == dtype), key=taken.__getitem__)
        for dtype in {each.dtype for each in taken}
    }
    if len(fastest) == 1:
        return next(iter(fastest.values()))
    exact, short = fastest[torch.float32], fastest[torch.bfloat16]
    return short if taken[short] * CLEAR_WIN < taken[exact] else exact


def measured(format_: Format, inputs: int, outputs: int) -> float | None:
    """CPU seconds of one product of ROWS rows, the best of a few; None when this torch or processor cannot do it."""
    with torch.inference_mode():
        x = torch.ones(ROWS, inputs, dtype=format_.dtype)
        try:
            product = Linear(torch.ones(outputs, inputs), torch.zeros(outputs), format_)
            product(x)
        except (AttributeError, RuntimeError):
            return None
        best = float("inf")
        for _ in range(4):
            start = time.thread_time()
            product(x)
            best = min(best, time.thread_time() - start)
    return best
