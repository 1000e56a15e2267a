"""What the system page may ask of the whole installation: broker, books of deliver, model, dead letters. The edge for `Installation` in
dashboard/health/installation.py, since pages import none of the parts that answer here.

What reads Kafka runs apart from the loop that serves pages (groundswell/apart.py), one at a time, with a deadline.
"""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from alerts import lanes
from dashboard.health.installation import Broker, Figures, ModelCard, Resent
from groundswell.apart import apart
from groundswell.clients.connect import RedisClient
from groundswell.clock import Clock
from groundswell.errors import BrokerAway, NothingRuns, UnknownModel
from groundswell.keys import Keys
from groundswell.records import DeadLetter
from groundswell.running import health
from groundswell.running.books import Counts
from groundswell.settings import Settings
from models import catalog
from models.measure.gates import GATES
from stream import create, dead_letters
from stream.topology import Topology

NEWEST = 2_000  # letters that are looked at
READ_S, SEND_S, ANSWER_S = 20.0, 60.0, 15.0
FIGURES = "figures.json"


class Installation:
    """One for a process of the pages."""

    def __init__(self, settings: Settings, topology: Topology, clock: Clock, redis: RedisClient, keys: Keys) -> None:
        self._settings, self._topology, self._clock = settings, topology, clock
        self._redis, self._keys = redis, keys
        self._one_by_one = asyncio.Lock()

    async def broker(self) -> Broker:
        """Raises BrokerAway, and what connect.let_in raises."""
        self._configured()
        try:
            found = await apart(lambda: create.cluster(self._settings), ANSWER_S)
        except TimeoutError as error:
            raise BrokerAway(f"Kafka did not answer within {ANSWER_S:g} s.") from error
        missing = self._topology.missing(found.topics)
        wrong = health.bad_topics(missing, found.topics, self._topology.wanted())
        return Broker(brokers=found.brokers, cluster=found.id, wrong=wrong)

    async def delivered(self) -> Counts:
        """The books of deliver. Raises errors of Redis."""
        return await lanes.books(self._redis, self._keys)

    def model(self) -> ModelCard:
        """The model that the settings name, and what it was measured at, where its folder says so."""
        name = self._settings.model
        try:
            told: Any = json.loads((catalog.locate(name) / FIGURES).read_text(encoding="utf-8"))
        except (OSError, ValueError, UnknownModel):
            told = {}
        limits = {gate.dataset: gate.required for gate in GATES if gate.path == ("ece",)}
        sets = [
            Figures(
                name=key, texts=one["n"], accuracy=one["accuracy"], error=one["ece"], most=limits.get(key),
                sure=one.get("sure_accuracy"), unsure=one.get("unsure_share"), unseen="never learned from" in one.get("note", ""),
            )
            for key, one in told.items()
            if isinstance(one, dict) and one.get("ece") is not None
        ]  # fmt: skip
        shown = name if name in ("bundled", "scripted") else Path(name).name
        return ModelCard(name=shown, version=str(told.get("version", "")), sets=sets)

    async def letters(self) -> list[DeadLetter]:
        """About the NEWEST of them, oldest first. Raises BrokerAway."""
        self._configured()
        async with self._one_by_one:
            try:
                return await apart(lambda: dead_letters.read(self._settings, self._topology, NEWEST), READ_S)
            except TimeoutError as error:
                raise BrokerAway(f"The dead letters could not be read within {READ_S:g} s.") from error

    async def send_again(self, letters: Sequence[DeadLetter]) -> Resent:
        """To the topics they came from. Raises BrokerAway, ProduceFailed: ask again then, nothing counts twice."""
        self._configured()
        async with self._one_by_one:
            try:
                done = await apart(
                    lambda: dead_letters.send_again(
                        self._settings, self._topology, self._clock, letters, lambda _: None
                    ),
                    SEND_S,
                )
            except TimeoutError as error:
                raise BrokerAway(
                    f"Not all were sent within {SEND_S:g} s.",
                    remedy="Send them again: what has counted does not count twice.",
                ) from error
        return Resent(sent=done.sent, not_sent=[(letter, error.line) for letter, error in done.not_sent])

    def _configured(self) -> None:
        if not self._settings.kafka:
            raise NothingRuns
