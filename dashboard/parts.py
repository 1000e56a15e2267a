"""What every request may use, made once in app.py: nothing here holds state but the hub.

`Desk` is alerts/people/desk.py as seen from here: the pages know what people may ask for, not how alerts go out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from redis.asyncio import Redis
from starlette.requests import Request

from dashboard.archive.sifting import Sieves
from dashboard.control.pen import Pen
from dashboard.health.installation import Installation
from dashboard.home.heard import Heard
from dashboard.live import Hub
from dashboard.subjects.prices import Prices
from dashboard.words import Words
from groundswell.asked import (
    AskedAcknowledgement,
    AskedAddress,
    AskedEndpoint,
    AskedReplay,
    AskedRotation,
    AskedSilence,
    EndpointChange,
    Judged,
    Listed,
    Result,
    Sample,
)
from groundswell.asked_tuning import (
    Added,
    AskedList,
    AskedPreview,
    AskedRulePreview,
    AskedRules,
    Board,
    Checked,
    Found,
    ListRow,
    Lists,
    Preview,
    RuleRow,
    Sensitivities,
)
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.feedback import Remarks
from groundswell.keys import Keys
from groundswell.records import Acknowledgement, AlertData, DeliveryOutcome, Sensitivity, Silence
from groundswell.settings import Settings
from stream.topology import Topology


class Desk(Protocol):
    """What people do while alerts go out. Every method may raise Refused and BrokerAway; `by` is for requests that name nobody."""

    async def acknowledge(self, episode: str, asked: AskedAcknowledgement, *, by: str) -> Acknowledgement: ...
    async def unacknowledge(self, episode: str) -> None: ...
    def silences(self, *, over_too: bool = False) -> list[Silence]: ...
    async def silence(self, asked: AskedSilence, *, by: str) -> Silence: ...
    async def end_silence(self, silence_id: str) -> None: ...
    async def endpoints(self) -> list[Listed]: ...
    async def endpoint(self, name: str) -> Listed: ...
    async def judge(self, asked: AskedAddress) -> Judged: ...
    def sample(self, name: str, errand: str) -> Sample: ...
    async def add(self, asked: AskedEndpoint) -> tuple[Listed, str]: ...
    async def change(self, name: str, change: EndpointChange) -> Listed: ...
    async def rotate(self, name: str, asked: AskedRotation) -> tuple[Listed, str]: ...
    async def disable(self, name: str) -> Listed: ...
    async def remove(self, name: str) -> str: ...
    async def test(self, name: str, *, by: str, wait_s: float) -> Result: ...
    async def enable(self, name: str, *, by: str, wait_s: float) -> Result: ...
    async def replay(self, name: str, asked: AskedReplay, *, by: str, wait_s: float) -> Result: ...
    async def deliveries(
        self, name: str = "", *, outcome: str = "", cursor: str = "", limit: int = 50
    ) -> tuple[list[DeliveryOutcome], str]: ...
    async def tried(self, episode: str, *, since_ms: int) -> tuple[list[DeliveryOutcome], bool]: ...
    def silences_on(self, data: AlertData) -> list[Silence]: ...
    def explains(self, market: AlertData, child: AlertData) -> bool: ...


class RuleDesk(Protocol):
    """Rules of users' own (stream/rulebook/rule_desk.py). May raise Refused, BrokerAway, RedisAway."""

    async def board(self) -> Board: ...
    async def check(self, text: str, name: str = "") -> Checked: ...
    async def apply(self, asked: AskedRules, *, by: str) -> list[RuleRow]: ...
    async def remove(self, name: str, *, by: str) -> list[str]: ...


class ListDesk(Protocol):
    """Watchlists and sensitivities (stream/detection/list_desk.py). May raise Refused, BrokerAway."""

    async def lists(self) -> Lists: ...
    async def one(self, name: str) -> ListRow: ...
    async def put(self, name: str, asked: AskedList, *, by: str) -> ListRow: ...
    async def add(self, name: str, asked: Sequence[str], *, by: str, strict: bool = False) -> Added: ...
    async def take(self, name: str, asked: Iterable[str], *, by: str) -> ListRow: ...
    async def remove(self, name: str) -> None: ...
    async def find(self, asked: str, limit: int = 20) -> list[Found]: ...
    async def sensitivities(self) -> Sensitivities: ...
    async def adjust(self, about: str, value: float | str, *, by: str) -> Sensitivity: ...
    async def clear(self, about: str) -> str: ...


class Previews(Protocol):
    """The past played with other settings, in a process of its own (stream/past/previews.py). May raise Refused."""

    async def of_sensitivities(self, asked: AskedPreview, now_ms: int) -> Preview: ...
    async def of_rules(self, asked: AskedRulePreview, now_ms: int) -> Preview: ...
    def get(self, preview_id: str) -> Preview: ...
    async def stop(self, preview_id: str) -> Preview: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class Tuning:
    """What decides when it alerts, as people see and change it."""

    rules: RuleDesk
    lists: ListDesk
    previews: Previews


MakeTuning = Callable[[ControlView, Pen, Redis, Keys], Tuning]
# The control topic as followed, what writes to it, and Redis: of these the edge makes a desk.
MakeDesk = Callable[[ControlView, Pen, Redis, Keys], Desk]
MakeInstallation = Callable[[Redis, Keys], Installation]


@dataclass(frozen=True)
class Parts:
    """The pieces of one running dashboard."""

    settings: Settings
    topology: Topology
    clock: Clock
    keys: Keys
    redis: Redis
    hub: Hub
    pen: Pen
    words: Words
    desk: Desk
    view: ControlView
    heard: Heard = field(default_factory=Heard)
    prices: Prices = field(default_factory=lambda: Prices(Settings()))
    remarks: Remarks = field(default_factory=Remarks)
    tuning: Tuning | None = None  # None: pages alone, without rules and lists
    control_read: Callable[[], bool] = lambda: True  # whether `view` has all that was written before these pages opened
    sieves: Sieves = field(default_factory=Sieves)
    installation: Installation | None = None  # None: pages alone, without a system page

    def now_ms(self) -> int:
        """Now as the figures see it: the machine's clock, or the data's when a replay shows another time."""
        at = self.hub.shown.at
        now = self.clock.now_ms()
        return at if at and abs(now - at) > 86_400_000 else now


def parts(request: Request) -> Parts:
    """The pieces that serve this request."""
    return cast("Parts", request.app.state.parts)
