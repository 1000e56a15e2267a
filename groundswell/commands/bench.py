"""`groundswell bench NAME`: questions with measured answers; the measuring is in bench/, one file a question."""

import importlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from groundswell import telemetry
from groundswell.commands.processes import the_settings
from groundswell.terminal import out
from groundswell.text import safe

# Questions with arguments of their own: their --help lists them.
PASSED_ON = {
    "aggregate": "How many rows a second are counted, against Lua a row, HINCRBY and a Faust table; bytes, memory, latency.",
    "claims": "How many documents tag claims in a second, against what its model reads, and the bytes of each.",
    "deliver": "How fast alerts get to one endpoint and to 200, and what bad endpoints cost the good ones.",
    "detect": "The surge detector against its promises: --gate NAME.",
    "loop": "What PartitionLoop costs beside a bare getmany and send.",
    "ingest": "What the way in costs: one document a message, arrays of 100, a plain aiokafka loop.",
    "pages": "What 200 browsers cost the pages, and how soon a document moves the line.",
    "linking": "Which companies the linker finds in own-written sentences, and which it should not have.",
}


@click.group()
def bench() -> None:
    """Measure a part of Groundswell on this machine."""


@bench.command()
@click.option("--peers", is_flag=True, help="Measure OpenVINO and ONNX Runtime too; `make bench-peers` installs them.")
@click.option(
    "--peers-python",
    type=click.Path(path_type=Path),
    help="The Python that has them; default: .venv-peers beside the project.",
)
@click.option("--seconds", type=float, default=0.0, help="Go on for at least this long.")
@click.option("--rounds", type=click.IntRange(1), default=8, show_default=True, help="At least so many.")
@click.option("--window", type=click.IntRange(1), default=256, show_default=True, help="Texts in a round.")
@click.option(
    "--texts", "file", metavar="FILE", help="Texts of your own (as for tag-file); default: own-written ones, ever new."
)
@click.option("--model", default="bundled", show_default=True, help="bundled, or a folder.")
@click.option("--only", multiple=True, metavar="ROW", help="Only this row, as named in the JSON; may be given again.")
@click.option("--no-road", is_flag=True, help="Leave out the running tagger: start, memory, waits, Kafka to Kafka.")
@click.option("--picture", type=click.Path(path_type=Path), help="Draw the bars there: .svg or .png.")
@click.option("--assert", "strict", is_flag=True, help="Exit status 1 when a required figure is missed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
@click.pass_context
def tagger(
    ctx: click.Context, peers: bool, peers_python: Path | None, seconds: float, rounds: int, window: int, file: str | None,
    model: str, only: tuple[str, ...], no_road: bool, picture: Path | None, strict: bool, as_json: bool,
) -> int:  # fmt: skip
    """The tagger against transformers, OpenVINO and ONNX Runtime: same weights, same texts, one thread, CPU seconds."""
    from bench import tagger as question
    from bench import tagger_rounds, tagger_view

    telemetry.configure(the_settings(ctx).log, "warning", stage="bench")
    if unknown := set(only) - tagger_rounds.BY_NAME.keys():
        raise click.BadParameter(f"{min(unknown)} is none of {', '.join(tagger_rounds.BY_NAME)}", param_hint="--only")
    python = peers_python or question.PEERS_PYTHON
    asked = question.Asked(
        peers, seconds, rounds, window, file, model=model, only=only, road=not no_road, peers_python=python
    )
    with progress() as told:
        report = question.run(asked, told)
    if picture:
        tagger_view.draw(report, picture)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        tagger_view.show(report, out())
    return 1 if strict and any(promise["met"] is False for promise in report["promises"]) else 0


def passed_on(name: str, sentence: str) -> click.Command:
    """A command that hands all its arguments to `main` of bench/NAME.py, --help too."""

    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> int:
        status: int = importlib.import_module(f"bench.{name}").main(list(arguments))
        return status

    settings = {"ignore_unknown_options": True, "help_option_names": []}
    return click.command(name, help=sentence, add_help_option=False, context_settings=settings)(command)


for _name, _sentence in PASSED_ON.items():
    bench.add_command(passed_on(_name, _sentence))


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error where people watch; yields what the benchmark tells it to."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), BarColumn(24), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as shown:
        task = shown.add_task("", total=1.0)
        yield lambda what, share: shown.update(task, description=safe(what), completed=share)
