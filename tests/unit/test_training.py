"""Training, at toy size: it learns, it goes on where it was cut off, and rows keep their split."""

import io
import random
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from models.labels import SENTIMENTS, TOPICS
from models.learn import body, corpus, rows, train
from models.learn.body import Body, four_bits
from models.learn.rows import BadRow, part_of
from models.learn.sources import SOURCES, Example, mask_cashtags, one_cashtag, rename, topic_labels
from tests.unit.model_folder import PIECES

HIDDEN, INNER = 8, 16


def toy_body(layers=3, positions=64):
    rng = np.random.default_rng(0)

    def random_matrix(*shape):
        return rng.normal(0, 0.3, shape).astype(np.float32)

    tensors = {
        "embeddings.word": random_matrix(len(PIECES), HIDDEN),
        "embeddings.position": random_matrix(positions, HIDDEN),
        "embeddings.norm.weight": np.ones(HIDDEN, np.float32),
        "embeddings.norm.bias": np.zeros(HIDDEN, np.float32),
    }
    for n in range(layers):
        at = f"layers.{n}."
        for name, out, into in (
            ("qkv", 3 * HIDDEN, HIDDEN),
            ("attention_out", HIDDEN, HIDDEN),
            ("up", INNER, HIDDEN),
            ("down", HIDDEN, INNER),
        ):
            tensors |= {f"{at}{name}.weight": random_matrix(out, into), f"{at}{name}.bias": np.zeros(out, np.float32)}
        for name in ("attention_norm", "out_norm"):
            tensors |= {f"{at}{name}.weight": np.ones(HIDDEN, np.float32), f"{at}{name}.bias": random_matrix(HIDDEN)}
    pieces = [(piece, -1.0 - index / 10) for index, piece in enumerate(PIECES)]
    return Body(tensors, pieces, 3, 1e-5, 2, {"bos": 0, "pad": 1, "eos": 2, "unk": 3})


@pytest.fixture
def lesson():
    """A config, a fresh set of weights and a few dozen steps of an easy task."""
    from models.catalog import FORMAT, Config, Language

    started = toy_body(layers=2)
    neutral = {"other": Language([0.0] * 3, 1.0, 0.5)}
    config = Config(
        format=FORMAT, version="toy", normaliser_version=1, sentiments=list(SENTIMENTS), topics=list(TOPICS),
        topic_thresholds=[0.5] * len(TOPICS), languages=neutral, targets=neutral, weights_sha256="",
        layers=2, heads=2, hidden=HIDDEN, inner=INNER, vocabulary=len(PIECES), positions=64, layer_norm_eps=1e-5,
        bos_id=0, eos_id=2, max_tokens=64,
    )  # fmt: skip
    rng = random.Random(0)
    words = {"loss": 0, "a b": 1, "good": 2}
    examples = [
        Example(
            " ".join([*rng.sample(list("cdefgh"), 2), word]),
            "own-en",
            words[word],
            topics=(1, *(0,) * 21),
            targets=((0, 1, words[word]),),
        )
        for word in rng.choices(list(words), k=600)
    ]
    steps = train.batches(examples, config, body.tokenizer_of(started.pieces, 3), rng)
    recipe = train.Recipe(trained_from=1, body_rate=3e-3, head_rate=3e-2)
    return config, started, steps, recipe


def quiet():
    return Console(file=io.StringIO(), force_terminal=False)


def learned(lesson, work):
    config, started, steps, recipe = lesson
    weights = train.initial_weights(started, recipe)
    work.mkdir(exist_ok=True)
    train.learn(weights, torch.zeros(len(SOURCES), 3), config, steps, recipe, work, quiet())
    return weights


def test_it_learns_and_leaves_the_frozen_part_alone(lesson, tmp_path, monkeypatch):
    losses = []
    tick = train.Pace.tick
    monkeypatch.setattr(train.Pace, "tick", lambda self, n, loss: (losses.append(loss), tick(self, n, loss)))
    weights = learned(lesson, tmp_path / "work")
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:5])
    before = train.initial_weights(lesson[1], lesson[3])
    for name, tensor in weights.items():
        frozen = name.startswith(("embeddings.", "layers.0.", "tweet_topics."))  # no text here has a tweet topic
        assert torch.equal(tensor, before[name]) == frozen, name
    curve = (tmp_path / "work" / train.CURVE).read_text().splitlines()
    assert curve[0] == "step,loss"
    assert [int(line.split(",")[0]) for line in curve[1:]] == list(range(0, len(losses), train.CURVE_EVERY_STEPS))


def test_each_mention_is_learned_from_the_tokens_it_stands_on(lesson):
    config, started, _, _ = lesson
    tokenizer = body.tokenizer_of(started.pieces, 3)
    text = "profit fell a b bad loss " * 30
    far = text.rindex("loss")
    examples = [
        Example(text, "own-en", 0, targets=((0, 6, 2), (12, 13, 1), (far, far + 4, 0))),
        Example("loss", "own-en", 0, targets=((0, 4, 0),)),
        Example("good", "own-en", 2),
    ]
    (batch,) = train.batches(examples, config, tokenizer, random.Random(0), max_tokens=24)
    starts = np.cumsum([0, *batch.lengths])
    seen = [
        (tokenizer.decode(batch.ids[starts[place.text] :][place.first : place.beyond].tolist()), label)
        for place, label in zip(batch.places, batch.place_labels, strict=True)
    ]
    assert sorted((words.strip(" ▁"), label) for words, label in seen) == [("a", 1), ("loss", 0), ("profit", 2)]


def test_two_readings_of_a_text_are_drawn_together(lesson):
    config, started, steps, recipe = lesson
    batch = max((train.twice(step) for step in steps), key=lambda step: len(set(step.lengths)))
    assert [text.sum().item() for text in batch.ids.split(batch.lengths)][0::2] == [
        text.sum().item() for text in batch.ids.split(batch.lengths)
    ][1::2]

    def apart(dropout):
        torch.manual_seed(0)
        hidden = train.forward(weights, config, batch.ids, batch.lengths, dropout=dropout)
        return train.disagreement(weights, hidden, batch)

    weights = train.initial_weights(started, recipe)
    weights = {name: tensor * (20 if name.endswith("t.weight") else 1) for name, tensor in weights.items()}
    assert apart(0.0).item() == pytest.approx(0, abs=1e-6)
    assert apart(0.5).item() > 0.001


def test_a_mention_stays_where_it_is_in_a_text_that_is_there_twice(lesson):
    config, started, _, _ = lesson
    tokenizer = body.tokenizer_of(started.pieces, 3)
    examples = [Example("profit loss", "own-en", 0, targets=((7, 11, 0),)), Example("good", "own-en", 2)]
    (batch,) = train.batches(examples, config, tokenizer, random.Random(0))
    again = train.twice(batch)
    starts = np.cumsum([0, *again.lengths])
    where = [again.ids[starts[place.text] + place.first].item() for place in again.places]
    assert tokenizer.decode(where).split() == ["▁loss", "▁loss"]
    assert [place.text for place in again.places] == [2, 3]
    assert [example.text for example in again.examples] == ["good", "good", "profit loss", "profit loss"]


def test_a_run_that_was_cut_off_ends_with_the_same_weights(lesson, tmp_path, monkeypatch):
    whole = learned(lesson, tmp_path / "whole")
    monkeypatch.setattr(train, "CHECKPOINT_EVERY_S", 0)
    tick = train.Pace.tick

    def power_cut(self, n, loss):
        if self.steps == 6:
            raise KeyboardInterrupt
        tick(self, n, loss)

    monkeypatch.setattr(train.Pace, "tick", power_cut)
    with pytest.raises(KeyboardInterrupt):
        learned(lesson, tmp_path / "cut")
    assert (tmp_path / "cut" / "checkpoint.pt").is_file()
    monkeypatch.setattr(train.Pace, "tick", tick)
    resumed = learned(lesson, tmp_path / "cut")
    assert not (tmp_path / "cut" / "checkpoint.pt").exists()
    for name in whole:
        assert torch.allclose(whole[name], resumed[name], atol=1e-6), name


def test_four_bit_blocks_decode_to_scaled_nibbles():
    block = np.float16(0.5).tobytes() + bytes([0x80 | n for n in range(16)])
    weights = four_bits(b"xx" + block, 2, 1)[0]
    assert weights[:16].tolist() == [(n - 8) * 0.5 for n in range(16)]
    assert weights[16:].tolist() == [0.0] * 16


def test_pruning_keeps_han_letters_and_what_the_text_uses(tmp_path):
    pruned = body.prune(toy_body(), layers=2, positions=32, texts=["profit profit", "loss"])
    kept = [piece for piece, _ in pruned.pieces]
    assert {"▁profit", "坏", "好", "a", "。", "<s>", "</s>", "<unk>"} <= set(kept)
    assert "▁fell" not in kept
    assert "▁loss" not in kept
    assert pruned.pieces[pruned.names["eos"]][0] == "</s>"
    assert pruned.tensors["embeddings.word"].shape == (len(kept), HIDDEN)
    assert pruned.tensors["embeddings.position"].shape == (32, HIDDEN)
    assert not any(name.startswith("layers.2") for name in pruned.tensors)


def test_a_body_that_is_another_file_is_refused(tmp_path):
    (tmp_path / "some.bin").write_bytes(b"E5S1")
    with pytest.raises(body.UnreadableBody, match="is not the body"):
        body.read(tmp_path / "some.bin")


def test_a_skeleton_stays_in_its_split_for_ever():
    assert [part_of(f"{{ORG}} row {n}") for n in range(12)] == [
        "train",
        "dev",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
    ]


@pytest.mark.parametrize("line", ['{"skeleton": "x"}', "not json", '{"skeleton": "x", "label": "bad"}'])
def test_a_bad_row_is_named_by_its_line(tmp_path, line):
    good = '{"skeleton": "a", "label": "neutral", "topics": ["fraud"]}'
    (tmp_path / "en.jsonl").write_text(f"{good}\n\n{line}\n")
    with pytest.raises(BadRow, match="line 3"):
        rows.load("en", tmp_path)


def test_a_text_among_neutral_ones_keeps_its_verdict_and_gains_their_topics():
    def example(text, sentiment, *topics):
        return Example(text, "own-zh", sentiment, topics=tuple(int(t in topics) for t in TOPICS))

    bad, calm = example("公司违约", 0, "default"), [example("会议召开。", 1, "management"), example("天气好", 1)]
    for seed in range(10):
        mixed = corpus.among(bad, calm, random.Random(seed))
        assert mixed.sentiment == 0
        assert "公司违约。" in mixed.text
        assert mixed.topics[TOPICS.index("default")] == 1


@st.composite
def headlines(draw):
    """A text and the places of the numbered names in it, with a label each; two of them may overlap."""
    names = [f"<{n}>" for n in range(draw(st.integers(0, 4)))]
    text = "".join(draw(st.text("ab 跌", max_size=5)) + name for name in names) + draw(
        st.text("ab 跌", min_size=1, max_size=5)
    )
    places = [(text.index(name), text.index(name) + len(name), n % 3) for n, name in enumerate(names)]
    if places and draw(st.booleans()):
        start, end, _ = places[0]
        places.insert(1, (start, end + 1, 1))
    return Example(text, draw(st.sampled_from(["own-en", "own-zh"])), 0, targets=tuple(places))


@given(headlines(), st.lists(headlines(), min_size=2, max_size=3), st.integers(0, 99))
def test_mentions_stay_where_they_are_among_other_sentences(example, calm, seed):
    calm = [replace(each, source=example.source) for each in calm]
    mixed = corpus.among(example, calm, random.Random(seed))
    known = Counter((each.text[a:b], label) for each in (example, *calm) for a, b, label in each.targets)
    found = Counter((mixed.text[a:b], label) for a, b, label in mixed.targets)
    assert found <= known
    assert Counter((example.text[a:b], label) for a, b, label in example.targets) <= found


@given(headlines(), st.integers(0, 99))
def test_mentions_stay_where_their_names_were_when_these_change(example, seed):
    renamed = rename(example, ["Kestrel", "海登"], random.Random(seed))
    apart = []
    for place in example.targets:
        if not apart or place[0] >= apart[-1][1]:
            apart.append(place)
    assert [label for *_, label in renamed.targets] == [label for *_, label in apart]
    rest, end = [], 0
    for start, stop, _ in renamed.targets:
        assert renamed.text[start:stop] in {"Kestrel", "海登", *(example.text[a:b] for a, b, _ in apart)}
        rest.append(renamed.text[end:start])
        end = stop
    kept, end = [], 0
    for start, stop, _ in apart:
        kept.append(example.text[end:start])
        end = stop
    assert [*rest, renamed.text[renamed.targets[-1][1] if apart else 0 :]] == [*kept, example.text[end:]]


def test_half_of_the_names_change():
    example = Example("Alfa buys Beta", "sentfin", 1, targets=((0, 4, 2), (10, 14, 1)))
    seen = {rename(example, ["Kestrel"], random.Random(seed)).text for seed in range(40)}
    assert seen == {"Alfa buys Beta", "Kestrel buys Beta", "Alfa buys Kestrel", "Kestrel buys Kestrel"}


def test_a_tweet_speaks_of_the_one_company_it_tags_and_of_no_other():
    assert one_cashtag(Example("why $ABC fell", "tfns", 0)).targets == ((4, 8, 0),)
    assert one_cashtag(Example("$ABC or $XYZ", "tfns", 0)).targets == ()
    assert one_cashtag(Example("no tag", "tfns", 0)).targets == ()


def test_a_label_speaks_only_of_the_topics_its_set_knows():
    known = dict(zip(TOPICS, topic_labels("Dividend", "raises payout"), strict=True))
    assert (known["dividend"], known["macro"], known["fraud"]) == (1, 0, -1)
    assert dict(zip(TOPICS, topic_labels("Politics", "new sanctions"), strict=True))["geopolitics"] == 1


def test_cashtags_are_hidden_or_swapped_in_training():
    rng = random.Random(0)
    seen = {mask_cashtags("$AAPL up", ["$ZZZ"], rng) for _ in range(50)}
    assert seen == {"$TICKER up", "$ZZZ up", "$AAPL up"}


def test_habits_are_the_log_shares_of_each_source():
    examples = [Example("x", "tfns", 1)] * 3 + [Example("x", "tfns", 0)] + [Example("x", "nwgi", 2)]
    shares = train.habits(examples).exp()
    assert torch.allclose(shares.sum(1), torch.ones(len(SOURCES)))
    assert shares[SOURCES.index("tfns")].argmax() == 1
    assert shares[SOURCES.index("nwgi"), 1] > 0.04
