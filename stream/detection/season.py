"""The season a subject is expected to follow: prior profiles by calendar group, and the local slot of an instant.

The profiles are fixed and shipped here, not pooled over the subjects that happen to be live: see `stream/detection/surge.py`,
which reads them next. `calendars.py` says when an exchange rests on a weekday.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from stream.detection import calendars

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

QUARTER_S = 900
QUARTERS_A_DAY = 96
QUARTERS_A_WEEK = 7 * QUARTERS_A_DAY

GROUPS: tuple[str, ...] = ("XNYS", "XSHG", "XHKG", "ALWAYS")
"""Calendar groups, in the order of `PROFILES`."""

GROUP_ZONES: dict[str, str] = {
    "XNYS": "America/New_York",
    "XSHG": "Asia/Shanghai",
    "XHKG": "Asia/Hong_Kong",
    "ALWAYS": "UTC",
}

# (centre, width, height) in local hours: talk follows the working day, and swells at the open, the close and the hour
# of filings.
_HUMPS: dict[str, tuple[tuple[float, float, float], ...]] = {
    "XNYS": ((12.5, 4.5, 0.75), (9.6, 0.7, 0.4), (16.2, 0.7, 0.3), (7.5, 1.5, 0.15)),
    "XSHG": ((12.5, 4.5, 0.7), (9.6, 0.7, 0.4), (15.2, 0.7, 0.25), (19.5, 2.0, 0.3)),
    "XHKG": ((12.5, 4.5, 0.7), (9.6, 0.7, 0.4), (16.3, 0.8, 0.35), (19.0, 2.0, 0.2)),
}
_NIGHT = 0.45
_WEEKEND = 0.42


def _profile(group: str) -> Floats:
    if group not in _HUMPS:
        return np.ones(QUARTERS_A_WEEK)
    hour = (np.arange(QUARTERS_A_DAY) + 0.5) / 4
    day = np.full(QUARTERS_A_DAY, _NIGHT)
    for centre, width, height in _HUMPS[group]:
        apart = np.abs(hour - centre)
        day += height * np.exp(-((np.minimum(apart, 24 - apart) / width) ** 2))
    # A weekend has less of the market's shape, not only less of everything: half way to its own mean.
    weekend = _WEEKEND * (day + day.mean()) / 2
    week = np.concatenate([day] * 5 + [weekend] * 2)
    return np.asarray(week / week.mean(), np.float64)


PROFILES: Floats = np.stack([_profile(group) for group in GROUPS])
"""(4, 672) expected share of a quarter hour of the local week, Monday 00:00 first; each row has mean 1."""


@dataclass(frozen=True)
class Slot:
    """Where each of K subjects stands in its own local week. All fields are (K,) arrays.

    `quarter` 0..671 from Monday 00:00; `hour` 0..23; `weekend` true on Saturday, Sunday and where the exchange rests
    on a weekday; `group` an index into `GROUPS`; `factor` how many times the usual is expected because of a scheduled
    event (1: nothing is scheduled), None where that is nobody.
    """

    quarter: Ints
    hour: Ints
    weekend: Bools
    group: Ints
    factor: Floats | None = None

    def take(self, indices: "npt.ArrayLike") -> "Slot":
        """The slots of some subjects, in the order given."""
        at = np.asarray(indices)
        factor = None if self.factor is None else self.factor[at]
        return Slot(self.quarter[at], self.hour[at], self.weekend[at], self.group[at], factor)

    @classmethod
    def concat(cls, parts: Sequence["Slot"]) -> "Slot":
        """Several slots behind one another."""
        scheduled = any(part.factor is not None for part in parts)
        factors = [np.ones(len(part.hour)) if part.factor is None else part.factor for part in parts]
        return cls(
            np.concatenate([part.quarter for part in parts]),
            np.concatenate([part.hour for part in parts]),
            np.concatenate([part.weekend for part in parts]),
            np.concatenate([part.group for part in parts]),
            np.concatenate(factors) if scheduled else None,
        )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).toordinal()


@lru_cache(maxsize=4096)
def _local(zone: str, group: str, quarter: int) -> tuple[int, bool]:
    # (offset from UTC in seconds, whether the exchange rests although it is a weekday). Offsets change on quarter hours
    # of UTC (Lord Howe and Kathmandu included) and sessions end on them, so one look-up serves 15 minutes.
    instant = datetime.fromtimestamp(quarter * QUARTER_S, UTC)
    offset = instant.astimezone(ZoneInfo(zone)).utcoffset()
    there = instant.astimezone(ZoneInfo(GROUP_ZONES[group]))
    day = there.date().toordinal() - _EPOCH
    rests = calendars.rests(group, day, there.hour * 3600 + there.minute * 60)
    return 0 if offset is None else int(offset.total_seconds()), rests


def local_slots(zone: str, epoch_s: "int | npt.ArrayLike", *, group: str = "ALWAYS") -> Slot:
    """The slots of instants in one zone; (1,) arrays for a plain int, else the shape of `epoch_s`.

    Daylight saving is followed: the open stays at 09:30, and an hour that is lived twice uses its slots twice. A weekday
    on which the exchange of `group` rests is read as a Saturday, a half day from an hour after its close on. Raises
    `zoneinfo.ZoneInfoNotFoundError` for an unknown zone and `ValueError` for an unknown group.
    """
    number = GROUPS.index(group)
    epoch = np.atleast_1d(np.asarray(epoch_s, np.int64))
    quarters, back = np.unique(epoch // QUARTER_S, return_inverse=True)
    back = back.reshape(epoch.shape)
    found = [_local(zone, group, int(quarter)) for quarter in quarters]
    local = epoch + np.asarray([offset for offset, _ in found], np.int64)[back]
    # 1970-01-01 was a Thursday.
    day = (local // 86_400 + 3) % 7
    day = np.where(np.asarray([rests for _, rests in found], np.bool_)[back], np.maximum(day, 5), day)
    in_day = local % 86_400
    return Slot(
        quarter=day * QUARTERS_A_DAY + in_day // QUARTER_S,
        hour=in_day // 3600,
        weekend=day >= 5,
        group=np.full(epoch.shape, number, np.int64),
    )
