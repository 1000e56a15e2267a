"""What was expected of each subject, by quarter hours: the band that charts draw. aggregate.py has it in memory; a page that computed it
would be a second detector."""

import msgspec

from groundswell.keys import QUARTER_MS, Keys
from stream.detection.detect import expectation
from stream.part import Part
from stream.store import Writes

KEPT = 8 * 96  # quarter hours
AHEAD = 4

_encode = msgspec.json.Encoder().encode


def entered(part: Part, start_ms: int) -> range:
    """Quarter hours whose band is not written yet: an hour ahead, so that a chart never runs out; all again for a new subject."""
    end = part.window.closed_ms // QUARTER_MS + AHEAD + 1
    known = part.drawn[0] if part.drawn[1] == len(part.detector.subjects) else 0
    part.drawn = (end, len(part.detector.subjects))
    return range(max(start_ms // QUARTER_MS, known), end)


def write(keys: Keys, part: Part, quarters: set[int], writes: Writes) -> None:
    """The band of each quarter hour that was entered."""
    for quarter in sorted(quarters)[-KEPT:]:
        for subject, (mean, phi15, phi60) in part.detector.expectations(quarter * QUARTER_MS).items():
            key = keys.expectations(part.partition, subject)
            writes.add("HSET", key, quarter, _encode(expectation(mean, phi15, phi60)))
            writes.add("HDEL", key, quarter - KEPT)
