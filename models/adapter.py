"""A fine-tuned adapter's folder: the low-rank change of a model and the numbers fitted for it; next: low_rank.py, its arithmetic.

Two files: `adapter.safetensors` (for each adapted matrix two thin ones, and the heads as a whole) and `adapter.json`
(an `Adapter`). It speaks of one model, its base, and of no other: the base is found by name and recognised by the
sha256 of its weights. This file imports no torch.
"""

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from groundswell.errors import BrokenModel, UnknownModel
from models import catalog
from models.catalog import Config, Language

FORMAT = 1
FACTORS, ADAPTER = "adapter.safetensors", "adapter.json"
# The matrices of a layer that get a low-rank change: attention and feed-forward.
MATRICES = ("qkv", "attention_out", "up", "down")


class Adapter(msgspec.Struct, frozen=True, kw_only=True):
    """`adapter.json`. `base` is `bundled` or a folder; `learned_from` says in numbers what was learned from; the
    thresholds, the two fitted tables and the styles (the user's own among them) replace those of the base's config."""

    format: int
    version: str
    base: str
    base_version: str
    base_sha256: str
    weights_sha256: str
    rank: int
    alpha: float
    topic_thresholds: list[float]
    languages: dict[str, Language]
    targets: dict[str, Language]
    styles: dict[str, list[float]]
    learned_from: dict[str, Any] = {}

    @property
    def scale(self) -> float:
        """What the product of the two thin matrices is multiplied with before it is added."""
        return self.alpha / self.rank


def is_one(folder: Path) -> bool:
    """Whether this folder holds an adapter and no whole model."""
    return (folder / ADAPTER).is_file()


def read(folder: Path) -> Adapter:
    """The adapter's numbers, checked against themselves. Raises BrokenModel."""
    path = folder / ADAPTER
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Adapter)
    except (OSError, msgspec.DecodeError) as error:
        raise broken(f"{path} cannot be read: {error}.") from error
    if found.format != FORMAT:
        raise broken(f"{path} has format {found.format}; this version reads {FORMAT}.")
    if found.rank < 1 or not found.alpha > 0:
        raise broken(f"{path}: rank {found.rank} and alpha {found.alpha} are no low-rank change.")
    return found


def base_of(found: Adapter, folder: Path) -> Path:
    """The folder of the model that the adapter changes. Raises BrokenModel when it is not there."""
    try:
        base = catalog.locate(found.base)
    except UnknownModel as error:
        raise BrokenModel(
            f"the adapter {folder} changes the model {found.base}, which is not there.",
            remedy="Put that folder back, or name its new place as `base` in adapter.json.",
        ) from error
    if is_one(base):
        raise broken(f"the adapter {folder} changes {base}, which is an adapter itself.")
    return base


def check(folder: Path) -> Config:
    """The base's config with the adapter's numbers. Raises BrokenModel with the first misfit: the base is missing or
    another one than the adapter was made for, or the thin matrices do not fit it."""
    found = read(folder)
    base = base_of(found, folder)
    config = catalog.check(base)
    if (config.version, config.weights_sha256) != (found.base_version, found.base_sha256):
        raise BrokenModel(
            f"the adapter {folder} was made for {found.base_version} (sha256 {found.base_sha256[:12]}…); "
            f"{found.base} is now {config.version} (sha256 {config.weights_sha256[:12]}…).",
            remedy="Put that version of the model back, or run `groundswell finetune` again on the one that is there.",
        )
    path = folder / FACTORS
    if not path.is_file():
        raise broken(f"{path} is missing.")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != found.weights_sha256:
        raise broken(f"{path} is not the file that adapter.json names (sha256 {digest[:12]}…).")
    settled = msgspec.structs.replace(
        config,
        version=found.version,
        weights_sha256=digest,
        topic_thresholds=found.topic_thresholds,
        languages=found.languages,
        targets=found.targets,
        styles=found.styles,
    )
    catalog.check_config(settled, folder / ADAPTER)
    catalog.check_shapes(path, expected_shapes(settled, found.rank))
    return settled


def expected_shapes(config: Config, rank: int) -> dict[str, list[int]]:
    """Every tensor of an adapter of this rank, by name, with its shape."""
    whole = catalog.expected_shapes(config)
    shapes = {name: whole[name] for name in heads(config)}
    for name in adapted(config):
        rows, columns = whole[name + ".weight"]
        shapes |= {name + ".a": [rank, columns], name + ".b": [rows, rank]}
    return shapes


def heads(config: Config) -> list[str]:
    """The tensors that an adapter holds as a whole, since they are small."""
    return [name for name in catalog.expected_shapes(config) if not name.startswith(("layers.", "embeddings."))]


def adapted(config: Config) -> list[str]:
    """The names, without `.weight`, of the matrices that get a low-rank change."""
    return [f"layers.{n}.{matrix}" for n in range(config.layers) for matrix in MATRICES]


def broken(message: str) -> BrokenModel:
    return BrokenModel(message, remedy="Make the adapter again with `groundswell finetune`.")
