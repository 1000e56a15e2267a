"""What docs/cases.md and docs/cases.zh.md tell happens: a rumour stays silent, a default is told, and an opening is only an opening.

The pasts of scripts/cases.py through the whole road once, with a subscriber: four processes, 2,428 texts and 5,500 minutes
that close one by one, so 20 s on two cores and more on busy ones. It is one play for all tests: an analyst has one installation.
"""

import asyncio
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from groundswell.commands.why import Answer
from groundswell.commands.why_words import sentences
from groundswell.decisions import Detected

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "scripts"))
from case_pasts import BEGIN, DAIRY, DEFAULT, END, ESTATES, NIGHT, OPENING, RUMOUR, SOLAR, TRUSTED, pasts  # noqa: E402
from cases import weekend  # noqa: E402

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
DOCUMENTS = {"en": ROOT / "docs" / "cases.md", "zh": ROOT / "docs" / "cases.zh.md"}


@dataclass
class Seen:
    """What the analyst sees."""

    why: dict[str, Answer] = field(default_factory=dict)
    counted: dict[str, dict[str, float]] = field(default_factory=dict)
    sent: list[dict[str, Any]] = field(default_factory=list)  # bodies, in order

    def about(self, subject: str) -> list[dict[str, Any]]:
        return [event for event in self.sent if event["data"]["subject"]["id"] == subject]


async def play(folder: Path) -> Seen:
    seen = Seen()
    async with weekend(folder) as week:
        await week.until(RUMOUR + 18 * MINUTE)
        seen.why["rumour"] = await week.why(DAIRY)
        await week.until(OPENING + 30 * MINUTE)
        seen.why["opening"] = await week.why(SOLAR)
        await week.until(END)
        seen.sent = await week.sent()
        seen.counted["rumour"] = await week.counted(DAIRY, RUMOUR, HOUR)
        seen.counted["night"] = await week.counted(SOLAR, NIGHT, HOUR)
        seen.counted["opening"] = await week.counted(SOLAR, OPENING, HOUR)
    return seen


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return asyncio.run(play(tmp_path_factory.mktemp("cases")))


def moment(told: str | None) -> datetime:
    assert told is not None
    return datetime.fromisoformat(told)


def in_the_documents(lines: dict[str, list[str]]) -> None:
    for language, file in DOCUMENTS.items():
        text = file.read_text(encoding="utf-8")
        for line in lines[language]:
            assert line in text, f"{file.name} does not say: {line}"


def test_the_rumour_crosses_the_line_and_is_held_since_one_man_says_it(seen: Seen) -> None:
    answer = seen.why["rumour"]
    assert answer.why is not None
    assert answer.why.decision == Detected.HELD_FEW_VOICES
    assert answer.why.ln_m > answer.why.ln_h, "it has to be the voices that hold it, not the counts"
    in_the_documents({"en": sentences(answer, "en"), "zh": sentences(answer, "zh")})


def test_nobody_is_told_of_the_rumour_however_often_it_is_copied(seen: Seen) -> None:
    counted = seen.counted["rumour"]
    assert counted["reach"] - counted["mentions"] >= 150, "copies are reach"
    assert counted["mentions"] < 25
    assert counted["negatives"] > 3 * counted["expected"], "and still far more than usual"
    assert seen.about(DAIRY) == []


def test_the_default_is_told_by_its_first_sure_text_then_as_a_surge(seen: Seen) -> None:
    single = [one for one in seen.about(ESTATES) if one["data"]["rule"]["id"] == "single-document"]
    surge = [one for one in seen.about(ESTATES) if one["data"]["rule"]["id"] == "negative-surge"]
    assert [one["type"] for one in single] == ["alert.firing", "alert.resolved"]
    assert moment(single[0]["data"]["detected_at"]) - DEFAULT < MINUTE
    assert single[0]["data"]["severity"] == "critical"
    assert [(one["type"], one["data"]["severity"]) for one in surge] == [
        ("alert.firing", "warning"), ("alert.updated", "critical"), ("alert.resolved", "critical"),
    ]  # fmt: skip
    assert len({one["data"]["episode_id"] for one in surge}) == 1
    assert DEFAULT < moment(surge[0]["data"]["detected_at"]) < DEFAULT + 5 * MINUTE
    assert moment(surge[-1]["data"]["resolved_at"]) < DEFAULT + 2 * HOUR
    assert [text["source"] for text in single[0]["data"]["documents"]] == [TRUSTED]
    assert surge[-1]["data"]["observed"]["negatives"] > 10 * surge[-1]["data"]["expected"]["negatives"]
    told = [one["data"]["summary"] for one in (*single, *surge)]
    episode = str(surge[0]["data"]["episode_id"])
    in_the_documents({language: [episode, *(summary[language] for summary in told)] for language in DOCUMENTS})


def test_the_same_posts_fire_at_night_and_not_at_the_opening(seen: Seen) -> None:
    night, opening = seen.counted["night"], seen.counted["opening"]
    assert night["negatives"] == opening["negatives"], "as many, since the posts are the same"
    assert opening["expected"] > 2 * night["expected"], "what is usual is not"
    fired = seen.about(SOLAR)
    assert [one["type"] for one in fired] == ["alert.firing", "alert.resolved"]
    assert NIGHT < moment(fired[0]["data"]["detected_at"]) < NIGHT + HOUR
    answer = seen.why["opening"]
    assert answer.why is not None
    assert answer.why.decision == Detected.BELOW_THRESHOLD
    assert not answer.why.learning
    in_the_documents({language: [one["data"]["summary"][language] for one in fired] for language in DOCUMENTS})
    in_the_documents({"en": sentences(answer, "en"), "zh": sentences(answer, "zh")})


def test_nothing_else_is_told_in_four_days(seen: Seen) -> None:
    assert {one["data"]["subject"]["id"] for one in seen.sent} == {ESTATES, SOLAR}


def test_the_same_seed_says_the_same_and_another_does_not() -> None:
    assert pasts() == pasts()
    assert pasts(seed=1) != pasts()
    said = [datetime.fromisoformat(one["published_at"]) for past in pasts().values() for one in past]
    assert min(said) >= BEGIN
    assert max(said) < END
