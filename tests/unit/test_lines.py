"""However the false-alarm budget is cut, the subjects together keep it; and who changes his mind changes only the steps that follow."""

from dataclasses import replace
from math import exp

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from groundswell.control import ControlView
from groundswell.errors import BadSetting, WrongShape
from groundswell.keys import MINUTE_MS
from groundswell.records import Sensitivity, Watchlist
from groundswell.settings import Settings
from stream.detection import calibration, evidence, lines, surge
from tests.unit.test_detect import DIRECTORY, MONDAY_MS, POLICY, SUBJECT, SURGE_MS, Player, Stream, one_each

WORDS = st.sampled_from(["fewer", "balanced", "more"])


def watching(*subjects: str) -> list[Watchlist]:
    return [Watchlist(id="watchlist_a", name="a", subjects=list(subjects), by="ann", at=1)]


def saying(**values: str | float) -> list[Sensitivity]:
    return [
        Sensitivity(id=f"sensitivity_{about}", subject=about, value=value, by="ann", at=1)  # type: ignore[arg-type]
        for about, value in values.items()
    ]


@runs(max_examples=200, deadline=None)
@given(
    st.integers(1, 500), st.floats(0.01, 100), st.sets(st.integers(0, 499)),
    st.dictionaries(st.integers(0, 499), WORDS | st.floats(1e-4, 50)), st.sets(st.integers(0, 499), max_size=6),
)  # fmt: skip
def test_the_parts_of_all_subjects_are_never_more_than_the_budget(count, budget, watched, own, markets):  # type: ignore[no-untyped-def]
    names = [f"s{i}" for i in range(count)]
    given_own = {f"s{i}": value for i, value in own.items() if i < count}
    found = lines.parts(
        count, budget, {f"s{i}" for i in watched if i < count}, given_own, {f"s{i}" for i in markets if i < count}
    )
    parts = [found.own.get(name, found.others) for name in names]
    assert all(part > 0 for part in parts)
    assert sum(parts) <= count * (1 + 1e-9)
    bound = sum(1440 * exp(-surge.threshold(budget, count, part)) for part in parts)
    assert bound <= budget * (1 + 1e-9)


def test_the_watched_get_half_of_the_budget_and_nobody_gains_where_half_are_watched() -> None:
    few = lines.parts(10_000, 5.0, {f"s{i}" for i in range(100)})
    assert few.own["s0"] == pytest.approx(50)
    assert surge.threshold(5.0, 10_000, few.own["s0"]) == pytest.approx(10.96, abs=0.01)
    many = lines.parts(100, 5.0, {f"s{i}" for i in range(60)})
    assert set(many.own.values()) == {1.0} == {many.others}


def test_a_fifth_of_the_budget_is_the_markets_where_that_is_more_than_they_have() -> None:
    alone = lines.parts(10_000, 5.0, markets=("market", "market:XNYS"))
    assert alone.own["market"] / 10_000 == pytest.approx(0.1, rel=0.01)
    assert alone.others == pytest.approx(0.8, rel=0.01)
    watched = lines.parts(10_000, 5.0, {"market"}, markets=("market", "market:XNYS"))
    assert watched.own["market"] == pytest.approx(4 * watched.own["market:XNYS"])
    assert lines.parts(4, 5.0, markets=("a", "b", "c")).own == {}


def test_a_number_of_a_subject_is_its_own_false_alarms_a_day() -> None:
    found = lines.parts(1_000, 5.0, own={"s0": 0.01, "s1": "more"})
    assert 1440 * exp(-surge.threshold(5.0, 1_000, found.own["s0"])) == pytest.approx(0.01)
    assert found.own["s1"] == pytest.approx(5 * found.others)


def test_the_policy_follows_what_people_set_and_names_it() -> None:
    plain = lines.policy(Settings(), DIRECTORY)
    set_ = lines.policy(Settings(), DIRECTORY, watching(SUBJECT, "topic:*"), saying(market=0.5))
    equal = surge.threshold(5.0, len(DIRECTORY))
    assert plain.line("market:XNYS") < equal < plain.ln_h < equal + 0.25, "a fifth of the budget is the markets'"
    assert plain.revision == ""
    assert set_.line(SUBJECT) < plain.ln_h < set_.ln_h
    assert set_.line("topic:fraud") == set_.line(SUBJECT)
    assert (
        set_.revision == lines.policy(Settings(), DIRECTORY, watching(SUBJECT, "topic:*"), saying(market=0.5)).revision
    )
    assert set_.revision != lines.policy(Settings(), DIRECTORY, watching(SUBJECT)).revision


def test_a_number_or_a_word_for_the_rule_is_the_budget_of_all() -> None:
    whole = [Sensitivity(id="sensitivity_negative-surge", rule="negative-surge", value=20.0, by="ann", at=1)]
    assert (
        lines.policy(Settings(), DIRECTORY, (), whole).ln_h
        == lines.policy(Settings(sensitivity="more"), DIRECTORY).ln_h
    )
    assert lines.policy(Settings(sensitivity=20.0), DIRECTORY).budget == 20.0


def test_calibrated_lines_lie_under_the_bound_and_rise_with_a_smaller_budget() -> None:
    found = [lines.line("calibrated", budget, 10_000, 1.0, 60) for budget in (0.1, 1, 5, 20, 100, 10_000)]
    assert found == sorted(found, reverse=True)
    for budget, line in zip((0.1, 1, 5, 20, 100, 10_000), found, strict=True):
        assert line <= lines.line("guaranteed", budget, 10_000, 1.0, 60)
    assert lines.line("calibrated", 5, 10_000, 1.0, 60) < lines.line("guaranteed", 5, 10_000, 1.0, 60) - 1
    rates = [rate for _, rate in calibration.TABLE]
    assert rates == sorted(rates, reverse=True)
    for ln_h, rate in calibration.TABLE:
        assert calibration.line(rate / calibration.AIM) == pytest.approx(ln_h)


def test_calibrated_lines_are_only_for_the_step_they_were_measured_with() -> None:
    with pytest.raises(BadSetting, match="step_s is 300"):
        lines.policy(Settings(line="calibrated", step_s=300), DIRECTORY)


def test_the_control_view_holds_watchlists_and_sensitivities() -> None:
    view = ControlView()
    people: list[Watchlist | Sensitivity] = [*watching(SUBJECT), *saying(market="fewer")]
    for one in people:
        view.apply(one.id, msgspec.json.encode(one))
    assert view.watchlists["watchlist_a"].subjects == [SUBJECT]
    assert view.sensitivities["sensitivity_market"].value == "fewer"
    view.apply("watchlist_a", None)
    assert view.watchlists == {}
    with pytest.raises(WrongShape):
        view.apply("sensitivity_x", b'{"kind":"sensitivity","id":"sensitivity_x","value":-1,"by":"ann","at":1}')


def test_a_change_is_in_force_for_the_steps_that_begin_after_it() -> None:
    deaf = replace(POLICY, ln_h=100.0)  # more than evidence ever reaches
    stream = Stream().quiet().surge(minutes=12)
    half_ms = SURGE_MS + 5 * MINUTE_MS

    def told(change_ms: int) -> list[int]:
        player = Player(policy=deaf)
        player.detector.change(POLICY, change_ms)
        player.play(one_each(stream.in_order()))
        assert all(evidence.replay(one.evidence) is None for one in player.told)
        return [one.evidence["bucket"] for one in player.told]

    assert min(told(MONDAY_MS)) < half_ms <= min(told(half_ms))
    assert told(SURGE_MS * 2) == []
