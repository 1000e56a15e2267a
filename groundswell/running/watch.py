"""`groundswell watch`: subjects by negatives against expected, and alerts as they fire. Read shown.py for the reading.

All names and words from the world go through text.safe: a title cannot move the cursor or turn the letters around.
"""

import asyncio
from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from groundswell.clients.connect import open_redis
from groundswell.clock import Clock
from groundswell.errors import RedisAway
from groundswell.keys import Keys
from groundswell.records import AlertView, LiveRow
from groundswell.settings import Settings
from groundswell.shown import Shown
from groundswell.text import safe
from groundswell.times import rfc3339
from stream.topology import SCORED, Topology

EVERY_S = 1.0
MARKET = "market"
REST = -9.0  # evidence under this is none: then the count decides
STALE_S = 180
LINES_BESIDE_SUBJECTS = 10
MAX_ALERTS = 6
BARS = "▁▂▃▄▅▆▇█"
LEARNING_NEGATIVES, LEARNING_H = 20, 24  # either is enough (stream.detection.surge.Settings)
MARKS = {"firing": "◆", "recovering": "◇", "pending": "◈", "learning": "…", "warming": "…"}
# Orange, not red: red means rising in China, and the pages use the same.
HOT, SOFT = "dark_orange", "bright_black"


async def watch(
    settings: Settings, topology: Topology, clock: Clock, stop: asyncio.Event, console: Console | None = None
) -> None:
    """Until `stop`. Raises RedisAway without a Redis to begin with; one that goes later is said and waited for."""
    redis = await open_redis(settings)
    shown = Shown(redis, Keys(settings.prefix), topology.partitions(SCORED))
    console = console or Console()
    away = ""
    try:
        with Live(console=console, auto_refresh=False, screen=console.is_terminal, transient=False) as live:
            while not stop.is_set():
                try:
                    await shown.look()
                    away = ""
                except RedisAway as error:
                    away = error.line
                live.update(screen(shown, clock.now_ms(), away, console.height), refresh=True)
                await _until(stop, EVERY_S)
    finally:
        await redis.aclose()


def screen(shown: Shown, now_ms: int, away: str, height: int) -> RenderableType:
    """One picture of everything: a line on how fresh it is, the subjects, the alerts. Pure."""
    alerts = sorted(shown.alerts.values(), key=lambda view: view.event.timestamp, reverse=True)[:MAX_ALERTS]
    room = max(3, height - LINES_BESIDE_SUBJECTS - len(alerts))
    return Group(
        freshness(shown.at, now_ms, away),
        market_line(shown.rows.get(MARKET)),
        subjects(list(shown.rows.values()), room),
        Text(""),
        alert_lines(alerts),
    )


def freshness(at_ms: int, now_ms: int, away: str) -> Text:
    """Whether the figures are of now, in words."""
    if away:
        return Text(f"No data: {away}", style=f"bold {HOT}")
    if not at_ms:
        return Text("Nothing has been counted yet. Push a text: groundswell push FILE --topic news", style=SOFT)
    behind_s = (now_ms - at_ms) // 1000
    if behind_s > STALE_S:
        return Text(f"Counts end at {rfc3339(at_ms)}; nothing since. Check with: groundswell health", style=HOT)
    return Text(f"Counts up to {rfc3339(at_ms)}", style=SOFT)


def market_line(row: LiveRow | None) -> Text:
    """The whole market in one line; empty where it is not counted."""
    if row is None:
        return Text("")
    return Text.assemble(
        ("Market  ", SOFT),
        (str(row.negatives_15), f"bold {HOT}" if row.negatives_15 > row.high_15 else "bold"),
        (f" negative in 15 min, {row.low_15}–{row.high_15} expected\n", SOFT),
    )


def subjects(rows: Sequence[LiveRow], room: int) -> Table:
    """What needs eyes first is first: by evidence, then by negatives."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style=SOFT, pad_edge=False)
    table.add_column("Subject", no_wrap=True, overflow="ellipsis", max_width=34)
    for name in ("Negative", "Expected", "Reach"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    table.add_column("Last 3 h", no_wrap=True, min_width=18)
    apart = [row for row in rows if row.subject != MARKET]
    table.add_column("State", no_wrap=True, min_width=12)
    for row in sorted(apart, key=lambda row: (-max(row.evidence, REST), -row.negatives_15, row.subject))[:room]:
        known = row.state != "learning"
        raised = known and row.negatives_15 > row.high_15
        style = HOT if row.state in ("firing", "pending", "recovering") else ""
        table.add_row(
            Text(_name(row.names, row.subject)),
            Text(str(row.negatives_15), style=f"bold {HOT}" if raised else ""),
            Text(f"{row.low_15}–{row.high_15}" if known else "–", style=SOFT),
            Text(str(row.reach_15), style=SOFT),
            Text(spark(row.spark[-36:]), style=style or SOFT),
            Text(f"{MARKS.get(row.state, '·')} {safe(row.state, 20)}{learned(row)}", style=style),
        )
    return table


def learned(row: LiveRow) -> str:
    """How far a subject is that is still learning: negatives and hours, either is enough. Short, for narrow terminals."""
    if row.state != "learning":
        return ""
    return f" {row.learned_negatives}/{LEARNING_NEGATIVES}, {row.learned_s // 3600}/{LEARNING_H} h"


def alert_lines(alerts: Sequence[AlertView]) -> RenderableType:
    """The newest alerts, one line each."""
    if not alerts:
        return Text("No alerts.", style=SOFT)
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    for _ in range(5):
        table.add_column(no_wrap=True, overflow="ellipsis")
    for view in alerts:
        data = view.event.data
        style = HOT if view.state == "firing" else SOFT
        table.add_row(
            Text(MARKS.get(view.state, "○"), style=style),
            Text(safe(data.started_at, 24)[11:16], style=SOFT),
            Text(_name(data.subject.names, view.subject), style=style),
            Text(f"{data.observed.negatives} negative, {data.expected.low}–{data.expected.high} expected"),
            Text(safe(view.state, 20), style=style),
        )
    return table


def spark(values: Sequence[int]) -> str:
    """Counts as one line of bars, two to a bar; four or fewer never fill it, so that quiet looks quiet."""
    pairs = [max(0, sum(values[place : place + 2])) for place in range(0, len(values), 2)]
    top = max([4, *pairs])
    return "".join(BARS[value * 8 // (top + 1)] for value in pairs)


def _name(names: dict[str, str], subject: str) -> str:
    return safe(names.get("en") or names.get("zh") or subject, 60)


async def _until(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
