"""`groundswell detect-series`: any series of numbers, a verdict a row; the reasoning is in stream/detection/series.py.

Each row is answered as it is read, so a pipe that is still being written works as a file does.
"""

import csv
import gzip
import io
import json
import os
import re
import sys
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from math import isnan
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple, cast

import click

from groundswell.errors import Misconfigured
from groundswell.terminal import out
from groundswell.text import safe

if TYPE_CHECKING:
    from stream.detection.series import Direction, Seen, SeriesSettings

EPOCH_MS_FROM = 1e11  # an epoch in seconds reaches this in the year 5138, one in milliseconds had it in 1973
MISSING = {"", "nan", "na", "n/a", "null", "none", "-"}
SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
CELL_CHARS = 4096


class BadSeries(Misconfigured):
    """The file cannot be read as a series."""

    reason = "bad_series"
    remedy = "Give CSV with the header timestamp,value: ISO times or epoch seconds or milliseconds, oldest first, and numbers."


class Line(NamedTuple):
    """One row: its line in the file, its time as given and in epoch seconds, its value (NaN: missing)."""

    number: int
    given: str | float
    at_s: float
    value: float


@click.command()
@click.argument("file", metavar="FILE.csv|-")
@click.option("--threshold", type=float, metavar="LN_H", help="Evidence (natural logarithm) at which a row alerts.")
@click.option(
    "--sensitivity", type=click.Choice(["fewer", "balanced", "more"]), default="balanced", show_default=True,
    help="The same in a word: 7, 5 or 4.",
)  # fmt: skip
@click.option(
    "--refractory", default="24h", show_default=True, metavar="SPAN", help="No second alert within: 90m, 24h, 7d."
)
@click.option(
    "--direction", type=click.Choice(["up", "down", "both"]), default="both", show_default=True,
    help="What rises, what falls, or both.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON line for each row, in its order.")
def detect_series(
    file: str, threshold: float | None, sensitivity: str, refractory: str, direction: str, as_json: bool
) -> int:
    """Find what is unusual in a series of any field: CSV with the header timestamp,value.

    Any step from a second to an hour; a hole is missing data, not zero, and so is an empty value. Each row is judged by
    the rows up to it alone. The first hour (at least ten rows) only teaches.
    """
    from stream.detection.series import SENSITIVITY_LN_H, SeriesSettings

    settings = SeriesSettings(
        ln_h=SENSITIVITY_LN_H[sensitivity] if threshold is None else threshold,
        refractory_s=span_s(refractory),
        direction=cast("Direction", direction),
    )
    try:
        if as_json:
            for line, seen, onset in judged(file, settings):
                sys.stdout.write(as_line(line, seen, onset))
                if file == "-":
                    sys.stdout.flush()
            sys.stdout.flush()
        else:
            show(judged(file, settings), settings.ln_h)
    except BrokenPipeError:
        # The reader has seen enough. Python would complain once more when it closes standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def judged(file: str, settings: "SeriesSettings") -> Iterator[tuple[Line, "Seen", str | float | None]]:
    """Each row with what was seen in it and, for an alert, the time at which it began as the file gives it. Raises
    BadSeries with the line."""
    from stream.detection.series import ONSET_ROWS, NotInOrder, detect

    recent: deque[Line] = deque(maxlen=ONSET_ROWS)

    def rows() -> Iterator[tuple[float, float]]:
        for line in read(file):
            recent.append(line)
            yield line.at_s, line.value

    try:
        for seen in detect(rows(), settings):
            line = recent[-1]
            yield line, seen, None if seen.onset is None else recent[-1 - min(seen.onset, len(recent) - 1)].given
    except NotInOrder as error:
        raise BadSeries(f"Line {recent[-1].number}: {error}", remedy=error.remedy) from error
    except ValueError as error:
        raise BadSeries(f"Line {recent[-1].number}: {error}.") from error


def read(file: str) -> Iterator[Line]:
    """The rows of a CSV file, .csv.gz or standard input (-). Raises BadSeries, with the line where there is one."""
    reader, width, number = None, 0, 0
    with ExitStack() as closing:
        try:
            csv.field_size_limit(CELL_CHARS)
            reader = csv.reader(closing.enter_context(opened(file)))
            header = [cell.strip().lower() for cell in next(reader, [])]
            if "timestamp" not in header or "value" not in header:
                raise BadSeries(
                    f"The first line is not a header with timestamp and value: {safe(','.join(header), 80)!r}."
                )
            when, what, width = header.index("timestamp"), header.index("value"), len(header)
            for cells in reader:
                number = reader.line_num
                if not any(cells):
                    continue
                if len(cells) != width:
                    raise BadSeries(f"Line {number}: {len(cells)} cells instead of {width}.")
                given, at_s = time_of(cells[when].strip(), number)
                yield Line(number, given, at_s, value_of(cells[what].strip(), number))
        except OSError as error:
            raise BadSeries(f"{safe(file)} cannot be read: {error.strerror or error}.") from error
        except (csv.Error, EOFError, zlib.error) as error:
            raise BadSeries(f"Line {(reader.line_num if reader else 0)}: {error}.") from error


def opened(file: str) -> IO[str]:
    if file == "-":
        return io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8-sig", errors="replace", newline="")
    if file.endswith(".gz"):
        return gzip.open(file, "rt", encoding="utf-8-sig", errors="replace", newline="")
    return Path(file).open(encoding="utf-8-sig", errors="replace", newline="")


def time_of(cell: str, number: int) -> tuple[str | float, float]:
    """(as given, epoch seconds). Without a zone it is taken as UTC."""
    try:
        epoch = float(cell)
    except ValueError:
        try:
            moment = datetime.fromisoformat(cell)
            return cell, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            raise BadSeries(f"Line {number}: {safe(cell, 40)!r} is no time.") from None
    if not abs(epoch) < 1e15:
        raise BadSeries(f"Line {number}: {safe(cell, 40)!r} is no time.")
    at_s = epoch / 1000 if abs(epoch) >= EPOCH_MS_FROM else epoch
    return (int(cell) if cell.lstrip("-").isdecimal() else epoch), at_s


def value_of(cell: str, number: int) -> float:
    if cell.lower() in MISSING:
        return float("nan")
    try:
        return float(cell)
    except ValueError:
        raise BadSeries(f"Line {number}: {safe(cell, 40)!r} is no number.") from None


def span_s(text: str, option: str = "--refractory") -> float:
    """24h -> 86400. Raises BadParameter."""
    found = SPAN.fullmatch(text.strip().lower())
    if not found:
        raise click.BadParameter(f"{safe(text, 20)} is no length of time like 90m, 24h or 7d", param_hint=option)
    return float(found[1]) * SECONDS[found[2]]


def as_line(line: Line, seen: "Seen", onset: str | float | None) -> str:
    """By hand: at 100,000 rows a general encoder is a quarter of the time."""
    value = "null" if isnan(line.value) else repr(line.value)
    return (
        f'{{"timestamp": {json.dumps(line.given)}, "value": {value}, "expected": {seen.expected:.7g}, "lo": {seen.lo:.7g}, '
        f'"hi": {seen.hi:.7g}, "ln_m": {seen.ln_m:.7g}, "raw_score": {seen.raw_score:.7g}, "score": {seen.score:.7g}, '
        f'"alert": {"true" if seen.alert else "false"}, "onset": {json.dumps(onset)}}}\n'
    )


def show(found: Iterator[tuple[Line, "Seen", str | float | None]], ln_h: float) -> None:
    """A table of the alerts, and how many rows there were."""
    from rich import box
    from rich.table import Table

    table = Table("alert", "since", "value", "expected", "evidence", box=box.SIMPLE_HEAD)
    rows = 0
    for line, seen, onset in found:
        rows += 1
        if seen.alert:
            band = f"{seen.lo:.4g} to {seen.hi:.4g}"
            table.add_row(safe(str(line.given)), safe(str(onset)), f"{line.value:.6g}", band, f"{seen.ln_m:.1f}")
    console = out()
    if table.row_count:
        console.print(table, markup=False)
    alerts = "1 alert" if table.row_count == 1 else f"{table.row_count} alerts"
    console.print(f"{alerts} in {rows:,} rows at an evidence of {ln_h:g}.", markup=False, highlight=False)
