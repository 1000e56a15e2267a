"""The process in which one runner of the tagger's benchmark lives: `python -m bench.tagger_child HOME MODEL TWIN`.

One process a home, so that no runner warms or spoils another one's caches and every processor second is its own. It is
sent texts and answers with what it said of them and what that cost. Next: tagger_ours.py and tagger_peers.py, which run.
"""

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from groundswell.tagging import Text
from models.tags import frame, read_frame


class Answer(msgspec.Struct, frozen=True):
    """What a runner says of its texts: probabilities `[texts, 3]` of the sentiment head before any shift (order of
    SENTIMENTS), the final labels where it knows them, and figures of its own; `cpu_s` and `wall_s` among them are what
    it cost, for a runner that times only a part of its turn. All may be empty."""

    p: list[list[float]] = []
    labels: list[str] = []
    extra: dict[str, float] = {}


class Run(msgspec.Struct, frozen=True):
    """One runner's turn."""

    row: str
    texts: list[Text]


class Ready(msgspec.Struct, frozen=True):
    """The first frame: `facts` are about the process, for the report; `absent` says why it cannot run at all."""

    facts: dict[str, Any] = {}
    absent: str = ""


class Took(msgspec.Struct, frozen=True):
    """An answer with its cost in seconds, or the error that came instead."""

    answer: Answer = Answer()
    cpu_s: float = 0.0
    wall_s: float = 0.0
    error: str = ""


Runner = Callable[[Sequence[Text]], Answer]
# By name of a home: what makes its runners, and what is known of the machine there.
Made = tuple[Mapping[str, Runner], dict[str, Any]]


def runners(home: str, model: str, twin: Path) -> Made:
    if home.startswith("ours"):
        from bench import tagger_ours

        return tagger_ours.make(home, model)
    from bench import tagger_peers

    return tagger_peers.make(home, twin)


def timed(run: Runner, texts: Sequence[Text]) -> Took:
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    try:
        answer = run(texts)
    except Exception as error:  # noqa: BLE001 - the parent names the row that failed
        return Took(error=f"{type(error).__name__}: {str(error)[:300]}")
    whole = {"cpu_s": time.process_time() - cpu_s, "wall_s": time.perf_counter() - wall_s}
    cost = whole | answer.extra
    return Took(answer, cost["cpu_s"], cost["wall_s"])


def main() -> int:
    # The frames get the real standard output; whatever a library prints goes to standard error.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    home, model, twin = sys.argv[1:4]

    def send(message: msgspec.Struct) -> None:
        out.write(frame(message))
        out.flush()

    try:
        made, facts = runners(home, model, Path(twin))
    except ImportError as error:
        send(Ready(absent=str(error)))
        return 0
    send(Ready(facts))
    while (body := read_frame(sys.stdin.buffer)) is not None:
        asked = msgspec.msgpack.decode(body, type=Run)
        send(timed(made[asked.row], asked.texts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
