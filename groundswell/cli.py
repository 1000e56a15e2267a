"""The command line, in the order of the road. Only this file reads the environment; each command's module is loaded when it is called.

groundswell/commands/ is the edge of the program: it may import every part and puts them together. Nothing imports it.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from groundswell import __version__
from groundswell.errors import Fatal, GroundswellError

COMMANDS = {
    # try it
    "demo": ("demo", "Play a small world: history, a storm of copies, one surge; see the alert arrive."),
    "up": ("processes", "Run all five processes on this machine."),
    # the road
    "push": ("push", "Send documents from a file or standard input."),
    "ingest": ("processes", "Documents in: clean, time, link."),
    "tag": ("processes", "Find stories, topics and polarity."),
    "aggregate": ("processes", "Count, detect, open and close episodes."),
    "deliver": ("processes", "Hand alerts to their endpoints."),
    "dashboard": ("processes", "Serve the live page and the HTTP interface."),
    # look
    "watch": ("look", "A live view of subjects and alerts in this terminal."),
    "alerts": ("look", "List alerts."),
    "evidence": ("evidence", "What an alert stands on: show, decide again, export signed, verify."),
    "why": ("why", "Why a subject did not fire, and how much more it would have taken."),
    "accounting": ("look", "What became of every input, stage by stage."),
    "dead-letters": ("dead_letters", "List inputs that were refused, show one, send them again."),
    "deliveries": ("deliveries", "List delivery attempts, show one, send again what was missed."),
    "rebuild": ("rebuild", "Count what Redis shows again from Kafka."),
    "health": ("look", "Each part in words; the exit status tells."),
    # history
    "replay": ("replay", "Score a historical file as if it were happening."),
    "detect-series": ("series", "Find what is unusual in any series of numbers: CSV with timestamp,value."),
    "backtest": (
        "backtest",
        "How often it would have fired, on what, how early: the past played through the detector.",
    ),
    "shadow": ("shadow", "Run another sensitivity or new rules beside what is live; list the differences."),
    "import-history": ("history", "Teach a new installation what is usual, from counts or tagged records."),
    "simulate": ("simulate", "Make realistic traffic whose surges are known: documents or counts."),
    # alerts and people
    "ack": ("acks", "Say that somebody has seen an episode."),
    "unack": ("acks", "Take that back."),
    "feedback": ("feedback", "What people said of alerts and labels; rows to learn from."),
    "drill": ("drill", "Send a marked surge the whole road and see who hears of it."),
    "silences": ("silences", "Keep messages back for a time, list or end that."),
    "rules": ("rules", "Alerts by rules of your own: check a file, apply it, list, remove."),
    "endpoints": ("endpoints", "Add, list, test, change or remove the places that alerts go to."),
    "events": ("events", "Check a file of scheduled events: results, data releases."),
    "watchlist": ("watchlists", "Subjects to look at first: they get two fifths of the false-alarm budget."),
    "sensitivity": ("watchlists", "How much it takes to alert, for all subjects or for one."),
    # access
    "tokens": ("tokens", "Who may use the pages: add, list or remove tokens and their roles."),
    "audit": ("audit", "Who wrote what through the pages, who logged in, who was refused."),
    # set up
    "topology": ("setup", "Show the Kafka topics; --create makes them."),
    "settings": ("setup", "Show the settings in force."),
    "schema": ("setup", "Print the JSON Schema of a record."),
    "asyncapi": ("setup", "Print the AsyncAPI description of the public topics."),
    "secret-key": ("setup", "Make a key for endpoint secrets."),
    "secrets": ("secrets", "Seal endpoint secrets with a new key."),
    "doctor": ("setup", "What is missing or wrong in this set-up, and what to do."),
    "packs": ("packs", "List, show or check domain packs: what an industry adds."),
    # the model
    "tag-text": ("tag", "What the model says of one text, for people."),
    "tag-file": ("tag", "What the model says of each text of a file."),
    "models": ("models", "List, show or check models: the bundled one and others."),
    "train": ("model", "Train the bundled model from data sets on this machine."),
    "evaluate": ("model", "Score a model on a labelled set."),
    "finetune": ("finetune", "Teach a model your own labelled texts; see what that costs elsewhere."),
    "bench": ("bench", "Measure this machine: the tagger against others, the detector, the linker."),
    "chaos": ("chaos", "Break a running installation on purpose; count what is left."),
}


class Lazy(click.Group):
    """Knows every command's name and sentence without importing its module: `--help` stays quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"groundswell.commands.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, sentence) in COMMANDS.items()])


@click.group(cls=Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A TOML file of settings. Default: groundswell.toml if it is there.",
)
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Watches news and comment streams and warns, with evidence, when negative talk surges."""
    found = os.environ.get("GROUNDSWELL_CONFIG")
    ctx.obj = {
        "environment": dict(os.environ),
        "config": config
        or (Path(found) if found else Path("groundswell.toml") if Path("groundswell.toml").exists() else None),
    }


def main(arguments: Any = None) -> None:
    """Entry point. Exit status: 0 done; 1 failed; 2 something to set right, said in one line."""
    try:
        status = cli.main(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except Fatal as error:
        click.echo(f"groundswell: {error.line}", err=True)
        sys.exit(1)
    except GroundswellError as error:
        click.echo(f"groundswell: {error.line}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
