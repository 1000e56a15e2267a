"""One text of a severe topic from a trusted source may alert alone: when it may, how often, and how it ends."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from groundswell.decisions import Detected
from groundswell.keys import HOUR_MS, MINUTE_MS
from stream.detection import evidence, single
from tests.unit.test_detect import OTHER, POLICY, SUBJECT, SURGE_MS, Player, Stream, one_each

TRUSTING = replace(POLICY, trusted=frozenset({"wire"}), single_a_day=20)


def told_of(*said: dict[str, Any], policy: Any = TRUSTING, until_ms: int = SURGE_MS + 5 * MINUTE_MS) -> Player:
    """A quiet day, then these texts a minute apart, then time that goes on."""
    stream = Stream().quiet()
    for i, given in enumerate(said):
        more = {"topics": ("fraud",), "at_ms": SURGE_MS + i * MINUTE_MS, **given}
        topics, at_ms = more.pop("topics"), more.pop("at_ms")
        negative, unsure = more.pop("negative", 0.97), more.pop("unsure", False)
        stream.say(at_ms, **{"source": "wire", "feed": "news", **more})
        last = stream.documents[-1]
        row = msgspec.structs.replace(last.rows[0], negative=negative, unsure=unsure)
        stream.documents[-1] = msgspec.structs.replace(last, topics=topics, rows=(row,))
    stream.tick(until_ms)
    return Player(policy=policy).play(one_each(stream.in_order()))


def alone(player: Player) -> list[Any]:
    return [one for one in player.told if one.event.data.rule.id == "single-document"]


def test_one_severe_text_of_a_trusted_source_alerts_at_once_and_says_that_it_is_one_text() -> None:
    [fired] = alone(told_of({}))
    data = fired.event.data
    assert fired.decision is Detected.SINGLE_DOCUMENT
    assert data.kind == "document"
    assert data.severity == "critical"
    assert not data.rule.bounded
    assert len(data.documents) == 1
    assert "One text" in data.summary["en"]
    assert "一条" in data.summary["zh"]
    assert evidence.replay(msgspec.json.decode(msgspec.json.encode(fired.evidence))) is None


@pytest.mark.parametrize(
    "given",
    [
        {"source": "forum"},
        {"topics": ("earnings",)},
        {"topics": ()},
        {"negative": 0.89},
        {"unsure": True},
        {"echo": True},
        {"label": "neutral"},
        {"about": (SUBJECT, OTHER)},
        {"at_ms": SURGE_MS - 3 * HOUR_MS, "ingested_late": True},
    ],
)
def test_what_is_not_severe_sure_trusted_and_about_it_alone_does_not(given: dict[str, Any]) -> None:
    late = given.pop("ingested_late", False)
    player = told_of(given) if not late else late_text()
    assert alone(player) == []


def late_text() -> Player:
    stream = Stream().quiet()
    stream.say(SURGE_MS - 3 * HOUR_MS, source="wire", feed="news")
    late = stream.documents.pop()
    late = msgspec.structs.replace(
        late,
        topics=("fraud",),
        ingested_at=SURGE_MS,
        id="late",
        rows=(msgspec.structs.replace(late.rows[0], negative=0.99),),
    )
    player = Player(policy=TRUSTING).play(one_each(stream.in_order()))
    offset = len(stream.documents)
    return player.play([msgspec.structs.replace(one_each([late])[0], offset=offset)])


def test_without_trusted_sources_the_rule_is_off() -> None:
    assert alone(told_of({}, policy=POLICY)) == []


def test_a_regulator_s_fine_is_a_warning() -> None:
    assert alone(told_of({"topics": ("regulation",)}))[0].event.data.severity == "warning"


def test_the_third_of_a_day_about_one_company_is_held() -> None:
    player = told_of({}, {}, {})
    assert len(alone(player)) == 2
    assert Detected.HELD_SINGLE_BUDGET in player.reasons()


def test_a_partition_has_its_part_of_the_day_s_alerts() -> None:
    player = told_of({}, {"subjects": (OTHER,)}, policy=replace(TRUSTING, single_a_day=1))
    assert len(alone(player)) == 1
    assert single.part(64) == 1
    assert single.part(1) == single.A_DAY


def test_an_hour_later_it_is_over_and_a_day_later_forgotten() -> None:
    player = told_of({}, until_ms=SURGE_MS + 65 * MINUTE_MS)
    assert [one.event.type for one in alone(player)] == ["alert.firing", "alert.resolved"]
    first, last = (one.event for one in alone(player))
    assert first.data.episode_id == last.data.episode_id
    assert last.data.sequence == first.data.sequence + 1
    later = told_of({}, until_ms=SURGE_MS + 25 * HOUR_MS)
    assert later.detector.open_episodes == {}
    assert any(single.is_key(name) for name in later.detector.gone())


def test_during_a_surge_a_text_is_one_of_its_own() -> None:
    stream = Stream().quiet().surge(minutes=10)
    stream.say(SURGE_MS + 8 * MINUTE_MS, source="wire", feed="news")
    last = stream.documents[-1]
    stream.documents[-1] = msgspec.structs.replace(
        last, topics=("fraud",), rows=(msgspec.structs.replace(last.rows[0], negative=0.99),)
    )
    player = Player(policy=TRUSTING).play(one_each(stream.in_order()))
    assert player.fired()
    assert alone(player) == []


def test_reloads_change_nothing() -> None:
    whole, cut = told_of({}, {}, {}), Player(policy=TRUSTING)
    stream = Stream().quiet()
    for i in range(3):
        stream.say(SURGE_MS + i * MINUTE_MS, source="wire", feed="news")
        last = stream.documents[-1]
        stream.documents[-1] = msgspec.structs.replace(
            last, topics=("fraud",), rows=(msgspec.structs.replace(last.rows[0], negative=0.97),)
        )
    stream.tick(SURGE_MS + 5 * MINUTE_MS)
    for record in one_each(stream.in_order()):
        if record.documents[0].published_at >= SURGE_MS:
            cut.reload()
        cut.play([record])
    assert cut.told == whole.told
