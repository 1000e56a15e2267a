"""The formats that others build on, as documents: JSON Schema of each record, AsyncAPI 3 of the public topics.

Made from records.py and stream/topology.py, so that they cannot say anything else than the code does. `groundswell schema`
and `groundswell asyncapi` print them, the pages' process serves them (dashboard/alerts/consumers.py).
"""

from typing import Any

import msgspec

from groundswell import __version__, beside, records
from groundswell.settings import Settings
from stream import topology
from stream.topology import Topic, Topology

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ALERT_SCHEMA = "/schemas/alert-event.v1.json"

SCHEMAS: dict[str, Any] = {
    "inbound-document": records.InboundDocument, "document": records.Document, "tagged": records.Tagged, "scored": records.ScoredBatch,
    "alert": records.AlertEvent, "dead-letter": records.DeadLetter, "delivery": records.DeliveryOutcome, "control": records.ControlObject,
    "feedback": records.Feedback, "audit": records.AuditEntry,
    "live-row": records.LiveRow, "alert-view": records.AlertView,
}  # fmt: skip

# Topic, what it holds, whether Groundswell sends it (else: receives), and what to know. `control` is left out on purpose: who
# writes there can send every alert elsewhere, so it has one door, HTTP and the command line.
_PUBLIC: tuple[tuple[Topic, str, Any, bool, str], ...] = (
    (topology.NEWS, "news", records.InboundDocument | list[records.InboundDocument], False,
     "One document or an array of up to 500, at most 1 MiB. Send each feed under one key: that keeps its order."),
    (topology.COMMENTS, "comments", records.InboundDocument | list[records.InboundDocument], False,
     "As news; what people say about companies rather than what is reported."),
    (topology.TAGGED, "tagged", records.Tagged, True,
     "One record a document, after the model: polarity, topics, companies, the deciding sentence."),
    (topology.ALERTS, "alerts", records.AlertEvent, True,
     "Each transition of an episode; in order within one, by key. The bytes of a webhook are the bytes of this record."),
    (topology.DELIVERIES, "deliveries", records.DeliveryOutcome, True, "One record a try to hand an alert to an endpoint."),
)  # fmt: skip


def schema(name: str) -> dict[str, Any]:
    """JSON Schema 2020-12 of a record by its name in SCHEMAS."""
    made = msgspec.json.schema(SCHEMAS[name])
    _describe(made["$defs"])
    return {"$schema": DIALECT, **made}


def _describe(shapes: dict[str, dict[str, Any]]) -> None:
    """Each field gets the sentence that stands beside it in the code."""
    for name, shape in shapes.items():
        for one in beside.fields(getattr(records, name)) if hasattr(records, name) else ():
            if one.sentence and one.name in shape.get("properties", {}):
                shape["properties"][one.name]["description"] = one.sentence


def alert_schema(page_url: str = "") -> dict[str, Any]:
    """The published schema of alert events; within schema 1 there are only additions."""
    return {"$id": f"{page_url}{ALERT_SCHEMA}", "title": "Groundswell alert event, schema 1", **schema("alert")}


def asyncapi(settings: Settings, found: Topology) -> dict[str, Any]:
    """AsyncAPI 3.0 of the topics that others may read or write. Names carry this installation's prefix."""
    kinds = tuple(kind for _, _, kind, _, _ in _PUBLIC)
    payloads, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    _describe(components)
    described: dict[str, Any] = {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Groundswell",
            "version": __version__,
            "description": "Push documents, read verdicts and alerts. Values are JSON; ignore fields that you do not know.",
        },
        "defaultContentType": "application/json",
        "channels": {},
        "operations": {},
        "components": {"schemas": components, "messages": {}},
    }
    if settings.kafka:
        secure = "kafka-secure" if settings.kafka_security.endswith("SSL") else "kafka"
        described["servers"] = {"kafka": {"host": settings.kafka, "protocol": secure}}
    for (topic, name, _, sends, note), payload in zip(_PUBLIC, payloads, strict=True):
        described["channels"][name] = {
            "address": found.name(topic),
            "description": note,
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "bindings": {"kafka": {"partitions": found.partitions(topic), "topicConfiguration": _kept(topic)}},
        }
        described["components"]["messages"][name] = {
            "name": name,
            "title": topic.value,
            "payload": payload,
            "bindings": {"kafka": {"key": {"type": "string", "description": topic.key}}},
        }
        described["operations"][f"{'send' if sends else 'receive'}_{name}"] = {
            "action": "send" if sends else "receive",
            "channel": {"$ref": f"#/channels/{name}"},
            "messages": [{"$ref": f"#/channels/{name}/messages/{name}"}],
        }
    return described


def _kept(topic: Topic) -> dict[str, Any]:
    return {"cleanup.policy": ["delete"], "retention.ms": topic.retention_ms}
