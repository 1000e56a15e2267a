"""What `tag-text` and `tag-file` tell of one text: the road's own steps, every number, and nothing hostile in the terminal."""

import io
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from groundswell.commands import answer_view, answers
from groundswell.errors import NoText, TextTooLong, WrongShape
from groundswell.settings import Settings
from groundswell.tagging import Polarity, Tag
from models import scripted
from stream.names import entities

CATALOGUE = entities.load_for(Settings())
TEXT = "Tesla is sued after a fraud probe. Apple posts record profit."


def told(text, **fields):
    asked = answers.ask({"text": text, **fields}, CATALOGUE, 7)
    return answers.answer(asked, scripted.answer(asked.text.whole, asked.text.spans), CATALOGUE, "scripted")


def seen(answer, *, colours=False):
    file = io.StringIO()
    console = Console(file=file, width=120, force_terminal=colours, color_system="standard" if colours else None)
    answer_view.show(answer, console)
    console.print(answer_view.line(answer))
    return file.getvalue()


def test_each_company_has_its_own_polarity_and_its_place():
    answer = told(TEXT)
    assert [(one.id, one.name, one.polarity) for one in answer.companies] == [
        ("XNAS:TSLA", "Tesla", "negative"),
        ("XNAS:AAPL", CATALOGUE.subjects["XNAS:AAPL"].names["en"], "positive"),
    ]
    assert [answer.whole[one.start : one.end] for one in answer.companies] == ["Tesla", "Apple"]
    assert answer.line == 7


def test_places_count_in_the_title_and_the_normalised_text_together():
    answer = told("It is sued. https://example.com/x  Shares plunge.", title="Tesla:\u200b fraud")
    assert answer.whole == "Tesla: fraud\nIt is sued. Shares plunge."
    assert answer.whole[slice(*answer.deciding)] == answer.deciding_text
    assert answer.companies[0].end == 5


def test_a_company_is_called_as_the_text_s_language_calls_it():
    assert told("特斯拉造假被调查。").companies[0].name == CATALOGUE.subjects["XNAS:TSLA"].names["zh"]


def test_a_company_that_only_the_feed_names_is_judged_by_the_whole_text():
    (one,) = told("It is sued after a fraud probe.", symbols=["TSLA"]).companies
    assert (one.id, one.start, one.polarity) == ("XNAS:TSLA", -1, "negative")


@pytest.mark.parametrize(("given", "wanted"), [("zh-CN", "zh"), ("EN", "en"), ("", "en"), ("klingon", "en"), (5, "en")])
def test_a_given_language_counts_when_it_is_one(given, wanted):
    assert told("It is sued.", lang=given).lang == wanted


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({}, WrongShape),
        ({"text": 5}, WrongShape),
        ({"text": "a", "title": ["b"]}, WrongShape),
        ({"text": " \u200b https://example.com "}, NoText),
        ({"text": "好" * 30_000}, TextTooLong),
    ],
)
def test_what_cannot_be_tagged_is_refused_by_name(fields, error):
    with pytest.raises(error):
        answers.ask(fields, CATALOGUE)


def test_a_csv_line_holds_all_probabilities():
    answer = told(TEXT)
    cells = dict(zip(answers.COLUMNS, answers.row(answer), strict=True))
    assert [float(cells[name]) for name in answers.NUMBERS] == [answer.negative, answer.neutral, answer.positive]
    assert cells["topics"].startswith("fraud=0.900; ")
    assert cells["companies"].split("; ")[1].startswith("XNAS:AAPL=positive ")


def test_the_view_shows_the_verdict_the_numbers_and_the_deciding_sentence():
    shown = seen(told(TEXT))
    for words in ("negative", "0.462", "█", "fraud 0.90", "Tesla", "XNAS:AAPL", "decided by", "a fraud probe"):
        assert words in shown


def test_loud_words_are_marked_where_they_stand():
    asked = answers.ask({"text": "Calm words. Tesla is a fraud today."}, CATALOGUE)
    tag = Tag(
        0.9, 0.06, 0.04, True, topics=[("fraud", 0.9)], deciding=(12, 35), tokens=9, truncated=True, words=[(23, 28)],
        targets=[Polarity(0.9, 0.06, 0.04, unsure=False)],
    )  # fmt: skip
    answer = answers.answer(asked, tag, CATALOGUE, "m")
    marked = [answer_view.sentence(answer).plain[span.start : span.end] for span in answer_view.sentence(answer).spans]
    assert marked == ["fraud"]
    shown = seen(answer)
    assert "(unsure)" in shown
    assert "a part was not read" in shown


def test_a_bar_is_never_wider_than_its_room():
    widths = [answer_view.bar(p, 8, "red").cell_len for p in (0, 0.001, 0.5, 0.999, 1.0, 7.0, -1.0)]
    assert set(widths) == {8}
    assert answer_view.bar(0.5, 8, "red").plain == "████    "


@settings(max_examples=60, deadline=None)
@given(st.text(min_size=1, max_size=80), st.text(max_size=30))
def test_no_text_reaches_the_terminal_as_a_control(text, title):
    hostile = f"{text} Tesla \x1b[31m[bold]x[/]\x07 \u202efraud\u202c {text}"
    shown = seen(told(hostile, title=title))
    assert not [char for char in shown if char != "\n" and unicodedata.category(char) in {"Cc", "Cs"}]
    assert "\u202e" not in shown


def test_a_sentence_of_controls_that_was_never_normalised_is_still_safe():
    asked = answers.ask({"text": "fraud"}, CATALOGUE)
    asked = answers.Asked(answers.Text("a\x1b[2Jb\u202e fraud", None, "en"), [])
    answer = answers.answer(
        asked, Tag(1, 0, 0, False, [("\x1b]0;x\x07", 1.0)], (0, 13), 1, False, words=[(8, 13)]), CATALOGUE, "\x1b"
    )
    shown = seen(answer, colours=True)
    assert "\x1b[2J" not in shown
    assert "\x1b]0" not in shown
    assert "\u202e" not in shown
