"""What a search finds among documents, and what it refuses to be asked."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.archive.search import Query, glance, matcher, query, stance, terms
from groundswell.errors import WrongShape
from groundswell.records import Mention, Row, Tagged
from groundswell.reserved import CANARY
from groundswell.text import normalise
from tests.tagged_pasts import AT, document

APPLE = [Row("XNAS:AAPL", "negative", 0.9), Row("XTST:HLVN", "positive", 0.05, positive=0.9)]


def finds(asked: Query, one: Tagged) -> bool:
    raw = msgspec.json.encode(one)
    found = matcher(asked)(one)
    assert glance(asked)(raw) or not found, "a glance may never pass over what is looked for"
    return found


@pytest.mark.parametrize(
    ("words", "text", "found"),
    [
        ("probe regulator", "The Regulator opens a PROBE", True),
        ("probe merger", "The regulator opens a probe", False),
        ('"opens a probe"', "The regulator opens a probe", True),
        ('"opens probe"', "The regulator opens a probe", False),
        ("probe -regulator", "The regulator opens a probe", False),
        ("probe -merger", "The regulator opens a probe", True),
        ('probe -"a probe"', "The regulator opens a probe", False),
        ("ban", "The bank is open", False),
        ("ban*", "The bank is open", True),
        ("ＰＲＯＢＥ", "The regulator opens a probe", True),
        ("pro\u200bbe", "The regulator opens a probe", True),
        ("召回", "公司宣布召回二十万辆汽车", True),
        ("召回 起火", "公司宣布召回二十万辆汽车", False),
        ("aapl", "买入AAPL股票", True),
        ("apl", "买入AAPL股票", False),
        ("“宣布召回”", "公司宣布召回二十万辆汽车", True),
        ("$tsla", "Long $TSLA today", True),
        ("naïve", "So NAI\u0308VE of them", True),
        ("strasse", "In der Straße", True),
        ("first second", "first line\nsecond line", True),
        ('"line second"', "first line\nsecond line", True),
        ("c++", "Written in C++ and Rust", True),
        ("", "anything", True),
        ("-", "anything", True),
    ],
)
def test_words_are_found_as_a_reader_expects(words: str, text: str, found: bool) -> None:
    one = document(1, title="", text=normalise(text))
    assert finds(query({"q": words}), one) is found


def test_the_title_is_searched_too() -> None:
    assert finds(query({"q": "recalls"}), document(1))


@given(st.text(max_size=60), st.text(max_size=80))
def test_no_query_and_no_text_break_the_search_and_a_glance_never_errs(words: str, text: str) -> None:
    try:
        asked = query({"q": words})
    except WrongShape:
        return
    finds(asked, document(1, title="", text=normalise(text)))


@given(st.text(alphabet=st.characters(categories=("L", "N")), min_size=1, max_size=12))
def test_every_word_finds_the_text_that_is_that_word(word: str) -> None:
    asked = query({"q": word})
    if asked.terms:
        assert finds(asked, document(1, title="", text=normalise(word)))


@pytest.mark.parametrize(
    ("subject", "label"),
    [
        ("XNAS:AAPL", "negative"),
        ("XTST:HLVN", "positive"),
        ("XNAS:MSFT", None),
        ("topic:safety", "neutral"),
        ("topic:fraud", None),
        ("XNAS:AAPL|topic:safety", "negative"),
        ("XNAS:AAPL|topic:fraud", None),
        ("market", "neutral"),
        ("market:XNYS", "neutral"),
        ("market:XHKG", None),
        ("", "neutral"),
    ],
)
def test_a_subject_has_the_polarity_that_its_counts_took(subject: str, label: str | None) -> None:
    one = document(1, label="neutral", companies=APPLE)
    said = stance(one, subject)
    assert (said.label if said else None) == label
    assert finds(Query(subject=subject), one) is (label is not None)


def test_negative_is_what_was_counted_as_negative_and_unsure_is_a_choice_of_its_own() -> None:
    sure, unsure = document(1), document(2, companies=[Row("XTST:HLVN", "negative", 0.5, unsure=True)])
    negative, other = Query(subject="XTST:HLVN", polarity="negative"), Query(subject="XTST:HLVN", polarity="unsure")
    assert [finds(negative, sure), finds(negative, unsure)] == [True, False]
    assert [finds(other, sure), finds(other, unsure)] == [False, True]


def test_the_canary_is_nobodys_talk_unless_it_is_asked_for() -> None:
    canary = document(1, mentions=[Mention(CANARY)], companies=[Row(CANARY, "negative", 0.9)])
    assert not finds(Query(), canary)
    assert finds(Query(subject=CANARY), canary)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"topic": "safety"}, True),
        ({"topic": "topic:safety"}, True),
        ({"topic": "fraud"}, False),
        ({"source": "WirePress.example"}, True),
        ({"source": "wirepress"}, False),
        ({"language": "en"}, True),
        ({"language": "zh"}, False),
        ({"feed": "news"}, True),
        ({"feed": "comments"}, False),
        ({"polarity": "negative"}, True),
        ({"polarity": "positive"}, False),
        ({"from": str(AT - 1_000), "to": str(AT)}, True),
        ({"from": str(AT), "to": str(AT + 1)}, False),
        ({"to": str(AT - 1_000)}, False),
        ({"from": "2026-11-22T02:26:39+00:00"}, False),
        ({"from": "2026-01-01T00:00Z"}, True),
    ],
)
def test_each_filter_of_an_address_holds(asked: dict[str, str], found: bool) -> None:
    assert finds(query(asked), document(1)) is found


@pytest.mark.parametrize(
    "asked",
    [
        {"polarity": "angry"},
        {"language": "klingon"},
        {"feed": "tea"},
        {"from": "yesterday"},
        {"from": "2026-01-01T00:00"},
        {"from": "20", "to": "10"},
        {"q": "a" * 301},
        {"q": " ".join("abcdefghijklmnopq")},
        {"subject": "x" * 121},
    ],
)
def test_what_cannot_be_asked_is_refused_with_what_can(asked: dict[str, str]) -> None:
    with pytest.raises(WrongShape) as refused:
        query(asked)
    assert refused.value.remedy


def test_a_word_in_a_query_is_never_a_pattern() -> None:
    assert [term.text for term in terms("a.c (b")] == ["a.c", "(b"]
    assert not finds(query({"q": "a.c"}), document(1, text="abc"))
