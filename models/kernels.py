"""Finds the own kernels of kernels.c, if they were built, and calls them; next: packed.py, which has a choice.

They are an optional extension: without a compiler at install the tagger runs on torch alone, and says so. This file
imports no torch: arrays are addresses, and whoever calls answers for their shapes.
"""

import ctypes
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from itertools import pairwise
from pathlib import Path

from groundswell.errors import Misconfigured

VERSION = 1  # of the functions' arguments; kernels.c has the same
LEVELS = ("plain", "avx2", "avx512", "avx512-bf16")
HEAD_SIZES = (32, 64)
LANES = 16
MAX_HIDDEN = 4096

Address = int | None


class NoKernels(Misconfigured):
    """The own kernels are not there, or not of this version."""

    reason = "no_kernels"
    remedy = "Install a C compiler (gcc or clang) and run `make setup` again; the tagger works without, only slower."


class Kernels:
    """The loaded library at one level of instructions. Calls release the GIL, so `threads` of them run at once."""

    def __init__(self, library: ctypes.CDLL, level: int, threads: int = 1) -> None:
        self.level = LEVELS[level]
        self._level = level
        self._library = library
        self._threads = threads
        self._pool = ThreadPoolExecutor(threads - 1, "kernels") if threads > 1 else None

    def attend(
        self, bf16: bool, qkv: int, out: int, starts: int, lengths: Sequence[int], heads: int, size: int
    ) -> None:
        """Softmax attention inside each text. `qkv` is `[rows, 3, heads, size]`, `out` `[rows, heads, size]`, both
        float32, or bfloat16 with `bf16`; `starts` is int32: text n is the rows from `starts[n]` to `starts[n + 1]`.

        Rows of no text are left as they are. Raises ValueError for a size that is not in HEAD_SIZES.
        """
        self._split(
            self._library.groundswell_attend,
            lambda first, beyond: (self._level, bf16, qkv, out, starts, first, beyond, heads, size),
            even(lengths, self._threads),
        )

    def add_norm(
        self,
        bf16: bool,
        x: tuple[int, Address],
        y: tuple[int, Address],
        norm: tuple[int, int],
        out: int,
        rows: int,
        hidden: int,
        eps: float,
    ) -> None:
        """LayerNorm of the sum of two matrices with `hidden` columns. Each is an address and that of the int32 numbers
        of its rows (None: as they come). `norm` is weight and bias, float32.

        Raises ValueError when `hidden` is no multiple of 16 or above MAX_HIDDEN.
        """
        cuts = [rows * n // self._threads for n in range(self._threads + 1)]
        self._split(
            self._library.groundswell_add_norm,
            lambda first, beyond: (self._level, bf16, *x, *y, *norm, out, first, beyond, hidden, eps),
            cuts,
        )

    def _split(
        self, function: Callable[..., int], arguments: Callable[[int, int], Sequence[object]], cuts: Sequence[int]
    ) -> None:
        """Call `function` for each range between two cuts, the last one in this thread."""
        calls = [arguments(first, beyond) for first, beyond in pairwise(cuts) if first < beyond]
        waiting = [self._pool.submit(function, *each) for each in calls[:-1]] if self._pool else []
        codes = [function(*each) for each in calls[-1:]] + [future.result() for future in waiting]
        if any(codes):
            raise (
                MemoryError("no memory for a batch") if 2 in codes else ValueError("sizes that no kernel was built for")
            )


def even(lengths: Sequence[int], parts: int) -> list[int]:
    """Where to cut the texts into at most `parts` runs of about as many tokens: `[0, ..., len(lengths)]`."""
    cuts, done, whole = [0], 0, sum(lengths)
    for n, length in enumerate(lengths):
        if len(cuts) < parts and done >= whole * len(cuts) / parts:
            cuts.append(n)
        done += length
    return [*cuts, len(lengths)]


def load(threads: int = 1, level: str | None = None) -> Kernels:
    """The kernels at the best level of this processor, or at a lower one. Raises NoKernels."""
    library = _library()
    best = library.groundswell_level()
    wanted = best if level is None else LEVELS.index(level)
    if wanted > best:
        raise NoKernels(f"this processor does not run {level}", remedy="Choose a lower level.")
    return Kernels(library, wanted, threads)


def describe() -> str:
    """One line for `groundswell doctor`."""
    try:
        return f"own kernels ({load().level})"
    except NoKernels as error:
        return f"none: {error} {error.remedy}"


@cache
def _library() -> ctypes.CDLL:
    folder = Path(__file__).parent
    built = [path for suffix in EXTENSION_SUFFIXES if (path := folder / f"_kernels{suffix}").is_file()]
    if not built:
        raise NoKernels("The tagger's own kernels were not built at install.")
    try:
        library = ctypes.CDLL(str(built[0]))
        version = library.groundswell_version()
    except (OSError, AttributeError) as error:
        raise NoKernels(f"The tagger's own kernels cannot be loaded: {error}.") from error
    if version != VERSION:
        raise NoKernels("The tagger's own kernels were built from another version.")
    number, address, wide = ctypes.c_int, ctypes.c_void_p, ctypes.c_int64
    library.groundswell_attend.argtypes = [
        number, number, address, address, address, number, number, number, number,
    ]  # fmt: skip
    library.groundswell_add_norm.argtypes = [
        number, number, address, address, address, address, address, address, address, wide, wide, number, ctypes.c_float,
    ]  # fmt: skip
    return library
