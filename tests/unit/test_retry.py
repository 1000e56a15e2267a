"""Twelve tries over three days, later when asked, never in step."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.retry import ASKED_MOST_S, EXPIRES_S, STEPS_S, asked_s, wait_s

NOW_MS = 1_700_000_000_000  # Tue, 14 Nov 2023 22:13:20 GMT


def test_twelve_tries_take_75_hours_42_minutes_35_seconds():
    assert len(STEPS_S) == 12
    assert sum(STEPS_S) == 75 * 3600 + 42 * 60 + 35


@given(st.integers(1, 11), st.integers())
def test_each_wait_is_within_a_fifth_of_its_step(attempt, seed):
    wait = wait_s(attempt, random.Random(seed))
    assert 0.8 * STEPS_S[attempt] <= wait <= 1.2 * STEPS_S[attempt]


def test_after_the_twelfth_try_it_is_given_up():
    assert wait_s(12, random.Random(1)) is None


def test_all_waits_at_their_longest_end_before_the_item_expires():
    assert 1.2 * sum(STEPS_S) < EXPIRES_S


def test_a_receiver_can_lengthen_a_wait_and_not_shorten_it():
    rng = random.Random(1)
    assert wait_s(1, rng, asked_s=600) == 600
    assert wait_s(4, rng, asked_s=1) >= 0.8 * STEPS_S[4]
    assert wait_s(1, rng, asked_s=1e9) == ASKED_MOST_S


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        ("-1", 0.0),
        ("120", 120.0),
        ("1e9", ASKED_MOST_S),
        ("1000000000", ASKED_MOST_S),
        ("Tue, 14 Nov 2023 22:14:20 GMT", 60.0),
        ("Tue, 14 Nov 2023 22:12:20 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", ASKED_MOST_S),
        ("soon", None),
        ("nan", None),
        ("inf", ASKED_MOST_S),
        ("", None),
    ],
)
def test_retry_after_is_read_as_it_comes(header, seconds):
    assert asked_s({"retry-after": header}, b"", NOW_MS) == seconds


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        (b'{"retry_after": 1.5}', 1.5),
        (b'{"retry_after": true}', None),
        (b'{"retry_after": "2"}', None),
        (b"[1]", None),
        (b'{"retry_after', None),
        (b"\xff", None),
        (b"[" * 3000, None),
    ],
)
def test_retry_after_in_the_body_is_read_too(head, seconds):
    assert asked_s({}, head, NOW_MS) == seconds


@given(st.text(), st.binary())
def test_whatever_a_receiver_writes_is_a_bounded_wait_or_none(header, head):
    found = asked_s({"retry-after": header}, head, NOW_MS)
    assert found is None or 0 <= found <= ASKED_MOST_S
