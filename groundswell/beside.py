"""The sentence beside a field: the comment after it in the code is what `groundswell settings` and docs/reference/ say of it.

A comment that stands alone above fields is the heading of those that follow. scripts/reference.py makes the pages of it.
"""

import ast
import inspect
import io
import re
import tokenize
from typing import NamedTuple

_LINTER = re.compile(r"^noqa: \S+(?: - )?")


class Field(NamedTuple):
    """A field of a struct or a member of an enum; `heading` and `sentence` are empty where none is written."""

    name: str
    heading: str
    sentence: str


def fields(of: type) -> list[Field]:
    """Those that the class itself declares, in order. Raises OSError where its source is not there."""
    source = inspect.getsource(of)
    (found,) = ast.parse(source).body
    assert isinstance(found, ast.ClassDef)
    lines = {}
    for node in found.body:
        targets = (
            [node.target] if isinstance(node, ast.AnnAssign) else node.targets if isinstance(node, ast.Assign) else []
        )
        for target in targets:
            if isinstance(target, ast.Name):
                lines[target.id] = (node.lineno, node.end_lineno or node.lineno)
    return said(source, lines)


def said(source: str, lines: dict[str, tuple[int, int]]) -> list[Field]:
    """What the comments of `source` say of each name, which stands on its first to its last line."""
    beside, alone = _comments(source)
    return [
        Field(
            name,
            next((alone[line] for line in sorted(alone, reverse=True) if line < first), ""),
            " ".join(beside[line] for line in range(first, last + 1) if line in beside),
        )
        for name, (first, last) in lines.items()
    ]


def _comments(source: str) -> tuple[dict[int, str], dict[int, str]]:
    """Line -> comment: those after code, and those that have a line of their own."""
    beside: dict[int, str] = {}
    alone: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            kept = alone if token.line.lstrip().startswith("#") else beside
            text = _LINTER.sub("", token.string.removeprefix("#").strip())
            if text and not text.startswith("fmt:"):
                kept[token.start[0]] = text
    return beside, alone
