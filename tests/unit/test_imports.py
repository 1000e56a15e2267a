"""Who may know whom, over whole chains of imports. test_banned_calls.py reads the lines of each file; here is what follows of them.

Also what one file's lines cannot show: that the table all parts meet on knows none of them, and that no way around the rule is in use.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from groundswell.cli import COMMANDS

ROOT = Path(__file__).parents[2]
PARTS = ("stream", "models", "alerts", "dashboard")
PACKAGES = ("groundswell", *PARTS, "bench")
MEETING_PLACE = "stream.topology"
BLOCKS = (ast.stmt, ast.ExceptHandler, ast.match_case)
EDGE = "groundswell.commands"
# What takes a second to load, or hundreds of megabytes: a command loads it when it needs it.
HEAVY = {
    "torch",
    "numpy",
    "transformers",
    "sklearn",
    "matplotlib",
    "faust",
    "starlette",
    "uvicorn",
    "exchange_calendars",
}


@cache
def modules() -> dict[str, Path]:
    """All modules of the product by name."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            place = path.relative_to(ROOT).with_suffix("")
            found[".".join(place.parts).removesuffix(".__init__")] = path
    return found


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(modules()[module].read_text(encoding="utf-8"))


def names(node: ast.AST) -> Iterator[str]:
    """The modules that one import loads, by their whole names."""
    if isinstance(node, ast.Import):
        yield from (one.name for one in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for one in node.names:
            inner = f"{node.module}.{one.name}"
            yield inner if inner in modules() else node.module


def at_once(module: str) -> Iterator[str]:
    """What a module imports when it is loaded; what stands in functions, or is for types alone, is not."""
    waiting: list[ast.AST] = list(tree(module).body)
    while waiting:
        node = waiting.pop()
        yield from names(node)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            waiting += node.orelse
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [one for one in ast.iter_child_nodes(node) if isinstance(one, BLOCKS)]


def ever(module: str) -> set[str]:
    return {name for node in ast.walk(tree(module)) for name in names(node)}


@cache
def loaded(module: str) -> frozenset[str]:
    """All that is loaded when this module is: its own imports, theirs, and the packages they lie in."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        if name in modules():
            waiting += [*at_once(name), *([name.rpartition(".")[0]] if "." in name else [])]
    return frozenset(found)


@cache
def processes() -> tuple[str, ...]:
    """What `groundswell ingest` and the others run, and what they are given; the model's own process is started by one of them."""
    return tuple(sorted(name for name in ever(f"{EDGE}.processes") if name in modules()))


def of(name: str) -> str:
    return name.partition(".")[0]


def test_there_is_something_to_look_at():
    assert len(modules()) > 300
    assert {"groundswell.records", MEETING_PLACE, *processes()} <= modules().keys()
    assert len(processes()) > 5
    assert "groundswell.keys" in loaded("dashboard.app")


def test_the_table_that_all_meet_on_imports_nothing_of_ours():
    assert [name for name in ever(MEETING_PLACE) if of(name) in PACKAGES] == []


@pytest.mark.parametrize("part", PARTS)
def test_no_chain_of_imports_leads_from_one_part_to_another(part):
    others = {
        (module, name)
        for module in modules()
        if of(module) == part
        for name in loaded(module)
        if of(name) in {*PARTS, "bench"} - {part} and name not in {MEETING_PLACE, "stream"}
    }
    assert others == set()


def test_the_kernel_loads_no_part():
    kernel = [one for one in modules() if of(one) == "groundswell" and not one.startswith(EDGE)]
    reached = {
        (module, name)
        for module in kernel
        for name in loaded(module)
        if of(name) in {*PARTS, "bench"} and name not in {MEETING_PLACE, "stream"}
    }
    assert reached == set()


def test_only_the_edge_knows_what_is_measured():
    knows = {one for one in modules() if of(one) != "bench" and any(of(name) == "bench" for name in ever(one))}
    assert {one for one in knows if not one.startswith(EDGE)} == set()
    assert [one for one in knows if any(of(name) == "bench" for name in loaded(one))] == []


def test_nobody_imports_the_edge_but_the_edge():
    knows = {one for one in modules() if any(name.startswith(EDGE) for name in ever(one))}
    assert {one for one in knows if not one.startswith(EDGE) and of(one) != "bench"} == set()


def test_the_help_knows_commands_by_name_alone():
    assert {of(name) for name in loaded("groundswell.cli")} & {*PARTS, "bench", *HEAVY} == set()


@pytest.mark.parametrize("module", sorted({module for module, _ in COMMANDS.values()}))
def test_a_command_loads_nothing_heavy_before_it_is_called(module):
    assert {of(name) for name in loaded(f"{EDGE}.{module}")} & HEAVY == set()


@pytest.mark.parametrize("module", processes())
def test_only_the_model_s_own_process_loads_torch(module):
    assert {of(name) for name in loaded(module)} & {"torch", "transformers"} == set()
    assert "torch" in {of(name) for name in loaded("models.worker")}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_import_says_whom_it_means(package):
    """Neither from where it stands (`from .x`), nor by a name that is put together, but for what is chosen by name on purpose."""
    chosen = {"cli", "bench", "calendars", "chaos_stage", "tagger_peers"}
    found = []
    for module in [one for one in modules() if of(one) == package]:
        for node in ast.walk(tree(module)):
            near = isinstance(node, ast.ImportFrom) and node.level > 0
            made = isinstance(node, ast.Name | ast.Attribute) and ast.unparse(node).endswith(
                ("import_module", "__import__")
            )
            if near or (made and module.rpartition(".")[2] not in chosen):
                found.append((module, node.lineno))
    assert found == []
