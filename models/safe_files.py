"""Refuses what can run code in a model folder, whoever made it; next: catalog.py and classifier_folder.py, which ask.

Pickles run whatever they hold when they are opened, and a config can name a module of its own. Neither is ever opened.
"""

import json
from pathlib import Path
from typing import Any

from groundswell.errors import BrokenModel

RUNS_CODE = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib", ".ckpt", ".py"})
REMOVE = "Remove the file if the folder has safetensors as well; otherwise convert the weights to safetensors first."


def refuse_code(folder: Path) -> None:
    """Raises BrokenModel for the first file that could run code when it is opened."""
    for path in sorted(folder.iterdir()):
        if path.suffix in RUNS_CODE:
            raise BrokenModel(f"{path} is refused: this format can run code; only safetensors are read.", remedy=REMOVE)


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object of a model's file. Raises BrokenModel when it is none, or names code to run."""
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BrokenModel(f"{path} cannot be read: {error}.") from error
    if not isinstance(found, dict):
        raise BrokenModel(f"{path} cannot be read: it holds no JSON object.")
    if "auto_map" in found:
        raise BrokenModel(f"{path} asks to run code of its own (auto_map): refused.")
    return found
