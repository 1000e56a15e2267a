"""The model process, for real: the bundled model in a child that is killed, fed poison and stopped."""

import asyncio
import json
import os
import signal

import pytest

from groundswell.errors import BrokenModel, ModelAway, UnknownModel
from groundswell.tagging import Text
from models import catalog
from models.batcher import Batcher
from models.tagger import ModelProcess

pytestmark = pytest.mark.skipif(
    not (catalog.locate(catalog.BUNDLED) / catalog.WEIGHTS).is_file(), reason="models/bundled holds no weights"
)

BAD = Text("The company filed for bankruptcy after a massive accounting fraud.", lang="en")
GOOD = Text("公司净利润同比大增，创历史新高。", lang="zh")


@pytest.fixture
def process():
    return ModelProcess()


@pytest.fixture
async def model(process):
    batcher = Batcher([process])
    await batcher.start()
    yield batcher
    await batcher.stop()


async def test_answers_come_in_the_order_of_the_texts(model):
    tags = await model.tag([BAD, GOOD, BAD])
    assert [tag.polarity for tag in tags] == ["negative", "positive", "negative"]
    assert model.version.startswith("bundled-")
    start, end = tags[0].deciding
    assert BAD.whole[start:end] == BAD.text


async def test_a_child_killed_in_the_middle_of_a_batch_loses_nothing(model, process):
    first = process.pid
    bad, good = ([Text(f"{text.text} {n}", lang=text.lang) for n in range(400)] for text in (BAD, GOOD))
    asked = asyncio.create_task(model.tag([each for pair in zip(bad, good, strict=True) for each in pair]))
    other = asyncio.create_task(model.tag([GOOD] * 5, partition=1))
    await asyncio.sleep(0.1)
    assert not asked.done()
    os.kill(first, signal.SIGKILL)
    assert [tag.polarity for tag in await asked] == ["negative", "positive"] * 400
    assert {tag.polarity for tag in await other} == {"positive"}
    assert process.pid not in {None, first}


async def test_a_stopped_model_says_so(model):
    await model.stop()
    with pytest.raises(ModelAway, match="stopped"):
        await model.tag([BAD])
    await model.start()
    assert [tag.polarity for tag in await model.tag([BAD])] == ["negative"]


async def test_stopping_ends_the_child(model, process):
    pid = process.pid
    await model.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_model_that_is_not_there_is_refused_at_start(tmp_path):
    with pytest.raises(UnknownModel):
        await ModelProcess(str(tmp_path / "nowhere")).start()


async def test_a_broken_model_is_refused_at_start(tmp_path):
    (tmp_path / catalog.CONFIG).write_text("{}")
    with pytest.raises(BrokenModel, match="is missing"):
        await ModelProcess(str(tmp_path)).start()


async def test_a_model_whose_labels_are_swapped_is_refused_with_what_it_answered(tmp_path):
    bundled = catalog.locate(catalog.BUNDLED)
    for name in (catalog.WEIGHTS, catalog.TOKENIZER):
        (tmp_path / name).symlink_to(bundled / name)
    config = json.loads((bundled / catalog.CONFIG).read_text())
    config["sentiments"] = ["positive", "neutral", "negative"]
    (tmp_path / catalog.CONFIG).write_text(json.dumps(config))
    with pytest.raises(BrokenModel, match="are its labels in order") as caught:
        await ModelProcess(str(tmp_path)).start()
    assert "wanted negative got positive" in str(caught.value)
