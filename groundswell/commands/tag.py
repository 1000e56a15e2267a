"""`groundswell tag-text` and `tag-file`: what the model says of one text or of a file of them; next: answers.py.

They take the same steps as the stream, without it: no broker, no Redis. A file is read, tagged and written batch by
batch, two at a time on their way, so that any size fits.
"""

import asyncio
import csv
import gzip
import io
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from groundswell import feed, telemetry
from groundswell.commands.processes import the_model, the_settings
from groundswell.errors import Misconfigured, ModelCrash, NotJson, Refused
from groundswell.settings import Settings
from groundswell.terminal import out
from groundswell.text import safe

BATCH = 64
SHOWN_PROBLEMS = 20
model_option = click.option(
    "--model", help="bundled, a folder, or a hub id that this machine holds; default: the setting."
)


class BadOutput(Misconfigured):
    """The output cannot be written there."""

    reason = "bad_output"
    remedy = "Name another file; its ending decides: .jsonl or .csv, and .gz after it."


@click.command(name="tag-text")
@click.argument("text")
@click.option("--title", default="", help="The headline; it weighs most.")
@model_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def tag_text(ctx: click.Context, text: str, title: str, model: str | None, as_json: bool) -> None:
    """What the model says of TEXT (- reads standard input): polarity, topics, each company, the sentence that decided."""
    from groundswell.commands import answer_view, answers
    from stream.names import entities

    settings = quiet(ctx, model)
    catalogue = entities.load_for(settings)
    words = sys.stdin.buffer.read().decode("utf-8", "replace") if text == "-" else text
    asked = answers.ask({"text": words, "title": title}, catalogue)

    async def run() -> answers.Answer:
        tagger = with_packs(settings)
        await tagger.start()
        try:
            (tag,) = await tagger.tag([asked.text])
        finally:
            await tagger.stop()
        if tag is None:
            raise ModelCrash("The model process died twice on this text.")
        return answers.answer(asked, tag, catalogue, tagger.version)

    found = asyncio.run(run())
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        answer_view.show(found, out())


@click.command(name="tag-file")
@click.argument("file")
@model_option
@click.option("--out", "target", help="Write there: JSONL, or CSV when it ends in .csv; .gz packs it.")
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="OURS=THEIRS",
    help="Another column name: --map text=body --map title=head",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSONL; with --out, the summary as JSON.")
@click.pass_context
def tag_file(
    ctx: click.Context, file: str, model: str | None, target: str | None, columns: tuple[str, ...], as_json: bool
) -> int:
    """What the model says of each text of FILE, in a file (--out) or a line each.

    FILE is CSV or JSONL with `text` (if you like also `title`, `lang`, `id`), or .txt with one text a line; .gz too; -
    reads standard input.

    Lines that cannot be read are told with their number and skipped. Exit status 0: all tagged; 1: some were skipped.
    """
    settings = quiet(ctx, model)
    mapping = feed.parse_map(columns)
    feed.size(file)  # a file that is not there is told before the model is loaded
    if target and file != "-" and Path(target).resolve() == Path(file).resolve():
        raise BadOutput(f"{target} is the file to read.")
    with writer(target, as_json=as_json) as write:
        summary = asyncio.run(_tag(settings, file, mapping, write))
    if target and as_json:
        click.echo(msgspec.json.encode(summary).decode())
    else:
        click.echo(sentence(summary, file, target), err=True)
    return 1 if summary["skipped"] or not summary["tagged"] else 0


def quiet(ctx: click.Context, model: str | None) -> Settings:
    """Settings of a command for people: the log says only what went wrong."""
    settings = the_settings(ctx, model=model)
    telemetry.configure(settings.log, "warning", stage="model")
    return settings


def with_packs(settings: Settings) -> Any:
    from stream.names import pack_answers

    return pack_answers.with_packs(settings, the_model(settings))


async def _tag(settings: Settings, file: str, mapping: dict[str, str], write: Callable[[Any], None]) -> dict[str, Any]:
    from groundswell.commands import answers
    from stream.names import entities

    catalogue, tagger = entities.load_for(settings), with_packs(settings)
    tagged, skipped, total = Counter[str](), 0, feed.size(file)
    console = Console(stderr=True)

    def skip(number: int, error: Refused) -> None:
        nonlocal skipped
        skipped += 1
        if skipped <= SHOWN_PROBLEMS:
            progress.console.print(Text(safe(f"line {number}: {error} {error.remedy}", 300)), soft_wrap=True)
        if skipped == SHOWN_PROBLEMS + 1:
            progress.console.print("Further lines are only counted.")

    async def finish(batch: list[answers.Asked], running: asyncio.Task[Any], position: int) -> None:
        for asked, tag in zip(batch, await running, strict=True):
            if tag is None:
                skip(asked.line, ModelCrash())
                continue
            tagged[tag.polarity] += 1
            write(answers.answer(asked, tag, catalogue, tagger.version))
        rate = sum(tagged.values()) / max(time.monotonic() - started_s, 1e-3)
        progress.update(task, completed=position, rate=f"{sum(tagged.values()):,} texts, {rate:,.0f}/s")

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"),
               TimeRemainingColumn())  # fmt: skip
    on_the_way: deque[tuple[list[answers.Asked], asyncio.Task[Any], int]] = deque()
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("tag", total=total, rate="loading the model")
        await tagger.start()
        try:
            started_s, batch = time.monotonic(), list[answers.Asked]()
            for line in feed.read(file, mapping):
                try:
                    if line.fields is None:
                        raise NotJson("It is not a JSON object.", remedy="One JSON object a line.")
                    batch.append(answers.ask(line.fields, catalogue, line.number))
                except Refused as error:
                    skip(line.number, error)
                if len(batch) == BATCH:
                    on_the_way.append(
                        (batch, asyncio.create_task(tagger.tag([one.text for one in batch])), line.position)
                    )
                    batch = []
                    await asyncio.sleep(0)
                if len(on_the_way) > 1:
                    await finish(*on_the_way.popleft())
            if batch:
                on_the_way.append((batch, asyncio.create_task(tagger.tag([one.text for one in batch])), total or 0))
            while on_the_way:
                await finish(*on_the_way.popleft())
            seconds = time.monotonic() - started_s
            progress.update(task, completed=total or 1, total=total or 1)
        finally:
            for _, running, _ in on_the_way:
                running.cancel()
            await tagger.stop()
    count = sum(tagged.values())
    return {
        "tagged": count, "skipped": skipped, "polarity": dict(tagged), "seconds": round(seconds, 2),
        "docs_per_s": round(count / max(seconds, 1e-3), 1), "model": tagger.version,
    }  # fmt: skip


@contextmanager
def writer(target: str | None, *, as_json: bool) -> Iterator[Callable[[Any], None]]:
    """Where each answer goes: a file, JSONL on standard output, or lines for people. A file is whole or not there."""
    from groundswell.commands import answer_view, answers

    if not target:
        console = out()
        yield (
            (lambda one: click.echo(msgspec.json.encode(one).decode()))
            if as_json
            else (lambda one: console.print(answer_view.line(one), no_wrap=True, overflow="ellipsis"))
        )
        return
    half = Path(f"{target}.part")
    try:
        with opened(half, packed=target.endswith(".gz")) as file:
            if target.removesuffix(".gz").endswith(".csv"):
                table = csv.writer(file)
                table.writerow(answers.COLUMNS)
                yield lambda one: table.writerow(answers.row(one))
            else:
                yield lambda one: print(msgspec.json.encode(one).decode(), file=file)
        half.replace(target)
    except OSError as error:
        raise BadOutput(f"{target} cannot be written: {error.strerror or error}.") from error
    finally:
        half.unlink(missing_ok=True)


def opened(path: Path, *, packed: bool) -> io.TextIOBase:
    """A text file to write, gzipped or not."""
    if packed:
        return gzip.open(path, "wt", encoding="utf-8", newline="")
    return path.open("w", encoding="utf-8", newline="")


def sentence(summary: dict[str, Any], file: str, target: str | None) -> str:
    shares = ", ".join(f"{summary['polarity'].get(name, 0):,} {name}" for name in ("negative", "neutral", "positive"))
    words = f"{summary['tagged']:,} texts tagged ({shares}) in {summary['seconds']} s, {summary['docs_per_s']:,.0f}/s"
    if target:
        words += f", written to {target}"
    if summary["skipped"]:
        words += f"; {summary['skipped']:,} lines skipped"
    if not summary["tagged"] and file.removesuffix(".gz").endswith((".csv", ".jsonl")):
        words += "; if the texts are in another column: --map text=COLUMN"
    return words + "."
