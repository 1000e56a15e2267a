"""docs/api.md lists every route of the API, and no other."""

import re
from pathlib import Path

import pytest

from dashboard import openapi
from dashboard.alerts import consumers

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
LISTED = set(re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) ([^`?]+)` \|", PAGE, re.MULTILINE))


def shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def routes() -> set[tuple[str, str]]:
    """test_openapi.py holds `CARRIES` to the routes that are served."""
    under = {(method, shape(openapi.PREFIX + path)) for method, path in openapi.CARRIES}
    others = {(method, route.path) for route in consumers.ROUTES for method in (route.methods or set()) - {"HEAD"}}
    return under | others


def test_every_route_is_listed_and_every_listed_one_is_served():
    assert {(method, shape(path)) for method, path in LISTED} == routes() | {("GET", "/live")}


@pytest.mark.parametrize("body", re.findall(r"-d '(\{.*?\})'", PAGE, re.DOTALL))
def test_the_bodies_shown_are_ones_that_are_taken(body):
    from msgspec import ValidationError, json

    from groundswell.asked import AskedAcknowledgement, AskedEndpoint, AskedSilence

    def takes(kind):
        try:
            return json.decode(body, type=kind)
        except ValidationError:
            return None

    assert any(takes(kind) is not None for kind in (AskedAcknowledgement, AskedEndpoint, AskedSilence))
