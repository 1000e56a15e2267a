"""The Grafana dashboard asks only for metrics and labels that there are, and each of its panels says what it shows."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Counter, Gauge, Histogram

from groundswell import telemetry

FOLDER = Path(__file__).parents[2] / "grafana"
BOARD: dict[str, Any] = json.loads((FOLDER / "groundswell.json").read_text("utf-8"))
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
QUERIES = [(panel["title"], target) for panel in PANELS for target in panel["targets"]]
OF_PROMETHEUS = {"instance", "job", "le"}
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def known() -> dict[str, set[str]]:
    """Name as a query writes it -> its labels, of every metric in telemetry.py."""
    found: dict[str, set[str]] = {}
    for metric in vars(telemetry).values():
        if isinstance(metric, Counter | Gauge | Histogram):
            (family,) = metric.describe()
            for suffix in SUFFIXES[family.type]:
                found[family.name + suffix] = set(metric._labelnames)
    return found


def labels_asked(query: str) -> set[str]:
    selected = re.findall(r'([a-z_]+)\s*(?:=~|!~|!=|=)\s*"', query)
    grouped = [
        one.strip() for group in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", query) for one in group.split(",")
    ]
    return {*selected, *grouped}


@pytest.mark.parametrize(("title", "target"), QUERIES, ids=[f"{title}-{one['refId']}" for title, one in QUERIES])
def test_every_query_asks_for_metrics_and_labels_that_exist(title: str, target: dict[str, Any]) -> None:
    metrics = known()
    names = set(re.findall(r"\bgroundswell_[a-z0-9_]+", target["expr"]))
    assert names, title
    assert names <= metrics.keys()
    labels = set.intersection(*(metrics[name] for name in names)) | OF_PROMETHEUS
    assert labels_asked(target["expr"]) <= labels
    assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels
    histograms = {name for name in names if name.endswith("_bucket")}
    assert not histograms or re.search(r"by \([^)]*\ble\b", target["expr"]), "a quantile without le is none"


def test_every_metric_that_there_is_is_shown_somewhere() -> None:
    shown = set(re.findall(r"\bgroundswell_[a-z0-9_]+", " ".join(target["expr"] for _, target in QUERIES)))
    hidden = {
        family.name
        for metric in vars(telemetry).values()
        if isinstance(metric, Counter | Gauge | Histogram)
        for family in metric.describe()
        if not any(family.name + suffix in shown for suffix in SUFFIXES[family.type])
    }
    assert hidden == set()


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_every_panel_says_what_it_shows_in_what_unit_and_of_the_source_that_was_chosen(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert len(panel["description"]) > 20
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${source}"}


def test_panels_have_ids_of_their_own_and_do_not_cover_each_other() -> None:
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


def test_what_the_compose_file_mounts_is_there() -> None:
    compose = (FOLDER.parent / "docker-compose.yml").read_text("utf-8")
    mounted = re.findall(r"- \./(grafana/[\w./-]+):", compose)
    assert len(mounted) == 3
    assert all((FOLDER.parent / name).exists() for name in mounted)
    provider = (FOLDER / "provisioning" / "dashboards" / "groundswell.yml").read_text("utf-8")
    path = re.search(r"path: (\S+)", provider)
    assert path is not None
    assert f"./grafana/groundswell.json:{path[1]}/groundswell.json" in compose
