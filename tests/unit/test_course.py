"""The course of an episode as people hear it: how severe, how it grows and fades, when they are told again, and how it ends."""

from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest

from groundswell import times
from groundswell.decisions import Detected
from groundswell.keys import MINUTE_MS
from groundswell.records import AlertEvent, ScoredDocument
from stream.detection import evidence, floors, severity
from tests.unit.test_detect import POLICY, SETTINGS, SURGE_MS, Player, Stream, one_each, played


@pytest.mark.parametrize(
    ("effect", "voices", "minutes", "negatives", "level"),
    [
        (2.0, 3, 5, 8, "notice"),
        (2.5, 20, 10, 30, "warning"),
        (3.0, 6, 10, 30, "warning"),
        (10.0, 2, 2, 6, "warning"),
        (5.0, 20, 30, 40, "critical"),
        (5.0, 20, 30, 19, "warning"),
        (12.0, 15, 1, 20, "critical"),
        (2.0, 100, 120, 500, "warning"),
    ],
)
def test_severity_is_size_breadth_and_persistence(
    effect: float, voices: int, minutes: float, negatives: int, level: str
) -> None:
    assert severity.level(effect, voices, minutes, negatives) == level


def test_more_of_anything_is_never_less_severe() -> None:
    ladders = ((1.0, 3.0, 5.0, 10.0), (1, 5, 15), (1.0, 15.0, 60.0), (5, 20))
    for effect in ladders[0]:
        for voices in ladders[1]:
            for minutes in ladders[2]:
                for negatives in ladders[3]:
                    here = severity.RANK[severity.level(effect, int(voices), minutes, int(negatives))]
                    assert here <= severity.RANK[severity.level(effect * 2, int(voices), minutes, int(negatives))]
                    assert here <= severity.RANK[severity.level(effect, int(voices) * 3, minutes, int(negatives))]
                    assert here <= severity.RANK[severity.level(effect, int(voices), minutes * 4, int(negatives))]
                    assert here <= severity.RANK[severity.level(effect, int(voices), minutes, int(negatives) * 4)]


def updates(player: Player) -> list[AlertEvent]:
    return [event for event in player.events if event.type == "alert.updated"]


def critical_surge() -> Stream:
    """Critical from its first minutes on, so that no rise in level is left to tell."""
    return Stream().quiet().surge(minutes=60, a_minute=20)


def test_a_steady_surge_is_told_once() -> None:
    player = played(critical_surge())
    [first] = player.fired()
    assert first.data.severity == "critical" or [event.data.severity for event in updates(player)] == ["critical"]
    assert len(updates(player)) <= 1


def test_people_hear_of_another_cause_once_it_carries_half_and_a_quarter_of_an_hour_later() -> None:
    stream, turn_ms = critical_surge(), SURGE_MS + 20 * MINUTE_MS
    before = len(updates(played(stream)))
    other = Stream(documents=[])
    for one in stream.documents:
        topics = () if one.published_at < SURGE_MS else ("supply",) if one.published_at < turn_ms else ("fraud",)
        other.documents.append(replace_topics(one, topics))
    told = updates(played(other))
    assert len(told) == before + 1
    assert times.parse_ms(told[-1].timestamp) >= turn_ms
    assert all(
        times.parse_ms(later.timestamp) - times.parse_ms(sooner.timestamp) >= 15 * MINUTE_MS
        for sooner, later in pairwise(told)
        if later.data.severity != "critical" or sooner.data.severity == "critical"
    )


def replace_topics(one: ScoredDocument, topics: tuple[str, ...]) -> ScoredDocument:
    return msgspec.structs.replace(one, topics=topics)


def test_the_level_of_an_episode_does_not_fall_but_its_trend_does() -> None:
    stream = critical_surge().quiet(minutes=80, start_ms=SURGE_MS + 60 * MINUTE_MS, seed=4)
    player = played(stream)
    assert player.events[-1].type == "alert.resolved"
    ranks = [severity.RANK[event.data.severity] for event in player.events]
    assert ranks == sorted(ranks)
    assert player.fired()[0].data.trend == "growing"
    assert player.events[-1].data.trend == ""
    assert player.told[-1].evidence["trend"] == "fading"
    assert player.events[-1].data.ended == "calm"
    assert player.events[-1].data.peak is not None
    assert player.events[-1].data.peak.negatives >= 100


def test_a_surge_that_stays_becomes_the_usual_level() -> None:
    quick = replace(POLICY, settings=replace(SETTINGS, adopt_after_s=1_200.0))
    stream = Stream().quiet().surge(minutes=260, a_minute=6)
    player = Player(policy=quick).play(one_each(stream.in_order()))
    [end] = [one for one in player.told if one.event.type == "alert.resolved"]
    assert end.decision is Detected.NEW_LEVEL
    assert end.event.data.ended == "new_level"
    assert "usual" in end.event.data.summary["en"]
    assert "常态" in end.event.data.summary["zh"]
    assert evidence.replay(end.evidence) is None or "originals were kept" in str(evidence.replay(end.evidence))


def test_fires_up_to_says_how_wrong_the_usual_would_have_to_be() -> None:
    weak, strong = played(Stream().quiet().surge(a_minute=6)), played(Stream().quiet().surge(minutes=20, a_minute=30))
    assert 1 <= weak.fired()[0].data.fires_up_to <= floors.LARGEST_FACTOR
    told = [event.data.fires_up_to for event in strong.events if event.type != "alert.resolved"]
    assert max(told) >= weak.fired()[0].data.fires_up_to
    assert all(round(value / 0.05, 6) == round(value / 0.05) for value in told)
