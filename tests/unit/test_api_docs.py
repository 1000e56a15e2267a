"""docs/api.md and its Chinese twin list every route of the API, and no other."""

import re
from pathlib import Path

import pytest

from dashboard import openapi
from dashboard.alerts import consumers

DOCS = Path(__file__).parents[2] / "docs"
PAGES = {name: (DOCS / name).read_text(encoding="utf-8") for name in ("api.md", "api.zh.md")}


def shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


def routes() -> set[tuple[str, str]]:
    """test_openapi.py holds `CARRIES` to the routes that are served."""
    under = {(method, shape(openapi.PREFIX + path)) for method, path in openapi.CARRIES}
    others = {(method, route.path) for route in consumers.ROUTES for method in (route.methods or set()) - {"HEAD"}}
    return under | others


@pytest.mark.parametrize("page", PAGES)
def test_every_route_is_listed_and_every_listed_one_is_served(page):
    listed = re.findall(r"^\| `(GET|POST|PUT|PATCH|DELETE) ([^`?]+)` \|", PAGES[page], re.MULTILINE)
    assert {(method, shape(path)) for method, path in listed} == routes() | {("GET", "/live")}


@pytest.mark.parametrize(
    "body", [body for page in PAGES.values() for body in re.findall(r"-d '(\{.*?\})'", page, re.DOTALL)]
)
def test_the_bodies_shown_are_ones_that_are_taken(body):
    from msgspec import ValidationError, json

    from groundswell.asked import AskedAcknowledgement, AskedEndpoint, AskedSilence

    def takes(kind):
        try:
            return json.decode(body, type=kind)
        except ValidationError:
            return None

    assert any(takes(kind) is not None for kind in (AskedAcknowledgement, AskedEndpoint, AskedSilence))
