"""A child that dies, hangs, fails or babbles on one text: that text is given up, all the others are answered."""

import asyncio

import pytest

from groundswell.errors import BrokenModel, ModelAway
from models.tagger import ModelProcess, Text
from tests.unit.model_folder import tiny_model

WORKER = "tests.integration.fake_worker"
DEADLY = ["kill", "hang", "fail", "noise", "\ud800"]


@pytest.fixture
async def model(tmp_path):
    process = ModelProcess(str(tiny_model(tmp_path)), worker=WORKER, deadline_s=1.5)
    await process.start()
    yield process
    await process.stop()


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


async def test_at_most_two_batches_are_in_the_child(model):
    asked = [asyncio.create_task(model.tag([Text("slow")])) for _ in range(8)]
    most = 0
    while not all(task.done() for task in asked):
        most = max(most, len(model._child.waiting))
        await asyncio.sleep(0.002)
    assert most == 2


async def test_a_cancelled_batch_leaves_the_model_usable(model):
    asked = [asyncio.create_task(model.tag([Text("slow")])) for _ in range(6)]
    await asyncio.sleep(0.01)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    assert [tag.polarity for tag in await asyncio.wait_for(model.tag([Text("fraud")]), 10)] == ["negative"]


async def test_stopping_ends_waiting_batches_with_a_reason(model):
    asked = asyncio.create_task(model.tag([Text("hang")]))
    await asyncio.sleep(0.05)
    model._child.kill()
    await model.stop()
    with pytest.raises(ModelAway, match="stopped"):
        await asked


@pytest.mark.parametrize(("way", "words"), [("refuse", "labels are out of order"), ("die", "cannot map memory")])
async def test_a_model_that_does_not_get_ready_says_why(tmp_path, way, words):
    folder = tmp_path / way
    folder.mkdir()
    with pytest.raises(BrokenModel, match=words):
        await ModelProcess(str(tiny_model(folder)), worker=WORKER).start()
