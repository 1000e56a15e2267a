"""A partition that was read and does not get finished ends the process; waiting for somebody else does not."""

import pytest
from aiokafka import TopicPartition

from groundswell.clock import ManualClock
from groundswell.errors import Stuck
from stream.standstill import Standstill

ONE, TWO = TopicPartition("news", 1), TopicPartition("news", 2)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(0)


@pytest.fixture
def still(clock: ManualClock) -> Standstill:
    return Standstill("ingest", clock, stuck_s=100)


def test_what_is_read_and_never_finished_is_stuck_in_the_end(still, clock):
    still.read(ONE, 10)
    clock.advance(99)
    still.look()
    clock.advance(1)
    with pytest.raises(Stuck, match="Partition 1 of news has not moved for 100 s"):
        still.look()


def test_a_partition_that_moves_may_be_behind_for_ever(still, clock):
    still.read(ONE, 1_000)
    for end in range(10):
        clock.advance(99)
        still.finished(ONE, end)
        still.read(ONE, 1_000 + end)
        still.look()


def test_a_partition_with_nothing_open_is_not_stuck_and_neither_is_its_neighbours_clock(still, clock):
    still.read(ONE, 10)
    still.finished(ONE, 10)
    clock.advance(1_000)
    still.look()
    still.read(TWO, 5)
    clock.advance(60)
    still.read(ONE, 11)
    clock.advance(39)
    still.look()
    assert still.longest == (99.0, TWO)


def test_what_was_revoked_or_waited_for_another_is_no_standstill(still, clock):
    still.read(ONE, 10)
    still.read(TWO, 10)
    clock.advance(99)
    still.forget([ONE])
    still.excuse()
    clock.advance(99)
    still.look()
    assert still.longest == (99.0, TWO)


def test_people_hear_of_it_after_a_quarter_of_the_time(still, clock):
    still.read(ONE, 10)
    clock.advance(24)
    assert still.slow == ""
    clock.advance(1)
    assert still.slow == "Partition 1 of news has not moved for 25 s and may for 100 s"
