"""When quiet hours end, also past midnight and where clocks change; and what the conditions of a silence match."""

import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.matchers import labels, matches, parse
from alerts.quiet import quiet_until
from groundswell.errors import WrongShape
from groundswell.records import CauseCount, QuietHours
from tests.alert_events import alert_event


def ms(zone: str, text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "hours", "now", "ends"),
    [
        ("Asia/Shanghai", ("22:00", "07:00"), "2026-11-21T23:30", "2026-11-22T07:00"),
        ("Asia/Shanghai", ("22:00", "07:00"), "2026-11-22T06:59:59", "2026-11-22T07:00"),
        ("Asia/Shanghai", ("22:00", "07:00"), "2026-11-22T07:00", None),
        ("Asia/Shanghai", ("22:00", "07:00"), "2026-11-21T21:59", None),
        ("Asia/Shanghai", ("12:00", "13:30"), "2026-11-21T12:00", "2026-11-21T13:30"),
        ("Asia/Shanghai", ("12:00", "13:30"), "2026-11-21T13:30", None),
        ("UTC", ("00:00", "00:00"), "2026-11-21T00:00", None),
        # The night of the change is an hour shorter or longer; the clock on the wall counts.
        ("Europe/London", ("22:00", "07:00"), "2026-03-28T23:00", "2026-03-29T07:00"),
        ("America/New_York", ("22:00", "07:00"), "2026-10-31T23:00", "2026-11-01T07:00"),
        ("Europe/London", ("22:00", "01:30"), "2026-03-28T23:00", "2026-03-29T01:30"),
        ("No/Where", ("22:00", "07:00"), "2026-11-21T23:30", None),
        ("UTC", ("late", "07:00"), "2026-11-21T23:30", None),
    ],
)
def test_quiet_hours_end_by_the_clock_on_the_wall(zone, hours, now, ends):
    known = "UTC" if zone == "No/Where" else zone
    found = quiet_until(QuietHours(zone=zone, start=hours[0], end=hours[1]), ms(known, now))
    assert found == (0 if ends is None else ms(known, ends))


@given(st.integers(0, 4 * 10**12), st.sampled_from(["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"]))
def test_quiet_hours_always_end_later_and_within_two_days(now, zone):
    for start, end in (("22:00", "07:00"), ("01:30", "02:15"), ("00:00", "23:59")):
        found = quiet_until(QuietHours(zone=zone, start=start, end=end), now)
        assert found == 0 or now < found <= now + 48 * 3_600_000


DATA = alert_event(
    subject="XSHG:600001|topic:fraud",
    topics=[CauseCount(id="topic:default", negatives=30), CauseCount(id="topic:tax", negatives=3)],
    sources=[CauseCount(id="forum", negatives=9)],
).data


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("severity=warning", True),
        ("severity = critical", False),
        ("severity!=critical", True),
        ("subject=XSHG:600001", True),
        ("subject=XSHG:600001|topic:fraud", True),
        ("subject=XSHG:*", True),
        ("subject!=XNAS:*", True),
        ("subject=*6000*", True),
        ("topic in fraud, tax", True),
        ("topic=topic:fraud", True),
        ("topic=default", True),
        ("topic=tax", False),
        ("topic not in fraud,x", False),
        ("lang=zh", True),
        ("source=wire", True),
        ("source in forum", True),
        ("rule=negative-*", True),
        ("kind=count", True),
    ],
)
def test_a_condition_holds_for_an_alert_or_not(text, holds):
    assert parse(text).holds(labels(DATA)) == holds


@pytest.mark.parametrize(
    "text", ["", "severity", "colour=red", "topic in ", "=x", "topic in a,,b", "x" * 600 + "=1", "severity~=w"]
)
def test_what_is_no_condition_is_refused_with_what_to_write(text):
    with pytest.raises(WrongShape) as caught:
        parse(text)
    assert "FIELD=VALUE" in caught.value.line


@given(st.lists(st.text("ab", max_size=3), min_size=1, max_size=5), st.lists(st.text("ab*", max_size=3), max_size=5))
def test_a_pattern_made_of_a_text_fits_it(parts, fillings):
    filled = "".join(part + (fillings[number] if number < len(fillings) else "") for number, part in enumerate(parts))
    pattern = "*".join(parts) + "*"
    assert matches(pattern, filled)
    assert not matches("c" + pattern, filled)


def test_no_pattern_takes_long():
    begun = time.process_time()
    assert not matches("*a" * 200 + "*b", "a" * 50_000)
    assert time.process_time() - begun < 1.0
