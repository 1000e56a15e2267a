"""Alert events for tests: one invented company, an episode with as many transitions as a test wants."""

from typing import Any

import msgspec

from groundswell.records import AlertData, AlertDocument, AlertEvent, AlertRule, AlertSubject, Expected, Observed

STATES = {"alert.resolved": "resolved"}


def alert_event(
    kind: Any = "alert.firing",
    sequence: int = 1,
    *,
    episode: str = "ep_harbour",
    subject: str = "XSHG:600001",
    **fields: Any,
) -> AlertEvent:
    """`fields` are of its data: severity, topics, started_at, test and so on."""
    data = AlertData(
        episode_id=episode,
        sequence=sequence,
        state=STATES.get(kind, "firing"),
        previous_state="pending",
        test=False,
        severity="warning",
        rule=AlertRule(id="negative-surge", version=1),
        subject=AlertSubject(id=subject, kind="entity", names={"zh": "海港钢铁", "en": "Harbour Steel"}),
        kind="count",
        started_at="2026-11-21T09:22:00Z",
        detected_at="2026-11-21T09:31:01.902Z",
        resolved_at=None,
        window_s=900,
        observed=Observed(mentions=64, negatives=41, negative_share=0.641, reach=212),
        expected=Expected(negatives=6.2, low=1, high=13),
        effect=6.61,
        effect_low=4.2,
        effect_high=9.9,
        log10_e_value=4.8,
        log10_threshold=3.1,
        fires_without_largest_story=True,
        documents=[
            AlertDocument(
                id="d1",
                title="海港钢铁被曝财务造假 😱",
                excerpt="“账本”有两套。\u2028",
                source="wire",
                lang="zh",
                published_at="2026-11-21T09:30:00Z",
                url=None,
                negative=0.97,
                story="s1",
                echoes=3,
            )
        ],
        documents_total=41,
        truncated=True,
        versions={"model": "bundled"},
        summary={"zh": "负面陡增", "en": "negative surge"},
        links={"evidence": "http://127.0.0.1:8080/e/ep_harbour"},
    )
    return AlertEvent(
        id=f"gw_{episode[3:]}_{sequence}",
        type=kind,
        timestamp="2026-11-21T09:31:02.114Z",
        data=msgspec.structs.replace(data, **fields),
    )


def event_bytes(kind: Any = "alert.firing", sequence: int = 1, **more: Any) -> bytes:
    return msgspec.json.encode(alert_event(kind, sequence, **more))
