"""On a day when a whole market is talked down, which alerts say no more than their market's does. Pure; open_alerts.py asks.

A company is judged by its excess: it is told if it would still fire had everything been expected as many times as its market surges.
"""

from groundswell.markets import MARKET, MARKETS, is_market, market_of
from groundswell.records import AlertData

# Talk that a market stirred up dies down by and by. What says more of itself is told at once, what only goes on is told so late.
AFTER_MS = 24 * 3_600_000
AFTER_CRITICAL_MS = 3 * 3_600_000


def parents(subject: str) -> tuple[str, ...]:
    """The markets whose surge may explain that of `subject`: a company's own and all talk; all talk and the others explain each other."""
    if subject == MARKET:
        return tuple(f"{MARKET}:{group}" for group in MARKETS)
    own = "" if is_market(subject) else market_of(subject)
    return (own, MARKET) if own else (MARKET,)


def until_ms(child: AlertData, ended_ms: int) -> int:
    """How long a market that ended explains an alert that began before its end."""
    return ended_ms + (AFTER_CRITICAL_MS if child.severity == "critical" else AFTER_MS)


def explained(child: AlertData, effect: float) -> bool:
    """Whether a market that surges to `effect` times its usual explains this alert. An alert that does not say how far it reaches
    is not explained by anything."""
    return 0 < child.fires_up_to <= effect
