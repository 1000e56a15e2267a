"""What the system page asks of the parts that the pages may not import: the broker, deliver's books, the model, the dead letters.

groundswell/commands/installation.py answers; readings.py and letters.py ask.
"""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from groundswell.records import DeadLetter
from groundswell.running.books import Counts
from groundswell.running.health import Finding


class Broker(Struct, kw_only=True, frozen=True):
    """A Kafka that answers. `wrong`: what is not as it must be with our topics."""

    brokers: int
    cluster: str  # its id
    wrong: list[Finding]


class Figures(Struct, kw_only=True, frozen=True):
    """The model on one labelled set. `error` is the expected calibration error of the likeliest class; shares are of 1."""

    name: str
    texts: int
    accuracy: float
    error: float
    most: float | None  # what the error may be at most, where that is required
    sure: float | None  # accuracy of the answers that are not `unsure`
    unsure: float | None  # share of the others
    unseen: bool  # nothing of this set was learned from


class ModelCard(Struct, kw_only=True, frozen=True):
    """The model that the settings name. `version` and `sets` are those of its figures; empty where its folder has none."""

    name: str
    version: str
    sets: list[Figures]


class Resent(Struct, kw_only=True, frozen=True):
    """What became of letters that were sent again; the others with why and what to do."""

    sent: list[DeadLetter]
    not_sent: list[tuple[DeadLetter, str]]


class Installation(Protocol):
    """Every method but `model` waits for others; none takes long on this loop. BrokerAway and what connect.let_in raises."""

    async def broker(self) -> Broker: ...
    async def delivered(self) -> Counts: ...
    def model(self) -> ModelCard: ...
    async def letters(self) -> list[DeadLetter]: ...
    async def send_again(self, letters: Sequence[DeadLetter]) -> Resent: ...
