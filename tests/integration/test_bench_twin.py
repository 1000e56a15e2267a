"""The transformers model that the tagger's benchmark compares with answers as ours does, whichever runner reads it."""

import numpy as np
import pytest

from bench import tagger_ours, tagger_peers, tagger_twin
from groundswell.tagging import Text
from tests.unit.model_folder import tiny_model


def test_the_transformers_twin_answers_as_our_model_does(tmp_path):
    (tmp_path / "ours").mkdir()
    model = tiny_model(tmp_path / "ours", order=("positive", "negative", "neutral"))
    tagger_twin.write(model, tmp_path / "twin")
    some = [Text(text) for text in ("profit fell", "good good good loss", "坏消息。", "a bad abc profit")]
    pipeline = tagger_peers.make("pipeline", tmp_path / "twin")[0]
    ours = tagger_ours.make("ours_float32", str(model))[0]["ours_float32"](some)
    for run in (*pipeline.values(), tagger_peers.sorted_runner(tmp_path / "twin", forward_of(tmp_path / "twin"))):
        assert np.array(run(some).p) == pytest.approx(np.array(ours.p), abs=1e-4)


def forward_of(twin):
    torch_model = tagger_peers.loaded(twin)[1]

    def forward(ids, mask):
        import torch

        with torch.inference_mode():
            return torch_model(torch.from_numpy(ids), torch.from_numpy(mask)).logits.numpy()

    return forward
