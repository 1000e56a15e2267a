"""What docs/architecture.md says of the way of a document, and of an acknowledgement back, is held to the code.

It names files and functions, topics and Redis keys. A name that is moved or changed without the page fails here; so does a step that
takes something which no step before it made, and one whose files know nothing of the topic or key that it is said to use.
"""

import ast
import inspect
import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from alerts import lanes
from groundswell.keys import Keys
from stream import topology

ROOT = Path(__file__).parents[2]
SECTIONS = ("The way of a document", "The way of an acknowledgement")
NAMED = re.compile(r"`([\w./-]+\.(?:py|js|lua))(?:: ([\w.#]+))?`")
TOPIC = re.compile(r"(?<![\w.-])[a-z][a-z-]*\.v\d+\b")
KEY = re.compile(r"\{n\}:(?:[\w:{}]|<\w+>)+")
DELIVERY = "{n}:{dlv}:"


class Step(NamedTuple):
    number: int
    functions: str
    goes_in: str
    comes_out: str
    lasting_by: str

    @property
    def whole(self) -> str:
        return " ".join(self[1:])

    @property
    def files(self) -> str:
        """All that the named files say."""
        return "\n".join((ROOT / path).read_text(encoding="utf-8") for path, _ in NAMED.findall(self.functions))


@cache
def section(title: str) -> str:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@cache
def drawing(title: str) -> str:
    return section(title).split("```")[1]


@cache
def steps(title: str) -> list[Step]:
    rows = re.findall(r"^\| (\d+) \| .+ \|$", section(title), re.MULTILINE)
    lines = [line for line in section(title).splitlines() if re.match(r"\| \d+ \|", line)]
    assert len(rows) == len(lines)
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [
        Step(int(number), functions, goes_in, comes_out, by.strip("| "))
        for number, _, functions, goes_in, comes_out, by in cells
    ]


def all_steps() -> list[Step]:
    return [step for title in SECTIONS for step in steps(title)]


def used(text: str) -> set[str]:
    """Topics and keys, without the colon or dot of the sentence."""
    return {*TOPIC.findall(text), *(key.rstrip(":") for key in KEY.findall(text))}


# -- what there is -----------------------------------------------------------------------------------------------------


class Blank(str):
    """A place in a key's name: it looks the same in whatever format a key writes it."""

    __slots__ = ()

    def __format__(self, _form: str) -> str:
        return str(self)


@cache
def keys() -> dict[str, str]:
    """Each key as the page writes it, and the name in `Keys` that makes it."""
    made, found = Keys("{n}"), {}
    for name, one in inspect.getmembers(Keys):
        if name.startswith("_"):
            continue
        if isinstance(one, property):
            found[str(getattr(made, name))] = name
        elif inspect.isfunction(one):
            asked = list(inspect.signature(one).parameters)[1:]
            places = [17 if place == "scored" else Blank(f"<{place}>") for place in asked]
            found[one(made, *places)] = name
    return found


@cache
def delivery_keys() -> set[str]:
    """As the list at the top of lanes.py has them."""
    listed = re.findall(r"^([a-z][\w:<>, ]*?) {2,}\S", lanes.__doc__ or "", re.MULTILINE)
    return {name for names in listed for name in names.split(", ")}


@cache
def topics() -> dict[str, str]:
    """Each topic without the prefix, and the constant that it is."""
    return {one.name: name for name, one in vars(topology).items() if isinstance(one, topology.Topic)}


def is_there(path: str, name: str) -> bool:
    file = ROOT / path
    if not file.is_file():
        return False
    text = file.read_text(encoding="utf-8")
    return not name or (in_python(text, name) if path.endswith(".py") else in_script(text, name))


def in_python(text: str, name: str) -> bool:
    body: list[ast.stmt] = ast.parse(text).body
    for part in name.split("."):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found = next((one for one in body if isinstance(one, kinds) and one.name == part), None)
        if found is None:
            return False
        body = found.body
    return True


def in_script(text: str, name: str) -> bool:
    """A function of a module, or a method of a class: the repository's own scripts indent by two."""
    of, _, called = name.rpartition(".")
    if of:
        body = re.search(rf"^(?:export )?class {of}\b.*?^\}}", text, re.MULTILINE | re.DOTALL)
        return bool(body and re.search(rf"^  (?:async |get |set )*{called}\(", body[0], re.MULTILINE))
    return bool(
        re.search(
            rf"^(?:export )?(?:(?:async )?function {called}\(|const {called} = (?:async )?[(\w])", text, re.MULTILINE
        )
    )


def mentions(step: Step, name: str) -> bool:
    """Whether the files of a step know of this topic or key: the constant, what `Keys` calls it, or its own letters."""
    if name in topics():
        return bool(re.search(rf"\b{topics()[name]}\b", step.files))
    if name.startswith(DELIVERY):
        return f":{name.removeprefix(DELIVERY).partition(':')[0]}" in step.files
    return name in keys() and bool(re.search(rf"\.{keys()[name]}\b", step.files))


# -- the page ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", SECTIONS)
def test_the_steps_are_counted_without_a_hole_and_each_is_in_the_drawing(title):
    numbers = [step.number for step in steps(title)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= 10
    drawn = {int(number) for number in re.findall(r"(?<![\w{<])(\d+) [a-z]", drawing(title))}
    assert drawn >= set(numbers)


@pytest.mark.parametrize("title", SECTIONS)
def test_every_file_and_function_of_the_way_is_there(title):
    named = NAMED.findall(section(title))
    assert len(named) > len(steps(title))
    assert [f"{path}: {name}" for path, name in named if not is_there(path, name)] == []


@pytest.mark.parametrize("title", SECTIONS)
def test_every_step_names_a_function(title):
    assert [step.number for step in steps(title) if not any(name for _, name in NAMED.findall(step.functions))] == []


@pytest.mark.parametrize("title", SECTIONS)
def test_every_topic_and_key_of_the_way_has_this_name(title):
    told = used(section(title))
    assert told
    known = {*topics(), *keys(), *(DELIVERY + name for name in delivery_keys()), "{n}:{s17}"}
    assert told - known == set()


@pytest.mark.parametrize("title", SECTIONS)
def test_the_drawing_and_the_table_speak_of_the_same_topics(title):
    table = {name for step in steps(title) for name in TOPIC.findall(step.whole)}
    drawn = set(TOPIC.findall(drawing(title)))
    assert drawn
    assert drawn <= table


def test_what_goes_into_a_step_came_out_of_one_before_it():
    made: set[str] = set()
    missing = []
    for step in all_steps():
        made |= used(step.lasting_by)  # what a step keeps for itself it may have kept the last time
        missing += [(step.number, name) for name in used(step.goes_in) - made]
        made |= used(step.comes_out)
    assert missing == []


@pytest.mark.parametrize("step", all_steps(), ids=lambda step: f"{step.number}-{NAMED.findall(step.functions)[0][1]}")
def test_the_files_of_a_step_know_the_topics_and_keys_that_it_uses(step):
    assert [name for name in sorted(used(step.whole)) if not mentions(step, name)] == []


# -- the test itself ---------------------------------------------------------------------------------------------------

SCRIPT = "export class Chart {\n  #columns() {\n  }\n  async take() {\n  }\n}\nasync function hear(event) {\n}\n"


@pytest.mark.parametrize(
    ("name", "there"),
    [("Chart.#columns", True), ("Chart.take", True), ("hear", True), ("Chart.hear", False), ("take", False)],
)
def test_a_function_of_a_script_is_found_where_it_stands(name, there):
    assert in_script(SCRIPT, name) is there


@pytest.mark.parametrize(("name", "there"), [("A.b", True), ("c", True), ("b", False), ("A.c", False)])
def test_a_function_of_a_module_is_found_where_it_stands(name, there):
    assert in_python("class A:\n    async def b(self): ...\ndef c(): ...\n", name) is there


def test_a_key_that_nobody_has_is_seen():
    assert used("to `{n}:{s17}:outbox`, then `warnings.v1`.") == {"{n}:{s17}:outbox", "warnings.v1"}
    assert not {"{n}:{s17}:outbox", "warnings.v1"} & {*keys(), *topics()}
    assert "{n}:{s17}:out" in keys()
