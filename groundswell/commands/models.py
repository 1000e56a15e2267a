"""`groundswell models list | show | check`: which models this machine has, what they say of themselves, and whether they are right."""

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from groundswell.commands.processes import the_settings
from groundswell.errors import BrokenModel, GroundswellError
from groundswell.terminal import out
from groundswell.text import safe

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
KINDS = {
    "own": "Groundswell's own format",
    "adapter": "an adapter on another model",
    "classifier": "a transformers classifier",
}


@click.group()
def models() -> None:
    """Which models there are, and whether they can be believed.

    NAME is `bundled`, a folder, or a hub id (org/name, or org/name@revision) of a transformers sentiment classifier.
    """


@models.command(name="list")
@json_option
@click.pass_context
def list_(ctx: click.Context, as_json: bool) -> None:
    """List the bundled model, the one that is set, and every sentiment classifier in this machine's hub cache."""
    from models import catalog, hub

    chosen = the_settings(ctx).model
    names = [catalog.BUNDLED, *([chosen] if chosen != "scripted" else [])]
    names += [name for name, folder in hub.cached() if _classifies(folder)]
    rows = []
    for name in dict.fromkeys(names):
        try:
            rows.append({"name": name, "in_use": name == chosen, **facts(name, hashed=False), "wrong": ""})
        except GroundswellError as error:
            rows.append({"name": name, "in_use": name == chosen, "wrong": str(error)})
    if as_json:
        click.echo(msgspec.json.encode(rows).decode())
        return
    table = Table("", "name", "kind", "MB", "labels, in their order", "wrong", box=None)
    for row in rows:
        table.add_row(
            "*" if row["in_use"] else "", Text(safe(row["name"])), str(row.get("kind", "")), f"{row.get('megabytes', '')}",
            Text(", ".join(safe(label, 30) for label in row.get("labels", ()))), Text(safe(row["wrong"], 160)),
        )  # fmt: skip
    out().print(table)
    click.echo("* is in use (setting `model`). `groundswell models check NAME` asks one plain sentences.")


@models.command()
@click.argument("name", required=False)
@json_option
@click.pass_context
def show(ctx: click.Context, name: str | None, as_json: bool) -> None:
    """What a model says of itself: kind, version, size, what its labels mean, topics. Its weights are not opened."""
    found = facts(name or the_settings(ctx).model)
    if as_json:
        click.echo(msgspec.json.encode(found).decode())
    else:
        describe(found, out())


@models.command()
@click.argument("name", required=False)
@click.option("--download", is_flag=True, help="Fetch a hub id that this machine does not hold (safetensors only).")
@json_option
@click.pass_context
def check(ctx: click.Context, name: str | None, download: bool, as_json: bool) -> int:
    """Load a model and ask it plain sentences. Exit status 1 when it answers wrongly and would be refused."""
    from models import catalog

    settings = the_settings(ctx)
    name = name or settings.model
    catalog.verify(catalog.locate(name, download=download or settings.model_download))
    from models import loading, sanity

    found, refused = facts(name), None
    try:
        loaded, answers = loading.load_and_ask(name)
        found |= {
            "version": loaded.config.version,
            "languages": list(loaded.config.languages),
            "runs": loaded.describe(),
        }
    except sanity.WrongAnswers as error:
        answers, refused = list(error.answers), error
    if as_json:
        told = [
            {"lang": one.lang, "text": one.text, "wanted": one.wanted, "got": one.tag.polarity}
            | {name: getattr(one.tag, name) for name in ("negative", "neutral", "positive")}
            for one in answers
        ]
        click.echo(msgspec.json.encode({**found, "answers": told, "refused": str(refused or "")}).decode())
        return 1 if refused else 0
    console = out()
    describe(found, console)
    console.print(sentences(answers))
    if refused:
        console.print(Text(safe(f"Refused: {refused.what} {refused.remedy}", 600), style="bold red"))
        return 1
    sure = ", ".join(language for language in found["languages"] if language != "other")
    console.print(Text(f"It can be used; its answers can be sure in {sure}.", style="bold green"))
    return 0


def facts(name: str, *, hashed: bool = True) -> dict[str, Any]:
    """What can be told without running the weights. Raises UnknownModel or BrokenModel."""
    from models import adapter, catalog, classifier_folder

    folder = catalog.locate(name)
    weights = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    told: dict[str, Any] = {"name": name, "folder": str(folder), "megabytes": round(weights / 1e6, 1)}
    if catalog.is_classifier(folder):
        found = classifier_folder.read(folder)
        found = classifier_folder.hashed(found, folder) if hashed else found
        return told | {
            "kind": "classifier", "version": found.version, "labels": found.labels,
            "sentiments": found.sentiments, "topics": found.topics, "languages": [],
        }  # fmt: skip
    config = catalog.check(folder)
    return told | {
        "kind": "adapter" if adapter.is_one(folder) else "own", "version": config.version, "labels": config.sentiments,
        "sentiments": config.sentiments, "topics": config.topics, "languages": list(config.languages),
    }  # fmt: skip


def describe(found: dict[str, Any], console: Console) -> None:
    table = Table("", "", box=None, show_header=False)
    pairs = zip(found["labels"], found["sentiments"], strict=True)
    meant = ", ".join(f"{n} {safe(label, 30)} = {meaning}" for n, (label, meaning) in enumerate(pairs))
    if "neutral" not in found["sentiments"]:
        meant += "; it knows no neutral, so neutral is always 0"
    known = ", ".join(found["languages"]) or "not known before it is asked: `groundswell models check`"
    for key, value in (
        ("name", found["name"]), ("kind", KINDS[found["kind"]]), ("version", found["version"]), ("folder", found["folder"]),
        ("size", f"{found['megabytes']} MB"), ("labels", meant), ("languages", known), ("topics", ", ".join(found["topics"])),
        *([("runs", found["runs"])] if "runs" in found else []),
    ):  # fmt: skip
        table.add_row(Text(key, style="dim"), Text(safe(value, 400)))
    console.print(table)


def sentences(answers: Any) -> Table:
    """What the model said of each plain sentence."""
    table = Table("", "lang", "wanted", "said", "negative", "neutral", "positive", "sentence", box=None)
    for one in answers:
        table.add_row(
            Text("wrong", style="bold red") if one.missed else Text("right", style="green"), one.lang, one.wanted, one.tag.polarity,
            *(f"{getattr(one.tag, name):.2f}" for name in ("negative", "neutral", "positive")), Text(one.text),
        )  # fmt: skip
    return table


def _classifies(folder: Path) -> bool:
    from models import classifier_folder

    try:
        return classifier_folder.is_one(folder) and classifier_folder.says_it_classifies(folder)
    except BrokenModel:
        return False
