"""An alert by a user's own rule is neither explained away by a wider one nor explains another."""

from typing import Any

from msgspec.structs import replace

from alerts.open_alerts import OpenAlerts
from groundswell.records import AlertEvent, AlertRule, AlertSubject
from tests.alert_events import alert_event

MARKET = AlertSubject(id="market", kind="market", names={"en": "All talk", "zh": "全市场"})
OWN = AlertRule(id="mine", version=1, name={"en": "Mine", "zh": "我的"}, bounded=False)


def event(episode: str, **changes: Any) -> AlertEvent:
    found = alert_event(sequence=1)
    return replace(
        found, data=replace(found.data, episode_id=episode, severity="warning", effect=3.0, fires_up_to=2.0, **changes)
    )


def wider(market: AlertEvent, company: AlertEvent) -> list[str]:
    found = OpenAlerts(None)  # type: ignore[arg-type]
    found.add(market)
    return found.wider(company)


def test_a_rule_is_told_though_the_market_surges_and_a_rule_about_the_market_silences_nobody() -> None:
    market, company = event("ep_m", subject=MARKET), event("ep_c")
    assert wider(replace(market, data=replace(market.data, effect=9.0)), company) == ["ep_m"]
    assert (
        wider(
            replace(market, data=replace(market.data, effect=9.0)),
            replace(company, data=replace(company.data, rule=OWN)),
        )
        == []
    )
    assert wider(replace(market, data=replace(market.data, effect=9.0, rule=OWN)), company) == []
