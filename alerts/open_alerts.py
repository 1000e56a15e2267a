"""The open episodes by subject, in memory: which of them say already what another one would. lanes.py has the truth."""

from collections.abc import Iterator

import msgspec

from alerts.case import CLOSES
from alerts.lanes import Lanes
from groundswell.errors import Refused
from groundswell.records import AlertEvent
from groundswell.times import parse_ms

MARKET = "market"
LOADED_TOGETHER = 500

_decode = msgspec.json.Decoder(AlertEvent).decode


class OpenAlerts:
    """Some of them have ended, and somebody is still to hear it."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._episodes: dict[str, tuple[str, int, bool]] = {}  # subject, onset, still fires
        self._by_subject: dict[str, set[str]] = {}

    def __contains__(self, episode: str) -> bool:
        return episode in self._episodes

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._episodes))

    def __len__(self) -> int:
        return len(self._episodes)

    async def load(self) -> None:
        """All that Redis knows to be open."""
        episodes = await self._lanes.open()
        for start in range(0, len(episodes), LOADED_TOGETHER):
            for body in await self._lanes.bodies(episodes[start : start + LOADED_TOGETHER]):
                try:
                    self.add(_decode(body))
                except (msgspec.MsgspecError, Refused, ValueError):
                    continue  # its state expired: intake.py forgets it when it looks

    def add(self, event: AlertEvent) -> None:
        episode, data = event.data.episode_id, event.data
        self._episodes[episode] = (data.subject.id, parse_ms(data.started_at), event.type not in CLOSES)
        self._by_subject.setdefault(data.subject.id, set()).add(episode)

    def close(self, episode: str) -> None:
        subject, _, _ = self._episodes.pop(episode, ("", 0, False))
        self._by_subject.get(subject, set()).discard(episode)
        if not self._by_subject.get(subject, True):
            del self._by_subject[subject]

    def wider(self, event: AlertEvent) -> list[str]:
        """Open episodes that say what this warning would: of the market, begun before it; of the company whose pair it is."""
        data = event.data
        if data.severity == "critical" or data.test or not event.type.startswith("alert."):
            return []
        subject, began = data.subject.id, parse_ms(data.started_at)
        found = []
        if subject != MARKET:
            found += [name for name in self._by_subject.get(MARKET, ()) if self._episodes[name][1] <= began]
        whole, bar, _ = subject.partition("|")
        if bar:
            found += self._by_subject.get(whole, ())
        return [name for name in found if name != data.episode_id and self.fires(name)]

    def fires(self, episode: str) -> bool:
        """It is open and has not ended."""
        return self._episodes.get(episode, ("", 0, False))[2]

    def inhibits(self, event: AlertEvent) -> bool:
        """Whether the end of this episode may set others free."""
        subject = event.data.subject.id
        return subject == MARKET or any(name.startswith(f"{subject}|") for name in self._by_subject)
