"""On a market day: which alerts a market's explains, for whom, and until when."""

from typing import cast

import pytest

from alerts.case import Told
from alerts.lanes import Lanes
from alerts.market_day import AFTER_CRITICAL_MS, AFTER_MS, CROWD_EFFECT, CROWD_WAIT_MS, explained, parents
from alerts.open_alerts import OpenAlerts, covered
from alerts.say import Say
from groundswell.records import AlertRule
from groundswell.times import parse_ms
from tests.alert_events import alert_event

ENDED = "2026-11-21T10:40:00Z"
NOW = parse_ms(ENDED)
NOW_FIRED = parse_ms("2026-11-21T09:31:01.902Z")


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


def crowd_of(alerts, *codes, minute="31", market="XSHG", **fields):
    for code in codes:
        alerts.add(
            alert_event(
                subject=f"{market}:{code}", episode=f"ep_{code}", fires_up_to=1.4,
                detected_at=f"2026-11-21T09:{minute}:00Z", **fields,
            )
        )  # fmt: skip


def hears(alerts, child, *episodes, now=NOW_FIRED):
    """Until when a child waits for its market, for a desk that was told of these episodes."""
    told = {"desk": Told(sequence=1, say=Say.FIRING)}
    crowd, until = alerts.crowd(child, now)
    return covered({}, [], crowd, until, lambda name: told if name in episodes else {}).get("desk")


def test_a_crowd_of_companies_waits_for_its_market_a_quarter_of_an_hour(alerts):
    crowd_of(alerts, "600001", "600002", "600003", minute="25")
    names = ["ep_600001", "ep_600002", "ep_600003"]
    child = company(1.4)
    assert hears(alerts, child, *names) == NOW_FIRED + CROWD_WAIT_MS
    assert hears(alerts, child, *names[:2]) is None, "the desk was told of two of them only"
    assert hears(alerts, child, *names, now=NOW_FIRED + CROWD_WAIT_MS) is None, "it waits no longer"
    assert hears(alerts, company(CROWD_EFFECT + 0.1), *names) is None, "no market surges to that"
    assert hears(alerts, company(1.4, subject="XNAS:AAPL"), *names) is None, "another market"
    assert hears(alerts, company(1.4, subject="topic:fraud"), *names) is None
    assert hears(alerts, company(1.4, test=True), *names) is None


def test_pairs_of_one_company_long_past_alerts_and_a_market_that_fires_make_no_crowd(alerts):
    crowd_of(alerts, "600001", "600001|topic:fraud", "600001|topic:default", minute="25")
    crowd_of(alerts, "600002", "600003", minute="00")
    names = [f"ep_{code}" for code in ("600001", "600001|topic:fraud", "600001|topic:default", "600002", "600003")]
    assert hears(alerts, company(1.4), *names) is None
    crowd_of(alerts, "600004", "600005", minute="25")
    names += ["ep_600004", "ep_600005"]
    assert hears(alerts, company(1.4), *names) is not None
    alerts.close("ep_600005")
    assert hears(alerts, company(1.4), *names) is None
    crowd_of(alerts, "600005", minute="26")
    alerts.add(market(effect=1.2))
    assert hears(alerts, company(1.4), *names) is None, "it fires: the excess over it decides"
