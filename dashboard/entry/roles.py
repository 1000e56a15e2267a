"""What each route wants of whoever asks: one table of writes, one of reads. Pure; door.py asks it, tests hold every route against it.

The first match counts. A write that is not in the table wants an operator, so that a route nobody thought of is shut rather than open.
"""

from collections.abc import Sequence

from groundswell.records import Role

READS = frozenset({"GET", "HEAD", "OPTIONS"})

# Writes: method (`*`: any), a path and all below it. Those that only look come first, since the first match counts.
NEEDED: tuple[tuple[str, str, Role], ...] = (
    ("POST", "/login", "viewer"),  # open: who logs in is not known yet
    ("POST", "/logout", "viewer"),
    ("POST", "/api/v1/rules/check", "analyst"),
    ("POST", "/api/v1/rules/preview", "analyst"),
    ("POST", "/api/v1/sensitivities/preview", "analyst"),
    ("*", "/api/v1/previews", "analyst"),
    ("*", "/api/v1/alerts", "analyst"),  # acknowledge, assign, comment, say that it was none
    ("*", "/api/v1/silences", "analyst"),
    ("*", "/api/v1/feedback", "analyst"),
    ("*", "/api/v1/rules", "operator"),
    ("*", "/api/v1/sensitivities", "operator"),
    ("*", "/api/v1/watchlists", "operator"),
    ("*", "/api/v1/endpoints", "operator"),
    ("*", "/api/v1/dead-letters", "operator"),
    ("*", "/api/v1/tokens", "operator"),
    ("POST", "/api/v1/documents", "feeder"),
)
# Reads that want more than a viewer.
READ_NEEDED: tuple[tuple[str, str, Role], ...] = (
    ("*", "/api/v1/endpoints", "analyst"),  # hosts of receivers
    ("*", "/api/v1/deliveries", "analyst"),  # what receivers answered
    ("*", "/api/v1/feedback", "analyst"),
    ("*", "/api/v1/dead-letters", "operator"),  # texts as they came, authors with their names
    ("*", "/api/v1/tokens", "operator"),
)
OPEN = ("/static", "/login", "/logout")
STREAMS = ("/live", "/api/v1/alerts/stream")  # counted by the hub, and ended with the session
SHOWS_SECRET = frozenset({"/api/v1/endpoints", "/api/v1/endpoints/{endpoint}/rotate", "/api/v1/tokens"})


def needed(method: str, path: str) -> Role:
    """The least role for a request. `path` as it is routed by."""
    if method in READS:
        return _first(READ_NEEDED, method, path) or ("analyst" if is_export(path) else "viewer")
    return _first(NEEDED, method, path) or "operator"


def is_open(path: str) -> bool:
    """Whether it may be asked by anybody."""
    return any(_below(path, one) for one in OPEN)


def is_export(path: str) -> bool:
    """Whether it is a whole list as a file: documents.csv, export."""
    return path.endswith((".csv", ".jsonl", "/export"))


def is_look(method: str, path: str) -> bool:
    """Whether a request that is no GET only looks: nothing to write down."""
    return (method == "POST" and path.endswith(("/check", "/preview"))) or _below(path, "/api/v1/previews")


def is_listed(method: str, path: str) -> bool:
    """Whether a write is in the table, and not an operator's only because nobody thought of it."""
    return _first(NEEDED, method, path) is not None


def _first(table: Sequence[tuple[str, str, Role]], method: str, path: str) -> Role | None:
    return next((role for verb, prefix, role in table if verb in ("*", method) and _below(path, prefix)), None)


def _below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(f"{prefix}/")
