"""What becomes of hostile and ordinary text: nothing invisible stays, nothing readable goes, twice changes nothing."""

import time
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from groundswell.text import fold, normalise, safe

NASTY = [
    "&amp;",
    "&",
    "amp;",
    "lt;",
    "&lt;",
    "&#38;",
    "#38;",
    "&#x3c;",
    "<",
    ">",
    "[",
    "]",
    "MASK",
    "[MASK]",
    "<s>",
    "</s>",
    "mask",
    "<mask>",
    "＜",
    "［",
    "ｍａｓｋ",
    "\u200b",
    "\u200d",
    "\ufe0f",
    "👩",
    "👩\u200d🚀",
    "❤",
    "\u0301",
    "e",
    "\ud83d",
    "\ude00",
    "\x00",
    "\x85",
    "\u2028",
    "\u202e",
    "http://",
    "https://t.co/x",
    "www.",
    "a.b",
    ".",
    " ",
    "\n",
    "\r\n",
    "\u3000",
    "，",
    "中",
    "＄",
    "$",
    "AAPL",
    "İ",
    "\u1100",
    "\u1161",
    "<b>",
    "<br/>",
    "<p ",
    "/>",
    "|",
    "unk",
    "<unk>",
    "t.co/",
]


@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(NASTY), max_size=14).map("".join)))
@settings(max_examples=600, deadline=None)
@example("&amp;" * 40 + "lt;s&gt;")
@example("&" + "#38;" * 60 + "lt;mask&gt;")
@example("&#38;am&#112;;lt;")
def test_normalising_twice_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once


@given(st.one_of(st.text(max_size=300), st.lists(st.sampled_from(NASTY), max_size=14).map("".join)))
@settings(max_examples=400, deadline=None)
def test_what_comes_out_is_clean(text):
    out = normalise(text)
    out.encode("utf-8")  # no lone surrogate is left
    assert not any(unicodedata.category(char) == "Cc" and char != "\n" for char in out)
    assert not set(out) & set("\u202a\u202e\u2066\u200b\ufeff\u200e\u200f")
    assert "  " not in out
    assert out == out.strip()
    lowered = out.lower()
    assert not any(
        token in lowered for token in ("[mask]", "[sep]", "[cls]", "<s>", "</s>", "<mask>", "<unk>", "<pad>")
    )


@pytest.mark.parametrize(
    ("given_text", "wanted"),
    [
        ("$AAPL is down 4% 😡 https://t.co/AbC123", "$AAPL is down 4% 😡"),
        ("详见https://t.cn/A6xyz利好出尽", "详见 利好出尽"),
        ("Read (https://example.com/a?b=1&copy=2) now", "Read ( ) now"),
        ("Fell, see www.example.com/x.", "Fell, see ."),
        ("R&amp;D at AT&amp;amp;T", "R&D at AT&T"),
        ("Q&A about S&P and H&M", "Q&A about S&P and H&M"),
        ("a [MASK] b </s> c", "a [ MASK ] b < /s > c"),
        ("profit <estimate and revenue> guidance", "profit <estimate and revenue> guidance"),
        ("<p>Line one<br/>line <b>two</b></p>", "Line one line two"),
        ("ＡＡＰＬ　跌了，真的！", "AAPL 跌了，真的！"),
        ("𝐁𝐔𝐘 now", "BUY now"),
        ("caf\u0065\u0301", "café"),
        ("a\x00b\x07c\u202egnp", "abcgnp"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("👩\u200d🚀 a\u200db", "👩\u200d🚀 ab"),
        ("❤\ufe0f x\ufe0fy 1\ufe0f\u20e3", "❤\ufe0f xy 1\ufe0f\u20e3"),
        ("lone \ud800 half", "lone \ufffd half"),
        ("two halves \ud83d\ude00", "two halves 😀"),
        ("a\t b\r\n\r\n  c \u2028d", "a b\nc\nd"),
        ("z\u0335\u0321\u0322\u0327\u0328", "z\u0335\u0321"),
        ("", ""),
        ("https://only.a.link/here", ""),
    ],
)
def test_one_text_becomes_one_form(given_text, wanted):
    assert normalise(given_text) == wanted


@pytest.mark.parametrize(
    "text", ["&amp;" * 13_000, "&#38;" + "#38;" * 16_000, "<" * 64_000, "[" * 64_000, "http://" + "." * 64_000,
             "$" * 64_000, "\u0301" * 64_000, "<a " * 20_000, "@" * 64_000, " -" * 30_000, "\u200d" * 64_000]
)  # fmt: skip
def test_64_kb_made_to_hurt_takes_no_time(text):
    began = time.process_time()
    fold(normalise(text))
    safe(text, 100)
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("copy", "original"),
    [
        ("RT @newsbot: Oracle CEO leaves! https://t.co/1", "Oracle CEO leaves"),
        ("Oracle CEO Leaves - Example Times", "oracle ceo leaves"),
        ("$ORCL #Oracle ceo leaves", "ORCL Oracle CEO leaves…"),
        ("某公司董事长被带走调查_某某财经", "某公司 董事长被带走调查"),
        ("转发微博：某公司宣布停产！！！", "某公司宣布停产"),
        ("ＡＢＣ 公司停产", "abc公司停产".replace("c公", "c 公")),
        ("McDonald’s is out", "McDonald's is out"),
    ],
)
def test_copies_fold_to_the_same_words(copy, original):
    assert fold(copy) == fold(original)


def test_different_news_stays_different():
    assert fold("Profit up 5%") != fold("Profit up 6%")
    assert fold("利润增长") != fold("利润下降")


@given(st.text(max_size=200), st.integers(1, 60))
@settings(max_examples=300, deadline=None)
def test_a_shown_text_is_one_clean_line_within_its_limit(text, limit):
    out = safe(text, limit)
    out.encode("utf-8")
    assert len(out) <= limit
    assert "\n" not in out
    assert not any(unicodedata.category(char) == "Cc" for char in out)
    assert not set(out) & set("\u202a\u202e\u2066\u200f")


def test_a_cut_falls_between_characters_as_people_see_them():
    assert safe("ab👩\u200d🚀cd", 5) == "ab…"
    assert safe("abc🇩🇪d", 5) == "abc…"
    assert safe("abce\u0301x", 5) == "abc…"
    assert safe("short", 5) == "short"
    assert safe("\x1b[31mred\x1b[0m\nline", 50) == "[31mred[0m line"
