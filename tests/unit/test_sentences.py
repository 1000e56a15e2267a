"""Sentences: spans that hold every visible character once, in both languages."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.sentences import split


def pieces(text):
    return [text[start:end] for start, end in split(text)]


@given(st.text(st.sampled_from("ab .!?。！？；…“”\n\"'好股3")))
def test_spans_are_in_order_and_hold_every_visible_character(text):
    spans = split(text)
    assert all(a < b <= c for (a, b), (c, _) in pairwise(spans))
    inside = "".join(text[a:b] for a, b in spans)
    assert "".join(inside.split()) == "".join(text.split())
    assert all(text[a:b] == text[a:b].strip() for a, b in spans)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("业绩大增。股价却跌停！为什么？", ["业绩大增。", "股价却跌停！", "为什么？"]),
        ("他说：“公司没有违约。”市场不信。", ["他说：“公司没有违约。”", "市场不信。"]),
        ("Sales rose 3.5% in the U.S. market. Shares fell.", ["Sales rose 3.5% in the U.S. market.", "Shares fell."]),
        ("Apple Inc. sued Mr. Lee. He denies it!", ["Apple Inc. sued Mr. Lee.", "He denies it!"]),
        ("Profit warning\nThe firm cut its outlook", ["Profit warning", "The firm cut its outlook"]),
        ("营收增长；利润下滑", ["营收增长；", "利润下滑"]),
        ("", []),
        (" \n ", []),
    ],
)
def test_sentences_end_where_a_reader_ends_them(text, wanted):
    assert pieces(text) == wanted
