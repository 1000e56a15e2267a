"""`groundswell packs list | show NAME | check FOLDER`: what the domain packs add, and whether one does what it says."""

from collections import Counter
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from groundswell.terminal import out
from groundswell.text import safe

LANGUAGES = ("en", "zh")
TEXT_CHARS = 60


@click.group()
def packs() -> None:
    """Domain packs: topics, names and words of one industry."""


@packs.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """The packs that come with Groundswell."""
    from stream.names import packs as domain

    found = [domain.read(domain.locate(name)) for name in domain.shipped()]
    if as_json:
        rows = [
            {"name": pack.name, "title": pack.title, "version": pack.version, "topics": [one.id for one in pack.topics]}
            for pack in found
        ]
        click.echo(msgspec.json.encode(rows).decode())
        return
    table = Table("name", "title", "topics", "phrases", "rules", box=None)
    for pack in found:
        table.add_row(pack.name, f"{pack.title['en']} {pack.title['zh']}", str(len(pack.topics)),
                      str(len(domain.phrases_of(pack))), str(len(pack.rules)))  # fmt: skip
    out().print(table, markup=False)
    click.echo('Use them: GROUNDSWELL_PACKS=banking,nev, or packs = ["banking"] in groundswell.toml.')


@packs.command()
@click.argument("name")
def show(name: str) -> None:
    """What the pack NAME (or the one in this folder) holds."""
    from stream.names import packs as domain

    pack = domain.read(domain.locate(name))
    out().print(safe(f"{pack.title['en']} {pack.title['zh']}, {pack.version}, in {pack.folder}", 300), markup=False)
    table = Table("topic", "en", "zh", "phrases en", "phrases zh", "for example", box=None)
    for topic in pack.topics:
        counts = {lang: len(topic.phrases.get(lang, ())) + len(topic.weak.get(lang, ())) for lang in LANGUAGES}  # type: ignore[call-overload]
        some = [phrase for lang in LANGUAGES for phrase in topic.phrases.get(lang, [])[:2]]  # type: ignore[call-overload]
        table.add_row(f"{pack.name}:{topic.id}", *(safe(topic.title[lang], 60) for lang in LANGUAGES),  # type: ignore[index]
                      str(counts["en"]), str(counts["zh"]), safe(", ".join(some), 120))  # fmt: skip
    out().print(table, markup=False)
    rules = Table("rule", "leans to", "phrases", box=None)
    for rule in pack.rules:
        rules.add_row(rule.id, rule.polarity, safe(", ".join(p for each in rule.phrases.values() for p in each), 160))
    if pack.rules:
        out().print(rules, markup=False)
    words = {name: sum(map(len, getattr(pack.lexicon, name).values())) for name in ("negative", "positive")}
    click.echo(f"Lexicon: {words['negative']} negative and {words['positive']} positive words.")


@packs.command()
@click.argument("folder")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(folder: str, as_json: bool) -> int:
    """Run the examples of the pack in FOLDER (or of a shipped one) and compare it with the catalogue.

    Exit status 1 when an example fails or something must be set right."""
    from stream.names import packs as domain
    from stream.names.pack_check import check as run

    report = run(domain.locate(folder) if not Path(folder).is_dir() else Path(folder))
    if as_json:
        click.echo(msgspec.json.encode(_as_json(report)).decode())
        return int(report.failed)
    out().print(_passed(report), markup=False)
    for outcome in report.outcomes:
        if outcome.wrong:
            click.echo(f"NO  examples.jsonl:{outcome.line}  {safe(outcome.example.text, TEXT_CHARS)}")
            for wrong in outcome.wrong:
                click.echo(f"      {safe(wrong, 200)}")
    for finding in report.findings:
        click.echo(
            f"{'NO ' if finding.serious else '-- '} {finding.place}: {safe(f'{finding.what} {finding.remedy}', 300)}"
        )
    right = sum(not outcome.wrong for outcome in report.outcomes)
    click.echo(
        f"{report.pack.version}: {right} of {len(report.outcomes)} examples pass; adds {len(report.pack.topics)} topics, "
        f"{report.subjects} subjects and {report.names} names."
    )
    return int(report.failed)


def _passed(report: Any) -> Table:
    """A row a topic: how many of its examples pass, by language; then what must find nothing, and the traps."""
    passed: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    for outcome in report.outcomes:
        rows = [*(outcome.example.topics or ["(no topic)"]), *(["(traps)"] if outcome.example.trap else [])]
        for row in rows:
            total[row, outcome.lang] += 1
            passed[row, outcome.lang] += not outcome.wrong
    table = Table("topic", *LANGUAGES, box=None)
    for row in (*(topic.id for topic in report.pack.topics), "(no topic)", "(traps)"):
        table.add_row(row, *(f"{passed[row, lang]} of {total[row, lang]}" for lang in LANGUAGES))
    return table


def _as_json(report: Any) -> dict[str, Any]:
    return {
        "pack": report.pack.name,
        "version": report.pack.version,
        "failed": report.failed,
        "examples": len(report.outcomes),
        "failures": [
            {"line": outcome.line, "text": outcome.example.text, "wrong": outcome.wrong}
            for outcome in report.outcomes
            if outcome.wrong
        ],
        "findings": [finding._asdict() for finding in report.findings],
        "topics": [topic.id for topic in report.pack.topics],
        "subjects": report.subjects,
        "names": report.names,
    }
