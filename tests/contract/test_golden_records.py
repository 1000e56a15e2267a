"""Every record on the wire means what its golden copy says, byte for byte: a change here breaks readers of stored topics.

A format that gained fields keeps its copy from before in golden/before/: what was written then is read, and means the same. A new
version of a record gets a new file beside the old one.
"""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from groundswell import records

GOLDEN = Path(__file__).parent / "golden"
TYPES: dict[str, Any] = {
    "inbound-document": records.InboundDocument,
    "inbound-document-least": records.InboundDocument,
    "document": records.Document,
    "document-least": records.Document,
    "tagged": records.Tagged,
    "scored": records.ScoredBatch,
    "dead-letter": records.DeadLetter,
    "alert": records.AlertEvent,
    "control-endpoint": records.ControlObject,
    "control-endpoint-least": records.ControlObject,
    "control-errand": records.ControlObject,
    "control-ack": records.ControlObject,
    "control-rules": records.ControlObject,
    "control-sensitivity": records.ControlObject,
    "control-silence": records.ControlObject,
    "control-watchlist": records.ControlObject,
    "control-token": records.ControlObject,
    "control-incarnation": records.ControlObject,
    "delivery": records.DeliveryOutcome,
    "audit": records.AuditEntry,
    "feedback": records.Feedback,
    "live-row": records.LiveRow,
    "document-card": records.DocumentCard,
    "alert-view": records.AlertView,
    "bucket": records.Bucket,
    "expectation": records.Expectation,
}
VERSIONS = {"v": 1, "schema": 1}
NAMES = sorted(TYPES)
BEFORE = sorted(path.stem for path in (GOLDEN / "before").glob("*.json"))


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8"))


def wire(value: Any) -> bytes:
    """As it stands on a topic: no blanks, Chinese as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def test_every_golden_file_is_checked_and_every_record_on_a_topic_has_one():
    assert {path.stem for path in GOLDEN.glob("*.json")} == set(TYPES)
    versioned = {
        kind for kind in vars(records).values()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct) and kind.__struct_config__.tag is not None
    }  # fmt: skip
    pinned = {type(msgspec.json.decode(wire(golden(name)), type=TYPES[name])) for name in NAMES}
    assert versioned <= pinned


@pytest.mark.parametrize("name", NAMES)
def test_a_golden_record_read_and_written_is_the_same_bytes(name):
    value = msgspec.json.decode(wire(golden(name)), type=TYPES[name])
    assert msgspec.json.encode(value) == wire(golden(name))


@pytest.mark.parametrize("name", [name for name in NAMES if not name.endswith("-least")])
def test_a_golden_record_shows_every_field(name):
    found = golden(name)
    kind = type(msgspec.json.decode(wire(found), type=TYPES[name]))
    if isinstance(found, list):
        assert len(found) == len(kind.__struct_fields__)
    else:
        assert set(kind.__struct_encode_fields__) == set(found) - {"v", "schema"} - (
            {"kind"} if "control" in name else set()
        )


@pytest.mark.parametrize("name", BEFORE)
def test_what_was_written_before_a_field_came_is_read_and_means_the_same(name):
    old = json.loads((GOLDEN / "before" / f"{name}.json").read_text(encoding="utf-8"))
    read = msgspec.to_builtins(msgspec.json.decode(wire(old), type=TYPES[name]))
    assert holds(read, old)
    assert read != msgspec.to_builtins(msgspec.json.decode(wire(golden(name)), type=TYPES[name])), "nothing is new"


def holds(read: Any, old: Any) -> bool:
    """Every value of the old record is in the read one, at its place."""
    if isinstance(old, dict):
        return all(name in read and holds(read[name], value) for name, value in old.items())
    if isinstance(old, list):
        return len(read) == len(old) and all(map(holds, read, old))
    return bool(read == old)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_that_is_not_known_yet_is_ignored(name):
    found = golden(name)
    more = [*found, "new"] if isinstance(found, list) else {**found, "field_of_tomorrow": {"deep": [1, None]}}
    kind = TYPES[name]
    assert msgspec.json.decode(wire(more), type=kind) == msgspec.json.decode(wire(found), type=kind)


@pytest.mark.parametrize("name", [name for name in NAMES if set(golden(name)) & VERSIONS.keys()])
@pytest.mark.parametrize("other", [2, 0, "1", None])
def test_another_version_is_refused(name, other):
    found = golden(name)
    (field,) = set(found) & VERSIONS.keys()
    with pytest.raises(msgspec.ValidationError, match=rf"\$\.{field}"):
        msgspec.json.decode(wire(found | {field: other}), type=TYPES[name])


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("control-")])
def test_a_control_object_of_another_kind_is_refused(name):
    with pytest.raises(msgspec.ValidationError, match="kind"):
        msgspec.json.decode(wire(golden(name) | {"kind": "wish"}), type=records.ControlObject)


@pytest.mark.parametrize("name", [name for name in NAMES if isinstance(golden(name), dict)])
def test_a_required_field_that_is_missing_is_refused(name):
    found = golden(name)
    kind = type(msgspec.json.decode(wire(found), type=TYPES[name]))
    for field in msgspec.structs.fields(kind):
        if field.required:
            cut = {key: value for key, value in found.items() if key != field.encode_name}
            with pytest.raises(msgspec.ValidationError, match=field.encode_name):
                msgspec.json.decode(wire(cut), type=TYPES[name])


@pytest.mark.parametrize("share", [-0.001, 1.001])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(msgspec.ValidationError, match="negative"):
        msgspec.json.decode(wire(golden("tagged") | {"negative": share}), type=records.Tagged)


def test_spans_count_code_points_of_title_and_text():
    document = msgspec.json.decode(wire(golden("document")), type=records.Document)
    named = document.mentions[0]
    assert document.words[named.start : named.end] == "港湾锡业"
    tagged = msgspec.json.decode(wire(golden("tagged")), type=records.Tagged)
    assert tagged.deciding is not None
    assert document.words[slice(*tagged.deciding)] == document.text


def test_a_dead_letter_carries_the_very_bytes_that_were_pushed():
    letter = msgspec.json.decode(wire(golden("dead-letter")), type=records.DeadLetter)
    assert letter.payload == b'{"text":"a","published_at":"yesterday"}'
