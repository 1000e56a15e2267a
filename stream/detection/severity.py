"""How severe a surge is, in three named levels: points for its size, for how many speak of it, and for how long it lasts.

    points   size, times the expected   voices (publishers, authors)   minutes since the onset
    1        3                          5                              15
    2        5                          15                             60
    3        10

`critical` from 5 points on, if it also has 20 negatives; `warning` from 2 points on; else `notice`.
"""

from groundswell.records import Severity

SIZE = ((10.0, 3), (5.0, 2), (3.0, 1))
VOICES = ((15, 2), (5, 1))
MINUTES = ((60, 2), (15, 1))
CRITICAL_POINTS, CRITICAL_NEGATIVES = 5, 20
WARNING_POINTS = 2
RANK: dict[Severity, int] = {"notice": 0, "warning": 1, "critical": 2}


def level(effect: float, voices: int, minutes: float, negatives: int) -> Severity:
    """The level of a surge `effect` times the expected, so many `minutes` after its onset."""
    points = _points(effect, SIZE) + _points(voices, VOICES) + _points(minutes, MINUTES)
    if points >= CRITICAL_POINTS and negatives >= CRITICAL_NEGATIVES:
        return "critical"
    return "warning" if points >= WARNING_POINTS else "notice"


def higher(one: Severity, other: Severity) -> Severity:
    """The more severe of the two."""
    return one if RANK[one] >= RANK[other] else other


def _points(value: float, table: tuple[tuple[float, int], ...]) -> int:
    return next((points for least, points in table if value >= least), 0)
