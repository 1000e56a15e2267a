"""What was found, as page, spreadsheet and program get it: nothing runs, nothing is lost, the mark stands where the sentence does."""

import csv
import io
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.archive.found import (
    BOM,
    CELL_CHARS,
    COLUMNS,
    csv_end,
    csv_head,
    csv_line,
    inert,
    item,
    json_end,
    json_line,
)
from dashboard.archive.past import Reach
from groundswell.records import Row
from tests.tagged_pasts import AT, document


def read(raw: bytes) -> list[dict[str, str]]:
    text = raw.decode("utf-8")
    assert text.startswith(BOM), "Excel reads Chinese by it"
    return list(csv.DictReader(io.StringIO(text.removeprefix(BOM), newline="")))


FORMULAS = (
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "＝1",
    "＋1",
    "－1",
    "＠A",
    " =1",
    '"=1',
    "'=1",
    "|cmd",
    "%x",
)


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_run_is_shown_instead(text: str) -> None:
    assert inert(text) == f"'{text}"


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_no_cell_begins_a_formula_and_none_says_anything_else_than_it_did(text: str) -> None:
    cell = inert(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))
    clean = text.replace("\x00", "").encode("utf-8", "replace").decode()
    assert cell in (clean, f"'{clean}")


@given(
    title=st.text(max_size=40),
    text=st.text(min_size=1, max_size=80),
    source=st.text(min_size=1, max_size=20),
    topic=st.sampled_from(FORMULAS),
)
def test_a_spreadsheet_reads_every_line_back_as_one_line_of_all_columns(
    title: str, text: str, source: str, topic: str
) -> None:
    one = document(1, title=title, text=text, source=source, topics=[(topic, 0.5)], deciding=None)
    rows = read(csv_head() + csv_line(one) + csv_line(document(2)))
    assert len(rows) == 2
    assert tuple(rows[0]) == COLUMNS
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for value in rows[0].values())
    assert rows[0]["text"].lstrip("'") == text.replace("\x00", "").lstrip("'")
    assert rows[1]["id"] == "d2"


def test_a_spreadsheet_has_what_the_page_shows() -> None:
    one = document(1, companies=[Row("XNAS:AAPL", "positive", 0.1, positive=0.8), Row("XTST:HLVN", "negative", 0.9)])
    (row,) = read(csv_head() + csv_line(one))
    assert row["published_at"] == "2026-11-21T22:26:39Z"
    assert row["subjects"] == "XNAS:AAPL positive; XTST:HLVN negative"
    assert row["deciding_sentence"] == "Halvorn Motors"
    assert (row["polarity"], row["negative"], row["copy"]) == ("negative", "0.910", "")


def test_a_text_that_no_cell_can_hold_is_cut() -> None:
    (row,) = read(csv_head() + csv_line(document(1, text="字" * 60_000)))
    assert len(row["text"]) == CELL_CHARS + 1


def test_a_cut_export_says_so_and_a_whole_one_does_not() -> None:
    reach = Reach(found=7, read=100, back_to_ms=AT)
    assert csv_end(reach, "") == b""
    assert b"cut: 7 documents" in csv_end(reach, "cursor")
    assert msgspec.json.decode(json_end(reach, "")) == {
        "end": {"found": 7, "searched": 100, "searched_back_to": AT, "cut": False}
    }
    assert msgspec.json.decode(json_end(reach, "c"))["end"]["next"] == "c"


def test_a_line_of_json_is_the_record_without_what_is_ours_alone() -> None:
    line = msgspec.json.decode(json_line(document(1, author="keyedhash")))
    assert line["text"] == "The regulator opens a probe."
    assert not line.keys() & {"v", "src", "author"}


def marked(shown: dict[str, Any], part: str) -> str | None:
    span = shown[f"{part}_span"]
    return None if span is None else shown[part][span[0] : span[1]]


@pytest.mark.parametrize(
    ("title", "text", "sentence"),
    [
        ("", "😀 开头。公司宣布召回。结尾。", "公司宣布召回。"),
        ("Recall", "It is calm. A fire broke out. All is calm.", "A fire broke out."),
        ("Recall", "x" * 900 + " A fire broke out. " + "y" * 900, "A fire broke out."),
        ("", "hid\u202eden. A fire broke out.", "A fire broke out."),
        ("", "one\u200btwo three", "one\u200btwo"),
    ],
)
def test_the_deciding_sentence_is_marked_where_it_stands(title: str, text: str, sentence: str) -> None:
    whole = f"{title}\n{text}" if title else text
    start = whole.index(sentence)
    shown = item(document(1, title=title, text=text, deciding=(start, start + len(sentence))), "")
    assert marked(shown, "excerpt") == sentence.replace("\u200b", "⟨U+200B⟩")
    assert marked(shown, "title") is None


def test_a_deciding_title_is_marked_as_such() -> None:
    shown = item(document(1), "")
    assert marked(shown, "title") == "Halvorn Motors"
    assert shown["excerpt_span"] is None


@given(st.text(max_size=900), st.text(max_size=1200), st.integers(-5, 2_500), st.integers(-5, 2_500))
def test_no_text_and_no_span_break_a_line(title: str, text: str, start: int, end: int) -> None:
    shown = item(document(1, title=title, text=text, deciding=(start, end)), "XTST:HLVN")
    for part in ("title", "excerpt"):
        span = shown[f"{part}_span"]
        assert span is None or 0 <= span[0] < span[1] <= len(shown[part])


def test_a_link_that_is_none_is_left_out() -> None:
    assert item(document(1, url="javascript:alert(1)"), "")["url"] == ""
    assert item(document(1), "")["url"] == "https://wirepress.example/1"
