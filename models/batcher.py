"""Texts of many callers in, full batches to the model processes, answers back: the model that `tag` asks.

Batches are filled across partitions, and a device that is idle never waits. A batch that a process failed on is asked
again alone, in halves, until the text that breaks the model is found: that one is given up (None, a dead letter), all
others are answered. batch_queue.py decides who is next, tagger.py is one process. Start with `tag`, then `_drive`.
"""

import asyncio
import hashlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import structlog

from groundswell.errors import ModelAway, ModelUnhealthy, Retryable
from groundswell.tagging import Tag, Text
from groundswell.telemetry import (
    MODEL_BATCH_FILL,
    MODEL_PADDING_AVOIDED,
    MODEL_QUEUE_TOKENS,
    MODEL_QUEUE_WAIT,
    MODEL_REPEATS,
    MODEL_STAGE_SECONDS,
    TOKENS,
)
from models.batch_queue import QUEUE_TOKENS, BatchQueue, Waiting, estimate
from models.tagger import ChildLost, ModelProcess
from models.tags import Reply

log = structlog.get_logger(stage="model")

# One batch runs while the next one waits ready; more would only take the choice of order from the queue.
IN_FLIGHT = 2
# Of what a model runs at once: the queue's estimate may be too low, and a few texts too many cost a pass of their own.
CAUTION = 0.96
REPEATS = 8_192  # answers remembered: about 10 MB
# What any model can answer. When it cannot, the model is to blame and not the text.
PLAIN = Text("The company will publish its report on Thursday.", lang="en")


@dataclass(eq=False)
class Call:
    """One caller and the answers that it still waits for. `same` are repeats inside it: place, and whose answer."""

    done: asyncio.Future[None]
    answers: list[Tag | None]
    left: int = 0
    same: list[tuple[int, int]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Answered, failed, or its caller went away."""
        return self.done.done()


Item = Waiting[Call]


class Batcher:
    """A `Model` over one process a device; all of them take from one queue. Safe to call from many tasks of one loop.

    `queue_tokens` bounds what waits (estimated tokens): beyond it callers wait at the door, in turn. `batch_tokens` is
    the size of a batch, None: a little less than the processes say. No wait in here is for ever: the queue is finite,
    and `ModelProcess` gives each batch a deadline.
    """

    def __init__(
        self,
        processes: Sequence[ModelProcess],
        *,
        queue_tokens: int = QUEUE_TOKENS,
        batch_tokens: int | None = None,
        repeats: int = REPEATS,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._processes = list(processes)
        self._queue: BatchQueue[Call] = BatchQueue(queue_tokens)
        self._batch_tokens = batch_tokens
        self._repeats = Repeats(repeats)
        self._now_s = monotonic_s
        self._calls: set[Call] = set()
        self._stirred = [asyncio.Event() for _ in self._processes]
        self._drivers: list[asyncio.Task[None]] = []
        self._broken: Exception | None = None

    @property
    def version(self) -> str:
        """The model's version: it changes whenever its weights do. Known after `start`."""
        return self._processes[0].version

    async def start(self) -> None:
        """Start all processes. Raises BrokenModel or UnknownModel, which say what is wrong."""
        await asyncio.gather(*(process.start() for process in self._processes))
        self._queue.batch_tokens = self._batch_tokens or round(
            CAUTION * min(process.batch_tokens for process in self._processes)
        )
        if not self._drivers:
            self._drivers = [
                asyncio.create_task(self._drive(process, stirred), name=f"model {number}")
                for number, (process, stirred) in enumerate(zip(self._processes, self._stirred, strict=True))
            ]

    async def tag(self, texts: Sequence[Text], *, partition: int = 0, fresh: bool = True) -> list[Tag | None]:
        """One tag a text, in order; None for a text that broke the model twice (dead letter `model_crash`).

        Texts of one `partition` are read in the order they are asked; those that are `fresh` go before others.
        Waits while the queue is full. Raises ModelAway when the process cannot be started again, ModelUnhealthy when
        it cannot answer a plain sentence: in both cases nothing was answered.
        """
        if self._broken is not None:
            raise self._broken
        if not self._drivers:
            raise ModelAway("The model was stopped.")
        call = Call(asyncio.get_running_loop().create_future(), [None] * len(texts))
        items = self._unknown(call, texts, partition, fresh=fresh)
        if items:
            call.left = len(items)
            self._calls.add(call)
            self._queue.put(items)
            MODEL_QUEUE_TOKENS.set(self._queue.tokens)
            for stirred in self._stirred:
                stirred.set()
            try:
                await call.done
            finally:
                self._calls.discard(call)
                if call.left:
                    call.done.cancel()
                    self._queue.drop(lambda caller: caller.over)
        for index, first in call.same:
            call.answers[index] = call.answers[first]
        return call.answers

    async def stop(self) -> None:
        """End the processes. What still waits raises ModelAway."""
        drivers, self._drivers = self._drivers, []
        for driver in drivers:
            driver.cancel()
        self._fail(list(self._calls), ModelAway("The model was stopped."))
        await asyncio.gather(*drivers, return_exceptions=True)
        await asyncio.gather(*(process.stop() for process in self._processes))

    def _unknown(self, call: Call, texts: Sequence[Text], partition: int, *, fresh: bool) -> list[Item]:
        """What the model must read of `texts`: all but what it has answered before, and repeats among them."""
        now_s, items = self._now_s(), list[Item]()
        first_of: dict[bytes, int] = {}
        for index, text in enumerate(texts):
            key = identity(self.version, text)
            call.answers[index] = known = self._repeats.get(key)
            first = first_of.setdefault(key, index)
            if known is None and first == index:
                items.append(Waiting(call, index, text, estimate(text), partition, fresh, now_s))
            elif known is None:
                call.same.append((index, first))
        MODEL_REPEATS.labels("miss").inc(len(items))
        MODEL_REPEATS.labels("hit").inc(len(texts) - len(items))
        return items

    async def _drive(self, process: ModelProcess, stirred: asyncio.Event) -> None:
        """Keep one process busy, for ever.

        Suspects, the halves of batches that it failed on, are asked with nothing beside them, so that what is in
        flight when the process dies is guilty. Their search takes no more than half of the time: after each step
        other batches run for as long as it took. So nobody starves while a text is found that hangs.
        """
        suspects: deque[list[Item]] = deque()
        running: set[asyncio.Task[None]] = set()
        others_until_s = 0.0
        try:
            while True:
                if suspects and not running and (self._now_s() >= others_until_s or not self._queue.tokens):
                    begun_s = self._now_s()
                    await self._suspect(process, suspects)
                    others_until_s = 2 * self._now_s() - begun_s
                    continue
                at_once = 1 if suspects else IN_FLIGHT
                while len(running) < at_once and (batch := self._next(alone=not running)):
                    task = asyncio.create_task(self._ordinary(process, batch, suspects))
                    task.add_done_callback(lambda _: stirred.set())
                    running.add(task)
                if suspects and not running:  # those who waited have gone away
                    continue
                await stirred.wait()
                stirred.clear()
                for task in [task for task in running if task.done()]:
                    running.discard(task)
                    task.result()
        except Exception as error:  # noqa: BLE001 - ours, not the model's: it comes out of every `tag`
            self._broken = error
            self._fail(self._calls, error)
        finally:
            for task in running:
                task.cancel()

    def _next(self, *, alone: bool) -> list[Item]:
        """The next batch. The ready place beside one that runs is for a full batch: a smaller one can still grow."""
        while (alone or self._queue.full_batch) and (batch := self._queue.take(self._now_s())):
            MODEL_QUEUE_TOKENS.set(self._queue.tokens)
            if waited_for := [item for item in batch if not item.caller.over]:
                return waited_for
        return []

    async def _ordinary(self, process: ModelProcess, batch: list[Item], suspects: deque[list[Item]]) -> None:
        begun_s = self._now_s()
        try:
            reply = await process.ask([item.text for item in batch])
        except ChildLost as loss:
            log.warning("the model failed on a batch; it is asked again in halves", texts=len(batch), cause=str(loss))
            suspects.extend(halves(batch))
        except ModelAway as error:
            self._fail({item.caller for item in batch}, error)
        else:
            self._answer(batch, reply, begun_s)

    async def _suspect(self, process: ModelProcess, suspects: deque[list[Item]]) -> None:
        """One step of the search: the first suspects are answered, halved, or the one text given up."""
        batch = [item for item in suspects.popleft() if not item.caller.over]
        if not batch:
            return
        begun_s = self._now_s()
        try:
            reply = await process.ask([item.text for item in batch])
        except ChildLost as loss:
            try:
                await self._plain(process)
            except Retryable as error:
                self._fail({item.caller for item in sum(suspects, batch)}, error)
                suspects.clear()
                return
            if len(batch) > 1:
                suspects.extendleft(reversed(halves(batch)))
                return
            log.warning("a text broke the model twice", characters=len(batch[0].text.whole), cause=str(loss))
            settle(batch[0], None)
        except ModelAway as error:
            self._fail({item.caller for item in batch}, error)
        else:
            self._answer(batch, reply, begun_s)

    async def _plain(self, process: ModelProcess) -> None:
        """Before a text is blamed: a plain one must be answered, by a new child if there is none."""
        try:
            await process.ask([PLAIN])
        except ChildLost as loss:
            process.kill()
            raise ModelUnhealthy(f"The model cannot answer a plain sentence: {loss}.") from loss

    def _answer(self, batch: list[Item], reply: Reply, begun_s: float) -> None:
        for item, tag in zip(batch, reply.results, strict=True):
            self._repeats.keep(identity(self.version, item.text), tag)
            settle(item, tag)
        sizes = [tag.tokens for tag in reply.results]
        waited_s = begun_s - min(item.since_s for item in batch)
        avoided = max(sizes) * len(sizes) - sum(sizes)
        TOKENS.inc(sum(sizes))
        MODEL_BATCH_FILL.observe(sum(sizes) / self._queue.batch_tokens)
        MODEL_PADDING_AVOIDED.inc(avoided)
        MODEL_QUEUE_WAIT.observe(waited_s)
        for stage, seconds in reply.seconds.items():
            MODEL_STAGE_SECONDS.labels(stage).inc(seconds)
        log.debug(
            "batch", texts=len(batch), tokens=sum(sizes), estimated=sum(item.tokens for item in batch),
            partitions=len({item.partition for item in batch}), fresh=sum(item.fresh for item in batch),
            padding_avoided=avoided, queued=self._queue.tokens, waited_s=round(waited_s, 4),
            took_s=round(self._now_s() - begun_s, 4), **{f"{stage}_s": round(s, 4) for stage, s in reply.seconds.items()},
        )  # fmt: skip

    def _fail(self, calls: Iterable[Call], error: Exception) -> None:
        for call in calls:
            if not call.over:
                call.done.set_exception(error)


def settle(item: Item, tag: Tag | None) -> None:
    """Note one answer; the last one wakes the caller."""
    call = item.caller
    call.answers[item.index] = tag
    call.left -= 1
    if not call.left and not call.over:
        call.done.set_result(None)


def halves(batch: list[Item]) -> list[list[Item]]:
    """Two parts, the first the larger; one text stays as it is."""
    middle = (len(batch) + 1) // 2
    return [half for half in (batch[:middle], batch[middle:]) if half]


class Repeats:
    """The last answers by everything they depend on. Bounded: what was used longest ago is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[bytes, Tag] = OrderedDict()

    def get(self, key: bytes) -> Tag | None:
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def keep(self, key: bytes, tag: Tag) -> None:
        self._known[key] = tag
        while len(self._known) > self._most:
            self._known.popitem(last=False)


def identity(version: str, text: Text) -> bytes:
    """Equal for texts that the same model must answer alike."""
    whole = f"{version}\0{text.lang}\0{text.spans}\0{text.title!r}\0{text.text}"
    return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()
