"""The commands that docs/channels.md and docs/channels.zh.md give are taken by their channels, and both pages say the same."""

import re
import shlex
from pathlib import Path
from typing import get_args

import pytest

from alerts.channels import channel_of
from groundswell.records import Channel

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["channels.md", "channels.zh.md"]


def text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def commands(page: str) -> list[dict[str, str]]:
    """(address, channel, secret) of every `endpoints add`."""
    found = []
    for line in re.findall(r"^groundswell endpoints add .*$", text(page), re.MULTILINE):
        words = shlex.split(line)
        asked = {words[i].lstrip("-"): words[i + 1] for i in range(4, len(words), 2)}
        found.append({"url": words[3], "channel": asked["channel"], "secret": asked.get("secret", "")})
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_channel_but_the_webhook_has_a_command_that_its_channel_takes(page):
    found = commands(page)
    for one in found:
        channel_of(one["channel"]).check(one["url"], one["secret"])
    assert [one["channel"] for one in found] == [name for name in get_args(Channel) if name != "webhook"]


def test_both_pages_have_the_same_sections_commands_and_reasons():
    english, chinese = (text(page) for page in PAGES)
    for mark in ("\n## ", "\n### ", "```", "\n| "):
        assert english.count(mark) == chinese.count(mark)
    plain = [[{**one} for one in commands(page)] for page in PAGES]
    assert plain[0] == plain[1]
    reasons = [re.findall(r"^\| (`[a-z_0-9]+)", text(page), re.MULTILINE) for page in PAGES]
    assert reasons[0] == reasons[1]


def test_what_the_pages_quote_is_what_messages_say():
    from alerts.words import WORDS

    assert WORDS["en"]["firm"] in text(PAGES[0]).replace("\n> ", " ")
    assert WORDS["zh"]["firm"] in text(PAGES[1])
    assert "are normal for that time" in WORDS["en"]["counted"]
    assert "同时段通常为" in WORDS["zh"]["counted"]
