"""Text from the world in a message: nothing hidden, one line, no address that a client would make a link of."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.wording.clean import clean, outside

HIDDEN = "\u202e\u2066\u200b\u200c\u2060\ufeff\u061c\U000e0041\x00\x1b\x9b\ud800"
LINKS = re.compile(
    r"(?:https?|ftp|tg|mailto|javascript|data):[^\s\u2060]|www\.\w|[A-Za-z0-9-]\.[A-Za-z]{2}|\d\.\d{1,3}\.\d{1,3}\.\d",
    re.IGNORECASE,
)


@given(st.text(max_size=400), st.integers(1, 120))
def test_any_text_is_one_short_visible_line(text, limit):
    shown = clean(text, limit)
    assert len(shown) <= limit
    assert "\n" not in shown
    assert not set(HIDDEN) & set(shown)
    shown.encode()
    assert all(unicodedata.category(char) not in ("Cc", "Cs") for char in shown)


def test_a_tower_of_accents_is_cut_down():
    assert sum(unicodedata.combining(char) > 0 for char in clean("Z" + "\u0301\u0316" * 200 + "algo", 300)) <= 4


def test_a_joined_emoji_stays_whole_or_goes():
    family = "👨‍👩‍👧‍👦"
    assert clean(family, 20) == family
    assert clean(f"海港{family}", 6) == "海港…"
    assert clean("a\u200db", 10) == "ab"


def test_64_kb_of_one_emoji_is_cut_at_once():
    assert clean("😱" * 16_384, 40) == "😱" * 39 + "…"
    assert len(clean("👍🏽" * 16_384, 40)) <= 40


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.com/x", "HTTP://EVIL", "www.evil.cn", "www.e", "evil.com", "see evil.co.uk/a?b", "203.0.113.7:8080/x",
        "javascript:alert(1)", "mailto:a@evil.com", "tg://user?id=1", "evil。com", "evil｡com", "ｅｖｉｌ．ｃｏｍ",
        "e\u200bvil.c\u2060om", "ftp://x", "data:text/html,x",
    ],
)  # fmt: skip
def test_no_address_from_outside_can_be_clicked(text):
    assert not LINKS.search(outside(text, 100))
    assert outside(text, 100).replace("\u2060", "") == clean(text, 100)


@pytest.mark.parametrize("text", ["2.5亿元，同比降1.3%", "Q3 EPS 1.20 v 1.10e", "09:42", "跌停了……", "v1.2"])
def test_numbers_stay_as_they_are(text):
    assert outside(text, 100) == text


@given(st.text("abc.:/w12 。\u2060com", max_size=60))
def test_no_order_of_signs_makes_an_address(text):
    assert not LINKS.search(outside(text, 100))
