"""Tables for people and for pipes: a terminal wraps to its width, a file or pipe gets whole lines."""

import sys

from rich.console import Console

PIPE_COLUMNS = 240


def out() -> Console:
    """Standard output."""
    return Console() if sys.stdout.isatty() else Console(width=PIPE_COLUMNS)
