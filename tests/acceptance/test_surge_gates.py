"""Small forms of the detector's gates: false alarms are held hard, recall with a margin.

The full ones are `groundswell bench detect --gate NAME`. A rate of false alarms shows in days of talk only:
the holidays are judged over 840.
"""

import json

import pytest

from bench import detect, surge_compare, surge_gates, surge_road_gates


@pytest.mark.parametrize(
    ("gate", "key_days"),
    [("null", 420), ("cold-start", 150), ("nan", 3), ("market", 600), ("holiday", 840)],
)
def test_what_is_required_of_false_alarms_of_market_days_and_of_odd_input_holds_in_small_too(gate, key_days):
    assert detect.ask(gate, seed=3, key_days=key_days)["passed"]


def test_at_one_false_alarm_in_ten_days_near_half_of_the_surges_are_found_within_minutes():
    got = surge_gates.tuned_recall(seed=3, key_days=630, target=0.1, runs=1)
    assert got["recall"] >= 0.42
    assert got["precision"] >= 0.7
    assert got["delay_min"] <= 8
    assert got["recall_by_factor"]["5.0"] >= 0.7


def test_no_rule_that_others_use_finds_as_much_at_the_same_false_alarms(tmp_path):
    got = surge_compare.baselines(seed=3, key_days=420, picture=tmp_path / "recall.svg")
    assert got["recall_more"] > 0
    assert len(got["methods"]) >= 6
    # The others are no straw men: one of them finds a quarter at that rate.
    assert max(row["recall"] for name, row in got["methods"].items() if name != surge_compare.OURS) >= 0.25
    assert b"false alarms" in (tmp_path / "recall.svg").read_bytes()


def test_an_early_look_never_fires_what_the_close_would_not():
    got = surge_gates.early_look(seed=3, key_days=40)
    assert got["violations"] == 0
    assert got["crossed"] > 1000


def test_onset_and_effect_are_near_the_truth_at_firing():
    got = surge_gates.onset_and_effect(seed=3, key_days=840)
    assert got["fired"] >= 100
    assert got["onset_within_5_min"] >= 0.8
    assert got["coverage"] >= 0.75


def test_an_episode_ends_soon_after_its_surge_and_not_before():
    got = surge_gates.resolve(seed=3, key_days=420)
    assert got["minutes_after_the_end"] <= 35
    assert got["premature"] <= 0.05
    assert got["fired_again_within_60_min"] <= 0.1


def test_wide_steps_keep_the_bound_too():
    assert max(surge_gates.coarse(seed=3, key_days=630)["fa_at_one_in_ten_days"].values()) <= 0.1


def test_storms_of_copies_stay_silent_even_where_one_copy_in_ten_is_missed():
    got = surge_road_gates.storm(seed=3, key_days=280)
    assert got["fired"]["folded"] <= 0.03
    assert got["fired"]["one_in_ten_missed"] <= 0.04
    # Without the second net the missed copies would have told.
    assert got["fired"]["missed_without_leaving_out"] >= 2 * got["fired"]["one_in_ten_missed"]


def test_a_stream_cut_stopped_and_started_anywhere_tells_the_same_with_the_same_evidence():
    got = surge_road_gates.cut(seed=3, key_days=15)
    assert got["transitions"] > 0
    assert got["cuts_with_the_same_alerts_and_evidence"] == 1
    assert got["orders_with_the_same_alerts"] == 1
    assert got["orders_with_the_same_evidence_at_closes"] == 1


def test_realistic_talk_tells_its_surges_and_not_its_storms():
    got = surge_road_gates.road(seed=4, key_days=140)
    assert got["surges_told"] >= 0.4
    assert got["storms_told"] <= 0.05
    assert got["alerts_for_nothing_planted"] <= 2


def test_series_of_any_field_are_read_better_than_by_the_usual_rules():
    got = surge_compare.series(seed=5, key_days=1)
    assert got["better_than_best_baseline"] > 5
    assert got["at_default"]["standard"] >= 70
    assert got["alerts_outside_a_1000_rows"] <= 0.5


def test_a_step_of_ten_thousand_subjects_fits_its_second_many_times():
    got = surge_gates.tick_time(seed=3)
    assert got["median_us"]["10000"] < 50_000
    assert got["bytes_a_subject"] <= 1024


@pytest.mark.parametrize(("found", "holds", "status"), [(0.02, True, 0), (0.2, False, 1)])
def test_a_gate_prints_one_json_line_with_what_is_required_and_its_exit_status_tells(
    found, holds, status, capsys, monkeypatch
):
    def measured(seed, key_days):
        return {"fa": {"a": found, "b": 0.0}, "crossed": seed * key_days}

    monkeypatch.setitem(detect.GATES, "null", detect.Gate(measured, {"fa": 0.1}, {"crossed": 8}))
    assert detect.main(["--gate", "null", "--seed", "2", "--key-days", "4", "--json"]) == status
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    line = json.loads(out)
    assert line.pop("seconds") >= 0
    assert line == {
        "gate": "null", "seed": 2, "fa": {"a": found, "b": 0.0}, "crossed": 8,
        "required": {"fa": "<= 0.1", "crossed": ">= 8"}, "passed": holds,
    }  # fmt: skip


def test_what_is_not_built_says_so_and_neither_holds_nor_fails(capsys, monkeypatch):
    monkeypatch.setitem(detect.GATES, "market", detect.Gate(lambda _seed: {"not_built": "in earnest"}))
    assert detect.main(["--gate", "market"]) == 0
    assert capsys.readouterr().out.startswith("not built")
