"""Finds a model of the hub in this machine's cache, or fetches it where that is allowed; next: catalog.py.

Only weights as safetensors, JSON and the tokenizer's files are ever fetched; pickles stay where they are.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from groundswell.errors import UnknownModel
from groundswell.text import safe

# `org/name`, or `org/name@revision` with a branch, tag or commit of it.
HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,95})(?:@(?P<revision>[\w.-]{1,100}))?", re.ASCII)
WANTED = ("*.safetensors", "*.json", "vocab.txt", "merges.txt", "*.model")
ALLOW = "Fetch it once with `groundswell models check NAME --download`, set GROUNDSWELL_MODEL_DOWNLOAD=true, or give a folder."


def folder_of(name: str, *, download: bool) -> Path:
    """The folder of the files of a hub id. Without `download` nothing leaves this machine. Raises UnknownModel."""
    import huggingface_hub

    found = HUB_ID.fullmatch(name)
    if found is None:
        raise UnknownModel(f"{safe(name)!r} is not the name of a model.")
    try:
        path = huggingface_hub.snapshot_download(
            found["id"], revision=found["revision"], allow_patterns=list(WANTED), local_files_only=not download
        )
    except Exception as error:  # the client raises what its HTTP library raises
        if download:
            raise UnknownModel(
                f"{name} cannot be fetched: {safe(str(error))}.", remedy="Check the name and the network."
            ) from error
        raise UnknownModel(
            f"there is no folder {name}, and this machine holds no model of that name.",
            remedy=ALLOW.replace("NAME", name),
        ) from error
    return Path(path)


def cached() -> Iterator[tuple[str, Path]]:
    """Every model in this machine's cache: its hub id and the folder of its main revision."""
    from huggingface_hub import constants

    for ref in sorted(Path(constants.HF_HUB_CACHE).glob("models--*/refs/main")):
        folder = ref.parents[1] / "snapshots" / ref.read_text("utf-8").strip()
        if folder.is_dir():
            yield id_of(folder), folder


def id_of(folder: Path) -> str:
    """The hub id of a folder in the cache, the plain name of any other."""
    at = folder.absolute()
    cache = at.parents[1].name if len(at.parents) > 1 else ""
    if at.parent.name == "snapshots" and cache.startswith("models--"):
        return cache.removeprefix("models--").replace("--", "/")
    return at.name
