"""What `detect-series` promises about any series. How well it sees is measured in acceptance/test_surge_gates.py."""

import csv
import json
from itertools import islice

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from groundswell.cli import cli
from groundswell.commands import series as command
from groundswell.errors import BadSetting
from stream.detection.series import NotInOrder, SeriesSettings, detect

START_S = 1_700_000_000
values = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from([0.0, 0.0, 1.0, -5.0, float("nan"), 1e-300, 1e100, -1e100]), st.integers(0, 50).map(float)
)  # fmt: skip


def rows(series, step_s=300):
    return [(START_S + i * step_s, float(value)) for i, value in enumerate(series)]


def answers(series, step_s=300, **given):
    return list(detect(rows(series, step_s), SeriesSettings(**given)))


def alerts(seen):
    return [i for i, one in enumerate(seen) if one.alert]


def noise(rows_=1500, seed=1, level=100.0, sd=3.0):
    return np.random.default_rng(seed).normal(level, sd, rows_)


@budget(max_examples=60, deadline=None)
@given(
    st.lists(values, min_size=1, max_size=150),
    st.lists(st.sampled_from([60, 300, 300, 3600, 90_000]), min_size=150, max_size=150),
    st.data(),
)
def test_a_row_is_judged_by_the_rows_up_to_it_alone(series, steps, data):
    at_s = START_S + np.cumsum(steps)[: len(series)]
    given_rows = list(zip(at_s.tolist(), series, strict=True))
    cut = data.draw(st.integers(1, len(series)))
    with np.errstate(all="raise", under="ignore"):
        assert repr(list(detect(given_rows))[:cut]) == repr(list(detect(given_rows[:cut])))


@budget(max_examples=60, deadline=None)
@given(st.lists(values, max_size=200), st.sampled_from(["up", "down", "both"]), st.sampled_from([1, 300, 3600, 86_400]))
def test_no_series_makes_a_number_that_is_none(series, direction, step_s):
    with np.errstate(all="raise", under="ignore"):
        for seen in answers([0, 0, *series], step_s, direction=direction, ln_h=1.0):
            assert np.isfinite([seen.expected, seen.lo, seen.hi, seen.ln_m, seen.raw_score, seen.score]).all()
            assert seen.lo <= seen.expected <= seen.hi
            assert 0 <= seen.raw_score <= 1
            assert (seen.score >= 0.5) == seen.alert == (seen.onset is not None)


@budget(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2.0**-20, 0.25, 1024.0]), st.sampled_from([0, -(2**12), 2**14]))
def test_the_unit_and_the_zero_of_a_series_change_nothing(seed, scale, shift):
    rng = np.random.default_rng(seed)
    series = np.round(rng.normal(50, 4, 400))
    series[300:310] += 60
    plain, moved = answers(series), answers(series * scale + shift * scale)
    np.testing.assert_allclose([one.ln_m for one in moved], [one.ln_m for one in plain], atol=1e-6)
    np.testing.assert_allclose(
        [one.expected / scale - shift for one in moved], [one.expected for one in plain], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("change", "direction"),
    [(+60, "up"), (-60, "down"), (+60, "both"), (-60, "both")],
)
def test_a_spike_and_a_drop_alert_at_once_and_say_when_they_began(change, direction):
    series = noise()
    series[1000:1012] += change
    (at,) = alerts(answers(series, direction=direction))
    assert 1000 <= at <= 1002
    assert answers(series, direction=direction)[at].onset == at - 1000


@pytest.mark.parametrize(("change", "direction"), [(-60, "up"), (+60, "down")])
def test_the_direction_that_nobody_asked_for_stays_silent(change, direction):
    series = noise()
    series[1000:1012] += change
    assert alerts(answers(series, direction=direction)) == []


def test_a_day_and_night_that_repeat_are_no_anomaly_and_a_missing_day_is():
    at = np.arange(288 * 20)
    series = np.random.default_rng(3).poisson(60 * (1.05 - np.cos(at / 288 * 2 * np.pi))).astype(float)
    assert alerts(answers(series)) == []
    series[288 * 15 + 90 : 288 * 16] = 8
    found = alerts(answers(series))
    assert len(found) == 1
    assert 288 * 15 + 90 <= found[0] < 288 * 15 + 150


def test_what_stays_changed_becomes_usual_within_days():
    series = noise(288 * 12)
    series[288 * 5 :] += 25
    found = alerts(answers(series))
    assert 288 * 5 <= found[0] <= 288 * 5 + 5
    assert all(at < 288 * 8 for at in found)


def test_a_flat_line_is_silent_and_its_first_move_is_seen():
    assert alerts(answers([7.0] * 500)) == []
    assert alerts(answers([0.0] * 500)) == []
    for flat in (7.0, 0.0, -3.0):
        assert alerts(answers([flat] * 500 + [flat + 40] * 5))[0] in range(500, 505)


def test_a_hole_and_an_empty_value_are_missing_and_not_zero():
    series = noise(1200)
    gone = rows(series)[:800] + rows(series)[1000:]
    assert alerts(detect(gone)) == []
    series[700:760] = np.nan
    seen = answers(series)
    assert alerts(seen) == []
    assert seen[730].expected == pytest.approx(100, abs=2)


def test_no_second_alert_within_the_refractory_time():
    series = noise(288 * 4)
    for start in (600, 640, 700, 1000):
        series[start : start + 3] += 80
    assert [at // 3 for at in alerts(answers(series))] == [200, 333]
    again = alerts(answers(series, refractory_s=1800.0))
    assert {at // 3 for at in again} >= {200, 213, 233, 333}
    assert min(np.diff(again)) >= 6


def test_times_twice_and_an_hour_turned_back_are_rows_like_others_and_older_ones_are_refused():
    series = rows(noise(400))
    back = series[:200] + [(at_s - 3600, value) for at_s, value in series[200:]]
    assert len(list(detect(back))) == 400
    assert len(list(detect([(START_S, 1.0)] * 50))) == 50
    with pytest.raises(NotInOrder):
        list(detect([*series[:200], (START_S, 1.0)]))


def test_thresholds_that_make_no_sense_are_refused():
    for wrong in ({"ln_h": 0.0}, {"ln_h": 40.0}, {"ln_h": float("nan")}, {"refractory_s": -1.0}):
        with pytest.raises(BadSetting):
            SeriesSettings(**wrong)


# -- the command -----------------------------------------------------------------------------------------------------


def run(*arguments, text=None):
    return CliRunner().invoke(cli, ["detect-series", *map(str, arguments)], input=text, catch_exceptions=True)


def write(path, given_rows, header="timestamp,value"):
    path.write_text("\n".join([header, *(f"{at},{value}" for at, value in given_rows)]) + "\n", "utf-8")
    return path


@pytest.fixture
def spiked(tmp_path):
    series = noise(900)
    series[600:606] += 90
    return write(tmp_path / "spiked.csv", rows(np.round(series, 2)))


def test_every_row_gets_one_json_line_in_its_order_with_all_keys(spiked):
    out = run(spiked, "--json")
    lines = [json.loads(line) for line in out.stdout.splitlines()]
    with spiked.open() as file:
        given_rows = list(islice(csv.reader(file), 1, None))
    assert out.exit_code == 0
    assert [[str(line["timestamp"]), line["value"]] for line in lines] == [
        [at, float(value)] for at, value in given_rows
    ]
    keys = "timestamp value expected lo hi ln_m raw_score score alert onset"
    assert {" ".join(line) for line in lines} == {keys}
    (alert,) = [line for line in lines if line["alert"]]
    assert alert["onset"] == int(given_rows[600][0])
    assert alert["score"] == pytest.approx(0.5 + 0.5 * alert["raw_score"], rel=1e-5)


def test_standard_input_and_a_table_for_people(spiked):
    out = run("-", text=spiked.read_text())
    assert out.exit_code == 0
    assert "1 alert in 900 rows" in out.stdout
    assert str(START_S + 600 * 300) in out.stdout


@pytest.mark.parametrize(
    "form",
    ["{0:%Y-%m-%d %H:%M:%S}", "{0:%Y-%m-%dT%H:%M:%SZ}", "{0:%Y-%m-%dT%H:%M:%S+00:00}", "{1}", "{1}000", "{1}.0"],
)
def test_iso_times_and_epochs_in_seconds_or_milliseconds_say_the_same(form, spiked, tmp_path):
    from datetime import UTC, datetime

    with spiked.open() as file:
        given_rows = list(islice(csv.reader(file), 1, None))
    other = write(
        tmp_path / "other.csv", [(form.format(datetime.fromtimestamp(int(at), UTC), at), v) for at, v in given_rows]
    )
    plain, found = (
        [json.loads(line)["ln_m"] for line in run(path, "--json").stdout.splitlines()] for path in (spiked, other)
    )
    assert found == plain


def test_extra_columns_a_byte_order_mark_and_empty_values_are_fine(tmp_path):
    path = tmp_path / "odd.csv"
    path.write_bytes(
        "\ufeffname, Value ,timestamp\nx,1,2026-01-01 00:00\nx,,2026-01-01 00:05\n\nx,NaN,2026-01-01 00:10\n".encode()
    )
    lines = [json.loads(line) for line in run(path, "--json").stdout.splitlines()]
    assert [line["value"] for line in lines] == [1.0, None, None]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("timestamp,value\n1,2\nyesterday,3\n", "Line 3: 'yesterday' is no time."),
        ("timestamp,value\n1,2\n2,many\n", "Line 3: 'many' is no number."),
        ("timestamp,value\n1,2\n2\n", "Line 3: 1 cells instead of 2."),
        ("timestamp,value\n1,inf\n", "Line 2: the value inf is beyond"),
        ("timestamp,value\nnan,1\n", "Line 2: 'nan' is no time."),
        ("timestamp,value\n1e300,1\n", "is no time."),
        ("timestamp,value\n9000,1\n60,2\n", "Line 3: A row is 8,940 s older"),
        ("timestamp,value\n1,2\n2,\x1b[31mred\n", "is no number."),
        ("a,b\n1,2\n", "The first line is not a header"),
        ("", "The first line is not a header"),
        ('timestamp,value\n1,"' + "9" * 9000 + '"\n', "field larger than field limit"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_its_line(text, said, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_text(text, "utf-8")
    out = run(path, "--json")
    assert isinstance(out.exception, command.BadSeries)
    assert said in out.exception.line
    assert "\x1b" not in out.exception.line


def test_a_file_that_is_not_there_and_a_span_that_is_none_are_named(tmp_path):
    assert "No such file" in run(tmp_path / "none.csv").exception.line
    assert run(tmp_path / "none.csv", "--refractory", "soon").exit_code == 2


def test_the_words_for_sensitivity_are_thresholds(spiked):
    def found(word):
        return run(spiked, "--sensitivity", word, "--refractory", "0s", "--json").stdout.count('"alert": true')

    counts = [found(word) for word in ("fewer", "balanced", "more")]
    assert counts == sorted(counts)
    assert counts[0] >= 1
    assert '"alert": true' not in run(spiked, "--threshold", "39.9", "--json").stdout
