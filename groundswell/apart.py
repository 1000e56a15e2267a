"""Asynchronous work beside a loop that may not wait: in a thread with a loop of its own, and with a deadline.

For what takes the processor for long between two awaits, such as thousands of Kafka records, while live streams wait on this loop.
"""

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


async def apart(work: Callable[[], Coroutine[Any, Any, T]], deadline_s: float) -> T:
    """What `work` makes. Raises what it raises, TimeoutError at the deadline.

    Who stops waiting stops nothing: the work ends by itself or by its deadline. The thread holds up no exit of the process.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()

    async def limited() -> T:
        async with asyncio.timeout(deadline_s):
            return await work()

    def run() -> None:
        try:
            done.set_result(asyncio.run(limited()))
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is waited for
            done.set_exception(error)

    Thread(target=run, name="apart", daemon=True).start()
    return await asyncio.wrap_future(done)
