"""Small forms of the detector's gates: false alarms are held hard, recall with a margin.

The full ones are `python -m bench.detect --gate NAME`.
"""

import json

import pytest

from bench import detect


def test_without_surges_false_alarms_keep_the_bound():
    got = detect.null(seed=3, key_days=420)
    assert got["fa_at_ln_14400"] <= 0.1
    assert got["fa_at_ln_1440"] <= 1


def test_at_one_false_alarm_in_ten_days_near_half_of_the_surges_are_found_within_minutes():
    got = detect._recall(seed=3, key_days=630, target=0.1, runs=1)
    assert got["recall"] >= 0.42
    assert got["precision"] >= 0.7
    assert got["delay_min"] <= 8
    assert got["recall_by_factor"]["5.0"] >= 0.7


def test_subjects_nobody_knows_raise_no_alarm_on_their_first_day():
    got = detect.cold_start(seed=3, key_days=150)
    assert got["fa_day_1"] <= 0.02
    assert got["fa_days_2_3"] <= 0.1


def test_no_input_breaks_the_arithmetic():
    assert detect.nan(seed=3, key_days=3)["not_finite"] == 0


def test_an_early_look_never_fires_what_the_close_would_not():
    got = detect.early_look(seed=3, key_days=40)
    assert got["violations"] == 0
    assert got["crossed"] > 1000


def test_onset_and_effect_are_near_the_truth_at_firing():
    got = detect.onset_and_effect(seed=3, key_days=840)
    assert got["fired"] >= 100
    assert got["onset_within_5_min"] >= 0.8
    assert got["coverage"] >= 0.75


def test_an_episode_ends_soon_after_its_surge_and_not_before():
    got = detect.resolve(seed=3, key_days=420)
    assert got["minutes_after_the_end"] <= 35
    assert got["premature"] <= 0.05
    assert got["fired_again_within_60_min"] <= 0.1


def test_wide_steps_keep_the_bound_too():
    assert max(detect.coarse(seed=3, key_days=630)["fa_at_one_in_ten_days"].values()) <= 0.1


def test_a_step_of_ten_thousand_subjects_fits_its_second_many_times():
    got = detect.tick_time(seed=3)
    assert got["median_us"]["10000"] < 50_000
    assert got["bytes_a_subject"] <= 1024


@pytest.mark.parametrize(("holds", "status"), [(True, 0), (False, 1)])
def test_a_gate_prints_one_json_line_and_its_exit_status_tells(holds, status, capsys, monkeypatch):
    monkeypatch.setitem(detect.GATES, "null", lambda seed, key_days: {"fa": seed / key_days, "passed": holds})
    assert detect.main(["--gate", "null", "--seed", "2", "--key-days", "4", "--json"]) == status
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert json.loads(out) | {"seconds": 0} == {"gate": "null", "seed": 2, "fa": 0.5, "passed": holds, "seconds": 0}
