"""docs/tutorial.md and docs/tutorial.zh.md, done as they say on a `groundswell demo` of their own: the pages are the source of this test.

How a page is read, fenced block after fenced block:

    ```sh            typed into one terminal, whose variables stay; each must end with exit status 0
    ```sh later      the page says "a moment later": typed again until it shows what stands below it
    ```sh stays      goes on in a terminal of its own until the end of the page
    ```text          what the block above shows: these lines in this order, others may stand between them, `…` is anything
    ```python FILE   saved as FILE, in whatever language it is

Both pages have the same commands and files. Where they show something else, the command speaks Chinese: it is typed again in a Chinese
locale, so such a command must only look. The ports of the pages are replaced by free ones.

Some forty commands one after another, each a start of Python, beside a demo with its model: a minute alone, more beside other tests.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.stages import ROOT, clean_environment

PAGES = {"en": ROOT / "docs" / "tutorial.md", "zh": ROOT / "docs" / "tutorial.zh.md"}
LOCALES = {"en": "C.UTF-8", "zh": "zh_CN.UTF-8"}
BLOCK = re.compile(r"^```(\S+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STARTS_S, COMMAND_S, LATER_S, STOPS_S = 150, 60, 30, 30  # all but the first are moments on an idle machine
PORTS = ("8080", "9000")  # as the pages have them


@dataclass(frozen=True)
class Step:
    """One block of a page: `shows` is what stands in the block of text after it."""

    line: int
    language: str
    word: str  # later, stays, or the name of a file
    text: str
    shows: str = ""

    @property
    def done(self) -> tuple[str, str, str]:
        return self.language, self.word, self.text


def steps(page: Path) -> list[Step]:
    found: list[Step] = []
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        language, word, body = block[1], block[2] or "", block[3]
        line = text.count("\n", 0, block.start()) + 1
        if language != "text":
            found.append(Step(line, language, word, body))
        else:
            assert found, f"{page.name}:{line}: shown by which command?"
            assert not found[-1].shows, f"{page.name}:{line}: shown twice"
            found[-1] = Step(found[-1].line, *found[-1].done, shows=body)
    return found


def not_shown(expected: str, output: str) -> str:
    """The first line that does not come, in its order; empty when all do. Runs of blanks are one."""
    left = iter([" ".join(line.split()) for line in output.splitlines()])
    for line in expected.splitlines():
        if not line.strip("… "):
            continue
        pattern = re.compile(".*".join(re.escape(part) for part in re.split(" ?… ?", " ".join(line.split()))))
        if not any(pattern.fullmatch(one) for one in left):
            return line
    return ""


class Desk:
    """The terminals of one reader: a folder, ports and a state of his own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.ports = folder, {port: str(free_port()) for port in PORTS}
        self.stays: list[tuple[subprocess.Popen[bytes], Path, Step]] = []
        binaries = folder / "bin"
        binaries.mkdir()
        for name, words in {"groundswell": f"{sys.executable} -m groundswell", "python": sys.executable}.items():
            (binaries / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
            (binaries / name).chmod(0o755)
        clean = clean_environment()
        self.environment = clean | {
            "PATH": f"{binaries}:{clean['PATH']}", "COLUMNS": "200", "LC_CTYPE": "C.UTF-8", "LC_ALL": "", "PYTHONUNBUFFERED": "1",
            "GROUNDSWELL_STATE_DIR": str(folder / "state"), "GROUNDSWELL_PORT": self.ports["8080"],
        }  # fmt: skip

    def here(self, text: str) -> str:
        for port, ours in self.ports.items():
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{ours}").replace(
                f'"127.0.0.1", {port}', f'"127.0.0.1", {ours}'
            )
        return text

    def do(self, step: Step, shows: dict[str, str]) -> None:
        """One step; `shows` has what each page says of it."""
        if step.language != "sh":
            (self.folder / step.word).write_text(self.here(step.text), encoding="utf-8")
        elif step.word == "stays":
            self._stay(step)
        else:
            self._type(step, shows["en"], LOCALES["en"])
            if shows["zh"] != shows["en"]:
                self._type(step, shows["zh"], LOCALES["zh"])

    def _type(self, step: Step, shows: str, locale: str) -> None:
        end_s = time.monotonic() + LATER_S
        while True:
            # What the block sets is there for the next one, as in one terminal.
            script = f"set -ea; touch .set; . ./.set; LC_MESSAGES={locale}\n{self.here(step.text)}export -p > .set\n"
            done = subprocess.run(
                ["bash", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True,
                encoding="utf-8", timeout=COMMAND_S, check=False,
            )  # fmt: skip
            lacking = not_shown(self.here(shows), done.stdout + done.stderr)
            if done.returncode == 0 and not lacking:
                return
            if step.word != "later" or time.monotonic() > end_s:
                break
            time.sleep(0.3)
        pytest.fail(
            f"line {step.line} ({locale}): {step.text}exit status {done.returncode}; not shown: {lacking!r}; but:\n"
            f"{done.stdout}{done.stderr}\n{self.said()}"
        )

    def _stay(self, step: Step) -> None:
        said = self.folder / f"line-{step.line}.txt"
        with said.open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", self.here(step.text)], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
                stdout=file, stderr=file, start_new_session=True,
            )  # fmt: skip
        self.stays.append((process, said, step))
        end_s = time.monotonic() + STARTS_S
        while lacking := not_shown(self.here(step.shows), said.read_text(encoding="utf-8")):
            assert process.poll() is None, f"line {step.line}: ended with {process.returncode}\n{self.said()}"
            assert time.monotonic() < end_s, f"line {step.line}: not shown: {lacking!r}\n{self.said()}"
            time.sleep(0.1)

    def said(self) -> str:
        return "\n".join(f"-- line {step.line}\n{said.read_text(encoding='utf-8')}" for _, said, step in self.stays)

    def ctrl_c(self) -> dict[int, int]:
        """Ctrl-C in every terminal, the newest first: line of the page -> exit status."""
        ended: dict[int, int] = {}
        while self.stays:
            process, _, step = self.stays.pop()
            if process.poll() is None:
                signal_group(process, signal.SIGINT)
            try:
                ended[step.line] = process.wait(STOPS_S)
            except subprocess.TimeoutExpired:
                signal_group(process, signal.SIGKILL)
                ended[step.line] = process.wait()
        return ended


def signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """What Ctrl-C does: to all that runs in that terminal."""
    os.killpg(process.pid, number)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    for program in ("bash", "curl"):
        if shutil.which(program) is None:
            missing(f"No {program} on this machine.")
    found = Desk(tmp_path)
    try:
        yield found
    finally:
        found.ctrl_c()


def test_both_pages_have_the_same_commands_and_files() -> None:
    pages = {lang: steps(page) for lang, page in PAGES.items()}
    assert [step.done for step in pages["en"]] == [step.done for step in pages["zh"]]
    assert len(pages["en"]) > 20, "they are there"


def test_the_first_half_hour_goes_as_both_pages_tell_it(desk: Desk) -> None:
    for english, chinese in zip(steps(PAGES["en"]), steps(PAGES["zh"]), strict=True):
        desk.do(english, {"en": english.shows, "zh": chinese.shows})
    demo, *_ = (step.line for _, _, step in desk.stays)
    said = desk.said()
    assert desk.ctrl_c()[demo] == 0, said
    assert "Traceback" not in said


def test_a_line_that_does_not_come_is_noticed() -> None:
    """What the comparison itself is worth."""
    assert not not_shown("one … three\n…\nfive\n", "zero\none  two three\nfour\nfive\n")
    assert not_shown("five\none …\n", "one two\nfive\n") == "one …", "out of order"
    assert not_shown("one three\n", "one two three\n") == "one three"
