"""The tagger's benchmark compares like with like: texts of the measured lengths, paired rounds, a twin that answers the same."""

import json
from itertools import islice, pairwise

import numpy as np
import pytest
from tokenizers import Tokenizer

from bench import paired, tagger, tagger_child, tagger_peers, tagger_rounds, tagger_view, texts
from bench.tagger_child import Answer, Ready, Took
from bench.tagger_rounds import BY_NAME, Rounds
from groundswell.tagging import Text
from models import catalog
from tests.unit.model_folder import tiny_model

OURS = [name for name, row in BY_NAME.items() if row.home.startswith("ours")]
KEYS = {
    *("ratio_to_pipeline_batch32", "ratio_to_best_peer", "best_peer", "limit_share", "rows", "noisy", "machine"),
    *("label_flips", "max_dp", "shares", "promises", "gpu", "texts", "rounds", "model"),
}


@pytest.fixture(scope="module")
def bundled():
    folder = catalog.locate("bundled")
    return Tokenizer.from_file(str(folder / catalog.TOKENIZER)), catalog.read_config(folder / catalog.CONFIG)


def silent(what, share):
    assert what
    assert 0 <= share <= 1


# Texts


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_own_texts_are_as_long_as_texts_of_their_language_in_the_wild(bundled, lang):
    found = [text for text in islice(texts.own(*bundled, seed=5), 1_200) if text.lang == lang]
    measured = sorted(texts.lengths(bundled[0], found))
    for share, length in texts.LENGTHS[lang][1:-1]:
        few_lie_beyond = share > 0.95
        near = pytest.approx(length, abs=3, rel=0.25 if few_lie_beyond else 0.12)
        assert measured[int(share * len(measured))] == near


def test_no_own_text_comes_twice_and_a_seed_gives_the_same_ones_again(bundled):
    first = texts.window(texts.own(*bundled, seed=1), 300)
    assert len({text.text for text in first}) == 300
    assert {text.lang for text in first} == {"en", "zh"}
    assert texts.window(texts.own(*bundled, seed=1), 300) == first
    assert texts.window(texts.own(*bundled, seed=2), 300) != first


def test_a_company_that_is_asked_about_stands_where_the_text_says(bundled):
    found = texts.window(texts.own(*bundled, seed=1), 200)
    assert sum(len(text.spans) for text in found) > 100
    for text in found:
        assert all(0 <= start < end <= len(text.text) for start, end in text.spans)


def test_texts_of_a_file_are_cut_to_one_window_and_never_read_twice(bundled, tmp_path):
    tokenizer, config = bundled
    lines = [{"text": "Short."}, {"text": "Short."}, {"title": "T", "text": "word " * 2_000}]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = texts.from_file(str(tmp_path / "own.jsonl"), tokenizer, config)
    short, long = texts.window(source, 2)
    assert short.text == "Short."
    assert texts.lengths(tokenizer, [long]) == [config.max_tokens]
    with pytest.raises(texts.TooFewTexts, match="only 2 distinct"):
        next(source)


def test_the_length_at_a_share_lies_straight_between_the_points():
    points = [(0.0, 10), (0.5, 20), (1.0, 40)]
    assert [texts.length_at(points, share) for share in (0, 0.25, 0.5, 0.75, 1)] == [10, 15, 20, 30, 40]


def test_padding_is_counted_in_batches_of_arrival():
    assert texts.described([1, 3, 2, 2], batch=2)["padding_share_in_order_of_arrival"] == pytest.approx(0.2)


# Statistics


def test_what_slows_a_whole_round_does_not_move_a_paired_ratio():
    rng = np.random.default_rng(1)
    mood = rng.uniform(1, 4, 9)  # the machine is up to four times as slow in one round as in another
    found = paired.ratio((3 * mood).tolist(), mood.tolist())
    assert found == pytest.approx((3, 3, 3))


def test_the_interval_holds_the_median_and_narrows_with_more_rounds():
    rng = np.random.default_rng(2)
    few, many = (paired.spread(rng.normal(5, 0.5, n).tolist()) for n in (7, 70))
    for found in (few, many):
        assert found.low < found.median < found.high
    assert many.high - many.low < few.high - few.low


def test_rounds_that_do_not_pair_up_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        paired.ratio([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="no rounds"):
        paired.spread([])


# The comparison


def test_peers_get_their_texts_padded_to_a_multiple_of_eight_under_a_mask():
    ids, mask = tagger_peers.padded([[7, 8, 9], [5] * 9])
    assert ids.shape == mask.shape == (2, 16)
    assert mask.sum(1).tolist() == [3, 9]
    assert (ids * (1 - mask)).sum() == 0


def rounds_of(**cpu_s):
    """Two rounds of four texts; each row answers alike but `off`, which flips one label of four."""
    sure, other = [0.8, 0.1, 0.1], [0.1, 0.8, 0.1]
    found = Rounds(lengths=[[5] * 4] * 2)
    for name, cost in cpu_s.items():
        p = [sure, sure, sure, other if name == "ours" else sure]
        found.turns[name] = [Took(Answer(p), cost, cost) for _ in range(2)]
        found.facts[BY_NAME[name].home] = {"version": "some 1"}
    return found


def test_the_best_peer_is_the_fastest_sorted_one_and_flips_are_counted_against_fp32():
    found = rounds_of(pipeline_batch32=8.0, transformers_bf16=3.0, openvino_bf16=2.0, ours=1.0)
    report = tagger.figures(found, tagger.Asked())
    assert report["best_peer"] == "openvino_bf16"
    assert (report["ratio_to_pipeline_batch32"], report["ratio_to_best_peer"]) == (8, 2)
    assert report["label_flips"] == 0.25
    assert report["max_dp"] == pytest.approx(0.7)
    assert report["limit_share"] is None


def test_a_peer_that_gives_other_labels_is_the_best_only_of_the_unfaithful():
    found = rounds_of(pipeline_batch32=8.0, transformers_bf16=3.0, onnxruntime_int8=2.0, ours=1.0)
    found.turns["onnxruntime_int8"] = [Took(Answer([[0.1, 0.1, 0.8]] * 4), 2.0, 2.0)] * 2
    report = tagger.figures(found, tagger.Asked())
    assert (report["best_peer"], report["best_faithful_peer"]) == ("onnxruntime_int8", "transformers_bf16")
    assert (report["ratio_to_best_peer"], report["ratio_to_best_faithful_peer"]) == (2, 3)


def test_a_model_that_is_no_twin_of_ours_is_not_compared():
    found = rounds_of(pipeline_batch32=8.0, ours=1.0)
    found.turns["ours_float32"] = found.turns["ours"]
    with pytest.raises(tagger_rounds.RunnerFailed, match="answers otherwise"):
        tagger.hold_to_twin(found)


def test_a_promise_is_judged_in_its_own_direction_and_only_when_it_was_measured():
    at_least = tagger.Promise("rate", ("a", "b"), 8, 10)
    at_most = tagger.Promise("wait", ("a", "b"), 30, 12, most=True)
    assert [tagger.judged(at_least, {"a": {"b": n}})["met"] for n in (7.9, 8)] == [False, True]
    assert [tagger.judged(at_most, {"a": {"b": n}})["met"] for n in (31, 30)] == [False, True]
    assert tagger.judged(at_least, {"a": {"b": 9}})["reached_goal"] is False
    assert tagger.judged(at_least, {})["met"] is None


def test_a_run_beside_others_says_that_it_is_noisy():
    quiet, crowded = rounds_of(ours=1.0), rounds_of(ours=1.0)
    crowded.turns["ours"] = [Took(Answer(), 1.0, 3.0)] * 2
    assert (tagger.noisy(0.1, quiet), tagger.noisy(2.0, quiet), tagger.noisy(0.1, crowded)) == (False, True, True)


# The run


class InProcess:
    """A home without its process: for tests that need no clean caches."""

    def __init__(self, home, model, twin):
        self.made, facts = tagger_child.runners(home, model, twin)
        self.ready = Ready(facts)

    def run(self, row, some):
        return tagger_child.timed(self.made[row], some)


@pytest.fixture(scope="module")
def tiny_report(tmp_path_factory):
    model = str(tiny_model(tmp_path_factory.mktemp("tiny")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tagger_rounds, "start", lambda plan, row, opened: InProcess(row.home, plan.model, plan.twin))
        return tagger.run(tagger.Asked(model=model, rounds=2, window=12, only=OURS, road=False), silent)


def test_a_run_reports_every_row_with_its_ratio_and_shows_it(tiny_report, tmp_path):
    report = json.loads(json.dumps(tiny_report))
    assert report.keys() >= KEYS
    assert [row["name"] for row in report["rows"]] == OURS
    assert report["rounds"] == 2
    assert all(len(row["cpu_s"]) == 2 and row["docs_per_cpu_s"] > 0 for row in report["rows"])
    assert {row["name"]: row["ours_is_times"] for row in report["rows"]}["ours"] == 1
    assert sum(report["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert report["machine"]["flags"].keys() == set(tagger.FLAGS)
    assert report["gpu"]["note"] == "not measured"
    tagger_view.draw(report, tmp_path / "bars.svg")
    drawn = (tmp_path / "bars.svg").read_text("utf-8")
    assert report["machine"]["torch"] in drawn
    assert "matrix products" in drawn


def test_our_two_number_formats_agree_on_a_tiny_model(tiny_report):
    assert tiny_report["final_label_flips"] <= 0.1


def test_rows_that_need_another_environment_are_absent_with_the_command_that_makes_it(tmp_path):
    plan = tagger_rounds.Plan([BY_NAME["openvino_bf16"]], "bundled", tmp_path, 0, 1, 1, 1, None)
    assert tagger_rounds.start(plan, BY_NAME["openvino_bf16"], None) == "not asked for: pass --peers"
    missing = tagger_rounds.Plan([BY_NAME["openvino_bf16"]], "bundled", tmp_path, 0, 1, 1, 1, tmp_path / "python")
    found = tagger_rounds.measure(missing, lambda n: [Text("a")] * n, lambda some: [3] * len(some), silent)
    assert "make bench-peers" in found.absent["openvino_bf16"]


def test_rows_take_their_turns_in_another_order_each_round_and_never_see_a_text_twice(monkeypatch, tmp_path):
    turns = []

    class Counting(InProcess):
        def __init__(self):
            self.ready = Ready()

        def run(self, row, some):
            turns.append((row, [text.text for text in some]))
            return Took(Answer(), 1.0, 1.0)

    monkeypatch.setattr(tagger_rounds, "start", lambda plan, row, opened: Counting())
    numbers = iter(range(10_000))
    rows = [BY_NAME[name] for name in OURS]
    plan = tagger_rounds.Plan(rows, "bundled", tmp_path, 0, 8, 4, 3, None)
    tagger_rounds.measure(
        plan, lambda n: [Text(str(next(numbers))) for _ in range(n)], lambda some: [3] * len(some), silent
    )
    each = [turns[n : n + len(rows)] for n in range(0, len(turns), len(rows))]
    assert len(each) == 1 + 8  # the first one warms
    assert all({row for row, _ in one} == set(OURS) for one in each)
    assert len({tuple(row for row, _ in one) for one in each[1:]}) > 4
    assert all(len({tuple(some) for _, some in one}) == 1 for one in each)
    assert all(not set(a[0][1]) & set(b[0][1]) for a, b in pairwise(each))
