"""Runs all rows of the tagger's benchmark side by side: fresh texts each round, every row in its turn by chance.

Each home of rows is a child process (tagger_child.py) on one thread; while one runs, the others sleep. What counts is
processor time, which a busy machine hardly changes; the pairing by rounds takes the rest. Next: tagger.py, which judges.
"""

import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import msgspec

from bench.tagger_child import Answer, Ready, Run, Took
from bench.texts import TooFewTexts
from groundswell.errors import Misconfigured
from groundswell.tagging import Text
from models.tagger import environment
from models.tags import frame, read_frame


@dataclass(frozen=True)
class Row:
    """One line of the report. `kind`: pipeline, peer, ours or part; `home` is the process it runs in."""

    name: str
    title: str
    home: str
    kind: str = "ours"
    own_environment: bool = False  # needs what `make bench-peers` installs


ROWS = (
    Row("pipeline_one_by_one", "transformers pipeline, one by one, fp32", "pipeline", "pipeline"),
    Row("pipeline_batch32", "transformers pipeline, batches of 32, fp32", "pipeline", "pipeline"),
    Row("transformers_bf16", "transformers, bf16, sorted, padded to 8", "transformers_bf16", "peer"),
    Row("openvino_bf16", "OpenVINO, bf16, sorted, padded to 8", "openvino", "peer", own_environment=True),
    Row("onnxruntime_fp32", "ONNX Runtime, fp32, sorted, padded to 8", "onnxruntime", "peer", own_environment=True),
    Row("onnxruntime_int8", "ONNX Runtime, int8, sorted, padded to 8", "onnxruntime", "peer", own_environment=True),
    Row("ours_float32", "Groundswell, packed, fp32", "ours_float32"),
    Row("ours_without_kernels", "Groundswell, packed, torch alone", "ours_without_kernels"),
    Row("ours", "Groundswell, packed", "ours"),
    Row("whole", "Groundswell, the whole tag", "ours", "part"),
    Row("model", "Groundswell, model only (no tokeniser)", "ours", "part"),
    Row("tokenise", "Groundswell, tokeniser only", "ours", "part"),
    Row("limit", "limit: its matrix products alone", "ours", "part"),
)
BY_NAME = {row.name: row for row in ROWS}
BASELINE = "pipeline_batch32"
MAKE_PEERS = "make bench-peers"


class RunnerFailed(Misconfigured):
    """A runner of the benchmark could not do its turn."""

    reason = "runner_failed"
    remedy = "Its error is above; --only NAME runs some of the rows alone."


class Child:
    """A home's process. A context manager: leaving it ends the process."""

    def __init__(self, python: Path, home: str, model: str, twin: Path) -> None:
        command = [str(python), "-m", "bench.tagger_child", home, model, str(twin)]
        self.home = home
        self.said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the child; what its libraries print; shown when it fails
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            env=one_thread(),
        )
        self.ready = msgspec.msgpack.decode(self._next(), type=Ready)

    def run(self, row: str, texts: Sequence[Text]) -> Took:
        """One turn. Raises RunnerFailed with what went wrong."""
        stdin = pipe(self.process.stdin)
        try:
            stdin.write(frame(Run(row, list(texts))))
            stdin.flush()
        except BrokenPipeError as error:
            raise RunnerFailed(f"the process of {row} ended") from error
        took = msgspec.msgpack.decode(self._next(), type=Took)
        if took.error:
            raise RunnerFailed(f"{row}: {took.error}")
        return took

    def _next(self) -> bytes:
        body = read_frame(pipe(self.process.stdout))  # type: ignore[arg-type]
        if body is None:
            status = self.process.wait()
            self.said.seek(0)
            last = self.said.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
            raise RunnerFailed(f"the process of {self.home} ended with status {status}: {last or 'no word'}")
        return body

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        pipe(self.process.stdin).close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        pipe(self.process.stdout).close()
        self.said.close()


@dataclass
class Rounds:
    """What came of it: turns by row, one a round; answers in the order of the texts; what is absent and why."""

    turns: dict[str, list[Took]] = field(default_factory=dict)
    lengths: list[list[int]] = field(default_factory=list)
    absent: dict[str, str] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)

    def cpu_s(self, row: str) -> list[float]:
        return [took.cpu_s for took in self.turns[row]]

    def answers(self, row: str) -> Iterable[Answer]:
        return (took.answer for took in self.turns[row])


@dataclass(frozen=True)
class Plan:
    """How much is measured: at least `rounds` and at least `seconds`, `window` texts each, by these rows."""

    rows: Sequence[Row]
    model: str
    twin: Path
    seconds: float
    rounds: int
    window: int
    seed: int
    peers: Path | None  # the Python of the peers' environment; None: their rows are absent


def measure(
    plan: Plan, deal: Callable[[int], list[Text]], lengths: Callable[[Sequence[Text]], list[int]],
    told: Callable[[str, float], None],
) -> Rounds:  # fmt: skip
    """Run the plan. `deal` gives that many texts, never the same; `told` hears what happens and how much is done.

    Raises RunnerFailed, and what `deal` raises.
    """
    rng, found = random.Random(plan.seed), Rounds()
    with ExitStack() as opened:
        children: dict[str, Child] = {}
        for home, row in {row.home: row for row in plan.rows}.items():
            told(f"starting {row.title.partition(',')[0]}", 0.0)
            child = start(plan, row, opened)
            if isinstance(child, str):
                found.absent |= {other.name: child for other in plan.rows if other.home == home}
            else:
                children[home] = child
                found.facts[home] = child.ready.facts
        rows = [row for row in plan.rows if row.home in children]
        found.turns = {row.name: [] for row in rows}
        # Libraries compile for each shape they meet. The first window is theirs, and longer texts come later anyway.
        warm = deal(plan.window)
        for row in rows:
            told(f"warming {row.title}", 0.0)
            children[row.home].run(row.name, warm)
        began, done = time.monotonic(), 0
        while done < plan.rounds or time.monotonic() - began < plan.seconds:
            try:
                texts = deal(plan.window)
            except TooFewTexts:
                if done < plan.rounds:
                    raise
                break  # as long as the file lasts
            found.lengths.append(lengths(texts))
            for n, row in enumerate(rng.sample(rows, len(rows))):
                spent = min((time.monotonic() - began) / plan.seconds, 1.0) if plan.seconds else 1.0
                share = min((done + n / len(rows)) / plan.rounds, spent)
                told(f"round {done + 1}: {row.title}", share)
                found.turns[row.name].append(children[row.home].run(row.name, texts))
            done += 1
    return found


def start(plan: Plan, row: Row, opened: ExitStack) -> Child | str:
    """The process of a row's home, or why there is none."""
    if row.own_environment and plan.peers is None:
        return "not asked for: pass --peers"
    if row.own_environment and plan.peers is not None and not plan.peers.exists():
        return f"not installed: {MAKE_PEERS}"
    python = plan.peers if row.own_environment and plan.peers else Path(sys.executable)
    child = opened.enter_context(Child(python, row.home, plan.model, plan.twin))
    return f"{child.ready.absent}: {MAKE_PEERS}" if child.ready.absent else child


def write_twin(model: str, folder: Path, peers: Path | None) -> None:
    """The model as transformers and, for the peers that want it, as ONNX. Raises RunnerFailed."""
    run_module(Path(sys.executable), model, str(folder))
    if peers is not None and peers.exists():
        run_module(peers, model, str(folder), "--onnx")


def run_module(python: Path, *arguments: str) -> None:
    command = [str(python), "-m", "bench.tagger_twin", *arguments]
    done = subprocess.run(command, env=one_thread(), capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise RunnerFailed(f"the model cannot be written for the other runners: {last}")


def one_thread() -> Mapping[str, str]:
    """The same for ours and theirs: what the model process is given, and no other library's own threads."""
    return environment(1) | {"MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TRANSFORMERS_VERBOSITY": "error"}


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    assert stream is not None
    return stream
