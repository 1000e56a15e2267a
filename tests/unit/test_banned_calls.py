"""Calls that lose or double documents, and imports that tie the parts together, are kept out by reading the source.

Faust's take, noack_take, take_events, exactly_once, Record, Table and concurrency were each seen to lose or double documents.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = ("stream", "models", "alerts", "dashboard")
FAUST_CALLS = {"take", "noack_take", "take_events"}
FAUST_NAMES = {"Record", "Table", "GlobalTable", "SetTable"}
FAUST_WORDS = {"concurrency", "exactly_once", "processing_guarantee"}
CLOCK_CALLS = {
    "time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "datetime.datetime.now", "datetime.datetime.utcnow", "datetime.datetime.today", "datetime.date.today",
}  # fmt: skip
# The machine's clock is a parameter everywhere but at these edges.
OWN_CLOCK = (
    "groundswell/clock.py",
    "groundswell/commands/",
    "groundswell/demo/",
    "bench/",
    "models/learn/train.py",
    "models/learn/fit.py",
)
EDGES = ("groundswell/commands/", "groundswell/cli.py")
# Where topics are named, and nothing else of stream: the contract that all share.
SHARED = "stream.topology"


def sources(*folders: str) -> list[Path]:
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def dotted(node: ast.expr) -> str:
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def faust_faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in FAUST_CALLS and dotted(node.value) != "asyncio":
            yield f"line {node.lineno}: .{node.attr}"
        if isinstance(node, ast.Attribute) and node.attr in FAUST_NAMES and dotted(node.value) in {"faust", "app"}:
            yield f"line {node.lineno}: {dotted(node)}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "faust":
            yield from (f"line {node.lineno}: faust {one.name}" for one in node.names if one.name in FAUST_NAMES)
        if isinstance(node, ast.keyword) and node.arg in FAUST_WORDS:
            yield f"line {node.lineno}: {node.arg}="
        if isinstance(node, ast.Constant) and node.value == "exactly_once":
            yield f"line {node.lineno}: exactly_once"


def clock_faults(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and dotted(node.func) in CLOCK_CALLS:
            yield f"line {node.lineno}: {dotted(node.func)}()"
        if isinstance(node, ast.ImportFrom) and node.module == "time":
            yield from (
                f"line {node.lineno}: from time import {one.name}" for one in node.names if one.name.startswith("time")
            )


def pickle_faults(tree: ast.AST) -> Iterator[str]:
    """Whatever runs code from a file; a checkpoint of one's own training may be read as bare weights."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        call = dotted(node.func)
        bare = any(word.arg == "weights_only" and getattr(word.value, "value", None) is True for word in node.keywords)
        if call in {"pickle.load", "pickle.loads", "joblib.load"} or (call == "torch.load" and not bare):
            yield f"line {node.lineno}: {call}"


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, one.name) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.lineno, f"{node.module}.{one.name}") for one in node.names)


def is_shared(name: str) -> bool:
    return name == SHARED or name.startswith(f"{SHARED}.")


def import_faults(path: str, tree: ast.AST) -> Iterator[str]:
    own = path.partition("/")[0]
    for line, name in imports(tree):
        part = name.split(".")[0]
        if part in {*PARTS, "bench"} and part != own and not is_shared(name):
            yield f"line {line}: {name}"
        if own != "bench" and own != "groundswell" and name.startswith(("groundswell.commands", "groundswell.cli.")):
            yield f"line {line}: {name}"


def parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text(encoding="utf-8"))


def speaks_faust(path: Path) -> bool:
    return any(name.split(".")[0] == "faust" for _, name in imports(parsed(path)))


def test_only_the_shell_of_ingest_speaks_faust():
    assert [name_of(path) for path in sources("groundswell", *PARTS) if speaks_faust(path)] == ["stream/intake.py"]


@pytest.mark.parametrize("path", [one for one in sources("stream") if speaks_faust(one)], ids=name_of)
def test_the_stream_uses_nothing_of_faust_that_loses_documents(path):
    assert list(faust_faults(parsed(path))) == []


@pytest.mark.parametrize(
    "path", [one for one in sources("groundswell", *PARTS) if not name_of(one).startswith(OWN_CLOCK)], ids=name_of
)
def test_only_the_clock_reads_the_clock(path):
    assert list(clock_faults(parsed(path))) == []


@pytest.mark.parametrize("path", sources("groundswell", *PARTS, "bench"), ids=name_of)
def test_a_pickled_model_is_never_loaded(path):
    assert list(pickle_faults(parsed(path))) == []


@pytest.mark.parametrize(
    "path", [one for one in sources("groundswell", *PARTS) if not name_of(one).startswith(EDGES)], ids=name_of
)
def test_parts_meet_on_topics_and_keys_only(path):
    assert list(import_faults(name_of(path), parsed(path))) == []


def test_ingest_reads_its_stream_in_the_one_shape_that_loses_nothing():
    assert "async for event in stream.noack().events():" in (ROOT / "stream" / "intake.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "line",
    [
        "async for batch in stream.take(10, within=1): pass",
        "stream.noack_take(5, 1)",
        "stream.take_events(5, 1)",
        "app.Table('counts')",
        "faust.Record",
        "from faust import Record",
        "app.agent(t, concurrency=4)",
        "faust.App('x', processing_guarantee='exactly_once')",
    ],
)
def test_the_lint_sees_what_loses_documents(line):
    source = f"async def f():\n    {line}\n" if "async" in line else line
    assert list(faust_faults(ast.parse(source)))


@pytest.mark.parametrize(
    "line", ["torch.load(path)", "torch.load(path, weights_only=False)", "pickle.loads(raw)", "joblib.load(path)"]
)
def test_the_lint_sees_a_pickled_model(line):
    assert list(pickle_faults(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    ["time.time()", "time.time_ns()", "datetime.now(UTC)", "datetime.datetime.utcnow()", "from time import time_ns"],
)
def test_the_lint_sees_a_read_clock(line):
    assert list(clock_faults(ast.parse(line)))


@pytest.mark.parametrize(
    ("path", "line", "wrong"),
    [
        ("models/a.py", "from stream import claims", True),
        ("models/a.py", "import stream.claims", True),
        ("alerts/a.py", "from stream.topology import ALERTS", False),
        ("alerts/a.py", "from stream import topology", False),
        ("groundswell/a.py", "from models.tags import Tag", True),
        ("groundswell/a.py", "from stream.topology import CONTROL", False),
        ("stream/a.py", "from groundswell.commands import demo", True),
        ("stream/a.py", "from stream.claims import claim", False),
        ("stream/a.py", "from groundswell.keys import Keys", False),
    ],
)
def test_the_lint_sees_parts_that_reach_into_each_other(path, line, wrong):
    assert bool(list(import_faults(path, ast.parse(line)))) is wrong
