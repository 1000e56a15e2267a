"""`python -m bench.chaos_stage STAGE`: a stage as `groundswell STAGE` runs it, under a wrong clock if the run asks for one.

Two things are other than in operation, and only where the environment says so: the clock that decisions are made by is put off by as many
milliseconds as a file says (never time.monotonic), and a dead member of a group may be noticed sooner than after ten seconds.
"""

import importlib
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from groundswell import clock
from groundswell.cli import main as command_line

CLOCK, SESSION = "GROUNDSWELL_TEST_CHAOS_CLOCK", "GROUNDSWELL_TEST_CHAOS_SESSION_MS"
READ_EVERY_S = 0.2


def put_off_by(file: Path) -> Callable[[Any], int]:
    """`now_ms` of a clock that goes wrong by what stands in a file."""
    read_s, off_ms = -1.0, 0

    def now_ms(_clock: Any) -> int:
        nonlocal read_s, off_ms
        if time.monotonic() - read_s > READ_EVERY_S:
            read_s = time.monotonic()
            with suppress(OSError, ValueError):  # not there yet, or in the middle of being written: as before
                off_ms = int(file.read_text("ascii"))
        return time.time_ns() // 1_000_000 + off_ms

    return now_ms


def shorten_session(stage: str, session_ms: int) -> None:
    """What the clients ask of the broker: after how long without a heartbeat a member counts as dead."""
    if stage == "ingest":
        import faust

        app = faust.App

        def shorter(name: str, **options: Any) -> Any:
            return app(
                name, **(options | {"broker_session_timeout": session_ms / 1000, "broker_heartbeat_interval": 0.5})
            )

        faust.App = shorter
        return
    connect: Any = importlib.import_module("groundswell.clients.connect")
    consumer = connect.AIOKafkaConsumer

    def sooner(*topics: str, **options: Any) -> Any:
        return consumer(*topics, **(options | {"session_timeout_ms": session_ms}))

    connect.AIOKafkaConsumer = sooner


def main(stage: str) -> None:
    """Set up, then the command line."""
    if CLOCK in os.environ:
        setattr(clock.SystemClock, "now_ms", put_off_by(Path(os.environ[CLOCK])))  # noqa: B010 - it is another's method
    if SESSION in os.environ:
        shorten_session(stage, int(os.environ[SESSION]))
    command_line([stage])


if __name__ == "__main__":
    main(sys.argv[1])
