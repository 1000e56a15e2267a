"""What `tag` relies on in any model: the scripted one, the batcher over processes in memory, and over a real child."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.errors import ModelAway, ModelUnhealthy
from groundswell.tagging import Model, Text
from groundswell.telemetry import MODEL_REPEATS, TOKENS
from models.batcher import IN_FLIGHT, PLAIN, Batcher
from models.scripted import ScriptedModel, answer
from models.tagger import ChildLost, ModelProcess
from models.tags import Reply
from tests.unit.model_folder import tiny_model

BAD, GOOD = Text("fraud and default", lang="en"), Text("净利大增", lang="zh")


class Process:
    """A ModelProcess without a process: it does what its texts tell it to, a turn of the loop later."""

    version, batch_tokens = "fake-1", 1_000

    def __init__(self, turns: int = 1) -> None:
        self.turns = turns
        self.batches: list[list[str]] = []
        self.inside = self.most_inside = self.kills = 0
        self.ill = self.gone = False

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    def kill(self) -> None:
        self.kills += 1

    async def ask(self, texts: Sequence[Text]) -> Reply:
        self.batches.append([text.text for text in texts])
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        try:
            for _ in range(self.turns):
                await asyncio.sleep(0)
            if self.gone:
                raise ModelAway
            if self.ill or any(text.text.startswith("poison") for text in texts):
                raise ChildLost("it ended")
            return Reply(1, [answer(text.whole, text.spans) for text in texts], seconds={"model": 0.0})
        finally:
            self.inside -= 1


async def started(*processes: Any, **changes: Any) -> Batcher:
    batcher = Batcher(processes, **changes)
    await batcher.start()
    return batcher


@pytest.fixture(params=["scripted", "memory", "process"])
async def model(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Model]:
    made: Model = ScriptedModel()
    if request.param != "scripted":
        child: Any = Process()
        if request.param == "process":
            child = ModelProcess(str(tiny_model(tmp_path)), worker="tests.integration.fake_worker")
        made = Batcher([child])
    await made.start()
    yield made
    await made.stop()


async def test_it_answers_in_order_and_once_a_text(model: Model) -> None:
    assert model.version
    assert await model.tag([]) == []
    tags = await model.tag([BAD, GOOD, BAD, BAD], partition=7, fresh=False)
    assert [tag.polarity for tag in tags if tag] == ["negative", "positive", "negative", "negative"]


async def test_it_judges_each_place_that_is_asked(model: Model) -> None:
    text = "Harbour faces a fraud probe. Tern raises its profit."
    asked = Text(text, lang="en", spans=[(0, 7), (29, 33)])
    (tag,) = await model.tag([asked])
    assert tag is not None
    assert [said and said.polarity for said in tag.targets] == ["negative", "positive"]


async def test_many_may_ask_at_once(model: Model) -> None:
    calls = [[Text(f"fraud {n}"), Text(f"profit {n}")] for n in range(30)]
    answers = await asyncio.gather(
        *(model.tag(texts, partition=n % 5, fresh=n % 2 > 0) for n, texts in enumerate(calls))
    )
    assert all([tag.polarity for tag in tags if tag] == ["negative", "positive"] for tags in answers)


async def test_it_can_be_stopped_and_started_again(model: Model) -> None:
    await model.stop()
    await model.start()
    assert all(await model.tag([BAD]))


words = st.lists(st.sampled_from(["fraud", "profit", "poison", "growth", "loss"]), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), words), max_size=10), st.integers(1, 3), st.integers(1, 2))
def test_each_caller_gets_its_own_answers_whatever_is_poison_and_whoever_leaves(calls, turns, devices):
    async def run() -> None:
        processes = [Process(turns) for _ in range(devices)]
        model = await started(*processes, queue_tokens=60, batch_tokens=20)
        texts = [[Text(f"{word} {n} {k}") for k, word in enumerate(said)] for n, (_, _, said) in enumerate(calls)]
        asked = [
            asyncio.create_task(model.tag(own, partition=partition, fresh=fresh))
            for own, (partition, fresh, _) in zip(texts, calls, strict=True)
        ]
        if asked:
            await asyncio.sleep(0)
            asked[len(asked) // 2].cancel()
        async with asyncio.timeout(20):
            found = await asyncio.gather(*asked, return_exceptions=True)
        for own, tags in zip(texts, found, strict=True):
            if not isinstance(tags, asyncio.CancelledError):
                assert not isinstance(tags, BaseException)
                assert [tag and tag.deciding for tag in tags] == [
                    None if text.text.startswith("poison") else answer(text.text).deciding for text in own
                ]
        assert all(process.most_inside <= IN_FLIGHT for process in processes)
        assert model._queue.tokens == 0
        assert not model._calls
        await model.stop()

    asyncio.run(run())


async def test_an_idle_device_gets_one_text_at_once_and_what_comes_meanwhile_in_one_batch() -> None:
    process = Process(turns=20)
    model = await started(process)
    first = asyncio.create_task(model.tag([Text("first")]))
    for _ in range(5):
        await asyncio.sleep(0)
    others = [asyncio.create_task(model.tag([Text(f"{n}")], partition=n)) for n in range(24)]
    await asyncio.gather(first, *others)
    assert [len(batch) for batch in process.batches] == [1, 24]
    await model.stop()


async def test_the_guilty_text_is_searched_alone_and_others_run_between(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0

    class Slow(Process):
        async def ask(self, texts: Sequence[Text]) -> Reply:
            nonlocal now_s
            now_s += 1.0
            return await super().ask(texts)

    process = Slow()
    model = await started(process, batch_tokens=20, monotonic_s=lambda: now_s)
    doomed = asyncio.create_task(model.tag([Text("poison"), *(Text(f"a{n}") for n in range(3))], partition=1))
    await asyncio.sleep(0)
    other = asyncio.create_task(model.tag([Text(f"bystander {n}") for n in range(40)], partition=2, fresh=False))
    assert [tag is None for tag in await doomed] == [True, False, False, False]
    assert all(await other)
    steps = ["search" if "poison" in batch or batch == [PLAIN.text] else "others" for batch in process.batches]
    search = [n for n, step in enumerate(steps) if step == "search"]
    assert "others" in steps[search[0] : search[-1]]
    await model.stop()


async def test_a_model_that_cannot_answer_a_plain_text_blames_nobody_and_is_killed() -> None:
    process = Process()
    model = await started(process)
    process.ill = True
    with pytest.raises(ModelUnhealthy, match="plain sentence"):
        await model.tag([BAD, GOOD])
    assert process.kills == 1
    process.ill = False
    assert all(await model.tag([BAD, GOOD]))
    await model.stop()


async def test_a_process_that_cannot_start_again_fails_its_callers_and_is_asked_again_later() -> None:
    process = Process()
    model = await started(process)
    process.gone = True
    with pytest.raises(ModelAway):
        await model.tag([BAD])
    process.gone = False
    assert all(await model.tag([BAD]))
    await model.stop()


async def test_an_error_of_our_own_comes_out_of_every_call() -> None:
    process = Process()

    async def broken(_texts: Sequence[Text]) -> Reply:
        raise KeyError("a slip")

    process.ask = broken  # type: ignore[method-assign]
    model = await started(process)
    for _ in range(2):
        with pytest.raises(KeyError, match="a slip"):
            await asyncio.wait_for(model.tag([BAD]), 5)
    await model.stop()


async def test_only_the_last_answers_are_remembered_and_counted() -> None:
    def counts() -> tuple[float, float]:
        return tuple(MODEL_REPEATS.labels(outcome)._value.get() for outcome in ("hit", "miss"))

    process = Process()
    model = await started(process, repeats=2)
    before, tokens = counts(), TOKENS._value.get()
    for word in ("one", "two", "one", "three", "two"):
        await model.tag([Text(word)])
    assert [batch[0] for batch in process.batches] == ["one", "two", "three", "two"]
    hits, misses = (now - then for now, then in zip(counts(), before, strict=True))
    assert (hits, misses) == (1, 4)
    assert TOKENS._value.get() - tokens == 4 * 3
    process.version = "fake-2"
    await model.tag([Text("two")])
    assert len(process.batches) == 5
    await model.stop()
