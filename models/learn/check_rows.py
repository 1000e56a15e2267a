"""Checks the sentences written for training and evaluation: grid, balance, copies, slots, leaks; next: rows.py.

`python -m models.learn.check_rows [--data DIR] [--json]`. With the folder of the public sets it also looks for any run of
words that a row has in common with one of their texts. The exit status is 1 when there is a problem.
"""

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from groundswell import terminal
from groundswell.text import fold, normalise, safe
from models.labels import SENTIMENTS, TOPICS
from models.learn import near_copies, rows

LANGUAGES = ("en", "zh")
REGISTERS = ("wire", "notice", "forum", "rumour")
EVALUATED = ("pairs", "calm", "swaps")
ENOUGH_IN_A_CELL = 3
# Jaccard similarity from which two rows of one label teach the same thing, and from which a row that is learned from
# gives away a row that is measured with.
ALIKE = 0.6
GIVES_AWAY = 0.5

Kind = Literal["unreadable", "untidy", "slot", "filler", "cell", "copy", "conflict", "given away", "leak"]


class Line(msgspec.Struct, frozen=True):
    """One text of the files: a skeleton with its part, or a text that is only measured with (`part` is its file)."""

    file: str
    language: str
    text: str
    label: str
    part: str

    @property
    def masked(self) -> str:
        return rows.SLOT.sub(" X ", self.text)

    @property
    def between(self) -> list[str]:
        """What stands between the slots: runs across a slot are nobody's."""
        return [text for n, text in enumerate(rows.SLOT.split(self.text)) if n % 2 == 0]

    @property
    def learned(self) -> bool:
        return self.part in {"train", "dev"}


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with one text, and what it collides with."""

    kind: Kind
    file: str
    text: str
    why: str


class Language(msgspec.Struct, frozen=True):
    """How the skeletons of one language are spread. `thin_cells` holds those of topic, label and register that have
    fewer than ENOUGH_IN_A_CELL; `contrasts` counts near copies that differ in their label, which is what they are for."""

    skeletons: int
    parts: dict[str, int]
    labels: dict[str, int]
    registers: dict[str, int]
    hard: dict[str, int]
    topics: dict[str, int]
    thin_cells: dict[str, int]
    contrasts: int


class Report(msgspec.Struct, frozen=True):
    """All that was found. `data` is the folder that leaks were looked for in, if any."""

    languages: dict[str, Language]
    evaluated: dict[str, int]
    problems: list[Problem]
    data: str | None


def check(folder: Path = rows.FOLDER, data: Path | None = None) -> Report:
    """Everything at once; reads the whole of `data`, which takes seconds. Raises nothing for what is wrong in a row."""
    problems: list[Problem] = []
    skeletons = {language: list(skeletons_of(folder, language, problems)) for language in LANGUAGES}
    evaluated = list(evaluated_of(folder, problems))
    spread, every = {}, list(evaluated)
    for language, found in skeletons.items():
        fillers = rows.slots(language, folder)
        lines = [line_of(row, language) for row in found]
        both = [*lines, *translations_of(folder, language, problems)]
        every += both
        problems += shared_fillers(language, fillers)
        problems += [problem for line in both for problem in unfit(line, fillers)]
        problems += copies(both)
        problems += given_away(both, [line for line in evaluated if line.language == language])
        spread[language] = spread_of(found, lines)
        problems += [
            Problem("cell", f"{language}.jsonl", cell, "no row")
            for cell, n in spread[language].thin_cells.items()
            if not n
        ]
    problems += [problem for line in evaluated for problem in unfit(line, rows.slots(line.language, folder))]
    if data:
        problems += leaks(every, data)
    return Report(spread, dict(Counter(line.file for line in evaluated)), problems, str(data) if data else None)


def skeletons_of(folder: Path, language: str, problems: list[Problem]) -> Iterator[rows.Row]:
    """The rows of one language, with those that `rows.load` drops or refuses among the problems."""
    name = f"{language}.jsonl"
    try:
        known = rows.load(language, folder)
    except rows.BadRow as error:
        problems.append(Problem("unreadable", name, "", str(error)))
        return
    counts = Counter(
        msgspec.json.decode(line, type=rows.Row).skeleton
        for line in (folder / name).read_bytes().splitlines()
        if line.strip()
    )
    problems += [Problem("copy", name, text, f"there {n} times") for text, n in counts.items() if n > 1]
    yield from known


def line_of(row: rows.Row, language: str) -> Line:
    return Line(f"{language}.jsonl", language, row.skeleton, row.label, rows.part_of(row.skeleton))


def translations_of(folder: Path, language: str, problems: list[Problem]) -> Iterator[Line]:
    """The translations into one language: learned from, whatever their own hash says."""
    name = f"{language}_translated.jsonl"
    try:
        known = rows.translated(language, folder)
    except rows.BadRow as error:
        if str(error) not in {problem.why for problem in problems}:  # the originals may be what cannot be read
            problems.append(Problem("unreadable", name, "", str(error)))
        return
    yield from (Line(name, language, row.skeleton, row.label, "train") for row in known)


def evaluated_of(folder: Path, problems: list[Problem]) -> Iterator[Line]:
    """The texts that are only measured with: a pair is two of them."""
    for part in EVALUATED:
        name = f"{part}.jsonl"
        for number, raw in enumerate((folder / name).read_bytes().splitlines(), 1):
            try:
                row = msgspec.json.decode(raw, type=dict[str, str | list[str]])
                label = str(row.get("label", "neutral"))
                texts = (
                    {language: row[language] for language in LANGUAGES}
                    if part == "pairs"
                    else {str(row["lang"]): row["text" if part == "calm" else "skeleton"]}
                )
            except (msgspec.DecodeError, UnicodeDecodeError, KeyError) as error:
                problems.append(Problem("unreadable", name, "", f"line {number}: {error}."))
                continue
            yield from (Line(name, language, str(text), label, part) for language, text in texts.items())


def unfit(line: Line, fillers: dict[str, dict[str, list[str]]]) -> Iterator[Problem]:
    """What would make a filled text other than it was meant."""
    text = line.text
    if text != text.strip() or "\t" in text or normalise(text) != text:
        yield Problem("untidy", line.file, text, "tabs, blanks at its ends or characters that normalising changes")
    if re.search(r"[{}]", rows.SLOT.sub("", text)):
        yield Problem("slot", line.file, text, "braces that hold no slot")
    for slot in dict.fromkeys(rows.SLOT.findall(text)):
        pool = "NAME" if slot in rows.LETTERS else slot
        if missing := [part for part in ("train", "test") if not fillers.get(part, {}).get(pool)]:
            yield Problem("slot", line.file, text, f"no fillers for {slot} in {' and '.join(missing)}")


def shared_fillers(language: str, fillers: dict[str, dict[str, list[str]]]) -> Iterator[Problem]:
    for slot, pool in fillers["train"].items():
        known = set(map(fold, pool))
        for filler in fillers["test"].get(slot, ()):
            if fold(filler) in known:
                yield Problem("filler", f"slots_{language}.json", filler, f"fills {slot} in train and in test")


def copies(lines: list[Line]) -> Iterator[Problem]:
    """Skeletons of one language that are too alike; the one named first is the one to drop."""
    for a, b, similarity in near_copies.near_copies([line.masked for line in lines], GIVES_AWAY):
        one, other = lines[a], lines[b]
        if one.label != other.label:
            if fold(one.masked) == fold(other.masked) and similarity == 1:
                yield Problem("conflict", other.file, other.text, f"{other.label}, but {one.label}: {one.text}")
        elif one.learned != other.learned:
            kept, dropped = (one, other) if other.learned else (other, one)
            yield Problem("given away", dropped.file, dropped.text, f"test, {similarity:.2f} alike: {kept.text}")
        elif similarity >= ALIKE:
            yield Problem("copy", other.file, other.text, f"{similarity:.2f} alike: {one.text}")


def given_away(lines: list[Line], evaluated: list[Line]) -> Iterator[Problem]:
    """Skeletons that are learned from and that a text of the evaluation files repeats."""
    learned = [line for line in lines if line.learned]
    met = {
        (a, b - len(learned)): f"{similarity:.2f} alike"
        for a, b, similarity in near_copies.near_copies([line.masked for line in (*learned, *evaluated)], GIVES_AWAY)
        if a < len(learned) <= b
    }
    for a, b in near_copies.contained([line.between for line in learned], [line.masked for line in evaluated]):
        met.setdefault((a, b), "contained")
    where: defaultdict[str, set[int]] = defaultdict(set)
    for b, line in enumerate(evaluated):
        for run in runs_of(line):
            where[run].add(b)
    for a, line in enumerate(learned):
        for run in runs_of(line):
            for b in where.get(run, ()):
                met.setdefault((a, b), f"shares “{run}”")
    for (a, b), how in sorted(met.items()):
        yield Problem(
            "given away", learned[a].file, learned[a].text, f"{evaluated[b].part}, {how}: {evaluated[b].text}"
        )


def runs_of(line: Line) -> Iterator[str]:
    return (run for text in line.between for run in near_copies.runs(text))


def leaks(lines: list[Line], data: Path) -> Iterator[Problem]:
    """Texts that share a run of words with some text of the data folder, each with its first such run."""
    wanted: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        for run in runs_of(line):
            wanted[run].append(line)
    told = set()
    for run, file in near_copies.runs_in(data, wanted).items():
        for line in wanted[run]:
            if line not in told:
                told.add(line)
                yield Problem("leak", line.file, line.text, f"{file}: “{run}”")


def spread_of(found: list[rows.Row], lines: list[Line]) -> Language:
    cells = Counter((topic, row.label, row.register) for row in found for topic in row.topics)
    contrasts = sum(
        lines[a].label != lines[b].label for a, b, _ in near_copies.near_copies([line.masked for line in lines], ALIKE)
    )
    return Language(
        len(found),
        dict(Counter(line.part for line in lines).most_common()),
        dict(Counter(row.label for row in found).most_common()),
        dict(Counter(row.register for row in found).most_common()),
        dict(Counter(row.hard for row in found if row.hard).most_common()),
        dict(Counter(topic for row in found for topic in row.topics).most_common()),
        {
            f"{topic}, {label}, {register}": cells[topic, label, register]
            for topic in TOPICS
            for label in SENTIMENTS
            for register in REGISTERS
            if cells[topic, label, register] < ENOUGH_IN_A_CELL
        },
        contrasts,
    )


def show(report: Report, console: Console) -> None:
    """The report for people: how rows are spread, side by side, then every problem."""
    table = Table("", *report.languages, box=box.SIMPLE_HEAD)
    spreads = list(report.languages.values())
    table.add_row("skeletons", *(f"{spread.skeletons:,}" for spread in spreads))
    for field in ("parts", "labels", "registers", "hard", "topics"):
        table.add_section()
        counts = [getattr(spread, field) for spread in spreads]
        for name in dict.fromkeys(name for each in counts for name in each):
            shares = (
                f"{each.get(name, 0):>5,} {each.get(name, 0) / max(1, spread.skeletons):>4.0%}"
                for each, spread in zip(counts, spreads, strict=True)
            )
            table.add_row(name, *shares)
    table.add_section()
    table.add_row("contrasts: alike, labels differ", *(f"{spread.contrasts:>5,}" for spread in spreads))
    table.add_row(f"cells under {ENOUGH_IN_A_CELL}", *(f"{len(spread.thin_cells):>5,}" for spread in spreads))
    console.print(table)
    for language, spread in report.languages.items():
        for cell, n in spread.thin_cells.items():
            console.print(f"{language}: {n} for {cell}", highlight=False)
    console.print("Measured with: " + ", ".join(f"{n} texts in {name}" for name, n in report.evaluated.items()))
    if report.problems:
        problems = Table("kind", "file", "text", "why", box=box.SIMPLE_HEAD)
        for problem in report.problems:
            problems.add_row(problem.kind, problem.file, safe(problem.text), safe(problem.why))
        console.print(problems)
    where = f"leaks looked for in {report.data}" if report.data else "leaks not looked for: no --data"
    console.print(
        f"{len(report.problems) or 'No'} problem{'s' * (len(report.problems) != 1)}; {where}.", highlight=False
    )


@click.command()
@click.option(
    "--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of the public sets."
)
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
def main(data: Path | None, as_json: bool) -> None:
    """Check the own-written rows of models/rows."""
    report = check(data=data)
    if as_json:
        click.echo(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        show(report, terminal.out())
    sys.exit(1 if report.problems else 0)


if __name__ == "__main__":
    main()
