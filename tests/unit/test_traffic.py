"""What `groundswell simulate` promises: the same bytes for a seed, counts that are those of the documents, a truth that is true."""

import csv
import json
from collections import Counter

import msgspec
import pytest
from click.testing import CliRunner

from bench import traffic, traffic_texts
from groundswell import feed, times
from groundswell.cli import cli
from groundswell.errors import Misconfigured
from groundswell.records import InboundDocument
from stream.names import entities, subjects

CATALOGUE = subjects.load()
NAMED = traffic_texts.nameable(list(CATALOGUE.subjects.values()))


def asked(seed=1, **given):
    return traffic.Asked(**({"days": 3, "subjects": NAMED[::60][:4], "surges": 4, "storms": 3, "seed": seed} | given))


@pytest.fixture(scope="module")
def made():
    return traffic.simulate(asked())


@pytest.fixture(scope="module")
def documents(made):
    return list(traffic_texts.documents(made, asked()))


def test_the_same_seed_gives_the_same_talk_and_another_another(made, documents):
    again = traffic.simulate(asked())
    assert again == made
    assert list(traffic_texts.documents(again, asked())) == documents
    assert traffic.simulate(asked(2)).said != made.said


def test_every_document_is_one_that_push_and_replay_take_in_order_of_time(documents):
    assert len(documents) > 500
    read = [msgspec.convert(one, InboundDocument) for one in documents]
    at_ms = [feed.published_ms(one) for one in documents]
    assert at_ms == sorted(at_ms)
    assert len({one.id for one in read}) == len(read)
    assert {one.lang for one in read} == {"zh", "en"}
    assert {one.feed for one in read} == {"news", "comments"}
    assert all(bool(one.author) == (one.feed == "comments") for one in read)


def test_every_document_names_its_company_as_the_linker_reads_it(made, documents):
    own = [asked().subjects[one.subject].id for one in made.said]
    missed = sum(
        subject not in {found.subject for found in entities.link(CATALOGUE, one["text"])}
        for subject, one in zip(own, documents, strict=True)
    )
    assert missed <= 0.01 * len(documents)


def test_counts_are_those_of_the_documents(made):
    counted = list(traffic.counts(made))
    assert sum(one.reach for one in counted) == len(made.said)
    assert sum(one.mentions for one in counted) == sum(one.copy_of < 0 for one in made.said)
    assert sum(one.negatives for one in counted) == sum(
        one.copy_of < 0 and one.tone == traffic.NEGATIVE for one in made.said
    )
    assert all(0 <= one.negatives <= one.mentions <= one.reach for one in counted)


def test_surges_hold_what_was_planted_and_storms_their_copies():
    given = asked(days=6, surges=12, storms=12)
    found = traffic.simulate(given)
    kinds = Counter(one["kind"] for one in found.truth)
    assert kinds["surge"] == kinds["storm"] == 12
    assert kinds["loud_author"] == 4
    for one in found.truth:
        if one["kind"] not in ("surge", "storm"):
            continue
        first, last = times.parse_ms(one["start"]), times.parse_ms(one["end"])
        k = [entry.id for entry in given.subjects].index(one["subject"])
        inside = [said for said in found.said if said.subject == k and first <= said.at_ms <= last]
        if one["kind"] == "storm":
            assert (
                max(Counter(said.copy_of for said in inside if said.copy_of >= 0).values()) >= 0.9 * one["copies"] - 2
            )
        elif one["of"] == "count":
            negatives = sum(said.tone == traffic.NEGATIVE and said.copy_of < 0 for said in inside)
            assert negatives >= 0.5 * (one["expected"] + one["planted"])


def test_the_talk_is_not_what_the_detector_assumes():
    found = traffic.simulate(asked(days=14, surges=0, storms=0))
    copies = Counter((one.subject, one.copy_of) for one in found.said if one.copy_of >= 0)
    authors = Counter(one.author for one in found.said if one.author >= 0).most_common()
    assert max(copies.values()) >= 5
    assert sum(number for _, number in authors[: len(authors) // 10]) > 0.3 * sum(number for _, number in authors)


def run(*arguments):
    return CliRunner().invoke(cli, ["simulate", *map(str, arguments)])


def test_the_command_writes_documents_or_counts_and_the_truth_beside(tmp_path):
    common = ("--days", 2, "--subjects", 3, "--surges", 2, "--storms", 1, "--seed", 5, "--mentions", 80)
    told = run(*common, "-o", tmp_path / "talk.jsonl", "--json")
    assert told.exit_code == 0
    lines = (tmp_path / "talk.jsonl").read_bytes().splitlines()
    truth = [json.loads(line) for line in (tmp_path / "talk.jsonl.truth.jsonl").read_bytes().splitlines()]
    summary = json.loads(told.stdout)
    assert summary["documents"] == len(lines)
    assert summary["planted"]["surge"] == sum(one["kind"] == "surge" for one in truth) == 2
    run(*common, "-o", tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "talk.jsonl").read_bytes()
    run(*common, "--as", "counts", "-o", tmp_path / "counts.csv")
    run(*common, "--as", "counts", "-o", tmp_path / "counts.jsonl")
    with (tmp_path / "counts.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["reach"]) for row in rows) == len(lines)
    assert [json.loads(line)["reach"] for line in (tmp_path / "counts.jsonl").read_bytes().splitlines()] == [
        int(row["reach"]) for row in rows
    ]


def test_what_cannot_be_made_is_refused_in_words(tmp_path):
    for wrong in (
        ("--subjects", 9999, "-o", tmp_path / "x"),
        ("--days", 400, "--subjects", 2000, "--mentions", 1e5, "-o", tmp_path / "x"),
        ("--days", 1, "--subjects", 1, "-o", tmp_path / "no" / "folder"),
    ):
        error = run(*wrong).exception
        assert isinstance(error, Misconfigured)
        assert error.remedy
