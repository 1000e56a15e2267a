"""Chinese and English say the same things, and no text from the world can become markup."""

import hashlib
import json
import re
import string
from enum import StrEnum
from pathlib import Path

import pytest

from groundswell.decisions import SubjectState

DASHBOARD = Path(__file__).resolve().parents[2] / "dashboard"
TEMPLATES = sorted((DASHBOARD / "templates").glob("*.html"))
MODULES = sorted((DASHBOARD / "static").glob("*.js"))
FILES = {
    language: {
        path.stem: json.loads(path.read_text("utf-8")) for path in (DASHBOARD / "words" / language).glob("*.json")
    }
    for language in ("en", "zh")
}
WORDS = {
    language: {key: text for words in files.values() for key, text in words.items()}
    for language, files in FILES.items()
}
VENDORED = DASHBOARD / "static" / "vendor" / "uplot"
ENUMS: tuple[tuple[str, type[StrEnum]], ...] = (("state", SubjectState),)
KEY = re.compile(r"^[a-z]+(\.[a-z0-9_]+)*$")


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_texts_with_the_same_places() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    assert {key: places(text) for key, text in WORDS["en"].items()} == {
        key: places(text) for key, text in WORDS["zh"].items()
    }


def test_a_text_is_in_one_file_and_in_the_same_one_in_both_languages() -> None:
    assert {name: words.keys() for name, words in FILES["en"].items()} == {
        name: words.keys() for name, words in FILES["zh"].items()
    }
    for language, files in FILES.items():
        assert sum(len(words) for words in files.values()) == len(WORDS[language])


def test_no_text_is_empty_and_chinese_is_written_in_chinese() -> None:
    latin_by_right = {"nav.other_language", "subjects.range"}
    for key, text in WORDS["zh"].items():
        assert text.strip(), key
        assert WORDS["en"][key].strip(), key
        words = re.search("[A-Za-z]", re.sub(r"\{\w+\}", "", text))
        assert key in latin_by_right or not words or re.search("[\u4e00-\u9fff]", text), key


@pytest.mark.parametrize(("kind", "enum"), ENUMS)
def test_every_decision_a_page_shows_has_its_word_in_both(kind: str, enum: type[StrEnum]) -> None:
    for language in WORDS.values():
        assert {f"{kind}.{member.value}" for member in enum} <= language.keys()


def test_every_text_that_is_asked_for_is_written_and_every_written_one_is_asked_for() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in [*TEMPLATES, *MODULES, *DASHBOARD.rglob("*.py")])
    asked = set(re.findall(r"""(?:\bt|\bsay)\(\s*["']([a-z0-9_.]+[a-z0-9_])["']\s*[,)]""", sources))
    assert asked <= WORDS["en"].keys()
    # Keys that are made of a member or a choice: t('nav.' ~ one), say(`chart.per_${step}`), word("state", row.state).
    made = {*re.findall(r"""["'`]([a-z]+\.[a-z0-9_.]*)(?:["'] ~|\$\{)""", sources)}
    made |= {f"{kind}." for kind in re.findall(r"""\b(?:word|name)\([^"'`)]*["']([a-z_.]+)["']""", sources)}
    made |= {"form.", "feed."}  # offered to every page
    quoted = set(re.findall(r"""["'`]([a-z]+\.[a-z0-9_.]+)["'`]""", sources))
    idle = {key for key in WORDS["en"] if key not in asked | quoted and not key.startswith(tuple(made))}
    assert idle == set()


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_a_template_holds_no_bare_words_and_trusts_no_text(path: Path) -> None:
    text = path.read_text("utf-8")
    assert "|safe" not in text.replace(" ", "")
    assert "autoescape" not in text
    assert not re.search(r"\sstyle=|\son[a-z]+=", text), "the policy forbids inline style and handlers"
    shown = re.sub(
        r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<(script|title|code|pre)\b.*?</\1>|<[^>]+>", " ", text, flags=re.DOTALL
    )
    bare = set(re.findall(r"[A-Za-z\u4e00-\u9fff]{2,}", shown)) - {"Groundswell", "nbsp", "UTC"}
    assert bare == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_a_module_makes_no_markup_of_strings(path: Path) -> None:
    text = path.read_text("utf-8")
    for banned in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
        "DOMParser",
    ):
        assert banned not in text


def test_the_drawing_library_is_the_one_that_was_checked() -> None:
    source = (VENDORED / "SOURCE").read_text("utf-8")
    for name in ("uPlot.iife.min.js", "uPlot.min.css"):
        assert f"{hashlib.sha256((VENDORED / name).read_bytes()).hexdigest()}  {name}" in source
    assert "MIT" in (VENDORED / "LICENSE").read_text("utf-8")
