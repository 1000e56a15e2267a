"""A user's labelled file is read as people write them, and what cannot be used is told in one line."""

import csv
import gzip
import io
import json

import pytest

from models.measure import evaluate, labelled_file
from models.measure.labelled_file import BadLabelledFile, UnknownLabel
from tests.unit.model_folder import tiny_model


def written(path, content):
    raw = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize(
    ("word", "label"),
    [(word, label) for label, words in labelled_file.SPELLINGS.items() for word in (*words, words[0].upper())]
    + [(" Bearish ", "negative"), ("利好", "positive"), ("＋1", "positive")],
)
def test_common_spellings_of_a_label_are_known(word, label):
    assert labelled_file.label_of(word, "line 2") == label


def test_an_unknown_label_is_told_with_its_line_and_what_is_known(tmp_path):
    path = written(tmp_path / "a.csv", "text,label\nfine,pos\n\nodd,mixed\x1b[31m\n")
    with pytest.raises(UnknownLabel) as caught:
        labelled_file.read(path)
    assert "a.csv line 4: the label 'mixed[31m' is not known" in caught.value.line
    assert all(word in caught.value.line for word in ("bearish", "中性", "利好"))


def test_signed_numbers_are_known_together_and_bare_ones_never(tmp_path):
    signed = written(tmp_path / "a.csv", "text,label\na,-1\nb,0\nc,1\n")
    assert [row.label for row in labelled_file.read(signed)] == [0, 1, 2]
    for content in ('{"text": "a", "label": 0}\n{"text": "b", "label": 2}', '{"text": "b", "label": 1}'):
        with pytest.raises(UnknownLabel, match="line 1"):
            labelled_file.read(written(tmp_path / "b.jsonl", content))


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl", "A.JSONL.gz"])
def test_csv_and_json_lines_read_alike_gzipped_or_not(tmp_path, name):
    found = [
        {"text": "亏损扩大，\n股价下跌", "label": "负面"},
        {"text": 'Profit "soars"', "label": "Positive", "title": "News"},
    ]
    if "csv" in name:
        sink = io.StringIO(newline="")
        writer = csv.DictWriter(sink, ["text", "label", "title"])
        writer.writeheader()
        writer.writerows(found)
        content = "\ufeff" + sink.getvalue()
    else:
        content = "\n".join(json.dumps(row) for row in found)
    first, second = labelled_file.read(written(tmp_path / name, content))
    assert (first.text.whole, first.text.lang, first.label) == ("亏损扩大，\n股价下跌", "zh", 0)
    assert (second.text.whole, second.text.lang, second.label) == ('News\nProfit "soars"', "en", 2)


def test_an_entity_asks_for_its_own_place_and_one_that_is_not_there_is_counted(tmp_path, tmp_path_factory):
    path = written(
        tmp_path / "a.csv",
        "text,label,entity,lang\nBadger fell. Bad profit,neg,Bad,en\nprofit,neu,Nobody,\nTexte,pos,,fr-FR\n",
    )
    first, second, third = labelled_file.read(path)
    assert first.text.whole[slice(*first.text.spans[0])] == "Bad"
    assert first.text.spans == [(13, 16)]
    assert (second.missed, second.text.spans) == (True, [])
    assert (third.missed, third.text.lang) == (False, "other")
    note = evaluate.evaluate(str(path), None, str(tiny_model(tmp_path_factory.mktemp("model"))))["note"]
    assert "1 rows judged by their entity" in note
    assert "1 by the text" in note


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "text,tag\na,b\n", "no column label"),
        ("a.csv", "", "no column label and no column text"),
        ("a.csv", "text,label\n", "no row"),
        ("a.csv", "text,label\n,pos\n", "line 2 has no `text`"),
        ("a.csv", "text,label\nwords,\n", "line 2 has no `label`"),
        ("a.csv", b"text,label\n\xff,pos\n", "cannot be read"),
        ("a.csv.gz", None, "cannot be read"),
        ("a.jsonl", '{"text": "a", "label": "pos"}\n[1]\n', "line 2 is not a JSON object"),
        ("a.jsonl", "{text}", "line 1 is not JSON"),
        ("a.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("a.tsv", "text\tlabel\n", "none of .csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_told_in_one_line(tmp_path, name, content, words):
    path = tmp_path / name
    path.write_bytes(b"no gzip") if content is None else written(path, content)
    with pytest.raises(BadLabelledFile, match=words) as caught:
        labelled_file.read(path)
    assert "\n" not in caught.value.line
