"""What every request may use, made once in app.py: nothing here holds state but the hub."""

from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis
from starlette.requests import Request

from dashboard.intake import Intake
from dashboard.live import Hub
from dashboard.words import Words
from groundswell.clock import Clock
from groundswell.keys import Keys
from groundswell.settings import Settings
from stream.topology import Topology


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

    def now_ms(self) -> int:
        """Now as the figures see it: the machine's clock, or the data's when a replay shows another time."""
        at = self.hub.shown.at
        now = self.clock.now_ms()
        return at if at and abs(now - at) > 86_400_000 else now


def parts(request: Request) -> Parts:
    """The pieces that serve this request."""
    return cast("Parts", request.app.state.parts)
