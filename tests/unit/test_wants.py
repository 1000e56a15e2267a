"""What people write about time, quiet hours and filters is read, or refused with what to write instead."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.people import wants
from groundswell.errors import GroundswellError, WrongShape
from groundswell.records import QuietHours

NOW = 1_795_300_020_000
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("30m", 1_800), ("2h", 7_200), ("1h30m", 5_400), ("3d", 259_200), ("2w", 1_209_600), (" 2H ", 7_200)],
)
def test_a_span_is_read_in_its_units(text, seconds):
    assert wants.span_s(text) == seconds


@given(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99))
def test_parts_of_a_span_add_up(days, hours, minutes):
    assert wants.span_s(f"{days}d{hours}h{minutes}m") == days * 86_400 + hours * 3_600 + minutes * 60


@given(st.text(max_size=40))
def test_any_other_text_is_refused_or_read_but_never_breaks(text):
    for read in (
        wants.span_s,
        wants.moment_ms,
        lambda one: wants.past_ms(one, NOW),
        lambda one: wants.until_ms(one, "", NOW),
        lambda one: wants.quiet_hours(one, "UTC"),
        lambda one: wants.checked_quiet(QuietHours(zone=one, start="22:00", end="07:00")),
        lambda one: wants.subjects([one]),
        lambda one: wants.topics([one]),
        lambda one: wants.languages([one]),
        wants.name,
    ):
        refusal = refused(read, text)
        assert refusal is None or (refusal.remedy and len(refusal.line) < 300)


def refused(read: Callable[[str], object], text: str) -> GroundswellError | None:
    try:
        read(text)
    except GroundswellError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (lambda: wants.span_s("2 hours"), "Write 30m"),
        (lambda: wants.moment_ms("2026-11-21T18:00:00"), "+08:00"),
        (lambda: wants.past_ms("2099-01-01T00:00:00Z", NOW), "two hours ago"),
        (lambda: wants.until_ms("", "", NOW), "--for 2h"),
        (lambda: wants.until_ms("2026-11-22T18:00:00Z", "2h", NOW), "--for 2h"),
        (lambda: wants.until_ms("2020-01-01T00:00:00Z", "", NOW), "date and its zone"),
        (lambda: wants.until_ms("", "60w", NOW), "a span"),
        (lambda: wants.quiet_hours("22-7", "UTC"), "22:00-07:00"),
        (lambda: wants.quiet_hours("22:00-24:00", "UTC"), "23:59"),
        (lambda: wants.quiet_hours("22:00-22:00", "UTC"), "22:00-07:00"),
        (lambda: wants.quiet_hours("22:00-07:00", "Beijing"), "Asia/Shanghai"),
        (lambda: wants.quiet_hours("22:00-07:00", "../../etc/passwd"), "Asia/Shanghai"),
        (lambda: wants.subjects(["all companies"]), "XNAS:AAPL"),
        (lambda: wants.topics(["Fraud!"]), "fraud"),
        (lambda: wants.languages(["chinese"]), "zh"),
        (lambda: wants.repeat(10), "5 minutes"),
        (lambda: wants.escalation(-1), "at once"),
        (lambda: wants.name(" \u202e "), "--name"),
    ],
)
def test_what_cannot_be_read_says_what_to_write(read, says):
    with pytest.raises(WrongShape) as told:
        read()
    assert says in told.value.remedy


def test_a_moment_may_be_a_time_or_so_long_ago():
    assert wants.past_ms("2h", NOW) == NOW - 2 * HOUR_MS
    assert wants.past_ms("2026-11-21T18:00:00+08:00", NOW) == wants.past_ms("2026-11-21T10:00:00Z", NOW)


def test_a_silence_ends_at_a_time_or_after_a_span():
    assert wants.until_ms("", "90m", NOW) == NOW + 90 * 60_000
    assert wants.until_ms("2026-12-01T00:00:00Z", "", NOW) > NOW


def test_quiet_hours_may_pass_midnight_and_hours_may_be_short():
    assert wants.quiet_hours("22:00-7:30", "Asia/Shanghai", "critical") == QuietHours(
        zone="Asia/Shanghai", start="22:00", end="07:30", unless="critical"
    )


def test_filters_may_be_repeated_or_listed_and_count_once():
    assert wants.subjects(["XNAS:AAPL, XSHG:600519", "XNAS:AAPL", ""]) == ["XNAS:AAPL", "XSHG:600519"]
    assert wants.topics(["topic:fraud", "default"]) == ["fraud", "default"]
    assert wants.subjects(["XSHG:600519|topic:fraud", "market", "FX:USDCNY", "topic:default"])
