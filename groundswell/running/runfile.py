"""How a command finds the `groundswell up` that runs on this machine: a small file with its addresses, readable by its owner only."""

import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from groundswell.errors import NothingRuns
from groundswell.settings import Settings

# How to reach the services, beside their addresses: another command needs them as much as the stages do.
CONNECTION = (
    "kafka_security", "kafka_mechanism", "kafka_user", "kafka_password", "kafka_ca", "kafka_cert", "kafka_key",
    "redis_ca", "redis_cert", "redis_key", "redis_sentinel_password", "insecure",
)  # fmt: skip


class Running(Struct, kw_only=True, frozen=True):
    """What `up` notes about itself."""

    pid: int
    kafka: str
    redis: str
    prefix: str
    secret_key: str
    page: str
    catalogues: list[str] = []
    packs: list[str] = []
    connection: dict[str, Any] = {}  # the settings of CONNECTION that are set


def folder(settings: Settings) -> Path:
    """Where `up` keeps its notes and logs."""
    return Path(settings.state_dir) if settings.state_dir else Path.home() / ".local" / "state" / "groundswell"


def write(settings: Settings, running: Running) -> Path:
    """Note what runs; returns the file."""
    path = folder(settings) / "running.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Opened for the owner only before anything is in it: it holds the key of the endpoint secrets.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        os.fchmod(file.fileno(), 0o600)  # a file left from before may be open to others
        file.write(msgspec.json.encode(running))
    return path


def remove(settings: Settings, pid: int) -> None:
    """Take the note away, if it is still this process's."""
    running = read(settings)
    if running is not None and running.pid == pid:
        (folder(settings) / "running.json").unlink(missing_ok=True)


def connection(settings: Settings) -> dict[str, Any]:
    """The settings of CONNECTION that differ from their default; a file's name as others find it."""
    default, found = Settings(), {name: getattr(settings, name) for name in CONNECTION}
    return {
        name: str(Path(value).resolve()) if name.endswith(("_ca", "_cert", "_key")) else value
        for name, value in found.items() if value != getattr(default, name)
    }  # fmt: skip


def read(settings: Settings) -> Running | None:
    """What runs, or None when nothing does (a note left behind by a killed process counts as nothing)."""
    try:
        running = msgspec.json.decode((folder(settings) / "running.json").read_bytes(), type=Running)
        os.kill(running.pid, 0)
    except (OSError, msgspec.MsgspecError):
        return None
    return running


def joined(settings: Settings) -> Settings:
    """Settings with addresses: as set, else those of the `up` that runs. Raises NothingRuns."""
    if settings.kafka and settings.redis:
        return settings
    running = read(settings)
    if running is None:
        raise NothingRuns
    return structs.replace(
        settings, kafka=settings.kafka or running.kafka, redis=settings.redis or running.redis, prefix=running.prefix,
        secret_key=settings.secret_key or running.secret_key, page_url=settings.page_url or running.page,
        catalogues=settings.catalogues or running.catalogues, packs=settings.packs or running.packs,
        **{**running.connection, **connection(settings)},
    )  # fmt: skip
