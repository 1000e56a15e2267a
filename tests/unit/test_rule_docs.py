"""docs/rules.md and its Chinese twin: their examples are rules that this version takes, and their tables name every key."""

import re
from pathlib import Path

import pytest

from stream.names import entities
from stream.names.directory import Directory
from stream.rulebook import rules_in_force
from stream.rulebook.rule_grammar import CONDITION_KEYS, HISTORY_KEYS, LIMITS, RULE_KEYS, define, read

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("rules.md", "rules.zh.md")


def examples(page: str) -> list[str]:
    return re.findall(r"```toml\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_the_five_examples_pass_the_check_that_apply_makes(page: str) -> None:
    found = examples(page)
    assert len(found) == 5
    directory = Directory(entities.load())
    topics = [one.removeprefix("topic:") for one in directory.ids if one.startswith("topic:")]
    for text in found:
        made = [define(one, page) for one in read(text, page)]
        matched = rules_in_force.check(made, page, list(directory.ids), topics, {"holdings": ["XNAS:AAPL"]}, 60)
        assert all(matched.values())


def test_both_languages_have_the_same_examples() -> None:
    assert examples(PAGES[0]) == examples(PAGES[1])


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_name_every_key_and_metric(page: str) -> None:
    tables = "\n".join(line for line in (DOCS / page).read_text("utf-8").splitlines() if line.startswith("|"))
    for key in (*RULE_KEYS, *(key for key in (*CONDITION_KEYS, *HISTORY_KEYS) if key != "comparison")):
        assert f"`{key}`" in tables, key
    for metric in LIMITS:
        assert f'`"{metric}"`' in tables
