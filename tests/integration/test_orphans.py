"""Stages do not outlive the `up` that started them, however it ended."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.stages import clean_environment


def children_of(pid: int) -> set[int]:
    """Process ids, from /proc; a line of children is there for each thread."""
    found = set()
    for line in Path(f"/proc/{pid}/task").glob("*/children"):
        found |= {int(child) for child in line.read_text().split()}
    return found


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_stages_end_when_up_was_killed(tmp_path: Path) -> None:
    with (tmp_path / "up.log").open("wb") as log:
        up = subprocess.Popen(
            [sys.executable, "-m", "groundswell", "up"], stdout=log, stderr=log,
            env=clean_environment() | {"GROUNDSWELL_STATE_DIR": str(tmp_path), "GROUNDSWELL_MODEL": "scripted", "GROUNDSWELL_PORT": "0"},
        )  # fmt: skip
    try:
        end_s = time.monotonic() + 60
        while len(stages := children_of(up.pid)) < 6 and time.monotonic() < end_s:
            time.sleep(0.2)
        assert len(stages) == 6, (tmp_path / "up.log").read_text()
        up.kill()
        up.wait()
        end_s = time.monotonic() + 20
        while any(map(lives, stages)) and time.monotonic() < end_s:
            time.sleep(0.2)
        assert not [pid for pid in stages if lives(pid)]
    finally:
        for pid in {up.pid, *children_of(up.pid)}:
            if lives(pid):
                os.kill(pid, signal.SIGKILL)
