"""The HTTP API does what its own description says, whatever is sent to it: asked by schemathesis over pages without a broker."""

import asyncio
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as runs
from schemathesis.checks import load_all_checks
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from dashboard import openapi
from tests.pages import Site, open_site

load_all_checks()
CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
ENDLESS = "/api/v1/alerts/stream"


class Asked:
    """Pages that live as long as the module, and the loop that they live in."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._site = open_site()
        self.site: Site = self.loop.run_until_complete(self._site.__aenter__())
        self.document = openapi.document(self.site.app.routes, "http://127.0.0.1:8080")

    def close(self) -> None:
        self.loop.run_until_complete(self._site.__aexit__(None, None, None))
        self.loop.close()

    def answer(self, case: Any) -> Any:
        """What a case is answered, as far as the transport goes: a minute later each, so that nobody asks too often."""
        sent = case.as_transport_kwargs(base_url="http://127.0.0.1:8080")
        for name in ("timeout", "cookies"):
            sent.pop(name, None)
        if "wait_s" in (sent.get("params") or {}) or case.path.rpartition("/")[2] in ("test", "enable", "replay"):
            sent["params"] = {**(sent.get("params") or {}), "wait_s": "0"}
        if case.method not in ("GET", "HEAD"):
            sent["headers"]["Content-Type"] = "application/json"
        self.site.clock.advance(60.0)
        answer = self.loop.run_until_complete(self.site.http.request(**sent))
        # What is away without a broker says so, and what to do; nothing else ends in a 5xx.
        assert answer.status_code < 500 or (answer.status_code == 503 and answer.json()["remedy"]), answer.text
        return answer


@pytest.fixture(scope="module")
def asked() -> Iterator[Asked]:
    made = Asked()
    try:
        yield made
    finally:
        made.close()


def test_every_route_is_described_and_nothing_else(asked: Asked) -> None:
    described = {(method, path) for path, operations in asked.document["paths"].items() for method in operations}
    there = {(method.lower(), f"/api/v1{path}") for method, path, _ in openapi._operations(asked.site.app.routes)}
    assert described == there
    assert {(method.lower(), f"/api/v1{path}") for method, path in openapi.CARRIES} == there
    silent = [
        f"{method} {path}"
        for path, operations in asked.document["paths"].items()
        for method, operation in operations.items()
        if not operation["summary"]
    ]
    assert silent == [], "write a docstring"


def test_what_a_route_takes_is_named_in_its_words(asked: Asked) -> None:
    for path, operations in asked.document["paths"].items():
        for operation in operations.values():
            words = f"{operation['summary']} {operation['description']}"
            named = [one["name"] for one in operation["parameters"] if one["in"] == "query" and one["name"] != "wait_s"]
            if not path.startswith("/api/v1/documents."):  # the same search as the one without a form
                assert [name for name in named if f"`{name}" not in words] == [], path


async def test_the_document_is_served_and_a_program_can_read_it() -> None:
    async with open_site() as site:
        answer = await site.http.get("/api/v1/openapi.json")
    found = answer.json()
    assert answer.headers["content-type"] == "application/json"
    assert found["openapi"] == "3.1.0"
    assert found["servers"] == [{"url": "http://127.0.0.1:8080"}]
    for schema in found["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_whatever_is_sent_the_answer_is_one_that_is_described(asked: Asked) -> None:
    schema = schemathesis.openapi.from_dict(asked.document)
    for found in schema.get_all_operations():
        operation = found.ok()
        if operation.path == ENDLESS:
            continue

        @runs(
            max_examples=12,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy())
        def holds(case: Any) -> None:
            case.validate_response(asked.answer(case), checks=CHECKS)

        holds()
