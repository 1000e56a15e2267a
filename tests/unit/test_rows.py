"""The sentences written for this project: filled as labelled, checked for copies and leaks, and the shipped ones pass."""

import gzip
import json
import os
import random
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from models.labels import SENTIMENTS, TOPICS
from models.learn import check_rows, near_copies
from models.learn.check_rows import Problem, check
from models.learn.rows import BadRow, Row, fill, part_of, translated

NAMES = ["Alfa Steel", "Beta Foods", "Gamma Air"]
FILLERS = {
    "train": {"NAME": NAMES, "ORG": ["the retailer"], "PCT": ["12%"]},
    "test": {"NAME": ["Delta Bank", "Epsilon Oil", "Zeta Mines"], "ORG": ["the lender"], "PCT": ["13%"]},
}


# filling


@given(st.integers(0, 500), st.sampled_from(["train", "dev", "test"]))
def test_a_letter_keeps_its_name_and_no_two_share_one(seed, part):
    row = Row(
        "{A} sues {B}; {C} backs {A}, not {B}", "neutral", targets={"A": "negative", "B": "neutral", "C": "positive"}
    )
    filled = fill(row, FILLERS, part, random.Random(seed))
    found = {label: filled.text[slice(*span)] for span, label in filled.targets}
    a, b, c = found["negative"], found["neutral"], found["positive"]
    assert filled.text == f"{a} sues {b}; {c} backs {a}, not {b}"
    assert len({a, b, c}) == 3
    assert {a, b, c} <= set(FILLERS["test" if part == "test" else "train"]["NAME"])


@given(st.integers(0, 200))
def test_the_only_company_of_a_row_is_where_its_name_stands(seed):
    filled = fill(Row("Shares in {ORG} fell {PCT}", "negative"), FILLERS, "train", random.Random(seed))
    ((span, label),) = filled.targets
    assert label == "negative"
    assert filled.text == f"Shares in {filled.text[slice(*span)]} fell 12%"
    assert filled.text[slice(*span)] in {*NAMES, "the retailer"}


@pytest.mark.parametrize("skeleton", ["{ORG} buys {ORG}", "Markets fell {PCT}"])
def test_what_is_said_of_each_of_two_companies_or_of_none_is_not_known(skeleton):
    assert fill(Row(skeleton, "negative"), FILLERS, "train", random.Random(0)).targets == []


def test_a_slot_twice_gets_two_names():
    for seed in range(50):
        one, other = fill(Row("{ORG} sues {ORG}", "neutral"), FILLERS, "train", random.Random(seed)).text.split(
            " sues "
        )
        assert one != other


def test_places_are_unknown_where_normalising_moves_them():
    moved = {"train": {"NAME": ["A &amp; B"], "ORG": ["A &amp; B"]}}
    filled = fill(Row("{A} fell", "negative", targets={"A": "negative"}), moved, "train", random.Random(0))
    assert (filled.text, filled.targets) == ("A & B fell", [])


def test_a_slot_without_fillers_is_named():
    with pytest.raises(BadRow, match="PLANET"):
        fill(Row("{PLANET}", "neutral"), FILLERS, "train", random.Random(0))


# checking


def near(one, other):
    return near_copies.near_copies([one, other], 0.6) != []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Profit at X fell sharply in the year", "profit at X fell sharply in the year!"),
        ("X未能如期兑付债券利息，构成违约", "X未能按期兑付债券利息，构成违约。"),
        ("X 🚀🚀🚀", "X 🚀🚀🚀"),
    ],
)
def test_copies_are_near(one, other):
    assert near(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Profit at X fell sharply in the year", "X names a new head of finance"),
        ("X未能如期兑付债券利息", "X任命新的财务负责人"),
        ("X 🚀🚀🚀", "X 💩"),
    ],
)
def test_other_sentences_are_not_near(one, other):
    assert not near(one, other)


@given(st.lists(st.text("ab ", max_size=12), max_size=12), st.sampled_from([0.3, 0.5, 0.8]))
def test_all_near_copies_are_found(texts, alike):
    sets = [near_copies.shingles(text) for text in texts]
    expected = {
        (a, b) for b in range(len(sets)) for a in range(b) if len(sets[a] & sets[b]) / len(sets[a] | sets[b]) >= alike
    }
    assert {(a, b) for a, b, _ in near_copies.near_copies(texts, alike)} == expected


GRID = [
    {"skeleton": f"{{ORG}} {topic} {label} {register} {n}", "label": label, "topics": [topic], "register": register}
    for topic in TOPICS
    for label in SENTIMENTS
    for register in check_rows.REGISTERS
    for n in ("one", "two", "three")
]


@pytest.fixture
def folder(tmp_path):
    """Rows so few that all cells of the grid are empty, and otherwise in order."""
    for language in check_rows.LANGUAGES:
        (tmp_path / f"slots_{language}.json").write_text(json.dumps(FILLERS))
        write(tmp_path, f"{language}_translated", [])
    write(tmp_path, "en", [row("{ORG} cuts its dividend after a poor harvest")])
    write(tmp_path, "zh", [row("{ORG}因原料涨价下调全年指引")])
    write(tmp_path, "pairs", [{"en": "Oil is up", "zh": "油价上涨", "label": "positive"}])
    write(tmp_path, "calm", [{"text": "A course on bankruptcy law", "lang": "en"}])
    write(tmp_path, "swaps", [{"skeleton": "{ORG} has opened a shop", "label": "neutral", "lang": "en"}])
    return tmp_path


def row(skeleton, label="negative", **more):
    return {"skeleton": skeleton, "label": label, **more}


def write(folder, name, found):
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in found), "utf-8")


def problems(folder, data=None):
    return [problem for problem in check(folder, data).problems if problem.kind != "cell"]


def part_named(wanted, text):
    """The text, with a blank or so more, as a skeleton of that part."""
    return next(found for n in range(99) if part_of(found := f"{text} no {n}") == wanted)


def test_rows_in_order_have_no_problem(folder):
    assert problems(folder) == []


def test_cells_without_rows_are_named(folder):
    empty = [problem.text for problem in check(folder).problems if problem.file == "en.jsonl"]
    assert len(empty) == len(TOPICS) * len(SENTIMENTS) * len(check_rows.REGISTERS)
    write(folder, "en", GRID)
    report = check(folder)
    assert not [problem for problem in report.problems if (problem.kind, problem.file) == ("cell", "en.jsonl")]
    assert report.languages["en"].thin_cells == {}
    write(folder, "en", GRID[1:])
    assert check(folder).languages["en"].thin_cells == {"earnings, negative, wire": 2}


def test_a_planted_copy_is_found(folder):
    one, other = (
        part_named("train", f"{{ORG}} cuts its dividend after a {kind} harvest in the far south")
        for kind in ("poor", "bad")
    )
    write(folder, "en", [row(one), row(other)])
    assert [(problem.kind, problem.text) for problem in problems(folder)] == [("copy", other)]
    write(folder, "en", [row(one), row(one)])
    assert [(problem.kind, problem.text) for problem in problems(folder)] == [("copy", one)]


def test_copies_of_different_labels_are_contrasts_unless_they_are_the_same(folder):
    write(
        folder,
        "en",
        [
            row("{ORG} may be sold, says its chairman"),
            row("{A} may be sold, says its chairman.", "positive", targets={"A": "positive"}),
        ],
    )
    assert [problem.kind for problem in problems(folder)] == ["conflict"]
    pair = [
        row("{ORG} may not be sold, says its new chairman"),
        row("{ORG} may be sold, says its new chairman", "positive"),
    ]
    write(folder, "en", pair)
    assert problems(folder) == []
    assert check(folder).languages["en"].contrasts == 1


def test_a_test_row_that_a_training_row_gives_away_is_found(folder):
    learned = part_named("train", "{ORG} cuts its dividend after a poor harvest in the south")
    measured = part_named("test", "{ORG} cuts its dividend after a bad harvest in the south")
    write(folder, "en", [row(measured), row(learned)])
    assert [(problem.kind, problem.text) for problem in problems(folder)] == [("given away", learned)]


def test_a_translation_says_what_its_original_says(folder):
    original = {**row(part_named("train", "{A} sues {B}"), "neutral"), "targets": {"A": "neutral", "B": "negative"}}
    write(folder, "en", [original])
    told = {"of": original["skeleton"], "skeleton": "{A}起诉{B}"}
    write(folder, "zh_translated", [told, told])
    (found,) = translated("zh", folder)
    assert found == Row("{A}起诉{B}", "neutral", targets={"A": "neutral", "B": "negative"})


@pytest.mark.parametrize(
    ("part", "skeleton", "why"),
    [("test", "{A}起诉{B}", "not a translation of"), ("dev", "{A}起诉{B}", "not a translation of"), ("train", "{A}败诉", "letters")],
)  # fmt: skip
def test_a_translation_of_what_is_measured_or_without_a_company_is_refused(folder, part, skeleton, why):
    original = {**row(part_named(part, "{A} sues {B}"), "neutral"), "targets": {"A": "neutral", "B": "negative"}}
    write(folder, "en", [original])
    write(folder, "zh_translated", [{"of": original["skeleton"], "skeleton": skeleton}])
    with pytest.raises(BadRow, match=why):
        translated("zh", folder)
    assert "unreadable" in [problem.kind for problem in problems(folder)]


def test_a_translation_that_gives_a_test_row_away_is_found(folder):
    measured = part_named("test", "{ORG} cuts its dividend after a very poor harvest of apples")
    original = part_named("train", "{ORG}因苹果歉收削减股息")
    write(folder, "en", [row(measured)])
    write(folder, "zh", [row(original)])
    write(folder, "en_translated", [{"of": original, "skeleton": measured + " again"}])
    (found,) = problems(folder)
    assert (found.kind, found.file) == ("given away", "en_translated.jsonl")


@pytest.mark.parametrize(
    ("file", "skeleton", "repeated"),
    [
        ("pairs", "{ORG} pulls its listing for lack of demand", "Kestrel pulls its listing for lack of demand from funds"),
        ("calm", "The fund is not a bank and may lose money in any year", "it may lose money in any year"),
        ("swaps", "{ORG} has opened its first shop in {ORG}", "{ORG} has opened its first shop in town"),
    ],
)  # fmt: skip
def test_a_text_to_measure_with_that_a_training_row_gives_away_is_found(folder, file, skeleton, repeated):
    learned = skeleton if part_of(skeleton) != "test" else part_named("train", skeleton)
    write(folder, "en", [row(learned)])
    write(
        folder,
        file,
        [{"en": repeated, "zh": "无关", "text": repeated, "skeleton": repeated, "label": "neutral", "lang": "en"}],
    )
    expected = [] if file == "calm" else [("given away", learned)]
    assert [(problem.kind, problem.text) for problem in problems(folder)] == expected


@pytest.mark.parametrize(
    ("skeleton", "kind", "why"),
    [
        ("{PLANET} falls", "slot", "PLANET"),
        ("{ORG falls", "slot", "braces"),
        ("{org} falls", "slot", "braces"),
        (" {ORG} falls", "untidy", "blanks"),
        ("{ORG} falls\tagain", "untidy", "tabs"),
        ("{ORG} falls &amp; falls", "untidy", "normalising"),
    ],
)
def test_a_bad_skeleton_is_found(folder, skeleton, kind, why):
    write(folder, "en", [row(skeleton)])
    (problem,) = problems(folder)
    assert (problem.kind, problem.text) == (kind, skeleton)
    assert why in problem.why


def test_a_filler_of_both_parts_is_found(folder):
    shared = json.loads(json.dumps(FILLERS))
    shared["test"]["NAME"].append("ALFA steel")
    (folder / "slots_en.json").write_text(json.dumps(shared))
    assert problems(folder) == [Problem("filler", "slots_en.json", "ALFA steel", "fills NAME in train and in test")]


@pytest.mark.parametrize("name", ["en", "calm"])
def test_a_line_that_cannot_be_read_is_a_problem_and_no_crash(folder, name):
    with (folder / f"{name}.jsonl").open("a") as file:
        file.write("not json\n")
    (problem,) = problems(folder)
    assert (problem.kind, problem.file) == ("unreadable", f"{name}.jsonl")
    assert "line 2" in problem.why


def csv_gz(path, text):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(f'id,text\n1,"{text}"\n')


def json_gz(path, text):
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.write(json.dumps({"id": 1, "entities": [{"text": text}]}) + "\n")


@pytest.mark.parametrize(("name", "written"), [("set/train.csv.gz", csv_gz), ("replay.jsonl.gz", json_gz)])
@pytest.mark.parametrize(
    ("language", "skeleton", "text"),
    [
        ("en", "{ORG} cuts its dividend after a poor harvest, says the board", "News: it CUTS ITS DIVIDEND, after a poor harvest; says"),
        ("zh", "{ORG}因原料涨价而下调全年业绩指引", "公司又因原料涨价而下调全年业绩目标"),
    ],
)  # fmt: skip
def test_a_planted_leak_is_found_in_any_file(folder, tmp_path, name, written, language, skeleton, text):
    data = tmp_path / "data"
    (data / name).parent.mkdir(parents=True)
    written(data / name, text)
    write(folder, language, [row(skeleton)])
    (problem,) = problems(folder, data)
    assert (problem.kind, problem.text) == ("leak", skeleton)
    assert name in problem.why


def test_words_across_a_slot_or_too_few_are_no_leak(folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    csv_gz(data / "train.csv.gz", "it cuts its dividend by a poor harvest, and 公司因原料涨价下调了")
    write(
        folder,
        "en",
        [row("it cuts its dividend by {PCT} a poor harvest and"), row("its dividend by a poor harvest and")],
    )
    assert problems(folder, data) == []


def test_the_shipped_rows_have_no_problem():
    report = check()
    assert report.problems == []
    for spread in report.languages.values():
        assert spread.skeletons >= 1_200
        assert spread.thin_cells == {}


@pytest.mark.skipif(
    "GROUNDSWELL_DATA" not in os.environ, reason="GROUNDSWELL_DATA does not name a folder of public sets."
)
def test_no_row_shares_a_run_of_words_with_a_public_set():
    report = check(data=Path(os.environ["GROUNDSWELL_DATA"]))
    assert [problem for problem in report.problems if problem.kind == "leak"] == []


def test_the_command_reports_for_people_and_for_programs(monkeypatch, folder):
    monkeypatch.setattr(check_rows, "check", lambda data=None: check(folder, data))
    shown = CliRunner().invoke(check_rows.main, [])
    assert shown.exit_code == 1
    assert "264" in shown.output
    assert "leaks not looked for" in shown.output
    told = json.loads(CliRunner().invoke(check_rows.main, ["--json"]).output)
    assert told["languages"]["zh"]["skeletons"] == 1
