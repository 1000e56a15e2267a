"""How fast the tagger is against what others offer on the same hardware: `groundswell bench tagger [--peers] [--json]`.

Everything is compared in one run: fresh texts each round, rows in chance order, one thread, processor seconds, ratios
inside a round (docs/benchmarks.md). This file says what is held against which promise. Next: tagger_rounds.py and
tagger_road.py, which measure; tagger_view.py, which shows.
"""

import asyncio
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from bench import tagger_road, texts
from bench.paired import Ratio, ratio, spread
from bench.tagger_road import Size
from bench.tagger_rounds import (
    BASELINE,
    BY_NAME,
    ROWS,
    Plan,
    Rounds,
    Row,
    RunnerFailed,
    measure,
    write_twin,
)
from groundswell.errors import Misconfigured
from groundswell.tagging import Text
from models import catalog

PEERS_PYTHON = Path(__file__).parents[1] / ".venv-peers" / "bin" / "python"
FLAGS = ("amx_bf16", "amx_int8", "avx512_bf16", "avx512_vnni", "avx512f", "avx_vnni", "avx2")
QUIET_LOAD, OWN_SHARE = 0.3, 0.9
# The twin computes the same in float32; more than this apart, it is another model.
SAME = 1e-3
# A peer that gives more texts another label than this is fast at something else.
FAITHFUL = 0.005

Told = Callable[[str, float], None]


class NotComparable(Misconfigured):
    """The model cannot be compared."""

    reason = "not_comparable"
    remedy = "Name a model in the project's own format: bundled, or a folder made by `groundswell train` or `finetune`."


@dataclass(frozen=True)
class Asked:
    """What the command line says."""

    peers: bool = False
    seconds: float = 0.0
    rounds: int = 8  # of 256 texts: the 2,000 on which labels are compared
    window: int = 256
    file: str | None = None
    model: str = catalog.BUNDLED
    only: Sequence[str] = ()
    road: bool = True
    seed: int = 1
    peers_python: Path = PEERS_PYTHON
    size: Size = field(default_factory=Size)


@dataclass(frozen=True)
class Promise:
    """One line of what must be shown. `path` is where its number stands in the report; `most`: it may not exceed."""

    measure: str
    path: tuple[str, ...]
    required: float
    goal: float
    unit: str = ""
    most: bool = False


PROMISES = (
    Promise("ours / transformers pipeline, batches of 32", ("ratio_to_pipeline_batch32",), 8, 10, "x"),
    Promise("ours without C kernels / the same", ("ratio_without_kernels",), 5.5, 6.5, "x"),
    Promise("ours / the best of the sorted peers", ("ratio_to_best_peer",), 1.8, 2.2, "x"),
    Promise("share of the limit of matrix products", ("limit_share",), 0.6, 0.7, "%"),
    Promise("tag, Kafka to Kafka / model alone", ("road", "tag", "share_of_model_alone", "median"), 0.8, 0.9, "%"),
    Promise("single document, idle tagger, p99", ("road", "latency", "idle", "p99_ms"), 30, 12, "ms", most=True),
    Promise("label flips against fp32", ("label_flips",), 0.005, 0.002, "%", most=True),
    Promise("tag from start to ready, CPU", ("road", "start", "cpu_s"), 4, 3, "s", most=True),
    Promise("memory of tag, parent and child", ("road", "memory_mb", "total"), 900, 700, "MB", most=True),
    Promise("packed fp32 / pipeline, batches of 32", ("ratio_float32",), 1.6, 1.8, "x"),
)


def run(asked: Asked, told: Told) -> dict[str, Any]:
    """The whole report. Raises UnknownModel, NotComparable, BadFile, TooFewTexts, RunnerFailed and TagSlow."""
    began, load = time.monotonic(), os.getloadavg()[0]
    folder = catalog.locate(asked.model)
    if catalog.is_classifier(folder):
        raise NotComparable(f"{folder} is a transformers classifier: the tagger runs it with transformers itself.")
    config = catalog.check(folder)
    tokenizer = Tokenizer.from_file(str(folder / catalog.TOKENIZER))
    source = texts.from_file(asked.file, tokenizer, config) if asked.file else texts.own(tokenizer, config, asked.seed)

    def deal(number: int) -> list[Text]:
        return texts.window(source, number)

    rows = [row for row in ROWS if not asked.only or row.name in asked.only]
    peers = asked.peers_python if asked.peers else None
    found = Rounds()
    if rows:
        with twin(asked.model, rows, peers, told) as made:
            plan = Plan(rows, asked.model, made, asked.seconds, asked.rounds, asked.window, asked.seed, peers)
            found = measure(plan, deal, lambda some: texts.lengths(tokenizer, some), told)
    hold_to_twin(found)
    report = figures(found, asked)
    if asked.road:
        # From here a file's texts may come again: nothing is compared by them any more.
        again = source if not asked.file else texts.own(tokenizer, config, asked.seed + 1)
        report["road"] = (
            asyncio.run(tagger_road.measure(asked.model, lambda number: texts.window(again, number), asked.size, told))
            if Path("/proc/self/stat").exists()
            else {"absent": "needs /proc"}
        )
    report["machine"] = machine(load, found)
    report["noisy"] = noisy(load, found)
    report["model"] = config.version
    report["seconds"] = round(time.monotonic() - began, 1)
    report["promises"] = [judged(promise, report) for promise in PROMISES]
    return report


@contextmanager
def twin(model: str, rows: Sequence[Row], peers: Path | None, told: Told) -> Iterator[Path]:
    """A folder with the model as the other runners read it, for as long as they run."""
    with tempfile.TemporaryDirectory(prefix="groundswell-twin-") as folder:
        if any(not row.home.startswith("ours") for row in rows):
            told("writing the model for the other runners", 0.0)
            wanted = peers if any(row.own_environment for row in rows) else None
            write_twin(model, Path(folder), wanted)
        yield Path(folder)


def hold_to_twin(found: Rounds) -> None:
    """Raises RunnerFailed when the transformers model does not answer as ours does in float32: then it is no peer."""
    if {BASELINE, "ours_float32"} <= found.turns.keys():
        apart = float(np.abs(answers(found, BASELINE) - answers(found, "ours_float32")).max())
        if apart > SAME:
            raise RunnerFailed(
                f"the transformers model answers otherwise than ours in float32, by up to {apart:.4f}",
                remedy="Then nothing can be compared: bench/tagger_twin.py does not fit this model.",
            )


def figures(found: Rounds, asked: Asked) -> dict[str, Any]:
    """All that follows from the rounds. A ratio is None where a side of it is absent."""
    tokens = [n for window in found.lengths for n in window]

    def against(above: str, below: str) -> Ratio | None:
        here = {above, below} <= found.turns.keys()
        return ratio(found.cpu_s(above), found.cpu_s(below)) if here else None

    sorted_peers = [name for name in found.turns if BY_NAME[name].kind == "peer"]
    best = fastest(found, sorted_peers)
    faithful = fastest(found, [name for name in sorted_peers if (flips(found, name) or 0) <= FAITHFUL])
    report: dict[str, Any] = {
        "rounds": len(found.lengths),
        "window": asked.window,
        "texts": texts.described(tokens) if tokens else {},
        "texts_from": asked.file or "own",
        "best_peer": best or None,
        "best_faithful_peer": faithful or None,
    }
    for name, compared in (
        ("ratio_to_pipeline_batch32", against(BASELINE, "ours")),
        ("ratio_without_kernels", against(BASELINE, "ours_without_kernels")),
        ("ratio_float32", against(BASELINE, "ours_float32")),
        ("ratio_whole_tag", against(BASELINE, "whole")),
        ("ratio_to_best_peer", against(best, "ours")),
        ("ratio_to_best_faithful_peer", against(faithful, "ours")),
        ("ratio_of_limit_to_best_faithful_peer", against(faithful, "limit")),
        ("limit_share", against("limit", "model")),
        ("limit_share_with_tokeniser", against("limit", "ours")),
    ):
        report[name] = round(compared.median, 4) if compared else None
        report[f"{name}_interval"] = [round(compared.low, 4), round(compared.high, 4)] if compared else None
    report["rows"] = [described(row, found, tokens) for row in ROWS if not asked.only or row.name in asked.only]
    compared_rows = {row["name"]: row for row in report["rows"]}
    report["label_flips"] = compared_rows.get("ours", {}).get("label_flips")
    report["max_dp"] = compared_rows.get("ours", {}).get("max_dp")
    report["final_label_flips"] = final_flips(found)
    report["shares"] = shares(found)
    report["gpu"] = {"device": gpu(found), "tokens_a_second": None, "note": "not measured"}
    return report


def described(row: Row, found: Rounds, tokens: Sequence[int]) -> dict[str, Any]:
    """One row: its rate, its ratio to ours (how many times as fast ours is), and how far its answers are from fp32."""
    line: dict[str, Any] = {
        "name": row.name,
        "title": row.title,
        "kind": row.kind,
        "absent": found.absent.get(row.name),
    }
    if row.name not in found.turns:
        return line
    cpu_s, rounds = found.cpu_s(row.name), len(found.lengths)
    texts_each = [len(window) / cost for window, cost in zip(found.lengths, cpu_s, strict=True)]
    rate = spread(texts_each)
    line |= {
        "library": found.facts[row.home].get("encoder") or found.facts[row.home].get("version"),
        "docs_per_cpu_s": round(rate.median, 1),
        "docs_per_cpu_s_interval": [round(rate.low, 1), round(rate.high, 1)],
        "tokens_per_cpu_s": round(rate.median * sum(tokens) / len(tokens)),
        "cpu_of_wall": round(float(np.median([took.cpu_s / took.wall_s for took in found.turns[row.name]])), 3),
        "cpu_s": [round(cost, 4) for cost in cpu_s],
        "rounds": rounds,
    }
    if "ours" in found.turns:
        times = ratio(cpu_s, found.cpu_s("ours"))
        line |= {"ours_is_times": round(times.median, 3), "ours_is_times_interval": [round(x, 3) for x in times[1:]]}
    if (changed := flips(found, row.name)) is not None:
        apart = np.abs(answers(found, row.name) - answers(found, BASELINE))
        line |= {"max_dp": round(float(apart.max()), 5), "label_flips": round(changed, 5)}
    return line


def fastest(found: Rounds, names: Sequence[str]) -> str:
    """The one that costs least; empty when there is none."""
    return min(names, key=lambda name: spread(found.cpu_s(name)).median, default="")


def flips(found: Rounds, row: str) -> float | None:
    """The share of texts to which a row gives another label than transformers in float32; None without both."""
    if BASELINE not in found.turns or not (p := answers(found, row)).size:
        return None
    return float((p.argmax(-1) != answers(found, BASELINE).argmax(-1)).mean())


def answers(found: Rounds, row: str) -> "np.ndarray[Any, np.dtype[np.float64]]":
    """Probabilities `[texts of all rounds, 3]`; empty for a row that has none."""
    return np.array([p for answer in found.answers(row) for p in answer.p], np.float64)


def final_flips(found: Rounds) -> float | None:
    """The share of labels, with all shifts of language and style, that differ between our two number formats."""
    if not {"ours", "ours_float32"} <= found.turns.keys():
        return None
    each = [[label for answer in found.answers(name) for label in answer.labels] for name in ("ours", "ours_float32")]
    return round(float(np.mean([a != b for a, b in zip(*each, strict=True)])), 5)


def shares(found: Rounds) -> dict[str, float] | None:
    """Where the time of a whole tag goes."""
    if "whole" not in found.turns:
        return None
    spent = [answer.extra for answer in found.answers("whole")]
    total = sum(sum(each.values()) for each in spent)
    return {part: round(sum(each[part] for each in spent) / total, 4) for part in spent[0]}


def gpu(found: Rounds) -> str | None:
    return found.facts.get("ours", {}).get("gpu")


def noisy(load: float, found: Rounds) -> bool:
    """Whether others used the machine too: then only processor seconds and their ratios count, and no time of the wall."""
    own = [took.cpu_s / took.wall_s for turns in found.turns.values() for took in turns]
    return load > QUIET_LOAD or (bool(own) and float(np.median(own)) < OWN_SHARE)


def machine(load: float, found: Rounds) -> dict[str, Any]:
    """What the numbers are of."""
    ours = found.facts.get("ours", {})
    known = cpuinfo()
    have = set(known.get("flags", "").split())
    return {
        "processor": known.get("model name") or platform.processor() or platform.machine(),
        "family": known.get("cpu family"),
        "model": known.get("model"),
        "cores": os.cpu_count(),
        "flags": {flag: flag in have for flag in FLAGS},
        "amx_usable": ours.get("amx"),
        "encoder": ours.get("encoder"),
        "torch": ours.get("torch"),
        "libraries": sorted(
            {str(facts["version"]) for home, facts in found.facts.items() if not home.startswith("ours")}
        ),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "load_before": round(load, 2),
    }


def cpuinfo() -> dict[str, str]:
    """The first processor in /proc/cpuinfo; empty on other systems."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}


def judged(promise: Promise, report: dict[str, Any]) -> dict[str, Any]:
    """The promise with what was found; `met` and `reached_goal` are None where nothing was measured."""
    value: Any = report
    for part in promise.path:
        value = value.get(part) if isinstance(value, dict) else None
    line = {
        "measure": promise.measure, "found": value, "required": promise.required, "goal": promise.goal,
        "unit": promise.unit, "most": promise.most,
    }  # fmt: skip
    for name, bound in (("met", promise.required), ("reached_goal", promise.goal)):
        line[name] = None if value is None else value <= bound if promise.most else value >= bound
    return line
