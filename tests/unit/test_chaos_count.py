"""What the chaos harness counts by: its own truth, its own comparison, its own poison."""

import random
from collections import Counter

from bench import chaos_faults, chaos_file
from bench.chaos_file import MARKET, difference, file, truth
from groundswell.clock import ManualClock
from models.scripted import answer
from stream.ingest import Terms, take
from stream.topology import Topology

END_MS = 1_700_000_000_000


def test_no_two_subjects_whose_order_matters_share_a_partition() -> None:
    topology = Topology("any")
    names = [MARKET, *(one for company in chaos_file.COMPANIES for one in (company[0], company[3]))]
    assert len({topology.scored_partition(name) for name in names}) == len(names)


def test_the_file_holds_what_it_says() -> None:
    made = file(4_000, END_MS, seed=3)
    assert len(made.sent) == 4_000
    assert [one.at_ms for one in made.sent] == sorted(one.at_ms for one in made.sent)
    assert made.sent == file(4_000, END_MS, seed=3).sent
    assert made.sent != file(4_000, END_MS, seed=4).sent
    places = Counter(one.place for one in made.sent if not one.again)
    assert all(places[place] > 20 for place in range(5)), places
    assert sum(one.again for one in made.sent) > 100
    assert len(made.surges) >= 5
    ids = [one.document["id"] for one in made.sent if not one.again]
    assert len(set(ids)) == len(ids)


def test_the_recorded_tagger_hears_what_the_maker_of_the_file_meant() -> None:
    names = ("negative", "neutral", "positive")
    for one in file(2_000, END_MS, seed=3).sent:
        said = answer(one.document["text"])
        heard = [f"topic:{topic}" for topic, _ in said.topics if topic != "other"]
        assert heard == [subject for subject in one.subjects if subject.startswith("topic:")]
        if one.place < 3:
            assert (said.polarity, said.unsure) == (names[one.place], False)
        elif one.place == chaos_file.UNSURE:
            assert said.unsure


def test_one_row_too_few_too_many_or_in_the_wrong_place_is_named() -> None:
    made = file(1_500, END_MS, seed=3)
    wanted = truth(made.sent)
    assert difference(wanted, wanted) == chaos_file.Difference(0, 0, 0, [])
    first = next(one for one in made.sent if not one.again)
    where = (MARKET, first.at_ms // 60_000 * 60_000)
    more = dict(wanted) | {where: tuple(count + (place == 1) for place, count in enumerate(wanted[where]))}
    assert (difference(more, wanted).lost, difference(more, wanted).double_counted) == (0, 1)
    assert (difference(wanted, more).lost, difference(wanted, more).double_counted) == (1, 0)
    moved = dict(wanted) | {where: (wanted[where][0] + 1, *wanted[where][1:3], wanted[where][3] + 1, wanted[where][4])}
    other = dict(wanted) | {where: (wanted[where][0] + 2, *wanted[where][1:])}
    apart = difference(moved, other)
    assert (apart.lost, apart.double_counted, apart.misplaced) == (0, 0, 1)
    gone = {at: counters for at, counters in wanted.items() if at != where}
    assert difference(gone, wanted).lost == sum(wanted[where])
    assert str(where[1]) in difference(gone, wanted).examples[0]


def test_a_document_left_out_of_the_file_changes_its_truth() -> None:
    made = file(1_500, END_MS, seed=3)
    at = next(number for number, one in enumerate(made.sent) if not one.again)
    lacks = difference(truth(made.sent[:at] + made.sent[at + 1 :]), truth(made.sent))
    assert lacks.lost == len(made.sent[at].subjects)


def test_each_poisoned_message_becomes_one_dead_letter() -> None:
    terms = Terms(link=lambda _words, _symbols: [], clock=ManualClock(END_MS))
    for message in chaos_file.poison(random.Random(1), END_MS):
        taken = take(message, "news", "news", 0, 0, terms)
        assert (len(taken.documents), len(taken.dead)) == (0, 1), message


def test_the_schedule_holds_every_kind_and_as_many_kills_as_asked_for() -> None:
    drawn = Counter(chaos_faults.schedule(100, chaos_faults.KINDS, random.Random(1)))
    assert drawn["kill"] == 100
    assert drawn["zombie"] == 20
    assert drawn["broker"] == drawn["redis-kill"] == drawn["redis-flush"] == 5
    assert set(drawn) == set(chaos_faults.KINDS)
    assert set(chaos_faults.schedule(1, chaos_faults.KINDS, random.Random(1))) == set(chaos_faults.KINDS)
    assert chaos_faults.schedule(0, ["poison"], random.Random(1)) == ["poison"]
