"""The HTTP API as an OpenAPI 3.1 document: routes and words are those of the code, what a request may carry stands here.

A route that is missing here, or gone, fails tests/contract/test_openapi.py; that its words are true is asked of the running pages by
schemathesis. docs/api.md is the same for people.
"""

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route

from dashboard.alerts.feedback import AskedFeedback
from dashboard.api import answer
from dashboard.entry import roles
from dashboard.entry.tokens import AskedToken
from dashboard.health.letters import AskedLetters
from dashboard.parts import parts
from groundswell import __version__
from groundswell.asked import (
    AskedAcknowledgement,
    AskedAddress,
    AskedEndpoint,
    AskedErrand,
    AskedReplay,
    AskedRotation,
    AskedSilence,
    EndpointChange,
)
from groundswell.asked_tuning import (
    AskedList,
    AskedMembers,
    AskedPreview,
    AskedRulePreview,
    AskedRules,
    AskedSensitivity,
)
from groundswell.records import InboundDocument

PREFIX = "/api/v1"
JSON, PROBLEM = "application/json", "application/problem+json"

_TEXT = {"type": "string", "maxLength": 200}
_MS = {"type": "integer", "minimum": 0, "maximum": 999_999_999_999_999}
_PARAMETERS: dict[str, dict[str, Any]] = {
    "from": _MS, "to": _MS, "before": _MS, "since": _MS,
    "step": {"type": "integer", "enum": [60, 300, 3600]},
    "limit": {"type": "integer", "minimum": 1, "maximum": 200},
    "wait_s": {"type": "number", "minimum": 0, "maximum": 60},
    "polarity": {"type": "string", "enum": ["negative", "neutral", "positive"]},
    "feed": {"type": "string", "enum": ["news", "comments"]},
    "state": {"type": "string", "enum": ["firing", "resolved"]},
}  # fmt: skip


@dataclass(frozen=True)
class Carries:
    """What a request may carry and which answer is good. `gives`: its media type; none: it has no body."""

    query: tuple[str, ...] = ()
    body: Any = None
    status: tuple[int, ...] = (200,)
    gives: str = JSON


_SEARCH = ("q", "subject", "polarity", "topic", "source", "language", "feed", "from", "to", "late")
_OVER = Carries(status=(204,))
CARRIES: dict[tuple[str, str], Carries] = {
    ("GET", "/overview"): Carries(("watchlist", "topic", "source", "language", "state", "sort", "limit")),
    ("GET", "/overview/choices"): Carries(),
    ("GET", "/health"): Carries(),
    ("GET", "/me"): Carries(),
    ("GET", "/openapi.json"): Carries(),
    # subjects and what is said of them
    ("GET", "/subjects"): Carries(("q", "limit")),
    ("GET", "/subjects/{subject}/series"): Carries(("from", "to", "step")),
    ("GET", "/subjects/{subject}/documents"): Carries(("polarity", "before")),
    ("GET", "/subjects/{subject}/breakdown"): Carries(("from", "to")),
    ("GET", "/subjects/{subject}/prices"): Carries(("from", "to", "step")),
    ("GET", "/prices/status"): Carries(),
    ("GET", "/documents"): Carries((*_SEARCH, "limit", "cursor")),
    ("GET", "/documents.csv"): Carries(_SEARCH, gives="text/csv"),
    ("GET", "/documents.jsonl"): Carries(_SEARCH, gives="application/jsonl"),
    ("POST", "/documents"): Carries(("feed",), InboundDocument | list[InboundDocument], (202,)),
    # alerts
    ("GET", "/alerts"): Carries(("state", "subject", "limit", "cursor")),
    ("GET", "/alerts/stream"): Carries(("since",), gives="text/event-stream"),
    ("GET", "/alerts/{episode}"): Carries(),
    ("GET", "/alerts/{episode}/course"): Carries(),
    ("GET", "/alerts/{episode}/feedback"): Carries(),
    ("POST", "/alerts/{episode}/ack"): Carries(body=AskedAcknowledgement, status=(202,)),
    ("DELETE", "/alerts/{episode}/ack"): _OVER,
    ("POST", "/feedback"): Carries(body=AskedFeedback, status=(201,)),
    ("GET", "/silences"): Carries(("all",)),
    ("POST", "/silences"): Carries(body=AskedSilence, status=(201,)),
    ("DELETE", "/silences/{silence}"): _OVER,
    # endpoints
    ("GET", "/endpoints"): Carries(),
    ("POST", "/endpoints"): Carries(body=AskedEndpoint, status=(201,)),
    ("POST", "/endpoints/check"): Carries(body=AskedAddress),
    ("GET", "/endpoints/{endpoint}"): Carries(),
    ("PATCH", "/endpoints/{endpoint}"): Carries(body=EndpointChange),
    ("DELETE", "/endpoints/{endpoint}"): _OVER,
    ("GET", "/endpoints/{endpoint}/sample"): Carries(("errand",)),
    ("POST", "/endpoints/{endpoint}/test"): Carries(("wait_s",), AskedErrand, (200, 202)),
    ("POST", "/endpoints/{endpoint}/enable"): Carries(("wait_s",), AskedErrand, (200, 202)),
    ("POST", "/endpoints/{endpoint}/disable"): Carries(body=AskedErrand),
    ("POST", "/endpoints/{endpoint}/rotate"): Carries(body=AskedRotation, status=(201,)),
    ("POST", "/endpoints/{endpoint}/replay"): Carries(("wait_s",), AskedReplay, (200, 202)),
    ("GET", "/deliveries"): Carries(("endpoint", "outcome", "limit", "cursor")),
    # what alerts, and how easily
    ("GET", "/rules"): Carries(),
    ("POST", "/rules"): Carries(body=AskedRules, status=(201,)),
    ("POST", "/rules/check"): Carries(body=AskedRules),
    ("POST", "/rules/preview"): Carries(body=AskedRulePreview, status=(202,)),
    ("DELETE", "/rules/{rule}"): _OVER,
    ("GET", "/sensitivities"): Carries(),
    ("PUT", "/sensitivities/{about}"): Carries(body=AskedSensitivity, status=(202,)),
    ("DELETE", "/sensitivities/{about}"): _OVER,
    ("POST", "/sensitivities/preview"): Carries(body=AskedPreview, status=(202,)),
    ("GET", "/previews/{preview}"): Carries(),
    ("DELETE", "/previews/{preview}"): Carries(status=(202,)),
    ("GET", "/watchlists"): Carries(),
    ("GET", "/watchlists/{list}"): Carries(),
    ("PUT", "/watchlists/{list}"): Carries(body=AskedList),
    ("DELETE", "/watchlists/{list}"): _OVER,
    ("POST", "/watchlists/{list}/members"): Carries(body=AskedMembers, status=(201,)),
    ("DELETE", "/watchlists/{list}/members/{entry}"): Carries(status=(202,)),
    # the installation
    ("GET", "/system"): Carries(),
    ("GET", "/dead-letters"): Carries(("reason", "limit", "cursor", "anew")),
    ("GET", "/dead-letters/{place}"): Carries(("raw",)),
    ("POST", "/dead-letters/replay"): Carries(body=AskedLetters),
    ("GET", "/tokens"): Carries(),
    ("POST", "/tokens"): Carries(body=AskedToken, status=(201,)),
    ("DELETE", "/tokens/{token}"): _OVER,
}


def document(routes: Iterable[BaseRoute], site: str) -> dict[str, Any]:
    """OpenAPI 3.1 of the routes under PREFIX. Raises KeyError for one that nothing is written of."""
    found = sorted(_operations(routes), key=lambda one: (one[1], one[0]))
    bodies = [one.body for method, path, _ in found if (one := CARRIES[method, path]).body is not None]
    _, components = msgspec.json.schema_components(bodies, ref_template="#/components/schemas/{name}")
    components["Problem"] = _PROBLEM
    paths: dict[str, Any] = {}
    for method, path, said in found:
        operation = _operation(method, path, said, CARRIES[method, path])
        paths.setdefault(f"{PREFIX}{path}", {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Groundswell",
            "version": __version__,
            "description": "What the pages show and what people can do. Times are epoch milliseconds; alert events have RFC 3339.",
        },
        "servers": [{"url": site}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "groundswell tokens add"}},
        },
    }


async def served(request: Request) -> Response:
    """This API as an OpenAPI document."""
    here = parts(request)
    site = here.settings.page_url or str(request.base_url).rstrip("/")
    return answer(request, document(request.app.routes, site))


def _operations(routes: Iterable[BaseRoute]) -> Iterable[tuple[str, str, str]]:
    for mount in routes:
        if not isinstance(mount, Mount) or mount.path != PREFIX:
            continue
        for route in mount.routes:
            if isinstance(route, Route):
                said = inspect.getdoc(route.endpoint) or ""
                for method in (route.methods or {"GET"}) - {"HEAD"}:
                    yield method, re.sub(r":\w+}", "}", route.path), said


def _operation(method: str, path: str, said: str, carries: Carries) -> dict[str, Any]:
    first, _, more = said.partition("\n")
    operation: dict[str, Any] = {
        "operationId": f"{method.lower()}{path.replace('/', '_').replace('{', '').replace('}', '')}",
        "summary": first,
        "description": more.strip(),
        "x-role": roles.needed(method, f"{PREFIX}{path}"),
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": _TEXT} for name in re.findall(r"{(\w+)}", path)),
            *({"name": name, "in": "query", "schema": _PARAMETERS.get(name, _TEXT)} for name in carries.query),
        ],
        "responses": {
            **{str(status): _answer(status, carries.gives) for status in carries.status},
            "default": {
                "description": "What is wrong, and what to do next.",
                "content": {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if method == "GET" and carries.gives == JSON:
        operation["responses"]["304"] = {"description": "As the ETag said: nothing has changed."}
    if carries.body is not None:
        (schema,), _ = msgspec.json.schema_components([carries.body], ref_template="#/components/schemas/{name}")
        operation["requestBody"] = {"required": False, "content": {JSON: {"schema": schema}}}
    return operation


def _answer(status: int, gives: str) -> dict[str, Any]:
    if status == 204:
        return {"description": "Done."}
    schema = {"type": "object"} if gives == JSON else {"type": "string"}
    return {"description": "Done." if status > 200 else "What was asked for.", "content": {gives: {"schema": schema}}}


_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "reason", "remedy"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "reason": {"type": "string", "description": "One word that does not change."},
        "remedy": {"type": "string", "description": "What to do next."},
    },
}  # fmt: skip


API = [Route("/openapi.json", served)]
