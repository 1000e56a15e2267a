"""Topic names, partition counts and the partitioner are promises to everybody who reads the broker."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.topology import CONTROL, SCORED, TOPICS, Topology, murmur2

KAFKA_VECTORS = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
NAMES_AND_PARTITIONS = {
    "groundswell.news.v1": 12,
    "groundswell.comments.v1": 12,
    "groundswell.documents.v1": 24,
    "groundswell.tagged.v1": 24,
    "groundswell.scored.v1": 64,
    "groundswell.baselines.v1": 12,
    "groundswell.alerts.v1": 12,
    "groundswell.control.v1": 1,
    "groundswell.deliveries.v1": 12,
    "groundswell.dead-letters.v1": 6,
    "groundswell.feedback.v1": 1,
    "groundswell.audit.v1": 1,
}


@pytest.mark.parametrize(("data", "java"), KAFKA_VECTORS.items())
def test_the_hash_is_kafka_s_own(data, java):
    assert murmur2(data) == java & 0x7FFFFFFF


def test_the_hash_agrees_with_an_independent_partitioner():
    aiokafka_partitioner = pytest.importorskip("aiokafka.partitioner")
    for length in range(20):
        data = bytes(range(200, 200 + length))
        assert murmur2(data) == aiokafka_partitioner.murmur2(data) & 0x7FFFFFFF


def test_names_and_partition_counts_stay_as_released():
    assert Topology().wanted() == NAMES_AND_PARTITIONS


def test_another_prefix_is_another_installation():
    names = Topology("t1").wanted()
    assert all(name.startswith("t1.") for name in names)
    assert names.keys().isdisjoint(NAMES_AND_PARTITIONS)


def test_a_replay_has_one_partition_everywhere():
    single = Topology(single=True)
    assert set(single.wanted().values()) == {1}
    assert single.scored_partition("XSHG:699001") == 0


@pytest.mark.parametrize(
    ("subject", "partition"), [("market", 41), ("XNAS:AAPL", 39), ("XSHG:600519", 29), ("topic:default", 7)]
)
def test_a_subject_s_home_never_moves(subject, partition):
    assert Topology().scored_partition(subject) == partition


@given(st.text())
def test_every_subject_has_a_home(subject):
    assert 0 <= Topology().scored_partition(subject) < SCORED.partitions


def test_only_control_is_kept_for_good_and_everything_else_expires():
    assert [topic for topic in TOPICS if topic.config["cleanup.policy"] == "compact"] == [CONTROL]
    assert all(int(topic.config["retention.ms"]) >= 7 * 86_400_000 for topic in TOPICS if topic is not CONTROL)


def test_a_broker_with_all_topics_has_nothing_missing():
    assert Topology().missing(NAMES_AND_PARTITIONS | {"somebody.else": 1}) == []


def test_what_is_missing_or_too_small_is_named():
    found = NAMES_AND_PARTITIONS | {"groundswell.news.v1": 3}
    del found["groundswell.alerts.v1"]
    assert sorted(Topology().missing(found)) == [
        "groundswell.alerts.v1 is missing",
        "groundswell.news.v1 has 3 partitions, 12 are wanted",
    ]


def test_more_partitions_are_welcome_except_where_counts_have_their_home():
    assert Topology().missing(NAMES_AND_PARTITIONS | {"groundswell.news.v1": 48}) == []
    assert Topology().missing(NAMES_AND_PARTITIONS | {"groundswell.scored.v1": 128}) != []
