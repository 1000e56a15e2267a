"""Serving computes what transformers computes in float32, whatever it runs on, and company never changes an answer."""

import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import BertConfig, BertModel

from groundswell.tagging import Text
from models import catalog, linear, stored
from models.batching import grid, grid_sizes
from models.encoder import Encoder, forward
from models.gpu import Gpu
from models.heads import Tagger
from models.learn import rows
from models.linear import Format, Linear
from models.packed import BUDGET_TOKENS, Packed
from models.packed_classifier import Shape, renamed

VOCABULARY, POSITIONS, HIDDEN = 97, 512, 64
BUNDLED = catalog.locate("bundled")
# Largest difference of one of 64 numbers of unit variance, after two layers.
WITHIN = {"float32": 2e-4, "bfloat16": 0.12}


@pytest.fixture(scope="module", params=[32, 64, 16], ids="heads of {}".format)
def body(request):
    """A BERT of two layers with large random weights, so that attention looks at something, and its weights by our
    names."""
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, num_hidden_layers=2, num_attention_heads=HIDDEN // request.param,
        intermediate_size=4 * HIDDEN, max_position_embeddings=POSITIONS, initializer_range=0.15, pad_token_id=0,
    )  # fmt: skip
    model = BertModel(config, add_pooling_layer=False).eval()
    weights = renamed({f"bert.{name}": tensor for name, tensor in model.state_dict().items()}, config)
    return model, Shape(2, HIDDEN // request.param, config.layer_norm_eps), weights


def by_transformers(model, texts):
    """The states of each text, in padded batches of 32."""
    answers = []
    for first in range(0, len(texts), 32):
        some = texts[first : first + 32]
        ids = torch.zeros(len(some), max(map(len, some)), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for n, text in enumerate(some):
            ids[n, : len(text)], mask[n, : len(text)] = torch.tensor(text), 1
        with torch.inference_mode():
            states = model(input_ids=ids, attention_mask=mask).last_hidden_state
        answers += [states[n, : len(text)] for n, text in enumerate(some)]
    return answers


def by_encoder(encoder, texts):
    found = {}
    for batch, lengths, hidden in encoder.encode(texts):
        assert lengths == [len(texts[index]) for index in batch]
        assert not found.keys() & set(batch)
        found |= dict(zip(batch, hidden.split(lengths), strict=True))
    return [found[n] for n in range(len(texts))]


def some_texts(seed, count, longest):
    rng = random.Random(seed)
    lengths = [rng.randint(1, rng.randint(1, longest)) for _ in range(count)]
    return [[rng.randrange(VOCABULARY) for _ in range(length)] for length in lengths]


# One to 500 texts of one to 512 tokens, with at most about 3,000 tokens altogether.
CROWDS = st.one_of(
    st.tuples(st.integers(1, 10), st.just(512)), st.tuples(st.integers(1, 200), st.just(40)), st.just((500, 12))
)


@pytest.mark.parametrize("kernels", [True, False], ids=["own kernels", "torch alone"])
@pytest.mark.parametrize("numbers", ["float32", "bfloat16"])
@settings(deadline=None, max_examples=3)
@given(crowd=CROWDS, seed=st.integers(0, 99))
def test_hidden_states_are_those_of_transformers_in_float32(body, numbers, kernels, crowd, seed):
    model, shape, weights = body
    texts = some_texts(seed, *crowd)
    ours = by_encoder(Encoder(shape, weights, numbers=numbers, kernels=kernels), texts)
    for mine, theirs in zip(ours, by_transformers(model, texts), strict=True):
        assert mine.dtype == torch.float32
        assert (mine - theirs).abs().max() <= WITHIN[numbers]


def test_one_text_of_every_length_is_right(body):
    model, shape, weights = body
    texts = [[n % VOCABULARY for n in range(length)] for length in (1, 2, 15, 16, 17, 31, 33, 64, 255, 511, 512)]
    encoder = Encoder(shape, weights, numbers="float32")
    for text in texts:
        (mine,), (theirs,) = by_encoder(encoder, [text]), by_transformers(model, [text])
        assert (mine - theirs).abs().max() <= WITHIN["float32"]


def test_training_and_serving_compute_the_same(body):
    _, shape, weights = body
    texts = sorted(some_texts(5, 20, 30), key=len)
    ids = torch.tensor([piece for text in texts for piece in text])
    trained = forward(weights, shape, ids, [len(text) for text in texts])
    served = torch.cat(by_encoder(Encoder(shape, weights, numbers="float32"), texts))
    assert (trained - served).abs().max() <= WITHIN["float32"]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_device_code_gives_the_same_answers_on_the_processor(body, monkeypatch, threads):
    _, shape, weights = body
    texts = some_texts(9, 120, 60)
    packed = Encoder(shape, weights, numbers="bfloat16", threads=threads)
    wanted = by_encoder(packed, texts)
    packed.runner = Gpu(weights, shape.layers, shape.heads, shape.layer_norm_eps, "cpu")
    monkeypatch.setattr(Gpu, "budget_tokens", 700)  # several batches, so that one is begun ahead
    for mine, theirs in zip(by_encoder(packed, texts), wanted, strict=True):
        assert (mine - theirs).abs().max() <= 2 * WITHIN["bfloat16"]
    assert "eager" in packed.describe()


@given(st.integers(1, 16_384))
def test_a_device_sees_few_heights(tokens):
    height = Gpu.height(tokens)
    assert tokens <= height <= max(256, tokens * 3 / 2)
    assert Gpu.height(height) == height


def test_rows_of_nobody_come_out_of_attention_as_zero(body):
    _, shape, weights = body
    for kernels in (True, False):
        runner = Encoder(shape, weights, numbers="bfloat16", kernels=kernels).runner
        assert isinstance(runner, Packed)
        qkv = torch.randn(32, 3 * HIDDEN).bfloat16()
        out = runner.attend(qkv, torch.tensor([0, 9, 20], dtype=torch.int32), [9, 11])
        assert out[:20].all()
        assert not out[20:].any()


def test_what_would_be_read_outside_the_tables_is_refused(body):
    _, shape, weights = body
    encoder = Encoder(shape, weights)
    for text in ([VOCABULARY], [-1], [0] * (POSITIONS + 1), []):
        with pytest.raises(ValueError, match=r"vocabulary|positions"):
            list(encoder.encode([[1, 2], text]))


def test_it_says_what_it_computes_with(body):
    _, shape, weights = body
    plain = Encoder(shape, weights, numbers="float32", kernels=False).describe()
    assert plain.startswith("fp32")
    assert plain.endswith("torch alone")
    assert Encoder(shape, weights, numbers="bfloat16").describe().startswith("bf16")


def test_the_grid_to_the_budget_is_all_the_heights_there_are():
    sizes = grid_sizes(BUDGET_TOKENS)
    assert sizes == sorted({grid(tokens) for tokens in range(1, BUDGET_TOKENS + 1)})
    assert len(sizes) == 32


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prepacked_products_are_those_of_torch(dtype):
    torch.manual_seed(0)
    weight, bias, x = torch.randn(48, 32), torch.randn(48), torch.randn(21, 32).to(dtype)
    plain = Linear(weight, bias, Format(dtype, prepacked=False))
    with torch.inference_mode():
        try:
            laid_out = Linear(weight, bias, Format(dtype, prepacked=True))
        except (AttributeError, RuntimeError):
            pytest.skip("this torch or processor lays out no weights")
        for gelu in (False, True):
            one, other = plain(x, gelu=gelu).float(), laid_out(x, gelu=gelu).float()
            assert torch.allclose(one, other, rtol=0.02, atol=1e-4 if dtype == torch.float32 else 0.1)


def test_a_torch_without_the_private_operations_is_served_by_the_plain_ones(monkeypatch):
    class Without:
        mkldnn = object()

    monkeypatch.setattr(torch, "ops", Without())
    linear.chosen.cache_clear()
    try:
        assert linear.chosen("float32", 64, 64) == Format(torch.float32, prepacked=False)
        assert not linear.chosen("auto", 64, 64).prepacked
    finally:
        linear.chosen.cache_clear()


def own_texts(count):
    """Own-written sentences of both languages, as they are in the rows: short, and each another one."""
    found = [Text(row.skeleton, lang=lang) for lang in ("en", "zh") for row in rows.load(lang)]
    random.Random(3).shuffle(found)
    return found[:count]


@pytest.fixture(scope="module")
def bundled():
    return Tagger.load(BUNDLED)


def p_of(tag):
    return np.array([tag.negative, tag.neutral, tag.positive])


def test_order_and_company_never_change_the_label_of_a_document(bundled):
    texts = own_texts(300)
    crowd = bundled.tag(texts)
    backwards = bundled.tag(texts[::-1])[::-1]
    alone = [bundled.tag([text])[0] for text in texts[:15]]
    for one, others in ((crowd, backwards), (alone, crowd)):
        for mine, theirs in zip(one, others, strict=False):
            assert np.abs(p_of(mine) - p_of(theirs)).max() <= 0.03
            low, high = sorted(p_of(mine))[-2:]
            assert mine.polarity == theirs.polarity or high - low < 0.06


def test_short_numbers_hardly_ever_change_a_label(bundled):
    texts = own_texts(250)
    config, tokenizer, weights = stored.load(BUNDLED)
    exact = Tagger(config, tokenizer, dict(weights))
    exact.encoder = Encoder(config, weights, numbers="float32", kernels=False)
    short = Tagger(config, tokenizer, dict(weights))
    short.encoder = Encoder(config, weights, numbers="bfloat16")
    pairs = list(zip(exact.tag(texts), short.tag(texts), strict=True))
    flipped = [np.sort(p_of(one)) for one, other in pairs if one.polarity != other.polarity]
    # On 2,000 texts 6 flipped (0.3 %), all of them ties to within .02.
    assert len(flipped) <= len(texts) * 0.01
    assert all(high - second < 0.05 for _, second, high in flipped)


def test_a_cuda_device_that_does_not_work_leaves_the_processor(monkeypatch, capsys):
    from models import loading, worker

    asked = []

    class Ready:
        def warm_up(self):
            asked.append("warm")

    def load(model, device):
        asked.append(device)
        if device != "cpu":
            raise RuntimeError("CUDA error: no kernel image is available")
        return Ready()

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(loading, "load", load)
    worker.ready("bundled", "auto")
    assert asked == ["cuda:0", "cpu", "warm"]
    assert "no kernel image" in capsys.readouterr().err
    with pytest.raises(RuntimeError):
        worker.ready("bundled", "cuda:0")
