"""A user's own rule as TOML text, so that what is in force can be edited. Pure; rule_grammar.py reads it back to the same rule."""

import json
from typing import Any

_LISTS = ("all", "any")


def written(definition: dict[str, Any]) -> str:
    """One rule as the control topic has it, as a [[rule]] of a file."""
    lines = ["[[rule]]"]
    for key, value in definition.items():
        lines.append(f"{key} = {_conditions(value, 1) if key in _LISTS else _value(value)}")
    return "\n".join(lines) + "\n"


def _conditions(parts: Any, depth: int) -> str:
    """A condition a line."""
    indent = "  " * depth
    lines = []
    for part in parts:
        nested = next((key for key in _LISTS if key in part), "")
        lines.append(
            f"{indent}{{ {nested} = {_conditions(part[nested], depth + 1)} }},"
            if nested
            else f"{indent}{_value(part)},"
        )
    return "\n".join(["[", *lines, "  " * (depth - 1) + "]"])


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(one) for one in value) + "]"
    # What JSON writes of texts, numbers and truth is TOML; DEL is the one letter that only JSON leaves bare.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
