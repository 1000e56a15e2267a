"""Two versions side by side while one is rolled out: what either leaves in Redis or on a topic, the other reads.

Records have golden copies (test_golden_records.py). What is kept in Redis and on `baselines` is read with the very types below.
"""

import inspect
import pkgutil
from collections.abc import Iterator
from importlib import import_module

import msgspec
import pytest

from groundswell.running.books import Counts

# What people write, files and requests: a wrong name there is a mistake, not a newer version. In a seal it is what nobody signed.
WRITTEN_BY_PEOPLE = {
    "groundswell.settings", "groundswell.asked", "groundswell.asked_tuning", "dashboard.alerts.feedback", "dashboard.health.letters",
    "dashboard.entry.tokens", "stream.names.subjects", "stream.names.packs", "stream.names.pack_check", "stream.names.pack_answers",
    "stream.names.entities", "stream.names.phrases", "groundswell.evidence_export",
}  # fmt: skip
WHERE = ("groundswell", "stream", "alerts", "dashboard")


def structs() -> Iterator[type[msgspec.Struct]]:
    for package in WHERE:
        for found in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
            if found.name.endswith("__main__"):
                continue
            module = import_module(found.name)
            for _, kind in inspect.getmembers(module, inspect.isclass):
                if issubclass(kind, msgspec.Struct) and kind.__module__ == found.name:
                    yield kind


def test_no_type_refuses_a_field_that_a_newer_version_may_add():
    kept = [kind for kind in structs() if kind.__module__ not in WRITTEN_BY_PEOPLE]
    assert Counts in kept
    assert [kind for kind in kept if kind.__struct_config__.forbid_unknown_fields] == []


@pytest.mark.parametrize("known", [b'{"read":3,"applied":3}', b'{"read":3,"applied":3,"of_tomorrow":{"deep":[1]}}'])
def test_books_of_another_version_are_taken_up(known):
    assert msgspec.json.decode(known, type=Counts) == Counts(read=3, applied=3)
