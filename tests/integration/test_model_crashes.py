"""A child that dies, hangs, fails or babbles on one text: that text is given up, all the others are answered."""

import asyncio

import pytest
from structlog.testing import capture_logs

from groundswell.errors import BrokenModel, ModelAway, ModelUnhealthy
from groundswell.tagging import Text
from models.batcher import Batcher
from models.tagger import ModelProcess
from tests.unit.model_folder import tiny_model

WORKER = "tests.integration.fake_worker"
DEADLY = ["kill", "hang", "fail", "noise", "nan", "short", "\ud800"]


@pytest.fixture
def process(tmp_path):
    return ModelProcess(str(tiny_model(tmp_path)), worker=WORKER, deadline_s=1.5)


@pytest.fixture
async def model(process):
    batcher = Batcher([process])
    await batcher.start()
    yield batcher
    await batcher.stop()


@pytest.mark.parametrize("poison", DEADLY)
@pytest.mark.parametrize("place", [0, 2, 4])
async def test_only_the_text_that_breaks_the_model_is_given_up(model, poison, place):
    texts = [Text(f"fraud {n}") for n in range(5)]
    texts[place] = Text(poison)
    tags = await model.tag(texts)
    assert [n for n, tag in enumerate(tags) if tag is None] == [place]
    assert {tag.polarity for tag in tags if tag} == {"negative"}


@pytest.mark.parametrize("poison", ["kill", "fail"])
async def test_a_text_that_breaks_the_model_is_tried_twice_even_alone(model, poison):
    assert await model.tag([Text(poison)]) == [None]
    assert [tag.polarity for tag in await model.tag([Text("record profit")])] == ["positive"]


async def test_batches_beside_a_deadly_one_are_all_answered(model):
    batches = [[Text(f"fraud {n} {k}") for k in range(4)] for n in range(12)]
    batches[5].append(Text("kill"))
    batches[7].insert(0, Text("kill"))
    answers = await asyncio.wait_for(asyncio.gather(*map(model.tag, batches)), 60)
    for batch, tags in zip(batches, answers, strict=True):
        assert [tag is None for tag in tags] == [text.text == "kill" for text in batch]


async def test_at_most_two_batches_are_in_the_child(model, process):
    asked = [asyncio.create_task(model.tag([Text("slow"), Text(f"{n} " * 4_000)])) for n in range(8)]
    most = 0
    while not all(task.done() for task in asked):
        most = max(most, len(process._child.waiting))
        await asyncio.sleep(0.002)
    assert most == 2


async def test_texts_of_all_partitions_share_a_batch(model, process):
    first = asyncio.create_task(model.tag([Text("slow")]))
    await asyncio.sleep(0)
    before = process._last_id
    tags = await asyncio.gather(*(model.tag([Text(f"fraud {n}")], partition=n) for n in range(24)))
    await first
    assert {tag.polarity for (tag,) in tags} == {"negative"}
    assert process._last_id - before <= 2


async def test_while_a_text_that_hangs_is_searched_the_other_partitions_go_on(model):
    doomed = asyncio.create_task(model.tag([*(Text(f"loss {n}") for n in range(7)), Text("hang")], partition=1))
    answered = 0
    while not doomed.done():
        tags = await model.tag([Text(f"record {answered}")], partition=2)
        assert tags[0].polarity == "positive"
        answered += 1
    assert [tag is None for tag in await doomed] == [False] * 7 + [True]
    assert answered > 100


async def test_a_model_out_of_memory_is_asked_for_less_at_a_time(model):
    tags = await model.tag([Text(word) for word in ("greedy", "fraud", "loss", "crash", "breach", "default")])
    assert all(tags)


async def test_a_model_that_answers_nonsense_to_everything_blames_no_text(tmp_path):
    folder = tmp_path / "insane"
    folder.mkdir()
    batcher = Batcher([ModelProcess(str(tiny_model(folder)), worker=WORKER)])
    await batcher.start()
    for _ in range(2):
        with pytest.raises(ModelUnhealthy, match="plain sentence"):
            await batcher.tag([Text("fraud"), Text("profit")])
    await batcher.stop()


async def test_two_devices_answer_from_one_queue(tmp_path):
    processes = [ModelProcess(str(tiny_model(tmp_path)), worker=WORKER) for _ in range(2)]
    batcher = Batcher(processes)
    await batcher.start()
    tags = await asyncio.gather(*(batcher.tag([Text("slow"), Text(f"fraud {n} " * 800)]) for n in range(8)))
    assert all(each[1].polarity == "negative" for each in tags)
    assert all(process._last_id > 0 for process in processes)
    await batcher.stop()


async def test_an_equal_text_is_answered_without_the_model(model, process):
    text = Text("fraud probe", title="Harbour", lang="en", spans=[(0, 7)])
    (first,) = await model.tag([text])
    asked = process._last_id
    assert await model.tag([text, text], partition=3) == [first, first]
    assert process._last_id == asked
    await model.tag([Text("fraud probe", title="Harbour", lang="en", spans=[(1, 7)])])
    assert process._last_id == asked + 1


async def test_a_process_that_ends_while_nobody_asks_is_told_with_its_last_words_and_replaced(model, process):
    with capture_logs() as logged:
        await model.tag([Text("leave")])
        async with asyncio.timeout(10):
            while not any(line["event"] == "the model process ended" for line in logged):
                await asyncio.sleep(0.01)
    (told,) = [line for line in logged if line["event"] == "the model process ended"]
    assert (told["status"], told["said"], told["log_level"]) == (7, "no memory left", "warning")
    assert [tag.polarity for tag in await model.tag([Text("record profit")])] == ["positive"]


async def test_a_process_that_we_end_is_not_told_as_lost(process):
    with capture_logs() as logged:
        await process.start()
        await process.stop()
    assert [line["event"] for line in logged] == ["model ready"]


async def test_a_progress_bar_without_an_end_does_not_hold_up_the_model(model, process):
    before = process.pid
    assert [tag.polarity for tag in await model.tag([Text("progress"), Text("record profit")])][1] == "positive"
    assert process.pid == before, "it answered by itself, and was not killed for its silence"


async def test_a_cancelled_batch_leaves_the_model_usable(model):
    asked = [asyncio.create_task(model.tag([Text("slow")])) for _ in range(6)]
    await asyncio.sleep(0.01)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert [tag.polarity for tag in await asyncio.wait_for(model.tag([Text("fraud")]), 10)] == ["negative"]


async def test_stopping_ends_waiting_batches_with_a_reason(model, process):
    asked = asyncio.create_task(model.tag([Text("hang")]))
    await asyncio.sleep(0.05)
    process.kill()
    await model.stop()
    with pytest.raises(ModelAway, match="stopped"):
        await asked


@pytest.mark.parametrize(("way", "words"), [("refuse", "labels are out of order"), ("die", "cannot map memory")])
async def test_a_model_that_does_not_get_ready_says_why(tmp_path, way, words):
    folder = tmp_path / way
    folder.mkdir()
    with pytest.raises(BrokenModel, match=words):
        await ModelProcess(str(tiny_model(folder)), worker=WORKER).start()
