"""The lines of `line = calibrated`: where the rate of false alarms that was *measured* on invented talk without surges equals the budget.

The bound of surge.py (T / h) holds for any dependence and is loose: measured rates are some 20 to 50 times lower. This table is as
good as the simulation is like the talk; the bound is as good as the expectations are. Every alert names which of the two it used.
"""

from itertools import pairwise
from math import log

AIM = 0.6  # of the budget: other talk of the same kind then stays within it, and above a third of it
LOWEST = 3.0  # no line lies under this, whatever the budget


def line(rate: float) -> float:
    """ln h for a budget of `rate` > 0 false alarms of one subject a day. Between the lines of the table linear in the logarithm; beyond its
    ends it goes on as the bound does, e times fewer alarms for 1 more, so it never claims more than was seen."""
    wanted = log(AIM * rate)
    known = [(ln_h, log(each)) for ln_h, each in TABLE]
    for (low, at_low), (high, at_high) in pairwise(known):
        if at_high <= wanted <= at_low:
            return low + (high - low) * (at_low - wanted) / max(at_low - at_high, 1e-9)
    ln_h, at = known[0] if wanted > known[0][1] else known[-1]
    return max(LOWEST, ln_h + at - wanted)


# -- measured by bench/calibration.py; do not edit ---------------------------------------------------------------------

RUN = {
    "key_days": 42000,
    "seed": 41,
    "step_s": 60,
    "engine": "0.1.0",
    "cpu_s": 123,
    "rates": "negatives a minute: .05, .2, 1, 5, 20 in turn",
}
TABLE: tuple[tuple[float, float], ...] = (
    (5.0, 0.5374524),
    (5.5, 0.254381),
    (6.0, 0.1227381),
    (6.5, 0.0619286),
    (7.0, 0.0299524),
    (7.5, 0.0155238),
    (8.0, 0.0081667),
    (8.5, 0.0044048),
    (9.0, 0.0026667),
    (9.5, 0.0014524),
    (10.0, 0.0009524),
    (10.5, 0.0004048),
)
