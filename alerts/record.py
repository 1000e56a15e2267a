"""Makes the ends of tries lasting: first on the deliveries topic, then in the lanes; many at once, in the order they came.

Whoever dies in between leaves a second delivery of the same id behind, never a missing one.
"""

import asyncio

from aiokafka import AIOKafkaProducer

from alerts import write
from alerts.lanes import Finish, Lanes
from stream.topology import Topology

TOGETHER = 256
WAITING_MOST = 1_024  # then tries wait to note their end; slot.py begins no new ones while many wait


class Recorder:
    """One for all endpoints: what ends within the same few milliseconds shares a batch of Kafka and a call of Redis."""

    def __init__(self, lanes: Lanes, producer: AIOKafkaProducer, topology: Topology) -> None:
        self._lanes, self._producer, self._topology = lanes, producer, topology
        self._queue: asyncio.Queue[tuple[Finish, asyncio.Future[bool]]] = asyncio.Queue(WAITING_MOST)

    async def note(self, ended: Finish) -> bool:
        """Returns once it is lasting. False: the claim was no longer ours. Waits for ever when `run` does not run."""
        lasting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        await self._queue.put((ended, lasting))
        return await lasting

    async def run(self) -> None:
        """Until cancelled. Raises ProduceFailed, Fenced and errors of Redis."""
        task = asyncio.current_task()
        # Asked for, since a library may swallow the one error that a cancelled wait raises (asyncio.wait_for in 3.11).
        while task is not None and not task.cancelling():
            batch = [await self._queue.get()]
            while len(batch) < TOGETHER and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            rows = [row for ended, _ in batch for row in ended.rows]
            await write.outcomes(self._producer, self._topology, rows)
            answers = await self._lanes.finish([ended for ended, _ in batch])
            for (_, lasting), ours in zip(batch, answers, strict=True):
                if not lasting.done():
                    lasting.set_result(ours)
