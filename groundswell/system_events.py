"""Alert events about the installation itself, in the shape of all others: nothing is counted, the summary says it all."""

from groundswell.records import (
    AlertData,
    AlertEvent,
    AlertRule,
    AlertSubject,
    AlertType,
    Expected,
    Observed,
    Severity,
)


def system_event(
    kind: AlertType,
    *,
    id: str,  # noqa: A002 - the field's name on the wire
    episode: str,
    at: str,
    subject: str,
    names: dict[str, str],
    summary: dict[str, str],
    page_url: str = "",
    sequence: int = 0,
    severity: Severity = "warning",
    test: bool = False,
) -> AlertEvent:
    """`at` is RFC 3339; `summary` and `names` have an `en` and a `zh`."""
    return AlertEvent(
        id=id,
        type=kind,
        timestamp=at,
        data=AlertData(
            episode_id=episode,
            sequence=sequence,
            state="firing",
            previous_state="firing",
            test=test,
            severity=severity,
            rule=AlertRule(id=kind, version=1),
            subject=AlertSubject(id=subject, kind="system", names=names),
            kind="count",
            started_at=at,
            detected_at=at,
            resolved_at=None,
            window_s=60,
            observed=Observed(mentions=0, negatives=0, negative_share=0.0, reach=0),
            expected=Expected(negatives=0.0, low=0, high=0),
            effect=1.0,
            effect_low=1.0,
            effect_high=1.0,
            log10_e_value=0.0,
            log10_threshold=0.0,
            fires_without_largest_story=True,
            documents=[],
            documents_total=0,
            truncated=False,
            versions={},
            summary=summary,
            links={"evidence": page_url},
        ),
    )
