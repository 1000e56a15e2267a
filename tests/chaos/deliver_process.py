"""`groundswell deliver` with a retry schedule of seconds instead of days, as a process; see test_deliver_kills.py."""

import asyncio
import os
import signal

from alerts import deliver
from groundswell import settings as all_settings
from groundswell import telemetry
from groundswell.clock import SystemClock
from stream.topology import Topology

# Twelve tries as in real life; the last ones are as far away as to be never.
STEPS_S = (0.0, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0, 5.0, 600.0, 600.0, 600.0, 600.0)


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    settings = all_settings.load(dict(os.environ))
    telemetry.configure(settings.log, settings.log_level, stage="deliver")
    await deliver.run(settings, Topology(settings.prefix), SystemClock(), stop, steps_s=STEPS_S)


if __name__ == "__main__":
    asyncio.run(main())
