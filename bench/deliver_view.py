"""Shows what bench/deliver.py measured: a table for people, and a picture of latencies and memory; read that file first."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np


def spread(values: Sequence[float]) -> dict[str, float]:
    """Quantiles of milliseconds; all 0 when there are none."""
    p50, p99, most = np.percentile(np.array(values), (50, 99, 100)) if values else (0.0, 0.0, 0.0)
    return {
        "p50_ms": round(float(p50), 1),
        "p99_ms": round(float(p99), 1),
        "max_ms": round(float(most), 1),
        "n": len(values),
    }


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is only there to be drawn."""
    return {
        name: {key: value for key, value in part.items() if not key.startswith("_")} if isinstance(part, dict) else part
        for name, part in found.items()
    }


def table(found: Mapping[str, Any]) -> str:
    """The figures in words, a line each."""
    asked, one, every, calm, bad = (found[name] for name in ("asked", "one", "all", "calm", "bad"))
    lines = [
        f"{asked['alerts']} alerts, {asked['endpoints']} endpoints, {bad['endpoints'] - bad['healthy']} of them bad",
        f"{asked['cores']} cores for all: deliver, receivers, Redis and the broker ({asked['broker']})",
        "",
        _row("", "deliveries/s", "bare client", "share", "cpu ms each", "bare"),
        *(
            _row(
                name, f"{part['deliveries_a_second']:.0f}", f"{part['bare']['deliveries_a_second']:.0f}",
                f"{part['share_of_bare']:.2f}", f"{part['cpu_ms_a_delivery']:.2f}", f"{part['bare']['cpu_ms_a_delivery']:.2f}",
            )
            for name, part in (("one endpoint", one), (f"{every['endpoints']} endpoints", every))
        ),
        "",
        _row("written to received", "p50 ms", "p99 ms", "max ms", "missing", "doubled", "disorder"),
        _row(f"one, {one['pace']:g}/s", *_quantiles(one), "", "", ""),
        *(
            _row(name, *_quantiles(part), *(str(part[fault]) for fault in ("missing", "doubled", "out_of_order")))
            for name, part in ((f"{calm['healthy']} alone, {asked['pace']:g}/s", calm), ("the same among bad", bad))
        ),
        "",
        f"added by the bad ones to p99: {found['added_p99_ms']:.0f} ms",
        *(
            f"memory of deliver, {name}: {part['resident_mb']['start']} MB at the start, {part['resident_mb']['peak']} at most, "
            f"{part['resident_mb']['end']} at the end"
            for name, part in (("healthy alone", calm), ("among bad", bad))
        ),
        *(f"{kind}: {counts['count']} endpoints, {counts.get('tried', 0)} tries came, {counts.get('accepted', 0)} accepted"
          for kind, counts in bad["endpoints_by_kind"].items()),
        "",
        ("holds  " if found["passed"] else "FAILS  ") + ", ".join(f"{name} {held}" for name, held in found["held"].items()),
    ]  # fmt: skip
    return "\n".join(lines)


def draw(found: Mapping[str, Any], path: Path) -> None:
    """Left how long alerts were on their way, right the memory over time."""
    from models.measure.pictures import plotter

    pyplot = plotter()
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 2.9))
    for part, name, color in (
        (found["calm"], "healthy ones alone", "#1f5a99"),
        (found["bad"], "among bad ones", "#c0392b"),
    ):
        latencies = np.sort(part["_latencies_ms"])
        left.plot(
            latencies, np.arange(1, len(latencies) + 1) / max(len(latencies), 1), color=color, label=name, linewidth=1.3
        )
        times, sizes = zip(*part["_resident"], strict=True) if part["_resident"] else ((), ())
        right.plot(times, [size / 1e6 for size in sizes], color=color, label=name, linewidth=1.3)
    left.set_xlim(left=0)
    left.set_xlabel("milliseconds from written to received", fontsize=8)
    left.set_ylabel("share of deliveries", fontsize=8)
    right.set_xlabel("seconds", fontsize=8)
    right.set_ylabel("memory of deliver, MB", fontsize=8)
    right.set_ylim(bottom=0)
    for axis in (left, right):
        axis.tick_params(labelsize=7)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def _quantiles(part: Mapping[str, Any]) -> list[str]:
    return [f"{part['latency'][name]:.0f}" for name in ("p50_ms", "p99_ms", "max_ms")]


def _row(first: str, *cells: str) -> str:
    return first.ljust(28) + "".join(cell.rjust(13) for cell in cells)
