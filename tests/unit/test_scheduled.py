"""A file of scheduled events: what it says, what is wrong with it, and what the detector expects while one runs."""

import numpy as np
import pytest

from bench import surge_road
from stream.detection.detect import Detector
from stream.detection.scheduled import BrokenEvents, Event, Schedule, check, load
from stream.detection.surge import Settings, State, tick
from stream.names import entities
from stream.names.directory import Directory

HEAD = "subject,start,end,kind,factor\n"
APPLE = "XNAS:AAPL"
HOUR_MS = 3_600_000
DIRECTORY = Directory(entities.load())


@pytest.fixture
def write(tmp_path):
    def written(text, encoding="utf-8"):
        file = tmp_path / "events.csv"
        file.write_text(text, encoding=encoding)
        return file

    return written


def test_a_row_names_a_subject_by_symbol_or_id_and_may_leave_the_factor_out(write):
    rows = (
        "AAPL,2026-10-29T16:00:00-04:00,2026-10-29T20:00:00-04:00,earnings,\n"
        "market:XNYS,2026-10-29T12:30:00Z,2026-10-29T13:00:00Z,data release,1.5\n"
    )
    found = list(load(write(HEAD + rows, encoding="utf-8-sig"), DIRECTORY.resolve))
    assert found == [
        Event(APPLE, 1_793_304_000_000, 1_793_318_400_000, "earnings", 3.0),
        Event("market:XNYS", 1_793_277_000_000, 1_793_278_800_000, "data release", 1.5),
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("NOPE,2026-10-29T16:00:00Z,2026-10-29T20:00:00Z,earnings,3", "'NOPE' is no subject"),
        ("TEST:CANARY,2026-10-29T16:00:00Z,2026-10-29T20:00:00Z,earnings,3", "is no subject"),
        ("AAPL,2026-10-29T16:00:00,2026-10-29T20:00:00Z,earnings,3", "the start '2026-10-29T16:00:00' is no time with a zone"),
        ("AAPL,2026-10-29T16:00:00Z,later,earnings,3", "the end 'later'"),
        ("AAPL,2026-10-29T16:00:00Z,2026-10-29T16:00:00Z,earnings,3", "must end after its start"),
        ("AAPL,2026-10-29T16:00:00Z,2026-12-29T16:00:00Z,earnings,3", "within 31 days"),
        ("AAPL,2026-10-29T16:00:00Z,2026-10-29T20:00:00Z,,3", "it has no kind"),
        ("AAPL,2026-10-29T16:00:00Z,2026-10-29T20:00:00Z,earnings,much", "the factor 'much' is no number"),
        ("AAPL,2026-10-29T16:00:00Z,2026-10-29T20:00:00Z,earnings,1", "must lie above 1"),
        ("AAPL,2026-10-29T16:00:00Z,2026-10-29T20:00:00Z,earnings,nan", "must lie above 1"),
        ("AAPL,2026-10-29T16:00:00Z,2026-10-29T20:00:00Z,earnings,51", "at most at 50"),
        ("AAPL", "is no time"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named_by_its_line_and_the_others_stand(write, row, said):
    good = "AAPL,2026-10-29T16:00:00Z,2026-10-29T20:00:00Z,earnings,3\n"
    found, wrong = check(write(HEAD + good + row + "\n"), DIRECTORY.resolve)
    assert len(found) == 1
    (sentence,) = wrong
    assert sentence.startswith("line 3: ")
    assert said in sentence
    with pytest.raises(BrokenEvents, match="line 3"):
        load(write(HEAD + good + row + "\n"), DIRECTORY.resolve)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column subject, start, end, kind"),
        ("subject,start,kind\n", "no column end"),
        (HEAD + '"\n', "is not CSV"),
    ],
)
def test_a_file_that_is_none_is_refused_as_a_whole(write, text, said):
    with pytest.raises(BrokenEvents, match=said):
        check(write(text), DIRECTORY.resolve)


def test_a_file_that_is_missing_or_not_utf8_is_refused(write, tmp_path):
    with pytest.raises(BrokenEvents, match="cannot be read"):
        check(tmp_path / "none.csv", DIRECTORY.resolve)
    with pytest.raises(BrokenEvents, match="UTF-8"):
        check(write("subject,start,end,kind\n贵州茅台,,,\n", encoding="gbk"), DIRECTORY.resolve)


def test_an_event_runs_from_its_start_until_before_its_end_and_the_larger_factor_wins():
    schedule = Schedule(
        [Event("A", 100, 200, "earnings", 3), Event("A", 150, 180, "call", 5), Event("B", 150, 300, "x", 2)]
    )
    factors = [{name: one.factor for name, one in schedule.running(at).items()} for at in (99, 100, 150, 180, 200, 300)]
    assert factors == [{}, {"A": 3}, {"A": 5, "B": 2}, {"A": 3, "B": 2}, {"B": 2}, {}]
    assert [one.kind for one in schedule.of("A", 0, 1000)] == ["earnings", "call"]
    assert schedule.of("A", 200, 300) == []


def test_the_version_is_that_of_the_events_and_not_of_their_order():
    rows = [Event("A", 100, 200, "earnings", 3), Event("B", 150, 300, "x", 2)]
    assert Schedule(rows).version == Schedule(reversed(rows)).version != Schedule(rows[:1]).version
    assert Schedule().version == ""


def test_the_directory_expects_more_of_a_subject_while_its_event_runs(write):
    file = write(HEAD + "AAPL,2026-10-29T16:00:00Z,2026-10-29T17:00:00Z,earnings,4\n")
    known = Directory(entities.load(), events_file=str(file))
    (event,) = known.schedule
    starts = event.start_ms + np.arange(-2, 62, dtype=np.int64) * 60_000
    slots = known.slots(APPLE, starts)
    assert slots.factor.tolist() == [1, 1, *[4] * 60, 1, 1]
    state = State.new(1, 0.2, Settings()).take([0] * len(starts))
    zeros = np.zeros(len(starts))
    _, said = tick(state, slots, zeros, zeros, zeros > 0, Settings())
    assert said.expected[2] == pytest.approx(4 * said.expected[1], rel=0.05)
    assert known.slots("XNAS:MSFT", starts).factor is None
    assert known.during(APPLE, event.start_ms - HOUR_MS, event.start_ms) == ""
    assert known.during(APPLE, event.start_ms - HOUR_MS, event.start_ms + 1) == "earnings"


def test_the_detector_expects_more_of_the_one_subject_from_the_minute_its_event_begins(write):
    file = write(HEAD + "AAPL,2026-10-29T16:07:00Z,2026-10-29T17:00:00Z,earnings,4\n")
    known = Directory(entities.load(), events_file=str(file))
    detector = Detector(surge_road.policy(known), known)
    detector.restore(["XNAS:MSFT", APPLE], State.new(2, 1.0, Settings()))
    (event,) = known.schedule
    before, inside = (detector.expectations(at_ms) for at_ms in (event.start_ms - 60_000, event.start_ms))
    assert inside[APPLE][0] == pytest.approx(4 * before[APPLE][0])
    assert inside["XNAS:MSFT"] == before["XNAS:MSFT"]
