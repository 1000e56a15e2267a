"""Writes docs/reference/ from the code: `make reference`. Every command, setting, topic, metric, outcome and field of an alert event.

The sentences are the code's own: a command's docstring, the comment beside a setting (groundswell/beside.py), a metric's text. The
Chinese pages take the Chinese that the program itself says (evidence_words, dashboard/words), then reference.zh.json beside this
file, by the English sentence; where nobody has written it yet the English stands. tests/unit/test_reference.py compares.

Over 400 lines: six pages of some sixty lines each, which share their tables and their words and are read one at a time.
"""
# ruff: noqa: INP001 - a script that is run, not a package

import ast
import functools
import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import click
import msgspec
from prometheus_client import Counter as CounterMetric
from prometheus_client import Gauge, Histogram

from dashboard.words import Words
from groundswell import beside, cli, decisions, errors, records, schemas, telemetry
from groundswell.decisions import Detected, Fate, Stage
from groundswell.evidence_words import GATES
from groundswell.settings import PREFIX, SECRETS, Settings
from stream.topology import TOPICS, Topic, Topology

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
CHINESE = Path(__file__).with_name("reference.zh.json")
FIRST = "<!-- Made from the code by scripts/reference.py (`make reference`): change the code, not this page. -->"
OFTEN = 10  # an option with the same sentence in so many commands is explained once
DAY_MS = 86_400_000
TOLD = Words()


class Unwritten(Exception):
    """A heading or framing text has no Chinese."""


class Voice:
    """Speaks one language. `heard` collects which Chinese sentences were used, so that the test finds those nobody says any more."""

    def __init__(self, tongue: Literal["en", "zh"], chinese: dict[str, str]) -> None:
        self.tongue, self._chinese = tongue, chinese
        self.heard: set[str] = set()

    def of(self, english: str) -> str:
        """The code's sentence: in Chinese where somebody has written it, else as it is."""
        if self.tongue == "en" or english not in self._chinese:
            return english
        self.heard.add(english)
        return self._chinese[english]

    def say(self, english: str) -> str:
        """This script's own text. Raises Unwritten without Chinese: a page of half a language is none."""
        if self.tongue == "zh" and english not in self._chinese:
            raise Unwritten(f"{CHINESE.name} has no Chinese for {english!r}.")
        return self.of(english)

    def word(self, *keys: str) -> str:
        """What the pages of the program say for the first of these keys that they know; else nothing."""
        for key in keys:
            with suppress(KeyError):
                return TOLD.say(self.tongue, key)
        return ""

    def chinese(self, *keys: str) -> str:
        """The same, on a Chinese page only: in English the code's own sentence says more."""
        return self.word(*keys) if self.tongue == "zh" else ""


Page = Callable[[Voice], Iterator[str]]


# -- Markdown ----------------------------------------------------------------------------------------------------------


def text(raw: str) -> str:
    """One paragraph: nothing in it is taken for markup, but for what stands in backticks."""
    parts = " ".join(raw.split()).split("`")
    return "`".join(part if i % 2 else re.sub(r"([<*|])", r"\\\1", part) for i, part in enumerate(parts))


def code(raw: object) -> str:
    return f"`{raw}`"


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def table(voice: Voice, head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """A Markdown table; cells are Markdown already."""
    columns = [voice.say(title) if title else "" for title in head]
    yield "| " + " | ".join(columns) + " |"
    yield "|" + "---|" * len(columns)
    for row in rows:
        yield "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in row) + " |"
    yield ""


def began(voice: Voice, name: str, title: str, about: str) -> Iterator[str]:
    """The head of a page, with the way to the other language."""
    other = f"English: [{name}.md]({name}.md)" if voice.tongue == "zh" else f"中文：[{name}.zh.md]({name}.zh.md)"
    yield from (FIRST, "", f"# {voice.say(title)}", "", f"{voice.say(about)} {other}", "")


# -- commands ----------------------------------------------------------------------------------------------------------


def commands(voice: Voice) -> Iterator[str]:
    """The tree that click knows, in the order of `groundswell --help`."""
    yield from began(
        voice, "commands", "Commands",
        "What `groundswell COMMAND --help` says, for all of them. Exit status: 0 done; 1 failed; 2 something to set right, said in one "
        "line.",
    )  # fmt: skip
    headings = {one.name: one.heading for one in beside.said(inspect.getsource(cli), _lines_of_commands())}
    tree = {name: list(_below(cli.cli, name)) for name in cli.COMMANDS}
    every = [one for found in tree.values() for one in found]
    counted = Counter(_of_option(voice, each, ctx) for _, command, ctx in every for each in _options(command))
    often = {row: f"`{row[0].split('`')[1]}`" for row, count in counted.items() if count >= OFTEN}
    groups = {
        heading: [name for name in tree if headings[name] == heading] for heading in dict.fromkeys(headings.values())
    }
    yield from table(voice, ("for", "commands"), (
        (voice.say(heading), " · ".join(f"[{name}](#{name})" for name in names)) for heading, names in groups.items()
    ))  # fmt: skip
    yield from (voice.say("Many commands have these; there they are only named:"), "")
    yield from table(voice, ("option", "does"), often)
    for heading, names in groups.items():
        yield from (f"## {_capital(voice.say(heading))}", "")
        for name in names:
            for path, command, ctx in tree[name]:
                yield from _command(voice, path, command, ctx, often)


def _command(
    voice: Voice, path: str, command: click.Command, ctx: click.Context, often: dict[tuple[str, str], str]
) -> Iterator[str]:
    yield from (f"{'###' if ' ' not in path else '####'} {path}", "")
    yield from (code(" ".join(["groundswell", path, *command.collect_usage_pieces(ctx)])), "")
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        yield from (text(voice.of(" ".join(paragraph.split()))), "")
    rows = [_of_option(voice, each, ctx) for each in _options(command)]
    if own := [row for row in rows if row not in often]:
        yield from table(voice, ("option", "does"), own)
    if shared := [often[row] for row in rows if row in often]:
        yield from (f"{voice.say('Also')} {', '.join(shared)}", "")


def _lines_of_commands() -> dict[str, tuple[int, int]]:
    """Command -> the line of cli.py where it is named, twice: as its first and its last."""
    lists = (node.value for node in ast.parse(inspect.getsource(cli)).body if isinstance(node, ast.Assign))
    found = next(node for node in lists if isinstance(node, ast.Dict))
    return {ast.literal_eval(key): (key.lineno, key.lineno) for key in found.keys if key is not None}


def _below(group: click.Group, name: str, path: str = "") -> Iterator[tuple[str, click.Command, click.Context]]:
    """A command and all beneath it, each with its path and a context to ask it in."""
    command = group.get_command(click.Context(group), name)
    assert command is not None, name
    path = f"{path} {name}".strip()
    ctx = click.Context(command, info_name=path, terminal_width=10_000)
    yield path, command, ctx
    if isinstance(command, click.Group):
        for each in command.list_commands(ctx):
            yield from _below(command, each, path)


def _options(command: click.Command) -> list[click.Option]:
    return [one for one in command.params if isinstance(one, click.Option) and not one.hidden]


def _of_option(voice: Voice, option: click.Option, ctx: click.Context) -> tuple[str, str]:
    """As --help shows it: its names and value, its sentence with default and bounds."""
    record = option.get_help_record(ctx)
    assert record is not None
    sentence = " ".join((option.help or "").split())
    return code(record[0]), text(f"{voice.of(sentence)} {record[1].removeprefix(option.help or '').strip()}")


# -- settings ----------------------------------------------------------------------------------------------------------


def settings(voice: Voice) -> Iterator[str]:
    """Each field with its variable, bounds, default and sentence."""
    yield from began(
        voice, "settings", "Settings",
        "Later ones win: the default, a TOML file (`groundswell.toml` here, `--config FILE` or `GROUNDSWELL_CONFIG`), the environment. "
        "Lists are split at commas. `groundswell settings` prints what is in force. More in [operations.md](../operations.md#settings).",
    )  # fmt: skip
    shapes = msgspec.json.schema(Settings)["$defs"]["Settings"]["properties"]
    found = beside.fields(Settings)
    for heading in dict.fromkeys(one.heading for one in found):
        title, _, rest = heading.partition("; ")
        yield from (f"## {_capital(voice.say(title))}", "")
        if rest:
            yield from (text(_capital(voice.say(rest + "."))), "")
        yield from table(voice, ("setting", "variable", "may be", "default", "is"), (
            (
                code(one.name), code(PREFIX + one.name.upper()),
                _kind(voice, shapes[one.name]) + (voice.say(", secret") if one.name in SECRETS else ""),
                _default(voice, shapes[one.name]["default"]), text(voice.of(one.sentence)),
            )
            for one in found if one.heading == heading
        ))  # fmt: skip


def _default(voice: Voice, value: Any) -> str:
    if value in ("", []):
        return voice.say("empty")
    return code(value if isinstance(value, str) else json.dumps(value) if isinstance(value, bool) else f"{value:g}")


def _kind(voice: Voice, shape: dict[str, Any]) -> str:
    """JSON Schema of one value in words, with its bounds; a struct is a link to its table."""
    if "$ref" in shape:
        name = shape["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in shape:
        return voice.say(" or ").join(_kind(voice, one) for one in shape["anyOf"])
    if "enum" in shape:
        return ", ".join(code(one) if one != "" else voice.say("empty") for one in shape["enum"])
    kind = shape["type"]
    if kind == "array":
        return voice.say("list of {}").format(_kind(voice, shape["items"]))
    if kind == "object":
        return voice.say("text by name")
    bounds = [
        voice.say(words).format(f"{shape[key]:,}")
        for key, words in (("minimum", "from {}"), ("exclusiveMinimum", "above {}"), ("maximum", "to {}"))
        if key in shape
    ]
    bounds += [code(shape["pattern"])] if "pattern" in shape else []
    named = {"string": "text", "integer": "whole number", "boolean": "`true`, `false`", "null": "`null`"}
    return " ".join([voice.say(named.get(kind, kind)), *bounds])


# -- topics ------------------------------------------------------------------------------------------------------------


def topics(voice: Voice) -> Iterator[str]:
    """The table they meet on, and what is in their records."""
    yield from began(
        voice, "topics", "Kafka topics",
        "`groundswell topology --create` makes them. Names begin with the setting `prefix` and a dot. Values are JSON.",
    )  # fmt: skip
    yield from table(voice, ("topic", "partitions", "key", "value", "kept", "writers", "readers"), (
        (
            code(one.name), str(one.partitions), text(voice.of(one.key)), text(voice.of(one.value)), _kept(voice, one),
            *(", ".join(_who(voice, each) for each in who.split(", ")) for who in (one.writers, one.readers)),
        )
        for one in TOPICS
    ))  # fmt: skip
    yield from (f"## {voice.say('Open to others')}", "")
    yield from (voice.say("`groundswell asyncapi` describes these to programs."), "")
    described = schemas.asyncapi(Settings(), Topology())["channels"]
    yield from table(voice, ("topic", "what to know"), (
        (code(one["address"]), text(voice.of(one["description"]))) for one in described.values()
    ))  # fmt: skip
    yield from (f"## {voice.say('Records')}", "")
    yield from (
        voice.say(
            "`groundswell schema NAME` prints the whole JSON Schema; [events.md](events.md) has the fields of an alert event."
        ),
        "",
    )
    yield from table(voice, ("name", "record", "is"), (
        (code(name), kind.__name__, text(voice.of(_docstring(kind))))
        for name, kind in schemas.SCHEMAS.items() if isinstance(kind, type)
    ))  # fmt: skip
    yield from (f"## {voice.say('Objects on control')}", "")
    yield from table(voice, ("kind", "is"), (
        (code(kind.__struct_config__.tag), text(voice.of(_docstring(kind)))) for kind in records.ControlObject.__args__
    ))  # fmt: skip


def _who(voice: Voice, name: str) -> str:
    return code(name) if name in cli.COMMANDS else text(voice.of(name))


def _kept(voice: Voice, topic: Topic) -> str:
    if topic.retention_ms is None:
        return voice.say("the newest of each key")
    days = voice.say("{} days").format(topic.retention_ms // DAY_MS)
    return voice.say("the newest of each key, {}").format(days) if topic.newest_only else days


def _docstring(of: type) -> str:
    """Its first paragraph, on one line."""
    return " ".join(inspect.cleandoc(of.__doc__ or "").partition("\n\n")[0].split())


# -- metrics -----------------------------------------------------------------------------------------------------------


def metrics(voice: Voice) -> Iterator[str]:
    """All of telemetry.py, by the names that Prometheus sees."""
    yield from began(
        voice, "metrics", "Metrics",
        "Each process serves its own at `/metrics` of `metrics_port`, beside those that any Python process has (`process_`, `python_`). "
        "A histogram has `_bucket`, `_sum` and `_count`. `grafana/groundswell.json` draws them all.",
    )  # fmt: skip
    found = [one for one in vars(telemetry).values() if isinstance(one, CounterMetric | Gauge | Histogram)]
    rows = []
    for metric in found:
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(map(code, metric._labelnames))  # noqa: SLF001 - prometheus_client has no other way
        rows.append((code(name), voice.say(family.type), labels, text(voice.of(family.documentation))))
    yield from table(voice, ("metric", "kind", "labels", "is"), rows)
    yield from (f"## {voice.say('Labels')}", "")
    yield from table(voice, ("label", "values"), (
        (code("stage"), ", ".join(map(code, Stage))),
        (code("fate"), ", ".join(map(code, Fate))),
        (code("reason"), voice.say("of a refusal: [outcomes.md](outcomes.md#refused)")),
        (
            ", ".join(map(code, ("kind", "decision"))),
            voice.say("`detect` and [why](outcomes.md#detected), `delivery` and [how it ended](outcomes.md#delivery)"),
        ),
    ))  # fmt: skip


# -- outcomes ----------------------------------------------------------------------------------------------------------

# Where dashboard/words says the members of an enum, first to last.
WORDS = {Fate: ("system",), decisions.SubjectState: ("state",), decisions.Delivery: ("step.outcome", "outcome")}
KINDS = {
    "Retryable": "Keep the input, wait, call again.",
    "Refused": "Never will succeed as it is: a document becomes a dead letter, a request is answered 4xx.",
    "Misconfigured": "The process stops at its start with exit status 2.",
    "Fatal": "The process stops and starts again from its last committed place.",
}


def outcomes(voice: Voice) -> Iterator[str]:
    """Decisions and errors: one word each in log, metric, dead letter, HTTP answer and page."""
    yield from began(
        voice, "outcomes", "Outcomes: decisions and errors",
        "Each outcome has one word: the same in logs, metrics, dead letters, HTTP answers and pages. It never changes.",
    )  # fmt: skip
    for kind in vars(decisions).values():
        if inspect.isclass(kind) and issubclass(kind, StrEnum) and kind is not StrEnum:
            yield from (f"## {kind.__name__}", "")
            if kind.__doc__:
                yield from (text(voice.of(_docstring(kind))), "")
            sentences = {one.name: one.sentence for one in beside.fields(kind)}
            yield from table(voice, ("outcome", "means"), (
                (code(one.value), text(_meaning(voice, kind, one, sentences[one.name]))) for one in kind
            ))  # fmt: skip
    known = errors_of_the_product()
    for name, sentence in KINDS.items():
        yield from (f"## {name}", "", voice.say(sentence), "")
        yield from table(voice, ("reason", "means", "what to do"), (
            (
                code(one["reason"]),
                text(voice.chinese(f"letter.{one['reason']}") or voice.of(one["says"])),
                text(voice.chinese(f"mend.{one['reason']}") or voice.of(one["remedy"]) or voice.say("said with it")),
            )
            for one in known if one["kind"] == name
        ))  # fmt: skip


def _meaning(voice: Voice, kind: type[StrEnum], one: StrEnum, sentence: str) -> str:
    if isinstance(one, Detected):
        return GATES[voice.tongue][one]
    if isinstance(one, Stage):
        return voice.of(cli.COMMANDS[one.value][1])
    if voice.of(sentence) == sentence:
        return voice.chinese(*(f"{prefix}.{one.value}" for prefix in WORDS.get(kind, ()))) or sentence
    return voice.of(sentence)


@functools.cache
def errors_of_the_product() -> list[dict[str, str]]:
    """Reason, sentence, remedy and kind of every error, from the source: importing the models would load torch. In the order of the files,
    errors.py first; one reason once."""
    folders = ("groundswell", "stream", "models", "alerts", "dashboard")
    files = [Path(errors.__file__), *(file for folder in folders for file in sorted((ROOT / folder).rglob("*.py")))]
    classes: dict[str, ast.ClassDef] = {}
    for source in (file.read_text(encoding="utf-8") for file in files):
        if "    reason = " in source or "(GroundswellError)" in source:
            for node in ast.parse(source).body:
                if isinstance(node, ast.ClassDef):
                    classes.setdefault(node.name, node)
    found: dict[str, dict[str, str]] = {}
    for node in classes.values():
        line = list(_ancestors(node, classes))
        kind = next((one.name for one in line[1:] if one.name in KINDS), "")
        reason = _written(node, "reason")
        if kind and reason:
            remedy = next((said for one in line if (said := _written(one, "remedy"))), "")
            says = " ".join((ast.get_docstring(node) or "").split())
            found.setdefault(reason, {"reason": reason, "says": says, "remedy": remedy, "kind": kind})
    return list(found.values())


def _ancestors(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    yield node
    for parent in node.bases:
        if isinstance(parent, ast.Name) and parent.id in classes:
            yield from _ancestors(classes[parent.id], classes)


def _written(node: ast.ClassDef, name: str) -> str:
    """The text that a class gives a name; empty where it gives none, or not as a constant."""
    for one in node.body:
        if isinstance(one, ast.Assign) and isinstance(one.value, ast.Constant) and ast.unparse(one.targets[0]) == name:
            return str(one.value.value)
    return ""


# -- events ------------------------------------------------------------------------------------------------------------


def events(voice: Voice) -> Iterator[str]:
    """Each struct of an alert event, the outermost first, as the JSON Schema has it."""
    yield from began(
        voice, "events", "Fields of an alert event",
        "The body of a webhook and the record of `alerts.v1` are the same bytes. `groundswell schema alert` prints the JSON Schema; within "
        "schema 1 there are only additions, so ignore what you do not know. How to receive and verify: [webhooks.md](../webhooks.md).",
    )  # fmt: skip
    schema = schemas.schema("alert")
    shapes = schema["$defs"]
    waiting = [schema["$ref"].rpartition("/")[2]]
    for name in waiting:
        shape = shapes[name]
        waiting += [
            one for one in dict.fromkeys(re.findall(r"#/\$defs/(\w+)", json.dumps(shape))) if one not in waiting
        ]
        sentences = {"schema": "of this shape"} | {
            one.name: one.sentence for one in beside.fields(getattr(records, name))
        }
        yield from (f"## {name}", "")
        if "description" in shape:
            yield from (text(voice.of(" ".join(shape["description"].split()))), "")
        yield from table(voice, ("field", "holds", "is"), (
            (
                code(field),
                _kind(voice, of) + ("" if field in shape.get("required", ()) else voice.say("; may be missing")),
                text(voice.of(sentences[field])),
            )
            for field, of in shape["properties"].items()
        ))  # fmt: skip
    yield from (f"## {voice.say('Types of events')}", "")
    yield from table(voice, ("type", "means"), (
        (code(kind), voice.word(f"event.{kind}")) for kind in shapes["AlertEvent"]["properties"]["type"]["enum"]
    ))  # fmt: skip


# -- all of it ---------------------------------------------------------------------------------------------------------

PAGES: dict[str, Page] = {
    "commands": commands, "settings": settings, "topics": topics, "metrics": metrics, "outcomes": outcomes, "events": events,
}  # fmt: skip


def chinese() -> dict[str, str]:
    """English sentence -> Chinese, written by people."""
    return msgspec.json.decode(CHINESE.read_bytes(), type=dict[str, str])


def made() -> tuple[dict[str, str], set[str]]:
    """File name -> page, and the English of the Chinese sentences that no page says any more."""
    english, spoken = Voice("en", {}), Voice("zh", chinese())
    pages = {}
    for name, page in PAGES.items():
        for voice, ending in ((english, ".md"), (spoken, ".zh.md")):
            pages[name + ending] = "\n".join(page(voice)).rstrip("\n") + "\n"
    return pages, chinese().keys() - spoken.heard


def main() -> int:
    """Writes what differs, drops what is no page any more. Exit status 1: a Chinese sentence is left whose English has changed."""
    pages, idle = made()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in FOLDER.glob("*.md"):
        if file.name not in pages:
            file.unlink()
    for name, page in pages.items():
        file = FOLDER / name
        if not file.exists() or file.read_text(encoding="utf-8") != page:
            file.write_text(page, encoding="utf-8")
            sys.stdout.write(f"{file.relative_to(ROOT)}\n")
    for english in sorted(idle):
        sys.stderr.write(f"{CHINESE.name}: nothing says this any more: {english}\n")
    return 1 if idle else 0


if __name__ == "__main__":
    sys.exit(main())
