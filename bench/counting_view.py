"""Shows what bench/ingest.py and bench/aggregate.py measured: lines for people, and the bars of docs/benchmarks.md."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.measure.pictures import plotter

OURS, OTHERS = "#1f5a99", "#9aa5b1"
NAMES = {
    "ours": "fold and compare-and-set", "stage": "all of aggregate, with its detector", "lua_a_row": "a Lua script a row",
    "hincrby": "pipelined HINCRBY (no guarantee)",
    "faust": "Faust table", "single": "ingest, one document a message", "arrays": "ingest, arrays of 100", "bare": "a plain aiokafka loop",
}  # fmt: skip
MINE = {"ours", "stage", "single", "arrays"}


def table(report: Mapping[str, Any]) -> str:
    """Everything but what was asked, one line a figure."""
    lines = [f"{name:<32}{_shown(value)}" for name, value in report.items() if name not in ("promises", "passed")]
    for one in report["promises"]:
        word = {True: "holds", False: "FAILS", None: "told"}[one["met"]]
        wanted = f"required {one['required']}" if "required" in one else f"goal {one['goal']}"
        lines.append(f"{word:<7}{one['name']}: {_shown(one['value'])} ({wanted})")
    return "\n".join(lines)


def draw(pace: Mapping[str, float], what: str, path: Path) -> None:
    """One bar a contender."""
    pyplot = plotter()
    names = sorted(pace, key=lambda name: pace[name])
    figure, axis = pyplot.subplots(figsize=(7.5, 0.5 + 0.42 * len(names)))
    bars = axis.barh(
        [NAMES[name] for name in names],
        [pace[name] for name in names],
        color=[OURS if name in MINE else OTHERS for name in names],
    )
    axis.bar_label(bars, labels=[f"{pace[name]:,.0f}" for name in names], padding=3, fontsize=8)
    axis.set_xlabel(what, fontsize=8)
    axis.set_xlim(right=1.18 * max(pace.values()))
    axis.tick_params(labelsize=8)
    axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Date": None} if path.suffix == ".svg" else {"Software": None})
    pyplot.close(figure)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
