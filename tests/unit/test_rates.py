"""Who asks too often waits; who does not, never does; and many askers cost a bounded memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.entry import rates
from dashboard.entry.rates import A_MINUTE, BUCKETS, Rates, asker_of


class Time:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


def test_a_minute_s_worth_may_come_at_once_and_then_one_when_its_time_has_come() -> None:
    time = Time()
    limits = Rates(time, {"write": 60})
    assert [limits.wait_s("write", "lin") for _ in range(60)] == [0.0] * 60
    wait = limits.wait_s("write", "lin")
    assert 0.9 < wait <= 1
    time.s += wait
    assert limits.wait_s("write", "lin") == 0
    assert limits.wait_s("write", "lin") > 0
    assert limits.wait_s("write", "ana") == 0


def test_a_kind_without_a_limit_never_waits_and_is_not_remembered() -> None:
    limits = Rates(Time(), {"write": 1})
    assert [limits.wait_s("read", "lin") for _ in range(1_000)] == [0.0] * 1_000
    assert len(limits) == 0


def test_asking_while_one_must_wait_does_not_make_it_longer() -> None:
    time = Time()
    limits = Rates(time, {"login": 10})
    for _ in range(500):
        limits.wait_s("login", "lin")
    time.s += 6.001
    assert limits.wait_s("login", "lin") == 0


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from(["a", "b"])), max_size=200))
def test_never_more_than_a_minute_s_worth_and_what_time_brought(steps: list[tuple[float, str]]) -> None:
    time = Time()
    limits, given_out = Rates(time, {"write": 6}), {"a": 0, "b": 0}
    for gap, asker in steps:
        time.s += gap
        given_out[asker] += limits.wait_s("write", asker) == 0
        assert given_out[asker] <= 6 + time.s * 6 / 60 + 1e-6


def test_a_million_askers_cost_no_more_than_the_bound() -> None:
    limits = Rates(Time(), A_MINUTE)
    for number in range(BUCKETS + 500):
        limits.wait_s("read", str(number))
    assert len(limits) == BUCKETS


@pytest.mark.parametrize(
    ("address", "asker"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_an_asker_of_ipv6_is_a_network(address: str, asker: str) -> None:
    assert asker_of(address) == asker


def test_every_kind_has_a_limit() -> None:
    assert set(A_MINUTE) == set(rates.Kind.__args__)
