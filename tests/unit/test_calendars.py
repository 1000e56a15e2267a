"""Sessions of the exchanges: holidays, half days, the end of a calendar, and no instant that raises."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from stream.detection import calendars
from stream.detection.season import GROUP_ZONES, GROUPS, local_slots

NEW_YORK, SHANGHAI, HONG_KONG = ((GROUP_ZONES[group], group) for group in ("XNYS", "XSHG", "XHKG"))


def at(*parts):
    return int(datetime(*parts, tzinfo=UTC).timestamp())


def slot(where, *parts):
    zone, group = where
    return local_slots(zone, at(*parts), group=group)


@pytest.mark.parametrize(
    ("where", "noon_utc"),
    [
        (NEW_YORK, (2026, 11, 26, 17)),  # Thanksgiving, a Thursday
        (NEW_YORK, (2015, 1, 19, 17)),  # Martin Luther King's day, a Monday
        (SHANGHAI, (2026, 2, 17, 4)),  # the new year of the moon, a Tuesday
        (SHANGHAI, (2015, 9, 3, 4)),  # a day off for one year only
        (HONG_KONG, (2026, 2, 17, 4)),
    ],
)
def test_a_holiday_on_a_weekday_is_read_as_a_saturday(where, noon_utc):
    found = slot(where, *noon_utc)
    assert found.weekend[0]
    assert found.quarter[0] // 96 == 5
    assert found.hour[0] == 12


def test_a_session_after_a_holiday_is_a_weekday():
    assert not slot(SHANGHAI, 2026, 2, 24, 4).weekend[0]
    assert not slot(SHANGHAI, 2026, 2, 13, 4).weekend[0]


def test_a_holiday_begins_and_ends_at_local_midnight():
    holiday = [slot(SHANGHAI, *parts).weekend[0] for parts in
               ((2026, 4, 30, 15, 59), (2026, 4, 30, 16), (2026, 5, 5, 15, 59), (2026, 5, 5, 16))]  # fmt: skip
    assert holiday == [False, True, True, False]


def test_the_holiday_of_one_exchange_is_an_ordinary_day_for_another():
    assert not slot(NEW_YORK, 2026, 2, 17, 17).weekend[0]
    assert not local_slots("UTC", at(2026, 11, 26, 17)).weekend[0]


def test_a_half_day_is_off_from_an_hour_after_its_close():
    in_new_york = [slot(NEW_YORK, 2026, 11, 27, *time).weekend[0] for time in ((15, 0), (18, 59), (19, 0), (22, 0))]
    assert in_new_york == [False, False, True, True]
    in_hong_kong = [slot(HONG_KONG, 2026, 12, 24, *time).weekend[0] for time in ((2, 0), (4, 59), (5, 0))]
    assert in_hong_kong == [False, False, True]
    assert not slot(NEW_YORK, 2026, 11, 30, 20).weekend[0], "a whole day"


def test_an_early_close_keeps_its_local_hour_when_the_clocks_change():
    in_winter, in_summer = (2026, 11, 27, 19), (2019, 7, 3, 18)  # 14:00 in New York, both
    assert [slot(NEW_YORK, *parts).weekend[0] for parts in (in_winter, in_summer)] == [True, True]
    assert [slot(NEW_YORK, *parts[:3], parts[3] - 1).weekend[0] for parts in (in_winter, in_summer)] == [False, False]


def test_beyond_the_end_of_a_calendar_a_weekday_is_a_session_and_that_is_said_once():
    calendars._tell_end.cache_clear()
    local_slots.__globals__["_local"].cache_clear()
    year = date.fromisoformat(calendars.sessions("XSHG").until).year + 1
    with capture_logs() as told:
        found = [slot(SHANGHAI, year, 1, day, 4).weekend[0] for day in range(1, 15)]
        slot(SHANGHAI, year, 10, 1, 4)
    assert found == [date(year, 1, day).weekday() >= 5 for day in range(1, 15)]
    (line,) = (one for one in told if one["event"] == "calendar_ended")
    assert line["calendar"] == "XSHG"
    assert "exchange-calendars" in line["hint"]


def test_a_library_that_does_not_load_stops_nothing(monkeypatch):
    def broken(_name):
        raise ImportError("no pandas here")

    monkeypatch.setattr(calendars, "import_module", broken)
    with capture_logs() as told:
        known = calendars.sessions.__wrapped__("XNYS")
    assert not known.rests(20_783, 60_000)
    assert [one["event"] for one in told] == ["calendar_missing"]


def test_doctor_says_how_far_the_calendars_reach_and_what_to_do_when_one_ends():
    far, near = calendars.describe(date(2026, 6, 1)), calendars.describe(date(2049, 12, 24))
    assert "XNYS until 2049-12-31" in far
    assert "update" not in far
    assert "update the package exchange-calendars" in near


def test_doctor_refuses_calendars_that_cannot_be_read(monkeypatch):
    monkeypatch.setattr(calendars, "sessions", lambda _exchange: calendars.Sessions())
    with pytest.raises(calendars.CalendarsMissing, match="cannot be read"):
        calendars.describe(date(2026, 6, 1))


@given(
    instant=st.datetimes(datetime(1990, 1, 1), datetime(2060, 12, 31), timezones=st.just(UTC)),
    group=st.sampled_from(GROUPS),
    zone=st.sampled_from([*GROUP_ZONES.values(), "Australia/Lord_Howe", "Europe/London"]),
)
def test_no_instant_of_seventy_years_raises_and_each_has_its_slot(instant, group, zone):
    found = local_slots(zone, int(instant.timestamp()), group=group)
    assert 0 <= found.quarter[0] < 672
    assert found.weekend[0] == (found.quarter[0] >= 480)
    assert found.quarter[0] // 4 % 24 == found.hour[0]
