"""On a day when a whole market is talked down, which alerts say no more than their market's does. Pure; open_alerts.py asks.

A company is judged by its excess: it is told if it would still fire had everything been expected as many times as its market surges.
A market is slower than the busiest of its companies, so a crowd of them waits a little for it.
"""

from groundswell.markets import MARKET, MARKETS, is_market, market_of
from groundswell.records import AlertData

# Talk that a market stirred up dies down by and by. What says more of itself is told at once, what only goes on is told so late.
AFTER_MS = 24 * 3_600_000
AFTER_CRITICAL_MS = 3 * 3_600_000

CROWD = 3  # companies of one market that an endpoint was told of; more of them wait
CROWD_WITHIN_MS = 30 * 60_000
CROWD_WAIT_MS = 15 * 60_000
CROWD_EFFECT = 3.0  # markets hardly ever surge to more: what would fire even then waits for none


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


def may_wait(child: AlertData) -> bool:
    """Whether a market that has not fired yet might explain this alert soon."""
    return (
        not is_market(child.subject.id) and 0 < child.fires_up_to <= CROWD_EFFECT and market_of(child.subject.id) != ""
    )
