"""`tag-text`, `tag-file` and `models` as a person runs them, with models small enough to make here."""

import csv
import gzip
import json
import os
import subprocess
import sys

import pytest

from tests.unit.tiny_classifier import tiny_classifier

LINES = [
    {"text": "Tesla is in a fraud probe", "id": "a", "title": "News"},
    {"text": "苹果创新高", "lang": "zh"},
    {"text": "It waits"},
]


@pytest.fixture
def run(tmp_path):
    def command(*arguments, given=None):
        return subprocess.run(
            [sys.executable, "-m", "groundswell", *arguments], cwd=tmp_path, input=given, capture_output=True, text=True,
            timeout=120, check=False, env=os.environ | {"GROUNDSWELL_MODEL": "scripted"},
        )  # fmt: skip

    return command


@pytest.fixture
def file(tmp_path):
    def write(name, content):
        raw = content.encode()
        (tmp_path / name).write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
        return name

    return write


def as_csv(rows):
    return "id,title,text\n" + "".join(f"{row.get('id', '')},{row.get('title', '')},{row['text']}\n" for row in rows)


def test_a_text_is_shown_to_people_and_told_to_programs(run):
    shown = run("tag-text", "Tesla is in a fraud probe.", "--title", "Trouble")
    assert shown.returncode == 0, shown.stderr
    assert "negative" in shown.stdout
    assert "Tesla" in shown.stdout
    told = json.loads(run("tag-text", "-", "--json", given="特斯拉造假。").stdout)
    assert (told["lang"], told["polarity"], told["companies"][0]["id"]) == ("zh", "negative", "XNAS:TSLA")


def test_a_text_with_nothing_to_read_is_told_in_one_line(run):
    done = run("tag-text", " \u200b ")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no text left" in done.stderr


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.csv", "a.csv.gz", "a.txt"])
def test_every_form_of_file_is_tagged(run, file, name):
    jsonl = "\n".join(json.dumps(row, ensure_ascii=False) for row in LINES)
    content = as_csv(LINES) if ".csv" in name else "\n".join(row["text"] for row in LINES) if ".txt" in name else jsonl
    done = run("tag-file", file(name, content), "--json")
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["polarity"] for one in found] == ["negative", "positive", "neutral"]
    first = 2 if ".csv" in name else 1
    assert [one["line"] for one in found] == [first, first + 1, first + 2]


def test_bad_lines_are_told_with_their_number_and_skipped(run, file, tmp_path):
    lines = [json.dumps(LINES[0]), "not json", json.dumps({"title": "t"}), "", json.dumps(LINES[2])]
    done = run("tag-file", file("a.jsonl", "\n".join(lines)), "--out", "b.jsonl", "--json")
    assert done.returncode == 1
    assert "line 2: It is not a JSON object" in done.stderr
    assert "line 3: It has no `text`" in done.stderr
    summary = json.loads(done.stdout)
    assert (summary["tagged"], summary["skipped"]) == (2, 2)
    assert [json.loads(line)["line"] for line in (tmp_path / "b.jsonl").read_text().splitlines()] == [1, 5]


def test_a_csv_output_has_every_probability_and_the_order_of_the_file(run, file, tmp_path):
    many = [{"text": f"{'fraud' if n % 2 else 'record profit'} {n}", "id": str(n)} for n in range(300)]
    done = run("tag-file", file("a.jsonl", "\n".join(map(json.dumps, many))), "--out", "b.csv.gz")
    assert done.returncode == 0, done.stderr
    assert "300 texts tagged (150 negative, 0 neutral, 150 positive)" in done.stderr
    with gzip.open(tmp_path / "b.csv.gz", "rt", newline="") as found:
        rows = list(csv.DictReader(found))
    assert [row["id"] for row in rows] == [row["id"] for row in many]
    assert all(abs(float(row["negative"]) + float(row["neutral"]) + float(row["positive"]) - 1) < 0.002 for row in rows)
    assert [path.name for path in tmp_path.iterdir() if "part" in path.name] == []


def test_another_column_can_be_named_and_is_hinted_at(run, file):
    name = file("a.csv", "body\nTesla is a fraud\n")
    missed = run("tag-file", name)
    assert missed.returncode == 1
    assert "--map text=COLUMN" in missed.stderr
    found = run("tag-file", name, "--map", "text=body")
    assert found.returncode == 0
    assert "Tesla -" in found.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.jsonl"], "cannot be read: No such file"),
        (["a.jsonl", "--out", "a.jsonl"], "is the file to read"),
        (["a.jsonl", "--out", "no/folder/b.csv"], "cannot be written"),
        (["a.jsonl", "--model", "acme/none"], "this machine holds no model of that name"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(run, file, tmp_path, arguments, words):
    file("a.jsonl", '{"text":"one"}\n')
    done = run("tag-file", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl"}


def test_a_file_is_tagged_by_a_classifier_of_somebody_else(run, file, tmp_path):
    folder = str(tiny_classifier(tmp_path / "tiny"))
    done = run("tag-file", file("a.jsonl", "\n".join(map(json.dumps, LINES))), "--model", folder, "--json")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["polarity"] for line in done.stdout.splitlines()] == ["negative", "positive", "neutral"]


def test_a_classifier_is_listed_shown_and_checked(run, tmp_path):
    folder = str(tiny_classifier(tmp_path / "tiny", ("POS", "NEG"), ("positive", "negative"), knows=("en",)))
    shown = run("models", "show", folder)
    assert "0 POS = positive, 1 NEG = negative; it knows no neutral" in shown.stdout
    checked = json.loads(run("models", "check", folder, "--json").stdout)
    assert (checked["languages"], checked["refused"]) == (["en"], "")
    assert {one["wanted"] for one in checked["answers"]} == {"positive", "negative"}
    assert "bundled" in run("models", "list").stdout


def test_a_swapped_classifier_is_shown_with_its_answers_and_refused(run, tmp_path):
    folder = str(tiny_classifier(tmp_path / "tiny", means=("positive", "neutral", "negative")))
    checked = run("models", "check", folder)
    assert checked.returncode == 1
    assert "filed for bankruptcy" in checked.stdout
    assert "says the opposite in en, zh" in checked.stdout
    tagged = run("tag-text", "a fraud", "--model", folder)
    assert tagged.returncode == 2
    assert "en wanted negative got positive" in tagged.stderr
