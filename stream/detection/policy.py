"""How the detector is set: the line that each subject's evidence must reach, and what follows from the settings. Lines: lines.py."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from stream.detection import surge

Mode = Literal["guaranteed", "calibrated"]


@dataclass(frozen=True)
class Policy:
    """`ln_h` is the evidence (natural log) at which a subject fires, `lines` those of subjects with one of their own; with `budget`
    false alarms a day over all subjects, of which `weights` give some more or less than an equal part (1; `weight` for all others).

    `mode` says what the budget means: `guaranteed` by the bound, or `calibrated` on simulated talk without surges. `revision` names the
    control objects (watchlists, sensitivities) that it was made of.
    """

    settings: surge.Settings
    ln_h: float
    lateness_ms: int
    page_url: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    mode: Mode = "guaranteed"
    budget: float = 0.0
    weight: float = 1.0
    lines: Mapping[str, float] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    revision: str = ""
    trusted: frozenset[str] = frozenset()  # sources of which one text may alert alone (single.py)
    single_a_day: int = 1  # such alerts of this partition

    @property
    def step_ms(self) -> int:
        return self.settings.step_s * 1000

    def line(self, subject: str) -> float:
        """The ln of the e-value at which this subject fires."""
        return self.lines.get(subject, self.ln_h)

    def weight_of(self, subject: str) -> float:
        """This subject's part of the budget, against an equal part."""
        return self.weights.get(subject, self.weight)
