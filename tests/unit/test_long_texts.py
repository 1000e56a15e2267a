"""What is read of a text of any length: windows that end with sentences, a bounded number of them, and the end."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from models import catalog, windows
from models.windows import LEAD_SHARE, MAX_WINDOWS, cuts
from tests.unit.model_folder import tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tiny_model(tmp_path_factory.mktemp("model"))
    return Tokenizer.from_file(str(folder / catalog.TOKENIZER)), catalog.check(folder)


WORDS = st.sampled_from(["profit", "fell", "loss", "good", "bad", "a", "消息", "好", "坏消息"])
ENDS = st.sampled_from(["。", "。\n", "", "? "])
SENTENCES = st.builds(lambda words, end: " ".join(words) + end, st.lists(WORDS, min_size=1, max_size=12), ENDS)
TEXTS = st.lists(SENTENCES, min_size=1, max_size=60).map("".join)


@given(TEXTS)
def test_windows_are_few_small_and_share_the_whole_say(model, text):
    tokenizer, config = model
    parts = windows.read(tokenizer, text, config).parts
    assert 1 <= len(parts) <= MAX_WINDOWS
    assert sum(part.share for part in parts) == pytest.approx(1)
    assert parts[0].share == (1 if len(parts) == 1 else LEAD_SHARE)
    for part in parts:
        assert len(part.ids) == len(part.spans) <= config.max_tokens
        assert (part.ids[0], part.ids[-1]) == (config.bos_id, config.eos_id)


@given(TEXTS)
def test_each_token_spans_its_own_letters_in_the_whole_text(model, text):
    tokenizer, config = model
    last = 0
    for part in windows.read(tokenizer, text, config).parts:
        for token, (start, end) in list(zip(part.ids, part.spans, strict=True))[1:-1]:
            piece = tokenizer.id_to_token(token).removeprefix("▁")
            assert piece in {text[start:end].strip(), "<unk>", ""}
            assert start >= last
            last = end if piece else start


@given(TEXTS)
def test_a_text_is_left_out_in_the_middle_or_not_at_all(model, text):
    tokenizer, config = model
    read = windows.read(tokenizer, text, config)
    seen = sorted(span for part in read.parts for span in part.spans if span[1] > span[0])
    gaps = [text[a:b] for (_, a), (b, _) in pairwise(seen) if text[a:b].strip()]
    # What is left out may be one blank.
    assert len(gaps) <= int(read.truncated)
    assert not text[: seen[0][0]].strip()
    assert not text[seen[-1][1] :].strip()


@given(TEXTS)
def test_a_window_ends_with_a_sentence_if_one_ends_in_its_later_half(model, text):
    tokenizer, config = model
    for part, following in pairwise(windows.read(tokenizer, text, config).parts):
        a, b = part.spans[-2][1], following.spans[1][0]
        if not text[a:b].strip() and not text[:a].endswith(("。", "?")):
            later = part.spans[2 + (config.max_tokens - 2) // 2 : -1]
            assert not any(text[slice(*span)].endswith(("。", "?")) for span in later)


@given(st.lists(st.integers(1, 4), max_size=80), st.sets(st.integers(0, 200)), st.integers(2, 12))
def test_cuts_cover_every_token_once(widths, ends, room):
    bounds = [0]
    for width in widths:
        bounds.append(bounds[-1] + width)
    ranges = cuts(list(pairwise(bounds)), sorted(ends), room)
    assert [n for a, b in ranges for n in range(a, b)] == list(range(len(widths)))
    assert all(b - a <= room for a, b in ranges)


@pytest.mark.parametrize("unit", ["profit fell a b c d e f g h ", "坏消息好消息", "a" * 4_000 + " "])
def test_a_text_of_64_kb_costs_no_more_than_a_few_pages(model, unit):
    tokenizer, config = model
    asked = []

    class Counting:
        def encode(self, text, **more):
            asked.append(len(text))
            return tokenizer.encode(text, **more)

    text = unit * (65_536 // len(unit)) + "loss"
    read = windows.read(Counting(), text, config)
    assert sum(asked) < len(text) / 4
    assert read.truncated
    assert read.tokens <= MAX_WINDOWS * config.max_tokens
    assert read.parts[0].spans[1][0] == 0
    assert text[read.parts[-1].spans[-2][0] :].strip() == "loss"


@pytest.mark.parametrize("text", ["", "  \n ", "\u3000"])
def test_a_text_with_nothing_to_read_has_no_window(model, text):
    tokenizer, config = model
    read = windows.read(tokenizer, text, config)
    assert read.parts == []
    assert not read.truncated
