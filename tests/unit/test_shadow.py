"""The ledger of a shadow: which surges both tell, which one alone, and when that is said."""

import json
from pathlib import Path

import msgspec
import pytest

from groundswell import times
from groundswell.commands import shadow as command
from groundswell.records import AlertEvent
from stream.past.shadow import SETTLE_S, Ledger

GOLDEN = Path(__file__).parents[1] / "contract" / "golden" / "alert.json"
NOON_MS = 1_770_000_000_000


def fired(
    episode: str, subject: str = "XNAS:AAPL", minute: int = 0, onset: int = 0, rule: str = "negative-surge"
) -> AlertEvent:
    event = msgspec.convert(json.loads(GOLDEN.read_text(encoding="utf-8")), AlertEvent)
    data = msgspec.structs.replace(
        event.data, episode_id=episode, subject=msgspec.structs.replace(event.data.subject, id=subject),
        started_at=times.rfc3339(NOON_MS + onset * 60_000), detected_at=times.rfc3339(NOON_MS + minute * 60_000),
        rule=msgspec.structs.replace(event.data.rule, id=rule),
    )  # fmt: skip
    return msgspec.structs.replace(event, type="alert.firing", data=data)


def test_what_both_tell_is_no_news_and_its_lead_is_known() -> None:
    ledger = Ledger(NOON_MS)
    ledger.hear("shadow", fired("a", minute=4), 0.0)
    ledger.hear("live", fired("b", minute=9, onset=2), 1.0)  # another onset, so another id
    assert ledger.news(100.0) == []
    assert ledger.summary() == {"both": 1, "shadow_earlier_min": 5.0, "only_shadow": [], "only_live": []}


@pytest.mark.parametrize(
    ("side", "words"), [("live", "the live setting fired, more would not"), ("shadow", "more would fire, the live")]
)
def test_what_one_side_tells_is_said_once_after_a_while(side: str, words: str) -> None:
    ledger = Ledger(NOON_MS)
    ledger.hear(side, fired("a"), 0.0)  # type: ignore[arg-type]
    assert ledger.news(SETTLE_S - 1) == []
    [one] = ledger.news(SETTLE_S)
    assert words in command.line(one, "more")
    assert ledger.news(SETTLE_S + 50) == []
    assert len(ledger.summary()[f"only_{side}"]) == 1


def test_the_other_side_that_comes_later_is_said_too() -> None:
    ledger = Ledger(NOON_MS)
    ledger.hear("shadow", fired("a", minute=1), 0.0)
    assert len(ledger.news(60.0)) == 1
    ledger.hear("live", fired("a", minute=7), 360.0)
    [one] = ledger.news(361.0)
    assert "both now, more 6 min earlier" in command.line(one, "more")
    assert ledger.news(999.0) == []


def test_surges_of_others_of_before_and_of_hours_apart_are_not_the_same() -> None:
    ledger = Ledger(NOON_MS)
    ledger.hear("live", fired("old", minute=-1), 0.0)
    ledger.hear("live", fired("a", minute=1), 0.0)
    ledger.hear("shadow", fired("b", "XNAS:MSFT", minute=1), 0.0)
    ledger.hear("shadow", fired("c", minute=300, onset=290), 0.0)
    ledger.hear("live", fired("d", "TEST:DRILL1", minute=1), 0.0)
    found = ledger.summary()
    assert (found["both"], len(found["only_shadow"]), len(found["only_live"])) == (0, 2, 1)


def test_rules_of_ones_own_are_compared_only_when_they_are_asked_for() -> None:
    plain, rules = Ledger(NOON_MS), Ledger(NOON_MS, by_rules=True)
    for ledger in (plain, rules):
        ledger.hear("shadow", fired("a", minute=1, rule="loud"), 0.0)
        ledger.hear("shadow", fired("b", "XNAS:MSFT", minute=1), 0.0)
        ledger.hear("live", fired("c", minute=2), 0.0)
    assert [one["subject"] for one in plain.summary()["only_shadow"]] == ["XNAS:MSFT"]
    assert rules.summary()["both"] == 1
    assert rules.summary()["only_shadow"] == []


def test_the_end_is_told_in_words() -> None:
    ledger = Ledger(NOON_MS)
    ledger.hear("shadow", fired("a", minute=4), 0.0)
    said = command.summary(command._found(ledger, "balanced", "more", 7200.0))
    assert said.startswith("2.0 h: both fired 0 times; only more 1 times, only the live setting (balanced) 0 times.")
    assert "only more" in said.splitlines()[1]
