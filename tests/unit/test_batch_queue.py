"""The queue before the model: nothing is lost, doubled or starved, order is kept, and every bound holds."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from groundswell.tagging import Text
from models.batch_queue import (
    CLASS_SHARE,
    FLOOR,
    LATE_FACTOR,
    LATE_S,
    MAX_TEXTS,
    MOST_TOKENS,
    PARTITION_SHARE,
    BatchQueue,
    Waiting,
    estimate,
)

LIMIT, BUDGET = 400, 50

sizes = st.lists(st.integers(1, 70), min_size=1, max_size=40)
calls = st.tuples(st.just("put"), st.integers(0, 5), st.booleans(), sizes)
takes = st.tuples(st.just("take"), st.floats(0, 2))
drops = st.tuples(st.just("drop"), st.integers(0, 30))
steps = st.lists(st.one_of(calls, calls, takes, takes, takes, drops), max_size=60)


def asked(queue, caller, partition=0, *, fresh=True, tokens=(10,), now_s=0.0):
    texts = [Waiting(caller, n, Text(""), size, partition, fresh, now_s) for n, size in enumerate(tokens)]
    queue.put(texts)
    return texts


def emptied(queue, now_s=0.0):
    batches = []
    while batch := queue.take(now_s):
        batches.append(batch)
    return batches


@given(steps)
def test_every_text_comes_once_and_in_the_order_of_its_partition(steps):
    queue, put, taken, gone, now_s = BatchQueue(LIMIT, BUDGET), defaultdict(list), defaultdict(list), set(), 0.0
    batches = []
    for caller, (what, *rest) in enumerate(steps):
        if what == "put":
            partition, fresh, tokens = rest
            put[partition] += asked(queue, caller, partition, fresh=fresh, tokens=tokens, now_s=now_s)
        elif what == "take":
            now_s += rest[0]
            batches.append(queue.take(now_s))
        else:
            gone.add(rest[0])
            queue.drop(lambda caller: caller in gone)
    batches += emptied(queue, now_s)
    for text in (text for batch in batches for text in batch):
        taken[text.partition].append(text)
    for partition, texts in put.items():
        came = taken[partition]
        assert len(came) == len(set(map(id, came)))
        places = [texts.index(text) for text in came]
        assert places == sorted(places)
        assert {id(text) for text in texts if text.caller not in gone} <= set(map(id, came))
    assert queue.tokens == 0


@given(steps)
def test_no_bound_is_ever_passed_while_others_wait(steps):
    queue, now_s = BatchQueue(LIMIT, BUDGET), 0.0
    for caller, (what, *rest) in enumerate(steps):
        before = {partition: lane.tokens for partition, lane in queue._lanes.items()}
        held_before = dict(queue._held)
        oldest = [lane.within[0].since_s for lane in queue._lanes.values() if lane.within]
        if what == "put":
            partition, fresh, tokens = rest
            asked(queue, caller, partition, fresh=fresh, tokens=tokens, now_s=now_s)
        elif what == "take":
            now_s += rest[0]
            batch = queue.take(now_s)
            late = bool(oldest) and now_s - min(oldest) > LATE_S
            budget = BUDGET * (LATE_FACTOR if late else 1)
            assert len(batch) <= MAX_TEXTS
            assert sum(text.tokens for text in batch) <= budget or len(batch) == 1
        assert queue.tokens == sum(text.tokens for lane in queue._lanes.values() for text in lane.within)
        assert queue.tokens <= LIMIT
        assert queue.tokens or not any(lane.door for lane in queue._lanes.values())
        others = sum(bool(lane.within or lane.door) for lane in queue._lanes.values()) > 1
        for partition, lane in queue._lanes.items():
            # Whoever came alone may hold more than its share; from then on it only shrinks.
            if others and lane.tokens > before.get(partition, 0):
                first_only = lane.tokens == lane.within[0].tokens
                assert lane.tokens <= PARTITION_SHARE * LIMIT or first_only
        for fresh in (True, False):
            if queue._at_door[not fresh] and queue._held[fresh] > held_before[fresh]:
                assert queue._held[fresh] <= CLASS_SHARE * LIMIT


@given(st.integers(1, 6), sizes, st.integers(FLOOR, 40))
def test_of_ten_batches_one_is_led_by_the_backfill_however_much_comes_fresh(partitions, tokens, rounds):
    queue = BatchQueue(LIMIT, BUDGET)
    asked(queue, "old", 99, fresh=False, tokens=tokens * rounds)
    led = []
    for n in range(rounds):
        for partition in range(partitions):
            asked(queue, n, partition, tokens=[BUDGET] * 3)
        waits = any(lane.within and not lane.within[0].fresh for lane in queue._lanes.values())
        led.append(queue.take(0.0)[0].caller == "old" or not waits)
    assert all(any(led[n : n + FLOOR]) for n in range(len(led) - FLOOR + 1))


def test_fresh_texts_go_before_a_backfill_and_the_room_that_is_left_is_the_backfills():
    queue = BatchQueue()
    asked(queue, "old", 1, fresh=False, tokens=[100] * 20)
    asked(queue, "new", 2, tokens=[100] * 3)
    assert [text.caller for text in queue.take(0.0)] == ["new"] * 3 + ["old"] * 7


def test_who_waits_longest_is_first_whatever_the_number_of_the_partition():
    queue = BatchQueue(batch_tokens=20)
    for partition in (3, 1, 2):
        asked(queue, partition, partition, tokens=[10])
    assert [[text.partition for text in batch] for batch in emptied(queue)] == [[3, 1], [2]]


def test_a_long_text_lets_short_ones_of_others_pass_once_and_is_then_the_first():
    queue = BatchQueue(batch_tokens=50)
    asked(queue, "a", 1, tokens=[20, 45])
    asked(queue, "b", 2, tokens=[20, 20, 20])
    assert [[text.caller for text in batch] for batch in emptied(queue)] == [["a", "b"], ["a"], ["b", "b"]]


def test_a_queue_that_waits_gives_batches_of_twice_the_size():
    queue = BatchQueue(batch_tokens=50)
    asked(queue, "a", tokens=[10] * 20, now_s=5.0)
    assert [len(queue.take(now_s)) for now_s in (5.5, 6.1)] == [5, 10]


def test_a_backfill_that_fills_the_queue_leaves_room_for_what_is_fresh():
    queue = BatchQueue(limit_tokens=100, batch_tokens=10)
    for partition in range(8):
        asked(queue, "old", partition, fresh=False, tokens=[10] * 20)
    for _ in range(3):
        queue.take(0.0)
    asked(queue, "new", 50, tokens=[10])
    assert [queue.take(0.0)[0].caller for _ in range(4)].count("new") == 1


def test_the_estimate_is_near_what_a_tokenizer_finds_and_never_beyond_what_a_model_reads():
    english = Text("The ministry raised its forecast for the third time this year.", lang="en")
    chinese = Text("该部门今年第三次上调了预测。", lang="zh")
    assert 12 <= estimate(english) <= 24
    assert 10 <= estimate(chinese) <= 18
    assert estimate(Text("", title="")) == 2
    assert estimate(Text("长" * 60_000, title="\ud800")) == MOST_TOKENS
