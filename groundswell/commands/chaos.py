"""`groundswell chaos`: break a running installation on purpose and count what is left. What it does is in bench/chaos.py."""

import json
from typing import Any

import click

from groundswell import telemetry
from groundswell.commands.bench import progress
from groundswell.commands.processes import the_settings
from groundswell.terminal import out
from groundswell.text import safe


@click.command()
@click.option(
    "--kills",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    help="kill -9; the other kinds strike in proportion.",
)
@click.option("--docs", type=click.IntRange(1_000), default=20_000, show_default=True, help="Documents to push.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of documents, faults and moments.")
@click.option("--faults", default="", metavar="KIND,…", help="Only these kinds; all by default.")
@click.option(
    "--workers", type=click.IntRange(1, 4), default=1, show_default=True, help="Of tag, aggregate and deliver."
)
@click.option(
    "--session",
    "session_s",
    type=click.FloatRange(2, 60),
    default=10.0,
    show_default=True,
    help="Seconds until a dead worker is noticed.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON only.")
@click.pass_context
def chaos(
    ctx: click.Context, kills: int, docs: int, seed: int, faults: str, workers: int, session_s: float, as_json: bool
) -> int:
    """Break things at random while documents run through, on a Kafka and a Redis of its own; compare what is left with what was pushed.

    Needs what `make services` installs. Exit status 0: nothing lost, nothing twice.
    """
    from bench import chaos as question
    from bench.chaos_faults import KINDS

    telemetry.configure(the_settings(ctx).log, "error", stage="chaos")
    kinds = tuple(kind.strip() for kind in faults.split(",") if kind.strip()) or KINDS
    if unknown := set(kinds) - set(KINDS):
        raise click.BadParameter(f"{min(unknown)!r} is none of {', '.join(KINDS)}", param_hint="--faults")
    with progress() as told:
        report = question.run(question.Asked(kills, docs, seed, kinds, session_s, workers), told)
    if as_json:
        click.echo(json.dumps(report, ensure_ascii=False))
    else:
        out().print(sentences(report), markup=False, highlight=False)
    return 0 if report["passed"] else 1


def sentences(report: dict[str, Any]) -> str:
    """The verdict for people."""
    faults = ", ".join(f"{count} {kind}" for kind, count in sorted(report["faults"].items()))
    lines = [
        f"{report['docs']:,} documents, seed {report['seed']}, {report['seconds']:.0f} s; {faults}",
        f"rows        lost {report['lost']}, counted twice {report['double_counted']}, misplaced {report['misplaced']}",
        f"alerts      missing {report['alerts_missing']}, twice {report['alerts_twice']}",
        (
            f"            {report['alerts']['told']} told, {report['alerts']['due']} of them due at the endpoint, "
            f"{report['alerts']['redelivered']} delivered again with the same id"
        ),
        f"episodes    {report['episodes']}",
        f"dead letters {report['dead_letters']}",
        f"recovery    {report['recovery_s']}",
        *(f"late        {safe(line, 300)}" for line in report["late"]),
        *([f"left over   {safe(report['left_over'], 300)}"] if report["left_over"] else []),
        *(f"accounting  {safe(line, 300)}" for line in report["accounting"]),
        *(f"  {safe(line, 300)}" for line in report["examples"]),
        *([f"logs        {safe(report['logs'], 300)}"] if "logs" in report else []),
        "holds" if report["passed"] else "FAILS",
    ]
    return "\n".join(lines)
