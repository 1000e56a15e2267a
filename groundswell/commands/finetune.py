"""`groundswell finetune FILE`: a model learns a user's own labelled texts; models/learn/finetune.py does it, docs/finetune.md tells.

This file joins what may not know each other: the linker of stream finds the names that models swaps in training.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from groundswell.commands.model import FOLDER, data_folder
from groundswell.commands.processes import the_settings
from groundswell.terminal import out
from groundswell.text import safe


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--adapter",
    "kind",
    type=click.Choice(["lora", "full"]),
    default="lora",
    show_default=True,
    help="A small file that changes the base, or a whole model.",
)
@click.option("--base", default="bundled", show_default=True, help="What is adapted: bundled, or a folder.")
@click.option("--out", "made", type=FOLDER, help="Folder of what is made.  [default: build/finetuned/FILE-lora]")
@click.option(
    "--epochs", type=click.IntRange(1, 100), default=6, show_default=True, help="At most; it stops when nothing gains."
)
@click.option("--rank", type=click.IntRange(1, 128), default=8, show_default=True, help="Of the adapter's matrices.")
@click.option(
    "--rehearse",
    type=click.FloatRange(0, 20),
    default=1.0,
    show_default=True,
    help="Texts of the model's own to one of yours, at least 1,500; 0: none, and it forgets more.",
)
@click.option("--data", type=FOLDER, help="Folder with the public labelled sets: rehearsed and measured as well.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON only.")
@click.pass_context
def finetune(
    ctx: click.Context,
    file: Path,
    kind: Any,
    base: str,
    made: Path | None,
    epochs: int,
    rank: int,
    rehearse: float,
    data: Path | None,
    as_json: bool,
) -> None:
    """Teach a model your own labelled texts, and measure what that brings and what it costs.

    FILE is .csv or .jsonl (or .gz of it) with `text`, and `label` or `topics` or both; if you like `entity` (the
    company whose polarity `label` is), `title`, `lang` and `split` (train, dev, test). docs/finetune.md says more.

    Use what is made with GROUNDSWELL_MODEL=FOLDER, or --model FOLDER.
    """
    from models.learn.finetune import finetune as run
    from models.learn.student import Plan
    from stream.names import entities

    names = entities.load_for(the_settings(ctx))

    def link(text: str) -> Sequence[tuple[int, int]]:
        return [(found.start, found.end) for found in entities.link(names, text) if found.start >= 0]

    folder = made or Path("build/finetuned") / f"{file.name.split('.')[0] or 'yours'}-{kind}"
    plan = Plan(kind=kind, epochs=epochs, rank=rank, alpha=2.0 * rank, rehearsed=rehearse)
    report = run(file, folder, base=base, plan=plan, public=data_folder(ctx, data), link=link)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        show(report, out())


def show(report: dict[str, Any], console: Console) -> None:
    """Gain and cost for people: your own test side, the standing sets, one sentence."""
    from models.learn.before_after import FIGURES, number, points

    home = Table("your test side", "before", "after", box=box.SIMPLE_HEAD)
    for name, (before, after) in report["yours"]["figures"].items():
        home.add_row(FIGURES[name], number(before), Text(number(after), style="bold"))
    console.print(home)
    if report["standing"]:
        table = Table("elsewhere", "texts", "figure", "before", "after", "change", box=box.SIMPLE_HEAD)
        for row in report["standing"]:
            change = Text(points(row["change"]), style="bold red" if row["worse"] else "")
            figures = (number(row["before"]), number(row["after"]))
            table.add_row(row["set"], f"{row['n']:,}", FIGURES[row["figure"]], *figures, change)
        console.print(table)
    console.print(Text(safe(report["verdict"], 600), style="bold"))
    if report["plain_sentences"]:
        console.print(Text("It answers plain sentences wrongly and will be refused when it is to serve:"))
        console.print(Text(report["plain_sentences"]))
    made = safe(report["out"], 400)
    console.print(Text(f"Made {made} (README.md, report.json). Use it: GROUNDSWELL_MODEL={made}"))
