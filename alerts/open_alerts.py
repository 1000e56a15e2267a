"""The open episodes by subject, in memory: which of them say already what another one would. lanes.py has the truth."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from alerts.case import CLOSES, Told
from alerts.lanes import Lanes
from alerts.market_day import AFTER_MS, CROWD, CROWD_WAIT_MS, CROWD_WITHIN_MS, explained, may_wait, parents, until_ms
from groundswell.errors import Refused
from groundswell.markets import is_market, market_of
from groundswell.records import AlertEvent
from groundswell.times import parse_ms

LOADED_TOGETHER = 500
CROWD_SEEN = 50

_decode = msgspec.json.Decoder(AlertEvent).decode


class _Open(NamedTuple):
    subject: str
    fires: bool
    effect: float
    fired_ms: int = 0  # by event time


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
        # By market the episodes of companies that came last: a crowd is small, however many are open.
        self._newest: dict[str, deque[str]] = {}

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
        if episode not in self._episodes and (market := market_of(subject)):
            self._newest.setdefault(market, deque(maxlen=CROWD_SEEN)).append(episode)
        self._episodes[episode] = _Open(subject, event.type not in CLOSES, data.effect, _when(data.detected_at, 0))
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

    def crowd(self, event: AlertEvent, now: int) -> tuple[list[list[str]], int]:
        """Other companies of its market that fired in the half hour before this one, each with its episodes, and until when this one
        waits for the market; nothing where it does not wait, or the market has fired."""
        data = event.data
        fired_ms = _when(data.detected_at, 0)
        until = fired_ms + CROWD_WAIT_MS
        if data.test or not data.rule.bounded or event.type in CLOSES or now >= until or not may_wait(data):
            return [], 0
        if any(self.fires(name) for parent in parents(data.subject.id) for name in self._by_subject.get(parent, ())):
            return [], 0
        own = data.subject.id.partition("|")[0]
        others: dict[str, list[str]] = {}
        for episode in self._newest.get(market_of(own), ()):
            one = self._episodes.get(episode, _NONE)
            company = one.subject.partition("|")[0]
            if one.fires and company != own and fired_ms - CROWD_WITHIN_MS < one.fired_ms <= fired_ms:
                others.setdefault(company, []).append(episode)
        return list(others.values()), until

    def fires(self, episode: str) -> bool:
        """It is open and has not ended."""
        return self._episodes.get(episode, _NONE).fires

    def frees(self, event: AlertEvent) -> bool:
        """Whether this event of an open episode, not yet added, may set others free: it ends, or its market surges less."""
        subject, ends = event.data.subject.id, event.type in CLOSES
        if is_market(subject):
            return ends or event.data.effect < self._episodes.get(event.data.episode_id, _NONE).effect
        return ends and any(name.startswith(f"{subject}|") for name in self._by_subject)


def covered(
    lately: dict[str, int],
    wider: list[str],
    crowd: list[list[str]],
    wait_ms: int,
    told_of: Callable[[str], Mapping[str, Told]],
) -> dict[str, int]:
    """The endpoints to which an alert says nothing new, each with until when (0: until something changes): they were told of a market
    that ended lately, of a wider alert that is open, or of a crowd of companies whose market may fire yet."""
    companies = Counter(
        name for episodes in crowd for name in {name for episode in episodes for name in _hearers(told_of(episode))}
    )
    waits = {name: wait_ms for name, count in companies.items() if count >= CROWD}
    return waits | lately | {name: 0 for episode in wider for name in _hearers(told_of(episode))}


def _hearers(told: Mapping[str, Told]) -> list[str]:
    return [name for name, last in told.items() if not last.nothing]


def _when(text: str, otherwise: int) -> int:
    """Epoch ms; `otherwise` for what somebody wrote to the topic that is no time."""
    try:
        return parse_ms(text)
    except ValueError:
        return otherwise
