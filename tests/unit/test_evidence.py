"""Evidence is complete: from the frozen record alone the same decision comes out again, and a record that was touched says where."""

import copy
from typing import Any

import msgspec
import pytest

from groundswell.keys import MINUTE_MS
from stream.detection import evidence
from stream.detection.evidence import MOST_BYTES
from tests.unit.test_detect import CALM, MONDAY_MS, OTHER, SUBJECT, SURGE_MS, TOPIC, Player, Stream, one_each, played


def thawed(record: dict[str, Any]) -> dict[str, Any]:
    """Through JSON, as a file or a page has it."""
    found: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(record))
    return found


def long_surge() -> Player:
    """Five hours of it, by six a minute: more originals than a record can hold."""
    stream = Stream().quiet().surge(minutes=300, a_minute=6)
    return played(stream.quiet(minutes=90, start_ms=SURGE_MS + 300 * MINUTE_MS, seed=3))


LONG = long_surge()


def test_every_transition_can_be_decided_again_from_its_record() -> None:
    stream = Stream().quiet(subjects=(OTHER, TOPIC))
    for i in range(60):
        company = f"XTST:C{i % 12:03d}"
        stream.say(SURGE_MS + i * 6_000, subjects=(company, TOPIC), about=(company,))
    told = [*CALM.told, *played(stream).told]
    assert {one.evidence["transition"] for one in told} == {"alert.firing", "alert.updated", "alert.resolved"}
    assert {one.evidence["bucket_open"] for one in told} == {True, False}, "early looks too"
    assert [evidence.replay(thawed(one.evidence)) for one in told] == [None] * len(told)


def test_a_record_fits_and_one_that_cannot_hold_all_says_so() -> None:
    sizes = [len(msgspec.json.encode(one.evidence)) for one in [*CALM.told, *LONG.told]]
    assert max(sizes) <= MOST_BYTES
    answers = [evidence.replay(thawed(one.evidence)) for one in LONG.told]
    assert answers[0] is None
    assert answers[-1] is not None
    assert answers[-1].startswith("inputs.said: ")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda one: one["inputs"]["counts"].__setitem__(-1, 0), "ln_m.combined"),
        (lambda one: one["ln_m"].__setitem__("combined", 99.0), "ln_m.combined: 99.0"),
        (lambda one: one.__setitem__("severity", "notice"), "severity: 'notice'"),
        (
            lambda one: one["inputs"]["said"].__setitem__("author", [1] * len(one["inputs"]["said"]["author"])),
            "decision",
        ),
        (lambda one: one.__setitem__("state_hash", "00"), "state_hash: '00'"),
        (lambda one: one.__setitem__("v", 99), "v: 99"),
    ],
)
def test_what_was_touched_is_named(change: Any, named: str) -> None:
    frozen = copy.deepcopy(
        thawed(
            CALM.told[-1].evidence if CALM.told[-1].evidence["transition"] == "alert.firing" else CALM.told[0].evidence
        )
    )
    change(frozen)
    answer = evidence.replay(frozen)
    assert answer is not None
    assert answer.startswith(named)


def test_a_record_says_what_people_ask() -> None:
    record = CALM.told[0].evidence
    assert record["observed"]["1h"]["negatives"] > record["expected"]["1h"]["high"]
    for parts in record["excess_by"].values():
        assert sum(value for _, value in parts) == pytest.approx(record["excess"], abs=0.05)
    assert record["mode"] == "guaranteed"
    assert set(record["expected"]) == {"1m", "5m", "15m", "1h"}
    assert record["floors"]["stories"] >= 5
    assert 1 <= record["fires_up_to"] <= 20
    assert record["documents"]


def test_reloads_change_no_record() -> None:
    player = Player()
    for record in one_each(Stream().quiet(minutes=300).surge(start_ms=MONDAY_MS + 300 * MINUTE_MS).in_order()):
        if record.documents[0].published_at > MONDAY_MS + 299 * MINUTE_MS:
            player.reload()
        player.play([record])
    assert player.fired(SUBJECT)
    assert [evidence.replay(thawed(one.evidence)) for one in player.told] == [None] * len(player.told)
