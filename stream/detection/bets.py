"""The bet of one step: how much better "θ times the expected" explains a count than "as expected" does.
`stream/detection/surge.py` adds them up.

Negative binomial ratio NB(θm, r) : NB(m, r) for a count y (surge.md 3.3), written as slope · y + constant. The slope
is never negative and the product is rounded monotonically, so a larger count never lowers the evidence, to the last
bit: that is what makes the early look free.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

COUNT_EFFECTS: Floats = np.array([1.5, 2.0, 3.0, 5.0, 10.0])
SHARE_EFFECTS: Floats = np.array([1.25, 1.5, 2.0, 3.0, 5.0])


def log_ratio(m: Floats, r: Floats, theta: Floats, ln_theta: Floats) -> tuple[Floats, Floats]:
    """(slope, constant) so that ln NB(y; θm, r) - ln NB(y; m, r) = slope · y + constant.

    All four broadcast; m >= 0 is the expectation of the step, r > 0 its size (variance m + m²/r), θ > 1.
    """
    shrink = np.log((r + m) / (r + theta * m))
    return np.maximum(ln_theta + shrink, 0.0), r * shrink
