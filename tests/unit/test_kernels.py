"""The own kernels say what float64 says, at every level of instructions, and touch nothing that is not theirs."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models import kernels
from models.kernels import LEVELS, NoKernels


def built():
    try:
        return LEVELS[: LEVELS.index(kernels.load().level) + 1]
    except NoKernels:
        return ()


BUILT = built()
pytestmark = pytest.mark.skipif(not BUILT, reason="the kernels were not built: no C compiler at install")
LENGTHS = st.lists(st.integers(1, 70) | st.sampled_from([8, 16, 17, 32, 33, 64, 255, 512]), min_size=1, max_size=6)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16])
CANARY = 7.0


def attend(qkv, lengths, heads, size, level=None, threads=1):
    starts = torch.tensor([0, *lengths]).cumsum(0).int()
    out = torch.full((len(qkv), heads * size), CANARY, dtype=qkv.dtype)
    own = kernels.load(threads, level)
    own.attend(qkv.dtype == torch.bfloat16, qkv.data_ptr(), out.data_ptr(), starts.data_ptr(), lengths, heads, size)
    return out


def exact(qkv, lengths, heads, size):
    """Attention in float64, text by text."""
    answers, start = [], 0
    for length in lengths:
        q, k, v = qkv[start : start + length].double().view(length, 3, heads, size).permute(1, 2, 0, 3)
        mixed = ((q @ k.transpose(-1, -2)) / size**0.5).softmax(-1) @ v
        answers.append(mixed.transpose(0, 1).reshape(length, heads * size))
        start += length
    return torch.cat(answers)


@settings(deadline=None, max_examples=40)
@given(
    LENGTHS,
    st.integers(1, 3),
    st.sampled_from(kernels.HEAD_SIZES),
    DTYPES,
    st.sampled_from(BUILT or ("plain",)),
    st.integers(0, 9),
)
def test_attention_is_that_of_float64_and_stays_inside_each_text(lengths, heads, size, dtype, level, seed):
    torch.manual_seed(seed)
    nobody = 3
    qkv = (torch.randn(sum(lengths) + nobody, 3 * heads * size) * 1.5).to(dtype)
    out = attend(qkv, lengths, heads, size, level)
    wanted = exact(qkv, lengths, heads, size)
    within = 2e-5 if dtype == torch.float32 else 2**-7
    assert ((out[:-nobody].double() - wanted).abs() <= within * (1 + wanted.abs())).all()
    assert (out[-nobody:] == CANARY).all()


@pytest.mark.parametrize("level", BUILT)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_scores_of_any_size_give_chances(level, dtype):
    lengths, heads, size = [5, 40, 1], 2, 32
    for factor in (0, 1e-20, 300, -300):
        qkv = torch.randn(46, 3 * heads * size)
        qkv[:, : 2 * heads * size] *= factor
        out = attend(qkv.to(dtype), lengths, heads, size, level)
        assert torch.isfinite(out).all()
        assert out.abs().max() <= qkv.to(dtype)[:, 2 * heads * size :].abs().max() * 1.01


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_the_texts_and_change_nothing(threads):
    lengths = [60, 1, 2, 30, 30, 7, 200]
    qkv = torch.randn(sum(lengths), 3 * 64).bfloat16()
    assert torch.equal(attend(qkv, lengths, 2, 32), attend(qkv, lengths, 2, 32, threads=threads))


@given(st.lists(st.integers(1, 512), max_size=50), st.integers(1, 5))
def test_texts_are_dealt_to_threads_in_runs_of_about_as_many_tokens(lengths, parts):
    cuts = kernels.even(lengths, parts)
    assert (cuts[0], cuts[-1]) == (0, len(lengths))
    assert cuts == sorted(cuts)
    assert len(cuts) <= parts + 1
    share = sum(lengths) / parts
    for first, beyond in pairwise(cuts):
        assert sum(lengths[first:beyond]) <= share + 2 * 512


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 40), st.integers(1, 50), DTYPES, st.sampled_from(BUILT or ("plain",)), st.booleans(),
    st.floats(0, 20), st.integers(0, 9),
)  # fmt: skip
def test_add_and_norm_are_those_of_float64(rows, sixteens, dtype, level, picked, offset, seed):
    torch.manual_seed(seed)
    hidden, eps = sixteens * 16, 1e-5
    x, y = (torch.randn(50, hidden) * 3 + offset).to(dtype), torch.randn(50, hidden).to(dtype)
    weight, bias = torch.randn(hidden), torch.randn(hidden)
    x_at, y_at = (torch.randint(0, 50, (rows,)) if picked else torch.arange(rows) for _ in "xy")
    out = torch.full((rows + 1, hidden), CANARY, dtype=dtype)
    at = [(each, index.int()) for each, index in ((x, x_at), (y, y_at))]
    kernels.load(level=level).add_norm(
        dtype == torch.bfloat16, *((each.data_ptr(), index.data_ptr() if picked else None) for each, index in at),
        (weight.data_ptr(), bias.data_ptr()), out.data_ptr(), rows, hidden, eps,
    )  # fmt: skip
    both = x[x_at].double() + y[y_at].double()
    wanted = torch.nn.functional.layer_norm(both, (hidden,), weight.double(), bias.double(), eps)
    within = 2e-4 if dtype == torch.float32 else 2**-7
    assert ((out[:-1].double() - wanted).abs() <= within * (1 + wanted.abs())).all()
    assert (out[-1] == CANARY).all()


def test_sizes_without_a_kernel_are_refused():
    with pytest.raises(ValueError, match="no kernel"):
        attend(torch.zeros(4, 3 * 48), [4], 1, 48)
    out = np.zeros((2, 24), np.float32)
    with pytest.raises(ValueError, match="no kernel"):
        kernels.load().add_norm(
            False, (out.ctypes.data, None), (out.ctypes.data, None), (out.ctypes.data, out.ctypes.data),
            out.ctypes.data, 2, 24, 1e-5,
        )  # fmt: skip


def test_kernels_of_another_version_are_not_used(monkeypatch):
    monkeypatch.setattr(kernels, "VERSION", -1)
    kernels._library.cache_clear()
    try:
        with pytest.raises(NoKernels, match="another version"):
            kernels.load()
        assert "make setup" in kernels.describe()
    finally:
        kernels._library.cache_clear()


def test_an_install_without_a_compiler_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(kernels, "EXTENSION_SUFFIXES", [".none"])
    kernels._library.cache_clear()
    try:
        assert kernels.describe().startswith("none: ")
        assert "compiler" in kernels.describe()
    finally:
        kernels._library.cache_clear()
