"""Reads a file of documents: JSONL, JSONL.gz, CSV, or one text a line. Pure but for reading; push.py and replay.py send what comes.

A line that cannot be read is passed on as it is (`Line.raw`): ingest refuses it by name, which is where refusals are counted.
"""

import csv
import gzip
import io
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Literal

import msgspec
from msgspec import Struct

from groundswell import times
from groundswell.errors import Misconfigured

FIELDS = (
    "text",
    "id",
    "title",
    "url",
    "source",
    "author",
    "published_at",
    "lang",
    "symbols",
    "engagement",
    "parent_id",
    "retracted",
    "feed",
)
BOM = b"\xef\xbb\xbf"
CSV_CELL_CHARS = 1_048_576  # what is too long for a document is refused by ingest, not here
Form = Literal["jsonl", "csv", "text"]


class BadFile(Misconfigured):
    """The file cannot be read as documents."""

    reason = "bad_file"
    remedy = "Give JSONL (.jsonl, .jsonl.gz), CSV with a header line, or plain text with one document a line."


class Line(Struct, frozen=True):
    """One document as found: a dictionary, or the raw bytes when it is none; the bytes read of the file so far, and
    the number of its (last) line. `as_it_is`: the raw bytes say the same as `fields`, so they may be sent instead."""

    fields: dict[str, Any] | None
    raw: bytes
    position: int
    number: int
    as_it_is: bool = False


def parse_map(pairs: tuple[str, ...]) -> dict[str, str]:
    """`text=body` -> {"text": "body"}. Raises BadFile for a field that documents do not have."""
    found = {}
    for pair in pairs:
        ours, equal, theirs = pair.partition("=")
        if not equal or ours not in FIELDS:
            raise BadFile(f"--map {pair} is no mapping.", remedy=f"Write OURS=THEIRS with one of {', '.join(FIELDS)}.")
        found[ours] = theirs
    return found


def size(path: str) -> int | None:
    """Bytes to read, for a progress bar; None for standard input. Raises BadFile."""
    try:
        return None if path == "-" else Path(path).stat().st_size
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error


def read(path: str, columns: Mapping[str, str]) -> Iterator[Line]:
    """All documents of a file, in order. `columns`: our field -> the file's column. Raises BadFile."""
    if path == "-":
        yield from _lines(sys.stdin.buffer, sys.stdin.buffer, "text-or-jsonl", columns)
        return
    try:
        with Path(path).open("rb") as file:
            if path.endswith(".gz"):
                with gzip.open(file) as unpacked:
                    yield from _lines(unpacked, file, path.removesuffix(".gz"), columns)  # type: ignore[arg-type]
            else:
                yield from _lines(file, file, path, columns)
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror or error}.") from error
    except (EOFError, zlib.error, csv.Error) as error:
        raise BadFile(f"{path} cannot be read to its end: {error}.") from error


def _lines(content: BinaryIO, file: BinaryIO, name: str, columns: Mapping[str, str]) -> Iterator[Line]:
    seekable = file.seekable()

    def position() -> int:
        return file.tell() if seekable else 0

    if name.endswith(".csv"):
        csv.field_size_limit(CSV_CELL_CHARS)
        with io.TextIOWrapper(content, encoding="utf-8-sig", errors="replace", newline="") as text:
            reader = csv.DictReader(text)
            for row in reader:
                found = {key: value for key, value in row.items() if key and value not in (None, "")}
                yield Line(_renamed(found, columns), b"", position(), reader.line_num)
        return
    form: Form = "text" if name.endswith(".txt") else "jsonl"
    first = True
    for number, line in enumerate(content, 1):
        stripped = (line.removeprefix(BOM) if first else line).strip()
        if not stripped:
            continue
        if first and name == "text-or-jsonl" and stripped[:1] not in (b"{", b"["):
            form = "text"
        first = False
        if form == "text":
            yield Line({"text": stripped.decode("utf-8", "replace")}, b"", position(), number)
            continue
        try:
            decoded = msgspec.json.decode(stripped)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            decoded = None
        if not isinstance(decoded, dict):
            yield Line(None, stripped, position(), number)
            continue
        fields = _renamed(decoded, columns)
        yield Line(fields, stripped, position(), number, as_it_is=fields == decoded)


def _renamed(found: dict[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    document = {field: found[field] for field in FIELDS if field in found and field not in columns}
    for ours, theirs in columns.items():
        if theirs in found:
            document[ours] = found[theirs]
    when = document.get("published_at")
    if isinstance(when, str) and when.isdecimal() and len(when) < 20:  # a CSV knows no numbers
        document["published_at"] = int(when)
    retracted = document.get("retracted")
    if isinstance(retracted, str) and retracted.lower() in ("true", "false", "1", "0"):
        document["retracted"] = retracted.lower() in ("true", "1")
    symbols = document.get("symbols")
    if isinstance(symbols, str):
        document["symbols"] = [part for part in symbols.replace(";", ",").split(",") if part]
    return document


def published_ms(document: Mapping[str, Any]) -> int | None:
    """Event time of a raw document, if it has a readable one."""
    given = document.get("published_at")
    try:
        if isinstance(given, str):
            return times.parse_ms(given)
        return round(given) if isinstance(given, (int, float)) else None
    except (ValueError, OverflowError):
        return None
