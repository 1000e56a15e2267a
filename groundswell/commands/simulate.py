"""`groundswell simulate`: traffic whose surges are known, as documents or as counts; bench/traffic.py says what world it is."""

import csv
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from groundswell import times
from groundswell.commands.processes import the_settings
from groundswell.errors import Misconfigured

if TYPE_CHECKING:
    from bench.traffic import Asked, Traffic

MOST_DOCUMENTS = 20_000_000


class CannotWrite(Misconfigured):
    """The file cannot be written."""

    reason = "cannot_write"
    remedy = "Name a file in a folder that is there and may be written to."


class TooMuch(Misconfigured):
    """More was asked for than this machine's memory takes."""

    reason = "too_much_traffic"
    remedy = "Ask for fewer days, subjects or mentions, or run it several times with other seeds."


@click.command()
@click.option("--days", type=click.IntRange(1, 400), default=7, show_default=True, help="How long.")
@click.option(
    "--subjects", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Companies of the catalogue."
)
@click.option("--surges", type=click.IntRange(0), default=10, show_default=True, help="Real ones, to be found.")
@click.option("--storms", type=click.IntRange(0), default=5, show_default=True,
              help="Of copies, to be left alone; to three of them, one loud author.")  # fmt: skip
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="The same seed gives the same bytes."
)
@click.option(
    "--mentions", type=click.FloatRange(1, 1e5), default=200.0, show_default=True, help="A subject and day, on average."
)
@click.option(
    "--start", type=click.DateTime(["%Y-%m-%d"]), default="2026-01-05", show_default=True, help="First day, UTC."
)
@click.option("--as", "form", type=click.Choice(["documents", "counts"]), default="documents", show_default=True,
              help="Texts for push and replay, or counts a subject and minute.")  # fmt: skip
@click.option("-o", "--out", "file", type=click.Path(path_type=Path, dir_okay=False), required=True, metavar="FILE",
              help="Documents are JSONL; counts JSONL, or CSV for a .csv.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
@click.pass_context
def simulate(
    ctx: click.Context, days: int, subjects: int, surges: int, storms: int, seed: int, mentions: float, start: datetime,
    form: str, file: Path, as_json: bool,
) -> None:  # fmt: skip
    """Make realistic traffic whose surges are known; they are told in FILE.truth.jsonl."""
    from bench import traffic as world
    from bench import traffic_texts as words
    from stream.names import subjects as catalogue

    if days * subjects * mentions > MOST_DOCUMENTS:
        raise TooMuch(
            f"That would be about {days * subjects * mentions:,.0f} documents; {MOST_DOCUMENTS:,} is the most."
        )
    known = catalogue.load([catalogue.FOLDER, *map(Path, the_settings(ctx).catalogues)])
    named = words.nameable(list(known.subjects.values()))
    if subjects > len(named):
        raise TooMuch(
            f"The catalogue has {len(named)} companies with names of their own.", remedy="Ask for fewer subjects."
        )
    asked = world.Asked(
        days=days, subjects=_chosen(named, subjects, seed), surges=surges, storms=storms, seed=seed, mentions_a_day=mentions,
        start_ms=round(start.replace(tzinfo=UTC).timestamp() * 1000),
    )  # fmt: skip
    made = world.simulate(asked)
    truth = file.with_name(file.name + ".truth.jsonl")
    try:
        if form == "counts":
            _write_counts(file, made, asked)
        else:
            _write_lines(file, words.documents(made, asked))
        _write_lines(truth, made.truth)
    except OSError as error:
        raise CannotWrite(f"{error.filename}: {error.strerror or error}.") from error
    kinds = [one["kind"] for one in made.truth]
    summary = {
        "file": str(file), "truth": str(truth), "documents": len(made.said), "subjects": subjects, "days": days, "seed": seed,
        "planted": {kind: kinds.count(kind) for kind in ("surge", "storm", "loud_author", "new_level", "holiday")},
    }  # fmt: skip
    if as_json:
        click.echo(msgspec.json.encode(summary).decode())
        return
    click.echo(f"{len(made.said):,} documents about {subjects} companies in {days} days: {file}")
    click.echo(f"{kinds.count('surge')} surges and {kinds.count('storm')} storms are planted: {truth}")


def _chosen(entries: list[Any], number: int, seed: int) -> list[Any]:
    import random

    return sorted(random.Random(seed).sample(entries, number), key=lambda entry: entry.id)  # noqa: S311 - a play


def _write_lines(file: Path, lines: Iterable[dict[str, Any]]) -> None:
    with file.open("wb") as to:
        for line in lines:
            to.write(msgspec.json.encode(line) + b"\n")


def _write_counts(file: Path, made: "Traffic", asked: "Asked") -> None:
    from bench.traffic import counts

    named = (
        {"subject": asked.subjects[one.subject].id, "timestamp": times.rfc3339(one.at_ms), "negatives": one.negatives,
         "mentions": one.mentions, "reach": one.reach}
        for one in counts(made)
    )  # fmt: skip
    if file.suffix != ".csv":
        _write_lines(file, named)
        return
    with file.open("w", encoding="utf-8", newline="") as to:
        writer = csv.DictWriter(to, ["subject", "timestamp", "negatives", "mentions", "reach"])
        writer.writeheader()
        writer.writerows(named)
