"""A canary document that got as far as the counts: told to deliver as `system.watchdog`, so that it goes the whole road.

Nobody is alerted by it. alerts/canary.py sends the documents and notices when they stop coming through.
"""

from collections.abc import Iterable, Iterator

from groundswell import times
from groundswell.decisions import Detected
from groundswell.reserved import CANARY, NAMES
from groundswell.system_events import system_event
from stream.detection.detect import Transition
from stream.windows import Applied


def watchdogs(applied: Iterable[Applied], page_url: str) -> Iterator[Transition]:
    """One event a canary document."""
    for one in applied:
        if all(row.subject != CANARY for row in one.rows):
            continue
        at_ms = one.document.published_at
        event = system_event(
            "system.watchdog",
            id=f"gw_canary_{at_ms}",
            episode="ep_canary",
            sequence=at_ms // 1000,
            at=times.rfc3339(at_ms),
            subject=CANARY,
            names=NAMES[CANARY],
            summary={
                "en": "The road from a document to an alert works.",
                "zh": "从文本到预警的整条链路工作正常。",
            },
            page_url=page_url,
            test=True,
        )
        yield Transition(CANARY, Detected.CANARY, event, {})
