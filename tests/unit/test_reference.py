"""docs/reference/ says what the code does today, and everything in it has a sentence."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "reference.py"


@pytest.fixture(scope="module")
def reference() -> Any:
    spec = importlib.util.spec_from_file_location("reference", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(reference: Any) -> tuple[dict[str, str], set[str]]:
    found: tuple[dict[str, str], set[str]] = reference.made()
    return found


def test_the_pages_are_what_the_code_gives(reference, made):
    there = {file.name: file.read_text(encoding="utf-8") for file in reference.FOLDER.glob("*.md")}
    differ = sorted(name for name in there.keys() | made[0].keys() if there.get(name) != made[0].get(name))
    assert not differ, f"docs/reference/ is older than the code: {', '.join(differ)}. Run `make reference`."


def test_no_chinese_sentence_is_left_whose_english_has_changed(made):
    assert not made[1], f"Write these anew in scripts/reference.zh.json: {sorted(made[1])}"


def test_nothing_is_without_a_sentence(made):
    blank = [
        f"{name}: {line}"
        for name, page in made[0].items()
        for line in page.splitlines()
        if line.startswith("| `") and line.endswith("|  |")
    ]
    assert not blank, "Write what it is beside it in the code."


def test_every_page_says_first_what_it_is_made_by(made):
    assert all("make reference" in page.partition("\n")[0] for page in made[0].values())


def test_text_that_looks_like_markup_stays_text(reference):
    assert reference.text("a|b <c> *d* `e|f <g>`\n h") == r"a\|b \<c> \*d\* `e|f <g>` h"
    row = list(reference.table(reference.Voice("en", {}), ["does"], [[reference.code("[a|b]")]]))[2]
    assert row == r"| `[a\|b]` |"


def test_a_heading_without_chinese_stops_the_making(reference):
    with pytest.raises(reference.Unwritten, match="no Chinese for 'Topics'"):
        reference.Voice("zh", {}).say("Topics")
