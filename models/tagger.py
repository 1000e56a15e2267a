"""One model in a process of its own: start it, ask it, notice when it dies; the other end is worker.py. No torch here.

Read `ask` first. What is asked, in which batches, and what becomes of a batch that killed the process is batcher.py's.
"""

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import structlog

from groundswell.errors import BrokenModel, Misconfigured, ModelAway
from groundswell.tagging import Text
from groundswell.text import safe
from models import catalog
from models.batch_queue import BATCH_TOKENS
from models.tags import HEADER, MAX_FRAME_BYTES, Failure, Hello, Reply, Request, flaw, frame

log = structlog.get_logger(stage="model")

NOT_READY = "not_ready"  # the kind of a Failure that is ours: the child did not say why
KEPT_ERROR_BYTES, KEPT_ERROR_LINES = 16_384, 30
LOGGED_ERROR_CHARS = 1_000


class ChildLost(Exception):
    """The child ended, was silent, failed on this batch, or answered what cannot be true."""


@dataclass
class Child:
    """One running model process and the requests that wait for its answers."""

    process: asyncio.subprocess.Process
    waiting: dict[int, asyncio.Future[Reply]] = field(default_factory=dict)
    printed: bytes = b""  # the end of its standard error
    listeners: list[asyncio.Task[None]] = field(default_factory=list)
    doomed: bool = False  # we end it

    @property
    def errors(self) -> list[str]:
        """The last lines the child printed: they say why it did not start, or why it ended."""
        return self.printed.decode("utf-8", "replace").splitlines()[-KEPT_ERROR_LINES:]

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
    """One child process with a model. Safe to call from many tasks of one event loop.

    `model` is a name for `catalog.locate`, fetched only with `download`; `device` is cpu, cuda:0 and so on, or auto: the
    first GPU, else the processor; `threads` is the child's number of threads;
    `deadline_s` bounds one batch, `start_deadline_s` loading and checking; `worker` is the module that the child runs.
    """

    def __init__(
        self,
        model: str = catalog.BUNDLED,
        *,
        download: bool = False,
        device: str = "auto",
        threads: int = 1,
        deadline_s: float = 60,
        start_deadline_s: float = 120,
        worker: str = "models.worker",
    ) -> None:
        self._model = model
        self._download = download
        self._device = device
        self._threads = threads
        self._worker = worker
        self._deadline_s = deadline_s
        self._start_deadline_s = start_deadline_s
        self._child: Child | None = None
        self._version = ""
        self.batch_tokens = BATCH_TOKENS  # what serves it best; known after `start`
        self._last_id = 0
        self._stopped = False
        self._starting = asyncio.Lock()

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

    async def ask(self, texts: Sequence[Text]) -> Reply:
        """Send one batch and wait for its answer: one tag a text, in order, each of them checked.

        Raises ChildLost, after which the same batch may be asked again (a child is started for it when there is none),
        or ModelAway when there can be no child.
        """
        if self._stopped:
            raise ModelAway("The model was stopped.")
        try:
            child = await self._running()
        except Misconfigured as error:
            raise ModelAway(f"The model process cannot be started again: {error}") from error
        reply = await self._exchange(child, texts)
        if reply.error is not None:
            raise ChildLost(f"{reply.error.kind}: {reply.error.message}")
        if wrong := flaw(texts, reply.results):
            raise ChildLost(f"its answer is wrong: {wrong}")
        return reply

    def kill(self) -> None:
        """End the child at once, because it is not to be trusted: the next `ask` starts and checks a new one."""
        if self._child is not None:
            self._child.kill()

    async def stop(self) -> None:
        """End the child: its input closes, and after 5 s it is killed. Batches still in flight raise ModelAway."""
        self._stopped = True
        async with self._starting:
            await self._close()

    async def _exchange(self, child: Child, texts: Sequence[Text]) -> Reply:
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
                return await answer
        except TimeoutError as error:
            child.kill()
            raise ChildLost(f"no answer within {self._deadline_s:.0f} s") from error
        except (BrokenPipeError, ConnectionResetError) as error:
            await child.process.wait()
            raise ChildLost("it ended") from error
        finally:
            del child.waiting[request.id]

    async def _running(self) -> Child:
        """The child, started when there is none or it has ended."""
        async with self._starting:
            if self._child is not None and self._child.alive and not self._child.listeners[-1].done():
                return self._child
            await self._close()
            await asyncio.to_thread(lambda: catalog.verify(catalog.locate(self._model, download=self._download)))
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", self._worker, self._model, self._device),
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
                hello = Failure(NOT_READY, f"it did not get ready within {self._start_deadline_s:.0f} s ({error!r})")
            if isinstance(hello, Failure):
                child.kill()
                await self._close()
                message = "\n".join([hello.message, *(child.errors if hello.kind == NOT_READY else [])])
                raise BrokenModel(message, remedy=hello.remedy)
            child.listeners.append(asyncio.create_task(listen(child)))
            self._version, self.batch_tokens = hello.model_version, hello.batch_tokens
            log.info("model ready", version=self._version, pid=process.pid, threads=self._threads, runner=hello.runner)
            return child

    async def _close(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        assert child.process.stdin is not None
        if child.process.returncode is None:
            child.doomed = True
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
    if not child.doomed:  # also where nobody waits for an answer: killed for memory, most often
        await asyncio.wait(child.listeners[:1], timeout=1)
        said = safe("\n".join(child.errors)[-LOGGED_ERROR_CHARS:], LOGGED_ERROR_CHARS)
        log.warning("the model process ended", pid=child.process.pid, status=status, said=said)


async def first_frame(child: Child) -> Hello | Failure:
    body = await read(child)
    if body is None:
        return Failure(NOT_READY, f"the model process ended with status {await child.process.wait()}.")
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
    """Read what the child prints, or it would wait for us; keep the end. In pieces: a progress bar is one endless line."""
    assert child.process.stderr is not None
    while piece := await child.process.stderr.read(4_096):
        child.printed = (child.printed + piece)[-KEPT_ERROR_BYTES:]


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
