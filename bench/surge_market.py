"""The gate `market`: a shock to a quarter of a market is one alert about the market, not one for each company it hits.

600 companies and two subjects that hear them all, each with its episodes, go through the detector at `balanced`, without a watchlist;
every alert goes through deliver's own plan, as one endpoint would hear it. A company is told beside its market only by its
excess (`alerts/market_day.py`). What is told before the market is (its first minutes) counts against the gate.
"""

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from alerts.case import Told
from alerts.channels.contract import Limits
from alerts.lanes import Known, Lanes
from alerts.open_alerts import OpenAlerts, covered
from alerts.planner import Facts, head_of, planned
from alerts.say import Say
from bench.surge_simulator import DAY, Counts, Planted, World, local_slots_of_week, simulate
from groundswell import times
from groundswell.control import ControlView
from groundswell.markets import MARKET, MARKETS
from groundswell.records import AlertData, AlertEvent, AlertRule, AlertSubject, Endpoint, Expected, Observed, Secret
from stream.detection import floors, lines, surge, surge_reading
from stream.names.directory import Subject

Result = dict[str, Any]

COMPANIES, CHUNK, HIT, FACTOR, SHOCK_MIN = 600, 100, 150, 2.5, 60
WARM_UP_DAYS = 14
BACK, CALM_STEPS, LEAST_STEPS = 180, 10, 15
START_MS = 1_770_595_200_000  # a Monday
PARENTS = (f"{MARKET}:XNYS", MARKET)
_NOTHING = Secret(kid="", nonce="", ct="")
_DESK = Endpoint(id="desk", name="desk", url=_NOTHING, secret=_NOTHING, shown="", created_at=0)
_LIMITS = Limits(many=False, spacing_s=0, per_minute=None, gives_up_s=86_400, body_bytes=1 << 20)


def market(seed: int, key_days: int = 1800) -> Result:
    """Shocks of an hour, a day apart: how many alerts about the market and about companies an endpoint hears of each."""
    shocks = max(1, key_days // COMPANIES)
    rng = np.random.default_rng([seed, 8])
    begins = [(WARM_UP_DAYS + day) * DAY + int(rng.integers(10 * 60, 15 * 60)) for day in range(shocks)]
    hit = [rng.permutation(COMPANIES)[:HIT] for _ in range(shocks)]
    y, n = _counts(seed, begins, hit)
    desk = Desk()
    for event in _events(y, n, WARM_UP_DAYS * DAY):
        desk.hear(event)
    heard = [[0, 0] for _ in range(shocks)]
    stray = 0
    for subject, fired in desk.pushed:
        shock = next((i for i, begin in enumerate(begins) if begin <= fired < begin + SHOCK_MIN), None)
        if shock is None:
            stray += 1
        else:
            heard[shock][subject not in PARENTS] += 1
    return {
        "shocks": shocks,
        "parents_told": {str(i): parents for i, (parents, _) in enumerate(heard)},
        "companies_told": {str(i): companies for i, (_, companies) in enumerate(heard)},
        "companies_kept_back": len(desk.kept),
        "told_beside_shocks": stray,
        "parent_after_min": {
            str(i): min(fired - begin for subject, fired in desk.pushed
                        if subject in PARENTS and begin <= fired < begin + SHOCK_MIN)
            for i, begin in enumerate(begins) if heard[i][0]
        },
    }  # fmt: skip


def _counts(seed: int, begins: list[int], hit: list[Any]) -> tuple[Counts, Counts]:
    """(y, n) by minute of 600 companies, and behind them what those hear who hear all of them."""
    days = WARM_UP_DAYS + len(begins)
    parts = []
    for chunk in range(COMPANIES // CHUNK):
        first = chunk * CHUNK
        events = tuple(
            Planted(int(key) - first, begin, begin + SHOCK_MIN, FACTOR)
            for begin, keys in zip(begins, hit, strict=True)
            for key in keys
            if first <= key < first + CHUNK
        )
        made = simulate(World(days=days, keys=CHUNK, warm_up_days=WARM_UP_DAYS, planted=events), seed * 1000 + chunk)
        parts.append((made.y, made.n))
    y, n = (np.concatenate(own, axis=1) for own in zip(*parts, strict=True))
    return tuple(  # type: ignore[return-value]
        np.concatenate([own, np.repeat(own.sum(axis=1, keepdims=True), len(PARENTS), axis=1)], axis=1) for own in (y, n)
    )


@dataclass
class _Episode:
    number: int
    ratio: float
    onset_ms: int
    effect: float
    fired: int
    calm: int = 0


def _events(y: Counts, n: Counts, start: int) -> Any:
    """Fire, hold the level, see calm, resolve: the alert events of all subjects in the order in which they happen."""
    settings = surge.Settings()
    minutes, keys = y.shape
    names = [*(f"XNYS:C{key:03d}" for key in range(COMPANIES)), *PARENTS]
    budget = surge.SENSITIVITY_BUDGET["balanced"]
    # The markets that hear none of this have their part of the budget all the same.
    shared = lines.parts(keys, budget, markets=(MARKET, *(f"{MARKET}:{group}" for group in MARKETS)))
    line = np.array([surge.threshold(budget, keys, shared.own.get(name, shared.others)) for name in names])
    week = local_slots_of_week(keys)
    alone = [Subject(name, "market" if name in PARENTS else "company", {}).fresh(settings) for name in names]
    state = surge.State.concat(alone)
    past = {name: np.zeros((BACK, keys)) for name in ("mu", "fast", "r_fast", "r_slow", "share", "r_share")}
    held = np.zeros(keys, np.bool_)
    open_episodes: dict[int, _Episode] = {}
    episodes = 0
    for t in range(minutes):
        state, said = surge.tick(state, week[t // 15 % len(week)], y[t], n[t], held, settings)
        if t < start - BACK:
            continue
        for name, row in (("mu", said.expected), ("fast", said.fast_expected), ("r_fast", said.r_fast),
                          ("r_slow", said.r_slow), ("share", said.share_expected), ("r_share", said.r_share)):  # fmt: skip
            past[name][:-1] = past[name][1:]
            past[name][-1] = row
        if t < start:
            continue
        resolved = np.zeros(keys, np.bool_)
        for key, episode in list(open_episodes.items()):
            mean = past["mu"][-15:, key].sum() * episode.ratio
            z15 = surge_reading.calm(y[t - 14 : t + 1, key].sum(dtype=np.float64), mean, said.phi15[key])
            episode.calm = episode.calm + 1 if z15 <= 1 else 0
            if episode.calm >= CALM_STEPS and t - episode.fired >= LEAST_STEPS:
                resolved[key] = True
                del open_episodes[key]
                yield _event("alert.resolved", names[key], episode, 2, t)
        for key in np.flatnonzero((said.ln_m >= line) & ~said.learning & ~held).tolist():
            episodes += 1
            episode, up_to = _begun(episodes, y[t - BACK + 1 : t + 1, key], past, key, t, float(line[key]))
            open_episodes[key] = episode
            held[key] = True
            yield _event("alert.firing", names[key], episode, 1, t, up_to)
        if resolved.any():
            held &= ~resolved
            state = surge.rest(state, resolved)


def _begun(number: int, y: Counts, past: dict[str, Any], key: int, t: int, line: float) -> tuple[_Episode, float]:
    own = {name: values[:, key] for name, values in past.items()}
    counts = y.astype(np.float64)
    begun = surge_reading.onset(counts, own["fast"], own["r_fast"])
    ratio = float(own["fast"][begun] / own["mu"][begun])
    since = floors.Steps(
        first_ms=0, step_ms=60_000, y=counts[begun:], mu=own["mu"][begun:], fast=own["fast"][begun:],
        r_fast=own["r_fast"][begun:], r_slow=own["r_slow"][begun:], share=own["share"][begun:], r_share=own["r_share"][begun:],
    )  # fmt: skip
    effect = float(since.y.sum() / max(since.mu.sum() * ratio, 1e-9))
    onset_ms = START_MS + (t - BACK + 1 + begun) * 60_000
    return _Episode(number, ratio, onset_ms, effect, t), floors.fires_up_to(since, line)


def _event(kind: Any, subject: str, episode: _Episode, sequence: int, t: int, up_to: float = 0.0) -> AlertEvent:
    at = times.rfc3339(START_MS + t * 60_000)
    data = AlertData(
        episode_id=f"ep_{episode.number}", sequence=sequence, state="resolved" if kind == "alert.resolved" else "firing",
        previous_state="pending", test=False, severity="critical" if episode.effect >= 5 else "warning",
        rule=AlertRule(id="negative-surge", version=1), subject=AlertSubject(id=subject, kind="company", names={"en": subject}),
        kind="count", started_at=times.rfc3339(episode.onset_ms), detected_at=at, resolved_at=None, window_s=60,
        observed=Observed(mentions=0, negatives=0, negative_share=0, reach=0), expected=Expected(negatives=0, low=0, high=0),
        effect=episode.effect, effect_low=0, effect_high=0, log10_e_value=0, log10_threshold=0, fires_without_largest_story=True,
        documents=[], documents_total=0, truncated=False, versions={}, summary={}, links={}, fires_up_to=up_to,
    )  # fmt: skip
    return AlertEvent(id=f"gw_{episode.number}_{sequence}", type=kind, timestamp=at, data=data)


@dataclass
class Desk:
    """What one endpoint hears: `pushed` (subject, minute it fired) for each alert whose beginning it is told, however late; `kept`:
    episodes of which it never was."""

    pushed: list[tuple[str, int]] = field(default_factory=list)
    kept: set[str] = field(default_factory=set)
    _open: OpenAlerts = field(default_factory=lambda: OpenAlerts(cast("Lanes", None)))  # all in memory
    _known: dict[str, Known] = field(default_factory=dict)
    _events: dict[str, AlertEvent] = field(default_factory=dict)
    _looks: dict[str, float] = field(default_factory=dict)
    _view: ControlView = field(default_factory=ControlView)

    def __post_init__(self) -> None:
        self._view.endpoints[_DESK.id] = _DESK

    def hear(self, event: AlertEvent) -> None:
        """Plan one event as `alerts/intake.py` does, and again what it sets free."""
        now = times.parse_ms(event.timestamp)
        for episode in [name for name, at_ms in self._looks.items() if at_ms <= now]:
            self._plan(self._events[episode], int(self._looks[episode]))
        if event.type == "alert.resolved":
            known = self._known[event.data.episode_id].told
            self._open.end(event, (name for name, last in known.items() if not last.nothing), now)
        frees = self._open.frees(event)
        self._plan(event, now)
        if frees:
            for episode in self._open:
                self._plan(self._events[episode], now)

    def _plan(self, event: AlertEvent, now: int) -> None:
        episode = event.data.episode_id
        known = self._known.get(episode, Known())
        again = self._events.get(episode) is event
        head = known.head if again and known.head is not None else head_of(event, known, now, now)
        crowd, wait_ms = self._open.crowd(event, now)
        inhibited = covered(
            self._open.lately(event, now), self._open.wider(event), crowd, wait_ms, lambda name: self._known[name].told
        )
        facts = Facts(event=event, body=b"", head=head, told=known.told, now=now, inhibited=inhibited)
        made = planned(facts, self._view, lambda _channel: _LIMITS)
        told: dict[str, Told] = {one.endpoint: one.told for one in made.tellings if one.told is not None}
        self._known[episode] = Known(event.data.sequence, head, b"", known.told | told)
        self._events[episode] = event
        if any(one.say is Say.FIRING for one in made.tellings):
            fired_ms = times.parse_ms(event.data.detected_at)
            self.pushed.append((event.data.subject.id, (fired_ms - START_MS) // 60_000))
            self.kept.discard(episode)
        elif not self._known[episode].told:
            self.kept.add(episode)
        self._looks.pop(episode, None)
        if made.look_ms is None:
            self._open.close(episode)
        else:
            self._looks[episode] = made.look_ms
            self._open.add(event)
