"""Asks the model, which lives in a process of its own; the other end is worker.py. Imports no torch.

The child may die (out of memory, a hostile text). Then it is started again and the batch is retried alone, in halves,
until the text that kills it is found: that one is given up (None), all the others are answered. Read `tag` first.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from groundswell.errors import BrokenModel, Misconfigured, ModelAway
from groundswell.tagging import Model, Tag, Text
from models import catalog
from models.scripted import ScriptedModel
from models.tags import HEADER, MAX_FRAME_BYTES, Failure, Hello, Reply, Request, frame

__all__ = ["Model", "ModelProcess", "ScriptedModel", "Tag", "Text"]

log = structlog.get_logger(stage="model")

# One batch runs while the next one waits ready; more would only take the choice of order from the caller.
IN_FLIGHT = 2
KEPT_ERROR_LINES = 30


class ChildLost(Exception):
    """The child ended, or failed on this batch."""


@dataclass
class Child:
    """One running model process and the requests that wait for its answers."""

    process: asyncio.subprocess.Process
    waiting: dict[int, asyncio.Future[Reply]] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    listeners: list[asyncio.Task[None]] = field(default_factory=list)
    doomed: bool = False

    @property
    def alive(self) -> bool:
        return self.process.returncode is None and not self.doomed

    def kill(self) -> None:
        # The signal takes a moment: meanwhile nobody may ask this child anything.
        self.doomed = True
        with suppress(ProcessLookupError):
            self.process.kill()

    def fail(self, cause: str) -> None:
        for answer in self.waiting.values():
            if not answer.done():
                answer.set_exception(ChildLost(cause))


class ModelProcess:
    """A model in a child process. Safe to call from many tasks of one event loop.

    `model` is a name for `catalog.locate`, fetched only with `download`; `threads` is the child's number of threads;
    `deadline_s` bounds one batch, `start_deadline_s` loading and checking; `worker` is the module that the child runs.
    """

    def __init__(
        self,
        model: str = catalog.BUNDLED,
        *,
        download: bool = False,
        threads: int = 1,
        deadline_s: float = 60,
        start_deadline_s: float = 120,
        worker: str = "models.worker",
    ) -> None:
        self._model = model
        self._download = download
        self._threads = threads
        self._worker = worker
        self._deadline_s = deadline_s
        self._start_deadline_s = start_deadline_s
        self._child: Child | None = None
        self._version = ""
        self._last_id = 0
        self._stopped = False
        self._starting = asyncio.Lock()
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._suspects = asyncio.Lock()

    @property
    def version(self) -> str:
        """The model's version: it changes whenever its weights do. Known after `start`."""
        return self._version

    @property
    def pid(self) -> int | None:
        """The child's process id, for memory metrics; None while there is none."""
        return self._child.process.pid if self._child and self._child.alive else None

    async def start(self) -> None:
        """Start the child and wait until it is ready. Raises BrokenModel or UnknownModel, which say what is wrong."""
        self._stopped = False
        await self._running()

    async def tag(self, texts: Sequence[Text]) -> list[Tag | None]:
        """One tag a text, in order; None for a text that broke the model twice (dead letter `model_crash`).

        Waits while two batches are in flight. Raises ModelAway when the child cannot be started again.
        """
        if not texts:
            return []
        try:
            async with self._slots:
                return list(await self._ask(texts))
        except ChildLost as loss:
            log.warning("the model failed on a batch; it is retried alone", texts=len(texts), cause=str(loss))
        # Suspects run with nothing beside them, so that the one in flight when the child dies is the guilty one.
        async with self._suspects, AsyncExitStack() as slots:
            for _ in range(IN_FLIGHT):
                await slots.enter_async_context(self._slots)
            return await self._retry(texts)

    async def stop(self) -> None:
        """End the child: its input closes, and after 5 s it is killed. Batches still in flight raise ModelAway."""
        self._stopped = True
        async with self._starting:
            await self._close()

    async def _retry(self, texts: Sequence[Text]) -> list[Tag | None]:
        middle = (len(texts) + 1) // 2
        answers: list[Tag | None] = []
        for half in filter(None, (texts[:middle], texts[middle:])):
            try:
                answers += await self._ask(half)
            except ChildLost as loss:
                if len(half) > 1:
                    answers += await self._retry(half)
                else:
                    log.warning("a text broke the model twice", characters=len(half[0].whole), cause=str(loss))
                    answers.append(None)
        return answers

    async def _ask(self, texts: Sequence[Text]) -> list[Tag]:
        """Send one batch and wait for its answer. Raises ChildLost, or ModelAway when there can be no child."""
        if self._stopped:
            raise ModelAway("The model was stopped.")
        try:
            child = await self._running()
        except Misconfigured as error:
            raise ModelAway(f"The model process cannot be started again: {error}") from error
        assert child.process.stdin is not None
        self._last_id += 1
        request = Request(self._last_id, list(texts))
        try:
            message = frame(request)
        except UnicodeEncodeError as error:  # a lone surrogate that no normaliser saw
            raise ChildLost("a text cannot be encoded") from error
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        child.waiting[request.id] = answer
        try:
            async with asyncio.timeout(self._deadline_s):
                child.process.stdin.write(message)
                await child.process.stdin.drain()
                reply = await answer
        except TimeoutError as error:
            child.kill()
            raise ChildLost(f"no answer within {self._deadline_s:.0f} s") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            await child.process.wait()
            raise ChildLost("it ended") from error
        finally:
            del child.waiting[request.id]
        if reply.error is not None:
            raise ChildLost(f"{reply.error.kind}: {reply.error.message}")
        if len(reply.results) != len(texts):
            raise ChildLost(f"{len(reply.results)} answers for {len(texts)} texts")
        return reply.results

    async def _running(self) -> Child:
        """The child, started when there is none or it has ended."""
        async with self._starting:
            if self._child is not None and self._child.alive and not self._child.listeners[-1].done():
                return self._child
            await self._close()
            await asyncio.to_thread(lambda: catalog.verify(catalog.locate(self._model, download=self._download)))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._worker, self._model),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=environment(self._threads),
                start_new_session=True,  # Ctrl-C is for the parent, which still drains through the child
            )
            child = self._child = Child(process)
            child.listeners.append(asyncio.create_task(collect_errors(child)))
            try:
                hello = await asyncio.wait_for(first_frame(child), self._start_deadline_s)
            except (TimeoutError, ValueError, msgspec.DecodeError) as error:
                hello = Failure("start", f"it did not get ready within {self._start_deadline_s:.0f} s ({error!r})")
            if isinstance(hello, Failure):
                child.kill()
                await self._close()
                message = "\n".join([hello.message, *(child.errors if hello.kind == "start" else [])])
                raise BrokenModel(message, remedy=hello.remedy)
            child.listeners.append(asyncio.create_task(listen(child)))
            self._version = hello.model_version
            log.info("model ready", version=self._version, pid=process.pid, threads=self._threads)
            return child

    async def _close(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        assert child.process.stdin is not None
        child.process.stdin.close()
        try:
            await asyncio.wait_for(child.process.wait(), 5)
        except TimeoutError:
            child.kill()
            await child.process.wait()
        await asyncio.wait(child.listeners, timeout=1)
        for task in child.listeners:
            task.cancel()
        child.fail("it was stopped")


async def listen(child: Child) -> None:
    """Hand each reply to whoever waits for it; when the stream ends, fail all who still wait."""
    cause = "it ended"
    try:
        while (body := await read(child)) is not None:
            reply = msgspec.msgpack.decode(body, type=Reply)
            answer = child.waiting.get(reply.id)
            if answer is not None and not answer.done():
                answer.set_result(reply)
    except (ValueError, msgspec.DecodeError) as error:
        cause = f"its answer cannot be read: {error}"
        child.kill()
    status = await child.process.wait()
    child.fail(f"{cause} (status {status})")


async def first_frame(child: Child) -> Hello | Failure:
    body = await read(child)
    if body is None:
        return Failure("start", f"the model process ended with status {await child.process.wait()}.")
    return msgspec.msgpack.decode(body, type=Hello | Failure)


async def read(child: Child) -> bytes | None:
    """The next frame from the child, or None when its output has ended. Raises ValueError on a stray write."""
    stream = child.process.stdout
    assert stream is not None
    try:
        (length,) = HEADER.unpack(await stream.readexactly(HEADER.size))
        if length > MAX_FRAME_BYTES:
            raise ValueError(f"a frame of {length} bytes")
        return await stream.readexactly(length)
    except asyncio.IncompleteReadError:
        return None


async def collect_errors(child: Child) -> None:
    """Keep the last lines the child printed: they say why it did not start."""
    assert child.process.stderr is not None
    while line := await child.process.stderr.readline():
        child.errors = [*child.errors, line.decode("utf-8", "replace").rstrip()][-KEPT_ERROR_LINES:]


def environment(threads: int) -> dict[str, str]:
    """The child's environment. PASSIVE: spinning threads on a busy machine cost ten times the work itself."""
    here = str(Path(__file__).parent.parent)
    return os.environ | {
        "OMP_WAIT_POLICY": "PASSIVE",
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
        "MALLOC_ARENA_MAX": "2",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
