"""What the detector's step promises about any input. Its quality is measured in acceptance/test_surge_gates.py."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from groundswell.errors import BadSetting
from stream.detection.season import PROFILES
from stream.detection.surge import (
    GROUPS,
    NEVER,
    SENSITIVITY_BUDGET,
    Settings,
    Slot,
    State,
    StateFormatError,
    band,
    calm,
    crossing,
    early,
    effect,
    gap,
    kind,
    local_slots,
    onset,
    recompute,
    rest,
    row_from_bytes,
    rows_to_bytes,
    threshold,
    tick,
)

MINUTE = Settings()
QUARTER_HOUR = Settings(step_s=900)
seeds = st.integers(0, 2**32 - 1)


def slots(rng, k):
    quarter = rng.integers(0, 672, k)
    return Slot(quarter, quarter // 4 % 24, quarter >= 480, rng.integers(0, len(GROUPS), k))


def counts(rng, k):
    y = rng.poisson(np.exp(rng.uniform(-5, 4, k))).astype(float)
    return y, y + rng.poisson(3, k)


def lived(rng, k, steps, settings=MINUTE):
    """A state that has seen some random steps."""
    state = State.new(k, rng.uniform(0.01, 5, k), settings)
    for _ in range(steps):
        y, n = counts(rng, k)
        state, _ = tick(state, slots(rng, k), y, n, rng.random(k) < 0.1, settings)
    return state


def same(a, b):
    return a.core.tobytes() == b.core.tobytes() and a.hours.tobytes() == b.hours.tobytes()


def fields(verdict):
    return {name: np.asarray(value) for name, value in vars(verdict).items()}


@budget(max_examples=40, deadline=None)
@given(seed=seeds, steps=st.integers(0, 70), settings=st.sampled_from([MINUTE, QUARTER_HOUR]))
def test_a_subject_gets_the_same_bits_alone_in_a_slice_and_in_the_whole(seed, steps, settings):
    rng = np.random.default_rng(seed)
    k = 41
    state = lived(rng, k, steps, settings)
    slot, (y, n), held = slots(rng, k), counts(rng, k), rng.random(k) < 0.2
    whole, said = tick(state, slot, y, n, held, settings)
    for part in ([3], list(range(5, 25)), list(rng.permutation(k)[:17])):
        cut, cut_said = tick(state.take(part), slot.take(part), y[part], n[part], held[part], settings)
        assert same(cut, whole.take(part))
        for name, value in fields(cut_said).items():
            assert value.tobytes() == fields(said)[name][part].tobytes(), name


@budget(max_examples=60, deadline=None)
@given(seed=seeds, steps=st.integers(0, 40), settings=st.sampled_from([MINUTE, QUARTER_HOUR]))
def test_what_an_open_bucket_shows_is_never_more_than_what_its_close_shows(seed, steps, settings):
    rng = np.random.default_rng(seed)
    state, slot, (y, n) = lived(rng, 50, steps, settings), slots(rng, 50), counts(rng, 50)
    seen = np.floor(y * rng.random(50))
    _, closed = tick(state, slot, y, n, np.zeros(50, bool), settings)
    assert np.all(early(state, slot, seen, settings) <= closed.ln_m)


@budget(max_examples=60, deadline=None)
@given(seed=seeds, line=st.floats(1, 39), steps=st.integers(0, 40))
def test_the_crossing_count_is_the_smallest_that_crosses(seed, line, steps):
    rng = np.random.default_rng(seed)
    state, slot = lived(rng, 30, steps), slots(rng, 30)
    at = crossing(state, slot, line, MINUTE)
    found = at != NEVER
    none = np.zeros(30)
    assert np.all(early(state, slot, np.where(found, at, 1 << 20), MINUTE)[found] >= line)
    assert np.all(early(state, slot, at - 1, MINUTE)[found & (at > 0)] < line)
    assert np.all(early(state, slot, none + (1 << 20), MINUTE)[~found] < line)


def test_no_count_crosses_a_line_above_the_ceiling_of_the_evidence():
    state, slot = State.new(2, 0.2, MINUTE), local_slots("UTC", [0, 0])
    assert crossing(state, slot, 41.0, MINUTE).tolist() == [NEVER, NEVER]


@budget(max_examples=30, deadline=None)
@given(seed=seeds, k=st.integers(0, 9), steps=st.integers(0, 20))
def test_stored_state_comes_back_to_the_bit(seed, k, steps):
    state = lived(np.random.default_rng(seed), k, steps)
    assert same(State.from_bytes(state.to_bytes()), state)
    rows = [row_from_bytes(rows_to_bytes(state, i)) for i in range(k)]
    assert same(State.concat([State.new(0, 1.0, MINUTE), *rows]), state)


def test_state_of_another_version_or_cut_short_is_refused_with_a_remedy():
    blob = rows_to_bytes(State.new(1, 0.2, MINUTE), 0)
    assert len(blob) <= 1024
    for bad in (b"", b"GSsurge9" + blob[8:], blob[:-1], blob + b"x"):
        with pytest.raises(StateFormatError) as caught:
            row_from_bytes(bad)
        assert caught.value.remedy
    with pytest.raises(StateFormatError):
        row_from_bytes(State.new(2, 0.2, MINUTE).to_bytes())


def test_growing_leaves_the_old_subjects_as_they_were():
    state = lived(np.random.default_rng(1), 4, 10)
    grown = State.concat([state, State.new(3, 0.5, MINUTE)])
    assert len(grown) == 7
    assert same(grown.take(range(4)), state)
    assert same(grown.take([5]), State.new(1, 0.5, MINUTE))


def test_a_step_does_not_change_the_state_it_was_given():
    rng = np.random.default_rng(2)
    state = lived(rng, 6, 20)
    before = state.to_bytes()
    y, n = counts(rng, 6)
    tick(state, slots(rng, 6), y, n, np.zeros(6, bool), MINUTE)
    early(state, slots(rng, 6), y, MINUTE)
    gap(state, 5, MINUTE)
    rest(state, np.ones(6, bool))
    assert state.to_bytes() == before


@pytest.mark.parametrize("settings", [MINUTE, QUARTER_HOUR])
def test_odd_input_never_makes_a_number_that_is_none(settings):
    slot = local_slots("Asia/Shanghai", np.zeros(4, np.int64), group="XSHG")
    state = State.new(4, 0.02, settings)
    with np.errstate(all="raise", under="ignore"):
        for step in range(400):
            y = np.array([0, 1e6 if step == 200 else 0, step % 7, 5])
            n = np.array([0, 1e6 if step == 200 else 3, step % 7, 0])
            state, said = tick(state, slot, y, n, [False, False, False, step > 50], settings)
            state = gap(state, [0, 0, step % 90 == 0, 0], settings)
            assert all(np.isfinite(value).all() for value in fields(said).values())
    assert np.isfinite(state.core).all()
    assert np.isfinite(state.hours).all()


def test_no_subjects_are_no_trouble():
    none = State.new(0, 1.0, MINUTE)
    state, said = tick(none, local_slots("UTC", []), [], [], [], MINUTE)
    assert len(state) == 0
    assert said.ln_m.shape == (0,)
    assert crossing(none, local_slots("UTC", []), 5.0, MINUTE).shape == (0,)


def steady(rate, steps, k=1, settings=MINUTE, seed=0, prior=None):
    """A state that has seen a constant Poisson rate, in one slot."""
    rng = np.random.default_rng(seed)
    slot = local_slots("UTC", np.full(k, 1_700_000_000))
    state = State.new(k, rate if prior is None else prior, settings)
    for _ in range(steps):
        y = rng.poisson(rate, k)
        state, said = tick(state, slot, y, y + rng.poisson(4 * rate, k), np.zeros(k, bool), settings)
    return state, slot, said


def test_false_alarms_stay_under_the_bound_when_the_null_is_true():
    rng = np.random.default_rng(7)
    k, steps, h = 300, 600, 100.0
    rate = np.resize([0.05, 0.5, 5.0], k)
    slot = local_slots("UTC", np.full(k, 1_700_000_000))
    state, alarms = State.new(k, rate, MINUTE), 0
    for _ in range(steps):
        y = rng.poisson(rate)
        state, said = tick(state, slot, y, y + rng.poisson(4 * rate), np.zeros(k, bool), MINUTE)
        fired = said.ln_m >= np.log(h)
        alarms += int(fired.sum())
        state = rest(state, fired)
    assert alarms <= k * steps / h


def test_a_surge_crosses_within_minutes_and_a_quiet_hour_does_not():
    state, slot, quiet = steady(1.0, 600)
    line = threshold(0.1, 1)
    assert quiet.ln_m[0] < line
    for minute in range(10):  # noqa: B007
        state, said = tick(state, slot, [6], [10], [False], MINUTE)
        if said.ln_m[0] >= line:
            break
    assert minute <= 5
    assert kind(said.ln_fast[0], said.ln_slow[0], said.ln_share[0], line, MINUTE) in {"count", "both"}


def test_a_turn_of_mood_at_the_usual_volume_shows_in_the_share_alone():
    state, slot, _ = steady(1.0, 1200)
    for _ in range(60):
        state, said = tick(state, slot, [4], [5], [False], MINUTE)
    for_volume = said.ln_share[0]
    state, slot, _ = steady(1.0, 1200)
    for _ in range(60):
        state, said = tick(state, slot, [4], [20], [False], MINUTE)
    assert for_volume > said.ln_share[0] + 5


def test_a_subject_learns_until_it_showed_twenty_negatives_or_a_day_passed():
    slot = local_slots("UTC", [0])
    state = State.new(1, 0.2, MINUTE)
    told = []
    for _ in range(25):
        state, said = tick(state, slot, [1], [1], [False], MINUTE)
        told.append(bool(said.learning[0]))
    assert told == [True] * 20 + [False] * 5
    hourly = Settings(step_s=3600)
    state, told = State.new(1, 0.2, hourly), []
    for _ in range(26):
        state, said = tick(state, slot, [0], [0], [False], hourly)
        told.append(bool(said.learning[0]))
    assert told == [True] * 24 + [False] * 2


def test_an_episode_does_not_teach_the_level_until_it_has_lasted_half_a_day():
    state, slot, before = steady(1.0, 600)
    for minute in range(36 * 60):
        state, said = tick(state, slot, [8], [10], [True], MINUTE)
        if minute == 11 * 60:
            assert said.expected[0] == pytest.approx(before.expected[0], rel=0.05)
    assert 6 < said.expected[0] < 10


def test_one_huge_count_hardly_moves_the_level():
    state, slot, before = steady(1.0, 1440)
    state, _ = tick(state, slot, [10_000], [10_000], [False], MINUTE)
    _, after = tick(state, slot, [1], [5], [False], MINUTE)
    assert after.expected[0] < 1.1 * before.expected[0]


def test_a_gap_is_missing_and_not_zero():
    state, slot, said = steady(1.0, 600)
    state, said = tick(state, slot, [30], [30], [False], MINUTE)
    after = gap(state, 600, MINUTE)
    _, next_said = tick(after, slot, [1], [5], [False], MINUTE)
    # Nothing was learned about the level, and what was suspected before is forgotten.
    assert next_said.expected[0] == pytest.approx(said.expected[0], rel=0.05)
    assert next_said.ln_m[0] < 0.7
    assert next_said.fast_expected[0] == pytest.approx(next_said.expected[0], rel=0.01)
    assert same(gap(state, 0, MINUTE), state)


def test_the_hours_of_a_subject_are_learned():
    state = State.new(1, 1.0, QUARTER_HOUR)
    for step in range(28 * 96):
        slot = local_slots("UTC", 345_600 + 900 * step)  # 1970-01-05, a Monday
        y = 60 if slot.hour[0] == 3 else 6
        state, _ = tick(state, slot, [y], [100], [False], QUARTER_HOUR)
    _, night = tick(state, local_slots("UTC", 345_600 + 3 * 3600), [6], [100], [False], QUARTER_HOUR)
    _, noon = tick(state, local_slots("UTC", 345_600 + 12 * 3600), [6], [100], [False], QUARTER_HOUR)
    assert night.expected[0] > 5 * noon.expected[0]


def utc(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp())


def test_the_open_keeps_its_slot_when_the_clocks_change():
    winter, summer = local_slots("America/New_York", [utc(2026, 3, 6, 14, 30), utc(2026, 3, 9, 13, 30)]).quarter
    assert winter % 96 == summer % 96 == 38
    assert (winter // 96, summer // 96) == (4, 0)


def test_an_hour_lived_twice_uses_its_slots_twice():
    slot = local_slots("America/New_York", [utc(2026, 11, 1, 5, 30), utc(2026, 11, 1, 6, 30)])
    assert slot.quarter[0] == slot.quarter[1]
    assert slot.hour.tolist() == [1, 1]
    assert slot.weekend.all()


@given(
    epoch=st.integers(0, 4_000_000_000),
    zone=st.sampled_from(["Asia/Shanghai", "Australia/Lord_Howe", "Asia/Kathmandu"]),
)
def test_slots_agree_with_the_calendar(epoch, zone):
    from zoneinfo import ZoneInfo

    local = datetime.fromtimestamp(epoch, ZoneInfo(zone))
    slot = local_slots(zone, epoch)
    assert slot.quarter[0] == local.weekday() * 96 + local.hour * 4 + local.minute // 15
    assert slot.hour[0] == local.hour
    assert slot.weekend[0] == (local.weekday() >= 5)


def scheduled(k, factor):
    return replace(local_slots("UTC", np.full(k, 1_700_000_000)), factor=np.asarray(factor, np.float64))


def test_a_scheduled_event_multiplies_what_the_count_channels_expect_and_leaves_the_share_alone():
    state, zeros = State.new(2, 1.0, MINUTE), np.zeros(2)
    _, said = tick(state, scheduled(2, [3, 1]), zeros, np.full(2, 10.0), zeros > 0, MINUTE)
    assert said.expected[0] == pytest.approx(3 * said.expected[1])
    assert said.fast_expected[0] == pytest.approx(3 * said.fast_expected[1])
    assert said.share_expected[0] == said.share_expected[1]


def test_where_nothing_is_scheduled_a_factor_of_one_changes_no_bit():
    state, y = State.new(2, 1.0, MINUTE), np.array([4.0, 0.0])
    plain = local_slots("UTC", np.full(2, 1_700_000_000))
    with_ones, said = tick(state, scheduled(2, [1, 1]), y, y + 5, y < 0, MINUTE)
    without, as_well = tick(state, plain, y, y + 5, y < 0, MINUTE)
    np.testing.assert_array_equal(with_ones.core, without.core)
    np.testing.assert_array_equal(said.ln_m, as_well.ln_m)


@pytest.mark.parametrize("talk", [0, 2, 9])
def test_talk_during_an_event_teaches_nothing_of_the_hour_after(talk):
    state = State.new(1, 2.0, MINUTE)
    plain, never = local_slots("UTC", [1_700_000_000]), np.zeros(1, np.bool_)
    for _ in range(3000):
        state, before = tick(state, plain, [2], [10], never, MINUTE)
    for _ in range(120):
        state, _ = tick(state, scheduled(1, [3]), [talk], [10 + talk], never, MINUTE)
    for _ in range(10):
        state, after = tick(state, plain, [2], [10], never, MINUTE)
    assert after.expected[0] == pytest.approx(before.expected[0], rel=0.01)
    assert after.fast_expected[0] == pytest.approx(before.fast_expected[0], rel=0.05)


def test_slots_of_scheduled_and_other_subjects_stand_behind_one_another():
    both = Slot.concat([scheduled(1, [3]), local_slots("UTC", [0, 0])])
    assert both.factor.tolist() == [3, 1, 1]
    assert both.take([2, 0]).factor.tolist() == [1, 3]
    assert Slot.concat([local_slots("UTC", 0)]).factor is None


def test_prior_seasons_have_mean_one_and_the_round_the_clock_one_is_flat():
    assert PROFILES.shape == (4, 672)
    np.testing.assert_allclose(PROFILES.mean(axis=1), 1)
    assert np.all(PROFILES > 0.1)
    assert np.all(PROFILES[GROUPS.index("ALWAYS")] == 1)


def test_the_line_follows_the_budget():
    assert threshold(0.1, 1) == pytest.approx(np.log(14_400))
    assert threshold(5, 10_000) == pytest.approx(14.87, abs=0.01)
    assert threshold(5, 100, weight=2) == pytest.approx(threshold(10, 100))
    assert threshold(1, 1, step_s=3600) == pytest.approx(np.log(24))
    words = [threshold(SENSITIVITY_BUDGET[word], 100) for word in ("fewer", "balanced", "more")]
    assert words == sorted(words, reverse=True)
    with pytest.raises(ValueError):
        threshold(0, 1)


def test_settings_and_priors_that_make_no_sense_are_refused():
    for step_s in (1, 7200):
        with pytest.raises(BadSetting, match="step_s"):
            Settings(step_s=step_s)
    for prior in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError):
            State.new(1, prior, MINUTE)


def test_the_kind_names_the_evidence_that_carries_the_alarm():
    assert kind(12, 12, 0, 10, MINUTE) == "count"
    assert kind(0, 0, 12, 10, MINUTE) == "share"
    assert kind(12, 0, 12, 10, MINUTE) == "both"


def test_the_onset_is_the_minute_the_counts_rose():
    y = [1, 0, 2, 1, 1, 0, 1, 2, 1, 0] * 6 + [6, 5, 8, 7]
    assert onset(y, 1.0, 3.0) == 60
    assert onset([9], 1.0, 3.0) == 0
    assert onset([1, 1, 9], 1.0, 3.0) == 2
    with pytest.raises(ValueError):
        onset([], 1.0, 3.0)


@pytest.mark.parametrize(
    ("shape", "low", "high", "tolerance"),
    # Quantiles of Gamma(k, 1) are half of the tabulated chi-squares with 2k degrees of freedom.
    [
        (1, 0.103 / 2, 5.991 / 2, 0.02),
        (3, 1.635 / 2, 12.592 / 2, 0.02),
        (10, 10.851 / 2, 31.410 / 2, 0.02),
        (50, 77.929 / 2, 124.342 / 2, 0.01),
    ],
)
def test_the_interval_of_the_effect_follows_the_gamma_law(shape, low, high, tolerance):
    theta, lo, hi = effect([shape], [1.0], 0.0)
    assert theta == shape
    assert lo == pytest.approx(low, rel=tolerance, abs=tolerance)
    assert hi == pytest.approx(high, rel=tolerance, abs=tolerance)


def test_the_effect_is_less_sure_where_counts_are_restless():
    theta, lo, hi = effect([3] * 10, [1.0] * 10, 0.065)
    _, calm_lo, calm_hi = effect([3] * 10, [1.0] * 10, 0.0)
    assert theta == 3
    assert lo < calm_lo < 3 < calm_hi < hi
    assert effect([0], [0.0], 0.1)[0] == 0


def test_the_band_holds_the_tabulated_quantiles():
    low, high = band([10.0, 0.0, 5.0], [0.0, 0.3, 1.0])
    # Poisson(10): 5 and 15. With φ = 1 the law is geometric: P(X > k) = (5/6)^(k+1).
    assert low.tolist() == [5, 0, 0]
    assert high.tolist() == [15, 0, 16]


def test_the_band_does_not_jump_where_the_approximation_begins():
    low, high = band([63.99, 64.0], 0.15)
    assert abs(low[1] - low[0]) <= 1
    assert abs(high[1] - high[0]) <= 1
    rng = np.random.default_rng(0)
    draws = rng.poisson(rng.gamma(1 / 0.1, 0.1 * 500, 200_000))
    low, high = band(500.0, 0.1)
    assert np.mean(draws < low) == pytest.approx(0.05, abs=0.005)
    assert np.mean(draws > high) == pytest.approx(0.05, abs=0.005)


def test_calm_is_counted_in_deviations():
    assert calm(10, 10, 0.1) == 0
    assert calm(30, 10, 0.0) == pytest.approx(20 / np.sqrt(10.25))
    assert calm(30, 10, 0.5) < calm(30, 10, 0.0)


def test_recomputing_from_rest_gives_what_the_steps_gave():
    rng = np.random.default_rng(3)
    for settings in (MINUTE, QUARTER_HOUR):
        state, slot = State.new(1, 1.0, settings), local_slots("UTC", [0])
        seen, said = [], []
        for _ in range(40):
            seen.append(float(rng.poisson(4)))
            state, verdict = tick(state, slot, [seen[-1]], [0], [False], settings)
            said.append([verdict.fast_expected[0], verdict.expected[0], verdict.r_fast[0], verdict.r_slow[0]])
        m_fast, m_slow, r_fast, r_slow = np.array(said).T
        again = recompute(seen, m_fast, m_slow, r_fast, r_slow, coarse=settings.coarse)
        assert again == pytest.approx(verdict.ln_m[0], abs=1e-9)


def test_a_surge_of_one_family_is_gone_without_it():
    whole = np.full(20, 6.0)
    without = np.full(20, 1.0)
    assert recompute(whole, 1.0, 1.0, 1.0, 1.0) > 10
    assert recompute(without, 1.0, 1.0, 1.0, 1.0) < 4
    assert recompute(whole, 1.0, 1.0, 1.0, 1.0, m_share=1.0, r_share=1.0) > recompute(whole, 1.0, 1.0, 1.0, 1.0)
