"""The model card says what is met, quotes what was agreed, and pins what was measured."""

import json

import pytest

from models.measure import card, gates
from tests.unit.model_folder import tiny_model


def test_the_card_says_what_is_met_and_pins_what_was_measured(tmp_path):
    folder = tiny_model(tmp_path)
    curve = tmp_path / "loss.csv"
    curve.write_text("step,loss\n0,2.5\n20,1.5\n", "utf-8")
    card.write(folder, None, ("calm", "swaps", "tfns"), curve)
    text = (folder / "README.md").read_text("utf-8")
    pinned = json.loads((folder / "figures.json").read_text("utf-8"))
    assert pinned.keys() == {"version", "calm", "swaps"}
    assert "docs_per_s" not in pinned["calm"]
    assert "| TFNS validation, all: accuracy | .846 | 0.870 | 0.885 | – |  | not measured |" in text
    (calm,) = [line for line in text.splitlines() if "frightening words: called negative |" in line]
    assert f"**{pinned['calm']['called_negative']['all']:.3f}**" in calm
    for name in ("confusion.png", "curve.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
        assert f"({name})" in text


@pytest.mark.parametrize(("value", "words"), [(0.05, "**no**"), (0.02, "yes"), (0.004, "goal"), (None, "not measured")])
def test_a_gate_tells_goal_from_met_from_missed(value, words):
    flips = next(gate for gate in gates.GATES if gate.measure == "name swap: label flips")
    assert card.met(flips, value) == words
    results = {} if value is None else {"swaps": {"swaps": {"all": {"flips": value}}}}
    assert flips.ours(results) == value


def test_the_agreement_of_the_second_labelling_is_quoted(tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# Rows\n\nMany. The second labelling, blind, agreed on 96.4 % of 500 rows. More.\n", "utf-8")
    assert card.agreement(path) == "; second labelling: The second labelling, blind, agreed on 96.4 % of 500 rows"
    assert card.agreement(tmp_path / "none.md") == ""
