"""What people say is counted one voice a person, kept within bounds, and becomes rows that a model can learn from."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groundswell import feedback_rows
from groundswell.feedback import Remarks, counted, labels, verdicts
from groundswell.records import Feedback, Mention, Source, Tagged
from groundswell.text import normalise
from models.learn.cleaning import read as read_rows
from models.measure import labelled_file

LIN, ANA, KAI = "lin", "ana", "kai"


def said(number: int, by: str = LIN, label: Any = "neutral", **more: Any) -> Feedback:
    """One word on a label."""
    given: dict[str, Any] = {
        "id": f"fb_{number}", "at": number, "by": by, "kind": "wrong_label", "label": label, "said": "negative", "document": "d1",
        "source": "wire.example", "published_at": 1_000, "lang": "en", "title": "Halvorn denies fires",
        "excerpt": "No van of Halvorn Motors burnt.", "subject": "XTST:HLVN", "names": ["Halvorn Motors", "霍尔文汽车"],
    }  # fmt: skip
    return Feedback(**given | more)


def verdict(number: int, by: str, kind: Any, episode: str = "ep_1") -> Feedback:
    return Feedback(id=f"v{number}", at=number, by=by, kind=kind, episode=episode, subject="XTST:HLVN", onset=60_000)


def tagged(**more: Any) -> Tagged:
    given: dict[str, Any] = {
        "id": "d1", "src": Source(0, 1), "story": "s1", "title": "Halvorn denies fires", "author": "a1b2c3d4",
        "text": "There were rumours. No van of Halvorn Motors burnt.", "source": "wire.example", "lang": "en", "published_at": 1_000,
        "ingested_at": 1_000, "tagged_at": 1_000, "label": "negative", "negative": 0.9, "neutral": 0.1, "positive": 0.0,
        "mentions": [Mention("XTST:HLVN", 51, 65)],
    }  # fmt: skip
    return Tagged(**given | more)


def test_the_last_word_of_a_person_counts_and_most_persons_decide() -> None:
    (vote,) = labels(
        [said(1, LIN, "positive"), said(2, ANA, "neutral"), said(3, KAI, "positive"), said(4, LIN, "neutral")]
    )
    assert (vote.label, vote.votes) == ("neutral", {"neutral": 2, "positive": 1})


def test_as_many_for_this_as_for_that_is_a_tie_and_makes_no_row() -> None:
    votes = labels([said(1, LIN, "neutral"), said(2, ANA, "negative")])
    assert votes[0].label == ""
    made = feedback_rows.rows(votes, {})
    assert (made.rows, made.tied) == ([], votes)


def test_each_company_in_a_text_and_the_text_as_a_whole_are_judged_apart() -> None:
    votes = labels([said(1, subject="XTST:HLVN"), said(2, subject="XTST:VNTP"), said(3, subject="")])
    assert sorted(vote.newest.subject for vote in votes) == ["", "XTST:HLVN", "XTST:VNTP"]


@given(
    st.permutations(
        [said(1, LIN, "positive"), said(2, ANA, "neutral"), said(3, LIN, "neutral"), said(4, KAI, "negative")]
    )
)
def test_votes_do_not_depend_on_the_order_in_which_they_were_read(words: list[Feedback]) -> None:
    assert labels(words)[0].votes == {"negative": 1, "neutral": 2}


def test_a_verdict_can_be_changed_and_counts_once() -> None:
    words = [verdict(1, LIN, "right"), verdict(2, LIN, "not_a_surge"), verdict(3, ANA, "not_a_surge")]
    assert counted(verdicts(words)["ep_1"].values()) == {"right": 0, "not_a_surge": 2}
    assert feedback_rows.surges(words) == [
        {
            "episode": "ep_1", "subject": "XTST:HLVN", "onset": "1970-01-01T00:01:00Z", "vote": "not_a_surge",
            "votes": {"right": 0, "not_a_surge": 2},
        }
    ]  # fmt: skip


def test_a_tie_about_an_episode_has_no_vote() -> None:
    (one,) = feedback_rows.surges([verdict(1, LIN, "right"), verdict(2, ANA, "not_a_surge")])
    assert one["vote"] == ""


def test_the_whole_text_is_taken_where_it_is_still_kept_and_names_the_company_as_it_stands_there() -> None:
    made = feedback_rows.rows(labels([said(1)]), {("wire.example", "d1"): tagged()})
    (row,) = made.rows
    assert (row.text, row.entity, row.taken_from) == (tagged().text, "Halvorn Motors", "text")


def test_the_deciding_sentence_stands_in_for_a_text_that_is_gone() -> None:
    (row,) = feedback_rows.rows(labels([said(1)]), {}).rows
    assert (row.text, row.title, row.entity, row.taken_from) == (
        "No van of Halvorn Motors burnt.", "Halvorn denies fires", "Halvorn Motors", "excerpt",
    )  # fmt: skip


def test_a_sentence_that_does_not_name_the_company_makes_no_row_about_it() -> None:
    votes = labels([said(1, title="", excerpt="No van burnt.")])
    made = feedback_rows.rows(votes, {})
    assert (made.rows, made.unnamed) == ([], votes)


def test_a_text_of_which_nothing_is_left_makes_no_row() -> None:
    votes = labels([said(1, title="", excerpt="")])
    assert feedback_rows.rows(votes, {}).textless == votes


def test_no_row_says_who_said_it_or_who_wrote_the_text() -> None:
    rows = feedback_rows.rows(labels([said(1, "Lin Wei <lin@bank.example>")]), {("wire.example", "d1"): tagged()}).rows
    written = msgspec.json.encode(rows).decode()
    assert "lin@bank" not in written
    assert "a1b2c3d4" not in written


def test_finetune_and_evaluate_read_the_rows_that_are_exported(tmp_path: Path) -> None:
    votes = labels(
        [said(1), said(2, subject="", label="positive", document="d2", excerpt="Everybody is glad.", title="")]
    )
    file = tmp_path / "feedback.jsonl"
    rows = feedback_rows.rows(votes, {("wire.example", "d1"): tagged()}).rows
    file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    found = labelled_file.read(file)
    assert [one.missed for one in found] == [False, False], "the company that is named is found in the text"
    (about,) = found[0].text.spans
    assert found[0].text.whole[slice(*about)] == normalise("Halvorn Motors")
    texts, cleaning = read_rows(file)
    assert (len(texts), cleaning.unreadable, cleaning.entities_missing) == (2, [], [])


def test_the_newest_words_are_kept_and_the_oldest_go() -> None:
    heard: list[str] = []
    remarks = Remarks(heard.append, kept=3)
    for number in range(5):
        remarks.take(verdict(number, LIN, "right", f"ep_{number}"))
    assert len(remarks) == 3
    assert [len(remarks.of(f"ep_{number}")) for number in range(5)] == [0, 0, 1, 1, 1]
    assert heard == [f"ep_{number}" for number in range(5)]


def test_the_same_word_read_again_changes_nothing() -> None:
    heard: list[str] = []
    remarks = Remarks(heard.append)
    remarks.take(verdict(1, LIN, "right"))
    remarks.take(verdict(1, LIN, "right"))
    assert (len(remarks.of("ep_1")), heard) == (1, ["ep_1"])


@pytest.mark.parametrize("names", [["A.+"], [""], []])
def test_a_name_is_looked_for_as_it_is_written(names: list[str]) -> None:
    assert feedback_rows.rows(labels([said(1, names=names)]), {}).rows == []
