"""Shows the tagger's benchmark: tables for people, and the bars of docs/benchmarks.md. Read tagger.py first."""

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from groundswell.text import safe
from models.measure.pictures import plotter

COLOURS = {"pipeline": "#9aa5b1", "peer": "#6b8fb3", "ours": "#1f5a99", "part": "#c9d3dd"}
# Of the rows that are only parts of ours, the picture shows the bound.
DRAWN_PART = "limit"


def show(report: dict[str, Any], console: Console) -> None:
    """Everything that was measured, for people."""
    console.print(Text(named(report), style="bold"))
    console.print(Text(conditions(report), style="dim"))
    if report["rows"]:
        console.print(rates(report["rows"]))
    console.print(promises(report["promises"]))
    if "road" in report:
        console.print(road(report["road"]))
    if report["shares"]:
        parts = ", ".join(f"{part} {share:.1%}" for part, share in report["shares"].items())
        console.print(f"Where the time of a whole tag goes: {parts}.")
    device = report["gpu"]["device"]
    console.print(f"GPU: {safe(device) + ', ' if device else ''}{report['gpu']['note']}.")
    if report["noisy"]:
        console.print(
            Text("Others used this machine meanwhile: believe ratios and CPU seconds, no time of the wall.", "yellow")
        )


def named(report: dict[str, Any]) -> str:
    """The machine in one line."""
    machine = report["machine"]
    flags = [flag for flag, here in machine["flags"].items() if here and flag.endswith("bf16")]
    numbered = f" (family {machine['family']}, model {machine['model']})" if machine["family"] else ""
    return safe(
        f"{machine['processor']}{numbered}, one thread, {' '.join(flags) or 'no bf16'}, torch {machine['torch'] or '-'}",
        300,
    )


def conditions(report: dict[str, Any]) -> str:
    about = report["texts"]
    if not about:
        return f"model {safe(report['model'])}"
    return (
        f"model {safe(report['model'])}, {report['rounds']} rounds of {report['window']} texts (mean {about['tokens_mean']} tokens, "
        f"half under {about['tokens_p50']}), {report['seconds']:.0f} s"
    )


def rates(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        "", "documents a CPU second", "95 %", "ours is", "95 %", "max Δp", "labels that flip", box=box.SIMPLE_HEAD
    )
    for row in rows:
        if "docs_per_cpu_s" not in row:
            table.add_row(row["title"], Text(f"absent ({row['absent']})" if row["absent"] else "-", style="dim"))
            continue
        low, high = row["docs_per_cpu_s_interval"]
        times = row.get("ours_is_times")
        table.add_row(
            Text(row["title"], style="bold" if row["name"] == "ours" else ""),
            f"{row['docs_per_cpu_s']:,.0f}",
            f"{low:,.0f} to {high:,.0f}",
            f"{times:.2f} x" if times else "",
            "{:.2f} to {:.2f}".format(*row["ours_is_times_interval"]) if times else "",
            f"{row['max_dp']:.4f}" if "max_dp" in row else "",
            f"{row['label_flips']:.2%}" if "label_flips" in row else "",
        )
    return table


def promises(found: list[dict[str, Any]]) -> Table:
    table = Table("", "found", "required", "goal", "", box=box.SIMPLE_HEAD)
    for promise in found:
        met = {None: Text("not measured", "dim"), True: Text("holds", "green"), False: Text("MISSED", "bold red")}[
            promise["met"]
        ]
        if promise["reached_goal"]:
            met = Text("goal reached", "green")
        bound = "≤ " if promise["most"] else "≥ "
        numbers = [amount(promise[name], promise["unit"]) for name in ("found", "required", "goal")]
        table.add_row(promise["measure"], Text(numbers[0], style="bold"), bound + numbers[1], bound + numbers[2], met)
    return table


def amount(value: float | None, unit: str) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.3g} %" if unit == "%" else f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def road(found: dict[str, Any]) -> Table:
    """The running tagger, a line a figure."""
    table = Table("the running tagger", "", box=box.SIMPLE_HEAD)
    if "absent" in found:
        table.add_row("not measured", found["absent"])
        return table
    start, memory, tag = found["start"], found["memory_mb"], found["tag"]
    table.add_row(
        "start to ready", f"{start['cpu_s']} CPU s (parent {start['parent_cpu_s']}), {start['wall_s']} s of the wall"
    )
    table.add_row("memory", f"{memory['total']} MB: parent {memory['parent']}, child {memory['child']}")
    for name, waits in found["latency"].items():
        if isinstance(waits, dict):
            title = "one document, " + ("idle" if name == "idle" else f"{name.removeprefix('load_')} % load")
            table.add_row(title, f"p50 {waits['p50_ms']} ms, p99 {waits['p99_ms']} ms, {waits['n']} documents")
    table.add_row(
        "Kafka to Kafka",
        f"{tag['documents_a_second']:,} documents/s; the model alone {tag['model_alone_documents_a_second']:,}",
    )
    table.add_row(
        "CPU ms a document",
        f"parent {tag['parent_cpu_ms_a_document']}, child {tag['child_cpu_ms_a_document']}; "
        f"the model alone {tag['model_alone_cpu_ms_a_document']}",
    )
    return table


def draw(report: dict[str, Any], path: Path) -> None:
    """Bars of documents a CPU second, with their intervals; the machine is named under the title."""
    pyplot = plotter()
    rows = [
        row
        for row in report["rows"]
        if "docs_per_cpu_s" in row and (row["kind"] != "part" or row["name"] == DRAWN_PART)
    ]
    if not rows:
        return
    pyplot.rcParams["svg.hashsalt"] = "groundswell"
    pyplot.rcParams["svg.fonttype"] = "none"
    figure, axis = pyplot.subplots(figsize=(9, 0.42 * len(rows) + 1.5))
    rates = [row["docs_per_cpu_s"] for row in rows]
    low_high = [row["docs_per_cpu_s_interval"] for row in rows]
    errors = [
        [max(rate - low, 0) for rate, (low, _) in zip(rates, low_high, strict=True)],
        [max(high - rate, 0) for rate, (_, high) in zip(rates, low_high, strict=True)],
    ]
    places = range(len(rows), 0, -1)
    axis.barh(places, rates, xerr=errors, color=[COLOURS[row["kind"]] for row in rows], height=0.68,
              error_kw={"ecolor": "#444444", "elinewidth": 0.8, "capsize": 2})  # fmt: skip
    for place, row, (_, high) in zip(places, rows, low_high, strict=True):
        times = row.get("ours_is_times")
        beside = "" if row["name"] == "ours" or not times else f"   ours is {times:.1f} ×"
        axis.text(high + 0.01 * max(rates), place, f" {row['docs_per_cpu_s']:,.0f}{beside}", va="center", fontsize=8)
    axis.set_yticks(list(places), [row["title"] for row in rows], fontsize=8)
    axis.set_xlim(0, 1.25 * max(high for _, high in low_high))
    axis.tick_params(axis="x", labelsize=7)
    axis.set_xlabel("documents a CPU second, texts in, sentiment out", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(named(report), fontsize=8)
    figure.tight_layout()
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=120, metadata=metadata)
    pyplot.close(figure)
