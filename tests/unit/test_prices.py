"""Prices come from a file or a topic, in bounded memory; what is no price is counted and told, never drawn."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from dashboard.subjects import prices
from dashboard.subjects.prices import BadLine, Book, Point, Prices, Reader, parsed, take_records
from groundswell.clock import ManualClock
from groundswell.keys import HOUR_MS, MINUTE_MS
from groundswell.settings import Settings
from groundswell.times import rfc3339
from tests.pages import NOW, Site, open_site

SUBJECT = "XTST:HLVN"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prices.csv"


def reader(file: Path) -> tuple[Reader, Book]:
    book = Book("file", file.name)
    return Reader(file, book, ManualClock(NOW)), book


def line(minutes_ago: int, price: float, subject: str = SUBJECT) -> str:
    return f"{subject},{rfc3339(NOW - minutes_ago * MINUTE_MS)},{price}\n"


def column(book: Book, minutes: int = 5) -> list[float | None]:
    return book.column(SUBJECT, NOW - minutes * MINUTE_MS, NOW, MINUTE_MS)


def test_a_file_is_read_in_either_form_of_time_and_by_its_header(file: Path) -> None:
    file.write_text(
        f"currency,price,subject,time\nCNY,71.5,{SUBJECT},{NOW - 2 * MINUTE_MS}\nCNY,71.2,{SUBJECT},{rfc3339(NOW - MINUTE_MS)}\n"
    )
    look, book = reader(file)
    look.read()
    assert column(book) == [None, None, None, 71.5, 71.2]
    assert book.last(SUBJECT) == {"at": NOW - MINUTE_MS, "price": 71.2, "currency": "CNY"}
    assert book.status()["state"] == "ok"


def test_what_is_appended_is_read_alone_and_a_line_without_its_end_waits(file: Path) -> None:
    file.write_text(line(4, 70.0) + line(3, 71.0))
    look, book = reader(file)
    look.read()
    with file.open("a") as more:
        more.write(line(2, 72.0) + line(1, 73.0).rstrip("\n"))
    look.read()
    assert column(book) == [None, 70.0, 71.0, 72.0, None]
    assert book.status()["taken"] == 3
    with file.open("a") as more:
        more.write("\n")
    look.read()
    assert column(book)[-1] == 73.0


def test_a_file_that_was_replaced_is_read_anew(file: Path) -> None:
    file.write_text(line(4, 70.0) + line(3, 71.0))
    look, book = reader(file)
    look.read()
    other = file.with_suffix(".new")
    other.write_text(line(2, 5.0) + line(1, 6.0) + line(1, 6.5))
    other.replace(file)
    look.read()
    assert column(book) == [None, None, None, 5.0, 6.5]
    file.write_text(line(1, 9.0))
    look.read()
    assert column(book) == [None, None, None, None, 9.0]


def test_a_file_that_is_not_there_is_said_and_found_when_it_comes(file: Path) -> None:
    look, book = reader(file)
    look.read()
    assert book.status()["state"] == "missing"
    file.write_text(line(1, 70.0))
    look.read()
    assert (book.status()["state"], column(book)[-1]) == ("ok", 70.0)


def test_lines_that_are_no_price_are_counted_by_reason_and_the_others_drawn(file: Path) -> None:
    wrong = [
        f"{SUBJECT},yesterday,70\n", f"{SUBJECT},{NOW},seventy\n", f"{SUBJECT},{NOW}\n", f",{NOW},70\n", f"{SUBJECT},{NOW},nan\n",
        f"{SUBJECT},{NOW + 48 * HOUR_MS},70\n", f'"{SUBJECT},{NOW}\n', "x" * 5_000 + "\n",
    ]  # fmt: skip
    file.write_text("subject,time,price\n" + "".join(wrong) + line(1, 70.0))
    look, book = reader(file)
    look.read()
    status = book.status()
    assert status["bad_by_reason"] == {"time": 1, "price": 2, "columns": 2, "subject": 1, "future": 1, "length": 1}
    assert status["bad"] == len(wrong)
    assert status["examples"][-1] == {"place": 9, "reason": "length"}
    assert column(book)[-1] == 70.0


def test_a_line_longer_than_a_chunk_neither_fills_the_memory_nor_takes_its_neighbours(file: Path) -> None:
    file.write_text(line(2, 70.0) + "x" * (3 * prices.CHUNK_BYTES) + "\n" + line(1, 71.0))
    look, book = reader(file)
    look.read()
    assert column(book) == [None, None, None, 70.0, 71.0]
    assert book.status()["bad_by_reason"].keys() == {"length"}


@budget(max_examples=200, deadline=None)
@given(
    st.one_of(st.binary(max_size=200), st.text(alphabet=f'{SUBJECT},:.0123456789"-TZe', max_size=80).map(str.encode))
)
def test_any_line_is_a_price_or_has_a_reason(raw: bytes) -> None:
    try:
        found: Point | str = parsed(raw.replace(b"\n", b""), [0, 1, 2, -1], NOW)
    except BadLine as error:
        found = str(error)
    if isinstance(found, str):
        assert found in {"columns", "subject", "time", "price", "future", "length"}
    else:
        assert found.subject
        assert found.at_ms <= NOW + prices.AHEAD_MS


@budget(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 59_999), st.floats(1, 99))))
def test_in_whatever_order_they_come_a_minute_keeps_its_latest_price(told: list[tuple[int, int, float]]) -> None:
    book = Book("file", "")
    begin = NOW // MINUTE_MS * MINUTE_MS - 60 * MINUTE_MS
    book.take([Point(SUBJECT, begin + minute * MINUTE_MS + ms, price, "") for minute, ms, price in told], NOW)
    for minute in range(41):
        own = [(ms, -place, price) for place, (at, ms, price) in enumerate(told) if at == minute]
        found = book.column(SUBJECT, begin + minute * MINUTE_MS, begin + (minute + 1) * MINUTE_MS, MINUTE_MS)[0]
        if own:
            latest = max(ms for ms, _, _ in own)
            assert found in {price for ms, _, price in own if ms == latest}
    assert book.points == len({minute for minute, _, _ in told})


def test_a_price_stands_for_a_while_and_then_there_is_a_hole() -> None:
    book = Book("topic", "quotes")
    book.take([Point(SUBJECT, NOW - 60 * MINUTE_MS, 70.0, ""), Point(SUBJECT, NOW - 5 * MINUTE_MS, 71.0, "")], NOW)
    found = book.column(SUBJECT, NOW - 62 * MINUTE_MS, NOW, MINUTE_MS)
    assert found[:3] == [None, None, 70.0]
    assert found[17] == 70.0
    assert set(found[18:57]) == {None}
    assert found[57:] == [71.0, None, None, None, None], "what is to come has no price"


def test_memory_is_bounded_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prices, "MOST_POINTS", 1_000)
    monkeypatch.setattr(prices, "MOST_SUBJECTS", 3)
    book = Book("topic", "quotes")
    for minute in range(2_000, 0, -1):
        book.take([Point(f"XTST:{minute % 5}", NOW - minute * MINUTE_MS, float(minute), "")], NOW)
    assert book.points <= 1_000
    assert book.status()["subjects"] == 3
    assert book.status()["refused"] == 800
    assert sum(len(times) for times, _ in book._lines.values()) == book.points
    assert max(times[-1] for times, _ in book._lines.values()) >= NOW - 3 * MINUTE_MS


def test_prices_older_than_the_counts_are_left_out(file: Path) -> None:
    file.write_text(line(9 * 24 * 60, 70.0) + line(1, 71.0))
    look, book = reader(file)
    look.read()
    assert (book.status()["too_old"], book.points) == (1, 1)


def test_records_of_the_topic_that_are_no_price_are_counted() -> None:
    book = Book("topic", "quotes")
    good = json.dumps(
        {"subject": SUBJECT, "at": rfc3339(NOW - MINUTE_MS), "price": 70.5, "currency": "CNY", "more": 1}
    ).encode()
    take_records(
        book,
        [
            (1, good),
            (2, b"{"),
            (3, None),
            (4, b'{"subject":"A","at":"x","price":1}'),
            (5, b"[" * 100_000),
            (6, b"\xff"),
        ],
        NOW,
    )
    assert column(book)[-1] == 70.5
    assert book.status()["bad_by_reason"] == {"shape": 4, "time": 1}


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as one:
        yield one


async def test_prices_are_asked_for_beside_the_counts(site: Site, file: Path) -> None:
    found = (await site.http.get(f"/api/v1/subjects/{SUBJECT}/prices")).json()
    assert (found["price"], found["last"]) == ([], None)
    assert (await site.http.get("/api/v1/prices/status")).json() == {"items": []}

    file.write_text(line(2, 70.0) + line(1, 71.0) + "x\n")
    set_up = Prices(Settings(prices=str(file), price_topic="quotes"))
    site.parts.prices.books[:] = set_up.books
    assert set_up.file is not None
    Reader(file, set_up.file, site.clock).read()
    address = f"/api/v1/subjects/{SUBJECT}/prices?from={NOW - 3 * MINUTE_MS}&to={NOW + MINUTE_MS}"
    found = (await site.http.get(address)).json()
    assert (found["price"], found["source"], found["step"]) == ([None, 70.0, 71.0, None], "file", 60)
    told = (await site.http.get("/api/v1/prices/status")).json()["items"]
    assert [(one["source"], one["name"], one["bad"]) for one in told] == [
        ("topic", "quotes", 0),
        ("file", "prices.csv", 1),
    ]
    assert str(file.parent) not in msgspec.json.encode(told).decode(), "where files lie is nobody's business"


@pytest.mark.parametrize(
    "query", ["step=61", "from=5&to=4", "from=0&to=9999999999999", "step=60&from=1&to=90000000000", "from=x"]
)
async def test_a_span_of_prices_that_cannot_be_drawn_is_refused(site: Site, query: str) -> None:
    answer = await site.http.get(f"/api/v1/subjects/{SUBJECT}/prices?{query}")
    assert (answer.status_code, answer.json()["reason"]) == (400, "wrong_shape")
