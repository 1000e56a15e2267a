"""A full disk costs the log and nothing else: what runs goes on."""

import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")
RUNS = """
import logging
from groundswell import telemetry
telemetry.configure({style!r}, "info", stage="deliver")
for number in range(2_000):
    telemetry.log().info("planned", text="x" * 100)
    logging.getLogger("aiokafka").error("a library speaks")
print("went on", int(telemetry.LOG_LOST._value.get()) > 0, flush=True)
"""


@pytest.mark.skipif(not FULL.exists(), reason="No device that is always full.")
@pytest.mark.parametrize("style", ["json", "console"])
def test_a_log_that_cannot_be_written_ends_nothing_and_is_counted(style):
    """F49."""
    with FULL.open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", RUNS.format(style=style)], stdout=subprocess.PIPE, stderr=full, timeout=60, check=False
        )  # fmt: skip
    assert done.stdout == b"went on True\n"
