"""Events about endpoints: the test that somebody asks for, and the news that an endpoint cannot be reached or is back."""

from alerts.health import Health, State
from alerts.pipeline import derived
from groundswell import times
from groundswell.records import AlertEvent, Endpoint, Errand
from groundswell.system_events import system_event

REASONS = {
    State.DEGRADED: {"en": "has not answered since {since}", "zh": "自 {since} 起无法送达"},
    State.DISABLED: {"en": "is not tried any more since {since}", "zh": "自 {since} 起已停用"},
    State.UNREADABLE: {
        "en": "cannot be used since {since}: its key is missing",
        "zh": "自 {since} 起缺少密钥，无法使用",
    },
}


def test_event(errand: Errand, endpoint: Endpoint, now_ms: int) -> AlertEvent:
    """What a test delivers. The id is the errand's own, so that it is the same when it is sent twice."""
    return system_event(
        "endpoint.test",
        id=derived("endpoint.test", errand.id),
        episode=derived("episode", errand.id),
        at=times.rfc3339(now_ms),
        subject=f"endpoint:{endpoint.id}",
        names={"en": endpoint.name, "zh": endpoint.name},
        summary={
            "en": "A test: alerts of Groundswell arrive here. Nothing has happened.",
            "zh": "这是一条测试消息：Groundswell 的预警可以送达这里，并没有发生任何异动。",
        },
        test=True,
    )


def unreachable(endpoint: Endpoint, health: Health) -> AlertEvent:
    """For the other endpoints: this one hears nothing."""
    since = times.rfc3339(health.since_ms)
    clock = f"{since[:10]} {since[11:16]} UTC"
    why = f" ({health.reason})" if health.reason else ""
    why_zh = f"（{health.reason}）" if health.reason else ""
    said = REASONS[health.state]
    return _about(
        "endpoint.disabled",
        endpoint,
        health.since_ms,
        {
            "en": f"The endpoint {endpoint.name} {said['en'].format(since=clock)}{why}. What is meant for it may be missed.",
            "zh": f"通知端点“{endpoint.name}”{said['zh'].format(since=clock)}{why_zh}，发给它的预警可能会漏掉。",
        },
    )


def reachable(endpoint: Endpoint, since_ms: int) -> AlertEvent:
    """For the other endpoints: it hears again."""
    return _about(
        "endpoint.recovered",
        endpoint,
        since_ms,
        {
            "en": f"The endpoint {endpoint.name} can be reached again.",
            "zh": f"通知端点“{endpoint.name}”已恢复送达。",
        },
    )


def notice_episode(endpoint: str) -> str:
    """The episode of news about one endpoint."""
    return f"endpoint-{endpoint}"


def _about(kind: str, endpoint: Endpoint, at_ms: int, summary: dict[str, str]) -> AlertEvent:
    return system_event(
        "endpoint.disabled" if kind == "endpoint.disabled" else "endpoint.recovered",
        id=derived(kind, endpoint.id, str(at_ms)),
        episode=notice_episode(endpoint.id),
        sequence=at_ms,
        at=times.rfc3339(at_ms),
        subject=f"endpoint:{endpoint.id}",
        names={"en": endpoint.name, "zh": endpoint.name},
        summary=summary,
    )
