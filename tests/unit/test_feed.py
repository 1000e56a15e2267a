"""Files of documents are read as people have them: other columns, other ends of line, a broken line here and there."""

import gzip
import io
import json
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell import feed, times
from groundswell.errors import Misconfigured
from groundswell.feed import BadFile

ZH = "港湾锡业停产"


@pytest.fixture
def read(tmp_path):
    """Write a file and read it back: all `fields`, with the raw bytes where there are none."""

    def reader(name: str, content: bytes | str, **columns: str) -> list:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return [line.raw if line.fields is None else line.fields for line in feed.read(str(path), columns)]

    return reader


def test_jsonl_gives_one_document_a_line(read):
    assert read("a.jsonl", f'{{"text":"one"}}\r\n\n{{"text":"{ZH}"}}') == [{"text": "one"}, {"text": ZH}]


@pytest.mark.parametrize("line", ['{"text":', "null", "[1]", "nope", '{"text":"\\ud800"}'])
def test_a_line_that_is_no_document_is_passed_on_as_it_is(read, line):
    assert read("a.jsonl", f'{{"text":"a"}}\n{line}\n{{"text":"b"}}\n') == [{"text": "a"}, line.encode(), {"text": "b"}]


@pytest.mark.parametrize(
    ("line", "columns", "as_it_is"),
    [
        ('{"text" : "a", "published_at":1.70e12}', {}, True),
        ('{"text":"a","symbols":"A;B"}', {}, False),
        ('{"text":"a","published_at":"1700000000000"}', {}, False),
        ('{"text":"a","of no use":"x"}', {}, False),
        ('{"text":"a","body":"b"}', {"text": "body"}, False),
    ],
)
def test_a_line_may_be_sent_as_it_is_where_nothing_is_renamed_dropped_or_converted(tmp_path, line, columns, as_it_is):
    path = tmp_path / "a.jsonl"
    path.write_text(line + "\n")
    (found,) = feed.read(str(path), columns)
    assert (found.raw, found.as_it_is) == (line.encode(), as_it_is)


def test_deep_nesting_does_not_stop_the_file(read):
    deep = b"[" * 100_000 + b"]" * 100_000
    assert read("a.jsonl", deep + b'\n{"text":"b"}') == [deep, {"text": "b"}]


def test_bytes_that_are_not_utf_8_are_passed_on_as_they_are(read):
    assert read("a.jsonl", b'{"text":"caf\xe9"}\n{"text":"b"}') == [b'{"text":"caf\xe9"}', {"text": "b"}]


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.txt"])
def test_a_byte_order_mark_is_not_part_of_the_first_document(read, name):
    content = {"a.jsonl": '{"text":"one"}', "a.csv": "text\none\n", "a.txt": "one"}[name]
    assert read(name, b"\xef\xbb\xbf" + content.encode()) == [{"text": "one"}]


def test_gzip_is_unpacked_by_the_name_before_it(read):
    assert read("a.jsonl.gz", gzip.compress(b'{"text":"one"}\n')) == [{"text": "one"}]
    assert read("a.csv.gz", gzip.compress(b"text\none\n")) == [{"text": "one"}]
    assert read("a.txt.gz", gzip.compress(b"one\n")) == [{"text": "one"}]


@pytest.mark.parametrize(
    "content",
    [b"no gzip", gzip.compress(b'{"text":"one"}\n' * 500)[:-20], gzip.compress(b"x" * 99)[:12] + b"\xff" * 40],
    ids=["not gzip", "cut off", "damaged"],
)
def test_a_damaged_gzip_is_told_in_one_line(read, content):
    with pytest.raises(BadFile) as caught:
        read("a.jsonl.gz", content)
    assert "a.jsonl.gz" in caught.value.line
    assert "\n" not in caught.value.line


@pytest.mark.parametrize("ask", [feed.size, lambda path: list(feed.read(path, {}))], ids=["size", "read"])
def test_a_file_that_is_not_there_is_told(tmp_path, ask):
    with pytest.raises(Misconfigured, match=r"none\.jsonl cannot be read"):
        ask(str(tmp_path / "none.jsonl"))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(BadFile):
        list(feed.read(str(tmp_path), {}))


def test_csv_knows_quotes_line_breaks_and_empty_cells(read):
    rows = read("a.csv", f'text,title,author\r\n"one, ""two""\r\nthree",{ZH},\r\n')
    assert rows == [{"text": 'one, "two"\r\nthree', "title": ZH}]


def test_csv_cells_become_numbers_lists_and_flags(read):
    (row,) = read("a.csv", "text,published_at,symbols,retracted\na,1770000000000,HTN;XYZ,True\n")
    assert row == {"text": "a", "published_at": 1_770_000_000_000, "symbols": ["HTN", "XYZ"], "retracted": True}


@pytest.mark.parametrize("when", ["²", "9" * 5_000, "-5", "1.5", "2026-02-01T09:30:00Z", "soon"])
def test_a_time_that_is_no_whole_number_is_left_for_ingest_to_judge(read, when):
    assert read("a.csv", f"text,published_at\na,{when}\n") == [{"text": "a", "published_at": when}]


def test_a_cell_that_is_too_long_for_a_document_is_left_for_ingest_to_refuse(read):
    assert [len(row["text"]) for row in read("a.csv", "text\n" + "a" * 200_000 + "\nb\n")] == [200_000, 1]


def test_a_csv_that_cannot_be_read_is_told(read):
    with pytest.raises(BadFile, match=r"a\.csv"):
        read("a.csv", "text\n" + "a" * 2_000_000 + "\n")


def test_csv_rows_that_are_short_or_long_keep_what_they_have(read):
    assert read("a.csv", "text,title\na\nb,c,d,e\n") == [{"text": "a"}, {"text": "b", "title": "c"}]


def test_plain_text_is_one_document_a_line(read):
    assert read("a.txt", f"one\n\n  {ZH}  \n") == [{"text": "one"}, {"text": ZH}]


def test_other_columns_take_our_names_and_hide_ours(read):
    rows = read("a.jsonl", '{"body":"one","text":"not this","ts":5,"id":"x"}', text="body", published_at="ts")
    assert rows == [{"text": "one", "published_at": 5, "id": "x"}]


def test_columns_that_documents_do_not_have_stay_behind(read):
    assert read("a.jsonl", '{"text":"a","colour":"red"}') == [{"text": "a"}]


def test_every_field_of_a_document_may_be_in_a_file(read):
    full = {"text": "a", "id": "i", "title": "t", "url": "u", "source": "s", "author": "w", "published_at": 5, "lang": "en",
            "symbols": ["X"], "engagement": {"likes": 1}, "parent_id": "p", "retracted": True, "feed": "news"}  # fmt: skip
    assert read("a.jsonl", json.dumps(full)) == [full]


def test_a_mapping_is_ours_equals_theirs():
    assert feed.parse_map(("text=body", "published_at=time=utc")) == {"text": "body", "published_at": "time=utc"}


@pytest.mark.parametrize("pair", ["text", "headline=body", "=body", ""])
def test_a_mapping_of_nothing_we_have_is_refused(pair):
    with pytest.raises(BadFile, match="no mapping"):
        feed.parse_map((pair,))


@pytest.mark.parametrize(
    ("content", "documents"),
    [
        (b'{"text":"one"}\n', [{"text": "one"}]),
        (b'\n\n  {"text":"one"}\n', [{"text": "one"}]),
        (b'\xef\xbb\xbf{"text":"one"}\n', [{"text": "one"}]),
        (b"one\ntwo\n", [{"text": "one"}, {"text": "two"}]),
        (b'\none\n{"text":"two"}\n', [{"text": "one"}, {"text": '{"text":"two"}'}]),
        (b"", []),
    ],
)
def test_standard_input_is_jsonl_or_plain_text_by_its_first_line(monkeypatch, content, documents):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))
    assert [line.fields for line in feed.read("-", {})] == documents
    assert feed.size("-") is None


def test_the_position_reaches_the_size_of_the_file(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text":"one"}\n' * 3)
    positions = [line.position for line in feed.read(str(path), {})]
    assert positions == sorted(positions)
    assert positions[-1] == feed.size(str(path))


@given(st.binary(max_size=200), st.sampled_from(["a.jsonl", "a.csv", "a.txt"]))
def test_no_file_makes_it_fail_other_than_by_name(tmp_path_factory, content, name):
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(content)
    try:
        lines = list(feed.read(str(path), {"text": "body"}))
    except BadFile:
        return
    assert all(line.raw if line.fields is None else isinstance(line.fields, dict) for line in lines)


@pytest.mark.parametrize(
    ("given_time", "ms"),
    [(5, 5), (5.6, 6), ("1970-01-01T00:00:01Z", 1_000), ("1970-01-01T08:00:00+08:00", 0), ("soon", None), (None, None),
     ("2026-02-01", None), (float("inf"), None), (float("nan"), None), ([], None)],
)  # fmt: skip
def test_the_event_time_of_a_raw_document_is_read_where_it_can_be(given_time, ms):
    assert feed.published_ms({"published_at": given_time}) == ms


@given(st.integers(631_152_000_000, 253_402_300_799_999))
def test_a_time_written_and_read_is_the_same_millisecond(at_ms):
    assert times.parse_ms(times.rfc3339(at_ms)) == at_ms
