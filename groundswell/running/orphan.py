"""A stage that `up` started must not outlive it, not even after kill -9: it would hold ports and partitions that nobody minds."""

import os
import signal
import threading
import time

VARIABLE = "GROUNDSWELL_RUN"  # process id of the `up` that started this stage
EVERY_S = 1.0


def end_with(parent: str | None) -> None:
    """Watch `parent` from a thread of its own, which a busy event loop cannot hold up; when it is gone, drain as on SIGTERM."""
    if parent is None or not parent.isdigit():
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(EVERY_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="orphan", daemon=True).start()
