"""On a market day: which alerts a market's explains, for whom, and until when."""

from typing import cast

import pytest

from alerts.lanes import Lanes
from alerts.market_day import AFTER_CRITICAL_MS, AFTER_MS, explained, parents
from alerts.open_alerts import OpenAlerts
from groundswell.records import AlertRule
from groundswell.times import parse_ms
from tests.alert_events import alert_event

ENDED = "2026-11-21T10:40:00Z"
NOW = parse_ms(ENDED)


@pytest.fixture
def alerts():
    return OpenAlerts(cast("Lanes", None))


def market(subject="market:XSHG", kind="alert.firing", sequence=1, effect=1.5, **fields):
    return alert_event(
        kind, sequence, episode=f"ep_{subject.replace(':', '_')}", subject=subject, effect=effect, **fields
    )


def company(up_to, subject="XSHG:600519", **fields):
    return alert_event(subject=subject, episode="ep_c", fires_up_to=up_to, **fields)


@pytest.mark.parametrize(
    ("subject", "own"),
    [
        ("XSHE:000858", ("market:XSHG", "market")),
        ("XNAS:AAPL|topic:fraud", ("market:XNYS", "market")),
        ("XDEM:BLUW", ("market",)),
        ("topic:fraud", ("market",)),
        ("market:XNYS", ("market",)),
        ("market", ("market:XNYS", "market:XSHG", "market:XHKG")),
    ],
)
def test_the_market_of_a_subject_is_its_exchanges_and_all_talk(subject, own):
    assert parents(subject) == own


@pytest.mark.parametrize(("up_to", "held"), [(0.0, False), (1.0, True), (1.5, True), (1.55, False), (20.0, False)])
def test_a_company_is_explained_by_a_market_that_surges_as_much_as_its_own_surge_could_bear(alerts, up_to, held):
    assert explained(company(up_to).data, 1.5) == held
    alerts.add(market())
    assert alerts.wider(company(up_to)) == (["ep_market_XSHG"] if held else [])


def test_a_critical_company_is_judged_by_its_excess_too(alerts):
    alerts.add(market())
    assert alerts.wider(company(1.2, severity="critical"))


@pytest.mark.parametrize(
    "child",
    [
        company(1.2, subject="XNAS:AAPL"),
        company(1.2, test=True),
        company(1.2, rule=AlertRule(id="mine", version=1, bounded=False)),
        alert_event("endpoint.disabled", subject="endpoint:e", episode="ep_e", fires_up_to=1.2),
    ],
)
def test_a_market_says_nothing_of_other_markets_tests_own_rules_and_the_installation(alerts, child):
    alerts.add(market())
    assert alerts.wider(child) == []


def test_all_talk_and_a_market_explain_each_other_so_that_one_of_them_is_told(alerts):
    everything = market("market", fires_up_to=1.05)
    alerts.add(market(fires_up_to=1.05))
    assert alerts.wider(everything) == ["ep_market_XSHG"]
    alerts.add(everything)
    assert alerts.wider(market(fires_up_to=1.05)) == ["ep_market"]


def test_others_are_looked_at_again_when_the_market_surges_less_or_ends(alerts):
    alerts.add(market(effect=2.0))
    assert not alerts.frees(market(kind="alert.updated", sequence=2, effect=2.5))
    assert alerts.frees(market(kind="alert.updated", sequence=2, effect=1.9))
    assert alerts.frees(market(kind="alert.resolved", sequence=3, effect=2.5))
    assert not alerts.frees(company(1.2))


def test_what_began_before_the_end_stays_explained_for_some_hours_and_what_begins_after_it_does_not(alerts):
    alerts.add(market())
    ended = market(kind="alert.resolved", sequence=2, effect=0.9)
    ended = type(ended)(id=ended.id, type=ended.type, timestamp=ENDED, data=ended.data)
    alerts.end(ended, ["desk"], NOW)
    alerts.close("ep_market_XSHG")
    child, worse = company(1.4), company(1.4, severity="critical")
    assert alerts.wider(child) == []
    assert alerts.lately(child, NOW + AFTER_MS - 1) == {"desk": NOW + AFTER_MS}
    assert alerts.lately(child, NOW + AFTER_MS) == {}
    assert alerts.lately(worse, NOW) == {"desk": NOW + AFTER_CRITICAL_MS}
    assert alerts.lately(worse, NOW + AFTER_CRITICAL_MS) == {}
    assert alerts.lately(company(1.6), NOW) == {}
    assert alerts.lately(company(1.4, started_at="2026-11-21T10:41:00Z"), NOW) == {}
    assert alerts.lately(company(1.4, started_at="no time"), NOW) == {}


def test_a_market_that_opens_again_is_open_and_not_over(alerts):
    alerts.add(market())
    alerts.end(market(kind="alert.resolved", sequence=2), ["desk"], NOW)
    alerts.add(market(sequence=3))
    assert alerts.lately(company(1.4), NOW) == {}
    assert alerts.wider(company(1.4)) == ["ep_market_XSHG"]
