"""The open episodes by subject, in memory: which of them say already what another one would. lanes.py has the truth."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from alerts.case import CLOSES
from alerts.lanes import Lanes
from alerts.market_day import AFTER_MS, explained, parents, until_ms
from groundswell.errors import Refused
from groundswell.markets import is_market
from groundswell.records import AlertEvent
from groundswell.times import parse_ms

LOADED_TOGETHER = 500

_decode = msgspec.json.Decoder(AlertEvent).decode


class _Open(NamedTuple):
    subject: str
    fires: bool
    effect: float


_NONE = _Open("", fires=False, effect=0.0)


class Ended(NamedTuple):
    """A market's episode that ended, who was told of it, when it ended by event time, and when we heard so."""

    subject: str
    effect: float
    told: frozenset[str]
    ended_ms: int
    heard_ms: int


class OpenAlerts:
    """Some of them have ended, and somebody is still to hear it."""

    def __init__(self, lanes: Lanes) -> None:
        self._lanes = lanes
        self._episodes: dict[str, _Open] = {}
        self._by_subject: dict[str, set[str]] = {}
        # In memory alone: after a restart of deliver a company may be told within that time.
        self._ended: dict[str, Ended] = {}

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
        subject = data.subject.id if data.rule.bounded else ""  # a user's own rule about a market explains nothing
        self._episodes[episode] = _Open(subject, event.type not in CLOSES, data.effect)
        self._by_subject.setdefault(subject, set()).add(episode)
        if event.type not in CLOSES:
            self._ended.pop(episode, None)

    def close(self, episode: str) -> None:
        subject = self._episodes.pop(episode, _NONE).subject
        self._by_subject.get(subject, set()).discard(episode)
        if not self._by_subject.get(subject, True):
            del self._by_subject[subject]

    def wider(self, event: AlertEvent) -> list[str]:
        """Open episodes that say what this alert would: of a market whose surge explains it; for a warning, of the company whose pair
        it is. Nothing says what a user's own rule was to tell."""
        data = event.data
        if data.test or not data.rule.bounded or not event.type.startswith("alert."):
            return []
        markets = [name for parent in parents(data.subject.id) for name in self._by_subject.get(parent, ())]
        found = [name for name in markets if explained(data, self._episodes[name].effect)]
        whole, bar, _ = data.subject.id.partition("|")
        if bar and data.severity != "critical":
            found += self._by_subject.get(whole, ())
        return [name for name in found if name != data.episode_id and self.fires(name)]

    def end(self, event: AlertEvent, told: Iterable[str], now: int) -> None:
        """Note the end of a market's episode, of which these endpoints were told."""
        self._ended = {episode: one for episode, one in self._ended.items() if now < one.heard_ms + AFTER_MS}
        if is_market(event.data.subject.id) and event.data.rule.bounded:
            effect = self._episodes.get(event.data.episode_id, _NONE).effect
            ended_ms = _when(event.timestamp, 0)
            self._ended[event.data.episode_id] = Ended(event.data.subject.id, effect, frozenset(told), ended_ms, now)

    def lately(self, event: AlertEvent, now: int) -> dict[str, int]:
        """The endpoints that were told of a market which ended not long ago and explains this alert, and until when it does."""
        data = event.data
        if data.test or not data.rule.bounded or not event.type.startswith("alert."):
            return {}
        own, began_ms = parents(data.subject.id), _when(data.started_at, now)
        found: dict[str, int] = {}
        for one in self._ended.values():
            until = until_ms(data, one.heard_ms)
            if one.subject in own and began_ms < one.ended_ms and now < until and explained(data, one.effect):
                found |= {name: max(until, found.get(name, 0)) for name in one.told}
        return found

    def fires(self, episode: str) -> bool:
        """It is open and has not ended."""
        return self._episodes.get(episode, _NONE).fires

    def frees(self, event: AlertEvent) -> bool:
        """Whether this event of an open episode, not yet added, may set others free: it ends, or its market surges less."""
        subject, ends = event.data.subject.id, event.type in CLOSES
        if is_market(subject):
            return ends or event.data.effect < self._episodes.get(event.data.episode_id, _NONE).effect
        return ends and any(name.startswith(f"{subject}|") for name in self._by_subject)


def _when(text: str, otherwise: int) -> int:
    """Epoch ms; `otherwise` for what somebody wrote to the topic that is no time."""
    try:
        return parse_ms(text)
    except ValueError:
        return otherwise
