"""What every request may use, made once in app.py: nothing here holds state but the hub.

`Desk` is alerts/desk.py as seen from here: the pages know what people may ask for, not how alerts go out.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, cast

from redis.asyncio import Redis
from starlette.requests import Request

from dashboard.intake import Intake
from dashboard.live import Hub
from dashboard.words import Words
from groundswell.asked import (
    AskedAcknowledgement,
    AskedEndpoint,
    AskedReplay,
    AskedRotation,
    AskedSilence,
    EndpointChange,
    Listed,
    Result,
)
from groundswell.clock import Clock
from groundswell.control import ControlView
from groundswell.keys import Keys
from groundswell.records import Acknowledgement, DeliveryOutcome, Silence
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
    async def add(self, asked: AskedEndpoint) -> tuple[Listed, str]: ...
    async def change(self, name: str, change: EndpointChange) -> Listed: ...
    async def rotate(self, name: str, asked: AskedRotation) -> tuple[Listed, str]: ...
    async def disable(self, name: str) -> Listed: ...
    async def remove(self, name: str) -> str: ...
    async def test(self, name: str, *, by: str, wait_s: float) -> Result: ...
    async def enable(self, name: str, *, by: str, wait_s: float) -> Result: ...
    async def replay(self, name: str, asked: AskedReplay, *, by: str, wait_s: float) -> Result: ...
    async def deliveries(
        self, name: str = "", *, cursor: str = "", limit: int = 50
    ) -> tuple[list[DeliveryOutcome], str]: ...


# The control topic as followed, what writes to it, and Redis: of these the edge makes a desk.
MakeDesk = Callable[[ControlView, Intake, Redis, Keys], Desk]


@dataclass(frozen=True)
class Parts:
    """The pieces of one running dashboard."""

    settings: Settings
    topology: Topology
    clock: Clock
    keys: Keys
    redis: Redis
    hub: Hub
    intake: Intake
    words: Words
    desk: Desk

    def now_ms(self) -> int:
        """Now as the figures see it: the machine's clock, or the data's when a replay shows another time."""
        at = self.hub.shown.at
        now = self.clock.now_ms()
        return at if at and abs(now - at) > 86_400_000 else now


def parts(request: Request) -> Parts:
    """The pieces that serve this request."""
    return cast("Parts", request.app.state.parts)
