"""The JSON Schema printed for a record accepts what is on the wire and refuses what a reader would refuse."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from groundswell import records
from groundswell.commands.setup import SCHEMAS

GOLDEN = Path(__file__).parents[1] / "contract" / "golden"
FILES = {
    name: [*GOLDEN.glob("control-*.json")]
    if name == "control"
    else [*GOLDEN.glob(f"{name}.json"), *GOLDEN.glob(f"{name}-least.json")]
    for name in SCHEMAS
}


def validator(kind: Any) -> Any:
    schema = json.loads(json.dumps(msgspec.json.schema(kind)))
    checker = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    checker.check_schema(schema)
    return checker(schema)


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schema_of_a_record_accepts_its_golden_copies(name):
    assert FILES[name], "no golden copy"
    for file in FILES[name]:
        validator(SCHEMAS[name]).validate(json.loads(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", ["document", "tagged", "scored", "dead-letter", "delivery", "alert"])
def test_the_schema_refuses_another_version(name):
    found = json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))
    field = "schema" if name == "alert" else "v"
    assert not validator(SCHEMAS[name]).is_valid(found | {field: 2})


@pytest.mark.parametrize(
    "wrong",
    [{}, {"text": 1}, {"text": "a", "published_at": True}, {"text": "a", "symbols": "HTN"}, {"text": "a", "feed": "x"}],
)
def test_the_schema_for_feeds_refuses_what_ingest_refuses(wrong):
    assert not validator(records.InboundDocument).is_valid(wrong)


def test_the_schema_for_feeds_allows_fields_of_their_own():
    assert validator(records.InboundDocument).is_valid({"text": "a", "desk": {"name": "metals"}})
